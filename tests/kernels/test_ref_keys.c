/* Products of gathered rows and panels made of them, of the scalar row, against gemm_bf16 and the layout of kernels.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "kernels/packed_acts.h"
#include "kernels/scalar_row.h"

enum { KEYS = 11, MAX_LENGTH = 257, N_PANELS = 2 };

/* Keys that lie in another order and apart, behind each a NaN. */
static const uint16_t *const *draw_keys(int64_t n, uint64_t *random)
{
    static uint16_t values[KEYS][MAX_LENGTH + 1];
    static const uint16_t *keys[KEYS];
    for (int64_t i = 0; i < KEYS; i++) {
        for (int64_t d = 0; d < n; d++) {
            values[i][d] = draw_bf16(random, ORDINARY);
        }
        values[i][n] = 0x7fc0;
        keys[i] = values[(i * 7 + 3) % KEYS];
    }
    return keys;
}

static void gemm_keys_is_gemm_bf16_of_gathered_rows(void **state)
{
    (void)state;
    enum { LDC = N_PANELS * UK_PANEL + 1 };
    static const int64_t lengths[] = {0, 1, 2, 127, 128, 129, MAX_LENGTH};
    static uint16_t x[KEYS * MAX_LENGTH], panels[N_PANELS * (MAX_LENGTH + 1) * UK_PANEL];
    static char acts[2 * UK_ROWS * 2 * (MAX_LENGTH + 1)];
    static float want[KEYS * UK_PANEL], got[KEYS * LDC];
    uint64_t random = 31;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        int64_t k = lengths[l], panel_values = (k + 1) / 2 * 2 * UK_PANEL;
        const uint16_t *const *keys = draw_keys(k, &random);
        for (int64_t i = 0; i < N_PANELS * panel_values; i++) {
            panels[i] = k % 2 != 0 && i % panel_values >= (k - 1) * UK_PANEL && i % 2 != 0 ? 0 : draw_bf16(&random, ORDINARY);
        }
        for (int64_t i = 0; i < KEYS; i++) {
            memcpy(x + i * k, keys[i], (size_t)k * sizeof *x);
        }
        const row_count m = {KEYS, UK_ROWS};
        uk_acts a = pack_bf16(ref, m, k, x, k, acts, uk_acts_bytes_bf16(ref, UK_ROWS, k));
        ref->gemm_keys(KEYS, k, keys, N_PANELS, panels, got, LDC);
        for (int p = 0; p < N_PANELS; p++) {
            ref->gemm_bf16(a, k, panels + p * panel_values, want, UK_PANEL);
            for (int i = 0; i < KEYS * UK_PANEL; i++) {
                expect_f32(got[i / UK_PANEL * LDC + p * UK_PANEL + i % UK_PANEL], want[i]);
            }
        }
    }
}

/* Column c of a step is the 32-bit lane c: its first row low, its second one high. */
static void panel_keys_pairs_rows(void **state)
{
    (void)state;
    enum { FIRST = 3, COLUMNS = 29 };
    uint64_t random = 32;
    const uint16_t *const *keys = draw_keys(FIRST + COLUMNS, &random);
    uint16_t panel[(KEYS + 1) * UK_PANEL];
    memset(panel, 0x3f, sizeof panel);
    ref->panel_keys(KEYS, COLUMNS, keys, FIRST, panel);
    for (int step = 0; step < (KEYS + 1) / 2; step++) {
        for (int c = 0; c < UK_PANEL; c++) {
            const uint16_t *lane = panel + (step * UK_PANEL + c) * 2;
            assert_int_equal(lane[0], c < COLUMNS ? keys[2 * step][FIRST + c] : 0);
            assert_int_equal(lane[1], c < COLUMNS && 2 * step + 1 < KEYS ? keys[2 * step + 1][FIRST + c] : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_keys_is_gemm_bf16_of_gathered_rows),
        cmocka_unit_test(panel_keys_pairs_rows),
    };
    return cmocka_run_group_tests_name("kernels.ref_keys", tests, find_scalar, NULL);
}
