/* golden/hc_post.c - the output of a block spread over the residual streams (SPEC 6.2).
 *
 * MATH      y_j = bf((((x post_j + r_0 comb_0j) + r_1 comb_1j) + r_2 comb_2j) + ...), r = residual; comb: source, destination
 * SHAPES    x bf16[T,D]  residual bf16[T,M,D]  post f32[T,M]  comb f32[T,M*M]  ->  y bf16[T,M,D] */
#include "golden/operators.h"
#include "golden/parts.h"

dsv4_status golden_hc_post(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                           dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    enum { X, RESIDUAL, POST, COMB, N_IN };
    const int64_t M = config->hc_mult, D = config->hidden_size;
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 2, {GOLDEN_T, D}},
        [RESIDUAL] = {"residual", DSV4_BF16, 3, {GOLDEN_T, M, D}},
        [POST] = {"post", DSV4_F32, 2, {GOLDEN_T, M}},
        [COMB] = {"comb", DSV4_F32, 2, {GOLDEN_T, M * M}},
    };
    const golden_tensor make = {"y", DSV4_BF16, 3, {GOLDEN_T, M, D}};
    const void *data[N_IN];
    void *y;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &y, err);
    }
    if (status == DSV4_OK) {
        golden_spread_streams(extents.T, M, D, data[X], data[RESIDUAL], data[POST], data[COMB], y, p);
    }
    return status;
}
