/* golden/gate.c - the router of the mixture of experts (SPEC 6.4).
 *
 * MATH      x_norm = bf((x inv(x)) norm_w);  (x_norm_i8, x_norm_scale) = Q8(x_norm)
 *           z = x_norm gate_w^T;  s = sqrt(max(z, 0) + log1p(exp(-|z|)))
 *           indices = tid2eid[input_ids[t]] where layer_id < num_hash_layers, else the K largest of s + gate_bias, descending
 *           weights = (s[indices] / sum) routed_scaling_factor
 * SHAPES    x_mixed bf16[T,D]  norm_w bf16[D]  gate_w f32[E,D]  gate_bias f32[E]  tid2eid i32[V,K]  input_ids i64[T]
 *           ->  x_norm bf16[T,D]  x_norm_i8 i8[T,D]  x_norm_scale f32[T,1]  indices i32[T,K]  weights f32[T,K]
 * NUMERICS  Rows from num_tokens on have x_norm and x_norm_i8, and zeros in the other outputs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "golden/moe.h"
#include "golden/operators.h"
#include "golden/primitives.h"

static dsv4_status check_gate(const golden_gate_layer *g, dsv4_error *err)
{
    if (g->K < 1 || g->K > g->E) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "config num_experts_per_tok: got %" PRId64 ", expected 1 to n_routed_experts = %" PRId64, g->K, g->E);
    }
    if (g->by_hash && (g->table == NULL || g->ids == NULL)) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "input %s: missing, the layer routes by hash",
                         g->table == NULL ? "tid2eid" : "input_ids");
    }
    for (int64_t t = 0; g->by_hash && t < g->n; t++) {
        if (g->ids[t] < 0 || g->ids[t] >= g->V) {
            return dsv4_fail(err, DSV4_E_VALUE, "input input_ids: token %" PRId64 ": got %" PRId64 ", expected 0 to %" PRId64, t,
                             g->ids[t], g->V - 1);
        }
        for (int64_t k = 0; k < g->K; k++) {
            const int32_t expert = g->table[g->ids[t] * g->K + k];
            if (expert < 0 || expert >= g->E) {
                return dsv4_fail(err, DSV4_E_VALUE, "input tid2eid: id %" PRId64 ": got expert %" PRId32 ", expected 0 to %" PRId64,
                                 g->ids[t], expert, g->E - 1);
            }
        }
    }
    return DSV4_OK;
}

/* The first of the largest of values[n] that is not taken. */
static int64_t first_largest(const float *values, const bool *taken, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        if (!taken[i] && (best < 0 || values[i] > values[best])) {
            best = i;
        }
    }
    return best;
}

/* row: x_norm widened; score, biased: [E]; taken: [E]. */
static void route_token(const golden_gate_layer *g, int64_t t, const float *row, float *score, float *biased, bool *taken)
{
    int32_t *indices = g->indices + t * g->K;
    double sum = 0.0;
    for (int64_t e = 0; e < g->E; e++) {
        const float z = golden_dot(row, g->w + e * g->D, g->D);
        score[e] = sqrtf(fmaxf(z, 0.0f) + (float)log1p(golden_exp(-fabsf(z))));
        biased[e] = score[e] + (g->bias != NULL ? g->bias[e] : 0.0f);
        taken[e] = false;
    }
    for (int64_t k = 0; k < g->K; k++) {
        const int64_t expert = g->by_hash ? g->table[g->ids[t] * g->K + k] : first_largest(biased, taken, g->E);
        taken[expert] = true;
        indices[k] = (int32_t)expert;
        sum += score[expert];
    }
    for (int64_t k = 0; k < g->K; k++) {
        g->weights[t * g->K + k] = (score[indices[k]] / (float)sum) * g->factor;
    }
}

dsv4_status golden_route(const golden_gate_layer *g, progress *p, dsv4_error *err)
{
    arena scratch = {0};
    float *row = arena_alloc(&scratch, (size_t)g->D * sizeof *row);
    float *score = arena_alloc(&scratch, (size_t)g->E * sizeof *score),
          *biased = arena_alloc(&scratch, (size_t)g->E * sizeof *biased);
    bool *taken = arena_alloc(&scratch, (size_t)g->E * sizeof *taken);
    const bool has_memory = row != NULL && score != NULL && biased != NULL && taken != NULL;
    for (int64_t t = 0; has_memory && t < g->T; t++) {
        golden_widen(g->x + t * g->D, g->D, row);
        golden_rms_gamma(row, g->norm_w, g->D, g->eps);
        golden_round(row, g->D, g->x_norm + t * g->D);
        golden_widen(g->x_norm + t * g->D, g->D, row);
        const float scale = golden_q8(row, g->D, g->x_norm_i8 + t * g->D);
        g->x_norm_scale[t] = t < g->n ? scale : 0.0f;
        if (t < g->n) {
            route_token(g, t, row, score, biased, taken);
        } else {
            memset(g->indices + t * g->K, 0, (size_t)g->K * sizeof *g->indices);
            memset(g->weights + t * g->K, 0, (size_t)g->K * sizeof *g->weights);
        }
        progress_report(p, (double)(t + 1) / (double)g->T);
    }
    arena_deinit(&scratch);
    return has_memory ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "gate: no memory for the scores of %" PRId64 " experts", g->E);
}

