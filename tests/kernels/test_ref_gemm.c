/* The products of the scalar row against the sums of kernels.h, evaluated in double or INT64, and against values worked out by
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/packed_acts.h"
#include "kernels/scalar_row.h"

enum { MAX_ROWS = 128, MAX_K = 300 };

/* ---- one step of a sum, in double ---------------------------------------------------------------------------------------------
 * */

/* a*b + c for FP32 values with a last bit that tells whether the sum is exact (1) or not: of two neighbours around the exact sum
 * the odd one. Rounded once more, to fewer bits, it gives what rounding the exact sum gives. The product is exact in double. */
static double fused_to_odd(float a, float b, float c)
{
    double p = (double)a * (double)b, s = p + (double)c, of_c = s - p, lost = (p - (s - of_c)) + ((double)c - of_c);
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    if (!isfinite(s) || lost == 0.0 || bits % 2 == 1) {
        return s;
    }
    return nextafter(s, lost > 0.0 ? (double)INFINITY : -(double)INFINITY);
}

static float without_denormal(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

/* A step of a paired sum. Halfway between FLT_MIN and the number of 24 bits below it, the tie goes up. */
static float flushing_step(float x, float w, float s)
{
    double exact = fused_to_odd(without_denormal(x), without_denormal(w), without_denormal(s));
    return fabs(exact) < 0x1p-126 - 0x1p-151 ? copysignf(0.0f, (float)exact) : (float)exact;
}

static float paired_sum_of(int64_t k, const uint16_t *x, const uint16_t *w, int64_t stride_w)
{
    float total = 0.0f;
    for (int64_t first = 0; first < k; first += 128) {
        float s = 0.0f;
        for (int64_t i = first; i < first + 128 && i < k; i += 2) {
            bool paired = i + 1 < k;
            s = flushing_step(paired ? num_f32_from_bf16(x[i + 1]) : 0.0f, paired ? num_f32_from_bf16(w[(i + 1) * stride_w]) : 0.0f,
                              s);
            s = flushing_step(num_f32_from_bf16(x[i]), num_f32_from_bf16(w[i * stride_w]), s);
        }
        total = first == 0 ? s : without_denormal(sum(total, s));
    }
    return total;
}

/* ---- BF16 ------------------------------------------------------------------------------------------------------------------ */

/* w[k][32] as a panel. */
static void pack_panel(int64_t k, const uint16_t *w, uint16_t *panel)
{
    for (int64_t r = 0; r < (k + 1) / 2 * 2; r++) {
        for (int64_t j = 0; j < UK_PANEL; j++) {
            panel[(r / 2 * UK_PANEL + j) * 2 + r % 2] = r < k ? w[r * UK_PANEL + j] : 0;
        }
    }
}

static void check_gemm_bf16(row_count m, int64_t k, flavour f)
{
    enum { LDC = UK_PANEL + 1 };
    uint64_t random = 2;
    static uint16_t x[MAX_ROWS * MAX_K], w[MAX_K * UK_PANEL], panel[MAX_K * UK_PANEL];
    static char acts[2 * MAX_ROWS * MAX_K];
    static float c[MAX_ROWS * LDC];
    for (int64_t i = 0; i < m.rows * k; i++) {
        x[i] = draw_bf16(&random, f);
    }
    for (int64_t i = 0; i < k * UK_PANEL; i++) {
        w[i] = draw_bf16(&random, f);
    }
    pack_panel(k, w, panel);
    uk_acts a = pack_bf16(ref, m, k, x, k, acts, uk_acts_bytes_bf16(ref, m.group_rows, k));
    ref->gemm_bf16(a, k, panel, c, LDC);
    for (int64_t i = 0; i < m.rows; i++) {
        for (int j = 0; j < UK_PANEL; j++) {
            expect_f32(c[i * LDC + j], paired_sum_of(k, x + i * k, w + j, UK_PANEL));
        }
    }
}

static void gemm_bf16_is_the_paired_sum(void **state)
{
    (void)state;
    static const int64_t depths[] = {0, 1, 2, 3, 64, 127, 128, 129, 130, 255, 256, 257, MAX_K};
    for (int n = 0; n < N_ROW_COUNTS; n++) {
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
            check_gemm_bf16(nth_row_count(n), depths[d], (flavour)((n + (int)d) % N_FLAVOURS));
        }
    }
}

