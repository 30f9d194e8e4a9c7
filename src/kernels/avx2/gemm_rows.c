/* kernels/avx2/gemm_rows.c - products with gathered rows of BF16 values, 16 columns a block: one 32-bit lane holds columns 2c (low
 * half) and 2c+1 (high half), so a shift and a mask make two vectors. Their sums are put in order when they are stored. Four rows
 * of a block take 8 registers for sums; more rows take more passes. */
#include <string.h>

#include "kernels/avx2/avx2.h"

enum { BLOCK = 2 * AVX2_STEP, MAX_ROWS = 4 };

/* min(n, 16) values as pairs; the rest is zero. */
UK_INLINE __m256i load_pairs(const uint16_t *w, int64_t n)
{
    uint16_t few[BLOCK] = {0};
    if (n < BLOCK) {
        w = memcpy(few, w, (size_t)n * sizeof *w);
    }
    return _mm256_loadu_si256((const __m256i *)w);
}

/* Stores the first min(n, 16) columns of a row's block from its even and its odd ones. */
static inline void store_block(float *c, int64_t n, __m256 even, __m256 odd)
{
    __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    avx2_store_f32(c, _mm256_permute2f128_ps(low, high, 0x20), n);
    if (n > AVX2_STEP) {
        avx2_store_f32(c + AVX2_STEP, _mm256_permute2f128_ps(low, high, 0x31), n - AVX2_STEP);
    }
}

/* The n <= 16 columns from column j on. */
UK_INLINE void gemm_block(const int m, const int64_t n, int64_t k, const float *a, int64_t lda, const uint16_t *const *rows,
                          int64_t j, float *c, int64_t ldc)
{
    const __m256i high_half = _mm256_set1_epi32((int)0xffff0000);
    __m256 even[MAX_ROWS], odd[MAX_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        even[i] = odd[i] = _mm256_setzero_ps();
    }
    for (int64_t row = 0; row < k; row++) {
        __m256i pairs = load_pairs(rows[row] + j, n);
        __m256 w_even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
        __m256 w_odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, high_half));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m256 x = _mm256_set1_ps(a[row * lda + i]);
            even[i] = _mm256_fmadd_ps(x, w_even, even[i]);
            odd[i] = _mm256_fmadd_ps(x, w_odd, odd[i]);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        store_block(c + i * ldc + j, n, even[i], odd[i]);
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

void uk_avx2_gemm_rows(int m, int64_t k, int64_t n, const float *a, int64_t lda, const uint16_t *const *rows, float *c, int64_t ldc)
{
    for (; m >= MAX_ROWS; m -= MAX_ROWS, a += MAX_ROWS, c += MAX_ROWS * ldc) {
        gemm_columns(MAX_ROWS, k, n, a, lda, rows, c, ldc);
    }
#define CASE(count)                                      \
    case count:                                          \
        gemm_columns(count, k, n, a, lda, rows, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3)
    }
#undef CASE
}
