/* Number formats against tables of their values, built here from each format's definition, and a search for the nearest one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/numbers.h"
#include "base/rng.h"

/* One half of a format: the values of codes 0 .. n_finite - 1 ascending, and the value that would follow, from which nearest values
 * overflow to overflow_code. */
typedef struct format {
    const char *name;
    int bias, n_mantissa_bits;
    unsigned n_finite, overflow_code, sign_bit;
    bool ties_away;
} format;

static const format bf16 = {"bf16", 127, 7, 0x7f80, 0x7f80, 0x8000, false};
static const format bf16_away = {"bf16 ties away", 127, 7, 0x7f80, 0x7f80, 0x8000, true};
static const format fp16 = {"fp16", 15, 10, 0x7c00, 0x7c00, 0x8000, false};
static const format e4m3 = {"e4m3", 7, 3, 0x7f, 0x7e, 0x80, false};
static const format e2m1 = {"e2m1", 1, 1, 8, 7, 8, false};

static double value_of(const format *f, unsigned code)
{
    int n = f->n_mantissa_bits, exponent = (int)(code >> n);
    double fraction = ldexp((double)(code & ((1u << n) - 1)), -n);
    return exponent ? ldexp(1 + fraction, exponent - f->bias) : ldexp(fraction, 1 - f->bias);
}

static double *table_of(const format *f)
{
    double *table = malloc((f->n_finite + 1) * sizeof *table);
    assert_non_null(table);
    for (unsigned code = 0; code <= f->n_finite; code++) {
        table[code] = value_of(f, code);
    }
    return table;
}

/* Code of the table's value nearest to x, which is no NaN. The midpoint of two neighbours is exact in double. */
static unsigned nearest_code(const format *f, const double *table, double x)
{
    unsigned sign = signbit(x) ? f->sign_bit : 0;
    double magnitude = fabs(x);
    if (magnitude >= table[f->n_finite]) {
        return sign | f->overflow_code;
    }
    unsigned lo = 0, hi = f->n_finite; /* table[lo] <= magnitude < table[hi] */
    while (hi - lo > 1) {
        unsigned middle = (lo + hi) / 2;
        if (table[middle] <= magnitude) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    double midpoint = (table[lo] + table[hi]) / 2;
    bool up = magnitude > midpoint || (magnitude == midpoint && (f->ties_away || lo % 2 == 1));
    unsigned code = up ? hi : lo;
    return sign | (code == f->n_finite ? f->overflow_code : code);
}

typedef unsigned encode_function(float value);

static unsigned encode_bf16(float value)
{
    return num_bf16_from_f32(value);
}
static unsigned encode_bf16_away(float value)
{
    return num_bf16_from_f32_ties_away(value);
}
static unsigned encode_bf16_via_f64(float value)
{
    return num_bf16_from_f64((double)value);
}
static unsigned encode_fp16(float value)
{
    return num_fp16_from_f32(value);
}
static unsigned encode_e4m3(float value)
{
    return num_e4m3_from_f32(value);
}
static unsigned encode_e2m1(float value)
{
    return num_e2m1_from_f32(value);
}

static void check_encode(const format *f, const double *table, encode_function *encode, float value)
{
    unsigned got = encode(value), expected = nearest_code(f, table, (double)value);
    if (got != expected) {
        fail_msg("%s: %a encodes to 0x%x, expected 0x%x", f->name, (double)value, got, expected);
    }
}

static void check_encode_around(const format *f, const double *table, encode_function *encode, float value)
{
    const float near[3] = {value, nextafterf(value, 0), nextafterf(value, INFINITY)};
    for (int i = 0; i < 3; i++) {
        check_encode(f, table, encode, near[i]);
        check_encode(f, table, encode, -near[i]);
    }
}

/* Values, midpoints (the last one is the overflow edge) and FP32's own edges, each +- 1 ulp. */
static void check_edges(const format *f, encode_function *encode)
{
    static const uint32_t fp32_edges[] = {0x00000000, 0x00000001, 0x007fffff, 0x00800000, 0x3f800000, 0x7f7fffff, 0x7f800000};
    double *table = table_of(f);
    for (unsigned code = 0; code < f->n_finite; code++) {
        check_encode_around(f, table, encode, (float)table[code]);
        check_encode_around(f, table, encode, (float)((table[code] + table[code + 1]) / 2));
    }
    for (size_t i = 0; i < sizeof fp32_edges / sizeof *fp32_edges; i++) {
        check_encode_around(f, table, encode, num_f32_from_bits(fp32_edges[i]));
    }
    free(table);
}

static void check_random(const format *f, encode_function *encode, uint64_t n)
{
    double *table = table_of(f);
    const rng r = {1, rng_stream(f->name)};
    for (uint64_t i = 0; i < n; i++) {
        float value = num_f32_from_bits((uint32_t)rng_u64(&r, i));
        if (!isnan(value)) {
            check_encode(f, table, encode, value);
        }
    }
    free(table);
}

static void test_edges(void **state)
{
    (void)state;
    check_edges(&bf16, encode_bf16);
    check_edges(&bf16, encode_bf16_via_f64);
    check_edges(&bf16_away, encode_bf16_away);
    check_edges(&fp16, encode_fp16);
    check_edges(&e4m3, encode_e4m3);
    check_edges(&e2m1, encode_e2m1);
}

static void test_random(void **state)
{
    (void)state;
    check_random(&bf16, encode_bf16, 3000000);
    check_random(&bf16_away, encode_bf16_away, 2000000);
    check_random(&fp16, encode_fp16, 1000000);
    check_random(&e4m3, encode_e4m3, 500000);
    check_random(&e2m1, encode_e2m1, 500000);
}

static void check_f64(const double *table, double value)
{
    unsigned got = num_bf16_from_f64(value), expected = nearest_code(&bf16, table, value);
    if (got != expected) {
        fail_msg("bf16: double %a encodes to 0x%x, expected 0x%x", value, got, expected);
    }
}

/* One double ulp beside a midpoint is where rounding by way of FP32 goes wrong. */
static void test_f64_midpoints(void **state)
{
    (void)state;
    double *table = table_of(&bf16);
    for (unsigned code = 0; code < bf16.n_finite; code++) {
        double midpoint = (table[code] + table[code + 1]) / 2;
        const double near[] = {midpoint, nextafter(midpoint, 0), nextafter(midpoint, INFINITY), midpoint * (1 - 0x1p-30),
                               midpoint * (1 + 0x1p-30)};
        for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
            check_f64(table, near[i]);
            check_f64(table, -near[i]);
        }
    }
    free(table);
}

