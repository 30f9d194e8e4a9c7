/* Sparse attention on hand-made calls whose result is known, on lists and tables that must be refused, and on random ones; and what
 * the granularity of the INT8 scales costs. */
#include "ops/sparse_case.h"

#include <stdio.h>

/* ---- hand-made calls ---------------------------------------------------------------------------------------------------- */

enum { HAND_HD = 8, HAND_W = 4 };

/* One head of 8, projections that change nothing: attn_out is the head, up to the INT8 step in front of wo_b. */
static dsv4_config hand_model(void)
{
    dsv4_config config = model(HAND_HD, 8, 1, HAND_HD, 2);
    config.o_groups = 1;
    config.o_lora_rank = HAND_HD;
    config.sliding_window = config.attn_tile = HAND_W;
    config.index_topk = 3;
    config.prefill_max_compressed = 3;
    return config;
}

/* One request of two tokens without keys; cosines 1, sines 0, sinks far below. */
static sparse_case make_hand_case(const char *name)
{
    const dsv4_config config = hand_model();
    sparse_case c = make_case(name, &config, 1, 2, 3);
    fill_values(&c, "freqs_cos", 0, 1);
    fill_values(&c, "freqs_sin", 0, 0);
    fill_values(&c, "attn_sink", 0, -1e30);
    fill_values(&c, "wo_a", 0, 0);
    fill_values(&c, "wo_b", 0, 0);
    fill_values(&c, "wo_b_scale", 0, 1.0 / 127);
    for (int64_t i = 0; i < HAND_HD; i++) {
        ((uint16_t *)get_tensor(&c.in, "wo_a").data)[i * HAND_HD + i] = num_bf16_from_f32(1);
        ((int8_t *)get_tensor(&c.in, "wo_b").data)[i * HAND_HD + i] = 127;
    }
    dsv4_tensor lists = get_tensor(&c.in, "cmp_sparse_indices");
    memset(lists.data, 0xff, dsv4_tensor_bytes(&lists));
    return c;
}

/* Names the keys of token 0; win_bias and lens say the same. */
static void set_list(sparse_case *c, const int32_t *indices, int64_t n)
{
    memcpy(get_tensor(&c->in, "cmp_sparse_indices").data, indices, (size_t)n * sizeof *indices);
    if (dsv4_tensor_list_find(&c->in, "win_bias") != NULL) {
        fill_win_bias(c);
    }
    if (is_prefill(c)) {
        ((int32_t *)get_tensor(&c->in, "cmp_sparse_lens").data)[0] = (int32_t)n;
    }
}

/* Ring row r of the request. */
static uint16_t *ring_row(const sparse_case *c, int64_t r)
{
    const int32_t *table = get_tensor(&c->in, "ori_block_table").data;
    return (uint16_t *)get_tensor(&c->in, "ori_kv").data + (table[r / CASE_PAGE] * CASE_PAGE + r % CASE_PAGE) * HAND_HD;
}

/* attn_out of token 0. */
static void run_hand_case(const sparse_case *c, float *out)
{
    sealed s = run_case(c, (dsv4_op_options){0});
    const dsv4_tensor t = get_tensor(&s.io, "attn_out");
    for (int64_t i = 0; i < HAND_HD; i++) {
        out[i] = (float)dsv4_tensor_get(&t, i);
    }
    sealed_deinit(&s);
}

static double score_of(const sparse_case *c, const uint16_t *key)
{
    const uint16_t *q = get_tensor(&c->in, "q").data;
    double sum = 0;
    for (int64_t i = 0; i < HAND_HD; i++) {
        sum += (double)num_f32_from_bf16(q[i]) * num_f32_from_bf16(key[i]);
    }
    return sum / sqrt(HAND_HD);
}

