/* The comparison rules of SPEC 7, each at its boundary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/compare.h"

static const float neg_inf_marker = -3.4028234663852886e38f; /* FP32_NEG_INF */

static dsv4_tensor vector(dsv4_dtype dtype, int64_t n, const void *data)
{
    return dsv4_tensor_make(dtype, 1, &n, (void *)(uintptr_t)data);
}

static cmp_result compare(const float *a, const float *e, int64_t n, cmp_rule rule)
{
    const dsv4_tensor actual = vector(DSV4_F32, n, a), expected = vector(DSV4_F32, n, e);
    cmp_result r = {0};
    dsv4_error err = {0};
    if (cmp_tensors("t", &actual, &expected, &rule, &r, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return r;
}

static cmp_result compare_one(float a, float e, cmp_rule rule)
{
    return compare(&a, &e, 1, rule);
}

static const cmp_rule ratio_zero = {CMP_RATIO, 1e-4, 1.0 / 128, 0, 0};
static const cmp_rule ratio_default = {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0};
static const cmp_rule close_default = {CMP_ALLCLOSE, 1e-3, 1e-3, 0, 0};
static const cmp_rule exact = {CMP_EXACT, 0, 0, 0, 0};

/* ---- EXACT ---- */

static void exact_means_same_bits(void **state)
{
    (void)state;
    assert_true(compare_one(1, 1, exact).pass);
    assert_false(compare_one(1, nextafterf(1, 2), exact).pass);
    assert_true(compare_one(NAN, NAN, exact).pass);
    assert_int_equal(compare_one(NAN, NAN, exact).worst_index, -1);
    const cmp_result zeros = compare_one(-0.0f, 0.0f, exact);
    assert_false(zeros.pass);
    assert_int_equal(zeros.worst_index, 0);
    assert_true(zeros.worst == 0);
}

static void exact_integers_beyond_fp32(void **state)
{
    (void)state;
    const int64_t a[2] = {((int64_t)1 << 40) + 1, 5}, e[2] = {(int64_t)1 << 40, 5};
    const dsv4_tensor actual = vector(DSV4_I64, 2, a), expected = vector(DSV4_I64, 2, e);
    cmp_result r;
    assert_int_equal(cmp_tensors("t", &actual, &expected, &exact, &r, NULL), DSV4_OK);
    assert_false(r.pass);
    assert_int_equal(r.n_bad, 1);
    assert_true(r.worst == 1);
    assert_true(r.worst_actual == 1099511627777.0);
}

/* ---- ALLCLOSE ---- */

static void allclose_at_its_boundary(void **state)
{
    (void)state;
    const cmp_rule rule = {CMP_ALLCLOSE, 0.25, 0.5, 0, 0}; /* at e = 2: 1.25, exact in FP32 */
    assert_true(compare_one(3.25f, 2, rule).pass);
    assert_true(compare_one(0.75f, 2, rule).pass);
    assert_false(compare_one(nextafterf(3.25f, 4), 2, rule).pass);
    assert_false(compare_one(0.75f - 0x1p-23f, 2, rule).pass);
    assert_true(compare_one(0.75f - 0x1p-24f, 2, rule).pass); /* |a-e| rounds to 1.25 */
    assert_true(compare_one(-3.25f, -2, rule).pass);
}

static void allclose_allows_no_bad_point(void **state)
{
    (void)state;
    float a[1000] = {0}, e[1000] = {0};
    assert_true(compare(a, e, 1000, close_default).pass);
    a[999] = 0.0011f;
    const cmp_result r = compare(a, e, 1000, close_default);
    assert_false(r.pass);
    assert_int_equal(r.n_bad, 1);
    assert_int_equal(r.n_allowed, 0);
    assert_int_equal(r.worst_index, 999);
}

static void allclose_of_not_finite_values(void **state)
{
    (void)state;
    assert_true(compare_one(INFINITY, INFINITY, close_default).pass);
    assert_true(compare_one(-INFINITY, -INFINITY, close_default).pass);
    assert_false(compare_one(INFINITY, -INFINITY, close_default).pass);
    assert_false(compare_one(1, INFINITY, close_default).pass);
    assert_false(compare_one(INFINITY, 1, close_default).pass);
    assert_false(compare_one(NAN, NAN, close_default).pass);
    assert_false(compare_one(NAN, 1, close_default).pass);
    assert_false(compare_one(1, NAN, close_default).pass);
}

/* BF16 0.25 and its neighbour differ by 2^-9, more than 1e-3 + 1e-3 * 0.25; below 0.25 they are close. */
static void allclose_of_bf16_neighbours(void **state)
{
    (void)state;
    const uint16_t a[2] = {0x3e81, 0x3e7f}, e[2] = {0x3e80, 0x3e7e};
    for (int i = 0; i < 2; i++) {
        const dsv4_tensor actual = vector(DSV4_BF16, 1, &a[i]), expected = vector(DSV4_BF16, 1, &e[i]);
        cmp_result r;
        assert_int_equal(cmp_tensors("t", &actual, &expected, &close_default, &r, NULL), DSV4_OK);
        assert_int_equal(r.pass, i == 1);
    }
}

/* ---- RATIO ---- */

static void ratio_at_its_boundary(void **state)
{
    (void)state;
    const cmp_rule rule = {CMP_RATIO, 0.25, 0.5, 0, 0};
    assert_true(compare_one(3.25f, 2, rule).pass);
    assert_false(compare_one(nextafterf(3.25f, 4), 2, rule).pass);
    assert_true(compare_one(0.25f, 0, rule).pass);
    assert_false(compare_one(-0.2500001f, 0, rule).pass);
}

/* Two points that pass in FP32 and would fail in double. */
static void ratio_rounds_to_fp32(void **state)
{
    (void)state;
    const cmp_rule absolute = {CMP_RATIO, 0.1, 0, 0, 0};
    assert_true((double)0.1f > 0.1);
    assert_true(compare_one(0.1f, 0, absolute).pass);
    assert_false(compare_one(nextafterf(0.1f, 1), 0, absolute).pass);

    const cmp_rule both = {CMP_RATIO, 1e-3, 0.3, 0, 0};
    const float a = 0x1.29d03ap+0f, e = 0x1.a9d03cp+0f; /* a - e is exact, the limit is not */
    assert_true((double)e - a > 1e-3 + 0.3 * (double)e);
    assert_true((double)e - a > (double)1e-3f + (double)0.3f * (double)e);
    assert_true(compare_one(a, e, both).pass);
    assert_false(compare_one(nextafterf(a, 0), e, both).pass);
}

/* n points of which n_bad are far off. */
static bool passes_with(int64_t n, int64_t n_bad, double budget, int64_t *n_allowed)
{
    float *a = calloc((size_t)n, sizeof *a), *e = calloc((size_t)n, sizeof *e);
    assert_non_null(a);
    assert_non_null(e);
    for (int64_t i = 0; i < n_bad; i++) {
        a[i] = 1e30f;
    }
    const cmp_result r = compare(a, e, n, (cmp_rule){CMP_RATIO, 1e-4, 0, budget, 0});
    assert_int_equal(r.n_bad, n_bad);
    *n_allowed = r.n_allowed;
    free(a);
    free(e);
    return r.pass;
}

static void ratio_budget_rounds_half_to_even(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        double budget;
        int64_t n_allowed; /* Python's round(budget * n) */
    } cases[] = {
        {100, 0.005, 0},   /* 0.5 */
        {101, 0.005, 1},   /* 0.505 */
        {300, 0.005, 2},   /* 1.5 */
        {500, 0.005, 2},   /* 2.5 */
        {501, 0.005, 3},   /* 2.505 */
        {700, 0.005, 4},   /* 3.5 */
        {2048, 0.005, 10}, /* 10.24 */
        {1000, 0, 0},      {49, 4.0 / 49, 4}, {10, 2, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t n_allowed;
        const int64_t n = cases[i].n, limit = cases[i].n_allowed;
        if (!passes_with(n, limit, cases[i].budget, &n_allowed) || n_allowed != limit) {
            fail_msg("%lld points, budget %g: %lld allowed, expected %lld", (long long)n, cases[i].budget, (long long)n_allowed,
                     (long long)limit);
        }
        if (limit < n) {
            assert_false(passes_with(n, limit + 1, cases[i].budget, &n_allowed));
        }
    }
}

/* Consequences (i) to (v) of SPEC 7. */
static void ratio_consequences(void **state)
{
    (void)state;
    enum { N = 2000 }; /* ten bad points allowed */
    static float a[N], e[N];
    for (int i = 0; i < 10; i++) {
        a[i] = 3e38f; /* (i) a budget over the whole tensor, (iii) however wrong the points are */
    }
    assert_true(compare(a, e, N, ratio_default).pass);
    assert_false(compare(a, e, 100, ratio_default).pass); /* (ii) no budget for a hundred points */
    a[10] = 1;
    assert_false(compare(a, e, N, ratio_default).pass);
    a[10] = 0;
    a[20] = NAN;
    cmp_result r = compare(a, e, N, ratio_default);
    assert_false(r.pass);
    assert_int_equal(r.n_not_finite, 1);
    assert_int_equal(r.worst_index, 20);
    assert_true(isinf(r.worst));
    a[20] = -INFINITY;
    e[20] = -INFINITY;
    assert_false(compare(a, e, N, ratio_default).pass); /* equal infinities do not help */

    assert_true(compare_one(5, INFINITY, ratio_zero).pass); /* (iv) */
    assert_true(compare_one(5, -INFINITY, ratio_zero).pass);
    assert_true(compare_one(5, NAN, ratio_zero).pass);
    assert_true(compare_one(5, INFINITY, (cmp_rule){CMP_RATIO, 1, 0, 0, 0}).pass); /* 0 * inf is NaN: not bad either */
    assert_true(compare_one(neg_inf_marker, neg_inf_marker, ratio_zero).pass);     /* (v) */
    assert_true(compare_one(neg_inf_marker * 0.995f, neg_inf_marker, ratio_zero).pass);
    assert_false(compare_one(neg_inf_marker * 0.99f, neg_inf_marker, ratio_zero).pass);
    assert_false(compare_one(0, neg_inf_marker, ratio_zero).pass);
}

static void ratio_of_integers(void **state)
{
    (void)state;
    const int8_t a[3] = {-127, 5, 0}, e[3] = {-126, 4, 1};
    const int8_t far[3] = {-127, 5, 2};
    const cmp_rule within_one = {CMP_RATIO, 1, 0, 0, 0};
    const dsv4_tensor actual = vector(DSV4_I8, 3, a), expected = vector(DSV4_I8, 3, e), other = vector(DSV4_I8, 3, far);
    cmp_result r;
    assert_int_equal(cmp_tensors("qr", &actual, &expected, &within_one, &r, NULL), DSV4_OK);
    assert_true(r.pass);
    assert_true(r.worst == 1);
    assert_int_equal(cmp_tensors("qr", &other, &actual, &within_one, &r, NULL), DSV4_OK);
    assert_false(r.pass);
    assert_int_equal(r.worst_index, 2);
    assert_true(r.worst_actual == 2 && r.worst_expected == 0);
}

/* ---- RELDIFF ---- */

static void reldiff_formula(void **state)
{
    (void)state;
    const double thd = 0x1p-8; /* smallest denominator 2^-6 */
    const cmp_rule rule = {CMP_RELDIFF, thd, 0, 0, 0};
    assert_true(compare_one(0, 0x0.ffp-8f, rule).pass);      /* d < thd passes, whatever d / den: here 0.25 */
    assert_false(compare_one(0, 0x1p-8f, rule).pass);        /* d = thd: r = 2^-8 / 2^-6 */
    assert_true(compare_one(2, 2 - 0x1p-7f, rule).pass);     /* r = 2^-8, not above thd */
    assert_false(compare_one(2, 2 - 0x1.01p-7f, rule).pass); /* just above */
    assert_true(compare_one(2 - 0x1p-7f, 2, rule).pass);     /* the larger of |a|, |e| divides */
    assert_false(compare_one(1, -1, rule).pass);
    assert_false(compare_one(3e38f, -3e38f, rule).pass); /* d overflows */
}

static void reldiff_budget_and_hard_limit(void **state)
{
    (void)state;
    enum { N = 100 };
    float a[N], e[N];
    for (int i = 0; i < N; i++) {
        a[i] = e[i] = 1;
    }
    a[3] = 0.5f;                                            /* r = 0.5 */
    const cmp_rule rule = {CMP_RELDIFF, 3e-3, 0, 0.015, 0}; /* 1.5 points: 2 */
    cmp_result r = compare(a, e, N, rule);
    assert_true(r.pass);
    assert_int_equal(r.n_allowed, 2);
    assert_int_equal(r.n_bad, 1);
    a[4] = 0.5f;
    assert_true(compare(a, e, N, rule).pass);
    a[5] = 0.5f;
    assert_false(compare(a, e, N, rule).pass);
    a[4] = a[5] = 1;
    cmp_rule hard = rule;
    hard.hard = 0.75;
    assert_true(compare(a, e, N, hard).pass);
    hard.hard = 0.5f; /* r = 0.5 / (1 + 1e-9) rounds to 0.5: not below */
    assert_false(compare(a, e, N, hard).pass);
    a[3] = 0x1p-7f;
    e[3] = 0;
    hard = (cmp_rule){CMP_RELDIFF, 0x1p-8, 0, 0.01, 0.5}; /* smallest denominator fl(2^-6 + 1e-9), so r is just below 0.5 */
    assert_true(compare(a, e, N, hard).pass);
    hard.hard = 0.49;
    assert_false(compare(a, e, N, hard).pass);
    a[3] = 3e38f;
    e[3] = -3e38f;
    assert_false(compare(a, e, N, rule).pass); /* infinite r is not below an infinite limit */
    e[3] = 1;
    a[3] = 3e38f;
    assert_true(compare(a, e, N, rule).pass); /* r = 1 */
}

static void reldiff_of_not_finite_values(void **state)
{
    (void)state;
    const cmp_rule rule = {CMP_RELDIFF, 3e-3, 0, 1, 0};
    assert_false(compare_one(NAN, 1, rule).pass);
    assert_false(compare_one(INFINITY, INFINITY, rule).pass);
    const cmp_rule none = {CMP_RELDIFF, 3e-3, 0, 0, 0};
    assert_true(compare_one(1, INFINITY, none).pass);
    assert_true(compare_one(1, NAN, none).pass);
}

/* ---- shapes, strides, text ---- */

static void shapes_and_dtypes_must_agree(void **state)
{
    (void)state;
    float data[6] = {0};
    const dsv4_tensor a = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){2, 3}, data);
    const dsv4_tensor e = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){3, 2}, data);
    const dsv4_tensor flat = vector(DSV4_F32, 6, data), integers = vector(DSV4_I32, 6, data);
    cmp_result r = {.n = -5};
    dsv4_error err = {0};
    assert_int_equal(cmp_tensors("q", &a, &e, &ratio_zero, &r, &err), DSV4_E_SHAPE);
    assert_string_equal(err.text, "tensor 'q': shape [2, 3], expected [3, 2]");
    assert_int_equal(cmp_tensors("q", &flat, &a, &ratio_zero, &r, &err), DSV4_E_SHAPE);
    assert_int_equal(cmp_tensors("q", &flat, &integers, &exact, &r, &err), DSV4_E_SHAPE);
    assert_string_equal(err.text, "tensor 'q': dtype F32, expected I32");
    assert_int_equal(r.n, -5);
    assert_int_equal(cmp_tensors("q", &flat, &integers, &ratio_zero, &r, &err), DSV4_OK);
    assert_true(r.pass);
}

