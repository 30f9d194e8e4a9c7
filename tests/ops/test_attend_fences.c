/* Attention inside a larger graph: compressed rows are written before it, the ring behind it, by stages that only the fences of
 * op_attend order. */
#include "ops/sparse_case.h"

enum { RATIO = 4 };

/* What the stages beside attention share: they find the memory of the call here. */
typedef struct neighbours {
    op_matrix source, cache, ring;     /* rows that the cache is to get; the caches */
    op_matrix cache_table, ring_table; /* I32 [requests, pages] */
    op_matrix done, ring_reads;        /* I8 [n_parts, 1]; [requests, 1] */
    int64_t n_parts, rows_per_part;    /* decode: a part is a request's pages; prefill: it is one row */
} neighbours;

static dsv4_tensor source; /* of the call at hand */

static void copy_row(const neighbours *n, int64_t row)
{
    const size_t row_bytes = (size_t)n->cache.cols * sizeof(uint16_t);
    memcpy((char *)n->cache.data + (size_t)row * row_bytes, (const char *)n->source.data + (size_t)row * row_bytes, row_bytes);
}

static void describe_compress(const void *arg, int64_t block, dsv4_describe *d)
{
    const neighbours *n = arg;
    dsv4_writes(d, n->done.view, block, block + 1, 0, 1);
}

static void run_compress(const void *arg, int64_t block, void *scratch)
{
    const neighbours *n = arg;
    const int32_t *pages = n->cache_table.data;
    (void)scratch;
    for (int64_t i = block * n->rows_per_part; i < (block + 1) * n->rows_per_part; i++) {
        copy_row(n, (int64_t)pages[i / CASE_PAGE] * CASE_PAGE + i % CASE_PAGE);
    }
    ((int8_t *)n->done.data)[block] = 1;
}

static void describe_ring(const void *arg, int64_t block, dsv4_describe *d)
{
    const neighbours *n = arg;
    dsv4_writes(d, n->ring_reads.view, block, block + 1, 0, 1);
}

/* Makes every ring row of a request another one. */
static void run_ring(const void *arg, int64_t block, void *scratch)
{
    const neighbours *n = arg;
    const int32_t *pages = (const int32_t *)n->ring_table.data + block * n->ring_table.cols;
    const size_t page_bytes = CASE_PAGE * (size_t)n->ring.cols * sizeof(uint16_t);
    (void)scratch;
    for (int64_t i = 0; i < n->ring_table.cols; i++) {
        memset((char *)n->ring.data + (size_t)pages[i] * page_bytes, 0x3f, page_bytes);
    }
}

static op_attend attend_of(const op_context *c, const op_key_lists *lists, const neighbours *n)
{
    op_attend a = {
        .tokens_per_request = lists->tokens_per_request,
        .q = op_matrix_named(c, "q", 2),
        .ring = lists->ring,
        .overlay = lists->overlay,
        .compressed = lists->compressed,
        .keys = op_key_lists_add(c, lists),
        .fresh = n->done,
        .fresh_ratio = lists->form == OP_LIST_PREFILL ? RATIO : 0,
        .ring_reads = n->ring_reads,
        .sink = op_matrix_named(c, "attn_sink", 1),
        .turns = op_turns_named(c, "freqs_cos", "freqs_sin"),
        .turn_rows = op_matrix_new(c, "turn rows", 1, c->dims.of[OP_T], DSV4_I32),
        .wo_a = op_tensor_named(c, "wo_a"),
        .wo_b = op_tensor_named(c, "wo_b"),
        .wo_b_scale = op_matrix_named(c, "wo_b_scale", 1),
        .attn_out = op_matrix_named(c, "attn_out", 1),
        .tiles = {2, 1, 128, 32, 1, 32, 4},
    };
    for (int32_t t = 0; t < c->dims.of[OP_T]; t++) {
        ((int32_t *)a.turn_rows.data)[t] = t;
    }
    return a;
}

