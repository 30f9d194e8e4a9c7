/* Fixture tensors: their distributions, their determinism, and the rules of quantised weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tensor/fixture.h"

static void fill(const char *name, fix_rule rule, uint64_t seed, dsv4_tensor *t, dsv4_tensor *scale)
{
    dsv4_error err = {0};
    if (fix_fill(name, &rule, seed, t, scale, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

typedef struct moments {
    double mean, sd, lo, hi;
    double below_one_sd; /* share of values within one sd of the mean */
} moments;

static moments moments_of(const dsv4_tensor *t)
{
    const int64_t n = dsv4_tensor_count(t);
    moments m = {.lo = INFINITY, .hi = -INFINITY};
    for (int64_t i = 0; i < n; i++) {
        const double x = dsv4_tensor_get(t, i);
        m.mean += x / (double)n;
        m.lo = fmin(m.lo, x);
        m.hi = fmax(m.hi, x);
    }
    for (int64_t i = 0; i < n; i++) {
        m.sd += pow(dsv4_tensor_get(t, i) - m.mean, 2) / (double)n;
    }
    m.sd = sqrt(m.sd);
    for (int64_t i = 0; i < n; i++) {
        m.below_one_sd += (fabs(dsv4_tensor_get(t, i) - m.mean) < m.sd) / (double)n;
    }
    return m;
}

static void expect_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance)) {
        fail_msg("%g, expected %g within %g", value, expected, tolerance);
    }
}

enum { N = 100000 };
static const double five_sigma = 5 * 0.0031622776601683795; /* of a mean of N values of deviation 1 */

static void uniform_fills_its_interval(void **state)
{
    (void)state;
    static float values[N];
    dsv4_tensor t = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){N / 10, 10}, values);
    fill("x", (fix_rule){FIX_UNIFORM, -1, 3, NULL}, 1, &t, NULL);
    const moments m = moments_of(&t);
    expect_near(m.mean, 1, five_sigma * 1.1547);
    expect_near(m.sd, 4 / sqrt(12), 0.01);
    expect_near(m.below_one_sd, 1 / sqrt(3), 0.01); /* flat, not a bell */
    assert_true(m.lo >= -1 && m.lo < -0.999);
    assert_true(m.hi <= 3 && m.hi > 2.999);
}

static void normal_has_its_moments(void **state)
{
    (void)state;
    static uint16_t values[N];
    dsv4_tensor t = dsv4_tensor_make(DSV4_BF16, 1, (const int64_t[]){N}, values);
    fill("x", (fix_rule){FIX_NORMAL, -0.5, 2, NULL}, 1, &t, NULL);
    const moments m = moments_of(&t);
    expect_near(m.mean, -0.5, 2 * five_sigma);
    expect_near(m.sd, 2, 0.03);
    expect_near(m.below_one_sd, 0.6827, 0.01);
    assert_true(m.hi > 6 && m.hi < 12 && m.lo < -7 && m.lo > -13);
}

static void integers_are_rounded_draws(void **state)
{
    (void)state;
    static int32_t values[N];
    dsv4_tensor t = dsv4_tensor_make(DSV4_I32, 1, (const int64_t[]){N}, values);
    fill("x", (fix_rule){FIX_UNIFORM, -0.5, 3.5, NULL}, 1, &t, NULL);
    int64_t counts[4] = {0};
    for (int64_t i = 0; i < N; i++) {
        assert_in_range(values[i], 0, 4);
        counts[values[i] % 4]++; /* 3.5 itself would round to 4; its share is nil */
    }
    for (int v = 0; v < 4; v++) {
        expect_near((double)counts[v] / N, 0.25, five_sigma);
    }
    fill("x", (fix_rule){FIX_CONSTANT, 1e12, 0, NULL}, 1, &t, NULL);
    assert_int_equal(values[N - 1], INT32_MAX);
}

static void constants_and_zeros(void **state)
{
    (void)state;
    uint16_t half[3];
    double bits[2];
    memset(bits, 0xff, sizeof bits);
    dsv4_tensor bf16 = dsv4_tensor_make(DSV4_BF16, 1, (const int64_t[]){3}, half);
    dsv4_tensor i64 = dsv4_tensor_make(DSV4_I64, 1, (const int64_t[]){2}, bits);
    dsv4_tensor empty = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){0}, NULL);
    fill("c", (fix_rule){FIX_CONSTANT, 1.00390625, 0, NULL}, 0, &bf16, NULL); /* midway between 0x3f80 and 0x3f81 */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(half[i], 0x3f80);
    }
    fill("c", (fix_rule){FIX_CONSTANT, 1.00390625 + 0x1p-40, 0, NULL}, 0, &bf16, NULL); /* FP32 would round to the midpoint */
    assert_int_equal(half[2], 0x3f81);
    fill("z", (fix_rule){FIX_NONE, 5, 5, NULL}, 0, &i64, NULL);
    assert_true(dsv4_tensor_get(&i64, 0) == 0 && dsv4_tensor_get(&i64, 1) == 0);
    fill("e", (fix_rule){FIX_NONE, 0, 0, NULL}, 0, &empty, NULL);
    fill("e", (fix_rule){FIX_NORMAL, 0, 1, NULL}, 0, &empty, NULL);
}

