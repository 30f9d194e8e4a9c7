/* The sealed graphs: every declaration is right, blocks wait for the blocks whose data they read and for no others, counts are
 * as tiles say. */
#include "ops/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "rt/graph.h"

/* ---- looking into a graph ----------------------------------------------------------------------------------------------- */

static int32_t stage_named(const dsv4_graph *g, const char *name)
{
    for (int64_t s = 0; s < g->stages.n; s++) {
        if (strcmp(g->stages.items[s].name, name) == 0) {
            return (int32_t)s;
        }
    }
    fail_msg("no stage %s", name);
    return 0;
}

static int64_t blocks_of(const dsv4_graph *g, const char *stage)
{
    return g->stages.items[stage_named(g, stage)].n_blocks;
}

/* The box of a view that a block reads or writes: the first one declared. */
static dsv4_box box_of(const dsv4_graph *g, const char *stage, int64_t block, int mode, const char *view)
{
    dsv4_describe d = {0};
    dsv4_error err = {0};
    dsv4_box box = {0};
    bool found = false;
    require_ok(rt_describe_block(&d, g, stage_named(g, stage), block, &err), &err);
    for (int64_t i = 0; i < d.touches.n && !found; i++) {
        found = (d.touches.items[i].mode & mode) != 0 && strcmp(g->views.items[d.touches.items[i].view].name, view) == 0;
        box = d.touches.items[i].box;
    }
    rt_describe_deinit(&d);
    if (!found) {
        fail_msg("%s block %lld does not touch %s", stage, (long long)block, view);
    }
    return box;
}

/* Marks the tasks that must be done before a block starts, itself included. The caller frees. */
static bool *tasks_before(const dsv4_graph *g, const char *stage, int64_t block)
{
    bool *before = calloc((size_t)g->n_tasks, sizeof *before), changed = true;
    assert_non_null(before);
    for (int64_t i = 0; i < g->n_tasks; i++) {
        before[i] = g->tasks[i].stage == stage_named(g, stage) && g->tasks[i].block == block;
    }
    while (changed) {
        changed = false;
        for (int64_t i = g->n_tasks - 1; i >= 0; i--) {
            for (int64_t e = g->tasks[i].after; e < g->tasks[i].after_end && !before[i]; e++) {
                before[i] = before[g->after[e]];
                changed = changed || before[i];
            }
        }
    }
    return before;
}

static bool overlap(dsv4_box a, dsv4_box b)
{
    return a.row0 < b.row1 && b.row0 < a.row1 && a.col0 < b.col1 && b.col0 < a.col1;
}

/* Every block of reader waits for exactly those blocks of writer that write what it reads of the view. */
static void assert_waits_for_what_it_reads(const dsv4_graph *g, const char *reader, const char *writer, const char *view)
{
    const int32_t writer_stage = stage_named(g, writer);
    int64_t n_free = 0;
    for (int64_t b = 0; b < blocks_of(g, reader); b++) {
        const dsv4_box reads = box_of(g, reader, b, DSV4_READ, view);
        bool *before = tasks_before(g, reader, b);
        for (int64_t i = 0; i < g->n_tasks; i++) {
            if (g->tasks[i].stage != writer_stage) {
                continue;
            }
            const bool needed = overlap(reads, box_of(g, writer, g->tasks[i].block, DSV4_WRITE, view));
            if (before[i] != needed) {
                fail_msg("%s block %lld %s %s block %lld", reader, (long long)b, before[i] ? "waits for" : "does not wait for",
                         writer, (long long)g->tasks[i].block);
            }
            n_free += !needed;
        }
        free(before);
    }
    assert_true(n_free > 0);
}

/* Number of blocks of another stage that one block waits for. */
static int64_t count_before(const dsv4_graph *g, const char *stage, int64_t block, const char *other)
{
    bool *before = tasks_before(g, stage, block);
    int64_t n = 0;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        n += before[i] && g->tasks[i].stage == stage_named(g, other);
    }
    free(before);
    return n;
}

/* ---- waiting ------------------------------------------------------------------------------------------------------------ */

static const char *const several_row_tiles[] = {"t_tile=8",      "n_tile=64",    "k_split=2",
                                                "norm_t_tile=4", "norm_parts=3", "head_group=2"};

enum { N_SEVERAL = sizeof several_row_tiles / sizeof *several_row_tiles };

