/* Fixture tensors: their distributions, their determinism, and the rules of quantised weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/numbers.h"
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

/* Any part of a stream has the values of the whole. */
static void ranges_are_parts_of_the_whole(void **state)
{
    (void)state;
    const fix_rule rules[] = {{FIX_NORMAL, 1, 2, NULL}, {FIX_UNIFORM, -1, 1, NULL}};
    for (int i = 0; i < 2; i++) {
        float whole[64], part[64];
        uint16_t bits[64];
        dsv4_tensor t = dsv4_tensor_make(DSV4_BF16, 1, (const int64_t[]){64}, bits);
        dsv4_error err = {0};
        fix_draw("x", &rules[i], 9, 0, 64, whole);
        for (int first = 0; first < 6; first++) {
            for (int n = 0; n < 6; n++) {
                fix_draw("x", &rules[i], 9, first, n, part);
                assert_memory_equal(part, whole + first, (size_t)n * sizeof *part);
            }
        }
        memset(bits, 0, sizeof bits);
        assert_int_equal(fix_fill_range("x", &rules[i], 9, &t, 7, 30, &err), DSV4_OK);
        for (int e = 0; e < 64; e++) {
            assert_int_equal(bits[e], e >= 7 && e < 37 ? num_bf16_from_f32(whole[e]) : 0);
        }
        assert_int_equal(fix_fill_range("x", &rules[i], 9, &t, 40, 25, &err), DSV4_E_SHAPE);
        assert_int_equal(fix_fill_range("x", &rules[i], 9, &t, -1, 2, &err), DSV4_E_SHAPE);
    }
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

/* Rows as channels: the transposed matrix quantised by columns. */
static void rows_quantise_as_columns_do(void **state)
{
    (void)state;
    static uint16_t w[ROWS * CHANNELS], turned[ROWS * CHANNELS];
    static int8_t by_row[ROWS * CHANNELS], by_column[ROWS * CHANNELS];
    float row_scales[ROWS], column_scales[ROWS];
    dsv4_error err = {0};
    dsv4_tensor tw = dsv4_tensor_make(DSV4_BF16, 2, (const int64_t[]){ROWS, CHANNELS}, w);
    dsv4_tensor turned_w = dsv4_tensor_make(DSV4_BF16, 2, (const int64_t[]){CHANNELS, ROWS}, turned);
    dsv4_tensor q = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){ROWS, CHANNELS}, by_row);
    dsv4_tensor turned_q = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){CHANNELS, ROWS}, by_column);
    dsv4_tensor row_scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){ROWS}, row_scales);
    dsv4_tensor column_scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){ROWS}, column_scales);
    const fix_rule normal = {FIX_NORMAL, 0, 0.3, NULL};
    fill("w", normal, 4, &tw, NULL);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < CHANNELS; c++) {
            turned[c * ROWS + r] = w[r * CHANNELS + c];
        }
    }
    assert_int_equal(fix_quantise("w", &turned_w, FIX_PER_COLUMN, &turned_q, &column_scale, &err), DSV4_OK);
    assert_int_equal(fix_fill_weight("w", &normal, FIX_PER_ROW, 4, &q, &row_scale, &err), DSV4_OK);
    assert_memory_equal(row_scales, column_scales, sizeof row_scales);
    for (int i = 0; i < ROWS * CHANNELS; i++) {
        assert_int_equal(by_row[i], by_column[i % CHANNELS * ROWS + i / CHANNELS]);
        expect_near(by_row[i] * (double)row_scales[i / CHANNELS], (double)num_f32_from_bf16(w[i]),
                    0.5001 * (double)row_scales[i / CHANNELS]);
    }
}

