/* Roundings of rows and the Hadamard product of every row of the table, against results of the reference implementation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "dsv4/safetensors.h"
#include "kernels/kernels.h"
#include "require.h"

#define PRIMITIVES TEST_VECTORS "/../model/data/primitives.safetensors"

enum { MAX_VALUES = 2048 };

static dsv4_safetensors *file;

static int open_file(void **state)
{
    (void)state;
    dsv4_error err = {0};
    require_ok(dsv4_safetensors_open(PRIMITIVES, &file, &err), &err);
    return 0;
}

static int close_file(void **state)
{
    (void)state;
    dsv4_safetensors_close(file);
    return 0;
}

static const dsv4_tensor *named(const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(dsv4_safetensors_tensors(file), name);
    if (t == NULL || dsv4_tensor_count(t) < 1 || dsv4_tensor_count(t) > MAX_VALUES) {
        fail_msg("%s: no such tensor, or of a size that is not expected", name);
    }
    return t;
}

/* The values of a tensor; returns their number. */
static int64_t load(const char *name, float *x)
{
    const dsv4_tensor *t = named(name);
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        x[i] = (float)dsv4_tensor_get(t, i);
    }
    return dsv4_tensor_count(t);
}

static void expect(const char *name, int64_t i, float got, float want)
{
    if (!(got == want || (isnan(got) && isnan(want)))) {
        fail_msg("%s: element %lld is %a, expected %a", name, (long long)i, (double)got, (double)want);
    }
}

static void for_each_row(void (*check)(const uk_table *uk))
{
    for (const uk_table *const *row = uk_all(); *row; row++) {
        if (uk_is_supported(*row)) {
            check(*row);
        }
    }
}

typedef struct format {
    const char *in, *codes, *table, *amax, *exponent, *blocks_in, *blocks_out;
    float largest;
    int least_exponent; /* of the smallest number above zero */
} format;

static const format e4m3 = {"round_e4m3.in",
                            "round_e4m3.out_codes",
                            "e4m3.table",
                            "scale_e4m3.amax",
                            "scale_e4m3.exponent",
                            "act_quant.in",
                            "act_quant.out",
                            448.0f,
                            -9};
static const format e2m1 = {"round_e2m1.in",
                            "round_e2m1.out_codes",
                            "e2m1.table",
                            "scale_e2m1.amax",
                            "scale_e2m1.exponent",
                            "fp4_quant.in",
                            "fp4_quant.out",
                            6.0f,
                            -1};

static void round_row(const uk_table *uk, const format *f, int64_t n, const float *x, float *y)
{
    if (f == &e4m3) {
        uk->round_e4m3(n, UK_CHUNK, x, y);
    } else {
        uk->round_e2m1(n, x, y);
    }
}

/* A code of the format; that of E2M1 has its sign in bit 3, and the table has both. */
static float decode(const format *f, const float *table, int code)
{
    int n_sizes = f == &e4m3 ? 128 : 8;
    float size = table[code % n_sizes];
    return code >= n_sizes ? -fabsf(size) : size;
}

/* Beside the largest number of the format the scale is 1. */
static void check_codes_of(const uk_table *uk, const format *f)
{
    float x[MAX_VALUES], codes[MAX_VALUES], table[MAX_VALUES];
    int64_t n = load(f->in, x), n_checked = 0;
    assert_int_equal(load(f->codes, codes), n);
    load(f->table, table);
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(x[i]) <= f->largest) {
            float pair[2] = {f->largest, x[i]}, rounded[2];
            round_row(uk, f, 2, pair, rounded);
            expect(f->in, i, rounded[1], decode(f, table, (int)codes[i]));
            assert_true(signbit(rounded[1]) == signbit(x[i]));
            n_checked++;
        }
    }
    assert_true(n_checked > 100);
}

/* 1.25 halves of the least number become that number; with a scale half or twice as large something else comes out. */
static void check_scales_of(const uk_table *uk, const format *f)
{
    float amax[MAX_VALUES], exponents[MAX_VALUES];
    int64_t n = load(f->amax, amax);
    assert_int_equal(load(f->exponent, exponents), n);
    for (int64_t i = 0; i < n; i++) {
        int least = (int)exponents[i] + f->least_exponent;
        float pair[2] = {amax[i], ldexpf(1.25f, least - 1)}, rounded[2];
        round_row(uk, f, 2, pair, rounded);
        expect(f->amax, i, rounded[1], ldexpf(1.0f, least));
    }
}

static void check_blocks_of(const uk_table *uk, const format *f)
{
    float x[MAX_VALUES], want[MAX_VALUES], y[MAX_VALUES];
    int64_t n = load(f->blocks_in, x);
    assert_int_equal(load(f->blocks_out, want), n);
    round_row(uk, f, n, x, y);
    for (int64_t i = 0; i < n; i++) {
        expect(f->blocks_in, i, y[i], want[i]);
    }
}

