/* Drawing the inputs of a call: key lists, dimensions, weights, and what is left out or refused. */
#include "ops/made.h"

#include <math.h>

/* ---- lists ------------------------------------------------------------------------------------------------------------------ */

static void decode_lists(void **state)
{
    static const op_tensor hca_rows[] = {MADE("cmp_sparse_indices", DSV4_I32, "T,KL", 0, 0, "list_hca")};
    static const op_tensor swa_rows[] = {
        MADE("cmp_sparse_indices", DSV4_I32, "T,W", 0, 0, "list_swa"),
        MADE("win_bias", DSV4_F32, "T,KL", 0, 0, "win_bias"),
    };
    const dsv4_op hca = op_of("decode_sparse_attn_hca", DSV4_DECODE, 128, ROWS(hca_rows));
    const dsv4_op swa = op_of("decode_sparse_attn_swa", DSV4_DECODE, 0, ROWS(swa_rows));
    const op_call call = call_of(DSV4_DECODE, 3, 2, OP_UNKNOWN);
    dsv4_config config = preset("tiny");
    (void)state;
    config.max_position_embeddings = 400; /* three compressed rows of 128 */
    dsv4_tensor_list list = draw(&hca, &config, &call);
    for (int64_t t = 0; t < 6; t++) {
        EXPECT_VALUES(&list, "cmp_sparse_indices", t * 32, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -1, -1, 18, 19, 20,
                      -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    }
    dsv4_tensor_list_deinit(&list);
    list = draw(&swa, &config, &call);
    const dsv4_tensor bias = get_tensor(&list, "win_bias");
    assert_int_equal(dsv4_tensor_count(&bias), 6 * 32); /* a block of ring rows, one of the six tokens */
    for (int64_t i = 0; i < 6 * 32; i++) {
        assert_true(((const float *)bias.data)[i] == (i % 32 < 16 ? 0 : -1e20f));
    }
    EXPECT_VALUES(&list, "cmp_sparse_indices", 5 * 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    dsv4_tensor_list_deinit(&list);
}

static void prefill_lists_go_back_a_window(void **state)
{
    static const op_tensor rows[] = {
        MADE("cmp_sparse_indices", DSV4_I32, "T,KL", OP_ANY, 0, "list_prefill"),
        MADE("cmp_sparse_lens", DSV4_I32, "T", OP_ANY, 0, "lens"),
    };
    const dsv4_op op = op_of("prefill_sparse_attn", DSV4_PREFILL, OP_ANY, ROWS(rows));
    const dsv4_config config = preset("tiny");
    op_call call = call_of(DSV4_PREFILL, 1, 20, OP_UNKNOWN);
    (void)state;
    call.ratio = 4;
    dsv4_tensor_list list = draw(&op, &config, &call);
    EXPECT_VALUES(&list, "cmp_sparse_lens", 0, 1, 2, 3, 5, 6, 7, 8, 10);
    EXPECT_VALUES(&list, "cmp_sparse_indices", 0, 16, -1);
    EXPECT_VALUES(&list, "cmp_sparse_indices", 7 * 24, 16, 17, 18, 19, 20, 21, 22, 23, 36, 37, -1); /* compressed: 16 + 20 on */
    EXPECT_VALUES(&list, "cmp_sparse_indices", 19 * 24, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
                  39, 40, -1);
    dsv4_tensor_list_deinit(&list);
    call.ratio = 0;
    call.start_pos = 18;
    list = draw(&op, &config, &call);
    EXPECT_VALUES(&list, "cmp_sparse_lens", 0, 16, 16, 16);
    EXPECT_VALUES(&list, "cmp_sparse_indices", 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 16, -1);
    dsv4_tensor_list_deinit(&list);
}

/* ---- dimensions ------------------------------------------------------------------------------------------------------------- */

static void expect_dim(const op_dims *dims, op_symbol symbol, int64_t expected)
{
    if (dims->of[symbol] != expected) {
        fail_msg("symbol %d: got %lld, expected %lld", (int)symbol, (long long)dims->of[symbol], (long long)expected);
    }
}

/* SPEC 1.3. */
static void list_widths_of_the_presets(void **state)
{
    static const struct {
        const char *preset;
        int ratio;
        int64_t KL, KB;
    } cases[] = {
        {"flash", 4, 640, 5}, {"flash", 128, 256, 2}, {"flash", 0, 256, 2}, {"tiny", 4, 24, 2},
        {"tiny", 128, 32, 2}, {"tiny", 0, 32, 2},     {"pro", 4, 1152, 9},  {"pro", 128, 1280, 10},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dsv4_config config = preset(cases[i].preset);
        const dsv4_op op = op_of("decode_sparse_attn", DSV4_DECODE, cases[i].ratio, NULL, 0);
        const op_call call = call_of(DSV4_DECODE, 4, 2, OP_UNKNOWN);
        const op_dims dims = op_dims_of_call(&op, &config, &call);
        expect_dim(&dims, OP_KL, cases[i].KL);
        expect_dim(&dims, OP_KB, cases[i].KB);
        expect_dim(&dims, OP_SL, config.max_position_embeddings / 4);
        assert_true(dims.of[OP_CPR] * dims.of[OP_BS] >= (cases[i].ratio == 4 ? config.index_topk : 1));
    }
    const dsv4_config flash = preset("flash");
    const dsv4_op op = op_of("prefill_sparse_attn", DSV4_PREFILL, OP_ANY, NULL, 0);
    const op_call call = call_of(DSV4_PREFILL, 1, 128, OP_UNKNOWN);
    const op_dims dims = op_dims_of_call(&op, &flash, &call);
    expect_dim(&dims, OP_KL, 640);
    expect_dim(&dims, OP_KB, 3);
    expect_dim(&dims, OP_IP, 2);
    expect_dim(&dims, OP_SL, 256);
}

static void pages_reach_the_end_of_a_long_context(void **state)
{
    const dsv4_config config = preset("pro");
    const op_call call = call_of(DSV4_DECODE, 3, 2, 1048574);
    const dsv4_op csa = op_of("decode_attention_csa", DSV4_DECODE, 4, NULL, 0);
    const dsv4_op hca = op_of("decode_attention_hca", DSV4_DECODE, 128, NULL, 0);
    (void)state;
    op_dims dims = op_dims_of_call(&csa, &config, &call);
    expect_dim(&dims, OP_T, 6);
    expect_dim(&dims, OP_N, 1048576);
    expect_dim(&dims, OP_BS, 128);
    expect_dim(&dims, OP_CPR, 262144 / 128);
    expect_dim(&dims, OP_CP, 3 * 262144 / 128);
    expect_dim(&dims, OP_IPR, 262144 / 128);
    expect_dim(&dims, OP_SPR, 262144);
    expect_dim(&dims, OP_SP, 3 * 65); /* SPEC 1.3 */
    expect_dim(&dims, OP_JP, 3 * 65);
    expect_dim(&dims, OP_SR, 4);
    expect_dim(&dims, OP_SL, 262144);
    expect_dim(&dims, OP_WP, 3);
    dims = op_dims_of_call(&hca, &config, &call);
    expect_dim(&dims, OP_CPR, 8192 / 128);
    expect_dim(&dims, OP_SPR, 131072);
    expect_dim(&dims, OP_SP, 3 * 64);
    expect_dim(&dims, OP_SR, 8);
    expect_dim(&dims, OP_JR, 4);
}

/* ---- what is drawn ---------------------------------------------------------------------------------------------------------- */

static const op_tensor index_rows[] = {
    {"idx_kv_cache", DSV4_BF16, OP_INOUT | OP_OR_I8, "IP,BS,1,ID", "", {FIX_CALL, 0, 0, "unit_rows"}, NULL, {0}},
    {"idx_kv_scale", DSV4_F32, OP_INOUT | OP_OPTIONAL, "IP,BS,1,1", "", {0}, NULL, {0}},
    ROW_OPTIONAL("hint", DSV4_I32, "B", "", DRAW_NONE),
    ROW_OPTIONAL("kv_seq_lens", DSV4_I32, "B", "", DRAW_BY("lengths", 0, 0)),
    {"score", DSV4_F32, OP_OUT, "B,S,SL", "", {0}, NULL, {0}},
};

static void optional_and_quantised_inputs(void **state)
{
    const dsv4_op op = op_of("decode_indexer", DSV4_DECODE, OP_ANY, ROWS(index_rows));
    op_call call = call_of(DSV4_DECODE, 2, 2, 40);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list plain = draw(&op, &config, &call);
    (void)state;
    call.quantised_index = true;
    dsv4_tensor_list list = draw(&op, &config, &call);
    assert_int_equal(plain.n, 2);
    assert_null(dsv4_tensor_list_find(&plain, "idx_kv_scale"));
    assert_non_null(dsv4_tensor_list_find(&plain, "kv_seq_lens"));
    assert_int_equal(list.n, 3);
    const dsv4_tensor keys = get_tensor(&plain, "idx_kv_cache"), q = get_tensor(&list, "idx_kv_cache");
    const dsv4_tensor scale = get_tensor(&list, "idx_kv_scale");
    const int64_t cols = config.index_head_dim;
    assert_int_equal(q.dtype, DSV4_I8);
    assert_int_equal(dsv4_tensor_count(&scale) * cols, dsv4_tensor_count(&q));
    for (int64_t i = 0; i < dsv4_tensor_count(&q); i++) {
        const double step = dsv4_tensor_get(&scale, i / cols);
        assert_true(fabs(dsv4_tensor_get(&q, i) * step - dsv4_tensor_get(&keys, i)) <= 0.5001 * step);
        assert_true(step > 0 && step < 6.0 / 127);
    }
    dsv4_tensor_list_deinit(&plain);
    dsv4_tensor_list_deinit(&list);
}

static const op_tensor weight_rows[] = {
    MADE("wq_b", DSV4_I8, "QL,H*hd", -1, 0, "wq:wq_b_scale"),
    ROW_IN("wq_b_scale", DSV4_F32, "H*hd", "", DRAW_NONE),
    MADE("wo_b", DSV4_I8, "D,G*OL", 0.5, 1, "wq:wo_b_scale"),
    ROW_IN("wo_b_scale", DSV4_F32, "D", "", DRAW_NONE),
    MADE("idx_wq_b", DSV4_I8, "QL,IH*ID", 0.108, 0.56, "mx8:idx_wq_b_scale"),
    ROW_IN("idx_wq_b_scale", DSV4_F32, "IH*ID", "", DRAW_NONE),
    MADE("qr", DSV4_I8, "T,QL", 0, 0, "rq:qr_scale"),
    ROW_IN("qr_scale", DSV4_F32, "T,1", "", DRAW_NONE),
    MADE("wo_a", DSV4_BF16, "G,OL,H*hd/G", 0.5, 0, "uniform_fan_in"),
    MADE("wkv", DSV4_BF16, "D,hd", 1, 1, "normal_fan_in"),
    MADE("hadamard", DSV4_BF16, "ID,ID", 0, 0, "random_matrix"),
    MADE("post", DSV4_F32, "T,M", 0, 0, "hc_post"),
    MADE("comb", DSV4_F32, "T,M*M", 0, 0, "hc_comb"),
    MADE("hc_fn", DSV4_F32, "2*M+M*M,M*D", 0, 0, "hc:hca"),
};

/* Deviation and largest magnitude of values, or of q * scale. */
typedef struct spread {
    double deviation, largest;
} spread;

static spread spread_of(const dsv4_tensor_list *list, const char *name, const char *scale_name, bool per_row)
{
    const dsv4_tensor t = get_tensor(list, name);
    const int64_t n = dsv4_tensor_count(&t), cols = t.shape[t.n_dims - 1];
    spread s = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        double value = dsv4_tensor_get(&t, i);
        if (scale_name != NULL) {
            const dsv4_tensor scale = get_tensor(list, scale_name);
            value *= dsv4_tensor_get(&scale, per_row ? i / cols : i % cols);
        }
        s.deviation += value * value / (double)n;
        s.largest = fmax(s.largest, fabs(value));
    }
    s.deviation = sqrt(s.deviation);
    return s;
}

static void expect_about(double got, double expected, double share)
{
    if (!(fabs(got - expected) <= share * expected)) {
        fail_msg("got %g, expected %g within %g of it", got, expected, share);
    }
}

static void weights_have_their_spread(void **state)
{
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(weight_rows));
    const op_call call = call_of(DSV4_DECODE, 4, 2, OP_UNKNOWN);
    const dsv4_config config = preset("tiny"); /* QL 128, H*hd 1024, D 256, G*OL 256, H*hd/G 256 */
    dsv4_tensor_list list = draw(&op, &config, &call);
    (void)state;
    expect_about(spread_of(&list, "wq_b", "wq_b_scale", false).deviation, 1 / sqrt(128), 0.02);
    const spread wo_b = spread_of(&list, "wo_b", "wo_b_scale", true), wo_a = spread_of(&list, "wo_a", NULL, false);
    expect_about(wo_b.deviation, 0.5 / 16 / sqrt(3), 0.02);
    expect_about(wo_b.largest, 0.5 / 16, 0.01);
    expect_about(wo_a.deviation, 0.5 / 16 / sqrt(3), 0.02);
    expect_about(wo_a.largest, 0.5 / 16, 0.01);
    expect_about(spread_of(&list, "idx_wq_b", "idx_wq_b_scale", false).deviation, 0.108, 1e-3);
    expect_about(spread_of(&list, "qr", "qr_scale", true).deviation, 1 / sqrt(3), 0.05);
    expect_about(spread_of(&list, "wkv", NULL, false).deviation, 1.0 / 16, 0.02);
    expect_about(spread_of(&list, "hadamard", NULL, false).largest, 1.0 / 8, 0.01);
    expect_about(spread_of(&list, "hc_fn", NULL, false).deviation, 0.0495, 0.02);
    const dsv4_tensor post = get_tensor(&list, "post"), comb = get_tensor(&list, "comb");
    for (int64_t i = 0; i < dsv4_tensor_count(&post); i++) {
        assert_true(dsv4_tensor_get(&post, i) > 0 && dsv4_tensor_get(&post, i) < 2);
    }
    for (int64_t i = 0; i < dsv4_tensor_count(&comb); i += 4) {
        double sum = 0;
        for (int64_t j = i; j < i + 4; j++) {
            sum += dsv4_tensor_get(&comb, j);
        }
        expect_about(sum, 1, 1e-6);
    }
    dsv4_tensor_list_deinit(&list);
}

