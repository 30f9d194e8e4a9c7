/* What an attention layer gives does not depend on threads, the order of ready blocks, dependencies, instruction sets, tiles, or
 * on the company of other requests and of padding; and its blocks touch what they declare. */
#include "ops/layer.h"

enum { N_ORDERS = SANITIZED ? 2 : 12 };

#define CORRECT ((dsv4_numerics){DSV4_CORRECT, DSV4_SCALE_GROUP})

/* Steps in which windows end and steps in which none does, chunks with padding, a chunk in which two windows of 128 end. */
static layer layers[11];
static sealed references[11];

enum { N_LAYERS = sizeof layers / sizeof *layers };

/* Sums of several chunks, which blocks can share. */
static dsv4_config wide(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = 1100;
    config.q_lora_rank = 520;
    config.num_attention_heads = 12;
    config.o_groups = 2;
    return config;
}

static layer padded(layer l, int64_t n)
{
    set_valid(&l, n);
    return l;
}

static int set_up(void **state)
{
    create_pool(state);
    layers[0] = draw_decode(0, preset("tiny"), 4, 2, OP_UNKNOWN);
    layers[1] = draw_decode(4, preset("tiny"), 5, 2, OP_UNKNOWN);
    layers[2] = draw_decode(128, preset("tiny"), 5, 2, OP_UNKNOWN);
    layers[3] = draw_decode(4, preset("tiny"), 2, 1, 20);
    layers[4] = draw_decode(128, preset("tiny"), 1, 2, 20);
    layers[5] = padded(draw_prefill(0, preset("tiny"), 23, 30), 19);
    layers[6] = padded(draw_prefill(4, preset("tiny"), 23, 30), 19);
    layers[7] = padded(draw_prefill(128, preset("tiny"), 23, 120), 19);
    layers[8] = padded(draw_prefill(128, preset("tiny"), 150, 118), 140);
    layers[9] = draw_decode(4, wide(), 2, 2, 6);
    layers[10] = padded(draw_prefill(128, wide(), 13, 120), 11);
    for (size_t i = 0; i < N_LAYERS; i++) {
        references[i] = run_layer(&layers[i], CORRECT);
    }
    return 0;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < N_LAYERS; i++) {
        sealed_deinit(&references[i]);
        layer_deinit(&layers[i]);
    }
    return destroy_pool(state);
}

static bool is_long(const layer *l)
{
    return n_tokens(l) > 100;
}

static void check_run(size_t i, dsv4_op_options options, dsv4_deps deps, dsv4_pool *on, const char *what)
{
    if (SANITIZED && is_long(&layers[i])) {
        return;
    }
    options.mode = (dsv4_mode)layers[i].op->mode;
    sealed s = seal_rows(layers[i].op, &layers[i].config, &layers[i].in, 0, 0, options, deps);
    run_sealed(&s, on);
    assert_same_rows(&s, &references[i], 0, what);
    sealed_deinit(&s);
}

static void test_threads_and_deps(void **state)
{
    static const dsv4_deps all_deps[] = {DSV4_DEPS_BLOCK, DSV4_DEPS_STAGE, DSV4_DEPS_TENSOR};
    (void)state;
    for (int n = SANITIZED ? 2 : 1; n <= N_THREADS; n++) {
        dsv4_pool *on = make_pool(n);
        for (size_t i = 0; i < 3 * N_LAYERS; i++) {
            check_run(i % N_LAYERS, (dsv4_op_options){0}, all_deps[i / N_LAYERS], on, "threads and deps");
        }
        dsv4_pool_destroy(on);
    }
}

static void check_orders(const layer *l, const sealed *reference)
{
    sealed s = seal_layer(l, CORRECT);
    for (uint64_t order = 1; order <= N_ORDERS; order++) {
        dsv4_error err = {0};
        reset_state(&s, &l->in);
        require_ok(try_sealed(&s, pool, order, &err), &err);
        assert_same_rows(&s, reference, 0, "random order");
    }
    sealed_deinit(&s);
}

/* Lengths, slots and key lists that the caller gives are those that the layer derives where they are missing. */
static void test_integers_written_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LAYERS; i++) {
        layer l = clone_layer(&layers[i]);
        write_out_integers(&l);
        sealed s = run_layer(&l, CORRECT);
        assert_same_rows(&s, &references[i], 0, "integers written out");
        sealed_deinit(&s);
        layer_deinit(&l);
    }
}

static void test_random_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LAYERS; i++) {
        check_orders(&layers[i], &references[i]);
    }
}

