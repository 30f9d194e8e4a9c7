/* ops/attention.h - the attention layers as one graph each (SPEC 6.10): what their six tables share. */
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include "ops/attend.h"
#include "ops/step.h"

/* Tiles of all six; attention_ops.c has what they mean. */
enum {
    ATTENTION_T_TILE,
    ATTENTION_N_TILE,
    ATTENTION_K_SPLIT,
    ATTENTION_HC_SPLIT,
    ATTENTION_NORM_T_TILE,
    ATTENTION_NORM_PARTS,
    ATTENTION_D_PARTS,
    ATTENTION_HEAD_GROUP,
    ATTENTION_CORE_HEADS,
    ATTENTION_KEY_BLOCKS,
    ATTENTION_A_N_TILE,
    ATTENTION_A_K_SPLIT,
    ATTENTION_B_N_TILE,
    ATTENTION_INDEX_HEADS,
    ATTENTION_INDEX_T_TILE,
    ATTENTION_INDEX_KEY_TILE,
    ATTENTION_INDEX_PARTS,
    ATTENTION_N_TILES
};

/* Adds all stages of the layer that c->op's mode and ratio name. */
void attention_build(const op_context *c);

/* The key lists of a step (SPEC 5.5), made from positions and, for CSA, the rows that the indexer chose. */
typedef struct attention_lists {
    const op_step *step;
    op_matrix topk;      /* I32 [T, index_topk], offset W + S (prefill: W + T); no data: none */
    int64_t max_windows; /* compressed rows in a list at most */
    op_matrix raw;       /* I32 [T, width], set */
    op_matrix lens;      /* I32 [1, T], set in prefill */
} attention_lists;

/* Adds the stage attention.lists. */
void attention_lists_add(const op_context *c, attention_lists *a);

/* What goes to the window cache behind the attention. */
typedef struct attention_store {
    op_matrix kv, ring;   /* BF16 [T, hd], [rows, hd] */
    op_matrix rows;       /* I64 [1, T]: row of each token, -1: none */
    op_matrix ring_reads; /* I8 [n_requests, 1]: row b is read by all who read the window of request b */
    int64_t tokens_per_request;
} attention_store;

/* Adds the stage attention.store. */
void attention_store_add(const op_context *c, const attention_store *a);

#endif
