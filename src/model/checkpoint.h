/* model/checkpoint.h - a published checkpoint: a folder with config.json, model.safetensors.index.json and its shards, mapped.
 *
 * Opening looks up every tensor of the table that the configuration gives (table.h) and lists each thing that is not as it must be;
 * a checkpoint with problems opens too, so that all of them can be shown. Whoever computes on one calls model_checkpoint_require
 * first. Files are untrusted: names in the index are plain names within the folder, sizes are bounded, every offset is checked. */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H

#include "dsv4/safetensors.h"
#include "model/table.h"

enum { MODEL_MAX_SHARDS = 4096, MODEL_MAX_INDEX_BYTES = 64 << 20 };

typedef enum model_problem_kind {
    MODEL_MISSING,    /* a tensor of the table, or a shard, that is not there */
    MODEL_UNEXPECTED, /* a tensor that is not in the table, or not in the index: never read */
    MODEL_WRONG,      /* other dtype or shape, in another file than the index says, damaged file, values not allowed */
} model_problem_kind;

typedef struct model_problem {
    model_problem_kind kind;
    char *text; /* one line: file, tensor, got, expected */
} model_problem;

typedef struct model_shard {
    char *name;             /* within the folder */
    dsv4_safetensors *file; /* NULL: could not be opened */
} model_shard;

typedef struct model_checkpoint {
    char *folder;
    model_config config;
    model_table table;
    const void **data; /* per item of the table: its bytes, not aligned; NULL: missing or wrong */
    int *shard_of;     /* per item of the table: its shard, or -1 */
    uint32_t *by_name; /* numbers of the items, by name */
    size_t n_shards;
    model_shard *shards; /* by name */
    size_t n_problems, problem_capacity;
    size_t n_of_kind[MODEL_WRONG + 1]; /* problems counted */
    model_problem *problems;           /* in the order of the files and tables; at most MODEL_MAX_PROBLEMS are kept */
} model_checkpoint;

enum { MODEL_MAX_PROBLEMS = 4096 };

/* Fails where there is nothing to look up: no folder, no or a bad config.json, no or a bad index. The caller closes. */
DSV4_MUST_CHECK dsv4_status model_checkpoint_open(const char *folder, model_checkpoint **out, dsv4_error *err);
void model_checkpoint_close(model_checkpoint *c);

/* The number in the table of the tensor of that name, or -1. */
int64_t model_checkpoint_find(const model_checkpoint *c, const char *name);

/* Checks values: every scale of FP8 and FP4 weights such that its weights are finite, every FP8 weight a number, every BF16 and F32
 * value finite, hash tables within the experts. Reads the data of items [first, first + n) of the table. What is not so
 * becomes a problem, and its tensor counts as wrong. */
void model_checkpoint_check_values(model_checkpoint *c, size_t first, size_t n);

/* DSV4_OK if nothing is missing or wrong; else the first such problem, and how many more there are. Unexpected tensors are no
 * failure. */
DSV4_MUST_CHECK dsv4_status model_checkpoint_require(const model_checkpoint *c, dsv4_error *err);

/* The text of an index: {"weight_map": {tensor: file}}. Every file is a plain name. The caller frees with json_decref. */
struct json_t;
DSV4_MUST_CHECK dsv4_status model_index_parse(const char *source, const char *text, size_t n_bytes, struct json_t **weight_map,
                                              dsv4_error *err);

#endif