/* The call's own stages between the two others. */
static void build_fenced(const op_context *c)
{
    const bool prefill = c->op->mode == DSV4_PREFILL;
    const int64_t B = prefill ? 1 : c->dims.of[OP_B], T = c->dims.of[OP_T];
    op_key_lists lists = {.form = prefill ? OP_LIST_PREFILL : OP_LIST_CSA,
                          .tokens_per_request = T / B,
                          .raw = op_matrix_named(c, "cmp_sparse_indices", 1),
                          .lens = prefill ? op_matrix_named(c, "cmp_sparse_lens", 1) : (op_matrix){0},
                          .max_len = op_prefill_max_len(c->config),
                          .ring_table = op_matrix_named(c, "ori_block_table", 1),
                          .compressed_table = op_matrix_named(c, "cmp_block_table", 1),
                          .ring_table_name = "ori_block_table",
                          .page = CASE_PAGE,
                          .ring = op_matrix_named(c, "ori_kv", 2),
                          .overlay = op_matrix_named(c, prefill ? "kv_overlay" : "mtp_kv_overlay", 1),
                          .compressed = op_matrix_named(c, "cmp_kv", 2)};
    neighbours *n = dsv4_graph_memory(c->g, sizeof *n);
    assert_non_null(n);
    n->n_parts = prefill ? (T + RATIO - 1) / RATIO : B;
    n->rows_per_part = prefill ? 1 : CASE_COMPRESSED_PAGES * CASE_PAGE;
    n->source = op_matrix_of(c, "source", &source, 2);
    n->cache = lists.compressed;
    n->ring = lists.ring;
    n->cache_table = lists.compressed_table;
    n->ring_table = lists.ring_table;
    n->done = op_matrix_new(c, "done", n->n_parts, 1, DSV4_I8);
    n->ring_reads = op_matrix_new(c, "ring reads", B, 1, DSV4_I8);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"compress", n->n_parts, run_compress, describe_compress, n, 0, DSV4_VECTOR});
    op_attend a = attend_of(c, &lists, n);
    op_attend_add(c, &a);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"ring", B, run_ring, describe_ring, n, 0, DSV4_VECTOR});
}

/* A token of a chunk sees the windows that have ended: the compressed rows up to t / RATIO. */
static void keep_ended_windows(sparse_case *c)
{
    dsv4_tensor lists = get_tensor(&c->in, "cmp_sparse_indices");
    const int64_t first = c->config.sliding_window + c->S;
    for (int64_t i = 0; is_prefill(c) && i < dsv4_tensor_count(&lists); i++) {
        int32_t *index = (int32_t *)lists.data + i;
        *index = *index >= first ? (int32_t)(first + draw_below(c, i / lists.shape[1] / RATIO + 1)) : *index;
    }
    if (is_prefill(c)) {
        *(int32_t *)get_tensor(&c->in, "num_tokens").data = (int32_t)c->S;
    }
}

static void check_fences(const char *name, int64_t B, int64_t S)
{
    const dsv4_config config = small_model();
    sparse_case c = make_case(name, &config, B, S, 6);
    keep_ended_windows(&c);
    sealed reference = run_case(&c, (dsv4_op_options){0});
    dsv4_tensor cache = get_tensor(&c.in, "cmp_kv"), ring = get_tensor(&c.in, "ori_kv");
    const size_t cache_bytes = dsv4_tensor_bytes(&cache), ring_bytes = dsv4_tensor_bytes(&ring);
    dsv4_tensor_list kept = {0};
    dsv4_tensor kept_ring;
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_alloc(&kept, "cmp_kv", DSV4_BF16, 4, cache.shape, &source, &err), &err);
    require_ok(dsv4_tensor_list_alloc(&kept, "ori_kv", DSV4_BF16, 4, ring.shape, &kept_ring, &err), &err);
    memcpy(source.data, cache.data, cache_bytes);
    memcpy(kept_ring.data, ring.data, ring_bytes);
    dsv4_op fenced = *c.op;
    fenced.build = build_fenced;
    sealed s = seal_rows(&fenced, &config, &c.in, 0, 0, (dsv4_op_options){0}, DSV4_DEPS_BLOCK);
    dsv4_exec *exec;
    require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, &err), &err);
    for (uint64_t shuffle = 0; shuffle < 40; shuffle++) {
        memset(cache.data, 0x3f, cache_bytes);
        memcpy(ring.data, kept_ring.data, ring_bytes);
        spoil_outputs(&s);
        require_ok(dsv4_exec_run(exec, shuffle, &err), &err);
        assert_same_rows(&s, &reference, 0, "between writers of its caches");
        assert_memory_not_equal(ring.data, kept_ring.data, ring_bytes);
    }
    dsv4_exec_destroy(exec);
    sealed_deinit(&s);
    sealed_deinit(&reference);
    dsv4_tensor_list_deinit(&kept);
    dsv4_tensor_list_deinit(&c.in);
}

static void test_decode(void **state)
{
    (void)state;
    check_fences("decode_sparse_attn", 3, 2);
}

static void test_prefill(void **state)
{
    (void)state;
    check_fences("prefill_sparse_attn", 1, 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_prefill),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
