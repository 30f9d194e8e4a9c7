/* kernels/avx512/gemm_i8.c - INT8 products with VNNI: vpdpbusd adds four unsigned x signed byte products to each 32-bit lane, here
 * four consecutive k of one column. */
#include <string.h>

#include "kernels/avx512/avx512.h"

UK_INLINE __m512i broadcast_group(const uint8_t *a)
{
    int32_t group;
    memcpy(&group, a, sizeof group);
    return _mm512_set1_epi32(group);
}

UK_INLINE void gemm_rows(const int m, int64_t k4, const uint8_t *a, int64_t lda, const int8_t *panel, const int32_t *correction,
                         int32_t *c, int64_t ldc)
{
    __m512i left[UK_MAX_ROWS], right[UK_MAX_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = _mm512_loadu_si512(correction);
        right[i] = _mm512_loadu_si512(correction + UK_PANEL / 2);
    }
    for (int64_t group = 0; group < k4; group++, panel += 4 * UK_PANEL) {
        avx512_prefetch(panel);
        avx512_prefetch(panel + 2 * UK_PANEL);
        __m512i w_left = _mm512_load_si512(panel), w_right = _mm512_load_si512(panel + 2 * UK_PANEL);
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512i x = broadcast_group(a + i * lda + 4 * group);
            left[i] = _mm512_dpbusd_epi32(left[i], x, w_left);
            right[i] = _mm512_dpbusd_epi32(right[i], x, w_right);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        _mm512_storeu_si512(c + i * ldc, left[i]);
        _mm512_storeu_si512(c + i * ldc + UK_PANEL / 2, right[i]);
    }
}

void uk_avx512_gemm_i8(int m, int64_t k4, const uint8_t *a, int64_t lda, const int8_t *panel, const int32_t *correction, int32_t *c,
                       int64_t ldc)
{
#define CASE(rows)                                              \
    case rows:                                                  \
        gemm_rows(rows, k4, a, lda, panel, correction, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}
