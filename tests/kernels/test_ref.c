/* The scalar row against the contract of kernels.h, evaluated in double or INT64, and against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "kernels/scalar_row.h"

enum { N = 777 };

/* Squares 2^24, 1 in lane 0 and 1, 1 in lane 1: the first 1 is lost, the others meet first. A running sum would lose all. */
static void sum_squares_sums_by_lane(void **state)
{
    (void)state;
    float x[18] = {[0] = 4096.0f, [1] = 1.0f, [16] = 1.0f, [17] = 1.0f};
    expect_f32(ref->sum_squares(18, x), 0x1p24f + 2.0f);
}

/* Squares 2^24 in lane 0, 1 in lanes 8 and 4, where the halves meet: (2^24 + 1) + (1 + 0), each 1 alone against a tie, is 2^24;
 * 1 in lanes 4 and 12 meet first and survive. */
static void sum_squares_halves_the_lanes(void **state)
{
    (void)state;
    float lost[16] = {[0] = 4096.0f, [4] = 1.0f, [8] = 1.0f}, kept[16] = {[0] = 4096.0f, [4] = 1.0f, [12] = 1.0f};
    expect_f32(ref->sum_squares(16, lost), 0x1p24f);
    expect_f32(ref->sum_squares(16, kept), 0x1p24f + 2.0f);
}

static void sum_squares_is_close_to_the_exact_sum(void **state)
{
    (void)state;
    uint64_t random = 4;
    float x[N];
    fill_f32(x, N, ORDINARY, &random);
    double exact = 0.0;
    for (int i = 0; i < N; i++) {
        exact += (double)x[i] * (double)x[i];
    }
    assert_true(fabs((double)ref->sum_squares(N, x) - exact) <= (N / 16 + 6) * 0x1p-24 * exact);
    expect_f32(ref->sum_squares(0, x), 0.0f);
}

static void amax_is_the_largest_magnitude(void **state)
{
    (void)state;
    const float x[] = {-0.0f, 1.0f, -7.5f, NAN, 3.0f};
    expect_f32(ref->amax(5, x), 7.5f);
    expect_f32(ref->amax(1, x), 0.0f);
    expect_f32(ref->amax(0, x), 0.0f);
    const float only_nan[] = {NAN, NAN};
    expect_f32(ref->amax(2, only_nan), 0.0f);
}

static void scaling_rounds_each_product(void **state)
{
    (void)state;
    for (int f = 0; f < ANY_BITS; f++) {
        uint64_t random = 5;
        float x[N], y[N], z[N], max = 0.0f;
        uint16_t gamma[N];
        fill_f32(x, N, (flavour)f, &random);
        for (int i = 0; i < N; i++) {
            gamma[i] = draw_bf16(&random, ORDINARY);
        }
        ref->scale(N, x, 0.3f, y);
        float returned = ref->scale_gamma(N, x, 0.3f, gamma, z);
        for (int i = 0; i < N; i++) {
            float want = product(product(x[i], 0.3f), num_f32_from_bf16(gamma[i]));
            expect_f32(y[i], product(x[i], 0.3f));
            expect_f32(z[i], want);
            max = fabsf(want) > max ? fabsf(want) : max;
        }
        expect_f32(returned, max);
    }
}

static void add_rounds_once(void **state)
{
    (void)state;
    uint64_t random = 6;
    float x[N], y[N], before[N];
    fill_f32(x, N, EXTREME, &random);
    fill_f32(before, N, EXTREME, &random);
    memcpy(y, before, sizeof y);
    ref->add(N, x, y);
    for (int i = 0; i < N; i++) {
        expect_f32(y[i], sum(before[i], x[i]));
    }
}

static void sum_parts_adds_in_double_and_rounds_once(void **state)
{
    (void)state;
    enum { STRIDE = 3 };
    const float x[4 * STRIDE] = {0x1p24f, 0x1p24f, -0.0f, 1.0f, 1.0f, -0.0f, 1.0f, 1.0f, -0.0f, -0x1p24f, 0.0f, -0.0f};
    float y[STRIDE];
    ref->sum_parts(STRIDE, 4, x, STRIDE, y);
    expect_f32(y[0], 2.0f);
    expect_f32(y[1], 0x1p24f + 2.0f);
    expect_f32(y[2], 0.0f);
    ref->sum_parts(1, 2, x, STRIDE, y);
    expect_f32(y[0], 0x1p24f); /* a tie, to even */
    ref->sum_parts(2, 2, (const float[]){0x1p-149f, -0x1p-149f, 0x1p-149f, 0x1p-149f}, 2, y);
    expect_f32(y[0], 0x1p-148f);
    expect_f32(y[1], 0.0f);
}

static void sum_parts_takes_any_values(void **state)
{
    (void)state;
    enum { PARTS = 7 };
    for (int f = 0; f < N_FLAVOURS; f++) {
        uint64_t random = 14;
        static float x[PARTS * N];
        float y[N];
        fill_f32(x, PARTS * N, (flavour)f, &random);
        ref->sum_parts(N, PARTS, x, N, y);
        for (int i = 0; i < N; i++) {
            double total = 0.0;
            for (int p = 0; p < PARTS; p++) {
                total += (double)x[p * N + i];
            }
            expect_f32(y[i], (float)total);
        }
    }
}

