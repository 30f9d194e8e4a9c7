/* golden/hc.c - hyper-connections: M residual streams are mixed into one block input and its output is spread over them again
 * (SPEC 6.1 to 6.3). */
#include "golden/hc.h"

#include <inttypes.h>

#include "base/numbers.h"
#include "golden/primitives.h"

dsv4_status golden_hc_init(const dsv4_config *config, const dsv4_numerics *numerics, golden_hc *hc, dsv4_error *err)
{
    *hc = (golden_hc){
        .M = config->hc_mult,
        .D = config->hidden_size,
        .norm_eps = (float)config->rms_norm_eps,
        .hc_eps = (float)config->hc_eps,
        .sinkhorn_iters = config->hc_sinkhorn_iters,
        .ties_away = numerics->compat == DSV4_REFERENCE,
    };
    if (hc->M < 1 || hc->M > GOLDEN_MAX_STREAMS) {
        return dsv4_fail(err, DSV4_E_VALUE, "config hc_mult: got %" PRId64 ", expected 1 to %d", hc->M, GOLDEN_MAX_STREAMS);
    }
    return DSV4_OK;
}

void hc_mix(const golden_hc *hc, const uint16_t *x, int64_t n, const float *fn, float *row, float *mix)
{
    const int64_t length = hc->M * hc->D;
    golden_widen(x, length, row);
    const float inv = golden_inverse_rms(row, length, hc->norm_eps);
    for (int64_t i = 0; i < n; i++) {
        mix[i] = golden_dot(row, fn + i * length, length) * inv;
    }
}

float hc_gate(const golden_hc *hc, float mix, float scale, float base)
{
    return golden_sigmoid(mix * scale + base) + hc->hc_eps;
}

uint16_t hc_round(const golden_hc *hc, float value)
{
    return hc->ties_away ? num_bf16_from_f32_ties_away(value) : num_bf16_from_f32(value);
}

static void divide_by_sum(float *c, int64_t M, int64_t stride, float eps)
{
    double sum = 0.0;
    for (int64_t i = 0; i < M; i++) {
        sum += c[i * stride];
    }
    const float divisor = (float)sum + eps;
    for (int64_t i = 0; i < M; i++) {
        c[i * stride] = c[i * stride] / divisor;
    }
}

void golden_sinkhorn(float *c, int64_t M, int64_t n, float eps)
{
    for (int64_t iteration = 0; iteration < n; iteration++) {
        for (int64_t i = 0; i < M && iteration > 0; i++) {
            divide_by_sum(c + i * M, M, 1, eps);
        }
        for (int64_t j = 0; j < M; j++) {
            divide_by_sum(c + j, M, M, eps);
        }
    }
}

/* z[M] <- softmax(z) + eps. */
static void softmax_row(float *z, int64_t M, float eps)
{
    float largest = z[0];
    double sum = 0.0;
    for (int64_t j = 1; j < M; j++) {
        largest = z[j] > largest ? z[j] : largest;
    }
    for (int64_t j = 0; j < M; j++) {
        z[j] = golden_exp(z[j] - largest);
        sum += z[j];
    }
    for (int64_t j = 0; j < M; j++) {
        z[j] = z[j] / (float)sum + eps;
    }
}

/* One token of golden_mix_streams; row[M * D] is its streams, widened by hc_mix. */
static void mix_token(const golden_hc *hc, const float *mix, const float *row, uint16_t *x_mixed, float *post, float *comb)
{
    const int64_t M = hc->M, D = hc->D;
    float pre[GOLDEN_MAX_STREAMS];
    for (int64_t k = 0; k < M; k++) {
        pre[k] = hc_gate(hc, mix[k], hc->scale[0], hc->base[k]);
        post[k] = 2.0f * golden_sigmoid(mix[M + k] * hc->scale[1] + hc->base[M + k]);
    }
    for (int64_t i = 0; i < M * M; i++) {
        comb[i] = mix[2 * M + i] * hc->scale[2] + hc->base[2 * M + i];
    }
    for (int64_t i = 0; i < M; i++) {
        softmax_row(comb + i * M, M, hc->hc_eps);
    }
    golden_sinkhorn(comb, M, hc->sinkhorn_iters, hc->hc_eps);
    for (int64_t d = 0; d < D; d++) {
        float sum = row[d] * pre[0];
        for (int64_t k = 1; k < M; k++) {
            sum = sum + row[k * D + d] * pre[k];
        }
        x_mixed[d] = hc_round(hc, sum);
    }
}

dsv4_status golden_mix_streams(const golden_hc *hc, int64_t T, const uint16_t *x, uint16_t *x_mixed, float *post, float *comb,
                               progress *p, dsv4_error *err)
{
    enum { MAX_MIX = (2 + GOLDEN_MAX_STREAMS) * GOLDEN_MAX_STREAMS };
    const int64_t M = hc->M, length = M * hc->D;
    float mix[MAX_MIX];
    arena memory = {0};
    float *row = arena_alloc(&memory, (size_t)length * sizeof *row);
    if (row == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "hc_pre: no memory for a row of %" PRId64 " elements", length);
    }
    for (int64_t t = 0; t < T; t++) {
        hc_mix(hc, x + t * length, (2 + M) * M, hc->fn, row, mix);
        mix_token(hc, mix, row, x_mixed + t * hc->D, post + t * M, comb + t * M * M);
        progress_report(p, (double)(t + 1) / (double)T);
    }
    arena_deinit(&memory);
    return DSV4_OK;
}

/* Stream j of one token. */
static void spread_stream(int64_t M, int64_t D, int64_t j, const uint16_t *x, const uint16_t *residual, float post,
                          const float *comb, uint16_t *y)
{
    for (int64_t d = 0; d < D; d++) {
        float sum = num_f32_from_bf16(x[d]) * post;
        for (int64_t k = 0; k < M; k++) {
            sum = sum + num_f32_from_bf16(residual[k * D + d]) * comb[k * M + j];
        }
        y[d] = num_bf16_from_f32(sum);
    }
}

void golden_spread_streams(int64_t T, int64_t M, int64_t D, const uint16_t *x, const uint16_t *residual, const float *post,
                           const float *comb, uint16_t *y, progress *p)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t j = 0; j < M; j++) {
            spread_stream(M, D, j, x + t * D, residual + t * M * D, post[t * M + j], comb + t * M * M, y + (t * M + j) * D);
        }
        progress_report(p, (double)(t + 1) / (double)T);
    }
}
