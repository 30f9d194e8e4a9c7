/* kernels/avx2/gemm_i8.h - gemm_i8 around an UK_INLINE function add_step, which the including file defines before: with VNNI or
 * without. Sums begin as c has them. */
#include "kernels/avx2/products.h"

UK_INLINE void pass(const int m, const int n, const int n_lines, const pass_slice *s)
{
    __m256i sums[WIDE_ROWS][PANEL_VECTORS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_loadu_si256((const __m256i *)(s->c + i * s->c_step) + e);
        }
    }
    const char *a = s->a, *panel = s->panel, *wanted = s->wanted;
    int64_t a_step = s->a_step, wanted_step = s->wanted_step;
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, wanted += wanted_step, a += a_step) {
        request_lines(n_lines, wanted);
        add_step(m, n, a, (const __m256i *)panel, sums);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            _mm256_storeu_si256((__m256i *)(s->c + i * s->c_step) + e, sums[i][e]);
        }
    }
}

/* c += the product; activations have step_bytes of a row and step. */
static inline void add_gemm_i8(uk_acts a, int64_t step_bytes, int64_t k4, const int8_t *panel, int32_t *c, int64_t ldc)
{
    pass_groups(pass_twos, pass, AHEAD_OF_ONE_PASS, &a, step_bytes, k4, panel, c, ldc * (int64_t)sizeof *c);
}
