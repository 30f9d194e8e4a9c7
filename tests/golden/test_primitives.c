/* The primitives of SPEC 0.2 and 0.3 where a slightly different rounding would show. */
#include "golden/support.h"

#include "golden/primitives.h"

static void test_q8_rounds_ties_to_even(void **state)
{
    (void)state;
    const float x[6] = {127.0f, 0.5f, 1.5f, -2.5f, -3.5f, -126.49f};
    int8_t q[6];
    assert_true(golden_q8(x, 6, q) == 1.0f);
    const int8_t expected[6] = {127, 0, 2, -2, -4, -126};
    assert_memory_equal(q, expected, sizeof q);
}

/* Half of amax scales to 63.5 but for the rounding of the factor: (1/amax) * 127 and 127/amax fall on different sides. */
static void test_q8_factor_is_reciprocal_times_127(void **state)
{
    (void)state;
    const float below[2] = {1.0546875f, 0.52734375f}, above[2] = {-1.1875f, 0.59375f};
    int8_t q[2];
    assert_int_equal(num_bits_from_f32(golden_q8(below, 2, q)), 0x3c081021);
    assert_int_equal(q[1], 63);
    assert_int_equal(num_bits_from_f32(golden_q8(above, 2, q)), 0x3c193264);
    assert_int_equal(q[0], -127);
    assert_int_equal(q[1], 64);
}

static void test_q8_floor_of_amax(void **state)
{
    (void)state;
    const float x[3] = {0.0f, 5e-5f, -1e-6f};
    int8_t q[3];
    assert_near(golden_q8(x, 3, q), 1e-4 / 127.0, 1e-13);
    assert_int_equal(q[0], 0);
    assert_in_range(q[1], 63, 64);
    assert_int_equal(q[2], -1);
}

static void test_round_is_ties_to_even(void **state)
{
    (void)state;
    const float x[4] = {1.00390625f, 1.01171875f, -1.00390625f, 1.00390637f};
    const uint16_t expected[4] = {0x3f80, 0x3f82, 0xbf80, 0x3f81};
    uint16_t y[4];
    float back[4];
    golden_round(x, 4, y);
    assert_memory_equal(y, expected, sizeof y);
    golden_widen(y, 4, back);
    assert_true(back[1] == 1.015625f && back[2] == -1.0f);
}

/* 2^24 + 1 + 1: an FP32 accumulator would lose both ones. */
static void test_bf16_sum_is_rounded_once(void **state)
{
    (void)state;
    const uint16_t one = num_bf16_from_f32(1.0f), large = num_bf16_from_f32(4096.0f);
    const uint16_t x[3] = {large, one, one}, w[3] = {large, one, one};
    float y;
    golden_matmul_bf16(x, w, 1, 3, 1, &y);
    assert_true(y == 16777218.0f);
}

/* 2^24 and 65535 ones: mean 256.99998, where an FP32 accumulator would keep 256. */
static void test_rms_sum_is_rounded_once(void **state)
{
    (void)state;
    enum { N = 65536 };
    static float x[N];
    x[0] = 4096.0f;
    for (int i = 1; i < N; i++) {
        x[i] = 1.0f;
    }
    golden_rms(x, N, 0.0f);
    assert_near(x[1], 0.06237829, 1e-8);
    assert_near(x[0], 4096.0 * 0.06237829, 1e-4);
}

static void test_i8_products_are_exact(void **state)
{
    (void)state;
    enum { M = 18, K = 129, N = 259, STRIDE = 300 };
    static int8_t x[M * K], w[K * STRIDE];
    static int32_t y[M * N];
    const rng r = {.seed = 3, .stream = 1};
    for (int i = 0; i < M * K; i++) {
        x[i] = i < K ? -128 : (int8_t)((int)rng_below(&r, (uint64_t)i, 256) - 128);
    }
    for (int i = 0; i < K * STRIDE; i++) {
        w[i] = i % STRIDE == 0 ? -128 : (int8_t)((int)rng_below(&r, (uint64_t)(i + M * K), 256) - 128);
    }
    golden_matmul_i8(x, w, STRIDE, M, K, N, y);
    assert_int_equal(y[0], 128 * 128 * K);
    for (int t = 0; t < M; t++) {
        for (int c = 0; c < N; c++) {
            int64_t sum = 0;
            for (int k = 0; k < K; k++) {
                sum += (int64_t)x[t * K + k] * w[k * STRIDE + c];
            }
            assert_int_equal(y[t * N + c], sum);
        }
    }
}

/* Shapes with a remainder in every blocked direction. */
static void test_transposed_product(void **state)
{
    (void)state;
    enum { M = 17, K = 35, N = 259 };
    static uint16_t x[M * K], w[K * N], transposed[N * K];
    static float y[M * N], y_transposed[M * N];
    for (int i = 0; i < M * K; i++) {
        x[i] = num_bf16_from_f32((float)(i * 37 % 101 - 50) / 16.0f);
    }
    for (int i = 0; i < K; i++) {
        for (int c = 0; c < N; c++) {
            w[i * N + c] = transposed[c * K + i] = num_bf16_from_f32((float)((i * 53 + c * 29) % 97 - 48) / 8.0f);
        }
    }
    golden_matmul_bf16(x, w, M, K, N, y);
    golden_matmul_bf16_transposed(x, transposed, M, K, N, y_transposed);
    assert_memory_equal(y, y_transposed, sizeof y);
    double last = 0.0;
    for (int i = 0; i < K; i++) {
        last += (double)num_f32_from_bf16(x[(M - 1) * K + i]) * num_f32_from_bf16(w[i * N + N - 1]);
    }
    assert_true(y[M * N - 1] == (float)last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_q8_rounds_ties_to_even),   cmocka_unit_test(test_q8_factor_is_reciprocal_times_127),
        cmocka_unit_test(test_q8_floor_of_amax),         cmocka_unit_test(test_round_is_ties_to_even),
        cmocka_unit_test(test_bf16_sum_is_rounded_once), cmocka_unit_test(test_rms_sum_is_rounded_once),
        cmocka_unit_test(test_i8_products_are_exact),    cmocka_unit_test(test_transposed_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
