/* The attention layers against the vectors of the reference implementation. */
#include "ops/pool.h"

#include <stdio.h>

#include "base/numbers.h"
#include "vector_file.h"

/* ---- vectors ------------------------------------------------------------------------------------------------------------ */

/* Rows of x_out that are compared: the valid tokens of a prefill chunk. */
static dsv4_tensor valid_rows(const dsv4_tensor_list *in, const char *name, dsv4_tensor t)
{
    const dsv4_tensor *n = dsv4_tensor_list_find(in, "num_tokens");
    return n != NULL && strcmp(name, "x_out") == 0 ? rows_of(t, 0, (int64_t)dsv4_tensor_get(n, 0)) : t;
}

static void check_output(const op_tensor *row, const dsv4_tensor *actual, const dsv4_tensor *expected, const char *path)
{
    cmp_result result;
    dsv4_error err = {0};
    require_ok(cmp_tensors(row->name, actual, expected, &row->rule, &result, &err), &err);
    print_message("  %s: %lld of %lld bits differ, %lld bad (%lld allowed), worst %.3g: %.6g, expected %.6g\n", row->name,
                  (long long)count_bit_mismatches(actual, expected), (long long)result.n, (long long)result.n_bad,
                  (long long)result.n_allowed, result.worst, result.worst_actual, result.worst_expected);
    if (!result.pass) {
        fail_msg("%s: %s: %lld of %lld elements over tolerance", path, row->name, (long long)result.n_bad, (long long)result.n);
    }
}

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    const dsv4_op *op = find_op(v.kernel);
    sealed s = run_rows(op, &v.config, &v.in, 0, 0,
                        (dsv4_op_options){.mode = (dsv4_mode)op->mode, .numerics = {.compat = DSV4_REFERENCE}}, pool);
    for (size_t i = 0; i < op->n_tensors; i++) {
        const char *name = op->tensors[i].name;
        const dsv4_tensor *e = dsv4_tensor_list_find(&v.expected, name);
        if (op_is_output(&op->tensors[i]) && e != NULL) {
            const dsv4_tensor a = valid_rows(&v.in, name, get_tensor(&s.io, name)), wanted = valid_rows(&v.in, name, *e);
            check_output(&op->tensors[i], &a, &wanted, *state);
        }
    }
    sealed_deinit(&s);
    vector_file_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(decode_attention_swa),
        VECTOR(decode_attention_hca_pos126),
        VECTOR(decode_attention_csa_pos10_2_3_4),
        VECTOR(prefill_attention_swa_pos16_n13),
        VECTOR(prefill_attention_hca_pos112),
        VECTOR(prefill_attention_csa_pos32_n14),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
