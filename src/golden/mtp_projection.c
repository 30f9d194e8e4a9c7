/* golden/mtp_projection.c - the input of the draft block (SPEC 6.9).
 *
 * MATH      y = bf(((x inv(x)) w) smooth);  (q, qs) = Q8(y);  leg = (float(q p^T) qs) s
 *           hidden_states_out = bf(leg of hidden_states + leg of prev_hidden_states)
 * SHAPES    hidden_states, prev_hidden_states bf16[B,S,D]  enorm_w, hnorm_w, e_proj_smooth, h_proj_smooth f32[D]
 *           e_proj_w, h_proj_w i8[D,D], their scales f32[D]  ->  hidden_states_out bf16[B,S,D] */
#include <inttypes.h>

#include "base/arena.h"
#include "golden/operators.h"
#include "golden/primitives.h"

enum { X, NORM, SMOOTH, W, SCALE, N_PARTS };

/* y[D] = one leg of row x[D]; row[D], bf[D], q[D] are scratch. */
static void add_leg(const void *const *part, const uint16_t *x, int64_t D, float eps, float *row, uint16_t *bf, int8_t *q, float *y)
{
    const float *norm = part[NORM], *smooth = part[SMOOTH], *scale = part[SCALE];
    const int8_t *w = part[W];
    golden_widen(x, D, row);
    golden_rms(row, D, eps);
    for (int64_t d = 0; d < D; d++) {
        row[d] = (row[d] * norm[d]) * smooth[d];
    }
    golden_round(row, D, bf);
    golden_widen(bf, D, row);
    const float q_scale = golden_q8(row, D, q);
    for (int64_t n = 0; n < D; n++) {
        int32_t sum = 0;
        for (int64_t d = 0; d < D; d++) {
            sum += q[d] * w[n * D + d];
        }
        y[n] += ((float)sum * q_scale) * scale[n];
    }
}

dsv4_status golden_mtp_projection(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                  dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    const int64_t D = config->hidden_size;
    const golden_tensor want[2 * N_PARTS] = {
        {"hidden_states", DSV4_BF16, 3, {GOLDEN_B, GOLDEN_S, D}},
        {"enorm_w", DSV4_F32, 1, {D}},
        {"e_proj_smooth", DSV4_F32, 1, {D}},
        {"e_proj_w", DSV4_I8, 2, {D, D}},
        {"e_proj_w_scale", DSV4_F32, 1, {D}},
        {"prev_hidden_states", DSV4_BF16, 3, {GOLDEN_B, GOLDEN_S, D}},
        {"hnorm_w", DSV4_F32, 1, {D}},
        {"h_proj_smooth", DSV4_F32, 1, {D}},
        {"h_proj_w", DSV4_I8, 2, {D, D}},
        {"h_proj_w_scale", DSV4_F32, 1, {D}},
    };
    const golden_tensor make = {"hidden_states_out", DSV4_BF16, 3, {GOLDEN_B, GOLDEN_S, D}};
    const void *data[2 * N_PARTS];
    void *made;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, 2 * N_PARTS, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    arena scratch = {0};
    float *row = arena_alloc(&scratch, (size_t)D * sizeof *row), *y = arena_alloc(&scratch, (size_t)D * sizeof *y);
    uint16_t *bf = arena_alloc(&scratch, (size_t)D * sizeof *bf);
    int8_t *q = arena_alloc(&scratch, (size_t)D);
    const bool has_memory = row != NULL && y != NULL && bf != NULL && q != NULL;
    const int64_t T = extents.B * extents.S;
    for (int64_t t = 0; has_memory && t < T; t++) {
        for (int64_t d = 0; d < D; d++) {
            y[d] = 0;
        }
        for (int i = 0; i < 2; i++) {
            const void *const *part = data + i * N_PARTS;
            add_leg(part, (const uint16_t *)part[X] + t * D, D, (float)config->rms_norm_eps, row, bf, q, y);
        }
        golden_round(y, D, (uint16_t *)made + t * D);
        progress_report(p, (double)(t + 1) / (double)T);
    }
    arena_deinit(&scratch);
    return has_memory ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "mtp_projection: no memory for rows of %" PRId64, D);
}