/* The paired sum of the products x[i]*w[i], BF16 values. */
static float gemm_of(int64_t k, const float *x, const float *w)
{
    static uint16_t x_bf16[MAX_K], columns[MAX_K * UK_PANEL], panel[MAX_K * UK_PANEL], acts[MAX_K];
    float c[UK_PANEL];
    memset(columns, 0, sizeof columns);
    for (int64_t i = 0; i < k; i++) {
        x_bf16[i] = num_bf16_from_f32(x[i]);
        columns[i * UK_PANEL + 17] = num_bf16_from_f32(w[i]);
    }
    pack_panel(k, columns, panel);
    const row_count one = {1, 1};
    ref->gemm_bf16(pack_bf16(ref, one, k, x_bf16, k, (char *)acts, sizeof acts), k, panel, c, UK_PANEL);
    return c[17];
}

/* 1, then a pair of +2^24 and -2^24: the 1 is lost to the tie where +2^24 is added first. */
static void gemm_bf16_adds_the_odd_k_first(void **state)
{
    (void)state;
    const float x[4] = {1.0f, 0.0f, 0x1p12f, 0x1p12f};
    expect_f32(gemm_of(4, x, (const float[]){1.0f, 1.0f, -0x1p12f, 0x1p12f}), 0.0f);
    expect_f32(gemm_of(4, x, (const float[]){1.0f, 1.0f, 0x1p12f, -0x1p12f}), 1.0f);
}

/* 2^24 at the first k, two ones far behind: in a chunk of their own they meet first, else the tie takes each. */
static void gemm_bf16_sums_chunks_of_128(void **state)
{
    (void)state;
    float x[132] = {0.0f}, w[132];
    x[0] = 0x1p24f;
    for (int i = 0; i < 132; i++) {
        w[i] = 1.0f;
    }
    x[125] = x[127] = 1.0f;
    expect_f32(gemm_of(132, x, w), 0x1p24f);
    x[125] = x[127] = 0.0f;
    x[128] = x[130] = 1.0f;
    expect_f32(gemm_of(132, x, w), 0x1p24f + 2.0f);
    x[128] = 0.0f;
    x[127] = 1.0f;
    expect_f32(gemm_of(132, x, w), 0x1p24f);
}

static void gemm_bf16_flushes_operands(void **state)
{
    (void)state;
    const float denormal = 0x1p-127f, large = 0x1p100f;
    expect_f32(gemm_of(1, &denormal, &large), 0.0f);
    expect_f32(gemm_of(1, &large, &denormal), 0.0f);
    const float normal = 0x1p-126f;
    expect_f32(gemm_of(1, &normal, &large), 0x1p-26f);
    expect_f32(gemm_of(1, &denormal, (const float[]){INFINITY}), NAN); /* 0 * infinity */
}

/* Results below FLT_MIN become a zero of their sign, products alone too; next to a larger sum they count in full. */
static void gemm_bf16_flushes_results(void **state)
{
    (void)state;
    const float small[2] = {0x1p-64f, 0.0f}, minus[2] = {-0x1p-63f, 0.0f};
    expect_f32(gemm_of(1, small, small), 0.0f);
    expect_f32(gemm_of(1, small, minus), -0.0f);
    expect_f32(gemm_of(2, small, minus), -0.0f); /* the odd k came first */
    expect_f32(gemm_of(3, (const float[]){0x1p-64f, 0.0f, 0.0f}, (const float[]){-0x1p-63f, 0.0f, 1.0f}), 0.0f);
    expect_f32(gemm_of(2, (const float[]){0x1p-64f, 0x1p-64f}, (const float[]){0x1p-63f, 0x1p-63f}), 0.0f);
    expect_f32(gemm_of(2, (const float[]){0x1p-75f, 0x1p-63f}, (const float[]){0x1p-74f, 0x1p-63f}), 0x1p-126f + 0x1p-149f);
    expect_f32(gemm_of(2, (const float[]){0x1p-63f, 0x1p-62f}, (const float[]){-0x1.8p-63f, 0x1p-64f}), -0.0f);
}

