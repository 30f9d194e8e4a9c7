/* The rmsnorm reference: values worked out by hand, and what must not change the result. */
#include "golden/support.h"

#include <math.h>

enum { T = 5, D = 100 };

static dsv4_config config_of_width(int64_t hidden_size)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = hidden_size;
    return config;
}

static void test_worked_example(void **state)
{
    (void)state;
    const dsv4_config config = config_of_width(2);
    dsv4_tensor_list in = {0}, out = {0};
    const dsv4_tensor x = add_tensor(&in, "x", DSV4_BF16, 2, (int64_t[]){2, 2});
    const dsv4_tensor norm_w = add_tensor(&in, "norm_w", DSV4_BF16, 1, (int64_t[]){2});
    const float xs[4] = {3.0f, 4.0f, 0.0f, 0.0f}, gammas[2] = {1.0f, -2.0f};
    for (int i = 0; i < 4; i++) {
        ((uint16_t *)x.data)[i] = num_bf16_from_f32(xs[i]);
    }
    for (int i = 0; i < 2; i++) {
        ((uint16_t *)norm_w.data)[i] = num_bf16_from_f32(gammas[i]);
    }
    run_golden("rmsnorm", &config, &in, &out);

    /* inv = sqrt(2 / (9 + 16)); a row of zeros stays zero. */
    const uint16_t *y = get_tensor(&out, "x_normed").data;
    assert_int_equal(y[0], num_bf16_from_f64(3.0 * sqrt(2.0) / 5.0));
    assert_int_equal(y[1], num_bf16_from_f64(-8.0 * sqrt(2.0) / 5.0));
    assert_true(num_f32_from_bf16(y[2]) == 0.0f && num_f32_from_bf16(y[3]) == 0.0f);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

static void test_against_real_arithmetic(void **state)
{
    (void)state;
    const dsv4_config config = config_of_width(D);
    dsv4_tensor_list in = {0}, out = {0};
    add_uniform(&in, "x", DSV4_BF16, 2, (int64_t[]){T, D}, -2.0, 1.0);
    add_uniform(&in, "norm_w", DSV4_BF16, 1, (int64_t[]){D}, 0.5, 1.5);
    run_golden("rmsnorm", &config, &in, &out);

    const dsv4_tensor x = get_tensor(&in, "x"), norm_w = get_tensor(&in, "norm_w"), y = get_tensor(&out, "x_normed");
    for (int t = 0; t < T; t++) {
        double sum = 0.0;
        for (int d = 0; d < D; d++) {
            sum += pow(dsv4_tensor_get(&x, t * D + d), 2.0);
        }
        for (int d = 0; d < D; d++) {
            const double exact = dsv4_tensor_get(&x, t * D + d) / sqrt(sum / D + 1e-6) * dsv4_tensor_get(&norm_w, d);
            assert_near(dsv4_tensor_get(&y, t * D + d), exact, fabs(exact) / 255.0);
        }
    }
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* Without eps the norm does not see the magnitude of x; powers of two change no mantissa. */
static void test_doubling_x_changes_nothing(void **state)
{
    (void)state;
    dsv4_config config = config_of_width(D);
    config.rms_norm_eps = 0.0;
    dsv4_tensor_list in = {0}, once = {0}, twice = {0};
    add_uniform(&in, "x", DSV4_BF16, 2, (int64_t[]){T, D}, -2.0, 1.0);
    add_uniform(&in, "norm_w", DSV4_BF16, 1, (int64_t[]){D}, 0.5, 1.5);
    run_golden("rmsnorm", &config, &in, &once);
    uint16_t *x = get_tensor(&in, "x").data;
    for (int i = 0; i < T * D; i++) {
        x[i] = num_bf16_from_f32(2.0f * num_f32_from_bf16(x[i]));
    }
    run_golden("rmsnorm", &config, &in, &twice);
    assert_same_bits(&once, &twice, "x_normed");
    dsv4_tensor_list_deinit(&twice);
    dsv4_tensor_list_deinit(&once);
    dsv4_tensor_list_deinit(&in);
}

static void test_a_row_alone_has_the_same_bits(void **state)
{
    (void)state;
    const dsv4_config config = config_of_width(D);
    dsv4_tensor_list in = {0}, all = {0};
    add_uniform(&in, "x", DSV4_BF16, 2, (int64_t[]){T, D}, -2.0, 1.0);
    add_uniform(&in, "norm_w", DSV4_BF16, 1, (int64_t[]){D}, 0.5, 1.5);
    run_golden("rmsnorm", &config, &in, &all);
    const dsv4_tensor x = get_tensor(&in, "x"), norm_w = get_tensor(&in, "norm_w"), y = get_tensor(&all, "x_normed");
    for (int t = 0; t < T; t++) {
        dsv4_tensor_list one_in = {0}, one_out = {0};
        const dsv4_tensor x_row = rows_of(&x, t, 1), y_row = rows_of(&y, t, 1);
        put_tensor(&one_in, "x", &x_row);
        put_tensor(&one_in, "norm_w", &norm_w);
        run_golden("rmsnorm", &config, &one_in, &one_out);
        const dsv4_tensor got = get_tensor(&one_out, "x_normed");
        assert_int_equal(count_bit_mismatches(&got, &y_row), 0);
        dsv4_tensor_list_deinit(&one_out);
        dsv4_tensor_list_deinit(&one_in);
    }
    dsv4_tensor_list_deinit(&all);
    dsv4_tensor_list_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worked_example),
        cmocka_unit_test(test_against_real_arithmetic),
        cmocka_unit_test(test_doubling_x_changes_nothing),
        cmocka_unit_test(test_a_row_alone_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
