/* cli/ablate/qkv.h - what the two studies of qkv_proj_rope share: matrices and stages (formulas: ops/qkv_proj_rope.c). */
#ifndef CLI_ABLATE_QKV_H
#define CLI_ABLATE_QKV_H

#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"

/* In memory of the graph. */
typedef struct qkv {
    op_matrix x, wq_a, wq_b, wq_b_scale, wkv, cos, sin, gamma_cq, gamma_ckv;
    op_matrix q, kv, qr, qr_scale;      /* outputs */
    op_matrix a, kv_sums;               /* F32 [T, splits*QL], [T, splits*hd]: sums of the low-rank products */
    op_matrix sums, heads;              /* I32, F32 [T, H*hd] */
    op_matrix head_inverse, kv_inverse; /* F32 [T, H], [T, 1]: inverse RMS, where it passes between stages */
    int64_t T, D, QL, H, hd, R, nope;
    int64_t qr_splits, kv_splits;
    float eps;
} qkv;

/* Draws the inputs of qkv_proj_rope for a decode step of 64 requests (tiny: 8) of two tokens each. */
DSV4_MUST_CHECK dsv4_status qkv_draw(ablate_case *c, dsv4_error *err);

/* Matrices of the inputs, the outputs and what passes between stages; x is the caller's. NULL without memory. */
qkv *qkv_new(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, int64_t qr_splits, int64_t kv_splits);

/* Products; how they are tiled is the caller's choice in the members that p has set. */
void qkv_add_product(const op_context *ctx, const char *name, const op_matrix *x, const op_matrix *w, const op_matrix *y,
                     ablate_product tiles);

/* y = R values of x times inv, rotated by token t's angles; y has room for R more. */
void qkv_rotate(const uk_table *uk, const qkv *o, int64_t t, const float *x, float inv, float *y);

/* loads: of a block (ablate_stage). */
void qkv_add_dequant(const op_context *ctx, const qkv *o, int64_t cols, int64_t loads);

/* Heads and the key/value row: normalised and rotated by one stage each, or by two. */
void qkv_add_heads(const op_context *ctx, const qkv *o, bool fused, int64_t head_group);
void qkv_add_head_norm(const op_context *ctx, const qkv *o, int64_t head_group); /* the first of the two */
void qkv_add_kv(const op_context *ctx, const qkv *o, bool fused, int64_t norm_rows, int64_t rope_rows);

extern const ablate_output qkv_outputs[];
enum { QKV_N_OUTPUTS = 4 };

#endif
