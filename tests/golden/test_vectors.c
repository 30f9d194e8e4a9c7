/* Every vector file of the reference implementation: the golden's outputs agree by the rules of SPEC 7, and bit for bit but for
 * the few elements of SPEC 10. */
#include "golden/support.h"

#include <stdio.h>

#include "golden/expectations.h"
#include "vector_file.h"

static void check_output(const char *kernel, const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected)
{
    dsv4_error err = {0};
    cmp_result result;
    const expectation *e = find_expectation(kernel, name);
    if (e == NULL) {
        fail_msg("no expectation for %s of %s", name, kernel);
    }
    require_ok(cmp_tensors(name, actual, expected, &e->rule, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s: %lld of %lld elements over tolerance", name, (long long)result.n_bad, (long long)result.n);
    }
    const int64_t mismatches = count_bit_mismatches(actual, expected);
    print_message("  %s: %lld of %lld elements differ in a bit, by %.3g at most\n", name, (long long)mismatches,
                  (long long)result.n, result.worst);
    assert_in_range(mismatches, 0, e->max_mismatches);
    assert_true(result.worst <= e->max_difference);
}

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    dsv4_tensor_list actual = {0};
    run_golden_as(v.kernel, &v.config, DSV4_REFERENCE, &v.in, &actual);
    for (size_t i = 0; i < v.expected.n; i++) {
        const dsv4_tensor got = get_tensor(&actual, v.expected.items[i].name);
        check_output(v.kernel, v.expected.items[i].name, &got, &v.expected.items[i].tensor);
    }
    dsv4_tensor_list_deinit(&actual);
    vector_file_close(&v);
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
        VECTOR(decode_compressor_ratio128_pos254_long),
        VECTOR(decode_compressor_ratio128_pos7_10_126_127),
        VECTOR(decode_compressor_ratio4_pos0123),
        VECTOR(decode_compressor_ratio4_pos30_drop),
        VECTOR(decode_indexer_compressor_pos0123),
        VECTOR(decode_indexer_compressor_pos6),
        VECTOR(decode_indexer_compressor_pos7_drop),
        VECTOR(decode_indexer_pos0123),
        VECTOR(decode_indexer_pos34),
        VECTOR(hc_head_dec),
        VECTOR(hc_post_dec),
        VECTOR(hc_post_pre),
        VECTOR(hc_pre_dec),
        VECTOR(hc_pre_pre),
        VECTOR(prefill_compressor_ratio128_pos112),
        VECTOR(prefill_compressor_ratio128_pos120),
        VECTOR(prefill_compressor_ratio4_pos0),
        VECTOR(prefill_compressor_ratio4_pos5),
        VECTOR(prefill_indexer_compressor_pos0),
        VECTOR(prefill_indexer_compressor_pos1),
        VECTOR(prefill_indexer_compressor_pos127),
        VECTOR(prefill_indexer_compressor_pos128),
        VECTOR(prefill_indexer_compressor_pos2),
        VECTOR(prefill_indexer_compressor_pos3),
        VECTOR(prefill_indexer_compressor_pos4),
        VECTOR(prefill_indexer_compressor_pos5),
        VECTOR(prefill_indexer_compressor_pos63),
        VECTOR(prefill_indexer_compressor_pos64),
        VECTOR(prefill_indexer_compressor_pos6_n11),
        VECTOR(prefill_indexer_pos0),
        VECTOR(prefill_indexer_pos100),
        VECTOR(prefill_indexer_pos32),
        VECTOR(gate_hash),
        VECTOR(gate_score),
        VECTOR(gate_score_n5),
        VECTOR(expert_shared),
        VECTOR(expert_routed),
        VECTOR(dispatch_ep1),
        VECTOR(combine_ep1),
        VECTOR(moe_ep1_score),
        VECTOR(lm_head_tp2),
        VECTOR(mtp_projection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
