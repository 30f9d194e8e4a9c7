/* Packing by every row of the kernel table, range of panels by range, element by element against the layout that kernels.h defines.
 * Weights end at a forbidden page, and the bytes around the panels are watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/guarded.h"
#include "kernels/pack.h"
#include "kernels/values.h"

enum { CAPACITY = 3 << 20, STEP_BYTES = 128 };

static const int64_t depths[] = {1, 2, 3, 4, 7, 15, 16, 31, 32, 33, 63, 64, 65, 100, 130, 515, 1030},
                     widths[] = {1, 7, 8, 9, 24, 31, 32, 33, 63, 64, 96, 101};
enum { N_DEPTHS = sizeof depths / sizeof *depths, N_WIDTHS = sizeof widths / sizeof *widths, N_ORDERS = 5 };

static guarded source_memory, packed_memory;

static int create_memory(void **state)
{
    (void)state;
    source_memory = guarded_create(CAPACITY);
    packed_memory = guarded_create(CAPACITY);
    return 0;
}

static int destroy_memory(void **state)
{
    (void)state;
    guarded_destroy(&source_memory);
    guarded_destroy(&packed_memory);
    return 0;
}

/* n contiguous, without and with a gap between rows; k contiguous, without and with; neither. */
static uk_source draw_source(int64_t elem_bytes, int64_t k, int64_t n, int order, uint64_t *random)
{
    const int64_t strides[N_ORDERS][2] = {{n, 1}, {n + 3, 1}, {1, k}, {1, k + 5}, {2 * n + 1, 2}};
    uk_source w = {NULL, elem_bytes, k, n, strides[order][0], strides[order][1]};
    size_t n_bytes = (size_t)(((k - 1) * w.stride_k + (n - 1) * w.stride_n + 1) * elem_bytes);
    uint8_t *bytes = guarded_place(&source_memory, n_bytes, 0);
    for (size_t i = 0; i < n_bytes; i++) {
        bytes[i] = (uint8_t)draw_i8(random);
    }
    w.data = bytes;
    return w;
}

static size_t packed_bytes(const uk_source *w)
{
    return w->elem_bytes == 1   ? uk_pack_i8_bytes(w->k, w->n)
           : w->elem_bytes == 2 ? uk_pack_bf16_bytes(w->k, w->n)
                                : uk_pack_f32_bytes(w->k, w->n);
}

/* Byte b of element (k, n); zero outside of the weight. */
static uint8_t byte_of(const uk_source *w, int64_t k, int64_t n, int64_t b)
{
    return k < w->k && n < w->n ? ((const uint8_t *)w->data)[(k * w->stride_k + n * w->stride_n) * w->elem_bytes + b] : 0;
}

static void expect_panel(const uk_source *w, const uk_packed *packed, int64_t panel)
{
    const uint8_t *bytes = (const uint8_t *)packed->panels + panel * packed->panel_bytes;
    int32_t sums[UK_PANEL] = {0};
    for (int64_t i = 0; i < packed->panel_bytes; i++) {
        int64_t group = 4 / w->elem_bytes, column = i % STEP_BYTES / 4, n = panel * UK_PANEL + column;
        int64_t k = i / STEP_BYTES * group + i % 4 / w->elem_bytes;
        uint8_t want = byte_of(w, k, n, i % w->elem_bytes);
        if (bytes[i] != want) {
            fail_msg("[%lld, %lld] of %lld bytes, strides %lld %lld: panel %lld byte %lld is %d, expected %d", (long long)w->k,
                     (long long)w->n, (long long)w->elem_bytes, (long long)w->stride_k, (long long)w->stride_n, (long long)panel,
                     (long long)i, bytes[i], want);
        }
        sums[column] += (int8_t)want;
    }
    for (int c = 0; c < UK_PANEL && w->elem_bytes == 1; c++) {
        assert_int_equal(packed->correction[panel * UK_PANEL + c], -128 * sums[c]);
    }
}

/* Panels in two ranges, the later one first. */
static void check(const uk_table *uk, const uk_source *w, int64_t cut)
{
    size_t n_bytes = packed_bytes(w), around = (n_bytes + 63) / 64 * 64;
    uint8_t *memory = guarded_place(&packed_memory, n_bytes, around - n_bytes);
    uk_packed packed = uk_packed_in(w, memory);
    assert_int_equal(packed.n_panels, (w->n + UK_PANEL - 1) / UK_PANEL);
    assert_int_equal(memory[0], GUARD_FILL);
    cut = cut < packed.n_panels ? cut : packed.n_panels;
    uk_pack_panels(uk, w, cut, packed.n_panels, &packed);
    for (int64_t i = 0; i < cut * packed.panel_bytes; i++) {
        assert_int_equal(memory[i], GUARD_FILL);
    }
    uk_pack_panels(uk, w, 0, cut, &packed);
    for (int64_t p = 0; p < packed.n_panels; p++) {
        expect_panel(w, &packed, p);
    }
    assert_true(guarded_is_intact(&packed_memory, memory, n_bytes));
}

static void panels_are_as_defined(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        for (int i = 0; uk_is_supported(*uk) && i < N_DEPTHS * N_WIDTHS * N_ORDERS; i++) {
            for (int64_t elem_bytes = 1; elem_bytes <= 4; elem_bytes *= 2) {
                uk_source w = draw_source(elem_bytes, depths[i / N_ORDERS / N_WIDTHS], widths[i / N_ORDERS % N_WIDTHS],
                                          i % N_ORDERS, &random);
                check(*uk, &w, i % 3);
            }
        }
    }
}

/* The largest sums there are. */
static void corrections_of_the_deepest_weights_are_exact(void **state)
{
    (void)state;
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            continue;
        }
        int8_t *w = guarded_place(&source_memory, UK_MAX_K_I8, 0);
        memset(w, -128, UK_MAX_K_I8);
        void *memory = guarded_place(&packed_memory, UK_PANEL * UK_MAX_K_I8 + 128, 0);
        uk_packed packed = uk_pack_i8(*uk, w, UK_MAX_K_I8, 1, 1, UK_MAX_K_I8, memory);
        assert_int_equal(packed.correction[0], 128 * 128 * UK_MAX_K_I8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_are_as_defined),
        cmocka_unit_test(corrections_of_the_deepest_weights_are_exact),
    };
    return cmocka_run_group_tests_name("kernels.pack_panels", tests, create_memory, destroy_memory);
}
