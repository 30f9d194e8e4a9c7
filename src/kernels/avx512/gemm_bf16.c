/* kernels/avx512/gemm_bf16.c - BF16 weights widened to FP32 in registers: one 32-bit lane holds columns c (low half) and c+16 (high
 * half), so a shift and a mask make the two vectors of a panel row. */
#include "kernels/avx512/avx512.h"

UK_INLINE void gemm_rows(const int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc,
                         bool add)
{
    const __m512i high_half = _mm512_set1_epi32((int)0xffff0000);
    __m512 low[UK_MAX_ROWS], high[UK_MAX_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        low[i] = high[i] = _mm512_setzero_ps();
    }
    for (int64_t row = 0; row < k; row++, panel += UK_PANEL) {
        avx512_prefetch(panel);
        __m512i pairs = _mm512_load_si512(panel);
        __m512 w_low = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        __m512 w_high = _mm512_castsi512_ps(_mm512_and_si512(pairs, high_half));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512 x = _mm512_set1_ps(a[i * lda + row]);
            low[i] = _mm512_fmadd_ps(x, w_low, low[i]);
            high[i] = _mm512_fmadd_ps(x, w_high, high[i]);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        avx512_store_sums(c + i * ldc, low[i], add);
        avx512_store_sums(c + i * ldc + UK_PANEL / 2, high[i], add);
    }
}

void uk_avx512_gemm_bf16(int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc, bool add)
{
#define CASE(rows)                                      \
    case rows:                                          \
        gemm_rows(rows, k, a, lda, panel, c, ldc, add); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}