static void strided_views_and_no_elements(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 6}, e[6] = {1, 4, 2, 5, 3, 7};
    const dsv4_tensor transposed = {.dtype = DSV4_F32, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}, .data = a};
    const dsv4_tensor expected = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){3, 2}, e);
    cmp_result r;
    assert_int_equal(cmp_tensors("t", &transposed, &expected, &exact, &r, NULL), DSV4_OK);
    assert_int_equal(r.n_bad, 1);
    assert_int_equal(r.worst_index, 5);
    assert_true(compare(a, e, 0, ratio_default).pass);
    assert_int_equal(compare(a, e, 0, ratio_default).worst_index, -1);
}

static void rule_text(void **state)
{
    (void)state;
    char text[128];
    assert_string_equal(cmp_rule_text(&ratio_default, text, sizeof text), "|a-e| <= 0.0001 + 0.0078125*|e|, up to 0.5 % bad");
    assert_string_equal(cmp_rule_text(&close_default, text, sizeof text), "|a-e| <= 0.001 + 0.001*|e|");
    assert_string_equal(cmp_rule_text(&exact, text, sizeof text), "same bits");
    const cmp_rule hard = {CMP_RELDIFF, 3e-3, 0, 0.008, 1};
    assert_string_equal(cmp_rule_text(&hard, text, sizeof text),
                        "relative difference <= 0.003, up to 0.8 % bad, none of them 1 or more");
    const cmp_rule chosen = {CMP_TOPK, 1e-4, 1.0 / 128, 0, 0};
    assert_string_equal(cmp_rule_text(&chosen, text, sizeof text),
                        "scores descend and are those of e within 0.0001 + 0.0078125*|score|");
}

