/* The exponentials, softmax, pooling and index scores of the scalar row against the formulas in double, and at the ends of their
 * ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "kernels/scalar_row.h"

#define EXP_MAX 0x1.61814cp+6f /* the largest argument whose EXP is finite */

static float exp_of(float x)
{
    float y;
    ref->exp(1, &x, &y);
    return y;
}

/* |got - want| in units of the last FP32 place of want, which is normal. */
static double ulps(float got, double want)
{
    return fabs((double)got - want) / ldexp(1.0, ilogb(want) - (FLT_MANT_DIG - 1));
}

static void expect_within_2_ulp(float x)
{
    double error = ulps(exp_of(x), exp((double)x));
    if (!(error <= 2.0)) {
        fail_msg("EXP(%a) is %g ulp off", (double)x, error);
    }
}

/* A stride that visits every exponent, each sign. */
static void exp_is_within_2_ulp_over_its_range(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= num_bits_from_f32(EXP_MAX); bits += 1009) {
        float x = num_f32_from_bits(bits);
        expect_within_2_ulp(x);
        if (x <= 87.0f) {
            expect_within_2_ulp(-x);
        }
    }
    expect_within_2_ulp(EXP_MAX);
    expect_within_2_ulp(-87.0f);
    expect_within_2_ulp(-0.0f);
}

/* Both sides of every tie of rint(x * log2 e): the longest reduced arguments. */
static void exp_is_within_2_ulp_where_the_power_changes(void **state)
{
    (void)state;
    for (int t = -125; t <= 127; t++) {
        float tie = (float)((t + 0.5) * 0.69314718055994531);
        uint32_t bits = num_bits_from_f32(tie);
        for (uint32_t near = bits - 8; near <= bits + 8; near++) {
            float x = num_f32_from_bits(near);
            if (x >= -87.0f && x <= EXP_MAX) {
                expect_within_2_ulp(x);
            }
        }
    }
}

/* The steps of EXP (kernels.h) for an argument between its bounds. */
static float exp_by_contract(float x)
{
    float t = rintf(product(x, 0x1.715476p+0f));
    float r = fmaf(t, 0x1.bd0106p-13f, fmaf(t, -0x1.63p-1f, x));
    float p = fmaf(0x1.a0d2cep-13f, r, 0x1.6e879cp-10f);
    p = fmaf(p, r, 0x1.11121p-7f);
    p = fmaf(p, r, 0x1.555382p-5f);
    p = fmaf(p, r, 0x1.555554p-3f);
    p = fmaf(p, r, 0.5f);
    return ldexpf(sum(fmaf(p, product(r, r), r), 1.0f), (int)t);
}

static void exp_takes_the_steps_of_its_contract(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= num_bits_from_f32(87.0f); bits += 10007) {
        float x = num_f32_from_bits(bits);
        expect_f32(exp_of(x), exp_by_contract(x));
        expect_f32(exp_of(-x), exp_by_contract(-x));
    }
}

static void exp_ends_in_zero_infinity_and_nan(void **state)
{
    (void)state;
    expect_f32(exp_of(0.0f), 1.0f);
    expect_f32(exp_of(nextafterf(-87.0f, -INFINITY)), 0.0f);
    expect_f32(exp_of(-FLT_MAX), 0.0f);
    expect_f32(exp_of(-INFINITY), 0.0f);
    expect_f32(exp_of(nextafterf(EXP_MAX, INFINITY)), INFINITY);
    expect_f32(exp_of(FLT_MAX), INFINITY);
    expect_f32(exp_of(INFINITY), INFINITY);
    expect_f32(exp_of(NAN), NAN);
    expect_f32(exp_of(-NAN), NAN);
}

/* ---- softmax -------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 127, COLS = 9, LD = 11, GROUPS = 2 };

/* Weight of row r and column h, by a product of its pair of rows. */
static float weight(const uint16_t *acts, int64_t n_rows, int64_t h, int64_t r)
{
    int64_t pair = r / 2 * 2, k = n_rows - pair < 2 ? n_rows - pair : 2, group_bytes = uk_acts_bytes_bf16(ref, UK_ROWS, n_rows);
    uint16_t panel[2 * UK_PANEL] = {0};
    float c[GROUPS * UK_ROWS * UK_PANEL];
    panel[r % 2] = num_bf16_from_f32(1.0f);
    uk_acts a = {(const char *)acts + pair * UK_ROWS * ref->act_bytes_bf16, h + 1, UK_ROWS, group_bytes};
    ref->gemm_bf16(a, k, panel, c, UK_PANEL);
    return c[h * UK_PANEL];
}

