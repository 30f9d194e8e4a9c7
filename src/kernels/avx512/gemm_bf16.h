/* kernels/avx512/gemm_bf16.h - gemm_bf16 and gemm_keys around UK_INLINE functions that the including file defines before: add_step,
 * with FMA or with vpdpbf16ps, and take_values, which brings values of a key into the form of activations, ACT_BYTES bytes a value.
 * A slice of a panel is a chunk of the sums. */
#include "kernels/avx512/products.h"

/* A chunk of a panel, for one group. */
typedef struct group_chunk {
    const char *a;
    int64_t a_step; /* bytes */
    const char *panel;
    int64_t n_steps, ahead, pace; /* ahead, pace: as in stream_share */
    bool first;
} group_chunk;

/* Rows of the activations lie row_bytes apart. */
UK_INLINE void add_chunk(const int m, const int64_t row_bytes, const group_chunk *s, float *c, int64_t ldc)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
    }
    const char *a = s->a, *panel = s->panel;
    int64_t a_step = s->a_step, ahead = s->ahead, pace = s->pace;
    for (int64_t step = s->n_steps; step > 0; step--, panel += STEP_BYTES, a += a_step, ahead += pace) {
        request(s->panel, ahead);
        request(s->panel, ahead + STEP_BYTES / 2);
        add_step(m, a, row_bytes, _mm512_load_si512(panel), _mm512_load_si512(panel + STEP_BYTES / 2), left, right);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        avx512_store_sums(c + i * ldc, left[i], !s->first);
        avx512_store_sums(c + i * ldc + UK_PANEL / 2, right[i], !s->first);
    }
}

UK_INLINE void add_chunk_of_rows(int64_t m, const int64_t row_bytes, const group_chunk *s, float *c, int64_t ldc)
{
#define CASE(rows)                             \
    case rows:                                 \
        add_chunk(rows, row_bytes, s, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

/* All k for group g of n_groups. */
static inline void add_group(const uk_acts *a, int64_t g, int64_t n_groups, int64_t n_steps, const char *panel, float *c,
                             int64_t ldc)
{
    const char *group = (const char *)a->data + g * a->group_bytes;
    int64_t a_step = 2 * ACT_BYTES * a->group_rows, step = 0;
    stream_share share = stream_share_of(g, n_groups, n_steps);
    do {
        group_chunk s = {.a = group + step * a_step,
                         .a_step = a_step,
                         .panel = panel + step * STEP_BYTES,
                         .n_steps = n_steps - step < SLICE_STEPS ? n_steps - step : SLICE_STEPS,
                         .ahead = share.ahead + step * (share.pace - STEP_BYTES),
                         .pace = share.pace,
                         .first = step == 0};
        add_chunk_of_rows(rows_of_group(a, g), 2 * ACT_BYTES, &s, c + g * UK_ROWS * ldc, ldc);
        step += SLICE_STEPS;
    } while (step < n_steps);
}

static inline void gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS;
    uint32_t mode = avx2_flush_denormals();
    for (int64_t g = 0; g < n_groups; g++) {
        add_group(&a, g, n_groups, (k + 1) / 2, (const char *)panel, c, ldc);
    }
    _mm_setcsr(mode);
}

/* ---- keys: groups of gathered rows, a chunk of which is brought near for all panels ------------------------------------------ */

enum { KEY_BYTES = UK_CHUNK * ACT_BYTES /* of a chunk of a key */ };

/* Values [first, first + n) of m keys, an odd n filled up with a zero. */
static inline void take_keys(int64_t m, const uint16_t *const *keys, int64_t first, int64_t n, char *near)
{
    for (int64_t i = 0; i < m; i++) {
        take_values(n, keys[i] + first, near + i * KEY_BYTES);
        if (n % 2 != 0) {
            memset(near + i * KEY_BYTES + n * ACT_BYTES, 0, ACT_BYTES);
        }
    }
}

static inline void gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                             int64_t ldc)
{
    int64_t panel_bytes = (k + 1) / 2 * STEP_BYTES;
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < n; i += UK_ROWS) {
        int64_t m = n - i < UK_ROWS ? n - i : UK_ROWS, next = n - i - m < UK_ROWS ? n - i - m : UK_ROWS, first = 0;
        do {
            _Alignas(64) char near[UK_ROWS * KEY_BYTES];
            int64_t values = k - first < UK_CHUNK ? k - first : UK_CHUNK;
            take_keys(m, keys + i, first, values, near);
            request_keys(next, keys + i + m, first, values);
            for (int64_t p = 0; p < n_panels; p++) {
                group_chunk s = {.a = near,
                                 .a_step = 2 * ACT_BYTES,
                                 .panel = (const char *)panels + p * panel_bytes + first / 2 * STEP_BYTES,
                                 .n_steps = (values + 1) / 2,
                                 .ahead = SLICE_STEPS * STEP_BYTES,
                                 .pace = STEP_BYTES,
                                 .first = first == 0};
                add_chunk_of_rows(m, KEY_BYTES, &s, c + i * ldc + p * UK_PANEL, ldc);
            }
            first += UK_CHUNK;
        } while (first < k);
    }
    _mm_setcsr(mode);
}