static void test_f64_range(void **state)
{
    (void)state;
    static const double edges[] = {0.0, -0.0, 0x1p-1074, 0x1p-1022, 1e-60, -1e-60, 0x1.fffffffffffffp-135, 1e38, 1e300, INFINITY};
    double *table = table_of(&bf16);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        check_f64(table, edges[i]);
        check_f64(table, -edges[i]);
    }
    const rng fraction = {2, rng_stream("fraction")}, exponent = {2, rng_stream("exponent")};
    for (uint64_t i = 0; i < 500000; i++) {
        check_f64(table, ldexp(rng_uniform(&fraction, i, -1, 1), (int)rng_below(&exponent, i, 280) - 145));
    }
    free(table);
}

/* Decoding gives the value of the definition, and encoding that gives the code back. */
static void check_pattern(const format *f, unsigned bits, float decoded, encode_function *encode)
{
    unsigned code = bits & (f->sign_bit - 1);
    double expected = (bits & f->sign_bit) ? -value_of(f, code) : value_of(f, code);
    if ((double)decoded != expected || !signbit(decoded) != !signbit(expected)) {
        fail_msg("%s: 0x%x decodes to %a, expected %a", f->name, bits, (double)decoded, expected);
    }
    if (encode(decoded) != bits) {
        fail_msg("%s: 0x%x decodes to %a, which encodes to 0x%x", f->name, bits, (double)decoded, encode(decoded));
    }
}

static void check_infinity(const format *f, unsigned bits, float decoded, encode_function *encode)
{
    assert_true(isinf(decoded));
    assert_int_equal(signbit(decoded) != 0, (bits & f->sign_bit) != 0);
    assert_int_equal(encode(decoded), bits);
}

static void test_patterns_16_bits(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 0xffff; bits++) {
        float b = num_f32_from_bf16((uint16_t)bits), h = num_f32_from_fp16((uint16_t)bits);
        unsigned magnitude = bits & 0x7fff;
        if (magnitude > 0x7f80) {
            assert_true(isnan(b));
            assert_true(isnan(num_f32_from_bf16(num_bf16_from_f32(b))));
        } else if (magnitude == 0x7f80) {
            check_infinity(&bf16, bits, b, encode_bf16);
        } else {
            check_pattern(&bf16, bits, b, encode_bf16);
            check_pattern(&bf16_away, bits, b, encode_bf16_away);
        }
        if (magnitude > 0x7c00) {
            assert_true(isnan(h));
            assert_true(isnan(num_f32_from_fp16(num_fp16_from_f32(h))));
        } else if (magnitude == 0x7c00) {
            check_infinity(&fp16, bits, h, encode_fp16);
        } else {
            check_pattern(&fp16, bits, h, encode_fp16);
        }
    }
}

