/* The sampler against a full sort and plain loops, the statistics of its draws, and its limits. */
#include "require.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/sampler.h"

enum { VOCABULARY = 300, N_CASES = 400 };

static model_sampler *create(int64_t n, const model_sampler_options *o)
{
    model_sampler *s = NULL;
    dsv4_error err = {0};
    require_ok(model_sampler_create(n, o, &s, &err), &err);
    return s;
}

static int32_t choose(model_sampler *s, const float *logits, int64_t position)
{
    int32_t token = -1;
    dsv4_error err = {0};
    require_ok(model_sampler_choose(s, logits, position, &token, &err), &err);
    return token;
}

/* One choice by a sampler of its own. */
static int32_t choose_once(const model_sampler_options *o, int64_t n, const float *logits, int64_t position)
{
    model_sampler *s = create(n, o);
    const int32_t token = choose(s, logits, position);
    model_sampler_destroy(s);
    return token;
}

/* ---- a second implementation ------------------------------------------------------------------------------------------- */

typedef struct item {
    int32_t id;
    double value, weight;
    bool kept;
} item;

static int by_likelihood(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->value > y->value ? -1 : x->value < y->value ? 1 : x->id - y->id;
}

static int by_id(const void *a, const void *b)
{
    return ((const item *)a)->id - ((const item *)b)->id;
}

static int32_t choose_plainly(const model_sampler_options *o, const item *values, int n, int64_t position)
{
    item items[VOCABULARY];
    memcpy(items, values, (size_t)n * sizeof *items);
    qsort(items, (size_t)n, sizeof *items, by_likelihood);
    if (o->temperature == 0) {
        return items[0].id;
    }
    const int k = o->top_k > 0 && o->top_k < n ? (int)o->top_k : n;
    double sum = 0, before = 0, all = 0, passed = 0;
    for (int i = 0; i < n; i++) {
        items[i].weight = exp((items[i].value - items[0].value) / o->temperature);
        sum += i < k ? items[i].weight : 0;
    }
    for (int i = 0; i < n; i++) {
        items[i].kept = i < k && (i == 0 || o->top_p == 1 || before < o->top_p * sum) && items[i].weight >= o->min_p;
        before += items[i].weight;
    }
    qsort(items, (size_t)n, sizeof *items, by_id);
    for (int i = 0; i < n; i++) {
        all += items[i].kept ? items[i].weight : 0;
    }
    const rng r = {o->seed, rng_stream("model.sampler")};
    const double share = rng_uniform(&r, (uint64_t)position, 0, 1) * all;
    for (int i = 0; i < n; i++) {
        passed += items[i].kept ? items[i].weight : 0;
        if (items[i].kept && passed > share) {
            return items[i].id;
        }
    }
    return -1;
}

/* Logits in quarters, so that many are equal, and sums of many weights are not near a limit of top-p by accident. */
static void draw_logits(rng r, int n, float *logits)
{
    for (int i = 0; i < n; i++) {
        logits[i] = (float)(rint(rng_normal(&r, (uint64_t)i, 0, 3) * 4) / 4);
        if (rng_below(&r, (uint64_t)(n + i), 20) == 0) {
            logits[i] = -INFINITY;
        }
    }
    logits[n / 2] = 1;
}

static model_sampler_options draw_options(rng r)
{
    static const double temperatures[] = {0, 0.01, 0.7, 1, 3}, top_ps[] = {0, 0.3, 0.77, 0.993, 1}, min_ps[] = {0, 0.03, 0.4, 1};
    static const int64_t top_ks[] = {0, 1, 2, 7, 40, VOCABULARY + 1};
    return (model_sampler_options){.temperature = temperatures[rng_below(&r, 0, 5)],
                                   .top_k = top_ks[rng_below(&r, 1, 6)],
                                   .top_p = top_ps[rng_below(&r, 2, 5)],
                                   .min_p = min_ps[rng_below(&r, 3, 4)],
                                   .repetition = rng_below(&r, 4, 2) ? 1.3 : 1,
                                   .presence = rng_below(&r, 5, 2) ? 0.6 : 0,
                                   .frequency = rng_below(&r, 6, 2) ? 0.2 : 0,
                                   .seed = rng_u64(&r, 7)};
}

