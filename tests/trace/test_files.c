/* What is written is read back, member by member: graphs, runs, counters, waits, in any locale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "trace_helpers.h"

#define TRACE_PATH TEST_TEMPORARY "/trace_files.json"

enum { N_THREADS = 2, N_ROWS = 8, N_COLS = 64, N_READERS = 5 };

static float rows[N_ROWS][N_COLS];

static const tiling fill = {.n_tiles = 1,
                            .tiles = {{0, DSV4_WRITE, {0, 1, 0, N_COLS}, 1, 0}},
                            .work = {1e9 / 3, 2, 3.5, 0.25, {.m = 1, .n = 64, .k = 5, .k_tile = 2, .ahead = 3}}};
static const tiling read_all = {
    .n_tiles = 2,
    .tiles = {{0, DSV4_READ, {0, N_ROWS, 0, N_COLS}, 0, 0}, {1, DSV4_UPDATE | DSV4_UNTRACKED, {0, N_COLS, 0, N_ROWS}, 0, 0}}};

/* Eight rows filled, read as a whole through a join by five readers; a declared join behind them. */
static dsv4_graph *build(void)
{
    dsv4_graph *g = dsv4_graph_create("odd \"name\"\\ \n \xc3\xbc");
    dsv4_graph_view(g, "rows", rows, N_ROWS, N_COLS, sizeof rows[0][0], sizeof rows[0]);
    dsv4_graph_view(g, "turned\t", rows, N_COLS, N_ROWS, sizeof rows[0][0], N_ROWS * sizeof rows[0][0]);
    tiling_stage(g, "fill", N_ROWS, &fill);
    dsv4_stage readers =
        dsv4_graph_stage(g, &(dsv4_stage_desc){"read", N_READERS, tiling_run_nothing, tiling_describe, &read_all, 100, DSV4_CUBE});
    dsv4_graph_after(g, dsv4_graph_join(g, "all read"), readers);
    seal(g, DSV4_DEPS_BLOCK);
    return g;
}

static void write_and_compare(const trace *t)
{
    dsv4_error err = {0};
    if (trace_write(t, TRACE_PATH, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    trace back = read_back(TRACE_PATH);
    assert_same_graph(&t->graph, &back.graph);
    assert_same_run(&t->run, &back.run);
    trace_deinit(&back);
}

static void test_graph_alone(void **state)
{
    (void)state;
    dsv4_graph *g = build();
    trace t = captured(g);
    assert_int_equal(t.graph.n_blocks, N_ROWS + N_READERS);
    assert_int_equal(t.graph.n_tasks, N_ROWS + N_READERS + 2 + 1); /* a join of the rows, one of the readers, the declared one */
    assert_int_equal(t.run.n_events, 0);
    write_and_compare(&t);
    trace_deinit(&t);
    dsv4_graph_destroy(g);
}

static trace run_once(dsv4_graph *g)
{
    dsv4_pool *pool;
    dsv4_exec *x;
    assert_int_equal(dsv4_pool_create(N_THREADS, &pool, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_create(g, pool, 1, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    trace t = captured_run(x);
    dsv4_exec_destroy(x);
    dsv4_pool_destroy(pool);
    return t;
}

static void test_run(void **state)
{
    (void)state;
    dsv4_graph *g = build();
    trace t = run_once(g);
    assert_int_equal(t.run.n_events, N_ROWS + N_READERS);
    assert_int_equal(t.run.n_workers, N_THREADS);
    assert_true(t.run.level == 1 && !t.run.is_simulated && t.run.device[0] != '\0');
    for (int64_t i = 0; i < t.run.n_events; i++) {
        const trace_event *e = &t.run.events[i];
        assert_true(0 <= e->ready_s && e->ready_s <= e->dispatch_s && e->dispatch_s <= e->start_s && e->start_s <= e->end_s);
        assert_true(e->end_s < 60);
    }
    write_and_compare(&t);
    trace_deinit(&t);
    dsv4_graph_destroy(g);
}

/* All that a run may hold, with numbers that have no short form. */
static void test_counters_and_waits(void **state)
{
    (void)state;
    dsv4_graph *g = build();
    trace t = run_once(g);
    t.run.is_simulated = true;
    t.run.level = 3;
    t.run.read_bytes_s = 1e11 / 3;
    t.run.ops_i8_s = 2e12;
    t.run.flops_bf16_s = 1e12 / 7;
    t.run.vector_ops_s = 5;
    t.run.counters = memory_array(2, sizeof *t.run.counters);
    t.run.counters[0] = "cycles";
    t.run.counters[1] = "\"odd\"";
    t.run.n_counters = 2;
    t.run.counts = memory_array((size_t)t.run.n_events * 2, sizeof *t.run.counts);
    for (int64_t i = 0; i < t.run.n_events; i++) {
        t.run.counts[2 * i] = 1e15 / (double)(i + 3);
        t.run.counts[2 * i + 1] = (double)i;
    }
    free(t.run.waits);
    t.run.waits = memory_array(1, sizeof *t.run.waits);
    t.run.waits[0] = (trace_wait){1, true, 1e-9 / 3, 0.1};
    t.run.n_waits = 1;
    t.run.events[0].found = TRACE_KEPT;
    write_and_compare(&t);
    trace_deinit(&t);
    dsv4_graph_destroy(g);
}

/* A decimal comma outside stays outside. */
static void test_any_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) {
        found = setlocale(LC_NUMERIC, names[i]) != NULL;
    }
    if (!found) {
        print_message("skipped: no locale with a decimal comma\n");
        skip();
    }
    test_counters_and_waits(state);
    setlocale(LC_NUMERIC, "C");
}

static void test_unwritable_path(void **state)
{
    (void)state;
    dsv4_error err = {0};
    dsv4_graph *g = build();
    trace t = captured(g);
    assert_int_equal(trace_write(&t, TEST_TEMPORARY "/no such folder/t.json", &err), DSV4_E_IO);
    trace_deinit(&t);
    dsv4_graph_destroy(g);
}

static int remove_file(void **state)
{
    (void)state;
    remove(TRACE_PATH);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graph_alone), cmocka_unit_test(test_run),
                                       cmocka_unit_test(test_counters_and_waits), cmocka_unit_test(test_any_locale),
                                       cmocka_unit_test(test_unwritable_path)};
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