/* 2^-126 less a little: what 24 bits of any exponent would round up to 2^-126 stays, even where FP32's denormals round further. */
static void gemm_bf16_flushes_what_is_tiny_after_rounding(void **state)
{
    (void)state;
    const float min[2] = {0x1p-75f, 0x1p-63f};
    expect_f32(gemm_of(2, min, (const float[]){-0x1p-76f, 0x1p-63f}), 0x1p-126f); /* - 2^-151: a tie, up */
    expect_f32(gemm_of(2, min, (const float[]){-0x1.02p-76f, 0x1p-63f}), 0.0f);   /* a bit more than the tie */
    expect_f32(gemm_of(2, min, (const float[]){-0x1p-75f, 0x1p-63f}), 0.0f);      /* - 2^-150 */
    expect_f32(gemm_of(2, min, (const float[]){-0x1.fep-77f, 0x1p-63f}), 0x1p-126f);
    expect_f32(gemm_of(2, min, (const float[]){0x1p-75f, -0x1p-63f}), -0.0f);
    expect_f32(gemm_of(2, min, (const float[]){0x1p-76f, -0x1p-63f}), -0x1p-126f);
}

/* The sums of two chunks, +-1.5 * 2^-126 and 2^-126, differ by a denormal. */
static void gemm_bf16_flushes_the_sum_of_chunks(void **state)
{
    (void)state;
    float x[130] = {0.0f}, w[130] = {0.0f};
    x[0] = x[128] = w[0] = 0x1p-63f;
    w[128] = -0x1.8p-63f;
    expect_f32(gemm_of(130, x, w), -0.0f);
    w[128] = -0x1p-63f;
    expect_f32(gemm_of(130, x, w), 0.0f);
    w[128] = 0x1.8p-63f;
    expect_f32(gemm_of(130, x, w), 0x1.4p-125f);
}

/* ---- FP32 ------------------------------------------------------------------------------------------------------------------ */

static void gemm_f32_is_the_sum_of_chunks(void **state)
{
    (void)state;
    static const int64_t depths[] = {0, 1, 127, 128, 129, 256, 257, MAX_K};
    static float a[UK_ROWS * MAX_K], panel[MAX_K * UK_PANEL], c[UK_ROWS * UK_PANEL];
    uint64_t random = 12;
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (int f = 0; f < N_FLAVOURS; f++) {
            int64_t k = depths[d];
            fill_f32(a, UK_ROWS * k, (flavour)f, &random);
            fill_f32(panel, k * UK_PANEL, (flavour)f, &random);
            ref->gemm_f32(UK_ROWS, k, a, k, panel, c, UK_PANEL);
            for (int i = 0; i < UK_ROWS * UK_PANEL; i++) {
                float total = 0.0f;
                for (int64_t first = 0; first < k; first += 128) {
                    float s = 0.0f;
                    for (int64_t r = first; r < first + 128 && r < k; r++) {
                        s = (float)fused_to_odd(a[i / UK_PANEL * k + r], panel[r * UK_PANEL + i % UK_PANEL], s);
                    }
                    total = first == 0 ? s : sum(total, s);
                }
                expect_f32(c[i], total);
            }
        }
    }
}

/* Products 2^24, 1, 1, -2^24: in ascending order each 1 is lost to the tie. 2^-75 * 2^-75 added to 2^-149: fused, the tie goes
 * up. */
static void gemm_f32_fuses_in_ascending_order(void **state)
{
    (void)state;
    const float a[2][4] = {{0x1p12f, 1.0f, 1.0f, -0x1p12f}, {0x1p-75f, 0x1p-75f}};
    const float w[2][4] = {{0x1p12f, 1.0f, 1.0f, 0x1p12f}, {0x1p-74f, 0x1p-75f}};
    const float want[2] = {0.0f, 0x1p-148f};
    for (int i = 0; i < 2; i++) {
        float panel[4 * UK_PANEL] = {0.0f}, c[UK_PANEL];
        for (int k = 0; k < 4; k++) {
            panel[k * UK_PANEL + 9] = w[i][k];
        }
        ref->gemm_f32(1, 4, a[i], 4, panel, c, UK_PANEL);
        expect_f32(c[9], want[i]);
        expect_f32(c[8], 0.0f);
    }
}

