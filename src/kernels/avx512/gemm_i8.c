/* kernels/avx512/gemm_i8.c - INT8 products with VNNI: vpdpbusd adds four unsigned x signed byte products to each 32-bit lane, here
 * four consecutive k of one column. */
#include "kernels/avx512/products.h"

enum { LONG_SLICE_STEPS = 256 /* of a panel that many groups read: 32 KB */ };

/* Some steps of m rows; the sums so far are in c, or are the corrections. */
UK_INLINE void add_steps(const int m, int64_t n_steps, const char *a, int64_t a_step, const int8_t *panel, int64_t ahead,
                         const int32_t *correction, int32_t *c, int64_t ldc)
{
    __m512i left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        const int32_t *sums = correction != NULL ? correction : c + i * ldc;
        left[i] = _mm512_loadu_si512(sums);
        right[i] = _mm512_loadu_si512(sums + UK_PANEL / 2);
    }
    for (int64_t step = 0; step < n_steps; step++, panel += STEP_BYTES, a += a_step) {
        request(panel, ahead);
        request(panel + STEP_BYTES / 2, ahead);
        __m512i w_left = _mm512_load_si512(panel), w_right = _mm512_load_si512(panel + STEP_BYTES / 2);
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512i x = broadcast_lane(a + 4 * i);
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

static void add_steps_of_rows(int64_t m, int64_t n_steps, const char *a, int64_t a_step, const int8_t *panel, int64_t ahead,
                              const int32_t *correction, int32_t *c, int64_t ldc)
{
#define CASE(rows)                                                             \
    case rows:                                                                 \
        add_steps(rows, n_steps, a, a_step, panel, ahead, correction, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

void uk_avx512_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, a_step = 4 * a.group_rows, step = 0;
    int64_t slice = n_groups == 1 ? k4 : n_groups <= MAX_SLICED_GROUPS ? SLICE_STEPS : LONG_SLICE_STEPS;
    do {
        int64_t n = k4 - step < slice ? k4 - step : slice;
        for (int64_t g = 0; g < n_groups; g++) {
            add_steps_of_rows(rows_of_group(&a, g), n, (const char *)a.data + g * a.group_bytes + step * a_step, a_step,
                              panel + step * STEP_BYTES, ahead_of(g, n_groups), step == 0 ? correction : NULL,
                              c + g * UK_ROWS * ldc, ldc);
        }
        step += n;
    } while (step < k4);
}
