/* Every operator against its reference: presets and dimensions that no preset has, whole and odd numbers of tokens, both modes,
 * and the vectors of the reference implementation. */
#include "ops/pool.h"

#include <math.h>
#include <stdio.h>

#include "base/numbers.h"
#include "golden/golden.h"
#include "vector_file.h"

static const dsv4_mode modes[] = {DSV4_DECODE, DSV4_PREFILL};

static dsv4_tensor_list run_golden(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    const golden *g = golden_find(dsv4_op_name(op));
    assert_non_null(g);
    require_ok(g->run(config, &(dsv4_numerics){0}, in, &out, NULL, &err), &err);
    return out;
}

/* Both sides round the same formula, so they differ by the order of FP32 sums alone: few rounded elements differ in a bit, and
 * no scale by more than some tens of ulps, in a row of two values that both nearly cancel. A systematic error that the operator's
 * own rule lets pass (every qr may be off by one) shows here. */
static void check_closely(const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected)
{
    const int64_t n = dsv4_tensor_count(actual);
    if (actual->dtype != DSV4_F32) {
        const int64_t n_different = count_bit_mismatches(actual, expected);
        if (n_different > n / 100 + 1) {
            fail_msg("%s: %lld of %lld elements differ in a bit", name, (long long)n_different, (long long)n);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const double a = dsv4_tensor_get(actual, i), e = dsv4_tensor_get(expected, i);
        if (!(fabs(a - e) <= 1e-5 * fabs(e))) {
            fail_msg("%s: element %lld is %.9g, expected %.9g", name, (long long)i, a, e);
        }
    }
}

/* A sum that lies on the edge of an INT8 step may round either way, and then a tenth of its row of q differs in a bit: such rows,
 * one in 64 at most and one more, say nothing of q. They are made equal. */
static void pass_over_rows_on_an_edge(const dsv4_tensor_list *actual, const dsv4_tensor_list *expected)
{
    const dsv4_tensor qr = get_tensor(actual, "qr"), q = get_tensor(actual, "q");
    int64_t n_passed = 0;
    for (int64_t t = 0; t < qr.shape[0]; t++) {
        const dsv4_tensor got = rows_of(qr, t, 1), want = rows_of(get_tensor(expected, "qr"), t, 1), row = rows_of(q, t, 1);
        if (count_bit_mismatches(&got, &want) == 1) {
            memcpy(row.data, rows_of(get_tensor(expected, "q"), t, 1).data, dsv4_tensor_bytes(&row));
            n_passed++;
        }
    }
    assert_in_range(n_passed, 0, qr.shape[0] / 64 + 1);
}

/* The outputs in actual agree with the first rows of those in expected, by the operator's own rules. */
static void compare_outputs(const dsv4_op *op, const dsv4_tensor_list *actual, const dsv4_tensor_list *expected, const char *what)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        if (!op_is_output(row)) {
            continue;
        }
        const dsv4_tensor a = get_tensor(actual, row->name), e = rows_of(get_tensor(expected, row->name), 0, a.shape[0]);
        dsv4_error err = {0};
        cmp_result result;
        require_ok(cmp_tensors(row->name, &a, &e, &row->rule, &result, &err), &err);
        if (!result.pass) {
            fail_msg("%s, %s: %lld of %lld elements of %s over tolerance, the worst is %.9g, expected %.9g", op->name, what,
                     (long long)result.n_bad, (long long)result.n, row->name, result.worst_actual, result.worst_expected);
        }
        check_closely(row->name, &a, &e);
    }
}

/* Both modes at each number of tokens; the golden runs once, for the largest. Ends with T = 0. */
static void check_op(const char *name, const dsv4_config *config, int64_t max_T, const int64_t *T)
{
    const dsv4_op *op = find_op(name);
    dsv4_tensor_list in = draw_inputs(op, config, max_T, 0), expected = run_golden(op, config, &in);
    for (; *T > 0; T++) {
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            char what[96];
            snprintf(what, sizeof what, "D=%lld T=%lld mode %d", (long long)config->hidden_size, (long long)*T, modes[m]);
            sealed s = run_rows(op, config, &in, 0, *T, (dsv4_op_options){.mode = modes[m]}, pool);
            if (strcmp(name, "qkv_proj_rope") == 0) {
                pass_over_rows_on_an_edge(&s.io, &expected);
            }
            compare_outputs(op, &s.io, &expected, what);
            sealed_deinit(&s);
        }
    }
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&in);
}

static void check_rms_and_qkv(const dsv4_config *config, int64_t max_T, const int64_t *T)
{
    check_op("rmsnorm", config, max_T, T);
    check_op("qkv_proj_rope", config, max_T, T);
}

static void test_flash(void **state)
{
    const dsv4_config config = preset("flash");
    (void)state;
    if (SANITIZED) {
        check_rms_and_qkv(&config, 3, (int64_t[]){3, 0});
        return;
    }
    check_rms_and_qkv(&config, 129, (int64_t[]){1, 3, 8, 13, 128, 129, 0});
}

static void test_pro(void **state)
{
    const dsv4_config config = preset("pro");
    (void)state;
    if (SANITIZED) {
        check_rms_and_qkv(&config, 1, (int64_t[]){1, 0});
        return;
    }
    check_rms_and_qkv(&config, 128, (int64_t[]){8, 128, 0});
}

