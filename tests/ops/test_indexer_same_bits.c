/* What the indexer's operators give does not depend on threads, dependencies, the order of ready blocks, tiles or instruction sets;
 * what they declare is what they touch, and blocks that share a tensor but no element do not wait for each other. */
#include "ops/indexer_runs.h"

enum { N_ORDERS = SANITIZED ? 2 : 30 };

static step steps[4];
static sealed references[4];

enum { N_STEPS = sizeof steps / sizeof *steps };

static int set_up(void **state)
{
    create_pool(state);
    steps[0] = draw_step(DSV4_DECODE, preset("tiny"), 5, 2, 126);
    steps[1] = draw_step(DSV4_PREFILL, preset("tiny"), 1, 23, 90);
    steps[2] = draw_step(DSV4_DECODE, indexer_model(35, 34, 6, 7), 3, 3, 118);
    steps[3] = draw_step(DSV4_PREFILL, indexer_model(3, 66, 4, 11), 1, 45, 60);
    for (size_t i = 0; i < N_STEPS; i++) {
        references[i] = run_step(&steps[i], compat_options(&steps[i], DSV4_CORRECT));
    }
    return 0;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < N_STEPS; i++) {
        sealed_deinit(&references[i]);
        dsv4_tensor_list_deinit(&steps[i].in);
    }
    return destroy_pool(state);
}

static void check_run(size_t i, dsv4_op_options options, dsv4_deps deps, dsv4_pool *on, const char *what)
{
    dsv4_error err = {0};
    sealed run = seal_step(&steps[i], options, deps);
    require_ok(replay(&run, on, 0, &err), &err);
    assert_same_outputs(&run, &references[i], what);
    sealed_deinit(&run);
}

static void test_threads_and_deps(void **state)
{
    static const dsv4_deps all_deps[] = {DSV4_DEPS_BLOCK, DSV4_DEPS_STAGE, DSV4_DEPS_TENSOR};
    (void)state;
    for (int n = SANITIZED ? 3 : 1; n <= (SANITIZED ? 3 : 4); n++) {
        dsv4_pool *on = make_pool(n);
        for (size_t i = 0; i < 3 * N_STEPS; i++) {
            check_run(i % N_STEPS, compat_options(&steps[i % N_STEPS], DSV4_CORRECT), all_deps[i / N_STEPS], on,
                      "threads and deps");
        }
        dsv4_pool_destroy(on);
    }
}

static void test_random_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STEPS; i++) {
        sealed run = seal_step(&steps[i], compat_options(&steps[i], DSV4_CORRECT), DSV4_DEPS_BLOCK);
        for (uint64_t order = 1; order <= N_ORDERS; order++) {
            dsv4_error err = {0};
            require_ok(replay(&run, pool, order, &err), &err);
            assert_same_outputs(&run, &references[i], "random order");
        }
        sealed_deinit(&run);
    }
}

static void test_instruction_sets(void **state)
{
    (void)state;
    for (const uk_table *const *row = uk_all(); *row != NULL; row++) {
        for (size_t i = 0; i < N_STEPS && uk_is_supported(*row); i++) {
            check_run(i, (dsv4_op_options){.isa = (*row)->isa}, DSV4_DEPS_BLOCK, pool, (*row)->isa);
        }
    }
}

static void test_tiles(void **state)
{
    static const char *const tilings[][7] = {
        {"t_tile=1", "heads=1", "inner_n_tile=32", "inner_k_split=1", "score_t_tile=1", "key_tile=1", "key_parts=1"},
        {"t_tile=3", "heads=3", "inner_n_tile=96", "inner_k_split=1", "score_t_tile=2", "key_tile=3", "key_parts=5"},
        {"t_tile=8", "heads=64", "inner_n_tile=64", "inner_k_split=1", "score_t_tile=7", "key_tile=9", "key_parts=2"},
        {"t_tile=64", "heads=1", "inner_n_tile=32", "inner_k_split=1", "score_t_tile=64", "key_tile=5", "key_parts=1000"},
        {"t_tile=64", "heads=1", "inner_n_tile=32", "inner_k_split=1", "score_t_tile=3", "key_tile=4096", "key_parts=16"},
    };
    (void)state;
    for (size_t i = 0; i < N_STEPS; i++) {
        for (size_t j = 0; j < sizeof tilings / sizeof *tilings; j++) {
            check_run(i, (dsv4_op_options){.sets = tilings[j], .n_sets = 7}, DSV4_DEPS_BLOCK, pool, tilings[j][5]);
        }
    }
}

