/* The references of attention against the reference implementation's own results: by the rules of SPEC 7, and nearly bit for
 * bit. */
#include "golden/support.h"

#include <stdio.h>

#include "tensor/compare.h"
#include "vector_file.h"

typedef struct attention_rule {
    const char *kernel, *output;
    cmp_rule rule;
    int64_t max_mismatches; /* elements of a file that may differ in a bit */
} attention_rule;

/* clang-format off */
#define RATIO(r) {.kind = CMP_RATIO, .atol = 1e-4, .rtol = (r), .budget = 0.005}
#define RELDIFF(thd, pct, limit) {.kind = CMP_RELDIFF, .atol = (thd), .budget = (pct), .hard = (limit)}
/* clang-format on */

static const attention_rule rules[] = {
    {"decode_sparse_attn", "attn_out", RATIO(1.0 / 128), 2},
    {"decode_sparse_attn_hca", "attn_out", RATIO(1.0 / 128), 2},
    {"decode_sparse_attn_swa", "attn_out", RATIO(1.0 / 128), 2},
    {"prefill_sparse_attn", "attn_out", RATIO(1.0 / 128), 2},
    {"decode_attention_swa", "x_out", RELDIFF(3e-3, 0.008, 1.0), 0},
    {"decode_attention_swa", "kv_cache", RATIO(1.0 / 128), 0},
    {"decode_attention_hca", "x_out", RELDIFF(3e-3, 0.008, 1.0), 1},
    {"decode_attention_hca", "kv_cache", RATIO(1.0 / 128), 0},
    {"decode_attention_hca", "cmp_kv", RATIO(1.0 / 128), 0},
    {"decode_attention_csa", "x_out", RELDIFF(3e-3, 0.008, 1.0), 0},
    {"decode_attention_csa", "kv_cache", RATIO(1.0 / 128), 0},
    {"decode_attention_csa", "cmp_kv", RATIO(1.0 / 128), 0},
    {"decode_attention_csa", "idx_kv_cache", RATIO(1.0 / 128), 0},
    {"prefill_attention_swa", "x_out", RELDIFF(3e-3, 0.005, 1.0), 0},
    {"prefill_attention_swa", "kv_cache", RATIO(1e-2), 0},
    {"prefill_attention_hca", "x_out", RELDIFF(5e-3, 0.005, 1.0), 4},
    {"prefill_attention_hca", "kv_cache", RATIO(1.0 / 128), 0},
    {"prefill_attention_hca", "cmp_kv", RATIO(1.0 / 128), 0},
    {"prefill_attention_csa", "x_out", RELDIFF(5e-3, 0.005, 1.0), 0},
    {"prefill_attention_csa", "kv_cache", RATIO(1.0 / 128), 0},
    {"prefill_attention_csa", "cmp_kv", RATIO(1.0 / 128), 0},
    {"prefill_attention_csa", "idx_kv_cache", RATIO(1.0 / 128), 0},
};

static const attention_rule *find_rule(const char *kernel, const char *output)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i].kernel, kernel) == 0 && strcmp(rules[i].output, output) == 0) {
            return &rules[i];
        }
    }
    fail_msg("no rule for %s of %s", output, kernel);
    return NULL;
}

static void check_output(const char *kernel, const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected)
{
    dsv4_error err = {0};
    cmp_result result;
    const attention_rule *e = find_rule(kernel, name);
    require_ok(cmp_tensors(name, actual, expected, &e->rule, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s: %lld of %lld elements over tolerance", name, (long long)result.n_bad, (long long)result.n);
    }
    const int64_t mismatches = count_bit_mismatches(actual, expected);
    print_message("  %s: %lld of %lld elements differ in a bit\n", name, (long long)mismatches, (long long)result.n);
    assert_in_range(mismatches, 0, e->max_mismatches);
}

/* x_out of a prefill counts for its valid tokens alone. */
static dsv4_tensor compared_part(const dsv4_tensor_list *in, const char *name, const dsv4_tensor *t)
{
    const dsv4_tensor *num_tokens = dsv4_tensor_list_find(in, "num_tokens");
    if (num_tokens == NULL || strcmp(name, "x_out") != 0) {
        return *t;
    }
    return rows_of(t, 0, *(const int32_t *)num_tokens->data);
}

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    dsv4_tensor_list actual = {0};
    run_golden_as(v.kernel, &v.config, DSV4_REFERENCE, &v.in, &actual);
    for (size_t i = 0; i < v.expected.n; i++) {
        const char *name = v.expected.items[i].name;
        const dsv4_tensor got = get_tensor(&actual, name);
        const dsv4_tensor a = compared_part(&v.in, name, &got), e = compared_part(&v.in, name, &v.expected.items[i].tensor);
        check_output(v.kernel, name, &a, &e);
    }
    dsv4_tensor_list_deinit(&actual);
    vector_file_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(decode_sparse_attn_csa_fixture), VECTOR(decode_sparse_attn_csa_stress),    VECTOR(decode_sparse_attn_hca_stress),
        VECTOR(decode_sparse_attn_swa_stress),  VECTOR(prefill_sparse_attn_stress),       VECTOR(decode_attention_swa),
        VECTOR(decode_attention_hca_pos126),    VECTOR(decode_attention_csa_pos10_2_3_4), VECTOR(prefill_attention_swa_pos16_n13),
        VECTOR(prefill_attention_hca_pos112),   VECTOR(prefill_attention_csa_pos32_n14),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
