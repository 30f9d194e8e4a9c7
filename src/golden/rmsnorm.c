/* golden/rmsnorm.c - root-mean-square norm (SPEC 2.1).
 *
 * MATH      inv[t] = 1 / sqrt(sum_d x[t,d]^2 * (1/D) + eps);  x_normed[t,d] = bf((x[t,d] * inv[t]) * norm_w[d])
 * SHAPES    x bf16[T,D]  norm_w bf16[D]  ->  x_normed bf16[T,D] */
#include <inttypes.h>

#include "base/arena.h"
#include "golden/operators.h"
#include "golden/primitives.h"

dsv4_status golden_rmsnorm(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                           dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    enum { X, NORM_W, N_IN };
    const int64_t D = config->hidden_size;
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 2, {GOLDEN_T, D}},
        [NORM_W] = {"norm_w", DSV4_BF16, 1, {D}},
    };
    const golden_tensor make = {"x_normed", DSV4_BF16, 2, {GOLDEN_T, D}};
    const void *data[N_IN];
    void *made;
    golden_extents extents = {0};
    arena scratch = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }

    float *row = arena_alloc(&scratch, (size_t)D * sizeof *row);
    if (row == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "rmsnorm: no memory for a row of %" PRId64 " elements", D);
    }
    const int64_t T = extents.T;
    const uint16_t *x = data[X];
    uint16_t *x_normed = made;
    for (int64_t t = 0; t < T; t++) {
        golden_widen(x + t * D, D, row);
        golden_rms_gamma(row, data[NORM_W], D, (float)config->rms_norm_eps);
        golden_round(row, D, x_normed + t * D);
        progress_report(p, (double)(t + 1) / (double)T);
    }
    arena_deinit(&scratch);
    return DSV4_OK;
}
