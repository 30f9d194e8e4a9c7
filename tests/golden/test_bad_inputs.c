/* What a reference says when a tensor or a field is not as it must be: one line that names it, and no output. */
#include "golden/support.h"

static void assert_refused(const char *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_status status,
                           const char *text)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    const golden *g = golden_find(op);
    assert_non_null(g);
    assert_int_equal(g->run(config, &(dsv4_numerics){0}, in, &out, NULL, &err), status);
    assert_int_equal(err.status, status);
    assert_string_equal(err.text, text);
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&out);
}

static void test_operators_by_name(void **state)
{
    (void)state;
    assert_string_equal(golden_find("rmsnorm")->op, "rmsnorm");
    assert_string_equal(golden_find("qkv_proj_rope")->op, "qkv_proj_rope");
    assert_string_equal(golden_find("rope_tables")->op, "rope_tables");
    assert_null(golden_find("rms"));
    assert_null(golden_find(""));
}

/* rmsnorm with tensors of these dtypes and shapes; an x of 0 dims leaves it out. */
static void refuse_rmsnorm(dsv4_dtype x_dtype, int x_dims, const int64_t *x_shape, int64_t norm_w_length, dsv4_status status,
                           const char *text)
{
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0};
    if (x_dims > 0) {
        add_tensor(&in, "x", x_dtype, x_dims, x_shape);
    }
    add_tensor(&in, "norm_w", DSV4_BF16, 1, &norm_w_length);
    assert_refused("rmsnorm", &config, &in, status, text);
    dsv4_tensor_list_deinit(&in);
}

static void test_messages(void **state)
{
    (void)state;
    const int64_t right[] = {8, 256}, narrow[] = {8, 255}, none[] = {0, 256}, deep[] = {1, 8, 256};
    refuse_rmsnorm(DSV4_BF16, 0, NULL, 256, DSV4_E_NOT_FOUND, "input x: missing, expected BF16 [T, 256]");
    refuse_rmsnorm(DSV4_F32, 2, right, 256, DSV4_E_SHAPE, "input x: got F32 [8, 256], expected BF16 [T, 256]");
    refuse_rmsnorm(DSV4_BF16, 2, narrow, 256, DSV4_E_SHAPE, "input x: got BF16 [8, 255], expected BF16 [T, 256]");
    refuse_rmsnorm(DSV4_BF16, 2, none, 256, DSV4_E_SHAPE, "input x: got BF16 [0, 256], expected BF16 [T, 256]");
    refuse_rmsnorm(DSV4_BF16, 3, deep, 256, DSV4_E_SHAPE, "input x: got BF16 [1, 8, 256], expected BF16 [T, 256]");
    refuse_rmsnorm(DSV4_BF16, 2, right, 255, DSV4_E_SHAPE, "input norm_w: got BF16 [255], expected BF16 [256]");
}

static void test_strided_input(void **state)
{
    (void)state;
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0}, wide = {0};
    dsv4_tensor x = add_tensor(&wide, "x", DSV4_BF16, 2, (int64_t[]){4, 300});
    x.shape[1] = 256;
    put_tensor(&in, "x", &x);
    add_tensor(&in, "norm_w", DSV4_BF16, 1, (int64_t[]){256});
    assert_refused("rmsnorm", &config, &in, DSV4_E_SHAPE,
                   "input x: has gaps between its elements, expected row-major without gaps");
    dsv4_tensor_list_deinit(&in);
    dsv4_tensor_list_deinit(&wide);
}

typedef struct qkv_input {
    const char *name;
    dsv4_dtype dtype;
    int n_dims;
    int64_t shape[2];
    const char *missing, *short_by_one;
} qkv_input;

/* Of the preset tiny, T = 3. The first dimension is the one cut short, or the second where the first is T. */
static const qkv_input qkv_inputs[] = {
    {"x", DSV4_BF16, 2, {3, 256}, "input x: missing, expected BF16 [T, 256]", "input x: got BF16 [3, 255], expected BF16 [T, 256]"},
    {"wq_a",
     DSV4_BF16,
     2,
     {256, 128},
     "input wq_a: missing, expected BF16 [256, 128]",
     "input wq_a: got BF16 [255, 128], expected BF16 [256, 128]"},
    {"wq_b",
     DSV4_I8,
     2,
     {128, 1024},
     "input wq_b: missing, expected I8 [128, 1024]",
     "input wq_b: got I8 [127, 1024], expected I8 [128, 1024]"},
    {"wq_b_scale",
     DSV4_F32,
     1,
     {1024},
     "input wq_b_scale: missing, expected F32 [1024]",
     "input wq_b_scale: got F32 [1023], expected F32 [1024]"},
    {"wkv",
     DSV4_BF16,
     2,
     {256, 128},
     "input wkv: missing, expected BF16 [256, 128]",
     "input wkv: got BF16 [255, 128], expected BF16 [256, 128]"},
    {"rope_cos",
     DSV4_BF16,
     2,
     {3, 32},
     "input rope_cos: missing, expected BF16 [3, 32]",
     "input rope_cos: got BF16 [3, 31], expected BF16 [3, 32]"},
    {"rope_sin",
     DSV4_BF16,
     2,
     {3, 32},
     "input rope_sin: missing, expected BF16 [3, 32]",
     "input rope_sin: got BF16 [3, 31], expected BF16 [3, 32]"},
    {"gamma_cq",
     DSV4_BF16,
     1,
     {128},
     "input gamma_cq: missing, expected BF16 [128]",
     "input gamma_cq: got BF16 [127], expected BF16 [128]"},
    {"gamma_ckv",
     DSV4_BF16,
     1,
     {128},
     "input gamma_ckv: missing, expected BF16 [128]",
     "input gamma_ckv: got BF16 [127], expected BF16 [128]"},
};