/* ---- top-k ---- */

enum { N_SCORES = 6, K = 3, OFFSET = 10 };

static const float scores[N_SCORES] = {9, 8, 7, 7, 5, neg_inf_marker};

static cmp_result topk(const int32_t actual[K], const int32_t expected[K], bool strict)
{
    const cmp_topk t = {
        .actual = actual,
        .expected = expected,
        .rows = 1,
        .k = K,
        .row_stride = K,
        .actual_scores = scores,
        .expected_scores = scores,
        .n_scores = N_SCORES,
        .offset = OFFSET,
        .atol = 1e-4,
        .rtol = 1.0 / 128,
    };
    cmp_result r = {0};
    assert_int_equal(cmp_topk_rows(&t, strict, &r, NULL), DSV4_OK);
    return r;
}

static void topk_cases(void **state)
{
    (void)state;
    static const struct {
        int32_t actual[K], expected[K];
        bool pair, strict;
    } cases[] = {
        {{10, 11, 12}, {10, 11, 12}, true, true},
        {{10, 11, 13}, {10, 11, 12}, true, true},   /* a tie */
        {{12, 13, 14}, {10, 11, 12}, true, false},  /* descending, but the wrong candidates */
        {{10, 11, 14}, {10, 11, 12}, true, false},  /* one wrong candidate */
        {{11, 10, 12}, {10, 11, 12}, false, false}, /* not descending */
        {{10, 12, 11}, {10, 11, 12}, false, false}, /* not descending at the end */
        {{10, 11, -1}, {10, 11, 12}, true, false},  /* one missing */
        {{-1, 10, 11}, {10, 11, 12}, false, false}, /* empty before a candidate */
        {{10, 9, -1}, {10, -1, -1}, true, true},    /* everything below the offset is empty */
        {{-1, -1, -1}, {-1, -1, -1}, true, true},
        {{10, 11, 15}, {10, 11, -1}, true, false},  /* the marker is a score, not an empty entry */
        {{10, 11, 16}, {10, 11, 12}, false, false}, /* out of range */
        {{16, 11, 12}, {16, 11, 12}, false, false}, /* even if expected */
        {{10, 11, INT32_MAX}, {10, 11, 12}, false, false},
        {{10, INT32_MIN, INT32_MIN}, {10, -1, -1}, true, true},
        {{10, 12, 12}, {10, 12, 13}, true, false}, /* one candidate twice in the place of a tie */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (topk(cases[i].actual, cases[i].expected, false).pass != cases[i].pair) {
            fail_msg("case %zu: PAIR must %s", i, cases[i].pair ? "pass" : "fail");
        }
        if (topk(cases[i].actual, cases[i].expected, true).pass != cases[i].strict) {
            fail_msg("case %zu: strict must %s", i, cases[i].strict ? "pass" : "fail");
        }
    }
}