/* Memory for the weights of up to ROWS rows and COLS columns, full of ones. */
static uint16_t *fresh_acts(void)
{
    static uint16_t acts[GROUPS * UK_ROWS * (ROWS + 1)];
    memset(acts, 0x3f, sizeof acts);
    return acts;
}

static void softmax_is_that_of_the_formula(void **state)
{
    (void)state;
    const float scale = 0.044194174f;
    uint64_t random = 20;
    uint16_t *acts = fresh_acts();
    float s[ROWS * LD], m[COLS], l[COLS];
    fill_f32(s, ROWS * LD, ORDINARY, &random);
    for (int i = 0; i < ROWS * LD; i++) {
        s[i] = i % 13 == 4 ? -INFINITY : 60.0f * s[i];
    }
    ref->softmax(ROWS, COLS, scale, s, LD, m, l, acts);
    for (int h = 0; h < COLS; h++) {
        float max = -INFINITY;
        for (int r = 0; r < ROWS; r++) {
            max = fmaxf(max, product(s[r * LD + h], scale));
        }
        expect_f32(m[h], max);
        double total = 0.0;
        for (int r = 0; r < ROWS; r++) {
            double e = exp((double)sum(product(s[r * LD + h], scale), -max));
            assert_true(fabs((double)weight(acts, ROWS, h, r) - e) <= e * (0x1p-8 + 0x1p-21));
            total += e;
        }
        assert_true(fabs((double)l[h] - total) <= total * (ROWS + 4) * 0x1p-24);
    }
    for (int h = COLS; h < GROUPS * UK_ROWS; h++) {
        for (int r = 0; r < ROWS; r++) {
            expect_f32(weight(acts, ROWS, h, r), 0.0f);
        }
    }
    for (int h = 0; h < GROUPS * UK_ROWS; h++) {
        expect_f32(weight(acts, ROWS + 1, h % UK_ROWS, ROWS), 0.0f);
    }
}

/* e = 1 and twice e^-6 = 0.0024787..., which bf rounds to 0x1.44p-9 = 0.0024719...; l sums what was not rounded. */
static void softmax_sums_unrounded_weights(void **state)
{
    (void)state;
    const float s[3] = {-4.0f, 2.0f, -4.0f};
    uint16_t *acts = fresh_acts();
    float m, l, e = exp_of(-6.0f);
    ref->softmax(3, 1, 1.0f, s, 1, &m, &l, acts);
    expect_f32(m, 2.0f);
    expect_f32(l, sum(sum(e, 1.0f), e));
    expect_f32(weight(acts, 3, 0, 0), 0x1.44p-9f);
    expect_f32(weight(acts, 3, 0, 1), 1.0f);
    expect_f32(weight(acts, 3, 0, 2), 0x1.44p-9f);
}

static void softmax_of_one_row_and_of_finite_masks_is_uniform(void **state)
{
    (void)state;
    uint16_t *acts = fresh_acts();
    float s[4] = {-1e20f, -1e20f, -1e20f, -1e20f}, m, l;
    ref->softmax(4, 1, 0.5f, s, 1, &m, &l, acts);
    expect_f32(m, -5e19f);
    expect_f32(l, 4.0f);
    expect_f32(weight(acts, 4, 0, 3), 1.0f);
    s[0] = 17.0f;
    ref->softmax(1, 1, 2.0f, s, 1, &m, &l, acts);
    expect_f32(m, 34.0f);
    expect_f32(l, 1.0f);
    expect_f32(weight(acts, 1, 0, 0), 1.0f);
}

