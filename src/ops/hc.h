/* ops/hc.h - hyper-connections as stages (SPEC 6.1 - 6.3): M residual streams are mixed into one row in front of a block, and the
 * block's output is spread over them behind it. Operators of their own, and parts of the attention layers. */
#ifndef OPS_HC_H
#define OPS_HC_H

#include "ops/project.h"

typedef struct op_hc_pre_args {
    op_matrix x;           /* BF16 [T, M*D] */
    dsv4_tensor fn;        /* FP32 [(2+M)*M, M*D]; hc_head: [M, M*D] */
    op_matrix scale, base; /* FP32 [1, 3], [1, (2+M)*M]; hc_head: [1, 1], [1, M] */
    op_matrix x_mixed;     /* BF16 [T, D] */
    op_matrix post, comb;  /* FP32 [T, M], [T, M*M]; no data: hc_head, which only mixes */
    op_project_tiles tiles;
    int64_t t_tile, d_parts; /* of the mixing blocks: rows; blocks that share a row */
} op_hc_pre_args;

/* Adds the stages hc.project, hc.squares, hc.gates, hc.mix. */
void op_hc_pre_add(const op_context *c, const op_hc_pre_args *a);

typedef struct op_hc_post_args {
    op_matrix x;             /* BF16 [T, D]: the block's output */
    op_matrix residual, y;   /* BF16 [T, M*D] */
    op_matrix post, comb;    /* FP32 [T, M], [T, M*M] */
    int64_t t_tile, d_parts; /* rows of a block; blocks that share a row */
} op_hc_post_args;

/* Adds the stage hc.post. */
void op_hc_post_add(const op_context *c, const op_hc_post_args *a);

#endif
