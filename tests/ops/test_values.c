/* Values at the edges: zero rows, equal rows, denormals, overflow to infinity, rows that are not finite beside rows that are. */
#include "ops/pool.h"

#include <math.h>

#include "base/numbers.h"
#include "golden/golden.h"

enum { T = 7 };

/* Extents of more than one chunk; qkv_proj_rope shares every sum over k. */
static dsv4_config odd_model(void)
{
    return model(1030, 1100, 4, 96, 10);
}

static const char *const split[] = {"k_split=3"};
static const dsv4_op_options qkv_options = {.sets = split, .n_sets = 1};

static void fill_bf16(dsv4_tensor t, uint16_t bits)
{
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        ((uint16_t *)t.data)[i] = bits;
    }
}

static void assert_all_zero(dsv4_tensor t)
{
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        assert_true(dsv4_tensor_get(&t, i) == 0);
    }
}

/* The outputs have the bits of the reference's: where no sum can round, the order does not matter. */
static void assert_golden_bits(const sealed *s, const dsv4_config *config)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    require_ok(golden_find(dsv4_op_name(s->op))->run(config, &(dsv4_numerics){0}, &s->io, &out, NULL, &err), &err);
    for (size_t i = 0; i < out.n; i++) {
        const dsv4_tensor got = get_tensor(&s->io, out.items[i].name);
        if (count_bit_mismatches(&got, &out.items[i].tensor) != 0) {
            fail_msg("%s: %s differs", dsv4_op_name(s->op), out.items[i].name);
        }
    }
    dsv4_tensor_list_deinit(&out);
}

/* ---- zeros -------------------------------------------------------------------------------------------------------------- */

static void test_zero_rows(void **state)
{
    const dsv4_op *rms = find_op("rmsnorm"), *qkv = find_op("qkv_proj_rope");
    const dsv4_config config = odd_model();
    dsv4_tensor_list rms_in = draw_inputs(rms, &config, T, 0), qkv_in = draw_inputs(qkv, &config, T, 0);
    (void)state;
    fill_bf16(rows_of(get_tensor(&rms_in, "x"), 2, 2), 0);
    fill_bf16(rows_of(get_tensor(&qkv_in, "x"), 2, 2), 0);

    sealed normed = run_rows(rms, &config, &rms_in, 0, 0, (dsv4_op_options){0}, pool);
    assert_all_zero(rows_of(get_tensor(&normed.io, "x_normed"), 2, 2));
    sealed projected = run_rows(qkv, &config, &qkv_in, 0, 0, qkv_options, pool);
    assert_all_zero(rows_of(get_tensor(&projected.io, "qr"), 2, 2));
    assert_all_zero(rows_of(get_tensor(&projected.io, "q"), 2, 2));
    assert_all_zero(rows_of(get_tensor(&projected.io, "kv"), 2, 2));
    const float *scale = get_tensor(&projected.io, "qr_scale").data;
    assert_true(scale[2] == 1 / (1 / 1e-4f * 127.0f)); /* 1e-4/127 as SPEC 0.3 evaluates it */
    assert_true(fabs(scale[2] - 1e-4 / 127) <= 2e-7 * scale[2]);
    assert_true(scale[2] == scale[3] && scale[1] > scale[2] && scale[4] > scale[2]);

    sealed_deinit(&projected);
    sealed_deinit(&normed);
    dsv4_tensor_list_deinit(&qkv_in);
    dsv4_tensor_list_deinit(&rms_in);
}

