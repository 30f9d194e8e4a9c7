/* kernels/ref/ref.c - the row "scalar": the contract of kernels.h as plain loops. Every other row agrees with it to the bit. */
#include <math.h>

#include "base/numbers.h"
#include "kernels/rows.h"

enum { LANES = 16 };

static void gemm_bf16(int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc, bool add)
{
    for (int i = 0; i < m; i++) {
        float sum[UK_PANEL] = {0.0f};
        for (int64_t row = 0; row < k; row++) {
            for (int j = 0; j < UK_PANEL; j++) {
                uint16_t w = panel[row * UK_PANEL + 2 * (j % LANES) + j / LANES];
                sum[j] = fmaf(a[i * lda + row], num_f32_from_bf16(w), sum[j]);
            }
        }
        for (int j = 0; j < UK_PANEL; j++) {
            c[i * ldc + j] = add ? c[i * ldc + j] + sum[j] : sum[j];
        }
    }
}

static void gemm_i8(int m, int64_t k4, const uint8_t *a, int64_t lda, const int8_t *panel, const int32_t *correction, int32_t *c,
                    int64_t ldc)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < UK_PANEL; j++) {
            int32_t sum = correction[j];
            for (int64_t k = 0; k < 4 * k4; k++) {
                sum += a[i * lda + k] * panel[(k / 4 * UK_PANEL + j) * 4 + k % 4];
            }
            c[i * ldc + j] = sum;
        }
    }
}

static float sum_squares(int64_t n, const float *x)
{
    float s[LANES] = {0.0f};
    for (int64_t i = 0; i < n; i++) {
        s[i % LANES] += x[i] * x[i];
    }
    for (int half = LANES / 2; half >= 1; half /= 2) {
        for (int l = 0; l < half; l++) {
            s[l] += s[l + half];
        }
    }
    return s[0];
}

static float amax(int64_t n, const float *x)
{
    float max = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    }
    return max;
}

static float scale_gamma(int64_t n, const float *x, float inv, const uint16_t *gamma, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (x[i] * inv) * num_f32_from_bf16(gamma[i]);
    }
    return amax(n, y);
}

static void scale(int64_t n, const float *x, float inv, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * inv;
    }
}

static void add(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + x[i];
    }
}

static void quantize_i8(int64_t n, const float *x, float sq, int8_t *q)
{
    for (int64_t i = 0; i < n; i++) {
        float rounded = rintf(x[i] * sq);
        if (!(fabsf(rounded) < 0x1p31f) || rounded < -128.0f) {
            rounded = -128.0f;
        }
        q[i] = (int8_t)(rounded > 127.0f ? 127.0f : rounded);
    }
}

static void dequant_i32(int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = ((float)acc[i] * row_scale) * col_scale[i];
    }
}

static void widen_bf16(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_f32_from_bf16(x[i]);
    }
}

static void narrow_bf16(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_bf16_from_f32(x[i]);
    }
}

static void bias_i8(int64_t n, const int8_t *x, uint8_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (uint8_t)(x[i] + 128);
    }
}

static void rotate(int64_t n_pairs, const float *c, const float *s, float *x)
{
    for (int64_t j = 0; j < n_pairs; j++) {
        float even = x[2 * j], odd = x[2 * j + 1];
        x[2 * j] = even * c[j] - odd * s[j];
        x[2 * j + 1] = even * s[j] + odd * c[j];
    }
}

#define ROW_ENTRY(name, result, parameters) .name = name,
const uk_table uk_row_scalar = {.isa = "scalar", UK_KERNELS(ROW_ENTRY)};
