/* kernels/avx512/gemm_f32.c - FP32 weights: a panel row of 32 columns is two vectors. */
#include "kernels/avx512/products.h"

/* One chunk; add: to the sums that c holds. */
UK_INLINE void gemm_chunk(const int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc, bool add)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
    }
    for (int64_t row = 0; row < k; row++, panel += UK_PANEL) {
        request(panel, AHEAD_OF_ONE_GROUP);
        request(panel + UK_PANEL / 2, AHEAD_OF_ONE_GROUP);
        __m512 w_left = _mm512_load_ps(panel), w_right = _mm512_load_ps(panel + UK_PANEL / 2);
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512 x = _mm512_set1_ps(a[i * lda + row]);
            left[i] = _mm512_fmadd_ps(x, w_left, left[i]);
            right[i] = _mm512_fmadd_ps(x, w_right, right[i]);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        avx512_store_sums(c + i * ldc, left[i], add);
        avx512_store_sums(c + i * ldc + UK_PANEL / 2, right[i], add);
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

void uk_avx512_gemm_f32(int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc)
{
#define CASE(rows)                                  \
    case rows:                                      \
        gemm_panel(rows, k, a, lda, panel, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}