static void test_against_a_full_sort(void **state)
{
    (void)state;
    for (int c = 0; c < N_CASES; c++) {
        const rng r = {(uint64_t)c, rng_stream("case")};
        const model_sampler_options o = draw_options(r);
        const int n = 1 + (int)rng_below(&r, 8, VOCABULARY);
        float logits[VOCABULARY];
        item items[VOCABULARY];
        int n_generated[VOCABULARY] = {0};
        bool seen[VOCABULARY] = {false};
        draw_logits((rng){(uint64_t)c, rng_stream("logits")}, n, logits);
        model_sampler *s = create(n, &o);
        for (uint64_t i = 0; i < 20; i++) {
            const int32_t token = (int32_t)rng_below(&r, 10 + i, (uint64_t)n);
            const bool generated = i % 3 != 0;
            model_sampler_see(s, token, generated);
            seen[token] = true;
            n_generated[token] += generated;
        }
        for (int i = 0; i < n; i++) {
            double v = logits[i];
            v = seen[i] ? (v > 0 ? v / o.repetition : v * o.repetition) : v;
            v = n_generated[i] > 0 ? v - (o.presence + o.frequency * n_generated[i]) : v;
            items[i] = (item){i, v, 0, false};
        }
        for (int64_t position = 0; position < 20; position++) {
            const int32_t got = choose(s, logits, position), expected = choose_plainly(&o, items, n, position);
            if (got != expected) {
                fail_msg("case %d, position %d: token %d, expected %d", c, (int)position, got, expected);
            }
        }
        model_sampler_destroy(s);
    }
}

/* ---- statistics --------------------------------------------------------------------------------------------------------- */

/* Pearson's statistic of draws against probabilities. */
static double chi_square(const model_sampler_options *o, const float *logits, const double *probability, int n, int n_draws)
{
    double counts[16] = {0}, sum = 0;
    model_sampler *s = create(n, o);
    for (int i = 0; i < n_draws; i++) {
        counts[choose(s, logits, i)]++;
    }
    model_sampler_destroy(s);
    for (int i = 0; i < n; i++) {
        const double expected = probability[i] * n_draws;
        assert_true(expected > 0 || counts[i] == 0);
        sum += expected > 0 ? (counts[i] - expected) * (counts[i] - expected) / expected : 0;
    }
    return sum;
}

static void test_draws_follow_the_probabilities(void **state)
{
    (void)state;
    /* powers of two: probabilities 1/2, 1/4, 1/8, 1/16, 1/16 */
    const double ln2 = 0.69314718055994530942;
    const float logits[] = {(float)-ln2, (float)(-4 * ln2), (float)(-2 * ln2), (float)(-3 * ln2), (float)(-4 * ln2)};
    const double all[] = {1. / 2, 1. / 16, 1. / 4, 1. / 8, 1. / 16}, three[] = {4. / 7, 0, 2. / 7, 1. / 7, 0};
    double hot[5], hot_sum = 0;
    for (int i = 0; i < 5; i++) {
        hot_sum += sqrt(all[i]);
    }
    for (int i = 0; i < 5; i++) {
        hot[i] = sqrt(all[i]) / hot_sum;
    }
    model_sampler_options o = {.temperature = 1, .top_p = 1, .repetition = 1, .seed = 7};
    /* 18.5 and 13.8 are passed once in a thousand seeds; this is one seed */
    assert_true(chi_square(&o, logits, all, 5, 20000) < 18.5);
    o.top_k = 3;
    assert_true(chi_square(&o, logits, three, 5, 20000) < 13.8);
    o.top_k = 0;
    o.top_p = 0.8;
    assert_true(chi_square(&o, logits, three, 5, 20000) < 13.8);
    o.top_p = 1;
    o.min_p = 0.2;
    assert_true(chi_square(&o, logits, three, 5, 20000) < 13.8);
    o.min_p = 0;
    o.temperature = 2;
    assert_true(chi_square(&o, logits, hot, 5, 20000) < 18.5);
    assert_true(chi_square(&o, logits, all, 5, 20000) > 100); /* the statistic can fail */
}

