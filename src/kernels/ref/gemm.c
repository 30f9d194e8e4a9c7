/* kernels/ref/gemm.c - products of the row "scalar". */
#include <math.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

void uk_scalar_gemm_bf16(int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc, bool add)
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

void uk_scalar_gemm_i8(int m, int64_t k4, const uint8_t *a, int64_t lda, const int8_t *panel, const int32_t *correction, int32_t *c,
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

void uk_scalar_gemm_f32(int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc, bool add)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < UK_PANEL; j++) {
            float sum = 0.0f;
            for (int64_t row = 0; row < k; row++) {
                sum = fmaf(a[i * lda + row], panel[row * UK_PANEL + j], sum);
            }
            c[i * ldc + j] = add ? c[i * ldc + j] + sum : sum;
        }
    }
}

void uk_scalar_gemm_rows(int m, int64_t k, int64_t n, const float *a, int64_t lda, const uint16_t *const *rows, float *c,
                         int64_t ldc)
{
    for (int i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (int64_t row = 0; row < k; row++) {
                sum = fmaf(a[row * lda + i], num_f32_from_bf16(rows[row][j]), sum);
            }
            c[i * ldc + j] = sum;
        }
    }
}
