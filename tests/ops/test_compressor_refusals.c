/* Steps that a compressor refuses: each kind of bad integer gives one line that names where it is, and state, cache and pooled rows
 * stay as they were; the same graph then runs a good step. And calls whose dimensions do not fit. */
#include "ops/compressor.h"

#include "ops/verdict.h"

enum { MAX_EDITS = 3, MAX_WORDS = 4, N_POSITIONS = 40 };

/* Element i of an integer input gets a value. */
typedef struct edit {
    const char *tensor;
    int64_t i, value;
} edit;

typedef struct refusal {
    edit edits[MAX_EDITS];
    const char *words[MAX_WORDS];
} refusal;

static void apply(const call *c, const edit *e)
{
    const dsv4_tensor t = get_tensor(&c->in, e->tensor);
    assert_in_range(e->i, 0, dsv4_tensor_count(&t) - 1);
    if (t.dtype == DSV4_I32) {
        ((int32_t *)t.data)[e->i] = (int32_t)e->value;
    } else {
        ((int64_t *)t.data)[e->i] = e->value;
    }
}

/* The integers of a call, kept while edits are tried. */
static void keep_or_restore(const call *c, bool restore)
{
    static int64_t kept[16][256];
    for (size_t i = 0, n = 0; i < c->in.n; i++) {
        const dsv4_tensor t = c->in.items[i].tensor;
        const size_t bytes = dsv4_tensor_bytes(&t);
        if (t.dtype == DSV4_I32 || t.dtype == DSV4_I64) {
            assert_true(n < 16 && bytes <= sizeof kept[n]);
            memcpy(restore ? t.data : (void *)kept[n], restore ? (void *)kept[n] : t.data, bytes);
            n++;
        }
    }
}

static void assert_refused(const updating *u, const refusal *r, const dsv4_tensor_list *untouched)
{
    dsv4_error err = {0};
    if (run_step(u, pool, 7, &err) == DSV4_OK) {
        fail_msg("%s: accepted %s[%lld] = %lld", u->c->op->name, r->edits[0].tensor, (long long)r->edits[0].i,
                 (long long)r->edits[0].value);
    }
    assert_int_equal(err.status, DSV4_E_VALUE);
    assert_null(strchr(err.text, '\n'));
    assert_non_null(strstr(err.text, u->c->op->name));
    for (int i = 0; i < MAX_WORDS && r->words[i] != NULL; i++) {
        if (strstr(err.text, r->words[i]) == NULL) {
            fail_msg("\"%s\" is not in: %s", r->words[i], err.text);
        }
    }
    assert_same_outputs(u, untouched, err.text);
}

static void check_refusals(const call *c, const refusal *refusals, size_t n)
{
    updating u = make_updating(c, (dsv4_op_options){0}), good = make_updating(c, (dsv4_op_options){0}),
             untouched = make_updating(c, (dsv4_op_options){0});
    must_run(&good, pool, 0);
    reset(&untouched);
    keep_or_restore(c, false);
    for (size_t i = 0; i < n; i++) {
        for (int e = 0; e < MAX_EDITS && refusals[i].edits[e].tensor != NULL; e++) {
            apply(c, &refusals[i].edits[e]);
        }
        assert_refused(&u, &refusals[i], &untouched.io);
        keep_or_restore(c, true);
        must_run(&u, pool, 3);
        assert_same_outputs(&u, &good.io, "after a refused step");
    }
    updating_deinit(&u);
    updating_deinit(&good);
    updating_deinit(&untouched);
}

/* Ratio 4, two requests at positions 2..4 and 6..8: windows end at tokens 1 and 1. A request has 11 state pages of 4 rows, and the
 * state 23 pages; the cache has 2 pages of 16 rows. */
