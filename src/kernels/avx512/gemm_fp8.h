/* kernels/avx512/gemm_fp8.h - gemm_fp8 around add_step of gemm_bf16.h and an UK_INLINE function widen_e4m3 with its e4m3_table,
 * which the including file defines before. The first group of a panel widens a chunk in registers and keeps it for the groups
 * behind it. */
#include "kernels/avx512/gemm_bf16.h"

enum { FP8_STEP_BYTES = STEP_BYTES / 2, CHUNK_BYTES = UK_CHUNK * UK_PANEL * (int)sizeof(uint16_t) };

/* c += scale * the sums of a chunk, of which the panel is FP8 or has become BF16. keep: where FP8 becomes BF16, or NULL. */
UK_INLINE void add_scaled_chunk(const int m, const bool is_bf16, const group_chunk *s, char *keep, float scale, float *c,
                                int64_t ldc)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
    }
    const e4m3_table table = e4m3_table_make();
    const char *a = s->a, *panel = s->panel;
    int64_t a_step = s->a_step, ahead = s->ahead;
    for (int64_t step = s->n_steps; step > 0; step--, a += a_step) {
        __m512i w_left, w_right;
        if (is_bf16) {
            w_left = _mm512_load_si512(panel);
            w_right = _mm512_load_si512(panel + STEP_BYTES / 2);
            panel += STEP_BYTES;
        } else {
            request(panel, ahead);
            __m512i bytes = _mm512_load_si512(panel);
            widen_e4m3(&table, bytes, &w_left, &w_right);
            panel += FP8_STEP_BYTES;
        }
        if (keep != NULL) {
            _mm512_store_si512(keep, w_left);
            _mm512_store_si512(keep + STEP_BYTES / 2, w_right);
            keep += STEP_BYTES;
        }
        add_step(m, a, 2 * ACT_BYTES, w_left, w_right, left, right);
    }
    __m512 v_scale = _mm512_set1_ps(scale);
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        float *left_sums = c + i * ldc, *right_sums = left_sums + UK_PANEL / 2;
        _mm512_storeu_ps(left_sums, _mm512_fmadd_ps(v_scale, left[i], _mm512_loadu_ps(left_sums)));
        _mm512_storeu_ps(right_sums, _mm512_fmadd_ps(v_scale, right[i], _mm512_loadu_ps(right_sums)));
    }
}

/* A group whose chunk nobody keeps: the only one, or one behind the first. Inlined for each form of the panel. */
UK_INLINE void add_scaled_chunk_of_rows(int64_t m, const bool is_bf16, const group_chunk *s, float scale, float *c, int64_t ldc)
{
#define CASE(rows)                                               \
    case rows:                                                   \
        add_scaled_chunk(rows, is_bf16, s, NULL, scale, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

/* A chunk of the panel for all groups of a; first is that of group 0. */
static void add_chunk_of_groups(const uk_acts *a, const group_chunk *first, float scale, float *c, int64_t ldc)
{
    int64_t n_groups = (a->rows + UK_ROWS - 1) / UK_ROWS;
    if (n_groups <= 1) {
        add_scaled_chunk_of_rows(a->rows, false, first, scale, c, ldc);
        return;
    }
    _Alignas(64) char widened[CHUNK_BYTES];
    add_scaled_chunk(UK_ROWS, false, first, widened, scale, c, ldc);
    for (int64_t g = 1; g < n_groups; g++) {
        group_chunk s = *first;
        s.a += g * a->group_bytes;
        s.panel = widened;
        add_scaled_chunk_of_rows(rows_of_group(a, g), true, &s, scale, c + g * UK_ROWS * ldc, ldc);
    }
}

static inline void gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    int64_t n_steps = (k + 1) / 2, a_step = 2 * ACT_BYTES * a.group_rows;
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < a.rows; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t step = 0; step < n_steps; step += SLICE_STEPS) {
        group_chunk s = {.a = (const char *)a.data + step * a_step,
                         .a_step = a_step,
                         .panel = (const char *)panel + step * FP8_STEP_BYTES,
                         .n_steps = n_steps - step < SLICE_STEPS ? n_steps - step : SLICE_STEPS,
                         .ahead = a.rows <= UK_ROWS ? AHEAD_OF_ONE_GROUP : AHEAD_OF_GROUPS};
        add_chunk_of_groups(&a, &s, scales[step / SLICE_STEPS], c, ldc);
    }
    _mm_setcsr(mode);
}
