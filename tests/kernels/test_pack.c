/* Packed weights element by element against the layout that kernels.h defines, from weights that end at a forbidden page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/guarded.h"
#include "kernels/pack.h"
#include "kernels/rows.h"
#include "kernels/values.h"

enum { CAPACITY = 256 * 1024 };

static const int64_t depths[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 70}, widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 100};
enum { N_DEPTHS = sizeof depths / sizeof *depths, N_WIDTHS = sizeof widths / sizeof *widths };

typedef struct layout {
    int64_t k, n, stride_k, stride_n;
} layout;

enum { N_ORDERS = 5 };

/* Row-major, row-major with padding, column-major, column-major with padding, and with both strides above 1. */
static layout layout_of(int64_t k, int64_t n, int order)
{
    const layout layouts[N_ORDERS] = {{k, n, n, 1}, {k, n, n + 3, 1}, {k, n, 1, k}, {k, n, 1, k + 5}, {k, n, 2 * n + 1, 2}};
    return layouts[order];
}

static int64_t element(const layout *l, int64_t k, int64_t n)
{
    return k * l->stride_k + n * l->stride_n;
}

static guarded source, packed_memory;

static int create_memory(void **state)
{
    (void)state;
    source = guarded_create(CAPACITY);
    packed_memory = guarded_create(CAPACITY);
    return 0;
}

static int destroy_memory(void **state)
{
    (void)state;
    guarded_destroy(&source);
    guarded_destroy(&packed_memory);
    return 0;
}

static void for_each_layout(void (*check)(const layout *l))
{
    for (int d = 0; d < N_DEPTHS; d++) {
        for (int w = 0; w < N_WIDTHS; w++) {
            for (int order = 0; order < N_ORDERS; order++) {
                layout l = layout_of(depths[d], widths[w], order);
                check(&l);
            }
        }
    }
}

static void expect_shape(const uk_packed *p, const layout *l, const void *memory)
{
    assert_int_equal(p->k, l->k);
    assert_int_equal(p->n, l->n);
    assert_int_equal(p->n_panels, (l->n + 31) / 32);
    assert_int_equal(p->panel_bytes % 64, 0);
    assert_ptr_equal(p->panels, memory);
}

static void check_bf16(const layout *l)
{
    uint64_t random = 1;
    size_t count = (size_t)element(l, l->k - 1, l->n - 1) + 1, bytes = uk_pack_bf16_bytes(l->k, l->n);
    uint16_t *w = guarded_place(&source, count * sizeof *w, 0);
    for (size_t i = 0; i < count; i++) {
        w[i] = draw_bf16(&random, ANY_BITS);
    }
    void *memory = guarded_place(&packed_memory, bytes, 0);
    uk_packed p = uk_pack_bf16(&uk_row_scalar, w, l->k, l->n, l->stride_k, l->stride_n, memory);
    expect_shape(&p, l, memory);
    assert_null(p.correction);
    for (int64_t column = 0; column < 32 * p.n_panels; column++) {
        for (int64_t k = 0; k < (l->k + 1) / 2 * 2; k++) {
            uint16_t want = column < l->n && k < l->k ? w[element(l, k, column)] : 0;
            assert_int_equal(uk_panel_bf16(&p, column / 32, k / 2 * 2)[column % 32 * 2 + k % 2], want);
        }
    }
    assert_true(guarded_is_intact(&packed_memory, memory, bytes));
}

static void check_f32(const layout *l)
{
    uint64_t random = 1;
    size_t count = (size_t)element(l, l->k - 1, l->n - 1) + 1, bytes = uk_pack_f32_bytes(l->k, l->n);
    float *w = guarded_place(&source, count * sizeof *w, 0);
    for (size_t i = 0; i < count; i++) {
        w[i] = draw_f32(&random, ANY_BITS);
    }
    void *memory = guarded_place(&packed_memory, bytes, 0);
    uk_packed p = uk_pack_f32(&uk_row_scalar, w, l->k, l->n, l->stride_k, l->stride_n, memory);
    expect_shape(&p, l, memory);
    assert_null(p.correction);
    for (int64_t column = 0; column < 32 * p.n_panels; column++) {
        for (int64_t k = 0; k < l->k; k++) {
            uint32_t want = column < l->n ? num_bits_from_f32(w[element(l, k, column)]) : 0;
            assert_int_equal(num_bits_from_f32(uk_panel_f32(&p, column / 32, k)[column % 32]), want);
        }
    }
    assert_true(guarded_is_intact(&packed_memory, memory, bytes));
}

