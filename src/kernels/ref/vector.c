/* kernels/ref/vector.c - elementwise kernels and reductions of the row "scalar". */
#include <math.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

float uk_scalar_sum_squares(int64_t n, const float *x)
{
    float s[LANES] = {0.0f};
    for (int64_t i = 0; i < n; i++) {
        s[i % LANES] += x[i] * x[i];
    }
    return scalar_sum_lanes(s);
}

float uk_scalar_amax(int64_t n, const float *x)
{
    float max = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    }
    return max;
}

float uk_scalar_scale_gamma(int64_t n, const float *x, float inv, const uint16_t *gamma, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (x[i] * inv) * num_f32_from_bf16(gamma[i]);
    }
    return uk_scalar_amax(n, y);
}

void uk_scalar_scale(int64_t n, const float *x, float inv, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * inv;
    }
}

void uk_scalar_sum_parts(int64_t n, int64_t n_parts, const float *x, int64_t stride, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t p = 0; p < n_parts; p++) {
            sum += x[p * stride + i];
        }
        y[i] = (float)sum;
    }
}

void uk_scalar_add(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + x[i];
    }
}

void uk_scalar_quantize_i8(int64_t n, const float *x, float sq, int8_t *q)
{
    for (int64_t i = 0; i < n; i++) {
        float rounded = rintf(x[i] * sq);
        if (!(fabsf(rounded) < 0x1p31f) || rounded < -128.0f) {
            rounded = -128.0f;
        }
        q[i] = (int8_t)(rounded > 127.0f ? 127.0f : rounded);
    }
}

float uk_scalar_q8_bf16(int64_t n, const uint16_t *x, int8_t *q)
{
    float amax = 1e-4f;
    for (int64_t i = 0; i < n; i++) {
        float size = fabsf(num_f32_from_bf16(x[i]));
        amax = size > amax ? size : amax;
    }
    float sq = 1.0f / amax * 127.0f;
    for (int64_t i = 0; i < n; i++) {
        float v = num_f32_from_bf16(x[i]);
        uk_scalar_quantize_i8(1, &v, sq, &q[i]);
    }
    return sq;
}

void uk_scalar_dequant_i32(int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = ((float)acc[i] * row_scale) * col_scale[i];
    }
}

void uk_scalar_widen_bf16(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_f32_from_bf16(x[i]);
    }
}

void uk_scalar_narrow_bf16(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_bf16_from_f32(x[i]);
    }
}

void uk_scalar_rotate(int64_t n_pairs, const float *c, const float *s, float *x)
{
    for (int64_t j = 0; j < n_pairs; j++) {
        float even = x[2 * j], odd = x[2 * j + 1];
        x[2 * j] = even * c[j] - odd * s[j];
        x[2 * j + 1] = even * s[j] + odd * c[j];
    }
}

void uk_scalar_add_scaled(int64_t n, float a, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + a * x[i];
    }
}

void uk_scalar_weigh_rows(int64_t n, int64_t n_rows, const uint16_t *const *x, const float *a, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        float sum = num_f32_from_bf16(x[0][i]) * a[0];
        for (int64_t r = 1; r < n_rows; r++) {
            sum += num_f32_from_bf16(x[r][i]) * a[r];
        }
        y[i] = num_bf16_from_f32(sum);
    }
}

void uk_scalar_blend(int64_t n_rows, const float *a, const float *b, const float *x, float *y)
{
    for (int64_t i = 0; i < n_rows * UK_PANEL; i++) {
        y[i] = a[i / UK_PANEL] * y[i] + b[i / UK_PANEL] * x[i];
    }
}

void uk_scalar_divide(int64_t n_rows, const float *d, const float *x, float *y, int64_t ldy)
{
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t i = 0; i < UK_PANEL; i++) {
            y[r * ldy + i] = x[r * UK_PANEL + i] / d[r];
        }
    }
}

void uk_scalar_add_dequant(int64_t n, const int32_t *acc, float scale, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + (float)acc[i] * scale;
    }
}

void uk_scalar_scale_cols(int64_t n, const float *x, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * col_scale[i];
    }
}
