/* kernels/avx512/gemm_bf16.h - gemm_bf16 around an UK_INLINE function add_step, which the including file defines before: with FMA
 * or with vpdpbf16ps. Its activations are ACT_BYTES bytes a value. */
#include "kernels/avx512/products.h"

enum { SUMS = MAX_SLICED_GROUPS * UK_ROWS * UK_PANEL };

/* Some steps of a panel for one group. */
typedef struct group_slice {
    const char *a;
    int64_t a_step; /* bytes */
    const char *panel;
    int64_t n_steps, ahead;
    float *sums; /* [rows][UK_PANEL]: the sums so far, unless this is the first slice, and those to come, unless it is the last */
    bool first, last;
} group_slice;

UK_INLINE void add_slice(const int m, const group_slice *s, float *c, int64_t ldc, bool add)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = s->first ? _mm512_setzero_ps() : _mm512_loadu_ps(s->sums + i * UK_PANEL);
        right[i] = s->first ? _mm512_setzero_ps() : _mm512_loadu_ps(s->sums + i * UK_PANEL + UK_PANEL / 2);
    }
    const char *a = s->a, *panel = s->panel;
    int64_t a_step = s->a_step, ahead = s->ahead;
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, a += a_step) {
        request(panel, ahead);
        request(panel + STEP_BYTES / 2, ahead);
        add_step(m, a, _mm512_load_si512(panel), _mm512_load_si512(panel + STEP_BYTES / 2), left, right);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        if (s->last) {
            avx512_store_sums(c + i * ldc, left[i], add);
            avx512_store_sums(c + i * ldc + UK_PANEL / 2, right[i], add);
        } else {
            _mm512_storeu_ps(s->sums + i * UK_PANEL, left[i]);
            _mm512_storeu_ps(s->sums + i * UK_PANEL + UK_PANEL / 2, right[i]);
        }
    }
}

static void add_slice_of_group(int64_t m, const group_slice *s, float *c, int64_t ldc, bool add)
{
#define CASE(rows)                          \
    case rows:                              \
        add_slice(rows, s, c, ldc, add); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

static inline void gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc, bool add)
{
    float sums[SUMS];
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, n_steps = (k + 1) / 2, slice = slice_steps(n_groups, n_steps), step = 0;
    uint32_t mode = avx2_flush_denormals();
    do {
        int64_t n = n_steps - step < slice ? n_steps - step : slice;
        for (int64_t g = 0; g < n_groups; g++) {
            int64_t m = a.rows - g * UK_ROWS < UK_ROWS ? a.rows - g * UK_ROWS : UK_ROWS, a_step = 2 * ACT_BYTES * a.group_rows;
            group_slice s = {.a = (const char *)a.data + g * a.group_bytes + step * a_step,
                             .a_step = a_step,
                             .panel = (const char *)panel + step * STEP_BYTES,
                             .n_steps = n,
                             .ahead = g > 0 ? 0 : n_groups > 1 ? AHEAD_OF_GROUPS : AHEAD_OF_ONE_GROUP,
                             .sums = sums + g % MAX_SLICED_GROUPS * UK_ROWS * UK_PANEL,
                             .first = step == 0,
                             .last = step + n == n_steps};
            add_slice_of_group(m, &s, c + g * UK_ROWS * ldc, ldc, add);
        }
        step += n;
    } while (step < n_steps);
    _mm_setcsr(mode);
}