static void test_tiny(void **state)
{
    const dsv4_config config = preset("tiny");
    (void)state;
    check_rms_and_qkv(&config, 129, (int64_t[]){1, 3, 8, 13, 128, 129, 0});
}

/* Extents beside multiples of the chunk, the panel, the vector and the group of four; one head; a head that is all rotated. */
static void test_strange_dims(void **state)
{
    const dsv4_config models[] = {
        model(100, 72, 3, 40, 6),   model(513, 515, 2, 514, 2),    model(1025, 33, 1, 2, 2),
        model(1, 1, 1, 2, 2),       model(511, 512, 5, 6, 6),      model(2047, 1537, 7, 34, 4),
        model(31, 1023, 2, 33, 32), model(1536, 2, 3, 1026, 1026), model(4095, 129, 1, 513, 64),
    };
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        check_rms_and_qkv(&models[i], 33, (int64_t[]){1, 3, 13, 33, 0});
    }
    check_rms_and_qkv(&models[0], 129, (int64_t[]){129, 0});
    check_rms_and_qkv(&models[1], 129, (int64_t[]){129, 0});
}

/* ---- rope tables -------------------------------------------------------------------------------------------------------- */

static void check_tables(const dsv4_config *config, int64_t n_rows, int64_t compress_ratio)
{
    const dsv4_op *op = find_op("rope_tables");
    char what[64];
    dsv4_tensor_list in = draw_inputs(op, config, n_rows, compress_ratio), expected = run_golden(op, config, &in);
    snprintf(what, sizeof what, "R=%lld N=%lld ratio %lld", (long long)config->qk_rope_head_dim, (long long)n_rows,
             (long long)compress_ratio);
    sealed s = run_rows(op, config, &in, 0, 0, (dsv4_op_options){.mode = DSV4_PREFILL}, pool);
    compare_outputs(op, &s.io, &expected, what);
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&in);
}

static void test_rope_tables(void **state)
{
    const int64_t ratios[] = {0, 4, 128}, rows[] = {1, 63, 65, 1000};
    dsv4_config configs[] = {preset("flash"), preset("tiny"), model(8, 8, 1, 2, 2), model(8, 8, 1, 514, 514), preset("tiny")};
    (void)state;
    configs[4].original_max_position_embeddings = 0; /* no YaRN even with compression */
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++) {
        for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++) {
            for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
                check_tables(&configs[c], rows[n], ratios[r]);
            }
        }
    }
    check_tables(&configs[0], SANITIZED ? 1025 : 70001, 4); /* beyond the original context */
}

/* ---- exact products ----------------------------------------------------------------------------------------------------- */

/* q_lora_rank 65536 with every qr at 127: the largest INT32 sums, 127*127*65536 and -127*128*65536, of which only the ratio is
 * left in q. */
static void test_largest_int8_sums(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = model(1, 65536, 1, 2, 2);
    dsv4_tensor_list in = draw_inputs(op, &config, 1, 0);
    uint16_t *x = get_tensor(&in, "x").data, *wq_a = get_tensor(&in, "wq_a").data, *gamma = get_tensor(&in, "gamma_cq").data;
    uint16_t *cos = get_tensor(&in, "rope_cos").data, *sin = get_tensor(&in, "rope_sin").data;
    int8_t *wq_b = get_tensor(&in, "wq_b").data;
    float *scale = get_tensor(&in, "wq_b_scale").data;
    (void)state;
    x[0] = cos[0] = num_bf16_from_f32(1);
    sin[0] = 0;
    scale[0] = scale[1] = 1;
    for (int i = 0; i < 65536; i++) {
        wq_a[i] = gamma[i] = num_bf16_from_f32(1);
        wq_b[2 * i] = 127;
        wq_b[2 * i + 1] = -128;
    }
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            print_message("  skipped: %s, which this machine lacks\n", (*uk)->isa);
            continue;
        }
        sealed s = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){.isa = (*uk)->isa}, pool);
        const int8_t *qr = get_tensor(&s.io, "qr").data;
        const uint16_t *q = get_tensor(&s.io, "q").data;
        assert_int_equal(qr[0], 127);
        assert_int_equal(qr[65535], 127);
        assert_int_equal(q[0], num_bf16_from_f64(127 / 127.500980388));
        assert_int_equal(q[1], num_bf16_from_f64(-128 / 127.500980388));
        sealed_deinit(&s);
    }
    dsv4_tensor_list_deinit(&in);
}

/* ---- vectors ------------------------------------------------------------------------------------------------------------ */

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        sealed s = run_rows(find_op(v.kernel), &v.config, &v.in, 0, 0, (dsv4_op_options){.mode = modes[m]}, pool);
        assert_int_equal(s.io.n, v.in.n + v.expected.n);
        compare_outputs(s.op, &s.io, &v.expected, *state);
        sealed_deinit(&s);
    }
    vector_file_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flash),
        cmocka_unit_test(test_pro),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_strange_dims),
        cmocka_unit_test(test_rope_tables),
        cmocka_unit_test(test_largest_int8_sums),
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
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
