/* cli/ablate/norm.h - the graph of qkv_proj_rope with the norm of the hidden rows in front. Every stage works on all rows and a range
 * of columns, as the kernel did at the time of its study: chunks of 128 (hidden) and 32.
 *
 *   norm_graph.c     matrices, the graph      norm_rows.c       sums of squares, norms, quantising
 *   norm_rotation.c  heads, key/value row     norm_reference.c  the same in plain loops */
#ifndef CLI_ABLATE_NORM_H
#define CLI_ABLATE_NORM_H

#include "cli/ablate/qkv.h"

typedef struct norm_choice {
    int64_t parts; /* blocks that share a sum of squares */
    bool folds_amax;
    int64_t q_k_tile, ahead;
} norm_choice;

enum {
    NORM_D_CHUNK = 128,
    NORM_L_CHUNK = 32, /* of low-rank rows and key/value rows */
    NORM_L_GROUP = 8   /* chunks of a block that normalises low-rank rows */
};

/* In memory of the graph. */
typedef struct norm {
    qkv *o;
    op_matrix norm_w, raw;
    op_matrix x_sums, x_inverse, qr_sums, qr_inverse; /* F32 [T, parts], [T, 1] */
    op_matrix qr_bf16, amax, multiplier;              /* BF16 [T, QL]; F32 [T, norm blocks], [T, 1] */
    op_matrix pairs, turned, kv_pairs, kv_turned;     /* BF16, F32 [H*T, R]: rotated, even elements first; [T, R] */
    op_matrix select;                                 /* BF16 [R, R]: row j of the halved order -> its interleaved column */
} norm;

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

/* Sums of squares of rows: hidden ones BF16, low-rank and key/value ones F32. o and is_serial are set by norm_add_rms. */
typedef struct norm_rms {
    const qkv *o;
    op_matrix x, sums, inverse;
    int64_t chunk;
    bool is_bf16, is_serial;
} norm_rms;

/* One stage, or with more than one part two. names: of the serial stage, of the partial one, of the final one. */
void norm_add_rms(const op_context *ctx, const qkv *o, int64_t parts, norm_rms r, const char *const *names);

/* Hidden rows. */
void norm_add_apply(const op_context *ctx, const norm *n);

/* Low-rank rows; where amax is folded, the largest values of the columns of a block, too. */
void norm_add_low_rank(const op_context *ctx, const norm *n);
void norm_add_quant(const op_context *ctx, const norm *n);

/* ---- rotation --------------------------------------------------------------------------------------------------------------- */

void norm_add_head_rope(const op_context *ctx, const norm *n);
void norm_add_kv(const op_context *ctx, const norm *n); /* norm and rotation of the key/value row */

/* ---- all -------------------------------------------------------------------------------------------------------------------- */

/* choice: a norm_choice. */
void norm_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice);

/* c->expected, from c->inputs and the hidden rows, normalised. */
DSV4_MUST_CHECK dsv4_status norm_expect(ablate_case *c, const dsv4_tensor *x, dsv4_error *err);

#endif
