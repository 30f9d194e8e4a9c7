/* ops/experts.h - experts (SPEC 6.5) with INT8 or FP4 weights as stages, over the slots of a step (ops/slots.h): operators of their own, and a part of
 * the mixture of experts.
 *
 * MATH      of a route to expert e, x8 and xs its row and scale:
 *           g = (float(x8 w1_e^T) xs) s1;  u = (float(x8 w3_e^T) xs) s3;  h = silu(min(g, limit)) * clamp(u, -limit, limit)
 *           (h8, hs) = Q8(h);  y = bf((float(h8 w2_e^T) (hs weight)) s2)
 *           FP4 weights have a scale per 32 inputs within the product, and no s1, s3, s2
 * STAGES    expert.gather  [slot]           rows of the slot, packed once
 *           expert.up      [slot x f_tile]  -> h; a panel is read once for all rows of its slot
 *           expert.pack    [slot]           h -> h8, hs, packed once
 *           expert.down    [slot x d_tile]  -> rows of the routes
 *           Rows of a slot are known when the step runs: they are untracked, and flags per slot and tile give the order.
 * NUMERICS  f32; INT8 products exact, products with FP4 weights exact within 32 inputs (gemm_fp4 of kernels/kernels.h). */
#ifndef OPS_EXPERTS_H
#define OPS_EXPERTS_H

#include "ops/slots.h"
#include "ops/weight.h"

typedef struct op_experts {
    op_slots slots;
    op_matrix x, x_scale;                 /* I8 [rows, D], FP32 of the rows */
    int64_t routes_per_row;               /* route i has row i / routes_per_row */
    op_matrix weights;                    /* FP32, of the routes; no data: 1 */
    const char *w1, *w3, *w2;             /* tensors of the operator: I8 [E, F, D], [E, F, D], [E, D, F], or of one expert */
    const char *scale1, *scale3, *scale2; /* theirs: F32 [E, F], [E, F], [E, D] */
    bool is_fp4;                          /* w U8 [E, N, K/2], scales F8_E8M0 [E, N, K/32] instead */
    op_matrix y;                          /* BF16 [routes, D], written untracked */
    int64_t f_tile, d_tile;               /* columns of a block, multiples of UK_PANEL */
} op_experts;

/* Flags of y for its readers: I8 [slots, column tiles]. */
typedef struct op_expert_rows {
    op_matrix y, ready;
    int64_t d_tile;
} op_expert_rows;

op_expert_rows op_experts_add(const op_context *c, const op_experts *a);

/* One expert for all rows of x: the operator's tensors shared_*. y BF16 [rows, D]. */
op_expert_rows op_shared_expert_add(const op_context *c, op_matrix x, op_matrix x_scale, op_matrix y, int64_t f_tile,
                                    int64_t d_tile);

/* Declares that a block reads columns [c0, c1) of rows of y. */
void op_expert_rows_reads(dsv4_describe *d, const op_expert_rows *r, int64_t c0, int64_t c1);

/* The rules of operators with experts: INT32 sums are exact; groups of FP4 weights are whole. */
dsv4_status op_experts_check(const op_context *c, dsv4_error *err);
dsv4_status op_experts_check_fp4(const op_context *c, dsv4_error *err);

#endif
