/* Hyper-connections beyond the vector files: Sinkhorn, the direction of comb, rounding of ties. */
#include "golden/support.h"

#include "golden/parts.h"

static void test_sinkhorn_is_doubly_stochastic(void **state)
{
    (void)state;
    float c[25];
    for (int i = 0; i < 25; i++) {
        c[i] = 0.05f + (float)(i * i % 11);
    }
    golden_sinkhorn(c, 5, 200, 0.0f);
    for (int i = 0; i < 5; i++) {
        double row = 0.0, column = 0.0;
        for (int j = 0; j < 5; j++) {
            assert_true(c[5 * i + j] > 0.0f);
            row += c[5 * i + j];
            column += c[5 * j + i];
        }
        assert_near(row, 1.0, 1e-5);
        assert_near(column, 1.0, 1e-5);
    }
}

/* One normalisation is of columns alone: (1 3; 1 1) / column sums. */
static void test_sinkhorn_begins_with_columns(void **state)
{
    (void)state;
    float c[4] = {1.0f, 3.0f, 1.0f, 1.0f};
    golden_sinkhorn(c, 2, 1, 0.0f);
    assert_true(c[0] == 0.5f && c[1] == 0.75f && c[2] == 0.5f && c[3] == 0.25f);
    golden_sinkhorn(c, 2, 1, 1.0f);
    assert_true(c[0] == 0.25f && c[1] == 0.375f && c[2] == 0.25f && c[3] == 0.125f);
}

static dsv4_config small_config(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = 3;
    return config;
}

static void fill_bf16(const dsv4_tensor *t, const float *values)
{
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        ((uint16_t *)t->data)[i] = num_bf16_from_f32(values[i]);
    }
}

/* comb with a one at (source 2, destination 0) and the block's output in stream 1. */
static void test_hc_post_directions(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    const float residual[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, block[3] = {20, 21, 22};
    const float expected[12] = {7, 8, 9, 40, 42, 44, 0, 0, 0, 0, 0, 0};
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_tensor t = add_tensor(&in, "x", DSV4_BF16, 2, (int64_t[]){1, 3});
    fill_bf16(&t, block);
    t = add_tensor(&in, "residual", DSV4_BF16, 3, (int64_t[]){1, 4, 3});
    fill_bf16(&t, residual);
    ((float *)add_tensor(&in, "post", DSV4_F32, 2, (int64_t[]){1, 4}).data)[1] = 2.0f;
    ((float *)add_tensor(&in, "comb", DSV4_F32, 2, (int64_t[]){1, 16}).data)[4 * 2 + 0] = 1.0f;
    run_golden("hc_post", &config, &in, &out);
    const uint16_t *y = get_tensor(&out, "y").data;
    for (int i = 0; i < 12; i++) {
        assert_true(num_f32_from_bf16(y[i]) == expected[i]);
    }
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* With fn and base zero and hc_eps 0 every pre is 0.5, so the first element is 1 + 2^-8: a tie. */
static void check_tie(const char *op, const char *x_name, const char *y_name, dsv4_compat compat, uint16_t expected)
{
    dsv4_config config = small_config();
    config.hc_eps = 0.0;
    const bool head = strcmp(op, "hc_head") == 0;
    const float streams[12] = {2.0f, 0, 0, 0x1p-7f, 0, 0, 0, 0, 0, 0, 0, 0};
    const int64_t n_mix = head ? 4 : 24;
    dsv4_tensor_list in = {0}, out = {0};
    const dsv4_tensor x = add_tensor(&in, x_name, DSV4_BF16, 3, (int64_t[]){1, 4, 3});
    fill_bf16(&x, streams);
    add_tensor(&in, head ? "hc_head_fn" : "hc_fn", DSV4_F32, 2, (int64_t[]){n_mix, 12});
    add_tensor(&in, head ? "hc_head_scale" : "hc_scale", DSV4_F32, 1, (int64_t[]){head ? 1 : 3});
    add_tensor(&in, head ? "hc_head_base" : "hc_base", DSV4_F32, 1, &n_mix);
    run_golden_as(op, &config, compat, &in, &out);
    assert_int_equal(*(const uint16_t *)get_tensor(&out, y_name).data, expected);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

static void test_ties(void **state)
{
    (void)state;
    check_tie("hc_pre", "x", "x_mixed", DSV4_CORRECT, 0x3f80);
    check_tie("hc_pre", "x", "x_mixed", DSV4_REFERENCE, 0x3f81);
    check_tie("hc_head", "x_hc", "y", DSV4_CORRECT, 0x3f80);
    check_tie("hc_head", "x_hc", "y", DSV4_REFERENCE, 0x3f81);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sinkhorn_is_doubly_stochastic),
        cmocka_unit_test(test_sinkhorn_begins_with_columns),
        cmocka_unit_test(test_hc_post_directions),
        cmocka_unit_test(test_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
