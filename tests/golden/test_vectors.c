/* Every vector file of the reference implementation: the golden's outputs agree by the rules of SPEC 7, and bit for bit but for
 * the few elements of SPEC 10. */
#include "golden/support.h"

#include <stdio.h>

#include "dsv4/safetensors.h"
#include "tensor/compare.h"

typedef struct expectation {
    const char *kernel, *output;
    cmp_rule rule;
    int64_t max_mismatches; /* elements of a file that may differ in a bit */
} expectation;

#define RATIO(a, r, b)                                             \
    {                                                              \
        .kind = CMP_RATIO, .atol = (a), .rtol = (r), .budget = (b) \
    }

static const expectation expectations[] = {
    {"rmsnorm", "x_normed", RATIO(1e-4, 1.0 / 128, 0.005), 0},    {"qkv_proj_rope", "q", RATIO(1e-4, 1.0 / 128, 0.005), 2},
    {"qkv_proj_rope", "kv", RATIO(1e-4, 1.0 / 128, 0.005), 0},    {"qkv_proj_rope", "qr", RATIO(1.0, 0.0, 0.0), 0},
    {"qkv_proj_rope", "qr_scale", RATIO(2.5e-5, 5e-3, 0.005), 8}, {"rope_tables", "freqs_cos", RATIO(0.0, 1.0 / 128, 0.0), 0},
    {"rope_tables", "freqs_sin", RATIO(0.0, 1.0 / 128, 0.0), 0},
};

static const expectation *find_expectation(const char *kernel, const char *output)
{
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        if (strcmp(expectations[i].kernel, kernel) == 0 && strcmp(expectations[i].output, output) == 0) {
            return &expectations[i];
        }
    }
    fail_msg("no expectation for %s of %s", output, kernel);
    return NULL;
}

static void check_output(const char *kernel, const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected)
{
    dsv4_error err = {0};
    cmp_result result;
    const expectation *e = find_expectation(kernel, name);
    require_ok(cmp_tensors(name, actual, expected, &e->rule, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s: %lld of %lld elements over tolerance", name, (long long)result.n_bad, (long long)result.n);
    }
    const int64_t mismatches = count_bit_mismatches(actual, expected);
    print_message("  %s: %lld of %lld elements differ in a bit\n", name, (long long)mismatches, (long long)result.n);
    assert_in_range(mismatches, 0, e->max_mismatches);
}

static void test_vector_file(void **state)
{
    char path[4096];
    dsv4_error err = {0};
    dsv4_safetensors *st = NULL;
    dsv4_tensor_list in = {0}, expected = {0}, actual = {0};
    dsv4_config config;
    snprintf(path, sizeof path, "%s/%s.safetensors", TEST_VECTORS, (const char *)*state);
    require_ok(dsv4_safetensors_open(path, &st, &err), &err);
    const char *config_text = dsv4_safetensors_metadata(st, "config");
    assert_non_null(config_text);
    require_ok(dsv4_config_parse(path, config_text, strlen(config_text), &config, &err), &err);
    require_ok(dsv4_safetensors_load(st, "in.", &in, &err), &err);
    require_ok(dsv4_safetensors_load(st, "out.", &expected, &err), &err);

    const char *kernel = dsv4_safetensors_metadata(st, "kernel");
    run_golden(kernel, &config, &in, &actual);
    assert_int_equal(actual.n, expected.n);
    for (size_t i = 0; i < expected.n; i++) {
        const dsv4_tensor got = get_tensor(&actual, expected.items[i].name);
        check_output(kernel, expected.items[i].name, &got, &expected.items[i].tensor);
    }
    dsv4_tensor_list_deinit(&actual);
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&in);
    dsv4_safetensors_close(st);
}

#define VECTOR(name)                                       \
    {                                                      \
#name, test_vector_file, NULL, NULL, (void *)#name \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(rmsnorm_dec),
        VECTOR(rmsnorm_pre),
        VECTOR(qkv_proj_rope_dec),
        VECTOR(qkv_proj_rope_pre),
        VECTOR(rope_tables_tiny_ratio0),
        VECTOR(rope_tables_tiny_ratio4),
        VECTOR(rope_tables_flash_ratio0),
        VECTOR(rope_tables_flash_ratio4),
        VECTOR(rope_tables_pro_ratio0),
        VECTOR(rope_tables_pro_ratio4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
