/* golden/hc_head.c - residual streams into the input of the head (SPEC 6.3).
 *
 * MATH      mix = (f hc_head_fn^T) inv(f), f = the streams of a token in one row
 *           pre_k = sigmoid(mix_k scale + base_k) + hc_eps;  y = round((x_0 pre_0 + x_1 pre_1) + (x_2 pre_2 + x_3 pre_3))
 * SHAPES    x_hc bf16[T,M,D]  hc_head_fn f32[M,M*D]  hc_head_scale f32[1]  hc_head_base f32[M]  ->  y bf16[T,D]
 * NUMERICS  round is bf, and bfA for DSV4_REFERENCE. The sum over any M is this tree: neighbours are added, level by level. */
#include <inttypes.h>

#include "golden/hc.h"
#include "golden/operators.h"

/* Adds neighbours of terms[n] until one is left. */
static float tree_sum(float *terms, int64_t n)
{
    while (n > 1) {
        for (int64_t i = 0; 2 * i < n; i++) {
            terms[i] = 2 * i + 1 < n ? terms[2 * i] + terms[2 * i + 1] : terms[2 * i];
        }
        n = (n + 1) / 2;
    }
    return terms[0];
}

/* y[D] of a token; row[M * D] is scratch. */
static void head_token(const golden_hc *hc, const uint16_t *x, float *row, uint16_t *y)
{
    float pre[GOLDEN_MAX_STREAMS], terms[GOLDEN_MAX_STREAMS];
    hc_mix(hc, x, hc->M, hc->fn, row, pre);
    for (int64_t k = 0; k < hc->M; k++) {
        pre[k] = hc_gate(hc, pre[k], hc->scale[0], hc->base[k]);
    }
    for (int64_t d = 0; d < hc->D; d++) {
        for (int64_t k = 0; k < hc->M; k++) {
            terms[k] = row[k * hc->D + d] * pre[k];
        }
        y[d] = hc_round(hc, tree_sum(terms, hc->M));
    }
}

static dsv4_status find_and_make(golden_hc *hc, const dsv4_tensor_list *in, dsv4_tensor_list *out, const uint16_t **x, int64_t *T,
                                 uint16_t **y, dsv4_error *err)
{
    enum { X, FN, SCALE, BASE, N_IN };
    const golden_tensor want[N_IN] = {
        [X] = {"x_hc", DSV4_BF16, 3, {GOLDEN_T, hc->M, hc->D}},
        [FN] = {"hc_head_fn", DSV4_F32, 2, {hc->M, hc->M * hc->D}},
        [SCALE] = {"hc_head_scale", DSV4_F32, 1, {1}},
        [BASE] = {"hc_head_base", DSV4_F32, 1, {hc->M}},
    };
    const golden_tensor make = {"y", DSV4_BF16, 2, {GOLDEN_T, hc->D}};
    const void *data[N_IN];
    void *made;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status == DSV4_OK) {
        hc->fn = data[FN];
        hc->scale = data[SCALE];
        hc->base = data[BASE];
        *x = data[X];
        *y = made;
        *T = extents.T;
    }
    return status;
}

dsv4_status golden_hc_head(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                           dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    golden_hc hc;
    const uint16_t *x;
    uint16_t *y;
    int64_t T;
    arena memory = {0};
    dsv4_status status = golden_hc_init(config, numerics, &hc, err);
    if (status == DSV4_OK) {
        status = find_and_make(&hc, in, out, &x, &T, &y, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t length = hc.M * hc.D;
    float *row = arena_alloc(&memory, (size_t)length * sizeof *row);
    if (row == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "hc_head: no memory for a row of %" PRId64 " elements", length);
    }
    for (int64_t t = 0; t < T; t++) {
        head_token(&hc, x + t * length, row, y + t * hc.D);
        progress_report(p, (double)(t + 1) / (double)T);
    }
    arena_deinit(&memory);
    return DSV4_OK;
}