/* Rows are quantised from FP32 draws. */
static void quantised_rows_follow_their_draws(void **state)
{
    (void)state;
    static float rows[ROWS * CHANNELS];
    static int8_t q[ROWS * CHANNELS];
    float scales[ROWS];
    dsv4_error err = {0};
    dsv4_tensor tq = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){ROWS, CHANNELS}, q);
    dsv4_tensor scale = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){ROWS, 1}, scales);
    const fix_rule uniform = {FIX_UNIFORM, 0, 1, NULL};
    assert_int_equal(fix_fill_quantised_rows("qr", &uniform, 4, &tq, &scale, &err), DSV4_OK);
    fix_draw("qr", &uniform, 4, 0, ROWS * CHANNELS, rows);
    for (int i = 0; i < ROWS * CHANNELS; i++) {
        const double step = (double)scales[i / CHANNELS];
        assert_true(step > 0.9 / 127 && step <= 1.0001 / 127);
        expect_near(q[i] * step, (double)rows[i], 0.5001 * step);
    }
}

/* Largest magnitude of a block of w. */
static float block_amax(const float *w, int64_t ld, int64_t rows, int64_t cols)
{
    float amax = 0;
    for (int64_t k = 0; k < rows; k++) {
        for (int64_t c = 0; c < cols; c++) {
            amax = fmaxf(amax, fabsf(w[k * ld + c]));
        }
    }
    return amax;
}

/* The MX8 weight of SPEC 8 in double, block by block, from the same streams: q * scale is it, up to one common factor and half a
 * step. */
static void mx8_weights_follow_their_draws(void **state)
{
    (void)state;
    enum { IN = 200, OUT = 150, BLOCK = 128 };
    static float w[IN * OUT];
    static int8_t q[IN * OUT];
    float scales[OUT], magnitude[OUT];
    double squares = 0;
    dsv4_error err = {0};
    dsv4_tensor tq = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){IN, OUT}, q);
    dsv4_tensor scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){OUT}, scales);
    const fix_rule normal = {FIX_NORMAL, 0, 1, NULL};
    assert_int_equal(fix_fill_mx8("w", "w_scale", 0.108, 0.56, 2, &tq, &scale, &err), DSV4_OK);
    fix_draw("w", &normal, 2, 0, IN * OUT, w);
    fix_draw("w_scale", &normal, 2, 0, OUT, magnitude);
    for (int i = 0; i < IN * OUT; i++) {
        w[i] *= expf(0.56f * magnitude[i % OUT]);
    }
    for (int k0 = 0; k0 < IN; k0 += BLOCK) {
        for (int c0 = 0; c0 < OUT; c0 += BLOCK) {
            const int rows = IN - k0 < BLOCK ? IN - k0 : BLOCK, cols = OUT - c0 < BLOCK ? OUT - c0 : BLOCK;
            const double block_scale = exp2(ceil(log2((double)block_amax(w + k0 * OUT + c0, OUT, rows, cols) / 448)));
            for (int i = 0; i < rows * cols; i++) {
                float *element = &w[(k0 + i / cols) * OUT + c0 + i % cols];
                const double x = (double)*element / block_scale, step = exp2(fmax(floor(log2(fabs(x))), -6) - 3);
                *element = (float)(rint(x / step) * step * block_scale);
            }
        }
    }
    for (int i = 0; i < IN * OUT; i++) {
        const double factor = (double)scales[0] * 127 / (double)block_amax(w, OUT, IN, 1), step = (double)scales[i % OUT];
        expect_near(step * 127, factor * (double)block_amax(w + i % OUT, OUT, IN, 1), 1e-5 * step * 127);
        expect_near(q[i] * step, factor * (double)w[i], 0.501 * step);
        squares += pow(q[i] * step, 2) / (IN * OUT);
    }
    expect_near(sqrt(squares), 0.108, 0.108 * 1e-3);
}

/* The MX4 weight of SPEC 8 in double, group by group, from the stream of N(1). */
static void round_to_mx4(const float *draws, int n_groups, double *values, int *exponents)
{
    static const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    for (int g = 0; g < n_groups; g++) {
        exponents[g] = (int)ceil(log2((double)block_amax(draws + 32 * g, 32, 1, 32) / 6));
        for (int i = 32 * g; i < 32 * g + 32; i++) {
            const double x = fabs((double)draws[i]) * exp2(-exponents[g]);
            double best = 0;
            for (int m = 1; m < 8; m++) {
                best = fabs(magnitudes[m] - x) < fabs(best - x) ? magnitudes[m] : best;
            }
            values[i] = copysign(best * exp2(exponents[g]), (double)draws[i]);
        }
    }
}