static void test_seed_and_position_alone(void **state)
{
    (void)state;
    float logits[VOCABULARY];
    int n_equal = 0;
    draw_logits((rng){3, 3}, VOCABULARY, logits);
    const model_sampler_options one = {.temperature = 2, .top_p = 1, .repetition = 1, .seed = 1},
                                two = {.temperature = 2, .top_p = 1, .repetition = 1, .seed = 2};
    model_sampler *s = create(VOCABULARY, &one);
    for (int64_t position = 99; position >= 0; position--) {
        const int32_t token = choose(s, logits, position);
        assert_int_equal(token, choose_once(&one, VOCABULARY, logits, position));
        n_equal += token == choose_once(&two, VOCABULARY, logits, position);
    }
    assert_true(n_equal < 50);
    model_sampler_destroy(s);
}

/* ---- limits ------------------------------------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    float logits[] = {1, 5, 5, -INFINITY, 2};
    model_sampler_options o = model_sampler_greedy;
    assert_int_equal(choose_once(&o, 5, logits, 0), 1); /* of equal ones the smaller id */
    assert_int_equal(choose_once(&o, 1, logits, 0), 0);
    o.temperature = 50;
    o.top_k = 1;
    assert_int_equal(choose_once(&o, 5, logits, 0), 1);
    o.top_k = 0;
    o.top_p = 1e-300;
    assert_int_equal(choose_once(&o, 5, logits, 0), 1);
    o.top_p = 0;
    assert_int_equal(choose_once(&o, 5, logits, 0), 1);
    o.top_p = 1;
    o.temperature = 5e-324;
    const int32_t cold = choose_once(&o, 5, logits, 0);
    assert_true(cold == 1 || cold == 2);
    o.temperature = 100;
    for (int64_t i = 0; i < 200; i++) {
        assert_int_not_equal(choose_once(&o, 5, logits, i), 3);
    }
    for (int i = 0; i < 5; i++) {
        logits[i] = i == 4 ? -3e38F : -INFINITY;
    }
    assert_int_equal(choose_once(&o, 5, logits, 0), 4);
    o.top_k = 3;
    o.top_p = 0.9;
    assert_int_equal(choose_once(&o, 5, logits, 0), 4);
}