static void test_decode(void **state)
{
    const int32_t starts[] = {2, 6};
    const refusal refusals[] = {
        {{{"position_ids", 0, -1}}, {"request 0, token 0, position -1", "at least 0"}},
        {{{"position_ids", 1, 9}}, {"request 0, token 1, position 9", "one after the token before, which makes 3"}},
        {{{"position_ids", 4, 6}}, {"request 1, token 1, position 6", "which makes 7"}},
        {{{"position_ids", 3, INT32_MAX}, {"position_ids", 4, INT32_MIN}}, {"request 1, token 1", "which makes 2147483648"}},
        {{{"state_slot_mapping", 0, -2}}, {"request 0, token 0, position 2", "state slot -2", "a row below 92"}},
        {{{"state_slot_mapping", 5, 92}}, {"request 1, token 2, position 8", "state slot 92", "a row below 92"}},
        {{{"state_slot_mapping", 5, INT64_MAX}}, {"state slot 9223372036854775807"}},
        {{{"state_slot_mapping", 2, 0}, {"state_slot_mapping", 3, 0}},
         {"request 1, token 0", "state slot 0", "a row of its own, but it is also that of the call's token 2"}},
        {{{"cmp_slot_mapping", 1, 32}}, {"request 0, token 1, position 3", "cache slot 32", "a row below 32"}},
        {{{"cmp_slot_mapping", 1, INT64_MIN}}, {"cache slot -9223372036854775808"}},
        {{{"cmp_slot_mapping", 0, 5}}, {"request 0, token 0, position 2", "cache slot 5", "multiple of 4"}},
        {{{"cmp_slot_mapping", 1, 5}, {"cmp_slot_mapping", 4, 5}}, {"request 1, token 1", "cache slot 5", "the call's token 1"}},
        {{{"compress_state_block_table", 0, -1}}, {"request 0, token 1, position 3", "window page -1", "below 23"}},
        {{{"compress_state_block_table", 12, 23}}, {"request 1, token 1, position 7", "window page 23", "below 23"}},
        {{{"compress_state_block_table", 11, INT32_MIN}}, {"request 1", "window page -2147483648"}},
        {{{"position_ids", 0, 46}, {"position_ids", 1, 47}, {"position_ids", 2, 48}},
         {"request 0, token 1, position 47", "needs entry 11", "entries below 11"}},
        {{{"state_slot_mapping", 2, 12 * 4}, {"compress_state_block_table", 11, 12}},
         {"request 1, token 1, position 7", "state row 48", "by the call's token 2"}},
    };
    (void)state;
    call c = make_call("decode_compressor_ratio4", preset("tiny"), 2, 3, starts, N_POSITIONS);
    check_refusals(&c, refusals, sizeof refusals / sizeof *refusals);
    call_deinit(&c);
}

/* Ratio 4, positions 5..13: windows end at tokens 2 and 6 and read positions from 0 on. Entry j of the table is page 11 - j of 12,
 * of 4 rows each. */