static void mx4_codes_follow_their_draws(void **state)
{
    (void)state;
    enum { IN = 96, OUT = 150, GROUPS = IN * OUT / 32 };
    static const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    static float w[IN * OUT];
    static double expected[IN * OUT];
    static uint8_t codes[IN * OUT / 2], scales[GROUPS];
    int exponents[GROUPS];
    dsv4_error err = {0};
    dsv4_tensor tc = dsv4_tensor_make(DSV4_U8, 3, (const int64_t[]){2, OUT / 2, IN / 2}, codes);
    dsv4_tensor ts = dsv4_tensor_make(DSV4_F8_E8M0, 3, (const int64_t[]){2, OUT / 2, IN / 32}, scales);
    const fix_rule normal = {FIX_NORMAL, 0, 0.0247, NULL};
    assert_int_equal(fix_fill_mx4_codes("w", 0.0247, 2, &tc, &ts, &err), DSV4_OK);
    fix_draw("w", &normal, 2, 0, IN * OUT, w);
    round_to_mx4(w, GROUPS, expected, exponents);
    for (int i = 0; i < IN * OUT; i++) {
        const int code = i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
        assert_int_equal(scales[i / 32], exponents[i / 32] + 127);
        const double value = magnitudes[code % 8] * exp2(exponents[i / 32]);
        assert_true((code >= 8 ? -value : value) == expected[i]);
    }
    ts.shape[0] = 1;
    assert_int_equal(fix_fill_mx4_codes("w", 0.0247, 2, &tc, &ts, &err), DSV4_E_SHAPE);
}

/* q * scale is the MX4 weight, up to one common factor and half a step. */
static void mx4_weights_follow_their_draws(void **state)
{
    (void)state;
    enum { IN = 96, OUT = 150, GROUPS = IN * OUT / 32 };
    static float w[IN * OUT];
    static double expected[IN * OUT];
    static int8_t q[IN * OUT];
    float scales[OUT];
    int exponents[GROUPS];
    double squares = 0, factor = 0;
    dsv4_error err = {0};
    dsv4_tensor tq = dsv4_tensor_make(DSV4_I8, 3, (const int64_t[]){2, OUT / 2, IN}, q);
    dsv4_tensor ts = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){2, OUT / 2}, scales);
    const fix_rule normal = {FIX_NORMAL, 0, 1, NULL};
    assert_int_equal(fix_fill_mx4("w", 0.0246, 2, &tq, &ts, &err), DSV4_OK);
    fix_draw("w", &normal, 2, 0, IN * OUT, w);
    round_to_mx4(w, GROUPS, expected, exponents);
    for (int o = 0; o < OUT; o++) {
        double amax = 0;
        for (int i = o * IN; i < (o + 1) * IN; i++) {
            amax = fmax(amax, fabs(expected[i]));
        }
        factor = o == 0 ? (double)scales[0] * 127 / amax : factor;
        expect_near((double)scales[o] * 127, factor * amax, 1e-5 * factor * amax);
        for (int i = o * IN; i < (o + 1) * IN; i++) {
            expect_near(q[i] * (double)scales[o], factor * expected[i], 0.501 * (double)scales[o]);
            squares += pow(q[i] * (double)scales[o], 2) / (IN * OUT);
        }
    }
    expect_near(sqrt(squares), 0.0246, 0.0246 * 1e-3);
}

/* ---- forms ---- */

static void hadamard_is_orthogonal(void **state)
{
    (void)state;
    static uint16_t bits[128 * 128];
    dsv4_error err = {0};
    for (int64_t n = 1; n <= 128; n *= 4) {
        dsv4_tensor t = dsv4_tensor_make(DSV4_BF16, 2, (const int64_t[]){n, n}, bits);
        assert_int_equal(fix_fill_hadamard("h", &t, &err), DSV4_OK);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n; j++) {
                double product = 0;
                for (int64_t k = 0; k < n; k++) {
                    product += dsv4_tensor_get(&t, i * n + k) * dsv4_tensor_get(&t, j * n + k);
                }
                expect_near(product, i == j, i == j ? 0.005 : 0); /* 1/sqrt(n) is rounded to BF16 */
            }
        }
        /* [[H, H], [H, -H]] */
        for (int64_t i = 0; i < n / 2; i++) {
            for (int64_t j = 0; j < n / 2; j++) {
                const double h = dsv4_tensor_get(&t, i * n + j);
                assert_true(h == dsv4_tensor_get(&t, (i + n / 2) * n + j) && h == dsv4_tensor_get(&t, i * n + j + n / 2));
                assert_true(h == -dsv4_tensor_get(&t, (i + n / 2) * n + j + n / 2));
            }
        }
    }
    dsv4_tensor odd = dsv4_tensor_make(DSV4_BF16, 2, (const int64_t[]){6, 6}, bits);
    assert_int_equal(fix_fill_hadamard("h", &odd, &err), DSV4_E_SHAPE);
}

