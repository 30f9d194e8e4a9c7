/* kernels/avx2/gemm_bf16.c - BF16 products by FP32 FMA: a 32-bit lane holds two k of a column, so a shift and a mask widen the weights
 * of a step in registers; activations are widened ahead. Two rows of 32 columns take 8 registers for sums; more rows take more
 * passes. Three rows would need all 16 registers, and a sum that leaves its register costs more than a pass. */
#include "kernels/avx2/avx2.h"

enum { EIGHTHS = UK_PANEL / 8, STEP_VALUES = 2 * UK_PANEL, CHUNK_STEPS = UK_CHUNK / 2 };

/* One chunk of up to 64 steps; rows and steps of a lie so many values apart; add: to the sums that c holds. */
UK_INLINE void gemm_chunk(const int m, int64_t n_steps, const float *a, const int64_t a_row, int64_t a_step, const uint16_t *panel,
                          float *c, int64_t ldc, bool add)
{
    const __m256i high_half = _mm256_set1_epi32((int)0xffff0000);
    __m256 sums[2][EIGHTHS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = _mm256_setzero_ps();
    }
    for (int64_t step = 0; step < n_steps; step++, panel += STEP_VALUES, a += a_step) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            __m256i pairs = _mm256_load_si256((const __m256i *)(panel + 16 * e));
            __m256 w_odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, high_half));
            __m256 w_even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
            UK_UNROLL
            for (int i = 0; i < m; i++) {
                sums[i][e] = _mm256_fmadd_ps(_mm256_set1_ps(a[i * a_row + 1]), w_odd, sums[i][e]);
                sums[i][e] = _mm256_fmadd_ps(_mm256_set1_ps(a[i * a_row]), w_even, sums[i][e]);
            }
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        UK_UNROLL
        for (int e = 0; e < EIGHTHS; e++) {
            avx2_store_sums(c + i * ldc + 8 * e, sums[i][e], add);
        }
    }
}

UK_INLINE void gemm_pass(const int m, int64_t n_steps, const float *a, int64_t a_step, const uint16_t *panel, float *c, int64_t ldc)
{
    int64_t step = 0;
    do {
        int64_t n = n_steps - step < CHUNK_STEPS ? n_steps - step : CHUNK_STEPS;
        gemm_chunk(m, n, a + step * a_step, 2, a_step, panel + step * STEP_VALUES, c, ldc, step > 0);
        step += n;
    } while (step < n_steps);
}

void uk_avx2_gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < a.rows; i += 2) {
        const float *x = (const float *)((const char *)a.data + i / UK_ROWS * a.group_bytes) + 2 * (i % UK_ROWS);
        if (i + 1 < a.rows) {
            gemm_pass(2, (k + 1) / 2, x, 2 * a.group_rows, panel, c + i * ldc, ldc);
        } else {
            gemm_pass(1, (k + 1) / 2, x, 2 * a.group_rows, panel, c + i * ldc, ldc);
        }
    }
    _mm_setcsr(mode);
}

/* ---- keys: pairs of gathered rows, a chunk of which is widened for all panels -------------------------------------------------- */

/* Values [first, first + n) of m keys, an odd n filled up with a zero. */
static void widen_keys(int64_t m, const uint16_t *const *keys, int64_t first, int64_t n, float *near)
{
    for (int64_t i = 0; i < m; i++, near += UK_CHUNK) {
        uk_avx2_widen_bf16(n, keys[i] + first, near);
        if (n % 2 != 0) {
            near[n] = 0.0f;
        }
    }
}

UK_INLINE void gemm_few_keys(const int m, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels,
                             float *c, int64_t ldc)
{
    float near[2 * UK_CHUNK];
    int64_t first = 0;
    do {
        int64_t values = k - first < UK_CHUNK ? k - first : UK_CHUNK;
        widen_keys(m, keys, first, values, near);
        for (int64_t p = 0; p < n_panels; p++) {
            const uint16_t *panel = panels + (p * ((k + 1) / 2) + first / 2) * STEP_VALUES;
            gemm_chunk(m, (values + 1) / 2, near, UK_CHUNK, 2, panel, c + p * UK_PANEL, ldc, first > 0);
        }
        first += UK_CHUNK;
    } while (first < k);
}

void uk_avx2_gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                       int64_t ldc)
{
    uint32_t mode = avx2_flush_denormals();
    int64_t i = 0;
    for (; i + 1 < n; i += 2) {
        gemm_few_keys(2, k, keys + i, n_panels, panels, c + i * ldc, ldc);
    }
    if (i < n) {
        gemm_few_keys(1, k, keys + i, n_panels, panels, c + i * ldc, ldc);
    }
    _mm_setcsr(mode);
}
