/* kernels/avx2/gemm_i8.c - INT8 products as INT16 pairs: vpmaddubsw would saturate, so bytes are widened and vpmaddwd multiplies.
 *
 * One 32-bit lane holds four consecutive k of one column, as bytes. Its even bytes (k, k+2) and its odd bytes (k+1, k+3) make two
 * pairs of INT16; |a*w + a*w| <= 2 * 255 * 128. */
#include "kernels/avx2/products.h"

UK_INLINE void add_step(const int m, const int n, const char *a, const __m256i *panel, __m256i (*sums)[PANEL_VECTORS])
{
    __m256i even[PANEL_VECTORS], odd[PANEL_VECTORS];
    UK_UNROLL
    for (int e = 0; e < n; e++) {
        __m256i bytes = _mm256_load_si256(panel + e);
        even[e] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
        odd[e] = _mm256_srai_epi16(bytes, 8);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256i bytes = avx2_broadcast_lane(a + 4 * i);
        __m256i a_even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), a_odd = _mm256_srli_epi16(bytes, 8);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_add_epi32(sums[i][e], _mm256_madd_epi16(a_even, even[e]));
            sums[i][e] = _mm256_add_epi32(sums[i][e], _mm256_madd_epi16(a_odd, odd[e]));
        }
    }
}

#include "kernels/avx2/gemm_i8.h"

void uk_avx2_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    gemm_i8(a, k4, panel, correction, c, ldc);
}