/* The first of two zeros is the maximum; a NaN is passed over by the maximum but not by the sum; an infinite maximum leaves NaN. */
static void softmax_of_zeros_nans_and_infinities(void **state)
{
    (void)state;
    const float s[3 * 4] = {-0.0f, NAN, -INFINITY, 1.0f, 0.0f, 2.0f, -INFINITY, INFINITY, -1.0f, 3.0f, -INFINITY, 0.0f};
    uint16_t *acts = fresh_acts();
    float m[4], l[4];
    ref->softmax(3, 4, 1.0f, s, 4, m, l, acts);
    const float want_m[4] = {-0.0f, 3.0f, -INFINITY, INFINITY};
    for (int h = 0; h < 4; h++) {
        expect_f32(m[h], want_m[h]);
        assert_int_equal(isnan(l[h]) != 0, h > 0);
    }
    expect_f32(weight(acts, 3, 1, 0), NAN);
    expect_f32(weight(acts, 3, 1, 2), 1.0f);
    expect_f32(weight(acts, 3, 2, 0), NAN);
    expect_f32(weight(acts, 3, 3, 1), NAN);
    expect_f32(weight(acts, 3, 3, 2), 0.0f);
}

/* ---- pool ------------------------------------------------------------------------------------------------------------------ */

enum { CHANNELS = 21, POOLED = 128 };

typedef struct pool_case {
    float k[POOLED][CHANNELS], s[POOLED][CHANNELS];
    const float *k_rows[POOLED], *s_rows[POOLED];
} pool_case;

static void draw_pool(pool_case *p, uint64_t seed)
{
    uint64_t random = seed;
    for (int r = 0; r < POOLED; r++) {
        fill_f32(p->k[r], CHANNELS, ORDINARY, &random);
        fill_f32(p->s[r], CHANNELS, ORDINARY, &random);
        p->k_rows[r] = p->k[r];
        p->s_rows[r] = p->s[r];
    }
}

/* The pooled value of channel i in double; masked scores take no part. */
static double pooled_exactly(const pool_case *p, int n_rows, int i)
{
    double total = 0.0, sum_of_products = 0.0, max = -INFINITY;
    for (int r = 0; r < n_rows; r++) {
        max = fmax(max, (double)p->s[r][i]);
    }
    for (int r = 0; r < n_rows; r++) {
        double e = p->s[r][i] <= -FLT_MAX ? 0.0 : exp((double)p->s[r][i] - max);
        total += e;
        sum_of_products += e * (double)p->k[r][i];
    }
    return sum_of_products / total;
}

static void pool_is_that_of_the_formula(void **state)
{
    (void)state;
    static pool_case p;
    static const int heights[] = {1, 2, 8, POOLED};
    for (size_t h = 0; h < sizeof heights / sizeof *heights; h++) {
        float y[CHANNELS];
        draw_pool(&p, 30 + h);
        for (int r = 1; r < heights[h]; r++) {
            p.s[r][r % CHANNELS] = r % 2 ? -INFINITY : -FLT_MAX;
            p.s[r][(r + 1) % CHANNELS] *= 30.0f;
        }
        ref->pool(CHANNELS, heights[h], p.k_rows, p.s_rows, y);
        for (int i = 0; i < CHANNELS; i++) { /* |k| < 2 and the weights sum to 1 */
            assert_true(fabs((double)y[i] - pooled_exactly(&p, heights[h], i)) <= 2.0 * (heights[h] + 8) * 0x1p-23);
        }
    }
}

static void pool_of_masked_scores_is_zero(void **state)
{
    (void)state;
    const float k[2][3] = {{3.0f, NAN, 5.0f}, {-7.0f, INFINITY, 6.0f}};
    const float s[2][3] = {{-INFINITY, -FLT_MAX, -FLT_MAX}, {-FLT_MAX, -INFINITY, -3e38f}};
    float y[3];
    ref->pool(3, 2, (const float *const[]){k[0], k[1]}, (const float *const[]){s[0], s[1]}, y);
    expect_f32(y[0], 0.0f);
    expect_f32(y[1], 0.0f);
    expect_f32(y[2], 6.0f);
}

