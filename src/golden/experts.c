/* golden/experts.c - experts (SPEC 6.5), INT8 rows times INT8 or FP4 weights.
 *
 * MATH      g = (float(x8 w1^T) xs) s1;  u = (float(x8 w3^T) xs) s3;  g = min(g, limit), u = clamp(u, -limit, limit) if limit > 0
 *           h = (g sigmoid(g)) u;  (h8, hs) = Q8(h);  y = bf((float(h8 w2^T) (hs weight)) s2)
 *           FP4: the weights are code values * their scale per 32 inputs, their products are summed in double; no s1, s3, s2
 * SHAPES    expert_shared  x_local_i8 i8[T,D]  x_local_scale_dq f32[T,1]  ->  sh bf16[T,D], weight 1
 *           expert_routed  recv_x i8[E,R,D]  recv_scale_dq, recv_weights f32[E,R]  recv_expert_count i32[E,1]
 *                          ->  recv_y bf16[E,R,D], zeros in rows from the count on
 *           expert_routed_fp4  the same */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "golden/moe.h"
#include "golden/primitives.h"

enum { FP4_GROUP = 32 };

/* Matrix e of several that lie behind each other. */
static golden_weight weight_at(golden_weight w, int64_t e, int64_t n, int64_t k)
{
    if (w.codes != NULL) {
        w.codes += e * n * (k / 2);
        w.e8m0 += e * n * (k / FP4_GROUP);
    } else {
        w.i8 += e * n * k;
        w.scale += e * n;
    }
    return w;
}

golden_expert golden_expert_at(const golden_expert *first, int64_t e)
{
    golden_expert at = *first;
    at.w1 = weight_at(first->w1, e, first->F, first->D);
    at.w3 = weight_at(first->w3, e, first->F, first->D);
    at.w2 = weight_at(first->w2, e, first->D, first->F);
    return at;
}

static int32_t dot_i8(const int8_t *x, const int8_t *y, int64_t n)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static double dot_fp4(const int8_t *x, const uint8_t *codes, const uint8_t *e8m0, int64_t n)
{
    static const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int code = i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4, exponent = e8m0[i / FP4_GROUP];
        const double scale = exponent == 255 ? (double)NAN : ldexp(1, exponent - 127);
        sum += x[i] * (code >= 8 ? -magnitudes[code - 8] : magnitudes[code]) * scale;
    }
    return sum;
}

/* x[k] with the scale xs times output n of w. */
static float product(const golden_weight *w, int64_t n, int64_t k, const int8_t *x, float xs)
{
    if (w->codes != NULL) {
        return (float)dot_fp4(x, w->codes + n * (k / 2), w->e8m0 + n * (k / FP4_GROUP), k) * xs;
    }
    return ((float)dot_i8(x, w->i8 + n * k, k) * xs) * w->scale[n];
}

void golden_expert_row(const golden_expert *e, const int8_t *x8, float xs, float weight, float *h, int8_t *h8, uint16_t *y)
{
    for (int64_t f = 0; f < e->F; f++) {
        float g = product(&e->w1, f, e->D, x8, xs);
        float u = product(&e->w3, f, e->D, x8, xs);
        if (e->limit > 0) {
            g = fminf(g, e->limit);
            u = fmaxf(fminf(u, e->limit), -e->limit);
        }
        h[f] = (g * golden_sigmoid(g)) * u;
    }
    const float scale = golden_q8(h, e->F, h8) * weight;
    for (int64_t d = 0; d < e->D; d++) {
        const float value = product(&e->w2, d, e->F, h8, scale);
        golden_round(&value, 1, &y[d]);
    }
}

/* A weight [rows, columns] of each of n experts, or its scales, in its form. */
static golden_tensor want_tensor(const char *name, bool is_scale, bool is_fp4, int64_t n, int64_t rows, int64_t columns)
{
    golden_tensor want = {name, is_fp4 ? DSV4_U8 : DSV4_I8, 0, {0}};
    if (is_scale) {
        want.dtype = is_fp4 ? DSV4_F8_E8M0 : DSV4_F32;
    }
    if (n != 0) {
        want.shape[want.n_dims++] = n;
    }
    want.shape[want.n_dims++] = rows;
    if (is_fp4) {
        want.shape[want.n_dims++] = columns / (is_scale ? FP4_GROUP : 2);
    } else if (!is_scale) {
        want.shape[want.n_dims++] = columns;
    }
    return want;
}

static golden_weight weight_of(bool is_fp4, const void *data, const void *scale)
{
    return is_fp4 ? (golden_weight){.codes = data, .e8m0 = scale} : (golden_weight){.i8 = data, .scale = scale};
}

