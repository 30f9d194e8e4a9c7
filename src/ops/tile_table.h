/* ops/tile_table.h - tiles that were measured to be fast: a JSON file with entries for each processor.
 *
 *   {"format": "dsv4 tiles", "version": 1,
 *    "cpus": {"AMD EPYC 7763": [{"op": "rmsnorm", "dims": "D=4096", "mode": "decode", "tokens": 8, "threads": 2, "isa": "avx2",
 *                                "tiles": {"t_tile": 8}, "default_s": 1.3e-5, "chosen_s": 1.1e-5, "commit": "0f515b8d1e2f"}]}}
 *
 * An entry holds for calls of the same form, model dimensions, mode, power of two of tokens, threads and instruction set. Where the
 * tokens of a call stand in their sequence is no part of it. */
#ifndef OPS_TILE_TABLE_H
#define OPS_TILE_TABLE_H

#include "ops/op.h"

enum { OP_TILE_NAME_BYTES = 32, OP_MAX_TILE_ENTRIES = 4096, OP_MAX_TILE_TABLE_BYTES = 8 << 20 };

/* What calls an entry is for. */
typedef struct op_tile_key {
    char op[64];    /* the form: "decode_attention_csa" */
    char dims[192]; /* "D=4096 QL=1024": the model dimensions that its tensors have */
    char isa[16];   /* row of microkernels */
    dsv4_mode mode;
    int64_t tokens; /* the largest power of two that is not above the tokens (rows of rope_tables) */
    int64_t n_threads;
} op_tile_key;

/* A tile and its value. */
typedef struct op_tile_value {
    char name[OP_TILE_NAME_BYTES];
    int64_t value;
} op_tile_value;

typedef struct op_tile_entry {
    char cpu[128];
    op_tile_key key;
    op_tile_value tiles[OP_MAX_TILES]; /* those that differ from the defaults */
    size_t n_tiles;
    double default_s, chosen_s; /* medians of one measurement */
    char commit[64];            /* that was measured */
} op_tile_entry;

/* Zero-initialise; op_tile_table_deinit always. */
typedef struct op_tile_table {
    op_tile_entry *entries;
    size_t n;
} op_tile_table;

void op_tile_table_deinit(op_tile_table *t);

/* Any bytes. source is the name of the file in messages. DSV4_E_FORMAT or DSV4_E_VALUE names the entry and the member. */
DSV4_MUST_CHECK dsv4_status op_tile_table_parse(const char *source, const char *json, size_t n_bytes, op_tile_table *out,
                                                dsv4_error *err);

/* DSV4_E_NOT_FOUND: there is no such file. */
DSV4_MUST_CHECK dsv4_status op_tile_table_read(const char *path, op_tile_table *out, dsv4_error *err);

/* Replaces the file as a whole. */
DSV4_MUST_CHECK dsv4_status op_tile_table_write(const char *path, const op_tile_table *t, dsv4_error *err);

/* Adds an entry, or replaces the one of the same processor and key. */
DSV4_MUST_CHECK dsv4_status op_tile_table_put(op_tile_table *t, const op_tile_entry *entry, dsv4_error *err);

/* NULL where there is none. Until the table changes. */
const op_tile_entry *op_tile_table_find(const op_tile_table *t, const char *cpu, const op_tile_key *key);

/* Of a call that op_plan has bound. */
op_tile_key op_tile_key_of(const op_context *c, int n_threads);

#endif
