/* kernels/avx512/gemm_i8.c - INT8 products with VNNI: vpdpbusd adds four unsigned x signed byte products to each 32-bit lane, here
 * four consecutive k of one column. */
#include "kernels/avx512/products.h"

enum { LONG_SLICE_STEPS = 256 /* of a panel that many groups read: 32 KB */ };

/* Some steps of a panel for one group. */
typedef struct group_steps {
    const char *a;
    int64_t a_step; /* bytes */
    const int8_t *panel;
    int64_t n_steps, ahead, pace; /* ahead, pace: as in stream_share */
    const int32_t *from;          /* the sums before these steps: rows from_ld apart; 0: all begin with the corrections */
    int64_t from_ld;
    int32_t *to; /* with these steps */
    int64_t to_ld;
} group_steps;

UK_INLINE void add_steps(const int m, const group_steps *s)
{
    __m512i left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = _mm512_loadu_si512(s->from + i * s->from_ld);
        right[i] = _mm512_loadu_si512(s->from + i * s->from_ld + UK_PANEL / 2);
    }
    const char *a = s->a;
    const int8_t *panel = s->panel;
    int64_t a_step = s->a_step, ahead = s->ahead, pace = s->pace;
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, a += a_step, ahead += pace) {
        request(s->panel, ahead);
        request(s->panel, ahead + STEP_BYTES / 2);
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
        _mm512_storeu_si512(s->to + i * s->to_ld, left[i]);
        _mm512_storeu_si512(s->to + i * s->to_ld + UK_PANEL / 2, right[i]);
    }
}

static void add_steps_of_rows(int64_t m, const group_steps *s)
{
#define CASE(rows)          \
    case rows:              \
        add_steps(rows, s); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

/* Several groups take the panel in slices that stay near for all of them. */
void uk_avx512_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, a_step = 4 * a.group_rows, step = 0;
    int64_t slice = n_groups == 1 ? k4 : LONG_SLICE_STEPS;
    do {
        int64_t n = k4 - step < slice ? k4 - step : slice;
        for (int64_t g = 0; g < n_groups; g++) {
            int32_t *sums = c + g * UK_ROWS * ldc;
            stream_share share = stream_share_of(g, n_groups, n);
            group_steps s = {.a = (const char *)a.data + g * a.group_bytes + step * a_step,
                             .a_step = a_step,
                             .panel = panel + step * STEP_BYTES,
                             .n_steps = n,
                             .ahead = share.ahead,
                             .pace = share.pace,
                             .from = step == 0 ? correction : sums,
                             .from_ld = step == 0 ? 0 : ldc,
                             .to = sums,
                             .to_ld = ldc};
            add_steps_of_rows(rows_of_group(&a, g), &s);
        }
        step += n;
    } while (step < k4);
}