static void updates_round_each_product_and_the_sum(void **state)
{
    (void)state;
    for (int f = 0; f < ANY_BITS; f++) {
        uint64_t random = 9;
        float x[N], before[N], scaled[N], columns[N];
        fill_f32(x, N, (flavour)f, &random);
        fill_f32(before, N, (flavour)f, &random);
        memcpy(scaled, before, sizeof scaled);
        ref->add_scaled(N, 0.3f, x, scaled);
        ref->scale_cols(N, x, before, columns);
        for (int i = 0; i < N; i++) {
            expect_f32(scaled[i], sum(before[i], product(0.3f, x[i])));
            expect_f32(columns[i], product(x[i], before[i]));
        }
    }
}

static void rows_have_factors_and_divisors_of_their_own(void **state)
{
    enum { ROWS = 3, VALUES = ROWS * UK_PANEL };
    (void)state;
    for (int f = 0; f < ANY_BITS; f++) {
        uint64_t random = 12;
        float x[VALUES], before[VALUES], a[ROWS], b[ROWS], blended[VALUES], divided[VALUES];
        fill_f32(x, VALUES, (flavour)f, &random);
        fill_f32(before, VALUES, (flavour)f, &random);
        fill_f32(a, ROWS, (flavour)f, &random);
        fill_f32(b, ROWS, (flavour)f, &random);
        memcpy(blended, before, sizeof blended);
        ref->blend(ROWS, a, b, x, blended);
        ref->divide(ROWS, a, before, divided, UK_PANEL);
        for (int i = 0; i < VALUES; i++) {
            int r = i / UK_PANEL;
            expect_f32(blended[i], sum(product(a[r], before[i]), product(b[r], x[i])));
            expect_f32(divided[i], (float)((double)before[i] / (double)a[r]));
        }
    }
}

static void add_dequant_rounds_conversion_product_and_sum(void **state)
{
    (void)state;
    uint64_t random = 10;
    int32_t acc[N] = {INT32_MIN, (1 << 24) + 1, 0};
    float y[N], before[N];
    for (int i = 3; i < N; i++) {
        acc[i] = (int32_t)(uint32_t)draw_u64(&random) >> (i % 16);
    }
    fill_f32(before, N, ORDINARY, &random);
    memcpy(y, before, sizeof y);
    ref->add_dequant(N, acc, 1.1e-6f, y);
    for (int i = 0; i < N; i++) {
        expect_f32(y[i], sum(before[i], product((float)(double)acc[i], 1.1e-6f)));
    }
}

static void quantize_rounds_ties_to_even_and_saturates(void **state)
{
    (void)state;
    const float x[] = {0.5f,    1.5f,    -0.5f, -1.5f,  2.5f, 126.5f,   127.49f,    127.5f,  300.0f,
                       -128.5f, -129.0f, 1e9f,  -1e30f, NAN,  INFINITY, -0x1.8p30f, 0x1p31f, -0.0f};
    const int want[] = {0, 2, 0, -2, 2, 126, 127, 127, 127, -128, -128, 127, -128, -128, -128, -128, -128, 0};
    enum { COUNT = sizeof x / sizeof *x };
    int8_t q[COUNT];
    ref->quantize_i8(COUNT, x, 1.0f, q);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(q[i], want[i]);
    }
    ref->quantize_i8(2, (const float[]){0.1f, -3.0f}, 42.0f, q);
    assert_int_equal(q[0], 4);
    assert_int_equal(q[1], -126);
}

static void dequant_rounds_conversion_and_products(void **state)
{
    (void)state;
    uint64_t random = 7;
    int32_t acc[N];
    float col_scale[N], y[N];
    for (int i = 0; i < N; i++) {
        acc[i] = (int32_t)(uint32_t)draw_u64(&random) >> (i % 16);
    }
    acc[0] = INT32_MIN;
    acc[1] = (1 << 24) + 1;
    fill_f32(col_scale, N, ORDINARY, &random);
    ref->dequant_i32(N, acc, 1.1e-3f, col_scale, y);
    for (int i = 0; i < N; i++) {
        expect_f32(y[i], product(product((float)(double)acc[i], 1.1e-3f), col_scale[i]));
    }
}

/* Every BF16 value and, between neighbours, the quarter points and the tie. */
static void bf16_conversions_are_nearest_even(void **state)
{
    (void)state;
    for (uint32_t upper = 0; upper < 0x10000; upper++) {
        uint16_t bits = (uint16_t)upper, cut[4];
        float wide;
        ref->widen_bf16(1, &bits, &wide);
        assert_int_equal(num_bits_from_f32(wide), upper << 16);
        if (isnan(wide) || isinf(wide)) {
            continue;
        }
        float between[4];
        for (uint32_t q = 0; q < 4; q++) {
            between[q] = num_f32_from_bits(upper << 16 | q << 14);
        }
        ref->narrow_bf16(4, between, cut);
        assert_int_equal(cut[0], upper);
        assert_int_equal(cut[1], upper);
        assert_int_equal(cut[2], upper + (upper & 1));
        assert_int_equal(cut[3], upper + 1);
    }
}

