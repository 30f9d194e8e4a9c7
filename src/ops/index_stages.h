/* ops/index_stages.h - what the stages of the indexer share. Internal to index*.c. */
#ifndef OPS_INDEX_STAGES_H
#define OPS_INDEX_STAGES_H

#include "ops/index.h"
#include "ops/tile.h"

typedef struct index_stages {
    const uk_table *uk;
    op_index a;
    int64_t T, IH, ID, R;
    op_matrix q;        /* BF16 [T*IH, ID] */
    op_product turned;  /* FP32: q hadamard */
    op_matrix q_panels; /* I8 [T, bytes of a token's packed heads] */
    op_matrix q_packed; /* uk_packed [T, 1]: they say where */
    op_matrix q_scale;  /* FP32 [T, IH] */
    op_product w;       /* FP32: x weights_proj */
    float w_scale;      /* ID^-1/2 * IH^-1/2 */
    int64_t topk;       /* rows chosen at most */
    int64_t columns;    /* rows a request can have; columns of the scores where they are wanted */
    int64_t key_tile, t_tile, parts;
    op_matrix best;   /* I64 [T, parts * topk]: keys (topk.h) of the best rows of each part, in any order */
    op_matrix n_best; /* I32 [T, parts]: how many they are */
} index_stages;

/* index.q_proj, .q_tile, .hadamard, .q_quant: make q_panels, q_packed and q_scale. */
void index_add_query(const op_context *c, index_stages *o);

/* index.score, .topk. */
void index_add_score(const op_context *c, index_stages *o);

#endif