/* The same seed gives the same tensor, alone or with others; another seed another one. */
static void draws_depend_on_seed_and_name(void **state)
{
    const dsv4_op all = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(weight_rows));
    const dsv4_op two = op_of("decode_attention_csa", DSV4_DECODE, 4, weight_rows + 2, 2);
    op_call call = call_of(DSV4_DECODE, 4, 2, OP_UNKNOWN);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list a = draw(&all, &config, &call), b = draw(&two, &config, &call);
    (void)state;
    call.seed++;
    dsv4_tensor_list c = draw(&two, &config, &call);
    const dsv4_tensor of_a = get_tensor(&a, "wo_b"), of_b = get_tensor(&b, "wo_b"), of_c = get_tensor(&c, "wo_b");
    assert_int_equal(count_bit_mismatches(&of_a, &of_b), 0);
    assert_true(count_bit_mismatches(&of_a, &of_c) > dsv4_tensor_count(&of_a) / 2);
    dsv4_tensor_list_deinit(&a);
    dsv4_tensor_list_deinit(&b);
    dsv4_tensor_list_deinit(&c);
}

/* ---- refusals --------------------------------------------------------------------------------------------------------------- */

static void expect_refusal(const op_tensor *row, op_call call, dsv4_status status, const char *text)
{
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, row, 1);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    assert_int_equal(op_draw_inputs(&op, &config, &call, &list, &err), status);
    if (strstr(err.text, text) == NULL) {
        fail_msg("'%s' lacks '%s'", err.text, text);
    }
    dsv4_tensor_list_deinit(&list);
}

