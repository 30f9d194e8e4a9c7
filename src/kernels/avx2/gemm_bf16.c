/* kernels/avx2/gemm_bf16.c - BF16 products by FP32 FMA: a 32-bit lane holds two k of a column, so a shift and a mask widen the
 * weights of a step in registers; activations are widened ahead. A slice of a panel is a chunk of the sums. */
#include <string.h>

#include "kernels/avx2/products.h"

enum { ROW_BYTES = 2 * sizeof(float) };

/* sums += the products of one k of a step, of which row i of the activations has its value at x[2*i]. */
UK_INLINE void add_products(half_fn *half, const int m, const int n, const float *x, const char *step,
                            __m256 (*sums)[PANEL_VECTORS])
{
    __m256 w[PANEL_VECTORS];
    UK_UNROLL
    for (int e = 0; e < n; e++) {
        w[e] = half(_mm256_load_si256((const __m256i *)step + e));
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256 v = _mm256_set1_ps(x[2 * i]);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_fmadd_ps(v, w[e], sums[i][e]);
            AVX2_IN_TURN(sums[i][e]);
        }
    }
}

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
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, wanted += wanted_step, a += a_step) {
        request_lines(n_lines, wanted);
        add_products(odd_half, m, n, (const float *)a + 1, panel, sums);
        add_products(even_half, m, n, (const float *)a, panel, sums);
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
    pass_groups(pass_fours, pass, a.rows == 1 ? AHEAD_OF_SLOW_PASS : AHEAD_OF_ONE_PASS, &a, ROW_BYTES, (k + 1) / 2, panel, c,
                ldc * (int64_t)sizeof *c);
    _mm_setcsr(mode);
}

/* ---- keys: groups of gathered rows, a chunk of which is packed for all panels ---------------------------------------------------
 * */

/* Values [first, first + n) of m keys as a group of activations. */
static void tile_keys(int64_t m, const uint16_t *const *keys, int64_t first, int64_t n, float *group)
{
    uint16_t values[UK_ROWS][UK_CHUNK];
    for (int64_t i = 0; i < m; i++) {
        memcpy(values[i], keys[i] + first, (size_t)n * sizeof **values);
    }
    uk_avx2_tile_bf16(m, UK_ROWS, n, *values, UK_CHUNK, group);
}

/* The products of m keys. */
static void add_keys(int64_t m, int64_t k, const uint16_t *const *keys, int64_t n_requested, int64_t n_panels,
                     const uint16_t *panels, float *c, int64_t ldc)
{
    int64_t first = 0, panel_bytes = (k + 1) / 2 * STEP_BYTES;
    do {
        float group[UK_ROWS * UK_CHUNK];
        int64_t values = k - first < UK_CHUNK ? k - first : UK_CHUNK;
        tile_keys(m, keys, first, values, group);
        request_keys(n_requested, keys + m, first, values);
        for (int64_t p = 0; p < n_panels; p++) {
            const char *panel = (const char *)panels + p * panel_bytes + first / 2 * STEP_BYTES;
            pass_slice s = {.a = (const char *)group,
                            .panel = panel,
                            .c = (char *)(c + p * UK_PANEL),
                            .a_step = UK_ROWS * ROW_BYTES,
                            .c_step = ldc * (int64_t)sizeof *c,
                            .n_steps = (values + 1) / 2,
                            .wanted = panel + SLICE_STEPS * STEP_BYTES,
                            .first = first == 0};
            pass_rows(pass_fours, pass, m, ROW_BYTES, s);
        }
        first += UK_CHUNK;
    } while (first < k);
}

void uk_avx2_gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                       int64_t ldc)
{
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < n; i += UK_ROWS) {
        int64_t m = n - i < UK_ROWS ? n - i : UK_ROWS, next = n - i - m < UK_ROWS ? n - i - m : UK_ROWS;
        add_keys(m, k, keys + i, next, n_panels, panels, c + i * ldc, ldc);
    }
    _mm_setcsr(mode);
}
