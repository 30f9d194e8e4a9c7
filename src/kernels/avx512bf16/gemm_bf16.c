/* kernels/avx512bf16/gemm_bf16.c - BF16 products with vdpbf16ps: a 32-bit lane holds two k of a column, and the instruction adds
 * both products, k+1 first, as the paired sum of kernels.h does. */
#include "kernels/avx512/products.h"
#include "kernels/avx512bf16/avx512bf16.h"
#include "kernels/avx512bf16/e4m3.h"

enum { ACT_BYTES = sizeof(uint16_t) };

UK_INLINE void add_step(const int m, const char *a, const int64_t row_bytes, __m512i left, __m512i right, __m512 *sums_left,
                        __m512 *sums_right)
{
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m512bh x = (__m512bh)broadcast_lane(a + i * row_bytes);
        sums_left[i] = _mm512_dpbf16_ps(sums_left[i], x, (__m512bh)left);
        sums_right[i] = _mm512_dpbf16_ps(sums_right[i], x, (__m512bh)right);
    }
}

UK_INLINE void take_values(int64_t n, const uint16_t *x, char *values)
{
    if (n == UK_CHUNK) {
        memcpy(values, x, UK_CHUNK * sizeof *x);
    } else {
        memcpy(values, x, (size_t)n * sizeof *x);
    }
}

#include "kernels/avx512/gemm_fp4_bf16.h"

void uk_avx512bf16_gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    gemm_bf16(a, k, panel, c, ldc);
}

void uk_avx512bf16_gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    gemm_fp8(a, k, panel, scales, c, ldc);
}

void uk_avx512bf16_gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                             int64_t ldc)
{
    gemm_keys(n, k, keys, n_panels, panels, c, ldc);
}

void uk_avx512bf16_gemm_fp4_bf16(uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc)
{
    gemm_fp4_bf16(a, k, panel, c, ldc);
}
