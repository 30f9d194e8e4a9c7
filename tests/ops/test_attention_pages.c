/* Whose pages an attention layer reads and writes: full pages may be shared, a page that the step writes belongs to one place, and
 * whoever reads what the step writes waits for it. */
#include "ops/pool.h"

enum { PAGE = 16, CSA = 4, HCA = 128 }; /* rows of a drawn page: the sliding window of the preset; compress ratios */

typedef struct layer {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list in;
} layer;

static layer draw_ratio(int ratio, dsv4_mode mode, int64_t n_requests, int64_t n_tokens, int64_t start_pos)
{
    layer l = {.config = preset("tiny")};
    dsv4_error err = {0};
    require_ok(op_choose("attention", (int)mode, ratio, &l.op, &err), &err);
    const op_call call = {.mode = mode, .n_requests = n_requests, .n_tokens = n_tokens, .start_pos = start_pos, .seed = 3};
    require_ok(op_draw_inputs(l.op, &l.config, &call, &l.in, &err), &err);
    return l;
}

static layer draw_step(dsv4_mode mode, int64_t n_requests, int64_t n_tokens, int64_t start_pos)
{
    return draw_ratio(CSA, mode, n_requests, n_tokens, start_pos);
}

/* Tiles are small, so that a token is not held up by others. */
static sealed seal_step(const layer *l)
{
    const char *const sets[] = {"t_tile=8"};
    return seal_rows(l->op, &l->config, &l->in, 0, 0, (dsv4_op_options){.mode = (dsv4_mode)l->op->mode, .sets = sets, .n_sets = 1},
                     DSV4_DEPS_BLOCK);
}

static sealed run_step(const layer *l)
{
    sealed s = seal_step(l);
    run_sealed(&s, pool);
    return s;
}

static int32_t *entries_of(const layer *l, const char *table)
{
    return get_tensor(&l->in, table).data;
}

/* Page `to` of a cache gets the rows of page `from`. */
static void copy_page(const layer *l, const char *cache, int64_t from, int64_t to)
{
    const dsv4_tensor t = get_tensor(&l->in, cache);
    const size_t bytes = dsv4_tensor_bytes(&t) / (size_t)t.shape[0];
    assert_int_equal(t.shape[1], PAGE);
    memcpy((char *)t.data + (size_t)to * bytes, (const char *)t.data + (size_t)from * bytes, bytes);
}

/* The step is refused with a line that holds both words, and caches and states stay as they were. */
static void assert_refused(const layer *l, const char *word, const char *other_word)
{
    sealed s = seal_step(l);
    dsv4_exec *exec;
    dsv4_error err = {0}, refusal = {0};
    require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, &err), &err);
    assert_int_equal(dsv4_exec_run(exec, 0, &refusal), DSV4_E_VALUE);
    if (strstr(refusal.text, word) == NULL || strstr(refusal.text, other_word) == NULL) {
        fail_msg("got \"%s\", expected \"%s\" and \"%s\" in it", refusal.text, word, other_word);
    }
    for (size_t i = 0; i < l->op->n_tensors; i++) {
        const dsv4_tensor *before = dsv4_tensor_list_find(&l->in, l->op->tensors[i].name);
        if (op_is_output(&l->op->tensors[i]) && before != NULL) {
            const dsv4_tensor after = get_tensor(&s.io, l->op->tensors[i].name);
            assert_int_equal(count_bit_mismatches(before, &after), 0);
        }
    }
    dsv4_exec_destroy(exec);
    sealed_deinit(&s);
}

/* ---- pages of several requests --------------------------------------------------------------------------------------------- */

/* Both requests see the first page, which is full, and complete a row of their second one. */
static void test_full_page_is_shared(void **state)
{
    (void)state;
    static const char *const caches[][2] = {{"cmp_kv", "cmp_block_table"}, {"idx_kv_cache", "idx_block_table"}};
    layer l = draw_step(DSV4_DECODE, 2, 2, CSA * (PAGE + 1) - 1);
    for (size_t i = 0; i < 2; i++) {
        const int32_t *entries = entries_of(&l, caches[i][1]);
        copy_page(&l, caches[i][0], entries[0], entries[get_tensor(&l.in, caches[i][1]).shape[1]]);
    }
    sealed own = run_step(&l);
    for (size_t i = 0; i < 2; i++) {
        int32_t *entries = entries_of(&l, caches[i][1]);
        entries[get_tensor(&l.in, caches[i][1]).shape[1]] = entries[0];
    }
    sealed shared = run_step(&l);
    assert_same_rows(&shared, &own, 0, "a shared page");
    sealed_deinit(&shared);
    sealed_deinit(&own);
    dsv4_tensor_list_deinit(&l.in);
}

/* The last row of the first page is completed by a step of the first request; the second one sees it or rewrites it. */
static void test_written_page_is_not_shared(void **state)
{
    (void)state;
    static const char *const tables[] = {"cmp_block_table", "idx_block_table"};
    for (size_t i = 0; i < 2; i++) {
        layer l = draw_step(DSV4_DECODE, 2, 2, CSA * PAGE - 1);
        int32_t *entries = entries_of(&l, tables[i]);
        entries[get_tensor(&l.in, tables[i]).shape[1]] = entries[0];
        assert_refused(&l, tables[i], "which the step writes as [0, 0]");
        dsv4_tensor_list_deinit(&l.in);
    }
}

