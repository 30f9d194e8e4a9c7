/* kernels/check_tile.h - packed activations of a row: what lies within is its own affair, so products with panels of the identity
 * have to bring back every value. */
#ifndef TESTS_KERNELS_CHECK_TILE_H
#define TESTS_KERNELS_CHECK_TILE_H

#include "kernels/packed_acts.h"
#include "kernels/row_case.h"

static const int64_t tile_depths[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 34, 63, 64, 65, 128, 201};
enum { N_TILE_DEPTHS = sizeof tile_depths / sizeof *tile_depths };

static inline void for_each_group(const uk_table *row, test_case *t,
                                  void (*check_group)(const uk_table *row, row_count m, int64_t k, test_case *t))
{
    for (int n = 0; n < N_ROW_COUNTS && nth_row_count(n).rows <= UK_ROWS; n++) {
        for (int d = 0; d < N_TILE_DEPTHS; d++) {
            t->n = tile_depths[d];
            t->gap = d % 2 ? 0 : 64;
            check_group(row, nth_row_count(n), t->n, t);
        }
    }
}

/* Every finite value comes back, except denormals and the sign of a zero. */
static inline void check_tile_bf16_group(const uk_table *row, row_count m, int64_t k, test_case *t)
{
    const uint16_t one = 0x3f80;
    int64_t ldx = k + 3;
    const uint16_t *x = input_bf16(0, (m.rows - 1) * ldx + k, t);
    outputs dst = place_outputs(uk_acts_bytes_bf16(row, m.group_rows, k), 1, t);
    row->tile_bf16(m.rows, m.group_rows, k, x, ldx, dst.got);
    expect_intact(dst, t);
    for (int64_t first = 0; first < k; first += 2 * UK_PANEL) {
        for (int odd = 0; odd < 2; odd++) {
            static uint16_t panel[2 * UK_PANEL * UK_PANEL] __attribute__((aligned(64)));
            float c[UK_ROWS * UK_PANEL];
            memset(panel, 0, sizeof panel);
            for (int j = 0; j < UK_PANEL; j++) {
                panel[2 * (j * UK_PANEL + j) + odd] = one;
            }
            int64_t n = k - first < 2 * UK_PANEL ? k - first : 2 * UK_PANEL;
            const char *data = (const char *)dst.got + first * m.group_rows * row->act_bytes_bf16;
            row->gemm_bf16((uk_acts){data, m.rows, m.group_rows, (int64_t)dst.bytes}, n, panel, c, UK_PANEL);
            for (int64_t i = 0; i < m.rows; i++) {
                for (int64_t j = 0; 2 * j + odd < n; j++) {
                    float want = num_f32_from_bf16(x[i * ldx + first + 2 * j + odd]);
                    expect_same_value(c[i * UK_PANEL + j] + 0.0f, want + 0.0f, first + 2 * j + odd, t);
                }
            }
        }
    }
}

static inline void check_tile_bf16(const uk_table *row, test_case *t)
{
    for_each_group(row, t, check_tile_bf16_group);
}

static inline void check_tile_i8_group(const uk_table *row, row_count m, int64_t k, test_case *t)
{
    int64_t ldx = k + 3;
    const int8_t *x = input_bytes(0, (m.rows - 1) * ldx + k, t);
    outputs dst = place_outputs(uk_acts_bytes_i8(row, m.group_rows, k), 1, t);
    row->tile_i8(m.rows, m.group_rows, k, x, ldx, dst.got);
    expect_intact(dst, t);
    int64_t k4 = (k + 3) / 4;
    int8_t *panel = input_bytes(1, 4 * k4 * UK_PANEL, t);
    for (int64_t first = 0; first < k; first += UK_PANEL) { /* times the identity from row `first` on */
        int64_t n = k - first < UK_PANEL ? k - first : UK_PANEL;
        int32_t correction[UK_PANEL], c[UK_ROWS * UK_PANEL];
        memset(panel, 0, (size_t)(4 * k4 * UK_PANEL));
        for (int64_t j = 0; j < n; j++) {
            panel[((first + j) / 4 * UK_PANEL + j) * 4 + (first + j) % 4] = 1;
        }
        panel_correction(k4, panel, correction);
        row->gemm_i8((uk_acts){dst.got, m.rows, m.group_rows, (int64_t)dst.bytes}, k4, panel, correction, c, UK_PANEL);
        for (int64_t i = 0; i < m.rows; i++) {
            for (int64_t j = 0; j < n; j++) {
                assert_int_equal(c[i * UK_PANEL + j], x[i * ldx + first + j]);
            }
        }
    }
}

static inline void check_tile_i8(const uk_table *row, test_case *t)
{
    for_each_group(row, t, check_tile_i8_group);
}

#endif