static void unit_rows_have_a_unit_rms(void **state)
{
    (void)state;
    enum { N_ROWS = 20, COLS = 96 };
    uint16_t bits[N_ROWS * COLS];
    dsv4_error err = {0};
    dsv4_tensor t = dsv4_tensor_make(DSV4_BF16, 4, (const int64_t[]){2, 10, 1, COLS}, bits);
    assert_int_equal(fix_fill_unit_rows("kv", 3, &t, &err), DSV4_OK);
    for (int r = 0; r < N_ROWS; r++) {
        double squares = 0;
        for (int c = 0; c < COLS; c++) {
            squares += pow(dsv4_tensor_get(&t, r * COLS + c), 2);
        }
        expect_near(sqrt(squares / COLS), 1, 1e-3);
    }
}

/* The parameters of four streams by their place, those of five by the place they repeat. */
static void hyper_connections_have_their_sets(void **state)
{
    (void)state;
    float values[35];
    dsv4_error err = {0};
    dsv4_tensor base = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){24}, values);
    dsv4_tensor wide = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){35}, values);
    dsv4_tensor scale = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){3}, values);
    dsv4_tensor head = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){4}, values);
    assert_int_equal(fix_fill_hc("hc_base", "swa", 4, 1, &base, &err), DSV4_OK);
    assert_true(values[0] == 3.9083f && values[3] == -2.017f && values[4] == -2.4443f && values[23] == -1.2413f);
    assert_int_equal(fix_fill_hc("hc_base", "hca", 5, 1, &wide, &err), DSV4_OK);
    assert_true(values[4] == -3.3004f && values[5] == -3.8197f && values[10] == 2.362f && values[15] == -4.474f);
    assert_int_equal(fix_fill_hc("hc_scale", "hca", 4, 1, &scale, &err), DSV4_OK);
    assert_true(values[0] == .079046f && values[2] == .121901f);
    assert_int_equal(fix_fill_hc("hc_head_base", "head", 4, 1, &head, &err), DSV4_OK);
    assert_true(values[0] == 5.9166f && values[3] == -3.3124f);
    assert_int_equal(fix_fill_hc("hc_base", "mla", 4, 1, &base, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(fix_fill_hc("hc_other", "swa", 4, 1, &base, &err), DSV4_E_SHAPE);
    assert_int_equal(fix_fill_hc("hc_base", "swa", 3, 1, &base, &err), DSV4_E_SHAPE);
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
        cmocka_unit_test(uniform_fills_its_interval),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(integers_are_rounded_draws),
        cmocka_unit_test(constants_and_zeros),
        cmocka_unit_test(streams_depend_on_seed_and_name_only),
        cmocka_unit_test(ranges_are_parts_of_the_whole),
        cmocka_unit_test(quantised_weights_follow_their_bf16_draws),
        cmocka_unit_test(quantised_channels_reach_127),
        cmocka_unit_test(rows_quantise_as_columns_do),
        cmocka_unit_test(quantised_rows_follow_their_draws),
        cmocka_unit_test(mx8_weights_follow_their_draws),
        cmocka_unit_test(mx4_codes_follow_their_draws),
        cmocka_unit_test(mx4_weights_follow_their_draws),
        cmocka_unit_test(hadamard_is_orthogonal),
        cmocka_unit_test(unit_rows_have_a_unit_rms),
        cmocka_unit_test(hyper_connections_have_their_sets),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