/* ---- pages of one request -------------------------------------------------------------------------------------------------- */

/* Rows of the second page would replace rows of the first one that earlier tokens of the chunk read. */
static void test_page_is_not_listed_twice(void **state)
{
    (void)state;
    static const char *const tables[] = {"cmp_block_table", "idx_block_table"};
    for (size_t i = 0; i < 2; i++) {
        layer l = draw_step(DSV4_PREFILL, 1, PAGE, CSA * PAGE - 8);
        int32_t *entries = entries_of(&l, tables[i]);
        entries[1] = entries[0];
        assert_refused(&l, tables[i], "which the step writes as [0, 0]");
        dsv4_tensor_list_deinit(&l.in);
    }
}

/* A slot that is not the token's own would be read by requests that do not wait for it. */
static void test_slot_is_own(void **state)
{
    (void)state;
    static const char *const slots[] = {"ori_slot_mapping", "cmp_slot_mapping", "idx_slot_mapping", "state_slot_mapping"};
    for (size_t i = 0; i < 4; i++) {
        layer l = draw_step(DSV4_DECODE, 2, 1, CSA * 2 - 1);
        dsv4_error err = {0};
        dsv4_tensor given;
        require_ok(dsv4_tensor_list_alloc(&l.in, slots[i], DSV4_I64, 1, (int64_t[]){2}, &given, &err), &err);
        memcpy(given.data, (int64_t[]){-1, 0}, 2 * sizeof(int64_t));
        assert_refused(&l, slots[i], "token 1 is 0, expected -1 or");
        dsv4_tensor_list_deinit(&l.in);
    }
}

/* Every token of the chunk lists its last window, which only the last token ends. */
static void test_listed_window_is_awaited(void **state)
{
    (void)state;
    enum { TOKENS = 2 * HCA, RUNS = 6 };
    layer l = draw_ratio(HCA, DSV4_PREFILL, 1, TOKENS, 0);
    dsv4_error err = {0};
    dsv4_tensor lists, lens;
    require_ok(dsv4_tensor_list_alloc(&l.in, "cmp_sparse_indices", DSV4_I32, 2, (int64_t[]){TOKENS, 1}, &lists, &err), &err);
    require_ok(dsv4_tensor_list_alloc(&l.in, "cmp_sparse_lens", DSV4_I32, 1, (int64_t[]){TOKENS}, &lens, &err), &err);
    for (int64_t t = 0; t < TOKENS; t++) {
        ((int32_t *)lists.data)[t] = PAGE + TOKENS + 1;
        ((int32_t *)lens.data)[t] = 1;
    }
    const dsv4_tensor gates = get_tensor(&l.in, "hc_attn_base"), gamma = get_tensor(&l.in, "cmp_norm_w");
    memset(gates.data, 0, dsv4_tensor_bytes(&gates)); /* attention weighs as much as the streams */
    memset(gamma.data, 0x3f, dsv4_tensor_bytes(&gamma));
    sealed first = run_step(&l);
    for (uint64_t shuffle = 1; shuffle <= RUNS; shuffle++) {
        sealed s = seal_step(&l);
        dsv4_exec *exec;
        require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, &err), &err);
        require_ok(dsv4_exec_run(exec, shuffle, &err), &err);
        assert_same_rows(&s, &first, 0, "another order");
        dsv4_exec_destroy(exec);
        sealed_deinit(&s);
    }
    sealed_deinit(&first);
    dsv4_tensor_list_deinit(&l.in);
}

/* ---- tables ----------------------------------------------------------------------------------------------------------------- */

/* Caches without a page may claim pages of any height: the rows that a table names are more than INT32 or even INT64 counts. */
static void test_rows_of_a_request_are_counted(void **state)
{
    (void)state;
    enum { ENTRIES = 512 };
    static const char *const caches[] = {"kv_cache", "cmp_kv", "idx_kv_cache"};
    static const char *const tables[] = {"ori_block_table", "cmp_block_table", "idx_block_table"};
    static int32_t entries[ENTRIES];
    layer l = draw_step(DSV4_DECODE, 1, 1, 0);
    dsv4_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        const int64_t width = get_tensor(&l.in, caches[i]).shape[3];
        *dsv4_tensor_list_find(&l.in, caches[i]) =
            dsv4_tensor_make(DSV4_BF16, 4, (int64_t[]){0, INT64_C(1) << 54, 1, width}, entries);
        *dsv4_tensor_list_find(&l.in, tables[i]) = dsv4_tensor_make(DSV4_I32, 2, (int64_t[]){1, ENTRIES}, entries);
    }
    sealed s = {l.op, borrow_inputs(l.op, &l.in, 0, 0), dsv4_graph_create(l.op->name)};
    const dsv4_op_options options = {.mode = DSV4_DECODE};
    assert_int_equal(dsv4_op_build(l.op, &l.config, &options, &s.io, s.graph, &err), DSV4_E_SHAPE);
    assert_non_null(strstr(err.text, "512 pages of 18014398509481984 rows"));
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&l.in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_page_is_shared),      cmocka_unit_test(test_written_page_is_not_shared),
        cmocka_unit_test(test_page_is_not_listed_twice), cmocka_unit_test(test_slot_is_own),
        cmocka_unit_test(test_listed_window_is_awaited), cmocka_unit_test(test_rows_of_a_request_are_counted),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
