/* kernels/ref/attention.c - softmax, pooling and index scores of the row "scalar". */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

/* EXP of kernels.h. */
static float scalar_exp(float x)
{
    static const float terms[UK_EXP_N_TERMS] = UK_EXP_TERMS;
    if (!(x >= UK_EXP_MIN)) {
        return isnan(x) ? x : 0.0f;
    }
    if (x > UK_EXP_MAX) {
        return INFINITY;
    }
    float t = rintf(x * UK_EXP_LOG2_E), r = fmaf(t, -UK_EXP_LN2_HIGH, x), p = terms[0];
    r = fmaf(t, -UK_EXP_LN2_LOW, r);
    for (int i = 1; i < UK_EXP_N_TERMS; i++) {
        p = fmaf(p, r, terms[i]);
    }
    float y = fmaf(p, r * r, r) + 1.0f;
    return num_f32_from_bits(num_bits_from_f32(y) + ((uint32_t)(int32_t)t << 23));
}

void uk_scalar_exp(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = scalar_exp(x[i]);
    }
}

void uk_scalar_softmax(int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, void *acts)
{
    int64_t n_groups = (n_cols + UK_ROWS - 1) / UK_ROWS, group_values = (n_rows + 1) / 2 * 2 * UK_ROWS;
    memset(acts, 0, (size_t)(n_groups * group_values) * sizeof(uint16_t));
    for (int64_t h = 0; h < n_cols; h++) {
        uint16_t *weights = (uint16_t *)acts + h / UK_ROWS * group_values + 2 * (h % UK_ROWS);
        float max = -INFINITY, sum = 0.0f;
        for (int64_t r = 0; r < n_rows; r++) {
            max = s[r * ld + h] * scale > max ? s[r * ld + h] * scale : max;
        }
        for (int64_t r = 0; r < n_rows; r++) {
            float e = scalar_exp(s[r * ld + h] * scale - max);
            sum += e;
            weights[r / 2 * 2 * UK_ROWS + r % 2] = num_bf16_from_f32(e);
        }
        m[h] = max;
        l[h] = sum;
    }
}

/* The weight of a score before it is divided by the sum of weights. */
static float pool_weight(float score, float max)
{
    return score <= -FLT_MAX ? 0.0f : scalar_exp(score - max);
}

void uk_scalar_pool(int64_t n, int64_t n_rows, const float *const *k, const float *const *s, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        float max = -INFINITY, sum = 0.0f, pooled = 0.0f;
        for (int64_t r = 0; r < n_rows; r++) {
            max = s[r][i] > max ? s[r][i] : max;
        }
        for (int64_t r = 0; r < n_rows; r++) {
            sum += pool_weight(s[r][i], max);
        }
        for (int64_t r = 0; r < n_rows && sum != 0.0f; r++) {
            pooled += k[r][i] * (pool_weight(s[r][i], max) / sum);
        }
        y[i] = pooled;
    }
}

void uk_scalar_index_score(int64_t n_keys, int64_t n_heads, const int32_t *acc, int64_t ld, const float *q_scale,
                           const float *k_scale, const float *w, float *y)
{
    for (int64_t c = 0; c < n_keys; c++) {
        float sums[LANES] = {0.0f};
        for (int64_t h = 0; h < n_heads; h++) {
            float v = ((float)acc[c * ld + h] * q_scale[h]) * k_scale[c];
            sums[h % LANES] += (v > 0.0f ? v : 0.0f) * w[h];
        }
        y[c] = scalar_sum_lanes(sums);
    }
}
