/* golden/rope_tables.c - cosines and sines of every position (SPEC 1.4).
 *
 * MATH      f[j] = 1 / base^(2j/R), j < R/2
 *           YaRN:  d(rho) = R ln(orig / (2 pi rho)) / (2 ln base)
 *                  lo = max(floor d(beta_fast), 0);  hi = min(ceil d(beta_slow), R-1), 0.001 more if that is lo
 *                  m[j] = 1 - clamp((j - lo) / (hi - lo), 0, 1);  f[j] <- (f[j] / factor) (1 - m[j]) + f[j] m[j]
 *           freqs_cos[p, j] = freqs_cos[p, j + R/2] = bf(cos(p f[j])), freqs_sin likewise
 *           compress_ratio 0: base = rope_theta, no YaRN; above: base = compress_rope_theta, YaRN if orig > 0
 * SHAPES    compress_ratio i32[]  max_seq_len i32[]  ->  freqs_cos, freqs_sin bf16[max_seq_len,R]
 * NUMERICS  lo and hi in double; powers, f, angles, cosines and sines each rounded to FP32. */
#include <inttypes.h>
#include <math.h>

#include "base/arena.h"
#include "base/numbers.h"
#include "golden/operators.h"

/* Up to here every position is exact in FP32. */
#define MAX_POSITIONS ((int32_t)1 << 24)

static double correction_dim(const dsv4_config *config, double base, double rotations)
{
    const double periods = (double)config->original_max_position_embeddings / (rotations * 2.0 * M_PI);
    return (double)config->qk_rope_head_dim * log(periods) / (2.0 * log(base));
}

static void apply_yarn(const dsv4_config *config, double base, float *f)
{
    const int64_t R = config->qk_rope_head_dim;
    const float factor = (float)config->rope_factor;
    const double lo = fmax(floor(correction_dim(config, base, config->beta_fast)), 0.0);
    double hi = fmin(ceil(correction_dim(config, base, config->beta_slow)), (double)(R - 1));
    if (lo == hi) {
        hi += 0.001;
    }
    for (int64_t j = 0; j < R / 2; j++) {
        const float ramp = ((float)j - (float)lo) / (float)(hi - lo);
        const float m = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
        f[j] = (f[j] / factor) * (1.0f - m) + f[j] * m;
    }
}

/* Turns per position of each rotary pair, in radians: f[R/2]. */
static void rope_frequencies(const dsv4_config *config, int32_t compress_ratio, float *f)
{
    const int64_t R = config->qk_rope_head_dim;
    const double base = compress_ratio == 0 ? config->rope_theta : config->compress_rope_theta;
    for (int64_t j = 0; j < R / 2; j++) {
        const float exponent = (float)(2 * j) / (float)R;
        f[j] = 1.0f / (float)pow((float)base, exponent);
    }
    if (compress_ratio != 0 && config->original_max_position_embeddings > 0) {
        apply_yarn(config, base, f);
    }
}

static void fill_row(int32_t position, const float *f, int64_t half, uint16_t *cosines, uint16_t *sines)
{
    for (int64_t j = 0; j < half; j++) {
        const float angle = (float)position * f[j];
        cosines[j] = cosines[j + half] = num_bf16_from_f32((float)cos(angle));
        sines[j] = sines[j + half] = num_bf16_from_f32((float)sin(angle));
    }
}

static dsv4_status read_scalars(const dsv4_tensor_list *in, int32_t *compress_ratio, int32_t *max_seq_len, dsv4_error *err)
{
    const golden_tensor want[2] = {{"compress_ratio", DSV4_I32, 0, {0}}, {"max_seq_len", DSV4_I32, 0, {0}}};
    const void *data[2];
    const dsv4_status status = golden_need(in, want, 2, data, &(golden_extents){0}, err);
    if (status != DSV4_OK) {
        return status;
    }
    *compress_ratio = *(const int32_t *)data[0];
    *max_seq_len = *(const int32_t *)data[1];
    if (*compress_ratio < 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "input compress_ratio: got %" PRId32 ", expected 0 or more", *compress_ratio);
    }
    if (*max_seq_len < 1 || *max_seq_len > MAX_POSITIONS) {
        return dsv4_fail(err, DSV4_E_VALUE, "input max_seq_len: got %" PRId32 ", expected 1 to %" PRId32, *max_seq_len,
                         MAX_POSITIONS);
    }
    return DSV4_OK;
}

dsv4_status golden_rope_tables(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                               dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    const int64_t R = config->qk_rope_head_dim;
    int32_t compress_ratio, n;
    dsv4_status status = golden_check_rope_dim(config, "head_dim", config->head_dim, err);
    if (status == DSV4_OK) {
        status = read_scalars(in, &compress_ratio, &n, err);
    }
    if (status != DSV4_OK) {
        return status;
    }

    const golden_tensor make[2] = {{"freqs_cos", DSV4_BF16, 2, {n, R}}, {"freqs_sin", DSV4_BF16, 2, {n, R}}};
    void *made[2];
    status = golden_make(out, make, 2, &(golden_extents){0}, made, err);
    if (status != DSV4_OK) {
        return status;
    }

    arena scratch = {0};
    float *f = arena_alloc(&scratch, (size_t)(R / 2) * sizeof *f);
    if (f == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "rope_tables: no memory for %" PRId64 " frequencies", R / 2);
    }
    rope_frequencies(config, compress_ratio, f);
    for (int32_t position = 0; position < n; position++) {
        fill_row(position, f, R / 2, (uint16_t *)made[0] + position * R, (uint16_t *)made[1] + position * R);
        if (position % 256 == 0) {
            progress_report(p, (double)position / (double)n);
        }
    }
    arena_deinit(&scratch);
    return DSV4_OK;
}
