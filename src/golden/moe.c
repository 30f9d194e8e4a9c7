/* golden/moe.c - the mixture of experts between hyper-connections (SPEC 6.7).
 *
 * MATH      hc_pre(x_hc) -> gate -> shared expert y, routed experts y_k -> ffn_out = bf((y + y_0) + y_1 + ...) -> hc_post
 * SHAPES    x_hc bf16[T,M,D]  hc_ffn_fn f32[(2+M)*M,M*D]  hc_ffn_scale f32[3]  hc_ffn_base f32[(2+M)*M], the inputs of gate but
 *           x_mixed, shared_w* and routed_w* with their scales  ->  x_next bf16[T,M,D]
 * NUMERICS  Rows from num_tokens on have ffn_out 0. */
#include <inttypes.h>
#include <string.h>

#include "golden/moe.h"
#include "golden/primitives.h"

typedef struct moe_layer {
    golden_hc hc;
    golden_gate_layer gate;
    golden_expert shared, routed;
    const uint16_t *x;           /* [T, M, D] */
    uint16_t *x_mixed, *ffn_out; /* [T, D] */
    float *post, *comb;
    float *h, *sum, *row; /* [F], [D], [D] */
    int8_t *h8;
    uint16_t *y;
} moe_layer;

static dsv4_status find_inputs(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                               golden_extents *extents, moe_layer *m, dsv4_error *err)
{
    enum { X, FN, SCALE, BASE, N_IN };
    dsv4_status status = golden_hc_init(config, numerics, &m->hc, err);
    const int64_t M = m->hc.M, D = m->hc.D;
    const golden_tensor want[N_IN] = {
        [X] = {"x_hc", DSV4_BF16, 3, {GOLDEN_T, M, D}},
        [FN] = {"hc_ffn_fn", DSV4_F32, 2, {(2 + M) * M, M * D}},
        [SCALE] = {"hc_ffn_scale", DSV4_F32, 1, {3}},
        [BASE] = {"hc_ffn_base", DSV4_F32, 1, {(2 + M) * M}},
    };
    const void *data[N_IN] = {NULL};
    if (status == DSV4_OK) {
        status = golden_need(in, want, N_IN, data, extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_find_gate(config, in, extents, &m->gate, err);
    }
    if (status == DSV4_OK) {
        status = golden_find_experts(config, "shared", false, 0, in, extents, &m->shared, err);
    }
    if (status == DSV4_OK) {
        status = golden_find_experts(config, "routed", false, m->gate.E, in, extents, &m->routed, err);
    }
    m->x = data[X];
    m->hc.fn = data[FN];
    m->hc.scale = data[SCALE];
    m->hc.base = data[BASE];
    return status;
}

static bool take_memory(arena *scratch, moe_layer *m)
{
    golden_gate_layer *g = &m->gate;
    const size_t T = (size_t)g->T, D = (size_t)g->D, K = (size_t)g->K, M = (size_t)m->hc.M, F = (size_t)m->shared.F;
    m->x_mixed = arena_alloc(scratch, T * D * sizeof *m->x_mixed);
    m->ffn_out = arena_alloc(scratch, T * D * sizeof *m->ffn_out);
    m->post = arena_alloc(scratch, T * M * sizeof *m->post);
    m->comb = arena_alloc(scratch, T * M * M * sizeof *m->comb);
    m->h = arena_alloc(scratch, F * sizeof *m->h);
    m->h8 = arena_alloc(scratch, F);
    m->sum = arena_alloc(scratch, D * sizeof *m->sum);
    m->row = arena_alloc(scratch, D * sizeof *m->row);
    m->y = arena_alloc(scratch, D * sizeof *m->y);
    g->x = m->x_mixed;
    g->x_norm = arena_alloc(scratch, T * D * sizeof *g->x_norm);
    g->x_norm_i8 = arena_alloc(scratch, T * D);
    g->x_norm_scale = arena_alloc(scratch, T * sizeof *g->x_norm_scale);
    g->indices = arena_alloc(scratch, T * K * sizeof *g->indices);
    g->weights = arena_alloc(scratch, T * K * sizeof *g->weights);
    return m->x_mixed != NULL && m->ffn_out != NULL && m->post != NULL && m->comb != NULL && m->h != NULL && m->h8 != NULL &&
           m->sum != NULL && m->row != NULL && m->y != NULL && g->x_norm != NULL && g->x_norm_i8 != NULL &&
           g->x_norm_scale != NULL && g->indices != NULL && g->weights != NULL;
}

static void sum_experts(const moe_layer *m, int64_t t)
{
    const golden_gate_layer *g = &m->gate;
    const int8_t *x8 = g->x_norm_i8 + t * g->D;
    golden_expert_row(&m->shared, x8, g->x_norm_scale[t], 1.0f, m->h, m->h8, m->y);
    golden_widen(m->y, g->D, m->sum);
    for (int64_t k = 0; k < g->K; k++) {
        const golden_expert expert = golden_expert_at(&m->routed, g->indices[t * g->K + k]);
        golden_expert_row(&expert, x8, g->x_norm_scale[t], g->weights[t * g->K + k], m->h, m->h8, m->y);
        golden_widen(m->y, g->D, m->row);
        for (int64_t d = 0; d < g->D; d++) {
            m->sum[d] += m->row[d];
        }
    }
    golden_round(m->sum, g->D, m->ffn_out + t * g->D);
}

dsv4_status golden_moe(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in, dsv4_tensor_list *out,
                       progress *p, dsv4_error *err)
{
    moe_layer m = {0};
    golden_extents extents = {0};
    arena scratch = {0};
    void *x_next = NULL;
    const golden_tensor make = {"x_next", DSV4_BF16, 3, {GOLDEN_T, config->hc_mult, config->hidden_size}};
    dsv4_status status = find_inputs(config, numerics, in, &extents, &m, err);
    if (status == DSV4_OK && !take_memory(&scratch, &m)) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "moe: no memory for %" PRId64 " tokens", extents.T);
    }
    if (status == DSV4_OK) {
        status = golden_mix_streams(&m.hc, extents.T, m.x, m.x_mixed, m.post, m.comb, NULL, err);
    }
    if (status == DSV4_OK) {
        status = golden_route(&m.gate, NULL, err);
    }
    for (int64_t t = 0; status == DSV4_OK && t < extents.T; t++) {
        if (t < m.gate.n) {
            sum_experts(&m, t);
        } else {
            memset(m.ffn_out + t * m.gate.D, 0, (size_t)m.gate.D * sizeof *m.ffn_out);
        }
        progress_report(p, (double)(t + 1) / (double)extents.T);
    }
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &x_next, err);
    }
    if (status == DSV4_OK) {
        golden_spread_streams(extents.T, m.hc.M, m.gate.D, m.ffn_out, m.x, m.post, m.comb, x_next, NULL);
    }
    arena_deinit(&scratch);
    return status;
}
