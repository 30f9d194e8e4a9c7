/* cli/bench/context.h - what `dsv4 bench context` measures, between its measuring and its tables. */
#ifndef CLI_BENCH_CONTEXT_H
#define CLI_BENCH_CONTEXT_H

#include <stdio.h>

#include "cli/bench/bench.h"

/* Groups of stages. */
typedef enum context_part {
    CONTEXT_INDEX, /* scores of the index cache, and the choice of rows */
    CONTEXT_CORE,  /* attention over the keys */
    CONTEXT_PLAN,  /* the integers of the step: checks of pages, key lists */
    CONTEXT_REST,
    CONTEXT_N_PARTS
} context_part;

typedef enum context_cache {
    CONTEXT_WINDOW,
    CONTEXT_COMPRESSED,
    CONTEXT_INDEX_KEYS,
    CONTEXT_STATES,
    CONTEXT_N_CACHES
} context_cache;

/* One context. */
typedef struct context_row {
    int64_t context, n_compressed;  /* tokens behind the step; compressed rows of a request */
    double layer_s;                 /* a replay, median */
    double part_s[CONTEXT_N_PARTS]; /* of which inside blocks: time of all workers / workers, median. What is missing is waiting */
    int64_t between_bytes;          /* memory that passes between stages */
    int64_t cache_bytes[CONTEXT_N_CACHES];
    uint64_t checksum; /* of x_out */
} context_row;

/* What all rows have in common. */
typedef struct context_setting {
    const char *op, *config, *index_cache; /* "bf16", "int8" */
    int64_t batch, seq;
    int n_workers, rounds;
} context_setting;

/* "decode_attention_csa flash, ..." */
void context_print_setting(const context_setting *s);
void context_print_heads(void);
void context_print_row(const context_row *row);

/* The setting, and the rows as a table. */
void context_write_markdown(FILE *f, const context_setting *s, const context_row *rows, int n_rows);

/* NULL without memory. */
json_t *context_json(const context_setting *s, const context_row *rows, int n_rows);

#endif
