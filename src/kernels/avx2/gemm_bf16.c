/* kernels/avx2/gemm_bf16.c - BF16 products by FP32 FMA: a 32-bit lane holds two k of a column, so a shift and a mask widen the weights
 * of a step in registers; activations are widened ahead. A slice of a panel is a chunk of the sums. */
#include "kernels/avx2/products.h"

enum { ROW_BYTES = 2 * sizeof(float) };

/* sums += the products of one k, of which row i of the activations has its value at x[2*i]. */
UK_INLINE void add_products(const int m, const int n, const float *x, const __m256i *w, __m256 (*sums)[PANEL_VECTORS])
{
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256 v = _mm256_set1_ps(x[2 * i]);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_fmadd_ps(v, _mm256_castsi256_ps(w[e]), sums[i][e]);
        }
    }
}

UK_INLINE void pass(const int m, const int n, const pass_slice *s)
{
    const __m256i high_half = _mm256_set1_epi32((int)0xffff0000);
    __m256 sums[PASS_ROWS][PANEL_VECTORS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_setzero_ps();
        }
    }
    const char *a = s->a, *panel = s->panel, *wanted = s->wanted;
    int64_t a_step = s->a_step, wanted_step = s->wanted_step;
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, wanted += wanted_step, a += a_step) {
        request_step(n, wanted);
        __m256i odd[PANEL_VECTORS], even[PANEL_VECTORS];
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            const __m256i *pairs = (const __m256i *)panel + e;
            odd[e] = _mm256_and_si256(_mm256_load_si256(pairs), high_half);
            even[e] = _mm256_slli_epi32(_mm256_load_si256(pairs), 16);
        }
        add_products(m, n, (const float *)a + 1, odd, sums);
        add_products(m, n, (const float *)a, even, sums);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            avx2_store_sums((float *)(s->c + i * s->c_step) + AVX2_STEP * e, sums[i][e], !s->first);
        }
    }
}

void uk_avx2_gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    uint32_t mode = avx2_flush_denormals();
    pass_groups(pass, &a, ROW_BYTES, (k + 1) / 2, panel, c, ldc * (int64_t)sizeof *c);
    _mm_setcsr(mode);
}