static void test_penalties(void **state)
{
    (void)state;
    const float logits[] = {4, 3, -1};
    model_sampler_options o = model_sampler_greedy;
    o.repetition = 2;
    model_sampler *s = create(3, &o);
    model_sampler_see(s, 0, false);
    model_sampler_see(s, 3, true);
    model_sampler_see(s, -1, true);
    assert_int_equal(choose(s, logits, 0), 1); /* 2, 3, -1 */
    model_sampler_see(s, 1, false);
    assert_int_equal(choose(s, logits, 0), 0); /* 2, 1.5, -1 */
    model_sampler_forget(s);
    assert_int_equal(choose(s, logits, 0), 0);
    model_sampler_destroy(s);
    o.repetition = 1;
    o.presence = 0.5;
    o.frequency = 0.25;
    s = create(3, &o);
    model_sampler_see(s, 0, false); /* of the prompt: not generated */
    assert_int_equal(choose(s, logits, 0), 0);
    model_sampler_see(s, 0, true);
    model_sampler_see(s, 0, true);
    assert_int_equal(choose(s, logits, 0), 0); /* 4 - 0.5 - 0.5 = 3, as the other */
    model_sampler_see(s, 0, true);
    assert_int_equal(choose(s, logits, 0), 1);
    model_sampler_destroy(s);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        model_sampler_options o;
        const char *line;
    } cases[] = {{{.temperature = -1, .top_p = 1, .repetition = 1}, "temperature: got -1, expected 0 to 100"},
                 {{.temperature = NAN, .top_p = 1, .repetition = 1}, "temperature: got nan, expected 0 to 100"},
                 {{.top_k = -1, .top_p = 1, .repetition = 1}, "top_k: got -1, expected 0 to 2.14748e+09"},
                 {{.top_p = 1.5, .repetition = 1}, "top_p: got 1.5, expected 0 to 1"},
                 {{.top_p = 1, .min_p = -0.5, .repetition = 1}, "min_p: got -0.5, expected 0 to 1"},
                 {{.top_p = 1}, "repetition: got 0, expected 0.01 to 100"},
                 {{.top_p = 1, .repetition = 1, .presence = INFINITY}, "presence: got inf, expected -100 to 100"},
                 {{.top_p = 1, .repetition = 1, .frequency = 101}, "frequency: got 101, expected -100 to 100"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_sampler *s = NULL;
        dsv4_error err = {0};
        assert_int_equal(model_sampler_create(5, &cases[i].o, &s, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, cases[i].line);
    }
    static const float nan_one[] = {1, NAN}, inf_one[] = {INFINITY, 1}, none[] = {-INFINITY, -INFINITY};
    static const struct {
        const float *logits;
        const char *line;
    } bad[] = {{nan_one, "logits: token 1 has NaN, expected a number"},
               {inf_one, "logits: token 0 has +inf, expected a number"},
               {none, "logits: all are -inf, expected a number"}};
    model_sampler *s = create(2, &model_sampler_greedy);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t token = -1;
        double logprob = 0;
        dsv4_error err = {0};
        assert_int_equal(model_sampler_choose(s, bad[i].logits, 0, &token, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, bad[i].line);
        assert_int_equal(model_logprobs(bad[i].logits, 2, 0, &logprob, NULL, 0, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, bad[i].line);
        assert_int_equal(token, -1);
    }
    model_sampler_destroy(s);
}

/* ---- probabilities ------------------------------------------------------------------------------------------------------- */

static void test_logprobs(void **state)
{
    (void)state;
    const float logits[] = {1000, 1001, -INFINITY, 1001, 999, 1000};
    /* weights 1, e, 0, e, 1/e, 1 over their sum */
    const double log_sum = log(1 + M_E + M_E + 1 / M_E + 1);
    model_candidate best[6];
    double logprob;
    dsv4_error err = {0};
    require_ok(model_logprobs(logits, 6, 4, &logprob, best, 6, &err), &err);
    assert_true(fabs(logprob - (-1 - log_sum)) < 1e-12);
    const int32_t order[] = {1, 3, 0, 5, 4, 2};
    const double values[] = {1, 1, 0, 0, -1, -INFINITY};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(best[i].token, order[i]);
        assert_true(best[i].logprob == values[i] - log_sum || fabs(best[i].logprob - (values[i] - log_sum)) < 1e-12);
    }
    for (int n = 0; n < 6; n++) {
        model_candidate some[6] = {{-7, 0}, {-7, 0}, {-7, 0}, {-7, 0}, {-7, 0}, {-7, 0}};
        require_ok(model_logprobs(logits, 6, 0, &logprob, some, n, &err), &err);
        for (int i = 0; i < n; i++) {
            assert_int_equal(some[i].token, best[i].token);
            assert_true(some[i].logprob == best[i].logprob);
        }
        assert_int_equal(some[n].token, -7);
    }
    double sum = 0;
    for (int i = 0; i < 6; i++) {
        sum += exp(best[i].logprob);
    }
    assert_true(fabs(sum - 1) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_full_sort),
        cmocka_unit_test(test_draws_follow_the_probabilities),
        cmocka_unit_test(test_seed_and_position_alone),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_logprobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
