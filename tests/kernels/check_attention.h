/* kernels/check_attention.h - softmax, pooling, index scores and exponentials of a row against those of the scalar one. */
#ifndef TESTS_KERNELS_CHECK_ATTENTION_H
#define TESTS_KERNELS_CHECK_ATTENTION_H

#include <float.h>

#include "kernels/row_case.h"

/* A score where it matters: now and then one that says that there is none, often none at all in a column. */
static inline float draw_score(int64_t column, test_case *t)
{
    uint64_t r = draw_u64(&t->random) % 16;
    if (r < 3 || column % 5 == 4) {
        return r % 2 ? -INFINITY : -FLT_MAX;
    }
    return (t->f == ORDINARY ? 20.0f : 1.0f) * draw_f32(&t->random, t->f);
}

/* Activations of groups * UK_ROWS rows and k values, in the forms of two rows: equal if all products with a panel of the identity
 * are. */
static inline void expect_same_acts(const uk_table *row, int64_t groups, int64_t k, outputs acts, test_case *t)
{
    static float want[MAX_K * UK_PANEL], got[MAX_K * UK_PANEL];
    static uint16_t panel[MAX_K * UK_PANEL] __attribute__((aligned(64)));
    uk_acts a = {acts.want, groups * UK_ROWS, UK_ROWS, uk_acts_bytes_bf16(ref, UK_ROWS, k)};
    uk_acts b = {acts.got, groups * UK_ROWS, UK_ROWS, uk_acts_bytes_bf16(row, UK_ROWS, k)};
    int64_t padded = (k + 1) / 2 * 2;
    for (int64_t first = 0; first < padded; first += UK_PANEL) {
        memset(panel, 0, sizeof panel);
        for (int64_t r = first; r < padded && r < first + UK_PANEL; r++) {
            panel[(r / 2 * UK_PANEL + r - first) * 2 + r % 2] = num_bf16_from_f32(1.0f);
        }
        ref->gemm_bf16(a, padded, panel, want, UK_PANEL);
        row->gemm_bf16(b, padded, panel, got, UK_PANEL);
        for (int64_t i = 0; i < a.rows * UK_PANEL; i++) {
            expect_same_value(got[i], want[i], i, t);
        }
    }
    expect_intact(acts, t);
}

static inline void check_softmax_shape(const uk_table *row, int64_t n_rows, int64_t n_cols, float scale, test_case *t)
{
    t->n = n_cols;
    int64_t ld = n_cols + (int64_t)t->f, n_scores = (n_rows - 1) * ld + n_cols, groups = (n_cols + UK_ROWS - 1) / UK_ROWS;
    float *s = input_f32(0, n_scores, t);
    for (int64_t i = 0; i < n_scores; i++) {
        s[i] = draw_score(i % ld, t);
    }
    outputs acts = place_outputs(groups * uk_acts_bytes_bf16(row, UK_ROWS, n_rows), 1, t);
    outputs m = place_nth_outputs(1, n_cols, sizeof(float), t), l = place_nth_outputs(2, n_cols, sizeof(float), t);
    ref->softmax(n_rows, n_cols, scale, s, ld, m.want, l.want, acts.want);
    row->softmax(n_rows, n_cols, scale, s, ld, m.got, l.got, acts.got);
    expect_same_f32(m, t);
    expect_same_f32(l, t);
    expect_same_acts(row, groups, n_rows, acts, t);
}

static inline void check_softmax(const uk_table *row, test_case *t)
{
    static const int64_t heights[] = {1, 2, 7, 127, 128}, widths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100};
    for (size_t h = 0; h < sizeof heights / sizeof *heights; h++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = w % 2 ? 0 : 64;
                check_softmax_shape(row, heights[h], widths[w], 0x1p-4f, t);
                check_softmax_shape(row, heights[h], widths[w], 3.3f, t);
            }
        }
    }
}

/* n_rows rows of n values behind pointers, in descending order; the first one ends at the forbidden page. */
static inline const float *const *row_pointers(const float *rows[], const float *x, int64_t n_rows, int64_t n)
{
    for (int64_t r = 0; r < n_rows; r++) {
        rows[r] = x + (n_rows - 1 - r) * n;
    }
    return rows;
}