static void test_prefill(void **state)
{
    const int32_t start = 5;
    const refusal refusals[] = {
        {{{"num_tokens", 0, -1}}, {"num_tokens -1", "9 tokens"}},
        {{{"num_tokens", 0, 10}}, {"num_tokens 10", "9 tokens"}},
        {{{"position_ids", 0, -5}}, {"position -5", "at least 0"}},
        {{{"position_ids", 8, 14}}, {"token 8, position 14", "which makes 13"}},
        {{{"state_slot_mapping", 1, -1}}, {"token 1, position 6", "state slot -1", "the table's row for the position, 42"}},
        {{{"state_slot_mapping", 2, 20}}, {"token 2, position 7", "state slot 20", "the table's row for the position, 43"}},
        {{{"cmp_slot_mapping", 0, 3}}, {"token 0, position 5", "cache slot 3", "multiple of 4"}},
        {{{"cmp_slot_mapping", 2, 16}}, {"token 2, position 7", "cache slot 16", "a row below 16"}},
        {{{"cmp_slot_mapping", 2, 9}, {"cmp_slot_mapping", 6, 9}}, {"token 6", "cache slot 9", "the call's token 2"}},
        {{{"compress_state_block_table", 0, 12}}, {"token 2, position 7", "window page 12", "below 12"}},
        {{{"compress_state_block_table", 0, -2}}, {"token 2, position 7", "window page -2"}},
        {{{"compress_state_block_table", 1, -1}}, {"token 0, position 5", "state slot 41", "the position, -1"}},
        {{{"compress_state_block_table", 0, 10}}, {"token 2, position 7", "state row 41", "also that of position 5"}},
        {{{"compress_state_block_table", 0, 8}}, {"token 2, position 7", "state row 32", "also that of position 12"}},
        {{{"state_slot_mapping", 8, 44}}, {"token 2, position 7", "state row 44", "also that of position 13"}},
        {{{"state_slot_mapping", 7, 46}, {"state_slot_mapping", 8, 46}}, {"token 8", "state slot 46", "the call's token 7"}},
    };
    (void)state;
    call c = make_call("prefill_compressor_ratio4", preset("tiny"), 1, 9, &start, N_POSITIONS);
    check_refusals(&c, refusals, sizeof refusals / sizeof *refusals);
    call_deinit(&c);
}

/* The window of positions 128..255, of which 128..199 came before. Entry j of the table is page 38 - j, of 8 rows. */
static void test_prefill_history(void **state)
{
    const int32_t start = 200;
    const refusal refusals[] = {
        {{{"compress_state_block_table", 17, 22}}, {"token 55, position 255", "state row 176", "also that of position 128"}},
        {{{"compress_state_block_table", 16, 39}}, {"token 55, position 255", "window page 39", "below 39"}},
    };
    (void)state;
    call c = make_call("prefill_compressor_ratio128", preset("tiny"), 1, 60, &start, 300);
    check_refusals(&c, refusals, sizeof refusals / sizeof *refusals);
    call_deinit(&c);
}

/* Windows start at positions 4 and 8. */
static void test_prefill_beyond_the_turns(void **state)
{
    const int32_t start = 5;
    const refusal beyond = {{{"num_tokens", 0, 9}}, {"token 6, position 11", "rotated by row 8", "rows below 8"}};
    (void)state;
    call c = make_call("prefill_indexer_compressor", preset("tiny"), 1, 9, &start, N_POSITIONS);
    *dsv4_tensor_list_find(&c.in, "freqs_cos") = rows_of(get_tensor(&c.in, "freqs_cos"), 0, 8);
    *dsv4_tensor_list_find(&c.in, "freqs_sin") = rows_of(get_tensor(&c.in, "freqs_sin"), 0, 8);
    *i32_of(&c, "num_tokens") = 6;
    check_refusals(&c, &beyond, 1);
    call_deinit(&c);
}

/* ---- another stage ---------------------------------------------------------------------------------------------------------- */

static void describe_refusal(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)block;
    op_verdict_writes(d, arg);
}

static void run_refusal(const void *arg, int64_t block, void *scratch)
{
    (void)block;
    (void)scratch;
    assert_int_equal(dsv4_fail(((const op_verdict *)arg)->own, DSV4_E_VALUE, "refused elsewhere"), DSV4_E_VALUE);
}

