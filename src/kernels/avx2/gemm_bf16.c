/* kernels/avx2/gemm_bf16.c - BF16 weights widened to FP32 in registers: one 32-bit lane holds columns c (low half) and c+16 (high
 * half), so a shift and a mask make two vectors. Two rows of 32 columns take 8 registers for sums; more rows take more passes.
 * Three rows would need all 16 registers, and a sum that leaves its register costs more than a pass. */
#include "kernels/avx2/avx2.h"

UK_INLINE void gemm_rows(const int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc,
                         bool add)
{
    const __m256i high_half = _mm256_set1_epi32((int)0xffff0000);
    __m256 low[2][2], high[2][2];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        low[i][0] = low[i][1] = high[i][0] = high[i][1] = _mm256_setzero_ps();
    }
    for (int64_t row = 0; row < k; row++, panel += UK_PANEL) {
        UK_UNROLL
        for (int h = 0; h < 2; h++) {
            __m256i pairs = _mm256_load_si256((const __m256i *)(panel + 16 * h));
            __m256 w_low = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
            __m256 w_high = _mm256_castsi256_ps(_mm256_and_si256(pairs, high_half));
            UK_UNROLL
            for (int i = 0; i < m; i++) {
                __m256 x = _mm256_set1_ps(a[i * lda + row]);
                low[i][h] = _mm256_fmadd_ps(x, w_low, low[i][h]);
                high[i][h] = _mm256_fmadd_ps(x, w_high, high[i][h]);
            }
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int h = 0; h < 2; h++) {
            avx2_store_sums(c + i * ldc + 8 * h, low[i][h], add);
            avx2_store_sums(c + i * ldc + 8 * h + UK_PANEL / 2, high[i][h], add);
        }
    }
}

void uk_avx2_gemm_bf16(int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc, bool add)
{
    for (; m >= 2; m -= 2, a += 2 * lda, c += 2 * ldc) {
        gemm_rows(2, k, a, lda, panel, c, ldc, add);
    }
    if (m == 1) {
        gemm_rows(1, k, a, lda, panel, c, ldc, add);
    }
}