static void refuses_what_cannot_be_drawn(void **state)
{
    static const op_tensor unknown = MADE("x", DSV4_F32, "T", 0, 0, "histories:x"),
                           positions = MADE("p", DSV4_I64, "T", 0, 0, "positions");
    static const op_tensor tableless = MADE("x", DSV4_I64, "T", 0, 0, "ring_slots:table");
    static const op_tensor scaleless = MADE("w", DSV4_I8, "D,D", 1, 0, "wq:w_scale"),
                           good = MADE("p", DSV4_I32, "T", 0, 0, "positions");
    const op_call call = call_of(DSV4_DECODE, 2, 2, OP_UNKNOWN);
    (void)state;
    expect_refusal(&unknown, call, DSV4_E_NOT_FOUND, "no recipe \"histories:x\"");
    expect_refusal(&positions, call, DSV4_E_SHAPE, "got I64, expected I32");
    expect_refusal(&tableless, call, DSV4_E_NOT_FOUND, "the table \"table\"");
    expect_refusal(&scaleless, call, DSV4_E_SHAPE, "its scale must be F32 [256]");
    expect_refusal(&good, call_of(DSV4_DECODE, 0, 2, 0), DSV4_E_VALUE, "requests of the call: got 0");
    expect_refusal(&good, call_of(DSV4_DECODE, 2, INT64_MAX, 0), DSV4_E_VALUE, "tokens of a request");
    expect_refusal(&good, call_of(DSV4_DECODE, 2, 2, -1), DSV4_E_VALUE, "first position: got -1, expected 0 to 16777214");
    expect_refusal(&good, call_of(DSV4_DECODE, 2, 2, INT64_MAX), DSV4_E_VALUE, "first position");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_lists),
        cmocka_unit_test(prefill_lists_go_back_a_window),
        cmocka_unit_test(list_widths_of_the_presets),
        cmocka_unit_test(pages_reach_the_end_of_a_long_context),
        cmocka_unit_test(optional_and_quantised_inputs),
        cmocka_unit_test(weights_have_their_spread),
        cmocka_unit_test(draws_depend_on_seed_and_name),
        cmocka_unit_test(refuses_what_cannot_be_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