static void test_patterns_8_bits(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 0xff; bits++) {
        float value = num_f32_from_e4m3((uint8_t)bits), scale = num_f32_from_e8m0((uint8_t)bits);
        if ((bits & 0x7f) == 0x7f) {
            assert_true(isnan(value));
        } else {
            check_pattern(&e4m3, bits, value, encode_e4m3);
        }
        if (bits == 0xff) {
            assert_true(isnan(scale));
        } else {
            assert_true((double)scale == ldexp(1, (int)bits - 127));
            assert_int_equal(num_e8m0_ceil_from_f32(scale), bits);
        }
        check_pattern(&e2m1, bits & 15, num_f32_from_e2m1((uint8_t)bits), encode_e2m1);
    }
}

static void test_known_values(void **state)
{
    (void)state;
    static const float fp4[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    for (unsigned i = 0; i < 16; i++) {
        assert_true(num_f32_from_e2m1((uint8_t)i) == fp4[i]);
    }
    assert_true(num_f32_from_e4m3(0x7e) == 448.f);
    assert_true(num_f32_from_e4m3(0x01) == 0x1p-9f);
    assert_true(num_f32_from_fp16(0x7bff) == 65504.f);
    assert_true(num_f32_from_fp16(0x0001) == 0x1p-24f);
    assert_true(num_f32_from_bf16(0x3f80) == 1.f);
    assert_int_equal(num_fp16_from_f32(65520.f), 0x7c00);
    assert_int_equal(num_bf16_from_f32(0x1.01p0f), 0x3f80);
    assert_int_equal(num_bf16_from_f32_ties_away(0x1.01p0f), 0x3f81);
    assert_int_equal(num_e4m3_from_f32(-INFINITY), 0xfe);
    assert_int_equal(num_e2m1_from_f32(INFINITY), 7);
}

static void test_nan(void **state)
{
    (void)state;
    static const uint32_t patterns[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7f80ffff};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        float nan = num_f32_from_bits(patterns[i]);
        assert_true(isnan(num_f32_from_bf16(num_bf16_from_f32(nan))));
        assert_true(isnan(num_f32_from_bf16(num_bf16_from_f32_ties_away(nan))));
        assert_true(isnan(num_f32_from_bf16(num_bf16_from_f64((double)nan))));
        assert_true(isnan(num_f32_from_fp16(num_fp16_from_f32(nan))));
        assert_true(isnan(num_f32_from_e4m3(num_e4m3_from_f32(nan))));
        assert_int_equal(num_e2m1_from_f32(nan), 0);
        assert_int_equal(num_e8m0_ceil_from_f32(nan), 0xff);
    }
}

static void check_e8m0_ceil(float value)
{
    int exponent = -127;
    while (exponent < 127 && ldexp(1, exponent) < (double)value) {
        exponent++;
    }
    if (num_e8m0_ceil_from_f32(value) != exponent + 127) {
        fail_msg("e8m0: %a encodes to %d, expected %d", (double)value, num_e8m0_ceil_from_f32(value), exponent + 127);
    }
}

static void test_e8m0_ceil(void **state)
{
    (void)state;
    for (int exponent = -149; exponent <= 127; exponent++) {
        float power = (float)ldexp(1, exponent);
        check_e8m0_ceil(power);
        check_e8m0_ceil(nextafterf(power, 0));
        check_e8m0_ceil(nextafterf(power, INFINITY));
        check_e8m0_ceil(-power);
    }
    check_e8m0_ceil(0);
    check_e8m0_ceil(num_f32_from_bits(0x7f7fffff));
    check_e8m0_ceil(INFINITY);
    const rng r = {3, rng_stream("e8m0")};
    for (uint64_t i = 0; i < 100000; i++) {
        float value = num_f32_from_bits((uint32_t)rng_below(&r, i, 0x7f800000));
        check_e8m0_ceil(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_f64_midpoints),
        cmocka_unit_test(test_f64_range),
        cmocka_unit_test(test_patterns_16_bits),
        cmocka_unit_test(test_patterns_8_bits),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_e8m0_ceil),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