static void q8_bf16_scales_by_the_largest(void **state)
{
    (void)state;
    const uint16_t x[5] = {0x3f80, 0xc000, 0x3f00, 0x0000, 0x7fc0}; /* 1, -2, 0.5, 0, NaN */
    const uint16_t tiny[1] = {0x3600};                              /* 2^-19, below 1e-4 */
    int8_t q[5];
    assert_true(ref->q8_bf16(5, x, q) == 1.0f / 2.0f * 127.0f);
    assert_int_equal(q[0], 64); /* 63.5, to even */
    assert_int_equal(q[1], -127);
    assert_int_equal(q[2], 32); /* 31.75 */
    assert_int_equal(q[3], 0);
    assert_int_equal(q[4], -128);
    assert_true(ref->q8_bf16(1, tiny, q) == 1.0f / 1e-4f * 127.0f);
    assert_int_equal(q[0], 2); /* 2.42 */
    assert_true(ref->q8_bf16(0, x, q) == 1.0f / 1e-4f * 127.0f);
}

static void weigh_rows_rounds_each_product_and_sum(void **state)
{
    (void)state;
    const uint16_t one[1] = {0x3f80}, third[1] = {0x3eab}, big[1] = {0x4b80}; /* 1, 0.333984375, 2^24 */
    const uint16_t *rows[3] = {big, one, one}, *single[1] = {third};
    const float factors[3] = {1.0f, 1.0f, 1.0f}, cancelling[3] = {1.0f, 1.0f, -0x1p24f}, minus_three = -3.0f;
    uint16_t y = 0;
    ref->weigh_rows(1, 1, single, &minus_three, &y);
    assert_int_equal(y, num_bf16_from_f32(-3.0f * 0.333984375f));
    ref->weigh_rows(1, 3, rows, factors, &y);
    assert_int_equal(y, num_bf16_from_f32(0x1p24f)); /* 2^24 + 1 rounds to 2^24, twice */
    ref->weigh_rows(1, 3, rows, cancelling, &y);
    assert_int_equal(y, 0); /* the 1 is lost in the first sum */
}

static void narrow_bf16_keeps_infinities_and_nans(void **state)
{
    (void)state;
    const float x[] = {
        INFINITY, -INFINITY, num_f32_from_bits(0x7f800001), num_f32_from_bits(0xffffffff), num_f32_from_bits(0x7fa10000), FLT_MAX};
    const uint16_t want[] = {0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7fe1, 0x7f80};
    uint16_t y[6];
    ref->narrow_bf16(6, x, y);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(y[i], want[i]);
    }
}

static void rotate_turns_pairs(void **state)
{
    (void)state;
    uint64_t random = 8;
    float c[N], s[N], x[2 * N], before[2 * N];
    fill_f32(c, N, ORDINARY, &random);
    fill_f32(s, N, ORDINARY, &random);
    fill_f32(before, 2 * N, ORDINARY, &random);
    memcpy(x, before, sizeof x);
    ref->rotate(N, c, s, x);
    for (int j = 0; j < N; j++) {
        float even = before[2 * j], odd = before[2 * j + 1];
        expect_f32(x[2 * j], sum(product(even, c[j]), -product(odd, s[j])));
        expect_f32(x[2 * j + 1], sum(product(even, s[j]), product(odd, c[j])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_squares_sums_by_lane),
        cmocka_unit_test(sum_squares_halves_the_lanes),
        cmocka_unit_test(sum_squares_is_close_to_the_exact_sum),
        cmocka_unit_test(amax_is_the_largest_magnitude),
        cmocka_unit_test(scaling_rounds_each_product),
        cmocka_unit_test(add_rounds_once),
        cmocka_unit_test(sum_parts_adds_in_double_and_rounds_once),
        cmocka_unit_test(sum_parts_takes_any_values),
        cmocka_unit_test(updates_round_each_product_and_the_sum),
        cmocka_unit_test(rows_have_factors_and_divisors_of_their_own),
        cmocka_unit_test(add_dequant_rounds_conversion_product_and_sum),
        cmocka_unit_test(quantize_rounds_ties_to_even_and_saturates),
        cmocka_unit_test(dequant_rounds_conversion_and_products),
        cmocka_unit_test(bf16_conversions_are_nearest_even),
        cmocka_unit_test(q8_bf16_scales_by_the_largest),
        cmocka_unit_test(weigh_rows_rounds_each_product_and_sum),
        cmocka_unit_test(narrow_bf16_keeps_infinities_and_nans),
        cmocka_unit_test(rotate_turns_pairs),
    };
    return cmocka_run_group_tests_name("kernels.ref", tests, find_scalar, NULL);
}