static void empty_entries_rank_below_every_score(void **state)
{
    (void)state;
    const int32_t actual[2] = {0, -1}, expected[2] = {0, 1};
    const float negative[2] = {-1, neg_inf_marker};
    const cmp_topk t = {actual, expected, 1, 2, 2, negative, negative, 2, 0, 1e-4, 1.0 / 128};
    cmp_result r;
    assert_int_equal(cmp_topk_rows(&t, false, &r, NULL), DSV4_OK);
    assert_true(r.pass);
    assert_int_equal(cmp_topk_rows(&t, true, &r, NULL), DSV4_OK);
    assert_false(r.pass);
}

/* A descent that breaks only where both lists agree is not looked at. */
static void pair_ignores_agreeing_positions(void **state)
{
    (void)state;
    const int32_t same[K] = {14, 10, 12};
    assert_true(topk(same, same, false).pass);
    assert_true(topk(same, same, true).pass);
}

static void topk_reports_the_worst(void **state)
{
    (void)state;
    const cmp_result r = topk((const int32_t[]){10, 14, 12}, (const int32_t[]){10, 11, 12}, false);
    assert_int_equal(r.n, K);
    assert_int_equal(r.n_bad, 1);
    assert_int_equal(r.n_allowed, 0);
    assert_int_equal(r.worst_index, 1);
    assert_true(r.worst_actual == 5 && r.worst_expected == 7 && r.worst == 2);
    const cmp_result m = topk((const int32_t[]){10, 11, 14}, (const int32_t[]){10, 11, 12}, true);
    assert_int_equal(m.worst_index, 2);
    assert_true(m.worst_actual == 5 && m.worst_expected == 7);
}