/* out = share * key, but for the INT8 step of the row's largest value and a BF16 step. */
static void assert_share(const float *out, const uint16_t *key, double share)
{
    for (int64_t i = 0; i < HAND_HD; i++) {
        const double want = share * num_f32_from_bf16(key[i]);
        if (!(fabs(out[i] - want) < 0.01)) {
            fail_msg("element %lld is %g, expected %g", (long long)i, (double)out[i], want);
        }
    }
}

static void test_one_key(void **state)
{
    static const char *const names[] = {"decode_sparse_attn", "decode_sparse_attn_hca", "decode_sparse_attn_swa",
                                        "prefill_sparse_attn"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sparse_case c = make_hand_case(names[i]);
        float out[HAND_HD];
        set_list(&c, (int32_t[]){0}, 1);
        run_hand_case(&c, out);
        assert_share(out, ring_row(&c, 0), 1);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* The sink is a key of value 0: as large as the score it takes half, far above all. */
static void test_sink(void **state)
{
    (void)state;
    sparse_case c = make_hand_case("decode_sparse_attn");
    float out[HAND_HD];
    set_list(&c, (int32_t[]){-1, 2}, 2);
    fill_values(&c, "attn_sink", 0, score_of(&c, ring_row(&c, 2)));
    run_hand_case(&c, out);
    assert_share(out, ring_row(&c, 2), 0.5);
    fill_values(&c, "attn_sink", 0, 1e30);
    run_hand_case(&c, out);
    assert_share(out, ring_row(&c, 2), 0);
    dsv4_tensor_list_deinit(&c.in);
}

/* Beside a sink of the same score, a key named twice takes 2/3 of a list and 1/2 of a set. */
static void test_repeated_key(void **state)
{
    static const struct {
        const char *name;
        double share;
    } expected[] = {{"decode_sparse_attn", 2.0 / 3}, {"prefill_sparse_attn", 2.0 / 3}, {"decode_sparse_attn_swa", 0.5}};
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        sparse_case c = make_hand_case(expected[i].name);
        float out[HAND_HD];
        set_list(&c, (int32_t[]){1, -1, -1, 1}, 4);
        fill_values(&c, "attn_sink", 0, score_of(&c, ring_row(&c, 1)));
        run_hand_case(&c, out);
        assert_share(out, ring_row(&c, 1), expected[i].share);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* The last pair is turned back: cos 0 and sin 1 make (x, y) to (y, -x). */
static void test_inverse_rotation(void **state)
{
    (void)state;
    sparse_case c = make_hand_case("decode_sparse_attn_swa");
    float out[HAND_HD];
    uint16_t want[HAND_HD];
    set_list(&c, (int32_t[]){3}, 1);
    fill_values(&c, "freqs_cos", 0, 0);
    fill_values(&c, "freqs_sin", 0, 1);
    memcpy(want, ring_row(&c, 3), sizeof want);
    want[HAND_HD - 2] = ring_row(&c, 3)[HAND_HD - 1];
    want[HAND_HD - 1] = ring_row(&c, 3)[HAND_HD - 2] ^ 0x8000;
    run_hand_case(&c, out);
    assert_share(out, want, 1);
    dsv4_tensor_list_deinit(&c.in);
}

/* Decode: a hole leaves its block smaller. Prefill: holes, and keys of tokens that are not valid, move what follows up. */
static void test_holes(void **state)
{
    (void)state;
    sparse_case c = make_hand_case("decode_sparse_attn");
    float dense[HAND_HD], holes[HAND_HD];
    set_list(&c, (int32_t[]){0, 1, 2, 3, 4, -1, -1}, 7);
    run_hand_case(&c, dense);
    set_list(&c, (int32_t[]){0, 1, 2, 3, -1, -1, 4}, 7);
    run_hand_case(&c, holes);
    assert_memory_equal(dense, holes, sizeof dense);
    dsv4_tensor_list_deinit(&c.in);
    c = make_hand_case("prefill_sparse_attn");
    *(int32_t *)get_tensor(&c.in, "num_tokens").data = 1;
    set_list(&c, (int32_t[]){0, 1, 2, 3, 4, 6, 1}, 7);
    run_hand_case(&c, dense);
    set_list(&c, (int32_t[]){0, 5, -1, 1, 2, 3, 4}, 7);
    run_hand_case(&c, holes);
    assert_memory_not_equal(dense, holes, sizeof dense);
    set_list(&c, (int32_t[]){0, 1, 2, 3, 4}, 5);
    run_hand_case(&c, dense);
    assert_memory_equal(dense, holes, sizeof dense);
    dsv4_tensor_list_deinit(&c.in);
}

/* Rows without keys are 0, not nearly 0: token 1, and tokens of a chunk that are not valid. */
static void test_no_key(void **state)
{
    (void)state;
    for (int prefill = 0; prefill < 2; prefill++) {
        const dsv4_config config = small_model();
        sparse_case c =
            prefill ? make_case("prefill_sparse_attn", &config, 1, 9, 4) : make_case("decode_sparse_attn", &config, 3, 3, 4);
        sealed s = run_case(&c, (dsv4_op_options){0});
        const dsv4_tensor t = get_tensor(&s.io, "attn_out");
        int64_t D = config.hidden_size, n_zero = 0;
        for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
            bool no_key = i / D == 1 || (prefill && i / D >= 7);
            assert_true(!no_key || ((uint16_t *)t.data)[i] == 0);
            n_zero += ((uint16_t *)t.data)[i] == 0;
        }
        assert_true(n_zero < dsv4_tensor_count(&t));
        sealed_deinit(&s);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* ---- refusals ----------------------------------------------------------------------------------------------------------- */

/* A run whose status is the caller's to judge; the message goes to err. */
static sealed try_case(const sparse_case *c, dsv4_error *err)
{
    sealed s = seal_rows(c->op, &c->config, &c->in, 0, 0, (dsv4_op_options){0}, DSV4_DEPS_BLOCK);
    dsv4_exec *exec;
    require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, err), err);
    spoil_outputs(&s);
    err->status = dsv4_exec_run(exec, 0, err);
    dsv4_exec_destroy(exec);
    return s;
}

typedef struct fault {
    const char *op, *tensor;
    int64_t at; /* element of the tensor */
    int32_t value;
    const char *parts[4]; /* of the message */
} fault;

/* small_model: W 16, ring of 2 pages, 24 compressed rows of a request, 3 requests of 2 tokens, or 6 tokens of a chunk. */
static const fault faults[] = {
    {"decode_sparse_attn", "cmp_sparse_indices", 36 * 2 + 5, -2, {"cmp_sparse_indices", "token 2, slot 5", "got -2", "-1 or more"}},
    {"decode_sparse_attn", "cmp_sparse_indices", 0, 16 + 2 + 24, {"token 0, slot 0", "got 42", "3 pages", "cmp_block_table"}},
    {"decode_sparse_attn",
     "cmp_sparse_indices",
     36 * 6 - 1,
     INT32_MAX,
     {"token 5, slot 35", "got 2147483647", "cmp_block_table", ""}},
    {"decode_sparse_attn", "ori_block_table", 0, -1, {"ori_block_table", "request 0, entry 0", "got page -1", "0 to 6"}},
    {"decode_sparse_attn", "ori_block_table", 1, 7, {"ori_block_table", "request 0, entry 1", "got page 7", "0 to 6"}},
    {"decode_sparse_attn", "cmp_block_table", 0, 10, {"cmp_block_table", "request 0, entry 0", "got page 10", "0 to 9"}},
    {"decode_sparse_attn_hca", "cmp_sparse_indices", 3, 4, {"token 0, slot 3", "got 4", "ring row", ""}},
    {"decode_sparse_attn_hca", "cmp_sparse_indices", 26, INT32_MIN, {"token 0, slot 26", "got -2147483648", "-1 or more", ""}},
    {"decode_sparse_attn_swa", "cmp_sparse_indices", 7, 16 + 2, {"token 0, slot 7", "got 18", "expected", ""}},
    {"decode_sparse_attn_swa", "win_bias", 2, 0, {"win_bias", "token 0, column", "expected 0", "cmp_sparse_indices"}},
    {"prefill_sparse_attn", "cmp_sparse_indices", 1, -7, {"token 0, slot 1", "got -7", "-1 or more", ""}},
    {"prefill_sparse_attn", "cmp_block_table", 2, INT32_MAX, {"cmp_block_table", "entry 2", "got page 2147483647", "0 to 3"}},
    {"prefill_sparse_attn", "num_tokens", 0, 7, {"num_tokens", "got 7", "0 to T=6", ""}},
    {"prefill_sparse_attn", "num_tokens", 0, -1, {"num_tokens", "got -1", "0 to T=6", ""}},
};

static void spoil(sparse_case *c, const fault *f)
{
    dsv4_tensor t = get_tensor(&c->in, f->tensor);
    if (t.dtype == DSV4_F32) {
        for (int64_t i = 0; i < t.shape[1]; i++) { /* a bias that masks nothing out and nothing in */
            ((float *)t.data)[i] = -5.0f;
        }
    } else {
        ((int32_t *)t.data)[f->at] = f->value;
    }
}

static void test_refusals(void **state)
{
    const dsv4_config config = small_model();
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const fault *f = &faults[i];
        bool prefill = strcmp(f->op, "prefill_sparse_attn") == 0;
        sparse_case c = make_case(f->op, &config, prefill ? 1 : 3, prefill ? 6 : 2, 9);
        dsv4_error err = {0};
        spoil(&c, f);
        sealed s = try_case(&c, &err);
        assert_int_equal(err.status, DSV4_E_VALUE);
        for (size_t p = 0; p < 4; p++) {
            if (f->parts[p] != NULL && strstr(err.text, f->parts[p]) == NULL) {
                fail_msg("%s: no \"%s\" in \"%s\"", f->op, f->parts[p], err.text);
            }
        }
        const dsv4_tensor t = get_tensor(&s.io, "attn_out");
        for (int64_t e = 0; e < dsv4_tensor_count(&t); e++) {
            assert_true(isfinite(dsv4_tensor_get(&t, e)));
        }
        sealed_deinit(&s);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* The verdict is of the step, not of the graph: the next step runs. */
static void test_refused_step_leaves_the_next_alone(void **state)
{
    const dsv4_config config = small_model();
    (void)state;
    sparse_case c = make_case("decode_sparse_attn", &config, 3, 2, 9);
    sealed reference = run_case(&c, (dsv4_op_options){0});
    dsv4_error err = {0};
    int32_t *index = get_tensor(&c.in, "cmp_sparse_indices").data, kept = *index;
    *index = -2;
    sealed s = try_case(&c, &err);
    assert_int_equal(err.status, DSV4_E_VALUE);
    *index = kept;
    run_sealed(&s, pool);
    assert_same_rows(&s, &reference, 0, "after a refusal");
    sealed_deinit(&s);
    sealed_deinit(&reference);
    dsv4_tensor_list_deinit(&c.in);
}

/* Shapes and dimensions that cannot work are refused while building. */
static void test_refused_calls(void **state)
{
    (void)state;
    dsv4_error err = {0};
    dsv4_config config = small_model();
    sparse_case c = make_case("decode_sparse_attn_swa", &config, 3, 2, 1);
    dsv4_graph *g = dsv4_graph_create("refused");
    dsv4_tensor_list_find(&c.in, "win_bias")->shape[1]--;
    dsv4_tensor_list_find(&c.in, "win_bias")->stride[0]--;
    assert_int_equal(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &c.in, g, &err), DSV4_E_SHAPE);
    assert_non_null(strstr(err.text, "win_bias: got 35 columns, expected 36"));
    c.config.o_groups = 4;
    assert_int_equal(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &c.in, g, &err), DSV4_E_SHAPE);
    dsv4_tensor_list_deinit(&c.in);
    config.o_groups = 4;
    config.num_attention_heads = 8;
    c = make_case("prefill_sparse_attn", &config, 1, 3, 1);
    c.config.num_attention_heads = 6;
    assert_int_not_equal(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &c.in, g, &err), DSV4_OK);
    dsv4_tensor_list_deinit(&c.in);
    config = small_model();
    config.qk_rope_head_dim = 9;
    c = make_case("prefill_sparse_attn", &config, 1, 3, 1);
    assert_int_equal(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &c.in, g, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "qk_rope_head_dim=9"));
    dsv4_tensor_list_deinit(&c.in);
    dsv4_graph_destroy(g);
}