dsv4_status golden_find_experts(const dsv4_config *config, const char *prefix, bool is_fp4, int64_t n, const dsv4_tensor_list *in,
                                golden_extents *extents, golden_expert *first, dsv4_error *err)
{
    enum { W1, S1, W3, S3, W2, S2, N_IN };
    static const char *const ends[N_IN / 2] = {"w1", "w3", "w2"};
    const int64_t D = config->hidden_size, F = config->moe_intermediate_size;
    char names[N_IN][32];
    golden_tensor want[N_IN];
    const void *data[N_IN];
    if (is_fp4 && (D % FP4_GROUP != 0 || F % FP4_GROUP != 0)) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "config hidden_size, moe_intermediate_size: got %" PRId64 ", %" PRId64 ", expected multiples of %d", D, F,
                         FP4_GROUP);
    }
    for (int i = 0; i < N_IN; i++) {
        const bool is_scale = i % 2 == 1;
        snprintf(names[i], sizeof names[i], "%s_%s%s%s", prefix, ends[i / 2], is_fp4 ? "_fp4" : "", is_scale ? "_scale" : "");
        want[i] = want_tensor(names[i], is_scale, is_fp4, n, i >= W2 ? D : F, i >= W2 ? F : D);
    }
    const dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        *first = (golden_expert){D,
                                 F,
                                 (float)config->swiglu_limit,
                                 weight_of(is_fp4, data[W1], data[S1]),
                                 weight_of(is_fp4, data[W3], data[S3]),
                                 weight_of(is_fp4, data[W2], data[S2])};
    }
    return status;
}

static dsv4_status no_memory(const char *op, int64_t F, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for a row of %" PRId64 " values", op, F);
}

dsv4_status golden_expert_shared(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                 dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    const int64_t D = config->hidden_size;
    const golden_tensor want[] = {{"x_local_i8", DSV4_I8, 2, {GOLDEN_T, D}}, {"x_local_scale_dq", DSV4_F32, 2, {GOLDEN_T, 1}}};
    const golden_tensor make = {"sh", DSV4_BF16, 2, {GOLDEN_T, D}};
    const void *data[2];
    void *made;
    golden_expert expert;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, 2, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_find_experts(config, "shared", false, 0, in, &extents, &expert, err);
    }
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    arena scratch = {0};
    float *h = arena_alloc(&scratch, (size_t)expert.F * sizeof *h);
    int8_t *h8 = arena_alloc(&scratch, (size_t)expert.F);
    const bool has_memory = h != NULL && h8 != NULL;
    for (int64_t t = 0; has_memory && t < extents.T; t++) {
        golden_expert_row(&expert, (const int8_t *)data[0] + t * D, ((const float *)data[1])[t], 1.0f, h, h8,
                          (uint16_t *)made + t * D);
        progress_report(p, (double)(t + 1) / (double)extents.T);
    }
    arena_deinit(&scratch);
    return has_memory ? DSV4_OK : no_memory("expert_shared", expert.F, err);
}

static dsv4_status check_counts(const int32_t *counts, const golden_extents *extents, dsv4_error *err)
{
    for (int64_t e = 0; e < extents->experts; e++) {
        if (counts[e] < 0 || counts[e] > extents->room) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input recv_expert_count: expert %" PRId64 ": got %" PRId32 ", expected 0 to %" PRId64, e, counts[e],
                             extents->room);
        }
    }
    return DSV4_OK;
}

static dsv4_status run_routed(const char *op, bool is_fp4, const dsv4_config *config, const dsv4_tensor_list *in,
                              dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    enum { X, SCALE, WEIGHTS, COUNT, N_IN };
    const int64_t D = config->hidden_size;
    const golden_tensor want[N_IN] = {
        [X] = {"recv_x", DSV4_I8, 3, {GOLDEN_EXPERTS, GOLDEN_ROOM, D}},
        [SCALE] = {"recv_scale_dq", DSV4_F32, 2, {GOLDEN_EXPERTS, GOLDEN_ROOM}},
        [WEIGHTS] = {"recv_weights", DSV4_F32, 2, {GOLDEN_EXPERTS, GOLDEN_ROOM}},
        [COUNT] = {"recv_expert_count", DSV4_I32, 2, {GOLDEN_EXPERTS, 1}},
    };
    const golden_tensor make = {"recv_y", DSV4_BF16, 3, {GOLDEN_EXPERTS, GOLDEN_ROOM, D}};
    const void *data[N_IN];
    void *made;
    golden_expert first;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_find_experts(config, "routed", is_fp4, GOLDEN_EXPERTS, in, &extents, &first, err);
    }
    if (status == DSV4_OK) {
        status = check_counts(data[COUNT], &extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    arena scratch = {0};
    float *h = arena_alloc(&scratch, (size_t)first.F * sizeof *h);
    int8_t *h8 = arena_alloc(&scratch, (size_t)first.F);
    const bool has_memory = h != NULL && h8 != NULL;
    for (int64_t e = 0; has_memory && e < extents.experts; e++) {
        const golden_expert expert = golden_expert_at(&first, e);
        for (int64_t i = e * extents.room; i < e * extents.room + ((const int32_t *)data[COUNT])[e]; i++) {
            golden_expert_row(&expert, (const int8_t *)data[X] + i * D, ((const float *)data[SCALE])[i],
                              ((const float *)data[WEIGHTS])[i], h, h8, (uint16_t *)made + i * D);
        }
        progress_report(p, (double)(e + 1) / (double)extents.experts);
    }
    arena_deinit(&scratch);
    return has_memory ? DSV4_OK : no_memory(op, first.F, err);
}

dsv4_status golden_expert_routed(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                 dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return run_routed("expert_routed", false, config, in, out, p, err);
}

dsv4_status golden_expert_routed_fp4(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                     dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return run_routed("expert_routed_fp4", true, config, in, out, p, err);
}