/* Weights of zero leave nothing to normalise, in every head. */
static void test_zero_weights(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = odd_model();
    dsv4_tensor_list in = draw_inputs(op, &config, T, 0);
    const dsv4_tensor wq_b = get_tensor(&in, "wq_b");
    (void)state;
    memset(wq_b.data, 0, dsv4_tensor_bytes(&wq_b));
    fill_bf16(get_tensor(&in, "wkv"), 0x8000); /* -0 */
    sealed s = run_rows(op, &config, &in, 0, 0, qkv_options, pool);
    assert_all_zero(get_tensor(&s.io, "q"));
    assert_all_zero(get_tensor(&s.io, "kv"));
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

/* ---- equal rows --------------------------------------------------------------------------------------------------------- */

static void test_equal_rows(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = odd_model();
    dsv4_tensor_list in = draw_inputs(op, &config, T, 0);
    (void)state;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (!op_is_output(&op->tensors[i]) && is_per_token(&op->tensors[i])) {
            const dsv4_tensor t = get_tensor(&in, op->tensors[i].name), row0 = rows_of(t, 0, 1);
            for (int64_t row = 1; row < T; row++) {
                memcpy(rows_of(t, row, 1).data, t.data, dsv4_tensor_bytes(&row0));
            }
        }
    }
    sealed all = run_rows(op, &config, &in, 0, 0, qkv_options, pool);
    for (int64_t row = 0; row < T; row++) {
        sealed one = run_rows(op, &config, &in, 0, 1, (dsv4_op_options){0}, pool);
        assert_same_rows(&one, &all, row, "one of equal rows");
        sealed_deinit(&one);
    }
    sealed_deinit(&all);
    dsv4_tensor_list_deinit(&in);
}

/* ---- denormals ---------------------------------------------------------------------------------------------------------- */

/* Of RMS norm the squares vanish, inv is 1/sqrt(eps): the result is exact, unless some worker flushes denormals. In a product of
 * BF16 values denormals count as zeros (kernels.h), and nowhere behind it. */
static void test_denormal_rows(void **state)
{
    const dsv4_op *rms = find_op("rmsnorm"), *qkv = find_op("qkv_proj_rope");
    const dsv4_config config = odd_model();
    dsv4_tensor_list rms_in = draw_inputs(rms, &config, T, 0), qkv_in = draw_inputs(qkv, &config, T, 0);
    const dsv4_tensor x = get_tensor(&rms_in, "x");
    (void)state;
    for (int64_t i = 0; i < dsv4_tensor_count(&x); i++) {
        ((uint16_t *)x.data)[i] = (uint16_t)(1 + i % 127); /* positive denormals of BF16 */
    }
    fill_bf16(get_tensor(&qkv_in, "x"), num_bf16_from_f32(1));
    fill_bf16(get_tensor(&qkv_in, "wq_a"), 3);
    fill_bf16(get_tensor(&qkv_in, "wkv"), 5);

    sealed normed = run_rows(rms, &config, &rms_in, 0, 0, (dsv4_op_options){0}, pool);
    assert_golden_bits(&normed, &config);
    const dsv4_tensor x_normed = get_tensor(&normed.io, "x_normed");
    for (int64_t i = 0; i < dsv4_tensor_count(&x_normed); i++) {
        assert_true(dsv4_tensor_get(&x_normed, i) != 0);
    }
    sealed projected = run_rows(qkv, &config, &qkv_in, 0, 0, qkv_options, pool);
    assert_all_zero(get_tensor(&projected.io, "qr"));
    assert_all_zero(get_tensor(&projected.io, "kv"));

    sealed_deinit(&projected);
    sealed_deinit(&normed);
    dsv4_tensor_list_deinit(&qkv_in);
    dsv4_tensor_list_deinit(&rms_in);
}

/* ---- overflow ----------------------------------------------------------------------------------------------------------- */

static const uint16_t wild_bits[] = {
    0x7f61, /* 2.99e38 */
    0xff61, /* -2.99e38 */
    0x7f80, /* infinity */
    0xff80, /* -infinity */
    0x7fc0, /* NaN */
    0x5f80, /* 2^64: its square is infinite */
};

enum { N_WILD = sizeof wild_bits / sizeof *wild_bits, WILD_ROW = 3 };

