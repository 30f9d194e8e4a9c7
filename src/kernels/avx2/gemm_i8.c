/* kernels/avx2/gemm_i8.c - INT8 products without VNNI, of sizes and signs.
 *
 * vpmaddubsw multiplies unsigned by signed bytes and saturates what two products add up to. A value a is kept as its size |a| and a
 * flip f, all ones where a is negative: a * w = |a| * (w ^ f), and |a| more where a is negative. Sizes up to 128 and flipped weights
 * of -128 .. 127 have pairs of products that INT16 just holds, and what is missing is the same for all columns: sums begin with it. */
#include "kernels/avx2/products.h"

enum { SIGNED_STEP = 8 /* bytes of a row: four sizes, four flips */, STEPS_IN_INT16 = 64 /* of at most 2 * 128 */ };

UK_INLINE void add_step(const int m, const int n, const char *a, const __m256i *panel, __m256i (*sums)[PANEL_VECTORS])
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i w[PANEL_VECTORS];
    UK_UNROLL
    for (int e = 0; e < n; e++) {
        w[e] = _mm256_load_si256(panel + e);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256i size = avx2_broadcast_lane(a + SIGNED_STEP * i), flip = avx2_broadcast_lane(a + SIGNED_STEP * i + 4);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            __m256i pairs = _mm256_maddubs_epi16(size, _mm256_xor_si256(w[e], flip));
            sums[i][e] = _mm256_add_epi32(sums[i][e], _mm256_madd_epi16(pairs, ones));
            AVX2_IN_TURN(sums[i][e]);
        }
    }
}

#include "kernels/avx2/gemm_i8.h"

/* Minus the sum of the negative values of the rows of a group: lane i is row i. */
static __m256i negative_sums(const char *a, int64_t group_rows, int64_t k4)
{
    const __m256i ones = _mm256_set1_epi16(1), row = _mm256_setr_epi64x(0, 1, 2, 3);
    const __m256i has_low = _mm256_cmpgt_epi64(_mm256_set1_epi64x(group_rows), row),
                  has_high = _mm256_cmpgt_epi64(_mm256_set1_epi64x(group_rows - 4), row);
    __m256i sums = _mm256_setzero_si256();
    for (int64_t step = 0; step < k4;) {
        __m256i pairs = _mm256_setzero_si256();
        for (int64_t end = k4 - step < STEPS_IN_INT16 ? k4 : step + STEPS_IN_INT16; step < end; step++) {
            const long long *rows = (const long long *)(a + step * group_rows * SIGNED_STEP);
            __m256 low = _mm256_castsi256_ps(_mm256_maskload_epi64(rows, has_low)),
                   high = _mm256_castsi256_ps(_mm256_maskload_epi64(rows + 4, has_high));
            __m256i sizes = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88)),
                    flips = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
            pairs = _mm256_sub_epi16(pairs, _mm256_maddubs_epi16(sizes, flips));
        }
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones));
    }
    return _mm256_permute4x64_epi64(sums, 0xd8);
}

void uk_avx2_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    (void)correction;
    for (int64_t first = 0; first < a.rows; first += UK_ROWS) {
        int32_t begin[UK_ROWS];
        __m256i sums = negative_sums((const char *)a.data + first / UK_ROWS * a.group_bytes, a.group_rows, k4);
        _mm256_storeu_si256((__m256i *)begin, sums);
        for (int64_t i = first; i < a.rows && i < first + UK_ROWS; i++) {
            for (int j = 0; j < UK_PANEL; j += AVX2_STEP) {
                _mm256_storeu_si256((__m256i *)(c + i * ldc + j), _mm256_set1_epi32(begin[i - first]));
            }
        }
    }
    add_gemm_i8(a, SIGNED_STEP, k4, panel, c, ldc);
}
