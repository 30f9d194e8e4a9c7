/* kernels/check_keys.h - products of gathered rows, and panels made of them, against those of the scalar row. */
#ifndef TESTS_KERNELS_CHECK_KEYS_H
#define TESTS_KERNELS_CHECK_KEYS_H

#include "kernels/row_case.h"

/* n keys of k values in one input, in an order that starts in their midst, an odd number of values apart; key `last` ends at the
 * forbidden page. */
static inline const uint16_t *const *input_keys(int which, int64_t n, int64_t k, int64_t last, test_case *t)
{
    static const uint16_t *keys[MAX_K];
    int64_t stride = k + 1 + k % 2;
    const uint16_t *first = input_bf16(which, n > 0 ? (n - 1) * stride + k : 0, t);
    for (int64_t i = 0; i < n; i++) {
        keys[i] = first + (n - 1 + last - i) % n * stride;
    }
    return keys;
}

/* Panels of k rows, an odd k filled up with zeros. */
static inline const uint16_t *input_panels(int which, int64_t k, int64_t n_panels, test_case *t)
{
    int64_t panel_values = (k + 1) / 2 * 2 * UK_PANEL;
    uint16_t *panels = input_bf16(which, n_panels * panel_values, t);
    for (int64_t i = 0; i < n_panels * panel_values && k % 2 != 0; i++) {
        panels[i] = i % panel_values >= (k - 1) * UK_PANEL && i % 2 == 1 ? 0 : panels[i];
    }
    return panels;
}

static inline void check_gemm_keys_shape(const uk_table *row, int64_t n, int64_t k, int64_t n_panels, test_case *t)
{
    t->n = k;
    int64_t ldc = n_panels * UK_PANEL + 3;
    const uint16_t *const *keys = input_keys(0, n, k, n > 0 ? k % n : 0, t), *panels = input_panels(1, k, n_panels, t);
    outputs c = place_updated(n > 0 && n_panels > 0 ? (n - 1) * ldc + n_panels * UK_PANEL : 0, t);
    ref->gemm_keys(n, k, keys, n_panels, panels, c.want, ldc);
    row->gemm_keys(n, k, keys, n_panels, panels, c.got, ldc);
    expect_same_f32(c, t);
}

static inline void check_gemm_keys(const uk_table *row, test_case *t)
{
    static const int64_t lengths[] = {0, 1, 2, 3, 64, 127, 128, 129, 256, 257, 300};
    for (int64_t n = 0; n <= 2 * UK_ROWS + 1; n++) {
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = k % 2 ? 0 : 64;
                check_gemm_keys_shape(row, n, lengths[k], (n + (int64_t)k + f) % 4, t);
            }
        }
    }
    check_gemm_keys_shape(row, 41, 300, 3, t);
}

static inline void check_panel_keys_shape(const uk_table *row, int64_t k, int64_t n, int64_t first, test_case *t)
{
    t->n = n;
    const uint16_t *const *keys = input_keys(0, k, first + n, k > 0 ? n % k : 0, t);
    outputs panel = place_outputs((k + 1) / 2 * 2 * UK_PANEL, sizeof(uint16_t), t);
    ref->panel_keys(k, n, keys, first, panel.want);
    row->panel_keys(k, n, keys, first, panel.got);
    expect_same_bytes(panel, t);
}

static inline void check_panel_keys(const uk_table *row, test_case *t)
{
    static const int64_t counts[] = {0, 1, 2, 3, 8, 17, 128};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        for (int64_t n = 0; n <= UK_PANEL; n++) {
            t->f = (flavour)(n % N_FLAVOURS);
            t->gap = n % 2 ? 0 : 64;
            check_panel_keys_shape(row, counts[k], n, 0, t);
            check_panel_keys_shape(row, counts[k], n, 5, t);
        }
    }
}

#endif