static void pool_of_a_nan_or_an_infinite_score_is_nan(void **state)
{
    (void)state;
    const float k[2][3] = {{1.0f, 1.0f, 1.0f}, {1.0f, 1.0f, 1.0f}};
    const float s[2][3] = {{NAN, 0.0f, 1.0f}, {0.0f, INFINITY, NAN}};
    float y[3];
    ref->pool(3, 2, (const float *const[]){k[0], k[1]}, (const float *const[]){s[0], s[1]}, y);
    for (int i = 0; i < 3; i++) {
        expect_f32(y[i], NAN);
    }
}

/* ---- index_score ------------------------------------------------------------------------------------------------------------ */

static void index_score_is_that_of_the_formula(void **state)
{
    (void)state;
    enum { KEYS = 9, HEADS = 64, LD_ACC = 70 };
    uint64_t random = 40;
    int32_t acc[KEYS * LD_ACC];
    float q_scale[HEADS], k_scale[KEYS], w[HEADS], y[KEYS];
    for (int i = 0; i < KEYS * LD_ACC; i++) {
        acc[i] = (int32_t)(draw_u64(&random) % 4000000) - 2000000;
    }
    fill_f32(q_scale, HEADS, ORDINARY, &random);
    fill_f32(k_scale, KEYS, ORDINARY, &random);
    fill_f32(w, HEADS, ORDINARY, &random);
    for (int n_heads = 1; n_heads <= HEADS; n_heads += 21) {
        ref->index_score(KEYS, n_heads, acc, LD_ACC, q_scale, k_scale, w, y);
        for (int c = 0; c < KEYS; c++) {
            double exact = 0.0, magnitude = 0.0;
            for (int h = 0; h < n_heads; h++) {
                double v = (double)acc[c * LD_ACC + h] * (double)q_scale[h] * (double)k_scale[c];
                exact += fmax(v, 0.0) * (double)w[h];
                magnitude += fmax(v, 0.0) * fabs((double)w[h]);
            }
            assert_true(fabs((double)y[c] - exact) <= magnitude * 16 * 0x1p-24);
        }
    }
}

/* Terms 2^24 and 1 in lane 0, 1 and 1 in lane 1: the first 1 is lost, the others meet first. A running sum would lose all. */
static void index_score_sums_by_lane(void **state)
{
    (void)state;
    const int32_t acc[18] = {[0] = 1 << 24, [1] = 1, [16] = 1, [17] = 1};
    float ones[18], y;
    for (int h = 0; h < 18; h++) {
        ones[h] = 1.0f;
    }
    ref->index_score(1, 18, acc, 18, ones, ones, ones, &y);
    expect_f32(y, 0x1p24f + 2.0f);
}

static void index_score_cuts_negative_products_and_nans(void **state)
{
    (void)state;
    const int32_t acc[2 * 3] = {-5, 0, 3, -5, -1, -7};
    const float q_scale[3] = {1.0f, INFINITY, 2.0f}, k_scale[2] = {0.5f, 1.0f}, w[3] = {-1.0f, 1.0f, -1.5f};
    float y[2];
    ref->index_score(2, 3, acc, 3, q_scale, k_scale, w, y);
    expect_f32(y[0], -4.5f);
    expect_f32(y[1], 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_2_ulp_over_its_range),
        cmocka_unit_test(exp_is_within_2_ulp_where_the_power_changes),
        cmocka_unit_test(exp_takes_the_steps_of_its_contract),
        cmocka_unit_test(exp_ends_in_zero_infinity_and_nan),
        cmocka_unit_test(softmax_is_that_of_the_formula),
        cmocka_unit_test(softmax_sums_unrounded_weights),
        cmocka_unit_test(softmax_of_one_row_and_of_finite_masks_is_uniform),
        cmocka_unit_test(softmax_of_zeros_nans_and_infinities),
        cmocka_unit_test(pool_is_that_of_the_formula),
        cmocka_unit_test(pool_of_masked_scores_is_zero),
        cmocka_unit_test(pool_of_a_nan_or_an_infinite_score_is_nan),
        cmocka_unit_test(index_score_is_that_of_the_formula),
        cmocka_unit_test(index_score_sums_by_lane),
        cmocka_unit_test(index_score_cuts_negative_products_and_nans),
    };
    return cmocka_run_group_tests_name("kernels.ref_attention", tests, find_scalar, NULL);
}