/* ---- INT8 ------------------------------------------------------------------------------------------------------------------ */

static void check_gemm_i8(row_count m, int64_t k)
{
    uint64_t random = 3;
    static int8_t x[MAX_ROWS * MAX_K], panel[MAX_K * UK_PANEL];
    static char acts[MAX_ROWS * MAX_K];
    static int32_t c[MAX_ROWS * UK_PANEL];
    int32_t correction[UK_PANEL];
    for (int64_t i = 0; i < m.rows * k; i++) {
        x[i] = draw_i8(&random);
    }
    for (int64_t i = 0; i < (k + 3) / 4 * 4 * UK_PANEL; i++) {
        int64_t row = i / (4 * UK_PANEL) * 4 + i % 4;
        panel[i] = row < k ? draw_i8(&random) : 0;
    }
    panel_correction((k + 3) / 4, panel, correction);
    uk_acts a = pack_i8(ref, m, k, x, k, acts, uk_acts_bytes_i8(ref, m.group_rows, k));
    ref->gemm_i8(a, (k + 3) / 4, panel, correction, c, UK_PANEL);
    for (int64_t i = 0; i < m.rows; i++) {
        for (int64_t j = 0; j < UK_PANEL; j++) {
            int64_t exact = 0;
            for (int64_t r = 0; r < k; r++) {
                exact += (int64_t)x[i * k + r] * panel[(r / 4 * UK_PANEL + j) * 4 + r % 4];
            }
            assert_int_equal(c[i * UK_PANEL + j], exact);
        }
    }
}

static void gemm_i8_is_exact(void **state)
{
    (void)state;
    static const int64_t depths[] = {0, 1, 2, 3, 4, 5, 63, 64, MAX_K};
    for (int n = 0; n < N_ROW_COUNTS; n++) {
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
            check_gemm_i8(nth_row_count(n), depths[d]);
        }
    }
}

/* All extremes at the largest K: 65536 * (-128) * (-128) = 2^30, with the correction that the packer would make. */
static void gemm_i8_holds_the_largest_sum(void **state)
{
    (void)state;
    static int8_t x[UK_MAX_K_I8], panel[UK_MAX_K_I8 * UK_PANEL];
    static char acts[UK_MAX_K_I8];
    int32_t correction[UK_PANEL], c[UK_PANEL];
    memset(x, -128, sizeof x);
    memset(panel, -128, sizeof panel);
    for (int j = 0; j < UK_PANEL; j++) {
        correction[j] = 128 * 128 * UK_MAX_K_I8;
    }
    const row_count one = {1, 1};
    uk_acts a = pack_i8(ref, one, UK_MAX_K_I8, x, UK_MAX_K_I8, acts, sizeof acts);
    ref->gemm_i8(a, UK_MAX_K_I8 / 4, panel, correction, c, UK_PANEL);
    assert_int_equal(c[31], 1 << 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_bf16_is_the_paired_sum),         cmocka_unit_test(gemm_bf16_adds_the_odd_k_first),
        cmocka_unit_test(gemm_bf16_sums_chunks_of_128),        cmocka_unit_test(gemm_bf16_flushes_operands),
        cmocka_unit_test(gemm_bf16_flushes_results),           cmocka_unit_test(gemm_bf16_flushes_what_is_tiny_after_rounding),
        cmocka_unit_test(gemm_bf16_flushes_the_sum_of_chunks), cmocka_unit_test(gemm_f32_is_the_sum_of_chunks),
        cmocka_unit_test(gemm_f32_fuses_in_ascending_order),   cmocka_unit_test(gemm_i8_is_exact),
        cmocka_unit_test(gemm_i8_holds_the_largest_sum),
    };
    return cmocka_run_group_tests_name("kernels.ref_gemm", tests, find_scalar, NULL);
}
