/* kernels/check_gemm.h - the products of a row against those of the scalar one. */
#ifndef TESTS_KERNELS_CHECK_GEMM_H
#define TESTS_KERNELS_CHECK_GEMM_H

#include "kernels/row_case.h"

static const int64_t depths[] = {0, 1, 2, 3, 5, 16, 127, MAX_K};
enum { N_DEPTHS = sizeof depths / sizeof *depths };

static inline void check_gemm_bf16_shape(const uk_table *row, int m, int64_t k, bool add, test_case *t)
{
    t->n = k;
    int64_t lda = k + 3;
    const float *a = input_f32(0, (m - 1) * lda + k, t);
    const uint16_t *panel = input_bf16(1, k * UK_PANEL, t);
    outputs c = place_updated((m - 1) * LDC + UK_PANEL, t);
    ref->gemm_bf16(m, k, a, lda, panel, c.want, LDC, add);
    row->gemm_bf16(m, k, a, lda, panel, c.got, LDC, add);
    expect_same_f32(c, t);
}

/* Every number of rows, depth and flavour, without and with the old sums. */
static inline void for_each_gemm(const uk_table *row, test_case *t,
                                 void (*check_shape)(const uk_table *row, int m, int64_t k, bool add, test_case *t))
{
    for (int m = 1; m <= UK_MAX_ROWS; m++) {
        for (int d = 0; d < N_DEPTHS; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = d % 2 ? 0 : 64;
                check_shape(row, m, depths[d], false, t);
                check_shape(row, m, depths[d], true, t);
            }
        }
    }
}

static inline void check_gemm_bf16(const uk_table *row, test_case *t)
{
    for_each_gemm(row, t, check_gemm_bf16_shape);
}

static inline void check_gemm_i8_shape(const uk_table *row, int m, int64_t k4, test_case *t)
{
    t->n = 4 * k4;
    int64_t lda = 4 * k4 + 3;
    const uint8_t *a = input_bytes(0, (m - 1) * lda + 4 * k4, t);
    const int8_t *panel = input_bytes(1, k4 * 4 * UK_PANEL, t);
    int32_t *correction = guarded_place(&inputs[2], UK_PANEL * sizeof *correction, 0);
    for (int j = 0; j < UK_PANEL; j++) {
        correction[j] = 128 * draw_i8(&t->random);
    }
    outputs c = place_outputs((m - 1) * LDC + UK_PANEL, sizeof(int32_t), t);
    ref->gemm_i8(m, k4, a, lda, panel, correction, c.want, LDC);
    row->gemm_i8(m, k4, a, lda, panel, correction, c.got, LDC);
    expect_same_bytes(c, t);
}

static inline void check_gemm_i8(const uk_table *row, test_case *t)
{
    for (int m = 1; m <= UK_MAX_ROWS; m++) {
        for (int d = 0; d < N_DEPTHS; d++) {
            t->gap = d % 2 ? 0 : 64;
            check_gemm_i8_shape(row, m, depths[d], t);
        }
    }
}

static inline void check_gemm_f32_shape(const uk_table *row, int m, int64_t k, bool add, test_case *t)
{
    t->n = k;
    int64_t lda = k + 3;
    const float *a = input_f32(0, (m - 1) * lda + k, t), *panel = input_f32(1, k * UK_PANEL, t);
    outputs c = place_updated((m - 1) * LDC + UK_PANEL, t);
    ref->gemm_f32(m, k, a, lda, panel, c.want, LDC, add);
    row->gemm_f32(m, k, a, lda, panel, c.got, LDC, add);
    expect_same_f32(c, t);
}

static inline void check_gemm_f32(const uk_table *row, test_case *t)
{
    for_each_gemm(row, t, check_gemm_f32_shape);
}

/* k rows of n values in one input, in an order that starts in their midst; row `last` ends at the forbidden page. */
static inline const uint16_t *const *input_rows(int which, int64_t k, int64_t n, int64_t last, test_case *t)
{
    static const uint16_t *rows[MAX_K];
    int64_t stride = n + 1;
    const uint16_t *first = input_bf16(which, k > 0 ? (k - 1) * stride + n : 0, t);
    for (int64_t r = 0; r < k; r++) {
        rows[r] = first + (k - 1 + last - r) % k * stride;
    }
    return rows;
}

static inline void check_gemm_rows_shape(const uk_table *row, int m, int64_t k, int64_t n, test_case *t)
{
    t->n = n;
    int64_t lda = m + (int64_t)t->f, ldc = n + 3, last = k > 0 ? n % k : 0;
    const float *a = input_f32(0, k > 0 ? (k - 1) * lda + m : 0, t);
    const uint16_t *const *rows = input_rows(1, k, n, last, t);
    outputs c = place_updated((m - 1) * ldc + n, t);
    ref->gemm_rows(m, k, n, a, lda, rows, c.want, ldc);
    row->gemm_rows(m, k, n, a, lda, rows, c.got, ldc);
    expect_same_f32(c, t);
}

static inline void check_gemm_rows(const uk_table *row, test_case *t)
{
    static const int64_t widths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 100, 512};
    for (int m = 1; m <= UK_MAX_ROWS; m++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = w % 2 ? 0 : 64;
                for (int d = 0; depths[d] <= 16; d++) {
                    check_gemm_rows_shape(row, m, depths[d], widths[w], t);
                }
            }
        }
        t->f = ORDINARY;
        check_gemm_rows_shape(row, m, 127, 65, t);
    }
}

#endif