static void streams_depend_on_seed_and_name_only(void **state)
{
    (void)state;
    const fix_rule rule = {FIX_NORMAL, 0, 1, NULL};
    float a[256], b[256], longer[300];
    dsv4_tensor ta = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){256}, a);
    dsv4_tensor tb = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){16, 16}, b);
    dsv4_tensor tl = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){300}, longer);
    fill("wkv", rule, 7, &ta, NULL);
    fill("other", rule, 7, &tb, NULL);
    assert_memory_not_equal(a, b, sizeof a);
    fill("wkv", rule, 8, &tb, NULL);
    assert_memory_not_equal(a, b, sizeof a);
    fill("wkv", rule, 7, &tb, NULL);
    assert_memory_equal(a, b, sizeof a);
    fill("wkv", rule, 7, &tl, NULL);
    assert_memory_equal(a, longer, sizeof a); /* element i is draw i */
}

/* ---- quantised weights ---- */

enum { ROWS = 96, CHANNELS = 130 }; /* two full panels of channels and a rest */

/* Draws the BF16 weight of the same stream and checks q and scale against SPEC 0.3, channel by channel. */
static void check_quantised(double a, double b)
{
    static uint16_t w_bits[ROWS * CHANNELS];
    static int8_t q[ROWS * CHANNELS];
    static float scales[CHANNELS];
    dsv4_tensor w = dsv4_tensor_make(DSV4_BF16, 2, (const int64_t[]){ROWS, CHANNELS}, w_bits);
    dsv4_tensor t = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){ROWS, CHANNELS}, q);
    dsv4_tensor scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){CHANNELS}, scales);
    fill("wq_b", (fix_rule){FIX_UNIFORM, a, b, NULL}, 3, &w, NULL);
    fill("wq_b", (fix_rule){FIX_WQ_UNIFORM, a, b, "wq_b_scale"}, 3, &t, &scale);
    for (int c = 0; c < CHANNELS; c++) {
        float amax = 1e-4f;
        for (int k = 0; k < ROWS; k++) {
            amax = fmaxf(amax, fabsf((float)dsv4_tensor_get(&w, k * CHANNELS + c)));
        }
        const volatile float inverse = 1.0f / amax;
        const volatile float sq = inverse * 127.0f;
        assert_true(scales[c] == 1.0f / sq);
        expect_near(scales[c], amax / 127, amax / 127 * 1e-6);
        for (int k = 0; k < ROWS; k++) {
            const volatile float scaled = (float)dsv4_tensor_get(&w, k * CHANNELS + c) * sq;
            assert_int_equal(q[k * CHANNELS + c], (int)nearbyint(scaled));
        }
    }
}

static void quantised_weights_follow_their_bf16_draws(void **state)
{
    (void)state;
    check_quantised(-0.1, 0.1);
    check_quantised(-3, 0.5);
    check_quantised(-127.0 / 128, 127.0 / 128); /* channels that reach the end have sq = 128: w * sq hits exact ties */
    check_quantised(-1e-6, 1e-6);               /* every channel at the floor of 1e-4 */
    check_quantised(0, 0);
}

static void quantised_channels_reach_127(void **state)
{
    (void)state;
    static int8_t q[ROWS * CHANNELS];
    static float scales[CHANNELS];
    dsv4_tensor t = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){ROWS, CHANNELS}, q);
    dsv4_tensor scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){CHANNELS}, scales);
    fill("w", (fix_rule){FIX_WQ_UNIFORM, -0.1, 0.1, "s"}, 11, &t, &scale);
    for (int c = 0; c < CHANNELS; c++) {
        int largest = 0;
        for (int k = 0; k < ROWS; k++) {
            const int magnitude = q[k * CHANNELS + c] < 0 ? -q[k * CHANNELS + c] : q[k * CHANNELS + c];
            largest = magnitude > largest ? magnitude : largest;
        }
        assert_int_equal(largest, 127);
        assert_true(scales[c] > 0.09f / 127 && scales[c] <= 0.1002f / 127);
    }
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    int8_t q[6] = {0};
    float f[6] = {0};
    dsv4_tensor matrix = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){2, 3}, q);
    dsv4_tensor row = dsv4_tensor_make(DSV4_I8, 1, (const int64_t[]){6}, q);
    dsv4_tensor real = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){2, 3}, f);
    dsv4_tensor good = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){3}, f);
    dsv4_tensor short_scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){2}, f);
    dsv4_tensor strided = {.dtype = DSV4_F32, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}, .data = f};
    const fix_rule wq = {FIX_WQ_UNIFORM, -1, 1, "scale"}, uniform = {FIX_UNIFORM, -1, 1, NULL};
    const struct {
        const fix_rule *rule;
        dsv4_tensor *t, *scale;
        const char *text;
    } cases[] = {
        {&wq, &row, &good, "expected I8 [K, N]"},       {&wq, &real, &good, "expected I8 [K, N]"},
        {&wq, &matrix, NULL, "must be F32 [3]"},        {&wq, &matrix, &short_scale, "must be F32 [3]"},
        {&wq, &matrix, &row, "must be F32 [3]"},        {&uniform, &matrix, NULL, "dtype I8, expected F32, BF16 or I32"},
        {&uniform, &strided, NULL, "row-major tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsv4_error err = {0};
        assert_int_equal(fix_fill("name", cases[i].rule, 0, cases[i].t, cases[i].scale, &err), DSV4_E_SHAPE);
        if (strstr(err.text, cases[i].text) == NULL || strstr(err.text, "'name'") == NULL) {
            fail_msg("case %zu: '%s' lacks '%s' or the name", i, err.text, cases[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_fills_its_interval),           cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(integers_are_rounded_draws),           cmocka_unit_test(constants_and_zeros),
        cmocka_unit_test(streams_depend_on_seed_and_name_only), cmocka_unit_test(quantised_weights_follow_their_bf16_draws),
        cmocka_unit_test(quantised_channels_reach_127),         cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