static void check_i8(const layout *l)
{
    uint64_t random = 1;
    size_t count = (size_t)element(l, l->k - 1, l->n - 1) + 1, bytes = uk_pack_i8_bytes(l->k, l->n);
    int8_t *w = guarded_place(&source, count, 0);
    for (size_t i = 0; i < count; i++) {
        w[i] = draw_i8(&random);
    }
    void *memory = guarded_place(&packed_memory, bytes, 0);
    uk_packed p = uk_pack_i8(&uk_row_scalar, w, l->k, l->n, l->stride_k, l->stride_n, memory);
    expect_shape(&p, l, memory);
    for (int64_t column = 0; column < 32 * p.n_panels; column++) {
        int32_t correction = 0;
        for (int64_t k = 0; k < (l->k + 3) / 4 * 4; k++) {
            int8_t want = column < l->n && k < l->k ? w[element(l, k, column)] : 0;
            assert_int_equal(uk_panel_i8(&p, column / 32, k / 4 * 4)[column % 32 * 4 + k % 4], want);
            correction -= 128 * want;
        }
        assert_int_equal(p.correction[column], correction);
    }
    assert_true(guarded_is_intact(&packed_memory, memory, bytes));
}

static void bf16_layout_is_as_defined(void **state)
{
    (void)state;
    for_each_layout(check_bf16);
}

static void f32_layout_is_as_defined(void **state)
{
    (void)state;
    for_each_layout(check_f32);
}

static void i8_layout_and_correction_are_as_defined(void **state)
{
    (void)state;
    for_each_layout(check_i8);
}

/* Whatever a row keeps of activations, with packed weights and their correction it gives the product of the signed values. */
static void i8_products_are_those_of_the_signed_values(void **state)
{
    (void)state;
    enum { K = 37, N = 40, K_PADDED = 40 };
    uint64_t random = 2;
    int8_t x[K], w[K * N];
    char acts[2 * K_PADDED + 8];
    const uk_table *kernels;
    assert_int_equal(uk_find(NULL, &kernels, NULL), DSV4_OK);
    for (int k = 0; k < K; k++) {
        x[k] = draw_i8(&random);
    }
    for (int i = 0; i < K * N; i++) {
        w[i] = draw_i8(&random);
    }
    void *memory = guarded_place(&packed_memory, uk_pack_i8_bytes(K, N), 0);
    uk_packed p = uk_pack_i8(kernels, w, K, N, N, 1, memory);
    int64_t acts_bytes = uk_acts_bytes_i8(kernels, 1, K);
    assert_int_equal(acts_bytes, K_PADDED * kernels->act_bytes_i8 + kernels->act_lead_i8);
    kernels->tile_i8(1, 1, K, x, K, acts);
    for (int64_t panel = 0; panel < p.n_panels; panel++) {
        int32_t y[UK_PANEL];
        kernels->gemm_i8((uk_acts){acts, 1, 1, acts_bytes}, K_PADDED / 4, uk_panel_i8(&p, panel, 0),
                         p.correction + panel * UK_PANEL, y, UK_PANEL);
        for (int64_t n = panel * UK_PANEL; n < N && n < (panel + 1) * UK_PANEL; n++) {
            int64_t exact = 0;
            for (int k = 0; k < K; k++) {
                exact += (int64_t)x[k] * w[k * N + n];
            }
            assert_int_equal(y[n % UK_PANEL], exact);
        }
    }
}

static void sizes_that_cannot_be_packed_take_no_bytes(void **state)
{
    (void)state;
    assert_int_equal(uk_pack_bf16_bytes(3, 33), 2 * 4 * 64);
    assert_int_equal(uk_pack_f32_bytes(3, 33), 2 * 3 * 128);
    assert_int_equal(uk_pack_i8_bytes(5, 33), 2 * 8 * 32 + 64 * 4);
    assert_int_equal(uk_pack_i8_bytes(UK_MAX_K_I8, 1), 65536 * 32 + 128);
    assert_int_equal(uk_pack_i8_bytes(UK_MAX_K_I8 + 1, 1), 0);
    const int64_t bad[] = {0, -1, INT64_MIN};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(uk_pack_bf16_bytes(bad[i], 1), 0);
        assert_int_equal(uk_pack_bf16_bytes(1, bad[i]), 0);
        assert_int_equal(uk_pack_f32_bytes(bad[i], 1), 0);
        assert_int_equal(uk_pack_f32_bytes(1, bad[i]), 0);
        assert_int_equal(uk_pack_i8_bytes(bad[i], 1), 0);
        assert_int_equal(uk_pack_i8_bytes(1, bad[i]), 0);
    }
    assert_int_equal(uk_pack_bf16_bytes(INT64_MAX, 1), 0);
    assert_int_equal(uk_pack_bf16_bytes((int64_t)1 << 40, (int64_t)1 << 40), 0);
    assert_int_equal(uk_pack_f32_bytes(INT64_MAX, 1), 0);
    assert_int_equal(uk_pack_f32_bytes((int64_t)1 << 40, (int64_t)1 << 40), 0);
    assert_int_equal(uk_pack_i8_bytes(UK_MAX_K_I8, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_layout_is_as_defined),
        cmocka_unit_test(f32_layout_is_as_defined),
        cmocka_unit_test(i8_layout_and_correction_are_as_defined),
        cmocka_unit_test(i8_products_are_those_of_the_signed_values),
        cmocka_unit_test(sizes_that_cannot_be_packed_take_no_bytes),
    };
    return cmocka_run_group_tests_name("kernels.pack", tests, create_memory, destroy_memory);
}
