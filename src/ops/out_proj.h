/* ops/out_proj.h - the grouped low-rank projection of attention outputs, as stages (SPEC 5.2). */
#ifndef OPS_OUT_PROJ_H
#define OPS_OUT_PROJ_H

#include "ops/project.h"

typedef struct op_out_proj {
    op_matrix o;                                   /* BF16 [T, G*GI], rotated back */
    dsv4_tensor wo_a;                              /* BF16 [G, OL, GI] */
    dsv4_tensor wo_b;                              /* I8 [D, G*OL] */
    op_matrix scale;                               /* FP32 [1, D]: of wo_b's output channels */
    op_matrix attn_out;                            /* BF16 [T, D] */
    int64_t t_tile, a_n_tile, a_k_split, b_n_tile; /* of proj_a and proj_b; a_k_split is cut to the chunks of GI */
    int64_t quant_t_tile;
} op_out_proj;

/* Adds the stages: out.proj_a of every group, [out.amax of every group], out.quant and out.proj_b of every group, out.sum. */
void op_out_proj_add(const op_context *c, const op_out_proj *a);

#endif
