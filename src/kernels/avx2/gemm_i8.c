/* kernels/avx2/gemm_i8.c - INT8 products without VNNI, of sizes and flips.
 *
 * vpmaddubsw multiplies unsigned by signed bytes and saturates what two products add up to. A value a is kept as its size |a| and a
 * flip f, all ones where a is negative: a * w = |a| * (w ^ f), and |a| more where a is negative. Sizes up to 128 and flipped weights
 * of -128 .. 127 have pairs of products that INT16 just holds, and what is missing is the same for all columns: each row of activations
 * has it before its values, and sums begin with it. */
#include "kernels/avx2/products.h"

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
        __m256i size = avx2_broadcast_lane(a + AVX2_SIGNED_STEP * i), flip = avx2_broadcast_lane(a + AVX2_SIGNED_STEP * i + 4);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            __m256i pairs = _mm256_maddubs_epi16(size, _mm256_xor_si256(w[e], flip));
            sums[i][e] = _mm256_add_epi32(sums[i][e], _mm256_madd_epi16(pairs, ones));
            AVX2_IN_TURN(sums[i][e]);
        }
    }
}

#include "kernels/avx2/gemm_i8.h"

void uk_avx2_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    (void)correction;
    for (int64_t i = 0; i < a.rows; i++) {
        __m256i lead = avx2_broadcast_lane((const char *)a.data + i / UK_ROWS * a.group_bytes + i % UK_ROWS * AVX2_SIGNED_STEP);
        for (int j = 0; j < UK_PANEL; j += AVX2_STEP) {
            _mm256_storeu_si256((__m256i *)(c + i * ldc + j), lead);
        }
    }
    a.data = (const char *)a.data + a.group_rows * AVX2_SIGNED_STEP;
    add_gemm_i8(a, AVX2_SIGNED_STEP, k4, panel, c, ldc);
}
