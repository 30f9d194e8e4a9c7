/* kernels/avx512/gemm_rows.c - products with gathered rows of BF16 values, 32 columns a block: one 32-bit lane holds columns 2c
 * (low half) and 2c+1 (high half), so a shift and a mask make two vectors. Their sums are put in order when they are stored. */
#include "kernels/avx512/avx512.h"

enum { BLOCK = 2 * AVX512_STEP };

/* Stores the even and the odd columns of a row's block that mask names. */
static inline void store_block(float *c, __mmask32 mask, __m512 even, __m512 odd)
{
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    _mm512_mask_storeu_ps(c, (__mmask16)mask, _mm512_permutex2var_ps(even, first, odd));
    _mm512_mask_storeu_ps(c + AVX512_STEP, (__mmask16)(mask >> AVX512_STEP), _mm512_permutex2var_ps(even, second, odd));
}

/* The n <= 32 columns from column j on. */
UK_INLINE void gemm_block(const int m, const int64_t n, int64_t k, const float *a, int64_t lda, const uint16_t *const *rows,
                          int64_t j, float *c, int64_t ldc)
{
    const __m512i high_half = _mm512_set1_epi32((int)0xffff0000);
    const __mmask32 mask = n < BLOCK ? (__mmask32)((1u << n) - 1) : ~(__mmask32)0;
    __m512 even[UK_ROWS], odd[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        even[i] = odd[i] = _mm512_setzero_ps();
    }
    for (int64_t row = 0; row < k; row++) {
        const uint16_t *w = rows[row] + j;
        __m512i pairs = n < BLOCK ? _mm512_maskz_loadu_epi16(mask, w) : _mm512_loadu_si512(w);
        __m512 w_even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        __m512 w_odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, high_half));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512 x = _mm512_set1_ps(a[row * lda + i]);
            even[i] = _mm512_fmadd_ps(x, w_even, even[i]);
            odd[i] = _mm512_fmadd_ps(x, w_odd, odd[i]);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        store_block(c + i * ldc + j, mask, even[i], odd[i]);
    }
}

UK_INLINE void gemm_columns(const int m, int64_t k, int64_t n, const float *a, int64_t lda, const uint16_t *const *rows, float *c,
                            int64_t ldc)
{
    int64_t j = 0;
    for (; j + BLOCK <= n; j += BLOCK) {
        gemm_block(m, BLOCK, k, a, lda, rows, j, c, ldc);
    }
    if (j < n) {
        gemm_block(m, n - j, k, a, lda, rows, j, c, ldc);
    }
}

void uk_avx512_gemm_rows(int m, int64_t k, int64_t n, const float *a, int64_t lda, const uint16_t *const *rows, float *c,
                         int64_t ldc)
{
#define CASE(count)                                      \
    case count:                                          \
        gemm_columns(count, k, n, a, lda, rows, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}
