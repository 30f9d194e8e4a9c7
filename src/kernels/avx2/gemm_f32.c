/* kernels/avx2/gemm_f32.c - FP32 weights: a panel row of 32 columns is four vectors, a step of its stream. The rows of activations
 * lie as they are. A chunk of the sums is 16 KB of a panel, near for the passes behind the first. */
#include "kernels/avx2/products.h"

/* One chunk: a step is one k. Row i of the activations is a_step bytes behind row i - 1. */
UK_INLINE void pass(const int m, const int n, const int n_lines, const pass_slice *s)
{
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
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, wanted += wanted_step, a += sizeof(float)) {
        request_lines(n_lines, wanted);
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m256 x = _mm256_broadcast_ss((const float *)(a + i * a_step));
            UK_UNROLL
            for (int e = 0; e < n; e++) {
                sums[i][e] = _mm256_fmadd_ps(x, _mm256_load_ps((const float *)panel + AVX2_STEP * e), sums[i][e]);
                AVX2_IN_TURN(sums[i][e]);
            }
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            avx2_store_sums((float *)(s->c + i * s->c_step) + AVX2_STEP * e, sums[i][e], !s->first);
        }
    }
}

void uk_avx2_gemm_f32(int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc)
{
    int64_t step = 0;
    do {
        pass_slice s = {.a = (const char *)(a + step),
                        .panel = (const char *)(panel + step * UK_PANEL),
                        .c = (char *)c,
                        .a_step = lda * (int64_t)sizeof *a,
                        .c_step = ldc * (int64_t)sizeof *c,
                        .n_steps = k - step < UK_CHUNK ? k - step : UK_CHUNK,
                        .wanted = (const char *)(panel + (step + UK_CHUNK) * UK_PANEL),
                        .ahead = AHEAD_OF_ONE_PASS,
                        .first = step == 0};
        pass_rows(pass_fours, pass, m, s.a_step, s);
        step += UK_CHUNK;
    } while (step < k);
}
