/* golden/hc_pre.c - residual streams into the input of a block (SPEC 6.1).
 *
 * MATH      mix = (f hc_fn^T) inv(f), f = the streams of a token in one row
 *           pre_k = sigmoid(mix_k scale_0 + base_k) + hc_eps;  post_k = 2 sigmoid(mix_{M+k} scale_1 + base_{M+k})
 *           comb = softmax over j of (mix_{2M+Mi+j} scale_2 + base_{2M+Mi+j}) + hc_eps, made doubly stochastic by
 *           hc_sinkhorn_iters normalisations of its columns with one of its rows between two of them
 *           x_mixed = round(((x_0 pre_0 + x_1 pre_1) + x_2 pre_2) + ...)
 * SHAPES    x bf16[T,M,D]  hc_fn f32[(2+M)*M,M*D]  hc_scale f32[3]  hc_base f32[(2+M)*M]
 *           ->  x_mixed bf16[T,D]  post f32[T,M]  comb f32[T,M*M]
 * NUMERICS  round is bf, and bfA for DSV4_REFERENCE. */
#include "golden/operators.h"
#include "golden/parts.h"

dsv4_status golden_hc_pre(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                          dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    enum { X, FN, SCALE, BASE, N_IN };
    enum { X_MIXED, POST, COMB, N_OUT };
    golden_hc hc;
    dsv4_status status = golden_hc_init(config, numerics, &hc, err);
    const int64_t M = hc.M, D = hc.D;
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 3, {GOLDEN_T, M, D}},
        [FN] = {"hc_fn", DSV4_F32, 2, {(2 + M) * M, M * D}},
        [SCALE] = {"hc_scale", DSV4_F32, 1, {3}},
        [BASE] = {"hc_base", DSV4_F32, 1, {(2 + M) * M}},
    };
    const golden_tensor make[N_OUT] = {
        [X_MIXED] = {"x_mixed", DSV4_BF16, 2, {GOLDEN_T, D}},
        [POST] = {"post", DSV4_F32, 2, {GOLDEN_T, M}},
        [COMB] = {"comb", DSV4_F32, 2, {GOLDEN_T, M * M}},
    };
    const void *data[N_IN];
    void *made[N_OUT];
    golden_extents extents = {0};
    if (status == DSV4_OK) {
        status = golden_need(in, want, N_IN, data, &extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_make(out, make, N_OUT, &extents, made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    hc.fn = data[FN];
    hc.scale = data[SCALE];
    hc.base = data[BASE];
    return golden_mix_streams(&hc, extents.T, data[X], made[X_MIXED], made[POST], made[COMB], p, err);
}