/* A step that a stage in front of the compressor refuses leaves everything as it was. */
static void test_refused_elsewhere(void **state)
{
    const int32_t start = 2;
    const char *const ops[] = {"decode_compressor_ratio4", "prefill_indexer_compressor"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        call c = make_call(ops[i], preset("tiny"), 1, 3, &start, N_POSITIONS);
        dsv4_error err = {0};
        updating u = {&c, borrow_inputs(c.op, &c.in, 0, 0), dsv4_graph_create("refused elsewhere")},
                 untouched = make_updating(&c, (dsv4_op_options){0});
        op_verdict verdict = op_verdict_new(&(op_context){.op = c.op, .g = u.graph});
        dsv4_graph_stage(u.graph, &(dsv4_stage_desc){"test.refuse", 1, run_refusal, describe_refusal, &verdict, 0, DSV4_VECTOR});
        require_ok(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &u.io, u.graph, &err), &err);
        require_ok(dsv4_graph_seal(u.graph, DSV4_DEPS_BLOCK, &err), &err);
        assert_int_equal(run_step(&u, pool, 1, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, "refused elsewhere");
        reset(&untouched);
        assert_same_outputs(&u, &untouched.io, "refused elsewhere");
        updating_deinit(&u);
        updating_deinit(&untouched);
        call_deinit(&c);
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------------------ */

/* Building or sealing fails with a line that holds the words. */
static void assert_not_built(const call *c, const char *word, const char *rule)
{
    dsv4_tensor_list io = borrow_inputs(c->op, &c->in, 0, 0);
    dsv4_graph *g = dsv4_graph_create("refused");
    dsv4_error err = {0};
    dsv4_status status = dsv4_op_build(c->op, &c->config, &(dsv4_op_options){0}, &io, g, &err);
    if (status == DSV4_OK) {
        status = dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err);
    }
    assert_int_not_equal(status, DSV4_OK);
    if (strstr(err.text, c->op->name) == NULL || strstr(err.text, word) == NULL || strstr(err.text, rule) == NULL) {
        fail_msg("\"%s\" and \"%s\" are not in: %s", word, rule, err.text);
    }
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&io);
}

static void test_dimensions(void **state)
{
    const int32_t start = 0;
    dsv4_config odd = preset("tiny"), wide = preset("tiny");
    (void)state;
    odd.qk_rope_head_dim = 31;
    wide.qk_rope_head_dim = 66;
    call calls[] = {make_call("decode_compressor_ratio4", preset("tiny"), 1, 5, &start, N_POSITIONS),
                    make_call("prefill_compressor_ratio128", odd, 1, 5, &start, N_POSITIONS),
                    make_call("decode_indexer_compressor", wide, 1, 2, &start, N_POSITIONS)};
    assert_not_built(&calls[0], "S=5", "at most the compress ratio 4");
    assert_not_built(&calls[1], "qk_rope_head_dim=31", "even");
    assert_not_built(&calls[2], "qk_rope_head_dim=66", "at most the 64 columns");
    for (int i = 0; i < 3; i++) {
        call_deinit(&calls[i]);
    }
}

static void test_half_of_an_int8_cache(void **state)
{
    const int32_t start = 0;
    dsv4_error err = {0};
    (void)state;
    call c = make_call("prefill_indexer_compressor", preset("tiny"), 1, 5, &start, N_POSITIONS);
    const int64_t shape[] = {c.dims.of[OP_IP], c.dims.of[OP_BS], 1, 1};
    require_ok(dsv4_tensor_list_alloc(&c.in, "idx_kv_scale", DSV4_F32, 4, shape, NULL, &err), &err);
    assert_not_built(&c, "idx_kv_cache is BF16 and idx_kv_scale is there", "scales with I8 and with nothing else");
    call_deinit(&c);
    c = make_call("prefill_indexer_compressor", preset("tiny"), 1, 5, &start, N_POSITIONS);
    dsv4_tensor *cache = dsv4_tensor_list_find(&c.in, "idx_kv_cache");
    *cache = dsv4_tensor_make(DSV4_I8, cache->n_dims, cache->shape, cache->data);
    assert_not_built(&c, "idx_kv_cache is I8 and idx_kv_scale is missing", "scales with I8");
    call_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_prefill),
        cmocka_unit_test(test_prefill_history),
        cmocka_unit_test(test_prefill_beyond_the_turns),
        cmocka_unit_test(test_refused_elsewhere),
        cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_half_of_an_int8_cache),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