/* A list of the caller's may name a window that a later token of the chunk ends. */
static void test_lists_that_name_later_windows(void **state)
{
    (void)state;
    layer l = draw_prefill(128, preset("tiny"), 150, 118);
    write_out_integers(&l);
    const int64_t width = get_tensor(&l.in, "cmp_sparse_indices").shape[1];
    for (int64_t t = 0; t < 150; t++) {
        int32_t *len = &i32_of(&l.in, "cmp_sparse_lens")[t];
        i32_of(&l.in, "cmp_sparse_indices")[t * width + (*len)++] = (int32_t)(l.config.sliding_window + 150 + 1);
    }
    dsv4_pool *one = make_pool(1);
    sealed reference = seal_layer(&l, CORRECT);
    run_sealed(&reference, one);
    check_orders(&l, &reference);
    sealed_deinit(&reference);
    dsv4_pool_destroy(one);
    layer_deinit(&l);
}

static void test_instruction_sets(void **state)
{
    (void)state;
    for (const uk_table *const *row = uk_all(); *row != NULL; row++) {
        for (size_t i = 0; i < N_LAYERS && uk_is_supported(*row); i++) {
            check_run(i, (dsv4_op_options){.isa = (*row)->isa}, DSV4_DEPS_BLOCK, pool, (*row)->isa);
        }
    }
}

static void test_tiles(void **state)
{
    static const char *const tilings[][17] = {
        {"t_tile=1", "n_tile=32", "k_split=1", "norm_t_tile=1", "norm_parts=1", "d_parts=1", "head_group=1", "core_heads=1",
         "key_blocks=1", "a_n_tile=32", "a_k_split=1", "b_n_tile=32", "index_heads=1", "hc_split=1", "index_t_tile=1",
         "index_key_tile=1", "index_parts=1000"},
        {"t_tile=3", "n_tile=96", "k_split=1", "norm_t_tile=7", "norm_parts=1", "d_parts=1", "head_group=4", "core_heads=2",
         "key_blocks=2", "a_n_tile=64", "a_k_split=1", "b_n_tile=96", "index_heads=3", "hc_split=1", "index_t_tile=3",
         "index_key_tile=5", "index_parts=3"},
        {"t_tile=64", "n_tile=4096", "k_split=1", "norm_t_tile=64", "norm_parts=1", "d_parts=1", "head_group=2", "core_heads=4",
         "key_blocks=1000", "a_n_tile=512", "a_k_split=1", "b_n_tile=1024", "index_heads=64", "hc_split=1", "index_t_tile=64",
         "index_key_tile=4096", "index_parts=1"},
    };
    (void)state;
    for (size_t i = 0; i < N_LAYERS; i++) {
        for (size_t j = 0; j < sizeof tilings / sizeof *tilings; j++) {
            check_run(i, (dsv4_op_options){.sets = tilings[j], .n_sets = 17}, DSV4_DEPS_BLOCK, pool, tilings[j][8]);
        }
    }
}

static void test_shared_sums(void **state)
{
    static const char *const sharings[][4] = {{"k_split=1", "norm_parts=1", "d_parts=1", "a_k_split=1"},
                                              {"k_split=2", "norm_parts=2", "d_parts=3", "a_k_split=2"},
                                              {"k_split=3", "norm_parts=1", "d_parts=2", "a_k_split=1"}};
    (void)state;
    for (size_t i = 9; i < N_LAYERS; i++) {
        for (size_t j = 0; j < sizeof sharings / sizeof *sharings; j++) {
            check_run(i, (dsv4_op_options){.sets = sharings[j], .n_sets = 4}, DSV4_DEPS_BLOCK, pool, sharings[j][0]);
        }
    }
}

/* ---- company ------------------------------------------------------------------------------------------------------------ */

static void assert_same_tensors(const dsv4_tensor *got, const dsv4_tensor *want, const char *name)
{
    if (count_bit_mismatches(got, want) > 0) {
        fail_msg("%lld of %lld elements of %s differ", (long long)count_bit_mismatches(got, want),
                 (long long)dsv4_tensor_count(got), name);
    }
}

/* Caches and states of a list are those of a run. */
static void assert_same_state(const dsv4_tensor_list *list, const sealed *reference)
{
    for (size_t i = 0; i < reference->op->n_tensors; i++) {
        const op_tensor *row = &reference->op->tensors[i];
        if (op_is_input(row) && op_is_output(row) && dsv4_tensor_list_find(list, row->name) != NULL) {
            const dsv4_tensor got = get_tensor(list, row->name), want = get_tensor(&reference->io, row->name);
            assert_same_tensors(&got, &want, row->name);
        }
    }
}

