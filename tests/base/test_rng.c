#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/rng.h"

enum { N_DRAWS = 1000000 };

/* Known answers of philox4x32-10 from the authors' Random123 distribution. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t out[4];
        rng_philox(rows[i].counter, rows[i].key, out);
        assert_memory_equal(out, rows[i].expected, sizeof out);
    }
}

/* The mapping of seed, stream and index to key and counter is part of every fixture: the same known answers by way of rng_u64. */
static void test_u64_known_answers(void **state)
{
    (void)state;
    const rng zero = {0, 0}, ones = {UINT64_MAX, UINT64_MAX}, pi = {0x299f31d0a4093822, 0x0370734413198a2e};
    assert_true(rng_u64(&zero, 0) == 0xe169c58d6627e8d5);
    assert_true(rng_u64(&ones, UINT64_MAX) == 0x41c83b0e408f276d);
    assert_true(rng_u64(&pi, 0x85a308d3243f6a88) == 0x94fdccebd16cfe09);
}

/* Published FNV-1a 64 answers. */
static void test_stream(void **state)
{
    (void)state;
    assert_true(rng_stream("") == 0xcbf29ce484222325);
    assert_true(rng_stream("a") == 0xaf63dc4c8601ec8c);
    assert_true(rng_stream("foobar") == 0x85944171f73967e8);
}

static void test_order_does_not_matter(void **state)
{
    (void)state;
    enum { N = 1000 };
    const rng r = {7, rng_stream("x")};
    uint64_t forward[N];
    for (uint64_t i = 0; i < N; i++) {
        forward[i] = rng_u64(&r, i);
    }
    for (uint64_t i = N; i-- > 0;) {
        const rng again = {7, rng_stream("x")};
        assert_true(rng_u64(&again, i) == forward[i]);
    }
}

static void test_streams_seeds_and_indices_differ(void **state)
{
    (void)state;
    const rng a = {7, rng_stream("x")}, other_stream = {7, rng_stream("y")}, other_seed = {8, rng_stream("x")};
    const rng high_seed = {7 + (UINT64_C(1) << 32), rng_stream("x")};
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t draw = rng_u64(&a, i);
        assert_true(draw != rng_u64(&other_stream, i));
        assert_true(draw != rng_u64(&other_seed, i));
        assert_true(draw != rng_u64(&high_seed, i));
        assert_true(draw != rng_u64(&a, i + (UINT64_C(1) << 32)));
    }
}

typedef struct moments {
    double mean, variance, skewness, kurtosis, lag_1;
} moments;

/* Moments of x[i] = draw(i), standardised by the expected mean and deviation so that the limits below fit every distribution. */
static moments moments_of(double (*draw)(const rng *, uint64_t), double mean, double sd)
{
    const rng r = {11, rng_stream("moments")};
    moments m = {0};
    double previous = 0;
    for (uint64_t i = 0; i < N_DRAWS; i++) {
        double x = (draw(&r, i) - mean) / sd;
        m.mean += x / N_DRAWS;
        m.variance += x * x / N_DRAWS;
        m.skewness += x * x * x / N_DRAWS;
        m.kurtosis += x * x * x * x / N_DRAWS;
        m.lag_1 += x * previous / N_DRAWS;
        previous = x;
    }
    return m;
}

/* Five standard errors at N_DRAWS: of the mean 0.005; of the others below 0.05. */
static void check_moments(moments m, double kurtosis)
{
    assert_true(fabs(m.mean) < 0.005);
    assert_true(fabs(m.variance - 1) < 0.0075);
    assert_true(fabs(m.skewness) < 0.02);
    assert_true(fabs(m.kurtosis - kurtosis) < 0.05);
    assert_true(fabs(m.lag_1) < 0.005);
}

static double draw_uniform(const rng *r, uint64_t i)
{
    return rng_uniform(r, i, -3, 5);
}

static double draw_normal(const rng *r, uint64_t i)
{
    return rng_normal(r, i, 2, 0.25);
}

static double draw_below(const rng *r, uint64_t i)
{
    return (double)rng_below(r, i, 101);
}

static void test_moments(void **state)
{
    (void)state;
    check_moments(moments_of(draw_uniform, 1, 8 / sqrt(12)), 1.8);
    check_moments(moments_of(draw_normal, 2, 0.25), 3);
    check_moments(moments_of(draw_below, 50, sqrt((101.0 * 101 - 1) / 12)), 1.8);
}

/* Share of normal draws beyond 1, 2 and 3 deviations. */
static void test_normal_tails(void **state)
{
    (void)state;
    static const double expected[3] = {0.317310508, 0.045500264, 0.002699796};
    const rng r = {12, rng_stream("tails")};
    int n_beyond[3] = {0};
    for (uint64_t i = 0; i < N_DRAWS; i++) {
        double x = fabs(rng_normal(&r, i, 0, 1));
        assert_true(isfinite(x));
        for (int k = 0; k < 3; k++) {
            n_beyond[k] += x > k + 1;
        }
    }
    for (int k = 0; k < 3; k++) {
        double error = 5 * sqrt(expected[k] * (1 - expected[k]) / N_DRAWS);
        assert_true(fabs((double)n_beyond[k] / N_DRAWS - expected[k]) < error);
    }
}

static void test_uniform_range(void **state)
{
    (void)state;
    const rng r = {13, 0};
    bool low_seen = false;
    double next = nextafter(1, 2);
    for (uint64_t i = 0; i < 100000; i++) {
        double x = rng_uniform(&r, i, -2, 3);
        assert_true(x >= -2 && x < 3);
        assert_true(rng_uniform(&r, i, 1, next) == 1); /* one value only; half of the sums round up to hi */
        low_seen |= x < -1.99;
    }
    assert_true(low_seen);
}

static void test_below_range(void **state)
{
    (void)state;
    const rng r = {14, 0};
    int n_seen[6] = {0};
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t k = rng_below(&r, i, 6);
        assert_true(k < 6);
        n_seen[k]++;
        assert_true(rng_below(&r, i, 1) == 0);
        assert_true(rng_below(&r, i, UINT64_MAX) < UINT64_MAX);
    }
    for (int k = 0; k < 6; k++) {
        assert_in_range(n_seen[k], 10000 - 5 * 92, 10000 + 5 * 92);
    }
}

static void test_words_are_the_block_of_the_draw(void **state)
{
    (void)state;
    const rng r = {.seed = 0x0123456789abcdef, .stream = 0xfedcba9876543210};
    const uint32_t counter[4] = {7, 1, 0x76543210, 0xfedcba98}, key[2] = {0x89abcdef, 0x01234567};
    uint32_t expected[4], words[4];
    rng_philox(counter, key, expected);
    rng_words(&r, 0x100000007, words);
    assert_memory_equal(words, expected, sizeof words);
    assert_true(rng_u64(&r, 0x100000007) == (words[0] | (uint64_t)words[1] << 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_u64_known_answers),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_streams_seeds_and_indices_differ),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_normal_tails),
        cmocka_unit_test(test_uniform_range),
        cmocka_unit_test(test_below_range),
        cmocka_unit_test(test_words_are_the_block_of_the_draw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
