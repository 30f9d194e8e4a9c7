/* ops/weight.h - weights in the order in which the products stream them. */
#ifndef OPS_WEIGHT_H
#define OPS_WEIGHT_H

#include "kernels/pack.h"
#include "ops/op.h"

/* A packed weight and its view: row p is panel p, columns are bytes. */
typedef struct op_weight {
    uk_packed packed; /* its corrections lie behind the panels and are constant, as these are */
    dsv4_view view;
} op_weight;

/* A weight of k inputs and n outputs as it lies in memory: element (k, n) is data[k*stride_k + n*stride_n]. */
typedef struct op_weight_source {
    const void *data;
    dsv4_dtype dtype; /* BF16, F32 or I8 */
    int64_t k, n, stride_k, stride_n;
} op_weight_source;

/* Sources of a tensor [K, N], and of one [N, K]. */
op_weight_source op_weight_of(const dsv4_tensor *w);
op_weight_source op_weight_of_transposed(const dsv4_tensor *w);

/* Packs into memory of the graph, on the workers of c->pool: each packs the panels that it will stream, so that they lie in memory
 * near its core. */
op_weight op_weight_pack(const op_context *c, const char *name, op_weight_source w);

/* n packed weights of one shape, behind each other. Row e of the view is weight e, columns are bytes: those of panel p begin at
 * p * first.panel_bytes. */
typedef struct op_weight_bank {
    uk_packed first; /* FP4 weights have no corrections */
    size_t stride;   /* bytes from a weight to the next */
    int64_t n;
    dsv4_view view;
} op_weight_bank;

/* Packs the INT8 tensor w [N, K] or [n, N, K], K inputs and N outputs of each, in the same way. */
op_weight_bank op_weight_bank_pack(const op_context *c, const char *name, const dsv4_tensor *w);

/* Packs FP4 weights so: codes U8 [.., N, K/2], e8m0 F8_E8M0 [.., N, K/32] (kernels/pack_fp.h), K a multiple of UK_GROUP_FP4. */
op_weight_bank op_weight_bank_pack_fp4(const op_context *c, const char *name, const dsv4_tensor *codes, const dsv4_tensor *e8m0);

uk_packed op_weight_bank_at(const op_weight_bank *bank, int64_t e);

#endif