/* Two rows, each in a wider row; order is judged by the actual scores and membership by the expected ones, within tolerance. */
static void topk_rows_strides_and_tolerance(void **state)
{
    (void)state;
    const int32_t actual[2][4] = {{0, 1, 99, 99}, {2, 1, 99, 99}}, expected[2][4] = {{0, 1, -1, -1}, {1, 2, -1, -1}};
    float actual_scores[2][3] = {{3, 2, 1}, {1, 4, 4.01f}}, expected_scores[2][3] = {{3, 2, 1}, {1, 4.01f, 4}};
    cmp_topk t = {&actual[0][0], &expected[0][0], 2, 2, 4, &actual_scores[0][0], &expected_scores[0][0], 3, 0, 1e-4, 1.0 / 128};
    cmp_result r;
    assert_int_equal(cmp_topk_rows(&t, true, &r, NULL), DSV4_OK);
    assert_true(r.pass); /* same members, in the order of its own scores */
    assert_int_equal(r.n, 4);

    const int32_t other[2][4] = {{0, 1, 99, 99}, {2, 0, 99, 99}};
    t.actual = &other[0][0];
    expected_scores[1][0] = 3.98f; /* within 1e-4 + 4.01/128 of 4.01 after sorting */
    assert_int_equal(cmp_topk_rows(&t, true, &r, NULL), DSV4_OK);
    assert_true(r.pass);
    expected_scores[1][0] = 3.9f;
    assert_int_equal(cmp_topk_rows(&t, true, &r, NULL), DSV4_OK);
    assert_false(r.pass);
    assert_int_equal(r.worst_index, 3);
    t.expected_scores = NULL; /* not read by PAIR */
    assert_int_equal(cmp_topk_rows(&t, false, &r, NULL), DSV4_OK);
    assert_true(r.pass);
    actual_scores[1][0] = NAN;
    assert_int_equal(cmp_topk_rows(&t, false, &r, NULL), DSV4_OK);
    assert_false(r.pass);
}