dsv4_status golden_find_gate(const dsv4_config *config, const dsv4_tensor_list *in, golden_extents *extents, golden_gate_layer *g,
                             dsv4_error *err)
{
    enum { NORM_W, GATE_W, LAYER_ID, NUM_TOKENS, N_IN };
    enum { BIAS, TABLE, IDS, N_OPTIONAL };
    *g = (golden_gate_layer){.D = config->hidden_size,
                             .E = config->n_routed_experts,
                             .K = config->num_experts_per_tok,
                             .V = config->vocab_size,
                             .T = extents->T,
                             .eps = (float)config->rms_norm_eps,
                             .factor = (float)config->routed_scaling_factor};
    const golden_tensor want[N_IN] = {
        [NORM_W] = {"norm_w", DSV4_BF16, 1, {g->D}},
        [GATE_W] = {"gate_w", DSV4_F32, 2, {g->E, g->D}},
        [LAYER_ID] = {"layer_id", DSV4_I32, 0, {0}},
        [NUM_TOKENS] = {"num_tokens", DSV4_I32, 0, {0}},
    };
    const golden_tensor optional[N_OPTIONAL] = {
        [BIAS] = {"gate_bias", DSV4_F32, 1, {g->E}},
        [TABLE] = {"tid2eid", DSV4_I32, 2, {g->V, g->K}},
        [IDS] = {"input_ids", DSV4_I64, 1, {GOLDEN_T}},
    };
    const void *data[N_IN], *given[N_OPTIONAL];
    dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        status = golden_need_if_given(in, optional, N_OPTIONAL, given, extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_check_num_tokens(*(const int32_t *)data[NUM_TOKENS], g->T, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    g->norm_w = data[NORM_W];
    g->w = data[GATE_W];
    g->by_hash = *(const int32_t *)data[LAYER_ID] < config->num_hash_layers;
    g->n = *(const int32_t *)data[NUM_TOKENS];
    g->bias = given[BIAS];
    g->table = given[TABLE];
    g->ids = given[IDS];
    return check_gate(g, err);
}

dsv4_status golden_gate(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in, dsv4_tensor_list *out,
                        progress *p, dsv4_error *err)
{
    enum { X_NORM, X_NORM_I8, X_NORM_SCALE, INDICES, WEIGHTS, N_OUT };
    (void)numerics;
    const golden_tensor want = {"x_mixed", DSV4_BF16, 2, {GOLDEN_T, config->hidden_size}};
    golden_gate_layer g;
    golden_extents extents = {0};
    const void *x;
    void *made[N_OUT];
    dsv4_status status = golden_need(in, &want, 1, &x, &extents, err);
    if (status == DSV4_OK) {
        status = golden_find_gate(config, in, &extents, &g, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const golden_tensor make[N_OUT] = {
        [X_NORM] = {"x_norm", DSV4_BF16, 2, {GOLDEN_T, g.D}},          [X_NORM_I8] = {"x_norm_i8", DSV4_I8, 2, {GOLDEN_T, g.D}},
        [X_NORM_SCALE] = {"x_norm_scale", DSV4_F32, 2, {GOLDEN_T, 1}}, [INDICES] = {"indices", DSV4_I32, 2, {GOLDEN_T, g.K}},
        [WEIGHTS] = {"weights", DSV4_F32, 2, {GOLDEN_T, g.K}},
    };
    status = golden_make(out, make, N_OUT, &extents, made, err);
    if (status != DSV4_OK) {
        return status;
    }
    g.x = x;
    g.x_norm = made[X_NORM];
    g.x_norm_i8 = made[X_NORM_I8];
    g.x_norm_scale = made[X_NORM_SCALE];
    g.indices = made[INDICES];
    g.weights = made[WEIGHTS];
    return golden_route(&g, p, err);
}