/* ---- random lists and tables -------------------------------------------------------------------------------------------- */

/* Small numbers around every bound, and now and then any number. */
static int32_t draw_junk(sparse_case *c)
{
    return draw_below(c, 8) == 0 ? (int32_t)rng_u64(&c->random, c->n_draws++) : (int32_t)draw_below(c, 60) - 3;
}

/* Replaces up to three elements of an integer input. */
static void spoil_randomly(sparse_case *c)
{
    static const char *const tensors[] = {"cmp_sparse_indices", "ori_block_table", "cmp_block_table",
                                          "cmp_sparse_lens",    "num_tokens",      "valid_block_mask"};
    for (int64_t n = draw_below(c, 4); n > 0; n--) {
        dsv4_tensor *t = dsv4_tensor_list_find(&c->in, tensors[draw_below(c, 6)]);
        if (t != NULL) {
            ((int32_t *)t->data)[draw_below(c, dsv4_tensor_count(t))] = draw_junk(c);
        }
    }
}

static bool is_finite(const dsv4_tensor *t)
{
    bool finite = true;
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        finite = finite && isfinite(dsv4_tensor_get(t, i));
    }
    return finite;
}

static void test_random_lists(void **state)
{
    static const char *const names[] = {"decode_sparse_attn", "decode_sparse_attn_hca", "decode_sparse_attn_swa",
                                        "prefill_sparse_attn"};
    const int n_cases = SANITIZED ? 400 : 1500;
    int n_refused = 0;
    dsv4_config config = small_model();
    (void)state;
    config.num_attention_heads = config.o_groups = 1;
    config.head_dim = 10;
    for (int i = 0; i < n_cases; i++) {
        const char *name = names[i % 4];
        sparse_case c = make_case(name, &config, i % 4 == 3 ? 1 : 2, 2, (uint64_t)i);
        dsv4_error err = {0};
        spoil_randomly(&c);
        if (dsv4_tensor_list_find(&c.in, "win_bias") != NULL && draw_below(&c, 2) == 0) {
            ((float *)get_tensor(&c.in, "win_bias").data)[draw_below(&c, 8)] = num_f32_from_bits((uint32_t)draw_junk(&c));
        }
        sealed s = try_case(&c, &err);
        const dsv4_tensor out = get_tensor(&s.io, "attn_out");
        assert_true(is_finite(&out));
        assert_true(err.status == DSV4_OK || (err.status == DSV4_E_VALUE && err.text[0] != '\0'));
        n_refused += err.status != DSV4_OK;
        sealed_deinit(&s);
        dsv4_tensor_list_deinit(&c.in);
    }
    print_message("  %d of %d refused\n", n_refused, n_cases);
    assert_in_range(n_refused, n_cases / 10, n_cases * 9 / 10);
}

