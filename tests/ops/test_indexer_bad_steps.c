/* What the indexer's operators say about a step whose tables, positions or lengths are wrong: one line that names the tensor, no
 * row chosen, state and cache as they were; and the next step, which is right, runs. */
#include "ops/indexer_runs.h"

/* Element i of an integer tensor, set to a value. */
typedef struct change {
    const char *tensor;
    int64_t i, value;
} change;

static int64_t set_element(const dsv4_tensor_list *list, const char *name, int64_t i, int64_t value)
{
    const dsv4_tensor t = get_tensor(list, name);
    const int64_t before = (int64_t)dsv4_tensor_get(&t, i);
    assert_in_range(i, 0, dsv4_tensor_count(&t) - 1);
    if (t.dtype == DSV4_I64) {
        ((int64_t *)t.data)[i] = value;
    } else {
        assert_int_equal(t.dtype, DSV4_I32);
        ((int32_t *)t.data)[i] = (int32_t)value;
    }
    return before;
}

static void assert_unchanged(const step *s, const sealed *run)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        const op_tensor *row = &s->op->tensors[i];
        const dsv4_tensor *before = dsv4_tensor_list_find(&s->in, row->name);
        if (op_is_output(row) && before != NULL) {
            const dsv4_tensor after = get_tensor(&run->io, row->name);
            assert_int_equal(count_bit_mismatches(before, &after), 0);
        }
    }
}

static void assert_nothing_chosen(const sealed *run)
{
    const dsv4_tensor score = get_tensor(&run->io, "score");
    const int32_t *chosen = i32_of(&run->io, "topk_idxs");
    for (int64_t i = 0; i < dsv4_tensor_count(&score); i++) {
        assert_true(((const float *)score.data)[i] == -FLT_MAX);
        assert_int_equal(chosen[i], -1);
    }
}

/* The step with one element changed is refused with a line that holds both words. */
static void refuse(const step *s, change c, const char *word, const char *other_word)
{
    dsv4_error err = {0};
    sealed reference = run_step(s, compat_options(s, DSV4_REFERENCE));
    sealed run = seal_step(s, compat_options(s, DSV4_REFERENCE), DSV4_DEPS_BLOCK);
    const int64_t before = set_element(&s->in, c.tensor, c.i, c.value);
    const dsv4_status status = replay(&run, pool, 0, &err);
    if (status != DSV4_E_VALUE || strstr(err.text, word) == NULL || strstr(err.text, other_word) == NULL) {
        fail_msg("%s[%d] = %lld: status %d (%s), expected a line with \"%s\" and \"%s\"", c.tensor, (int)c.i, (long long)c.value,
                 status, err.text, word, other_word);
    }
    assert_null(strchr(err.text, '\n'));
    assert_unchanged(s, &run);
    assert_nothing_chosen(&run);

    set_element(&s->in, c.tensor, c.i, before);
    require_ok(replay(&run, pool, 0, &err), &err);
    assert_same_outputs(&run, &reference, "the step set right");
    sealed_deinit(&run);
    sealed_deinit(&reference);
}

/* Requests 0..2 at position 126 and 127: 32 rows, on the first 2 of at least 2 pages each. */
static void test_decode(void **state)
{
    (void)state;
    step s = draw_step(DSV4_DECODE, preset("tiny"), 3, 2, 126);
    const int64_t pages = get_tensor(&s.in, "idx_block_table").shape[1], n_pages = get_tensor(&s.in, "idx_kv_cache").shape[0];
    refuse(&s, (change){"idx_block_table", 0, -1}, "idx_block_table", "[0, 0] is -1");
    refuse(&s, (change){"idx_block_table", pages, n_pages}, "idx_block_table", "[1, 0]");
    refuse(&s, (change){"idx_block_table", 2 * pages, INT32_MIN}, "idx_block_table", "-2147483648");
    refuse(&s, (change){"idx_block_table", 2 * pages, 1}, "idx_block_table", "a page of its own");
    refuse(&s, (change){"idx_block_table", 1, 0}, "idx_slot_mapping", "position 127");
    refuse(&s, (change){"kv_seq_lens", 1, -1}, "kv_seq_lens", "request 1 has -1");
    refuse(&s, (change){"kv_seq_lens", 2, 164}, "kv_seq_lens", "0 to 1");
    refuse(&s, (change){"kv_seq_lens", 0, INT32_MAX}, "kv_seq_lens", "2147483647");
    refuse(&s, (change){"position_ids", 3, 128}, "position_ids", "128");
    refuse(&s, (change){"position_ids", 4, -126}, "position_ids", "-126");
    refuse(&s, (change){"idx_slot_mapping", 1, 30}, "idx_slot_mapping", "30");
    refuse(&s, (change){"idx_slot_mapping", 1, INT64_MIN}, "idx_slot_mapping", "expected -1");
    refuse(&s, (change){"offset", 0, -1}, "offset", "-1");
    refuse(&s, (change){"offset", 0, INT32_MAX}, "offset", "2147483647");
    dsv4_tensor_list_deinit(&s.in);
}

