/* golden/moe.h - the pieces of the mixture of experts that its references share. Internal to golden/. */
#ifndef GOLDEN_MOE_H
#define GOLDEN_MOE_H

#include "golden/operators.h"
#include "golden/parts.h"

typedef struct golden_gate_layer {
    int64_t T, n, D, E, K, V; /* n of T tokens are valid */
    float eps, factor;
    bool by_hash;
    const uint16_t *x, *norm_w; /* [T, D], [D] */
    const float *w, *bias;      /* [E, D], [E]; bias NULL: zeros */
    const int32_t *table;       /* [V, K] */
    const int64_t *ids;         /* [T] */
    uint16_t *x_norm;           /* results: [T, D] */
    int8_t *x_norm_i8;
    float *x_norm_scale; /* [T] */
    int32_t *indices;    /* [T, K] */
    float *weights;
} golden_gate_layer;

/* All but x and the results, checked; extents knows T. */
DSV4_MUST_CHECK dsv4_status golden_find_gate(const dsv4_config *config, const dsv4_tensor_list *in, golden_extents *extents,
                                             golden_gate_layer *g, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_route(const golden_gate_layer *g, progress *p, dsv4_error *err);

/* Weights [n, k] of n outputs: INT8 with FP32 scales [n], or e2m1 codes [n, k / 2], the low nibble of a byte the even input, with
 * e8m0 scales [n, k / 32]. */
typedef struct golden_weight {
    const int8_t *i8;
    const float *scale;
    const uint8_t *codes, *e8m0; /* NULL: they are INT8 */
} golden_weight;

/* An expert's weights: w1, w3 [F, D], w2 [D, F]. */
typedef struct golden_expert {
    int64_t D, F;
    float limit;
    golden_weight w1, w3, w2;
} golden_expert;

/* Expert e of several whose tensors lie behind each other. */
golden_expert golden_expert_at(const golden_expert *first, int64_t e);

/* y[D] = the expert's result for a row x8[D] with scale xs; h[F], h8[F] are scratch. */
void golden_expert_row(const golden_expert *e, const int8_t *x8, float xs, float weight, float *h, int8_t *h8, uint16_t *y);

/* The tensors prefix_w1, prefix_w1_scale, ... of n experts, or prefix_w1_fp4, prefix_w1_fp4_scale, ...: extents.experts where n is
 * GOLDEN_EXPERTS; n 0: one, without that extent. */
DSV4_MUST_CHECK dsv4_status golden_find_experts(const dsv4_config *config, const char *prefix, bool is_fp4, int64_t n,
                                                const dsv4_tensor_list *in, golden_extents *extents, golden_expert *first,
                                                dsv4_error *err);

#endif
