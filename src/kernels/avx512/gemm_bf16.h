/* kernels/avx512/gemm_bf16.h - gemm_bf16 around an UK_INLINE function add_step, which the including file defines before: with FMA
 * or with vpdpbf16ps. Its activations are ACT_BYTES bytes a value. A slice of a panel is a chunk of the sums. */
#include "kernels/avx512/products.h"

/* A chunk of a panel, for one group. */
typedef struct group_chunk {
    const char *a;
    int64_t a_step; /* bytes */
    const char *panel;
    int64_t n_steps, ahead;
    float *sums; /* [rows][UK_PANEL]: of the chunks before, unless this is the first; with this one, unless it is the last */
    bool first, last;
} group_chunk;

/* The sum of a chunk takes its way: added to the chunks before; at the last, with the old c or in its place, to c. */
UK_INLINE void store_chunk(const group_chunk *s, __m512 sum, float *sums, float *c, bool add)
{
    if (!s->first) {
        sum = _mm512_add_ps(_mm512_loadu_ps(sums), sum);
    }
    if (s->last) {
        avx512_store_sums(c, sum, add);
    } else {
        _mm512_storeu_ps(sums, sum);
    }
}

UK_INLINE void add_chunk(const int m, const group_chunk *s, float *c, int64_t ldc, bool add)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
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
        store_chunk(s, left[i], s->sums + i * UK_PANEL, c + i * ldc, add);
        store_chunk(s, right[i], s->sums + i * UK_PANEL + UK_PANEL / 2, c + i * ldc + UK_PANEL / 2, add);
    }
}

static void add_chunk_of_rows(int64_t m, const group_chunk *s, float *c, int64_t ldc, bool add)
{
#define CASE(rows)                       \
    case rows:                           \
        add_chunk(rows, s, c, ldc, add); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

/* Groups [first, end) take turns. */
static inline void add_groups(const uk_acts *a, int64_t first, int64_t end, int64_t n_groups, int64_t n_steps, const uint16_t *panel,
                              float *c, int64_t ldc, bool add)
{
    float sums[MAX_SLICED_GROUPS][UK_ROWS * UK_PANEL];
    int64_t a_step = 2 * ACT_BYTES * a->group_rows, step = 0;
    do {
        int64_t n = n_steps - step < SLICE_STEPS ? n_steps - step : SLICE_STEPS;
        for (int64_t g = first; g < end; g++) {
            group_chunk s = {.a = (const char *)a->data + g * a->group_bytes + step * a_step,
                             .a_step = a_step,
                             .panel = (const char *)panel + step * STEP_BYTES,
                             .n_steps = n,
                             .ahead = ahead_of(g, n_groups),
                             .sums = sums[g - first],
                             .first = step == 0,
                             .last = step + n == n_steps};
            add_chunk_of_rows(rows_of_group(a, g), &s, c + g * UK_ROWS * ldc, ldc, add);
        }
        step += n;
    } while (step < n_steps);
}

static inline void gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc, bool add)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, in_turn = groups_in_turn(n_groups);
    uint32_t mode = avx2_flush_denormals();
    for (int64_t g = 0; g < n_groups; g += in_turn) {
        add_groups(&a, g, g + in_turn, n_groups, (k + 1) / 2, panel, c, ldc, add);
    }
    _mm_setcsr(mode);
}
