/* golden/dispatch.c - rows to and from the experts of one rank (SPEC 6.6).
 *
 * MATH      dispatch: for t, for k, e = indices[t,k], slot = recv_expert_count[e]++: row, scale, weight and t go to [e, slot]
 *           combine:  ffn_out[t] = bf((sh[t] + buffer[t,0]) + buffer[t,1] + ...), buffer[t,e] the last row of e that has token t
 * SHAPES    x_norm_i8 i8[T,D]  x_norm_scale f32[T,1]  indices i32[T,K]  weights f32[T,K]
 *           recv_x i8[E,R,D]  recv_scale_dq, recv_weights f32[E,R]  recv_token i32[E,R]  recv_expert_count i32[E,1]
 *           recv_y bf16[E,R,D]  sh, ffn_out bf16[T,D]
 * NUMERICS  R = max(16, 4 T K / E), rounded down. */
#include <inttypes.h>
#include <string.h>

#include "golden/moe.h"
#include "golden/primitives.h"

dsv4_status golden_dispatch(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                            dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    enum { X, SCALE, INDICES, WEIGHTS, N_IN };
    enum { RECV_X, RECV_SCALE, RECV_WEIGHTS, TOKEN, COUNT, N_OUT };
    (void)numerics;
    const int64_t D = config->hidden_size, K = config->num_experts_per_tok, E = config->n_routed_experts;
    const golden_tensor want[N_IN] = {
        [X] = {"x_norm_i8", DSV4_I8, 2, {GOLDEN_T, D}},
        [SCALE] = {"x_norm_scale", DSV4_F32, 2, {GOLDEN_T, 1}},
        [INDICES] = {"indices", DSV4_I32, 2, {GOLDEN_T, K}},
        [WEIGHTS] = {"weights", DSV4_F32, 2, {GOLDEN_T, K}},
    };
    const void *data[N_IN];
    void *made[N_OUT];
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t routes = extents.T * K, R = 4 * routes / E < 16 ? 16 : 4 * routes / E;
    const golden_tensor make[N_OUT] = {
        [RECV_X] = {"recv_x", DSV4_I8, 3, {E, R, D}},           [RECV_SCALE] = {"recv_scale_dq", DSV4_F32, 2, {E, R}},
        [RECV_WEIGHTS] = {"recv_weights", DSV4_F32, 2, {E, R}}, [TOKEN] = {"recv_token", DSV4_I32, 2, {E, R}},
        [COUNT] = {"recv_expert_count", DSV4_I32, 2, {E, 1}},
    };
    status = golden_make(out, make, N_OUT, &extents, made, err);
    for (int64_t i = 0; i < routes && status == DSV4_OK; i++) {
        const int32_t e = ((const int32_t *)data[INDICES])[i];
        int32_t *count = made[COUNT];
        if (e < 0 || e >= E || count[e] == R) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input indices: token %" PRId64 ": got %" PRId32 ", expected 0 to %" PRId64 " with room for its row",
                             i / K, e, E - 1);
        }
        const int64_t row = e * R + count[e]++;
        memcpy((int8_t *)made[RECV_X] + row * D, (const int8_t *)data[X] + i / K * D, (size_t)D);
        ((float *)made[RECV_SCALE])[row] = ((const float *)data[SCALE])[i / K];
        ((float *)made[RECV_WEIGHTS])[row] = ((const float *)data[WEIGHTS])[i];
        ((int32_t *)made[TOKEN])[row] = (int32_t)(i / K);
        progress_report(p, (double)(i + 1) / (double)routes);
    }
    return status;
}

/* sum[D] += the last row of expert e that has token t. */
static void add_expert(const uint16_t *y, const int32_t *token, int64_t n, int64_t t, int64_t D, float *row, float *sum)
{
    int64_t last = -1;
    for (int64_t r = 0; r < n; r++) {
        last = token[r] == t ? r : last;
    }
    if (last < 0) {
        return;
    }
    golden_widen(y + last * D, D, row);
    for (int64_t d = 0; d < D; d++) {
        sum[d] += row[d];
    }
}

dsv4_status golden_combine(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                           dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    enum { Y, TOKEN, COUNT, SH, N_IN };
    (void)numerics;
    const int64_t D = config->hidden_size;
    const golden_tensor want[N_IN] = {
        [Y] = {"recv_y", DSV4_BF16, 3, {GOLDEN_EXPERTS, GOLDEN_ROOM, D}},
        [TOKEN] = {"recv_token", DSV4_I32, 2, {GOLDEN_EXPERTS, GOLDEN_ROOM}},
        [COUNT] = {"recv_expert_count", DSV4_I32, 2, {GOLDEN_EXPERTS, 1}},
        [SH] = {"sh", DSV4_BF16, 2, {GOLDEN_T, D}},
    };
    const golden_tensor make = {"ffn_out", DSV4_BF16, 2, {GOLDEN_T, D}};
    const void *data[N_IN];
    void *made;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    for (int64_t e = 0; status == DSV4_OK && e < extents.experts; e++) {
        const int32_t count = ((const int32_t *)data[COUNT])[e];
        if (count < 0 || count > extents.room) {
            status =
                dsv4_fail(err, DSV4_E_VALUE, "input recv_expert_count: expert %" PRId64 ": got %" PRId32 ", expected 0 to %" PRId64,
                          e, count, extents.room);
        }
    }
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    arena scratch = {0};
    float *sum = arena_alloc(&scratch, (size_t)D * sizeof *sum), *row = arena_alloc(&scratch, (size_t)D * sizeof *row);
    const bool has_memory = sum != NULL && row != NULL;
    for (int64_t t = 0; has_memory && t < extents.T; t++) {
        golden_widen((const uint16_t *)data[SH] + t * D, D, sum);
        for (int64_t e = 0; e < extents.experts; e++) {
            const int64_t first = e * extents.room;
            add_expert((const uint16_t *)data[Y] + first * D, (const int32_t *)data[TOKEN] + first,
                       ((const int32_t *)data[COUNT])[e], t, D, row, sum);
        }
        golden_round(sum, D, (uint16_t *)made + t * D);
        progress_report(p, (double)(t + 1) / (double)extents.T);
    }
    arena_deinit(&scratch);
    return has_memory ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "combine: no memory for rows of %" PRId64, D);
}