static sealed seal_several(dsv4_tensor_list *in, dsv4_deps deps)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = model(1030, 1100, 4, 96, 10);
    *in = draw_inputs(op, &config, 29, 0);
    return seal_rows(op, &config, in, 0, 0, (dsv4_op_options){.sets = several_row_tiles, .n_sets = N_SEVERAL}, deps);
}

static void test_blocks_wait_for_blocks(void **state)
{
    dsv4_tensor_list in;
    sealed s = seal_several(&in, DSV4_DEPS_BLOCK);
    (void)state;
    assert_waits_for_what_it_reads(s.graph, "qkv.qr_norm", "qkv.qr_sum", "qkv.sums");
    assert_waits_for_what_it_reads(s.graph, "qkv.qr_quant", "qkv.qr_norm", "qkv.amax");
    assert_waits_for_what_it_reads(s.graph, "qkv.qr_tile", "qkv.qr_quant", "qr");
    assert_waits_for_what_it_reads(s.graph, "qkv.q_proj", "qkv.qr_tile", "qkv.qr_tile");
    for (int64_t b = 0; b < blocks_of(s.graph, "qkv.kv_head"); b++) {
        assert_int_equal(count_before(s.graph, "qkv.kv_head", b, "qkv.qr_proj"), 0);
        assert_true(count_before(s.graph, "qkv.kv_head", b, "qkv.kv_proj") > 0);
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

/* A row of low-rank q needs every column and every share of k of its rows, and nothing of other rows. */
static void test_split_sums_are_waited_for(void **state)
{
    dsv4_tensor_list in;
    sealed s = seal_several(&in, DSV4_DEPS_BLOCK);
    const int64_t row_tiles = 4, of_one_row_tile = blocks_of(s.graph, "qkv.qr_proj") / row_tiles;
    (void)state;
    for (int64_t b = 0; b < blocks_of(s.graph, "qkv.qr_quant"); b++) {
        assert_int_equal(count_before(s.graph, "qkv.qr_quant", b, "qkv.qr_proj"), of_one_row_tile);
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

/* A sum over part of a row waits for the column tiles of that part alone. */
static void test_parts_wait_for_their_columns(void **state)
{
    dsv4_tensor_list in;
    sealed s = seal_several(&in, DSV4_DEPS_BLOCK);
    (void)state;
    for (int64_t b = 0; b < blocks_of(s.graph, "qkv.qr_sum"); b++) {
        const dsv4_box part = box_of(s.graph, "qkv.qr_sum", b, DSV4_WRITE, "qkv.a");
        const int64_t column_tiles = (part.col1 + 63) / 64 - part.col0 / 64;
        assert_in_range(part.col1 - part.col0, 1, 512);
        assert_int_equal(count_before(s.graph, "qkv.qr_sum", b, "qkv.qr_proj"), 2 * column_tiles);
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

static void test_stages_wait_for_stages(void **state)
{
    dsv4_tensor_list in;
    sealed s = seal_several(&in, DSV4_DEPS_STAGE);
    (void)state;
    for (int64_t b = 0; b < blocks_of(s.graph, "qkv.q_proj"); b++) {
        assert_int_equal(count_before(s.graph, "qkv.q_proj", b, "qkv.qr_quant"), blocks_of(s.graph, "qkv.qr_quant"));
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

/* ---- counts ------------------------------------------------------------------------------------------------------------- */

static void test_tiles_decide_the_blocks(void **state)
{
    dsv4_tensor_list in;
    sealed s = seal_several(&in, DSV4_DEPS_BLOCK); /* T 29, D 1030, QL 1100, H 4, hd 96 */
    (void)state;
    assert_int_equal(blocks_of(s.graph, "qkv.qr_proj"), 4 * 18 * 2);
    assert_int_equal(blocks_of(s.graph, "qkv.kv_proj"), 4 * 2 * 2);
    assert_int_equal(blocks_of(s.graph, "qkv.qr_sum"), 8 * 3);
    assert_int_equal(blocks_of(s.graph, "qkv.qr_norm"), 8 * 3);
    assert_int_equal(blocks_of(s.graph, "qkv.qr_quant"), 8 * 3);
    assert_int_equal(blocks_of(s.graph, "qkv.q_proj"), 4 * 2);
    assert_int_equal(blocks_of(s.graph, "qkv.kv_head"), 8);
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

static void assert_every_block_writes(const dsv4_graph *g)
{
    dsv4_describe d = {0};
    dsv4_error err = {0};
    for (int32_t stage = 0; stage < g->stages.n; stage++) {
        assert_true(g->stages.items[stage].n_blocks > 0);
        for (int64_t b = 0; b < g->stages.items[stage].n_blocks; b++) {
            bool writes = false;
            require_ok(rt_describe_block(&d, g, stage, b, &err), &err);
            for (int64_t i = 0; i < d.touches.n; i++) {
                writes = writes || (d.touches.items[i].mode & DSV4_WRITE) != 0;
            }
            if (!writes) {
                fail_msg("%s block %lld writes nothing", g->stages.items[stage].name, (long long)b);
            }
        }
    }
    rt_describe_deinit(&d);
}

/* Of flash, tokens [0, T) of in. */
static void check_counts(const dsv4_op *op, const dsv4_tensor_list *in, int64_t T, dsv4_mode mode, int64_t max_edges,
                         int64_t longest_path)
{
    const dsv4_config flash = preset("flash");
    sealed s = seal_rows(op, &flash, in, 0, T, (dsv4_op_options){.mode = mode}, DSV4_DEPS_BLOCK);
    const dsv4_graph_info info = dsv4_graph_get_info(s.graph);
    print_message("  %s %s: %lld blocks, %lld edges, %lld joins\n", op->name, mode == DSV4_DECODE ? "decode" : "prefill",
                  (long long)info.n_blocks, (long long)info.n_edges, (long long)info.n_joins);
    assert_every_block_writes(s.graph);
    assert_int_equal(info.longest_path, longest_path);
    assert_in_range(info.n_edges, 0, max_edges);
    sealed_deinit(&s);
}

static void test_counts_of_presets(void **state)
{
    static const struct {
        const char *op;
        int64_t max_edges, longest_path; /* of decode; prefill may have ten times as many edges */
    } rows[] = {{"rmsnorm", 100, 2}, {"qkv_proj_rope", 5000, 7}, {"rope_tables", 0, 1}};
    const dsv4_config flash = preset("flash");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dsv4_op *op = find_op(rows[i].op);
        dsv4_tensor_list in = draw_inputs(op, &flash, 128, 4);
        check_counts(op, &in, 8, DSV4_DECODE, rows[i].max_edges, rows[i].longest_path);
        check_counts(op, &in, 128, DSV4_PREFILL, 10 * rows[i].max_edges, rows[i].longest_path);
        dsv4_tensor_list_deinit(&in);
    }
}

/* ---- declarations ------------------------------------------------------------------------------------------------------- */

/* Inputs written by a stage of the graph itself: verifying looks for undeclared reads of memory that some block writes. */
typedef struct filler {
    const dsv4_tensor_list *from;
    dsv4_tensor_list to;
    dsv4_view *views;
} filler;

static void describe_fill(const void *arg, int64_t block, dsv4_describe *d)
{
    const filler *f = arg;
    dsv4_writes(d, f->views[block], 0, 1, 0, (int64_t)dsv4_tensor_bytes(&f->to.items[block].tensor));
}

static void run_fill(const void *arg, int64_t block, void *scratch)
{
    const filler *f = arg;
    const dsv4_tensor *to = &f->to.items[block].tensor;
    (void)scratch;
    memcpy(to->data, get_tensor(f->from, f->to.items[block].name).data, dsv4_tensor_bytes(to));
}

/* Adds the stage, and the tensors it writes, which hold the same already: weights are packed while building. */
static void add_filler(dsv4_graph *g, const dsv4_tensor_list *in, filler *f)
{
    dsv4_error err = {0};
    *f = (filler){.from = in, .views = dsv4_graph_memory(g, in->n * sizeof *f->views)};
    assert_non_null(f->views);
    for (size_t i = 0; i < in->n; i++) {
        const dsv4_tensor *t = &in->items[i].tensor;
        dsv4_tensor copy;
        require_ok(dsv4_tensor_list_alloc(&f->to, in->items[i].name, t->dtype, t->n_dims, t->shape, &copy, &err), &err);
        const size_t n_bytes = dsv4_tensor_bytes(t);
        memcpy(copy.data, t->data, n_bytes);
        f->views[i] = dsv4_graph_view(g, in->items[i].name, copy.data, 1, (int64_t)n_bytes, 1, n_bytes);
    }
    dsv4_graph_stage(g, &(dsv4_stage_desc){"fill", (int64_t)in->n, run_fill, describe_fill, f, 0, DSV4_VECTOR});
}

static void verify_with(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_op_options options,
                        dsv4_deps deps)
{
    dsv4_graph *g = dsv4_graph_create(op->name);
    dsv4_error err = {0};
    filler f;
    int64_t n_findings = -1;
    add_filler(g, in, &f);
    require_ok(dsv4_op_build(op, config, &options, &f.to, g, &err), &err);
    require_ok(dsv4_graph_seal(g, deps, &err), &err);
    require_ok(dsv4_graph_verify(g, 11 + (uint64_t)deps, &n_findings, &err), &err);
    assert_int_equal(n_findings, 0);
    assert_every_block_writes(g);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&f.to);
}

static void verify(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_op_options options)
{
    const dsv4_deps coarsest = SANITIZED ? DSV4_DEPS_BLOCK : DSV4_DEPS_TENSOR;
    for (int deps = DSV4_DEPS_BLOCK; deps <= (int)coarsest; deps++) {
        verify_with(op, config, in, options, (dsv4_deps)deps);
    }
}

static void test_declarations_are_right(void **state)
{
    const dsv4_config models[] = {preset("tiny"), model(513, 515, 2, 514, 2), model(100, 72, 3, 40, 6), model(1025, 1, 1, 2, 2)};
    const char *const names[] = {"rmsnorm", "qkv_proj_rope", "rope_tables"};
    (void)state;
    for (size_t m = 0; m < (SANITIZED ? 2 : sizeof models / sizeof *models); m++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const dsv4_op *op = find_op(names[i]);
            dsv4_tensor_list in = draw_inputs(op, &models[m], SANITIZED ? 5 : 19, 4);
            verify(op, &models[m], &in, (dsv4_op_options){.mode = DSV4_DECODE});
            verify(op, &models[m], &in, (dsv4_op_options){.mode = DSV4_PREFILL});
            dsv4_tensor_list_deinit(&in);
        }
    }
}

static void test_declarations_are_right_under_fine_tiles(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = model(1030, 1100, 4, 96, 10);
    dsv4_tensor_list in = draw_inputs(op, &config, SANITIZED ? 3 : 9, 0);
    (void)state;
    verify(op, &config, &in, (dsv4_op_options){.sets = several_row_tiles, .n_sets = N_SEVERAL});
    dsv4_tensor_list_deinit(&in);
}

/* ---- graphs of more than one call --------------------------------------------------------------------------------------- */

/* A replay follows what its inputs hold now, and keeps nothing of the replay before. */
static void test_replays_follow_their_inputs(void **state)
{
    const dsv4_op *op = find_op("qkv_proj_rope");
    const dsv4_config config = model(1030, 1100, 4, 96, 10);
    dsv4_tensor_list in = draw_inputs(op, &config, 20, 0), now = {0};
    dsv4_exec *exec;
    dsv4_error err = {0};
    (void)state;
    sealed all = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        if (!op_is_output(row) && is_per_token(row)) {
            require_ok(dsv4_tensor_list_alloc(&now, row->name, row->dtype, 2, (int64_t[]){4, get_tensor(&in, row->name).shape[1]},
                                              NULL, &err),
                       &err);
        } else if (!op_is_output(row)) {
            put_tensor(&now, row->name, get_tensor(&in, row->name));
        }
    }
    sealed s =
        seal_rows(op, &config, &now, 0, 0, (dsv4_op_options){.sets = several_row_tiles, .n_sets = N_SEVERAL}, DSV4_DEPS_BLOCK);
    require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, &err), &err);
    for (int64_t t0 = 16; t0 >= 0; t0 -= 4) {
        for (size_t i = 0; i < now.n; i++) {
            const dsv4_tensor t = now.items[i].tensor;
            if (now.items[i].owned != NULL) {
                memcpy(t.data, rows_of(get_tensor(&in, now.items[i].name), t0, 4).data, dsv4_tensor_bytes(&t));
            }
        }
        spoil_outputs(&s);
        assert_int_equal(dsv4_exec_run(exec, 0, NULL), DSV4_OK);
        assert_same_rows(&s, &all, t0, "replay");
    }
    dsv4_exec_destroy(exec);
    sealed_deinit(&s);
    sealed_deinit(&all);
    dsv4_tensor_list_deinit(&now);
    dsv4_tensor_list_deinit(&in);
}

/* rmsnorm into qkv_proj_rope in one graph: the results of two graphs, and no barrier between the operators. */
static void test_operators_chain(void **state)
{
    const dsv4_op *rms = find_op("rmsnorm"), *qkv = find_op("qkv_proj_rope");
    const dsv4_config config = model(1030, 1100, 4, 96, 10);
    const char *const rms_tiles[] = {"t_tile=8", "norm_parts=3"};
    dsv4_tensor_list rms_in = draw_inputs(rms, &config, 29, 0), qkv_in = draw_inputs(qkv, &config, 29, 0);
    dsv4_tensor_list normed = borrow_inputs(rms, &rms_in, 0, 0);
    dsv4_error err = {0};
    int64_t n_findings = -1;
    (void)state;
    sealed alone = run_rows(rms, &config, &rms_in, 0, 0, (dsv4_op_options){0}, pool);
    *dsv4_tensor_list_find(&qkv_in, "x") = get_tensor(&alone.io, "x_normed");
    sealed expected = run_rows(qkv, &config, &qkv_in, 0, 0, (dsv4_op_options){0}, pool);

    sealed chain = {qkv, {0}, dsv4_graph_create("chain")};
    require_ok(dsv4_op_build(rms, &config, &(dsv4_op_options){.sets = rms_tiles, .n_sets = 2}, &normed, chain.graph, &err), &err);
    *dsv4_tensor_list_find(&qkv_in, "x") = get_tensor(&normed, "x_normed");
    chain.io = borrow_inputs(qkv, &qkv_in, 0, 0);
    require_ok(dsv4_op_build(qkv, &config, &(dsv4_op_options){.sets = several_row_tiles, .n_sets = N_SEVERAL}, &chain.io,
                             chain.graph, &err),
               &err);
    require_ok(dsv4_graph_seal(chain.graph, DSV4_DEPS_BLOCK, &err), &err);
    run_sealed(&chain, pool);
    assert_same_rows(&chain, &expected, 0, "chained");
    for (int64_t b = 0; b < blocks_of(chain.graph, "qkv.qr_proj"); b++) {
        const int64_t n_parts = count_before(chain.graph, "qkv.qr_proj", b, "rmsnorm.apply");
        assert_in_range(n_parts, 1, 3); /* those of its own rows; rows are packed whole, 2048 columns at a time */
    }
    require_ok(dsv4_graph_verify(chain.graph, 5, &n_findings, &err), &err);
    assert_int_equal(n_findings, 0);

    sealed_deinit(&chain);
    sealed_deinit(&expected);
    sealed_deinit(&alone);
    dsv4_tensor_list_deinit(&normed);
    dsv4_tensor_list_deinit(&qkv_in);
    dsv4_tensor_list_deinit(&rms_in);
}

/* x_normed may be x itself. */
static void test_rmsnorm_in_place(void **state)
{
    const dsv4_op *op = find_op("rmsnorm");
    const dsv4_config config = preset("flash");
    dsv4_tensor_list in = draw_inputs(op, &config, 21, 0);
    (void)state;
    sealed apart = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    put_tensor(&in, "x_normed", get_tensor(&in, "x"));
    dsv4_graph *g = dsv4_graph_create("in place");
    dsv4_exec *exec;
    dsv4_error err = {0};
    require_ok(dsv4_op_build(op, &config, &(dsv4_op_options){0}, &in, g, &err), &err);
    require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
    require_ok(dsv4_exec_create(g, pool, 0, &exec, &err), &err);
    assert_int_equal(dsv4_exec_run(exec, 9, NULL), DSV4_OK);
    dsv4_exec_destroy(exec);
    const dsv4_tensor got = get_tensor(&in, "x"), want = get_tensor(&apart.io, "x_normed");
    assert_int_equal(count_bit_mismatches(&got, &want), 0);
    dsv4_graph_destroy(g);
    sealed_deinit(&apart);
    dsv4_tensor_list_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_wait_for_blocks),
        cmocka_unit_test(test_split_sums_are_waited_for),
        cmocka_unit_test(test_parts_wait_for_their_columns),
        cmocka_unit_test(test_stages_wait_for_stages),
        cmocka_unit_test(test_tiles_decide_the_blocks),
        cmocka_unit_test(test_counts_of_presets),
        cmocka_unit_test(test_declarations_are_right),
        cmocka_unit_test(test_declarations_are_right_under_fine_tiles),
        cmocka_unit_test(test_replays_follow_their_inputs),
        cmocka_unit_test(test_operators_chain),
        cmocka_unit_test(test_rmsnorm_in_place),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