static void check_formats(const uk_table *uk)
{
    const format *const formats[] = {&e4m3, &e2m1};
    for (int f = 0; f < 2; f++) {
        check_codes_of(uk, formats[f]);
        check_scales_of(uk, formats[f]);
        check_blocks_of(uk, formats[f]);
    }
}

static void roundings_are_those_of_the_reference(void **state)
{
    (void)state;
    for_each_row(check_formats);
}

static void check_keys(const uk_table *uk)
{
    enum { KEY = 128, ROUNDED = KEY - 64, BLOCK = 64 };
    float x[MAX_VALUES], want[MAX_VALUES];
    int64_t n = load("kv_round.in", x);
    assert_int_equal(load("kv_round.out", want), n);
    for (int64_t first = 0; first < n; first += KEY) {
        uk->round_e4m3(ROUNDED, BLOCK, x + first, x + first);
    }
    for (int64_t i = 0; i < n; i++) {
        expect("kv_round", i, x[i], want[i]);
    }
}

static void cached_keys_are_rounded_in_short_blocks(void **state)
{
    (void)state;
    for_each_row(check_keys);
}

static void check_hadamard(const uk_table *uk)
{
    enum { N = 128 };
    float x[MAX_VALUES], want[MAX_VALUES], rounded[MAX_VALUES];
    int64_t n = load("hadamard.in", x);
    assert_int_equal(load("hadamard.out", want), n);
    assert_int_equal(load("hadamard.fp4", rounded), n);
    for (int64_t first = 0; first < n; first += N) {
        uk->hadamard(N, x + first);
    }
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i] - want[i]) <= 4e-7f)) {
            fail_msg("hadamard: element %lld is %a, expected %a", (long long)i, (double)x[i], (double)want[i]);
        }
    }
    uk->round_e2m1(n, x, x);
    for (int64_t i = 0; i < n; i++) {
        expect("hadamard.fp4", i, x[i], rounded[i]);
    }
}

static void hadamard_product_is_that_of_the_reference(void **state)
{
    (void)state;
    for_each_row(check_hadamard);
}

/* Row i of the Sylvester matrix has the sign (-1)^(bits that i and j share) in column j. */
static void check_hadamard_columns(const uk_table *uk)
{
    for (int n = 1; n <= 256; n *= 2) {
        for (int j = 0; j<n; j += n> 8 ? 7 : 1) {
            float x[256] = {0.0f};
            x[j] = 1.0f;
            uk->hadamard(n, x);
            for (int i = 0; i < n; i++) {
                float size = (float)(1.0 / sqrt((double)n));
                expect("column of hadamard", i, x[i], __builtin_popcount((unsigned)(i & j)) % 2 ? -size : size);
            }
        }
    }
}

static void hadamard_matrix_is_that_of_sylvester(void **state)
{
    (void)state;
    for_each_row(check_hadamard_columns);
}

/* NaNs stay and leave the others alone; an infinity stays, the numbers beside it are too small for the largest scale. */
static void check_specials(const uk_table *uk)
{
    const float x[] = {NAN, 448.0f, -3.3f, INFINITY, 5.0f, -INFINITY, 0x1.8p127f, -0.0f};
    const float want_e4m3[] = {NAN, 448.0f, -3.25f, INFINITY, 0.0f, -INFINITY, 0x1.8p127f, 0.0f};
    float y[8];
    uk->round_e4m3(8, 3, x, y);
    for (int i = 0; i < 8; i++) {
        expect("e4m3 of specials", i, y[i], want_e4m3[i]);
    }
    uk->round_e4m3(2, 2, x + 5, y);
    expect("e4m3 beside an infinity", 1, y[1], 0x1.8p127f);
    const float six[] = {6.0f, NAN, -0.6f, 0x1p-140f}, huge[] = {-INFINITY, 1.0f};
    const float want_six[] = {6.0f, NAN, -0.5f, 0.0f}, want_huge[] = {-INFINITY, 0.0f};
    uk->round_e2m1(4, six, y);
    for (int i = 0; i < 4; i++) {
        expect("e2m1 of specials", i, y[i], want_six[i]);
    }
    uk->round_e2m1(2, huge, y);
    for (int i = 0; i < 2; i++) {
        expect("e2m1 of an infinity", i, y[i], want_huge[i]);
    }
}

static void specials_are_as_defined(void **state)
{
    (void)state;
    for_each_row(check_specials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roundings_are_those_of_the_reference),
        cmocka_unit_test(cached_keys_are_rounded_in_short_blocks),
        cmocka_unit_test(hadamard_product_is_that_of_the_reference),
        cmocka_unit_test(hadamard_matrix_is_that_of_sylvester),
        cmocka_unit_test(specials_are_as_defined),
    };
    return cmocka_run_group_tests_name("kernels.round", tests, open_file, close_file);
}
