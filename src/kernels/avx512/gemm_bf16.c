/* kernels/avx512/gemm_bf16.c - BF16 products by FP32 FMA: a 32-bit lane holds two k of a column, so a shift and a mask widen the
 * weights of a step in registers. Activations are widened ahead. */
#include "kernels/avx512/e4m3.h"
#include "kernels/avx512/products.h"

enum { ACT_BYTES = sizeof(float) };

/* sums += the products of one k, of which row i of the activations has its value row_bytes behind that of row i-1. */
UK_INLINE void add_products(const int m, const char *a, const int64_t row_bytes, __m512i left, __m512i right, __m512 *sums_left,
                            __m512 *sums_right)
{
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m512 v = _mm512_castsi512_ps(broadcast_lane(a + i * row_bytes));
        sums_left[i] = _mm512_fmadd_ps(v, _mm512_castsi512_ps(left), sums_left[i]);
        sums_right[i] = _mm512_fmadd_ps(v, _mm512_castsi512_ps(right), sums_right[i]);
    }
}

UK_INLINE void add_step(const int m, const char *a, const int64_t row_bytes, __m512i left, __m512i right, __m512 *sums_left,
                        __m512 *sums_right)
{
    const __m512i high_half = _mm512_set1_epi32((int)0xffff0000);
    add_products(m, a + sizeof(float), row_bytes, _mm512_and_si512(left, high_half), _mm512_and_si512(right, high_half), sums_left,
                 sums_right);
    add_products(m, a, row_bytes, _mm512_slli_epi32(left, 16), _mm512_slli_epi32(right, 16), sums_left, sums_right);
}

UK_INLINE void take_values(int64_t n, const uint16_t *x, char *values)
{
    uk_avx512_widen_bf16(n, x, (float *)values);
}

typedef struct e4m3_table {
    __m512i special;
} e4m3_table;

UK_INLINE e4m3_table e4m3_table_make(void)
{
    return (e4m3_table){e4m3_special()};
}

UK_INLINE void widen_e4m3(const e4m3_table *t, __m512i bytes, __m512i *left, __m512i *right)
{
    *left = e4m3_widen_doubled(t->special, _mm512_unpacklo_epi8(bytes, bytes));
    *right = e4m3_widen_doubled(t->special, _mm512_unpackhi_epi8(bytes, bytes));
}

#include "kernels/avx512/gemm_fp4_bf16.h"

void uk_avx512_gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    gemm_bf16(a, k, panel, c, ldc);
}

void uk_avx512_gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    gemm_fp8(a, k, panel, scales, c, ldc);
}

void uk_avx512_gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                         int64_t ldc)
{
    gemm_keys(n, k, keys, n_panels, panels, c, ldc);
}

void uk_avx512_gemm_fp4_bf16(uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc)
{
    gemm_fp4_bf16(a, k, panel, c, ldc);
}
