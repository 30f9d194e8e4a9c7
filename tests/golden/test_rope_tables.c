/* The rope_tables reference: the check values of SPEC 1.4 and the structure of the tables. */
#include "golden/support.h"

#include <math.h>

/* A table pair of n positions; the caller ends out. */
static void run_tables(const dsv4_config *config, int32_t compress_ratio, int32_t n, dsv4_tensor_list *out)
{
    dsv4_tensor_list in = {0};
    *(int32_t *)add_tensor(&in, "compress_ratio", DSV4_I32, 0, NULL).data = compress_ratio;
    *(int32_t *)add_tensor(&in, "max_seq_len", DSV4_I32, 0, NULL).data = n;
    run_golden("rope_tables", config, &in, out);
    dsv4_tensor_list_deinit(&in);
}

typedef struct check_value {
    const char *preset;
    int32_t compress_ratio;
    int j;
    double frequency;
} check_value;

/* Row 1 holds the cosines and sines of the frequencies themselves. */
static void test_published_frequencies(void **state)
{
    (void)state;
    const check_value checks[] = {
        {"flash", 0, 0, 1.0},          {"flash", 0, 1, 0.7498942},     {"flash", 0, 8, 0.1},
        {"flash", 0, 16, 0.01},        {"flash", 0, 31, 1.3335215e-4}, {"pro", 4, 1, 0.68765604},
        {"pro", 4, 8, 0.05},           {"pro", 4, 16, 2.2656249e-3},   {"pro", 4, 31, 5.6805294e-7},
        {"tiny", 0, 15, 1.7782794e-4}, {"tiny", 128, 8, 2.1093749e-3}, {"tiny", 128, 15, 8.260713e-7},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        const dsv4_config config = preset(checks[i].preset);
        dsv4_tensor_list out = {0};
        run_tables(&config, checks[i].compress_ratio, 2, &out);
        const dsv4_tensor cosines = get_tensor(&out, "freqs_cos"), sines = get_tensor(&out, "freqs_sin");
        const int64_t at = config.qk_rope_head_dim + checks[i].j;
        assert_int_equal(((const uint16_t *)cosines.data)[at], num_bf16_from_f64(cos(checks[i].frequency)));
        assert_int_equal(((const uint16_t *)sines.data)[at], num_bf16_from_f64(sin(checks[i].frequency)));
        dsv4_tensor_list_deinit(&out);
    }
}

static void test_structure(void **state)
{
    (void)state;
    enum { N = 300 };
    const dsv4_config config = preset("flash");
    const int64_t R = config.qk_rope_head_dim;
    dsv4_tensor_list out = {0};
    run_tables(&config, 4, N, &out);
    const dsv4_tensor cosines = get_tensor(&out, "freqs_cos"), sines = get_tensor(&out, "freqs_sin");
    assert_int_equal(cosines.n_dims, 2);
    assert_int_equal(cosines.shape[0], N);
    assert_int_equal(cosines.shape[1], R);
    for (int64_t p = 0; p < N; p++) {
        for (int64_t j = 0; j < R; j++) {
            const double c = dsv4_tensor_get(&cosines, p * R + j), s = dsv4_tensor_get(&sines, p * R + j);
            assert_near(c * c + s * s, 1.0, 1.0 / 128);
            assert_true(c == dsv4_tensor_get(&cosines, p * R + (j + R / 2) % R));
            assert_true(s == dsv4_tensor_get(&sines, p * R + (j + R / 2) % R));
            assert_true(p > 0 || (c == 1.0 && s == 0.0));
        }
    }
    dsv4_tensor_list_deinit(&out);
}

/* Pair 0 turns by exactly one radian a position in both profiles, so its angles are integers. */
static void test_integer_angles(void **state)
{
    (void)state;
    const dsv4_config config = preset("flash");
    const int64_t R = config.qk_rope_head_dim;
    for (int32_t ratio = 0; ratio <= 4; ratio += 4) {
        dsv4_tensor_list out = {0};
        run_tables(&config, ratio, 8192, &out);
        const uint16_t *cosines = get_tensor(&out, "freqs_cos").data, *sines = get_tensor(&out, "freqs_sin").data;
        for (int p = 0; p < 8192; p++) {
            assert_int_equal(cosines[p * R], num_bf16_from_f64(cos(p)));
            assert_int_equal(sines[p * R], num_bf16_from_f64(sin(p)));
        }
        dsv4_tensor_list_deinit(&out);
    }
}