/* A request's rows are those of a step without the other requests. */
static void test_company(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    step all = draw_step(DSV4_DECODE, config, 4, 2, OP_UNKNOWN);
    sealed together = run_step(&all, compat_options(&all, DSV4_CORRECT));
    for (int64_t b = 0; b < 4; b++) {
        step one = {.op = all.op, .config = config};
        for (size_t i = 0; i < all.op->n_tensors; i++) {
            const op_tensor *row = &all.op->tensors[i];
            dsv4_tensor *t = dsv4_tensor_list_find(&all.in, row->name);
            const bool of_tokens = strncmp(row->shape, "B*S,", 4) == 0,
                       of_requests = !of_tokens && row->shape[0] == 'B' && t != NULL;
            if (t != NULL) {
                put_tensor(&one.in, row->name, of_requests ? rows_of(*t, b, 1) : of_tokens ? rows_of(*t, 2 * b, 2) : *t);
            }
        }
        sealed alone = run_step(&one, compat_options(&one, DSV4_CORRECT));
        static const char *const names[] = {"score", "topk_idxs", "inner_kv"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const dsv4_tensor got = get_tensor(&alone.io, names[i]), want = rows_of(get_tensor(&together.io, names[i]), b, 1);
            assert_int_equal(count_bit_mismatches(&got, &want), 0);
        }
        sealed_deinit(&alone);
        dsv4_tensor_list_deinit(&one.in);
    }
    sealed_deinit(&together);
    dsv4_tensor_list_deinit(&all.in);
}

static void test_declarations(void **state)
{
    static const char *const sets[] = {"score_t_tile=2", "key_tile=5", "key_parts=3"};
    (void)state;
    for (size_t i = 0; i < N_STEPS; i++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            int64_t n_findings;
            dsv4_error err = {0};
            sealed run = seal_step(&steps[i], (dsv4_op_options){.sets = sets, .n_sets = 3}, DSV4_DEPS_BLOCK);
            require_ok(dsv4_graph_verify(run.graph, seed, &n_findings, &err), &err);
            assert_int_equal(n_findings, 0);
            sealed_deinit(&run);
        }
    }
}

/* Longest chain of blocks of a chunk of T tokens with one request. */
static int64_t longest_path(int64_t T, int64_t n_heads, dsv4_deps deps)
{
    step s = draw_step(DSV4_PREFILL, indexer_model(n_heads, 32, 8, 8), 1, T, 200);
    sealed run = seal_step(&s, compat_options(&s, DSV4_CORRECT), deps);
    const int64_t length = dsv4_graph_get_info(run.graph).longest_path;
    sealed_deinit(&run);
    dsv4_tensor_list_deinit(&s.in);
    return length;
}

/* The blocks of index.q_proj write heads of one tensor: a tracker of whole tensors runs them one after another. */
static void test_head_blocks_do_not_wait_for_each_other(void **state)
{
    (void)state;
    const int64_t shortest = longest_path(8, 4, DSV4_DEPS_BLOCK);
    assert_int_equal(longest_path(64, 4, DSV4_DEPS_BLOCK), shortest);
    assert_int_equal(longest_path(64, 64, DSV4_DEPS_BLOCK), shortest);
    assert_true(longest_path(64, 64, DSV4_DEPS_TENSOR) > shortest + 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_deps),
        cmocka_unit_test(test_random_orders),
        cmocka_unit_test(test_instruction_sets),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_declarations),
        cmocka_unit_test(test_head_blocks_do_not_wait_for_each_other),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