static void test_prefill(void **state)
{
    (void)state;
    step s = draw_step(DSV4_PREFILL, preset("tiny"), 1, 16, 80);
    const int64_t n_pages = get_tensor(&s.in, "idx_kv_cache").shape[0];
    refuse(&s, (change){"idx_block_table", 0, -1}, "idx_block_table", "[0, 0] is -1");
    refuse(&s, (change){"idx_block_table", 0, n_pages}, "idx_block_table", "[0, 0]");
    refuse(&s, (change){"idx_block_table", 0, 1}, "idx_block_table", "a page of its own");
    refuse(&s, (change){"num_tokens", 0, -1}, "num_tokens", "-1");
    refuse(&s, (change){"num_tokens", 0, 17}, "num_tokens", "17");
    refuse(&s, (change){"position_ids", 7, 86}, "position_ids", "token 7");
    refuse(&s, (change){"position_ids", 0, INT32_MAX}, "position_ids", "2147483648");
    refuse(&s, (change){"idx_slot_mapping", 3, 19}, "idx_slot_mapping", "19");
    dsv4_tensor_list_deinit(&s.in);
}

/* Pages that no visible row lies on may be anything. */
static void test_unused_entries_are_not_read(void **state)
{
    (void)state;
    step s = draw_step(DSV4_DECODE, preset("tiny"), 2, 2, 20);
    const int64_t pages = get_tensor(&s.in, "idx_block_table").shape[1];
    sealed reference = run_step(&s, compat_options(&s, DSV4_REFERENCE));
    assert_true(pages >= 2);
    set_element(&s.in, "idx_block_table", pages - 1, -1);
    set_element(&s.in, "idx_block_table", 2 * pages - 1, INT32_MAX);
    sealed run = run_step(&s, compat_options(&s, DSV4_REFERENCE));
    assert_same_outputs(&run, &reference, "unused entries");
    sealed_deinit(&run);
    sealed_deinit(&reference);
    dsv4_tensor_list_deinit(&s.in);
}

/* ---- calls that cannot be built ---------------------------------------------------------------------------------------------- */

static void refuse_call(step *s, const char *word)
{
    dsv4_error err = {0};
    const dsv4_op_options options = {0};
    dsv4_graph *g = dsv4_graph_create("refused");
    dsv4_status status = dsv4_op_build(s->op, &s->config, &options, &s->in, g, &err);
    status = status == DSV4_OK ? dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err) : status;
    if (status == DSV4_OK || strstr(err.text, word) == NULL) {
        fail_msg("status %d (%s), expected a line with \"%s\"", status, err.text, word);
    }
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&s->in);
}

static void test_calls(void **state)
{
    dsv4_error err = {0};
    (void)state;
    step s = draw_step(DSV4_DECODE, preset("tiny"), 2, 2, 20);
    s.config.qk_rope_head_dim = 31;
    refuse_call(&s, "qk_rope_head_dim=31");
    s = draw_step(DSV4_DECODE, indexer_model(2, 6, 8, 4), 2, 2, 20);
    refuse_call(&s, "qk_rope_head_dim=8");
    s = draw_step(DSV4_PREFILL, preset("tiny"), 1, 5, 20);
    require_ok(dsv4_tensor_list_alloc(
                   &s.in, "idx_kv_scale", DSV4_F32, 4,
                   (int64_t[]){get_tensor(&s.in, "idx_kv_cache").shape[0], get_tensor(&s.in, "idx_kv_cache").shape[1], 1, 1}, NULL,
                   &err),
               &err);
    refuse_call(&s, "idx_kv_scale");
    s = draw_step(DSV4_PREFILL, preset("tiny"), 1, 5, 20);
    dsv4_tensor_list_find(&s.in, "idx_kv_cache")->dtype = DSV4_I8;
    refuse_call(&s, "idx_kv_scale");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_prefill),
        cmocka_unit_test(test_unused_entries_are_not_read),
        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
