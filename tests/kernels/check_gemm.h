/* kernels/check_gemm.h - the products of a row against those of the scalar one. */
#ifndef TESTS_KERNELS_CHECK_GEMM_H
#define TESTS_KERNELS_CHECK_GEMM_H

#include "kernels/packed_acts.h"
#include "kernels/row_case.h"

static const int64_t depths[] = {0, 1, 2, 3, 5, 16, 127, 128, 129, 257, MAX_K};
enum { N_DEPTHS = sizeof depths / sizeof *depths };

/* Every number of rows and depth; groups of 8 rows or fewer with every flavour, more rows with one of them. */
static inline void for_each_gemm(const uk_table *row, test_case *t,
                                 void (*check_shape)(const uk_table *row, row_count m, int64_t k, test_case *t))
{
    for (int n = 0; n < N_ROW_COUNTS; n++) {
        row_count m = nth_row_count(n);
        for (int d = 0; d < N_DEPTHS; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->n = depths[d];
                t->gap = d % 2 ? 0 : 64;
                if (m.rows <= UK_ROWS || (n + d) % N_FLAVOURS == f) {
                    check_shape(row, m, depths[d], t);
                }
            }
        }
    }
}

/* Packed activations that end at the forbidden page. */
static inline char *place_acts(int which, row_count m, int64_t group_bytes)
{
    return guarded_place(&inputs[which], (size_t)(groups_of(m) * group_bytes), 0);
}

/* A panel with columns of zeros and, for an odd k, a row of them, as the packer leaves. */
static inline uint16_t *input_panel_bf16(int which, int64_t k, test_case *t)
{
    uint16_t *panel = input_bf16(which, (k + 1) / 2 * 2 * UK_PANEL, t);
    for (int64_t step = 0; step < (k + 1) / 2; step++) {
        for (int j = 0; j < UK_PANEL; j++) {
            uint16_t *pair = panel + 2 * (step * UK_PANEL + j);
            pair[0] = j % 10 == 9 ? 0 : pair[0];
            pair[1] = j % 10 == 9 || 2 * step + 1 == k ? 0 : pair[1];
        }
    }
    return panel;
}

static inline void check_gemm_bf16_shape(const uk_table *row, row_count m, int64_t k, test_case *t)
{
    int64_t ldx = k + 3, unused = m.rows % 2 ? 64 : 0;
    int64_t want_bytes = uk_acts_bytes_bf16(ref, m.group_rows, k), got_bytes = uk_acts_bytes_bf16(row, m.group_rows, k) + unused;
    const uint16_t *x = input_bf16(0, (m.rows - 1) * ldx + k, t), *panel = input_panel_bf16(1, k, t);
    uk_acts want = pack_bf16(ref, m, k, x, ldx, place_acts(2, m, want_bytes), want_bytes);
    uk_acts got = pack_bf16(row, m, k, x, ldx, place_acts(3, m, got_bytes), got_bytes);
    outputs c = place_updated((m.rows - 1) * LDC + UK_PANEL, t);
    ref->gemm_bf16(want, k, panel, c.want, LDC);
    row->gemm_bf16(got, k, panel, c.got, LDC);
    expect_same_f32(c, t);
}

/* 2^-63 .. 2^-76 of either sign, often a power of two: products from the smallest normal number down to what no longer moves it. */
static inline uint16_t draw_tiny_bf16(test_case *t)
{
    uint64_t r = draw_u64(&t->random), sign_and_fraction = r & (r >> 32 & 1 ? 0x807f : 0x8000);
    return (uint16_t)(sign_and_fraction | (127 - 63 - (r >> 16) % 14) << 7);
}

