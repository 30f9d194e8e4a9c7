/* golden/experts.c - INT8 experts (SPEC 6.5).
 *
 * MATH      g = (float(x8 w1^T) xs) s1;  u = (float(x8 w3^T) xs) s3;  g = min(g, limit), u = clamp(u, -limit, limit) if limit > 0
 *           h = (g sigmoid(g)) u;  (h8, hs) = Q8(h);  y = bf((float(h8 w2^T) (hs weight)) s2)
 * SHAPES    expert_shared  x_local_i8 i8[T,D]  x_local_scale_dq f32[T,1]  ->  sh bf16[T,D], weight 1
 *           expert_routed  recv_x i8[E,R,D]  recv_scale_dq, recv_weights f32[E,R]  recv_expert_count i32[E,1]
 *                          ->  recv_y bf16[E,R,D], zeros in rows from the count on */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "golden/moe.h"
#include "golden/primitives.h"

golden_expert golden_expert_at(const golden_expert *first, int64_t e)
{
    golden_expert at = *first;
    at.w1 += e * first->F * first->D;
    at.w3 += e * first->F * first->D;
    at.w2 += e * first->F * first->D;
    at.s1 += e * first->F;
    at.s3 += e * first->F;
    at.s2 += e * first->D;
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

void golden_expert_row(const golden_expert *e, const int8_t *x8, float xs, float weight, float *h, int8_t *h8, uint16_t *y)
{
    for (int64_t f = 0; f < e->F; f++) {
        float g = ((float)dot_i8(x8, e->w1 + f * e->D, e->D) * xs) * e->s1[f];
        float u = ((float)dot_i8(x8, e->w3 + f * e->D, e->D) * xs) * e->s3[f];
        if (e->limit > 0) {
            g = fminf(g, e->limit);
            u = fmaxf(fminf(u, e->limit), -e->limit);
        }
        h[f] = (g * golden_sigmoid(g)) * u;
    }
    const float scale = golden_q8(h, e->F, h8) * weight;
    for (int64_t d = 0; d < e->D; d++) {
        const float value = ((float)dot_i8(h8, e->w2 + d * e->F, e->F) * scale) * e->s2[d];
        golden_round(&value, 1, &y[d]);
    }
}

dsv4_status golden_find_experts(const dsv4_config *config, const char *prefix, int64_t n, const dsv4_tensor_list *in,
                                golden_extents *extents, golden_expert *first, dsv4_error *err)
{
    enum { W1, S1, W3, S3, W2, S2, N_IN };
    static const char *const ends[N_IN] = {"w1", "w1_scale", "w3", "w3_scale", "w2", "w2_scale"};
    const int64_t D = config->hidden_size, F = config->moe_intermediate_size;
    char names[N_IN][32];
    golden_tensor want[N_IN];
    const void *data[N_IN];
    for (int i = 0; i < N_IN; i++) {
        const bool is_scale = i % 2 == 1;
        const int64_t rows = i >= W2 ? D : F, columns = i >= W2 ? F : D;
        snprintf(names[i], sizeof names[i], "%s_%s", prefix, ends[i]);
        want[i] = (golden_tensor){names[i], is_scale ? DSV4_F32 : DSV4_I8, 0, {0}};
        if (n != 0) {
            want[i].shape[want[i].n_dims++] = n;
        }
        want[i].shape[want[i].n_dims++] = rows;
        if (!is_scale) {
            want[i].shape[want[i].n_dims++] = columns;
        }
    }
    const dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        *first = (golden_expert){D, F, (float)config->swiglu_limit, data[W1], data[W3], data[W2], data[S1], data[S3], data[S2]};
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
        status = golden_find_experts(config, "shared", 0, in, &extents, &expert, err);
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

dsv4_status golden_expert_routed(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                 dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    enum { X, SCALE, WEIGHTS, COUNT, N_IN };
    (void)numerics;
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
        status = golden_find_experts(config, "routed", GOLDEN_EXPERTS, in, &extents, &first, err);
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
    return has_memory ? DSV4_OK : no_memory("expert_routed", first.F, err);
}