enum { N_QKV_INPUTS = sizeof qkv_inputs / sizeof qkv_inputs[0] };

/* Every input of qkv_proj_rope, input `broken` left out or one short. */
static void build_qkv(dsv4_tensor_list *in, int broken, bool leave_out)
{
    for (int i = 0; i < N_QKV_INPUTS; i++) {
        const qkv_input *t = &qkv_inputs[i];
        int64_t shape[2] = {t->shape[0], t->shape[1]};
        if (i == broken && leave_out) {
            continue;
        }
        if (i == broken) {
            shape[shape[0] == 3 ? 1 : 0]--;
        }
        add_tensor(in, t->name, t->dtype, t->n_dims, shape);
    }
}

static void test_every_qkv_input_is_checked(void **state)
{
    (void)state;
    const dsv4_config config = preset("tiny");
    for (int i = 0; i < N_QKV_INPUTS; i++) {
        dsv4_tensor_list without = {0}, cut = {0};
        build_qkv(&without, i, true);
        assert_refused("qkv_proj_rope", &config, &without, DSV4_E_NOT_FOUND, qkv_inputs[i].missing);
        build_qkv(&cut, i, false);
        assert_refused("qkv_proj_rope", &config, &cut, DSV4_E_SHAPE, qkv_inputs[i].short_by_one);
        dsv4_tensor_list_deinit(&cut);
        dsv4_tensor_list_deinit(&without);
    }
}

static void test_inputs_must_agree_on_the_number_of_tokens(void **state)
{
    (void)state;
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0};
    build_qkv(&in, -1, false);
    dsv4_tensor *rope_cos = dsv4_tensor_list_find(&in, "rope_cos");
    rope_cos->shape[0] = 2;
    assert_refused("qkv_proj_rope", &config, &in, DSV4_E_SHAPE, "input rope_cos: got BF16 [2, 32], expected BF16 [3, 32]");
    dsv4_tensor_list_deinit(&in);
}

static void test_rope_dim(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0};
    build_qkv(&in, -1, false);
    config.qk_rope_head_dim = 33;
    assert_refused("qkv_proj_rope", &config, &in, DSV4_E_VALUE,
                   "config qk_rope_head_dim: got 33, expected an even number from 2 to head_dim = 128");
    config.qk_rope_head_dim = 130;
    assert_refused("rope_tables", &config, &in, DSV4_E_VALUE,
                   "config qk_rope_head_dim: got 130, expected an even number from 2 to head_dim = 128");
    dsv4_tensor_list_deinit(&in);
}

static void refuse_rope_tables(int32_t compress_ratio, int32_t max_seq_len, const char *text)
{
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0};
    *(int32_t *)add_tensor(&in, "compress_ratio", DSV4_I32, 0, NULL).data = compress_ratio;
    *(int32_t *)add_tensor(&in, "max_seq_len", DSV4_I32, 0, NULL).data = max_seq_len;
    assert_refused("rope_tables", &config, &in, DSV4_E_VALUE, text);
    dsv4_tensor_list_deinit(&in);
}

static void test_rope_scalars(void **state)
{
    (void)state;
    refuse_rope_tables(-4, 160, "input compress_ratio: got -4, expected 0 or more");
    refuse_rope_tables(0, 0, "input max_seq_len: got 0, expected 1 to 16777216");
    refuse_rope_tables(0, INT32_MAX, "input max_seq_len: got 2147483647, expected 1 to 16777216");

    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0};
    add_tensor(&in, "compress_ratio", DSV4_I32, 0, NULL);
    assert_refused("rope_tables", &config, &in, DSV4_E_NOT_FOUND, "input max_seq_len: missing, expected I32 []");
    dsv4_tensor_list_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators_by_name),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_strided_input),
        cmocka_unit_test(test_every_qkv_input_is_checked),
        cmocka_unit_test(test_inputs_must_agree_on_the_number_of_tokens),
        cmocka_unit_test(test_rope_dim),
        cmocka_unit_test(test_rope_scalars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