/* Without their scores, lists of chosen rows must be the same. */
static void topk_without_scores_is_exact(void **state)
{
    (void)state;
    int32_t a[K] = {10, 11, 13}, e[K] = {10, 11, 12};
    float f[K] = {10, 11, 13};
    const dsv4_tensor actual = dsv4_tensor_make(DSV4_I32, 1, (const int64_t[]){K}, a);
    const dsv4_tensor expected = dsv4_tensor_make(DSV4_I32, 1, (const int64_t[]){K}, e);
    const dsv4_tensor floats = dsv4_tensor_make(DSV4_F32, 1, (const int64_t[]){K}, f);
    const cmp_rule rule = {CMP_TOPK, 100, 1, 1, 0};
    cmp_result r;
    assert_int_equal(cmp_tensors("topk", &actual, &expected, &rule, &r, NULL), DSV4_OK);
    assert_false(r.pass);
    assert_int_equal(r.n_bad, 1);
    assert_int_equal(r.worst_index, 2);
    assert_int_equal(cmp_tensors("topk", &actual, &floats, &rule, &r, NULL), DSV4_E_SHAPE);
    e[2] = 13;
    assert_int_equal(cmp_tensors("topk", &actual, &expected, &rule, &r, NULL), DSV4_OK);
    assert_true(r.pass);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_means_same_bits),
        cmocka_unit_test(exact_integers_beyond_fp32),
        cmocka_unit_test(allclose_at_its_boundary),
        cmocka_unit_test(allclose_allows_no_bad_point),
        cmocka_unit_test(allclose_of_not_finite_values),
        cmocka_unit_test(allclose_of_bf16_neighbours),
        cmocka_unit_test(ratio_at_its_boundary),
        cmocka_unit_test(ratio_rounds_to_fp32),
        cmocka_unit_test(ratio_budget_rounds_half_to_even),
        cmocka_unit_test(ratio_consequences),
        cmocka_unit_test(ratio_of_integers),
        cmocka_unit_test(reldiff_formula),
        cmocka_unit_test(reldiff_budget_and_hard_limit),
        cmocka_unit_test(reldiff_of_not_finite_values),
        cmocka_unit_test(shapes_and_dtypes_must_agree),
        cmocka_unit_test(strided_views_and_no_elements),
        cmocka_unit_test(rule_text),
        cmocka_unit_test(topk_cases),
        cmocka_unit_test(empty_entries_rank_below_every_score),
        cmocka_unit_test(pair_ignores_agreeing_positions),
        cmocka_unit_test(topk_reports_the_worst),
        cmocka_unit_test(topk_rows_strides_and_tolerance),
        cmocka_unit_test(topk_without_scores_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