/* ---- what the scales cost ------------------------------------------------------------------------------------------------ */

enum { COST_D = 256, COST_GROUPS = 4, COST_OL = 512, COST_HD = 64, COST_TOKENS = 8, COST_R = COST_GROUPS * COST_OL };

/* Tokens that each have one key, the first ring row of their request, so that every head of o is that row. */
static sparse_case make_cost_case(void)
{
    dsv4_config config = model(COST_D, 16, 2 * COST_GROUPS, COST_HD, 10);
    config.o_groups = COST_GROUPS;
    config.o_lora_rank = COST_OL;
    sparse_case c = make_case("decode_sparse_attn", &config, COST_TOKENS, 1, 2);
    fill_values(&c, "freqs_cos", 0, 1);
    fill_values(&c, "freqs_sin", 0, 0);
    fill_values(&c, "attn_sink", 0, -1e30);
    dsv4_tensor lists = get_tensor(&c.in, "cmp_sparse_indices");
    memset(lists.data, 0xff, dsv4_tensor_bytes(&lists));
    for (int64_t t = 0; t < COST_TOKENS; t++) {
        ((int32_t *)lists.data)[t * lists.shape[1]] = 0;
    }
    return c;
}

/* attn_out of token t without quantisation. */
static void exact_out(const sparse_case *c, int64_t t, double *out)
{
    const dsv4_tensor table = get_tensor(&c->in, "ori_block_table");
    const int64_t page = ((int32_t *)table.data)[t * table.shape[1]];
    const uint16_t *key = (uint16_t *)get_tensor(&c->in, "ori_kv").data + page * CASE_PAGE * COST_HD;
    const uint16_t *wo_a = get_tensor(&c->in, "wo_a").data;
    const int8_t *wo_b = get_tensor(&c->in, "wo_b").data;
    const float *scale = get_tensor(&c->in, "wo_b_scale").data;
    double r[COST_R] = {0};
    for (int64_t i = 0; i < COST_R * 2 * COST_HD; i++) {
        r[i / (2 * COST_HD)] += (double)num_f32_from_bf16(wo_a[i]) * num_f32_from_bf16(key[i % COST_HD]);
    }
    for (int64_t d = 0; d < COST_D; d++) {
        out[d] = 0;
        for (int64_t i = 0; i < COST_R; i++) {
            out[d] += r[i] * wo_b[d * COST_R + i] * scale[d];
        }
    }
}

