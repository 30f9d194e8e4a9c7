/* kernels/avx2/gemm_i8.c - INT8 products as INT16 pairs: vpmaddubsw would saturate, so bytes are widened and vpmaddwd multiplies.
 *
 * One 32-bit lane holds four consecutive k of one column, as bytes. Its even bytes (k, k+2) and its odd bytes (k+1, k+3) make two
 * pairs of INT16; |a*w + a*w| <= 2 * 255 * 128. Two rows of 32 columns fill 8 registers with sums; more rows take more passes. */
#include <string.h>

#include "kernels/avx2/avx2.h"

enum { EIGHTHS = UK_PANEL / 8 };

UK_INLINE __m256i broadcast_lane(const uint8_t *a)
{
    int32_t lane;
    memcpy(&lane, a, sizeof lane);
    return _mm256_set1_epi32(lane);
}

UK_INLINE void gemm_pass(const int m, int64_t k4, const uint8_t *a, int64_t a_step, const int8_t *panel, const int32_t *correction,
                         int32_t *c, int64_t ldc)
{
    __m256i sum[2][EIGHTHS], a_even[2], a_odd[2];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            sum[i][e] = _mm256_loadu_si256((const __m256i *)(correction + 8 * e));
        }
    }
    for (int64_t step = 0; step < k4; step++, panel += 4 * UK_PANEL, a += a_step) {
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m256i bytes = broadcast_lane(a + 4 * i);
            a_even[i] = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff));
            a_odd[i] = _mm256_srli_epi16(bytes, 8);
        }
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            __m256i bytes = _mm256_load_si256((const __m256i *)(panel + 32 * e));
            __m256i w_even = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), w_odd = _mm256_srai_epi16(bytes, 8);
            UK_UNROLL
            for (int i = 0; i < m; i++) {
                __m256i even = _mm256_madd_epi16(a_even[i], w_even), odd = _mm256_madd_epi16(a_odd[i], w_odd);
                sum[i][e] = _mm256_add_epi32(sum[i][e], _mm256_add_epi32(even, odd));
            }
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            _mm256_storeu_si256((__m256i *)(c + i * ldc + 8 * e), sum[i][e]);
        }
    }
}

void uk_avx2_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i += 2) {
        const uint8_t *x = (const uint8_t *)a.data + i / UK_ROWS * a.group_bytes + 4 * (i % UK_ROWS);
        if (i + 1 < a.rows) {
            gemm_pass(2, k4, x, 4 * a.group_rows, panel, correction, c + i * ldc, ldc);
        } else {
            gemm_pass(1, k4, x, 4 * a.group_rows, panel, correction, c + i * ldc, ldc);
        }
    }
}