/* Steps of one request after another give the rows of the step of all requests, and leave its caches. */
static void test_company_of_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LAYERS && is_decode(&layers[i]); i++) {
        layer alone = clone_layer(&layers[i]);
        const int64_t S = tokens_per_request(&alone);
        for (int64_t b = 0; b < n_requests(&alone); b++) {
            layer one = part_of(&alone, b * S, S);
            sealed s = run_layer(&one, CORRECT);
            const dsv4_tensor got = get_tensor(&s.io, "x_out"), want = rows_of(get_tensor(&references[i].io, "x_out"), b * S, S);
            assert_same_tensors(&got, &want, "x_out");
            take_state(&alone, &s);
            sealed_deinit(&s);
            layer_deinit(&one);
        }
        assert_same_state(&alone.in, &references[i]);
        layer_deinit(&alone);
    }
}

/* A copy of a chunk with slots written out, in which streams, positions and slots of the padding are junk. */
static layer with_junk_padding(const layer *l)
{
    static const char *const per_token[] = {"x_hc", "position_ids"};
    layer junk = {l->op, l->config, l->call, {0}};
    for (size_t i = 0; i < l->in.n; i++) {
        const dsv4_named_tensor *item = &l->in.items[i];
        if (strcmp(item->name, per_token[0]) == 0 || strcmp(item->name, per_token[1]) == 0) {
            put_copy(&junk.in, item->name, item->tensor);
        } else {
            put_tensor(&junk.in, item->name, item->tensor);
        }
    }
    write_out_slots(&junk);
    for (size_t i = 0; i < junk.in.n; i++) {
        const dsv4_named_tensor *item = &junk.in.items[i];
        if (strcmp(item->name, per_token[0]) == 0 || strcmp(item->name, per_token[1]) == 0 || strstr(item->name, "slot_mapping")) {
            const dsv4_tensor padding = rows_of(item->tensor, n_valid(l), n_tokens(l) - n_valid(l));
            memset(padding.data, 0x7f, dsv4_tensor_bytes(&padding));
        }
    }
    return junk;
}

/* The first rows of x_out, caches and states are those of the reference. */
static void check_company(const layer *l, const sealed *reference, int64_t n)
{
    sealed s = run_layer(l, CORRECT);
    const dsv4_tensor got = rows_of(get_tensor(&s.io, "x_out"), 0, n), want = rows_of(get_tensor(&reference->io, "x_out"), 0, n);
    assert_same_tensors(&got, &want, "x_out");
    assert_same_state(&s.io, reference);
    sealed_deinit(&s);
}

/* Whatever stands in the rows of padding, the valid rows and the caches are those of a chunk without it. */
static void test_company_of_padding(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LAYERS; i++) {
        const layer *l = &layers[i];
        if (is_decode(l)) {
            continue;
        }
        layer junk = with_junk_padding(l), cut = part_of(l, 0, n_valid(l));
        check_company(&junk, &references[i], n_valid(l));
        check_company(&cut, &references[i], n_valid(l));
        layer_deinit(&junk);
        layer_deinit(&cut);
    }
}

/* The chunk in which two windows end has the tiles of prefill: its pairs of blocks are many. */
static void test_declarations(void **state)
{
    static const char *const sets[] = {"key_blocks=1", "index_key_tile=5", "index_parts=3", "n_tile=64", "norm_t_tile=5"};
    (void)state;
    for (size_t i = 0; i < N_LAYERS; i++) {
        if (SANITIZED && (i % 4 != 0 || is_long(&layers[i]))) {
            continue;
        }
        int64_t n_findings;
        dsv4_error err = {0};
        const dsv4_op_options options = {
            .mode = (dsv4_mode)layers[i].op->mode, .sets = sets, .n_sets = is_long(&layers[i]) ? 0 : 5};
        sealed s = seal_rows(layers[i].op, &layers[i].config, &layers[i].in, 0, 0, options, DSV4_DEPS_BLOCK);
        require_ok(dsv4_graph_verify(s.graph, i + 1, &n_findings, &err), &err);
        assert_int_equal(n_findings, 0);
        sealed_deinit(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_deps),   cmocka_unit_test(test_integers_written_out),
        cmocka_unit_test(test_random_orders),      cmocka_unit_test(test_lists_that_name_later_windows),
        cmocka_unit_test(test_instruction_sets),   cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_shared_sums),        cmocka_unit_test(test_company_of_requests),
        cmocka_unit_test(test_company_of_padding), cmocka_unit_test(test_declarations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