/* RMS error of attn_out under a granularity, as a share of its RMS; BF16 adds the same to all. */
static double scale_error(const sparse_case *c, const double *exact, dsv4_act_scale act_scale)
{
    sealed s = run_case(c, (dsv4_op_options){.numerics = {.act_scale = act_scale}});
    const dsv4_tensor t = get_tensor(&s.io, "attn_out");
    double error = 0, total = 0;
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        double difference = dsv4_tensor_get(&t, i) - exact[i];
        error += difference * difference;
        total += exact[i] * exact[i];
    }
    sealed_deinit(&s);
    return sqrt(error / total);
}

static void test_finer_scales_err_less(void **state)
{
    static double exact[COST_TOKENS * COST_D];
    (void)state;
    sparse_case c = make_cost_case();
    for (int64_t t = 0; t < COST_TOKENS; t++) {
        exact_out(&c, t, exact + t * COST_D);
    }
    const double row = scale_error(&c, exact, DSV4_SCALE_ROW), group = scale_error(&c, exact, DSV4_SCALE_GROUP),
                 block = scale_error(&c, exact, DSV4_SCALE_BLOCK);
    print_message("  relative error: row %.4f, group %.4f, block %.4f\n", row, group, block);
    assert_true(row > group && group > block);
    assert_true(row < 0.02 && block > 0.002);
    dsv4_tensor_list_deinit(&c.in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_key),
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_repeated_key),
        cmocka_unit_test(test_inverse_rotation),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_step_leaves_the_next_alone),
        cmocka_unit_test(test_refused_calls),
        cmocka_unit_test(test_random_lists),
        cmocka_unit_test(test_finer_scales_err_less),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