static void test_ratios_4_and_128_share_a_table(void **state)
{
    (void)state;
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list r0 = {0}, r4 = {0}, r128 = {0};
    run_tables(&config, 0, 160, &r0);
    run_tables(&config, 4, 160, &r4);
    run_tables(&config, 128, 160, &r128);
    assert_same_bits(&r4, &r128, "freqs_cos");
    assert_same_bits(&r4, &r128, "freqs_sin");
    const dsv4_tensor sin0 = get_tensor(&r0, "freqs_sin"), sin4 = get_tensor(&r4, "freqs_sin");
    assert_in_range(count_bit_mismatches(&sin0, &sin4), 1000, INT64_MAX);
    dsv4_tensor_list_deinit(&r128);
    dsv4_tensor_list_deinit(&r4);
    dsv4_tensor_list_deinit(&r0);
}

/* original_max_position_embeddings = 0 leaves the compressed theta without YaRN. */
static void test_no_yarn_without_original_length(void **state)
{
    (void)state;
    dsv4_config plain = preset("flash"), swapped = preset("flash");
    plain.original_max_position_embeddings = 0;
    swapped.rope_theta = swapped.compress_rope_theta;
    dsv4_tensor_list compressed = {0}, window = {0};
    run_tables(&plain, 4, 64, &compressed);
    run_tables(&swapped, 0, 64, &window);
    assert_same_bits(&compressed, &window, "freqs_cos");
    assert_same_bits(&compressed, &window, "freqs_sin");
    dsv4_tensor_list_deinit(&window);
    dsv4_tensor_list_deinit(&compressed);
}

/* beta_fast = beta_slow at a whole number of dims makes lo = hi: the ramp becomes a step from the full to the divided frequency. */
static void test_equal_correction_dims(void **state)
{
    (void)state;
    dsv4_config config = preset("flash");
    config.compress_rope_theta = 1e4;
    config.beta_fast = config.beta_slow = (double)config.original_max_position_embeddings / (2.0 * 3.14159265358979323846);
    dsv4_tensor_list out = {0};
    run_tables(&config, 4, 2, &out);
    const uint16_t *sines = get_tensor(&out, "freqs_sin").data;
    const int64_t R = config.qk_rope_head_dim;
    assert_int_equal(sines[R], num_bf16_from_f64(sin(1.0)));
    assert_int_equal(sines[R + 8], num_bf16_from_f64(sin(0.1 / 16.0)));
    dsv4_tensor_list_deinit(&out);
}

/* A beta_slow far below one would end the ramp beyond the dims: it ends at R - 1 = 63. d(beta_fast) = 20.1 starts it at 20. */
static void test_ramp_ends_at_the_last_dim(void **state)
{
    (void)state;
    dsv4_config config = preset("flash");
    config.compress_rope_theta = 1e4;
    config.beta_slow = 1e-6;
    dsv4_tensor_list out = {0};
    run_tables(&config, 4, 2, &out);
    const uint16_t *sines = get_tensor(&out, "freqs_sin").data;
    const double ramp = (31.0 - 20.0) / (63.0 - 20.0), frequency = 1.3335215e-4;
    assert_int_equal(sines[config.qk_rope_head_dim + 31],
                     num_bf16_from_f64(sin(frequency / config.rope_factor * ramp + frequency * (1.0 - ramp))));
    dsv4_tensor_list_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_frequencies),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_integer_angles),
        cmocka_unit_test(test_ratios_4_and_128_share_a_table),
        cmocka_unit_test(test_no_yarn_without_original_length),
        cmocka_unit_test(test_equal_correction_dims),
        cmocka_unit_test(test_ramp_ends_at_the_last_dim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