static inline void check_pool_shape(const uk_table *row, int64_t n, int64_t n_rows, test_case *t)
{
    enum { MAX_POOLED = 128 };
    static const float *k_rows[MAX_POOLED], *s_rows[MAX_POOLED];
    t->n = n;
    const float *k = input_f32(0, n_rows * n, t);
    float *s = input_f32(1, n_rows * n, t);
    for (int64_t i = 0; i < n_rows * n; i++) {
        s[i] = draw_score(i % n, t);
    }
    outputs y = place_outputs(n, sizeof(float), t);
    ref->pool(n, n_rows, row_pointers(k_rows, k, n_rows, n), row_pointers(s_rows, s, n_rows, n), y.want);
    row->pool(n, n_rows, k_rows, s_rows, y.got);
    expect_same_f32(y, t);
}

static inline void check_pool(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        check_pool_shape(row, t->n, 1 + (int64_t)(t->step % 8), t);
    }
    t->f = ORDINARY;
    check_pool_shape(row, 100, 128, t);
}

static inline void check_index_score_shape(const uk_table *row, int64_t n_keys, int64_t n_heads, test_case *t)
{
    t->n = n_heads;
    int64_t ld = n_heads + (int64_t)t->f;
    int32_t *acc = input_i32(0, n_keys > 0 ? (n_keys - 1) * ld + n_heads : 0, t);
    const float *q_scale = input_f32(1, n_heads, t), *k_scale = input_f32(2, n_keys, t), *w = input_f32(3, n_heads, t);
    outputs y = place_outputs(n_keys, sizeof(float), t);
    ref->index_score(n_keys, n_heads, acc, ld, q_scale, k_scale, w, y.want);
    row->index_score(n_keys, n_heads, acc, ld, q_scale, k_scale, w, y.got);
    expect_same_f32(y, t);
}

static inline void check_index_score(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        for (int64_t n_keys = 0; n_keys <= 9; n_keys++) {
            check_index_score_shape(row, n_keys, t->n, t);
        }
    }
}

/* A stride that visits every exponent and a spread of mantissas of both signs. */
static inline void check_exp_sweep(const uk_table *row, test_case *t)
{
    enum { COUNT = 1000, STRIDE = 20011 };
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += (uint64_t)COUNT * STRIDE) {
        float x[COUNT], want[COUNT], got[COUNT];
        for (uint64_t i = 0; i < COUNT; i++) {
            x[i] = num_f32_from_bits((uint32_t)(bits + i * STRIDE));
        }
        ref->exp(COUNT, x, want);
        row->exp(COUNT, x, got);
        for (int i = 0; i < COUNT; i++) {
            expect_same_value(got[i], want[i], i, t);
        }
    }
}

/* 16 neighbours on each side of the bounds of EXP, and what lies beyond. */
static inline void check_exp_bounds(const uk_table *row, test_case *t)
{
    static const float centres[] = {-87.0f, 0x1.61814cp+6f, 0.0f, -104.0f, -0x1p126f, 0x1p126f};
    for (size_t c = 0; c < sizeof centres / sizeof *centres; c++) {
        float x[33], want[33], got[33];
        for (int i = 0; i < 33; i++) {
            x[i] = num_f32_from_bits(num_bits_from_f32(centres[c]) + (uint32_t)(i - 16));
        }
        ref->exp(33, x, want);
        row->exp(33, x, got);
        for (int i = 0; i < 33; i++) {
            expect_same_value(got[i], want[i], i, t);
        }
    }
}

static inline void check_exp(const uk_table *row, test_case *t)
{
    check_exp_sweep(row, t);
    check_exp_bounds(row, t);
    while (next_case(t)) {
        float *x = input_f32(0, t->n, t);
        for (int64_t i = 0; i < t->n && t->f == ORDINARY; i++) {
            x[i] *= 46.0f;
        }
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->exp(t->n, x, y.want);
        row->exp(t->n, x, y.got);
        expect_same_f32(y, t);

        outputs in_place = place_updated(t->n, t);
        ref->exp(t->n, in_place.want, in_place.want);
        row->exp(t->n, in_place.got, in_place.got);
        expect_same_f32(in_place, t);
    }
}

#endif