/* Only the first few k of a chunk have such values, so that sums stay small. */
static inline void check_gemm_bf16_near_denormals(const uk_table *row, int64_t k, test_case *t)
{
    const row_count m = {UK_ROWS, UK_ROWS};
    int64_t want_bytes = uk_acts_bytes_bf16(ref, UK_ROWS, k), got_bytes = uk_acts_bytes_bf16(row, UK_ROWS, k);
    uint16_t *x = input_bf16(0, m.rows * k, t), *panel = input_panel_bf16(1, k, t);
    for (int64_t i = 0; i < m.rows * k; i++) {
        x[i] = i % k % UK_CHUNK < 8 ? draw_tiny_bf16(t) : 0;
    }
    for (int64_t i = 0; i < (k + 1) / 2 * 2 * UK_PANEL; i++) {
        panel[i] = draw_tiny_bf16(t);
    }
    uk_acts want = pack_bf16(ref, m, k, x, k, place_acts(2, m, want_bytes), want_bytes);
    uk_acts got = pack_bf16(row, m, k, x, k, place_acts(3, m, got_bytes), got_bytes);
    outputs c = place_outputs(m.rows * UK_PANEL, sizeof(float), t);
    ref->gemm_bf16(want, k, panel, c.want, UK_PANEL);
    row->gemm_bf16(got, k, panel, c.got, UK_PANEL);
    expect_same_f32(c, t);
}

static inline void check_gemm_bf16(const uk_table *row, test_case *t)
{
    for_each_gemm(row, t, check_gemm_bf16_shape);
    for (int i = 0; i < 3000; i++) {
        t->n = (i % 16 < 8 ? 1 : UK_CHUNK + 1) + i % 8;
        check_gemm_bf16_near_denormals(row, t->n, t);
    }
}

static inline void check_gemm_i8_shape(const uk_table *row, row_count m, int64_t k, test_case *t)
{
    int64_t ldx = k + 3, k4 = (k + 3) / 4, spare = m.rows % 2 ? 64 : 0;
    int64_t want_bytes = uk_acts_bytes_i8(ref, m.group_rows, k) + spare, got_bytes = uk_acts_bytes_i8(row, m.group_rows, k) + spare;
    const int8_t *x = input_bytes(0, (m.rows - 1) * ldx + k, t);
    int8_t *panel = input_bytes(1, k4 * 4 * UK_PANEL, t);
    for (int64_t row_k = k; row_k < 4 * k4; row_k++) {
        for (int j = 0; j < UK_PANEL; j++) {
            panel[(row_k / 4 * UK_PANEL + j) * 4 + row_k % 4] = 0;
        }
    }
    int32_t correction[UK_PANEL];
    panel_correction(k4, panel, correction);
    uk_acts want = pack_i8(ref, m, k, x, ldx, place_acts(2, m, want_bytes), want_bytes);
    uk_acts got = pack_i8(row, m, k, x, ldx, place_acts(3, m, got_bytes), got_bytes);
    outputs c = place_updated((m.rows - 1) * LDC + UK_PANEL, t);
    ref->gemm_i8(want, k4, panel, correction, c.want, LDC);
    row->gemm_i8(got, k4, panel, correction, c.got, LDC);
    expect_same_bytes(c, t);
}

static inline void check_gemm_i8(const uk_table *row, test_case *t)
{
    for_each_gemm(row, t, check_gemm_i8_shape);
    check_gemm_i8_shape(row, (row_count){3, 4}, LONG_K, t);
    check_gemm_i8_shape(row, (row_count){41, UK_ROWS}, LONG_K, t);
}

static inline void check_gemm_f32_shape(const uk_table *row, row_count m, int64_t k, test_case *t)
{
    if (m.rows > UK_ROWS || m.group_rows > m.rows) {
        return; /* takes rows as they lie */
    }
    int64_t lda = k + 3;
    const float *a = input_f32(0, (m.rows - 1) * lda + k, t), *panel = input_f32(1, k * UK_PANEL, t);
    outputs c = place_updated((m.rows - 1) * LDC + UK_PANEL, t);
    ref->gemm_f32((int)m.rows, k, a, lda, panel, c.want, LDC);
    row->gemm_f32((int)m.rows, k, a, lda, panel, c.got, LDC);
    expect_same_f32(c, t);
}

static inline void check_gemm_f32(const uk_table *row, test_case *t)
{
    for_each_gemm(row, t, check_gemm_f32_shape);
}

#endif
