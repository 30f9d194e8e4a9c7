/* kernels/avx2/gemm_f32.c - FP32 weights: a panel row of 32 columns is four vectors. Two rows of them take 8 registers for sums;
 * more rows take more passes, as in gemm_bf16.c. */
#include "kernels/avx2/avx2.h"

enum { EIGHTHS = UK_PANEL / AVX2_STEP };

/* One chunk; add: to the sums that c holds. */
UK_INLINE void gemm_chunk(const int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc, bool add)
{
    __m256 sum[2][EIGHTHS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            sum[i][e] = _mm256_setzero_ps();
        }
    }
    for (int64_t row = 0; row < k; row++, panel += UK_PANEL) {
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m256 x = _mm256_set1_ps(a[i * lda + row]);
            UK_UNROLL
            for (int e = 0; e < EIGHTHS; e++) {
                sum[i][e] = _mm256_fmadd_ps(x, _mm256_load_ps(panel + AVX2_STEP * e), sum[i][e]);
            }
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            avx2_store_sums(c + i * ldc + AVX2_STEP * e, sum[i][e], add);
        }
    }
}

UK_INLINE void gemm_panel(const int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc)
{
    int64_t first = 0;
    do {
        int64_t n = k - first < UK_CHUNK ? k - first : UK_CHUNK;
        gemm_chunk(m, n, a + first, lda, panel + first * UK_PANEL, c, ldc, first > 0);
        first += n;
    } while (first < k);
}

void uk_avx2_gemm_f32(int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc)
{
    for (; m >= 2; m -= 2, a += 2 * lda, c += 2 * ldc) {
        gemm_panel(2, k, a, lda, panel, c, ldc);
    }
    if (m == 1) {
        gemm_panel(1, k, a, lda, panel, c, ldc);
    }
}
