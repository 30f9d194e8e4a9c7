/* ops/qkv.h - queries and the shared key/value row as stages (SPEC 2.2): an operator of its own, and a part of the attention
 * layers. */
#ifndef OPS_QKV_H
#define OPS_QKV_H

#include "ops/project.h"
#include "ops/turn.h"

/* Tile parameters, with the names of the operator's table. */
typedef struct op_qkv_tiles {
    op_project_tiles low_rank; /* of qr_proj and kv_proj */
    int64_t norm_t_tile, norm_parts, head_group;
} op_qkv_tiles;

typedef struct op_qkv_args {
    op_acts x;                     /* BF16 [T, D] */
    dsv4_tensor wq_a, wq_b, wkv;   /* BF16 [D, QL], I8 [QL, H*hd], BF16 [D, hd] */
    op_matrix wq_b_scale;          /* FP32 [1, H*hd] */
    op_matrix gamma_cq, gamma_ckv; /* BF16 [1, QL], [1, hd] */
    op_turns turns;
    op_matrix turn_rows;           /* I32 [1, T]: row of turns for each token; no data: token t has row t */
    op_matrix q, kv, qr, qr_scale; /* BF16 [T, H*hd], BF16 [T, hd], I8 [T, QL], FP32 [T, 1] */
    op_qkv_tiles tiles;
} op_qkv_args;

/* Rules on dimensions that tables cannot say. */
DSV4_MUST_CHECK dsv4_status op_qkv_check(const op_context *c, dsv4_error *err);

/* Adds the stages qkv.qr_proj, .kv_proj, .qr_sum, .qr_norm, .qr_quant, .qr_tile, .q_proj, .kv_head. Returns qr as products
 * take it. */
op_acts op_qkv_add(const op_context *c, const op_qkv_args *a);

#endif