/* The squares of a row overflow: inv is 0, and so is the row. */
static void test_rmsnorm_of_huge_rows(void **state)
{
    const dsv4_op *op = find_op("rmsnorm");
    const dsv4_config config = odd_model();
    dsv4_tensor_list in = draw_inputs(op, &config, T, 0);
    (void)state;
    fill_bf16(get_tensor(&in, "x"), 0x7f61);
    sealed s = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    assert_all_zero(get_tensor(&s.io, "x_normed"));
    assert_golden_bits(&s, &config);
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

/* One wild row changes no bit of the others, whatever becomes of it. */
static void check_wild_row(const char *name, uint16_t bits, dsv4_op_options options)
{
    const dsv4_op *op = find_op(name);
    const dsv4_config config = odd_model();
    dsv4_tensor_list in = draw_inputs(op, &config, T, 0);
    sealed tame = run_rows(op, &config, &in, 0, 0, options, pool);
    fill_bf16(rows_of(get_tensor(&in, "x"), WILD_ROW, 1), bits);
    sealed wild = run_rows(op, &config, &in, 0, 0, options, pool);
    for (size_t i = 0; i < op->n_tensors; i++) {
        const char *output = op->tensors[i].name;
        if (!op_is_output(&op->tensors[i])) {
            continue;
        }
        for (int64_t row = 0; row < T; row++) {
            const dsv4_tensor a = rows_of(get_tensor(&tame.io, output), row, 1), b = rows_of(get_tensor(&wild.io, output), row, 1);
            if (row != WILD_ROW && count_bit_mismatches(&a, &b) != 0) {
                fail_msg("%s: row %lld of %s changed", name, (long long)row, output);
            }
        }
    }
    sealed_deinit(&wild);
    sealed_deinit(&tame);
    dsv4_tensor_list_deinit(&in);
}

static void test_wild_row_leaves_others_alone(void **state)
{
    (void)state;
    for (int i = 0; i < N_WILD; i++) {
        check_wild_row("rmsnorm", wild_bits[i], (dsv4_op_options){.mode = DSV4_PREFILL});
        check_wild_row("qkv_proj_rope", wild_bits[i], qkv_options);
    }
}

static bool is_nan(const dsv4_tensor *t, int64_t i)
{
    return isnan(dsv4_tensor_get(t, i));
}

/* What overflows is the same in every instruction set and tiling: the same bits, but for the payload of a NaN. */
static void check_wild_everywhere(dsv4_tensor_list *in, const dsv4_config *config)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    sealed reference = run_rows(op, config, in, 0, 0, (dsv4_op_options){.isa = "scalar"}, pool);
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            print_message("  skipped: %s, this machine lacks %s\n", (*uk)->isa, uk_missing_feature(*uk));
            continue;
        }
        sealed s = run_rows(op, config, in, 0, 0, (dsv4_op_options){.isa = (*uk)->isa, .sets = split, .n_sets = 1}, pool);
        for (size_t i = 0; i < op->n_tensors; i++) {
            const dsv4_tensor a = get_tensor(&s.io, op->tensors[i].name), e = get_tensor(&reference.io, op->tensors[i].name);
            for (int64_t j = 0; j < dsv4_tensor_count(&a); j++) {
                const double got = dsv4_tensor_get(&a, j), want = dsv4_tensor_get(&e, j);
                if (is_nan(&a, j) != is_nan(&e, j) || (!is_nan(&a, j) && got != want)) {
                    fail_msg("%s: %s[%lld] is %g, expected %g", (*uk)->isa, op->tensors[i].name, (long long)j, got, want);
                }
            }
        }
        sealed_deinit(&s);
    }
    sealed_deinit(&reference);
}

static void test_wild_values_everywhere(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = odd_model();
    const char *const places[] = {"x", "wq_a", "wkv", "gamma_cq", "gamma_ckv", "rope_cos"};
    (void)state;
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        dsv4_tensor_list in = draw_inputs(op, &config, T, 0);
        const dsv4_tensor t = get_tensor(&in, places[p]);
        for (int64_t i = 0; i < dsv4_tensor_count(&t); i += 97) {
            ((uint16_t *)t.data)[i] = wild_bits[i / 97 % N_WILD];
        }
        check_wild_everywhere(&in, &config);
        dsv4_tensor_list_deinit(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_rows),
        cmocka_unit_test(test_zero_weights),
        cmocka_unit_test(test_equal_rows),
        cmocka_unit_test(test_denormal_rows),
        cmocka_unit_test(test_rmsnorm_of_huge_rows),
        cmocka_unit_test(test_wild_row_leaves_others_alone),
        cmocka_unit_test(test_wild_values_everywhere),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
