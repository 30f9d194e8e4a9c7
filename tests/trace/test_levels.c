/* What a captured run holds at each level: where blocks were found, counters as declared, waits between blocks; and the same as CSV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "trace_helpers.h"

#define CSV_PATH TEST_TEMPORARY "/trace_levels.csv"
#define TRACE_PATH TEST_TEMPORARY "/trace_levels.json"

enum { N_THREADS = 2, N_ROWS = 6, N_COLS = 10 };

static float rows[N_ROWS][N_COLS];

/* Each block of the first launch writes a row of 40 bytes; each of the second updates half of one and reads two bytes untracked. */
static const tiling write_row = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, N_COLS}, 1, 0}}, .work = {.flops_bf16 = 12}};
static const tiling update_half = {
    .n_tiles = 2,
    .tiles = {{0, DSV4_UPDATE, {0, 1, 0, N_COLS / 2}, 1, 0}, {0, DSV4_READ | DSV4_UNTRACKED, {0, N_ROWS, 0, N_COLS}, 0, 0}},
    .work = {.ops_i8 = 7, .vector_ops = 0.5}};

static trace run_at(int level)
{
    dsv4_graph *g = dsv4_graph_create("levels");
    dsv4_pool *pool;
    dsv4_exec *x;
    dsv4_graph_view(g, "rows", rows, N_ROWS, N_COLS, sizeof rows[0][0], sizeof rows[0]);
    tiling_stage(g, "write, \"all\"", N_ROWS, &write_row);
    tiling_stage(g, "update", N_ROWS, &update_half);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_pool_create(N_THREADS, &pool, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_create(g, pool, level, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK); /* the last one counts */
    trace t = captured_run(x);
    dsv4_exec_destroy(x);
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(g);
    return t;
}

static int64_t find_counter(const trace_run *run, const char *name)
{
    for (int64_t i = 0; i < run->n_counters; i++) {
        if (strcmp(run->counters[i], name) == 0) {
            return i;
        }
    }
    fail_msg("no counter %s", name);
    return -1;
}

static void test_each_level_adds_its_own(void **state)
{
    (void)state;
    for (int level = 1; level <= 3; level++) {
        trace t = run_at(level);
        assert_int_equal(t.run.level, level);
        assert_int_equal(t.run.n_events, 2 * N_ROWS);
        assert_true(level >= 2 ? t.run.n_counters >= 6 : t.run.n_counters == 0 && t.run.counts == NULL);
        assert_true(level >= 3 || t.run.n_waits == 0);
        trace_deinit(&t);
    }
}

/* A block of the second launch needs what one worker has just made, and is kept or comes from a set; a root comes from a set. */
static void test_found(void **state)
{
    (void)state;
    trace t = run_at(1);
    for (int64_t i = 0; i < t.run.n_events; i++) {
        const trace_event *e = &t.run.events[i];
        assert_true(e->found >= TRACE_KEPT && e->found < N_THREADS);
        assert_true(e->found != TRACE_KEPT || (i > 0 && e[-1].worker == e->worker && t.graph.tasks[e->task].n_before > 0));
    }
    trace_deinit(&t);
}

static void test_counts_are_as_declared(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double of[2]; /* a block of each launch */
    } expected[] = {{"read_bytes", {0, 20}},
                    {"written_bytes", {40, 20}},
                    {"flops_bf16", {12, 0}},
                    {"ops_i8", {0, 7}},
                    {"vector_ops", {0, 0.5}}};
    trace t = run_at(2);
    for (int64_t i = 0; i < t.run.n_events; i++) {
        const double *counts = t.run.counts + i * t.run.n_counters;
        int stage = t.graph.tasks[t.run.events[i].task].stage;
        for (size_t c = 0; c < sizeof expected / sizeof *expected; c++) {
            assert_true(counts[find_counter(&t.run, expected[c].name)] == expected[c].of[stage]);
        }
        for (int64_t c = 0; c < t.run.n_counters; c++) {
            assert_true(counts[c] >= 0);
        }
    }
    trace_deinit(&t);
}

/* Of each worker: waits and blocks take turns and do not overlap. */
static void test_waits_lie_between_blocks(void **state)
{
    (void)state;
    for (int attempt = 0; attempt < 50; attempt++) {
        trace t = run_at(3);
        double last_end[N_THREADS] = {0};
        for (int64_t i = 0; i < t.run.n_waits; i++) {
            const trace_wait *w = &t.run.waits[i];
            assert_true(w->worker >= 0 && w->worker < N_THREADS && w->begin_s >= last_end[w->worker] && w->end_s >= w->begin_s);
            last_end[w->worker] = w->end_s;
            for (int64_t e = 0; e < t.run.n_events; e++) {
                const trace_event *event = &t.run.events[e];
                assert_true(event->worker != w->worker || event->end_s <= w->begin_s || event->dispatch_s >= w->end_s);
            }
        }
        trace_deinit(&t);
    }
}

static void test_files_keep_all(void **state)
{
    (void)state;
    trace t = run_at(3);
    assert_int_equal(trace_write(&t, TRACE_PATH, NULL), DSV4_OK);
    trace back = read_back(TRACE_PATH);
    assert_same_run(&t.run, &back.run);
    trace_deinit(&back);
    trace_deinit(&t);
    remove(TRACE_PATH);
}

/* ---- CSV ---------------------------------------------------------------------------------------------------------------------- */

static void check_line(const trace *t, int64_t i, const char *line)
{
    const trace_event *e = &t->run.events[i];
    const trace_task *task = &t->graph.tasks[e->task];
    char expected[200];
    snprintf(expected, sizeof expected, "%s,%d,%d,", task->stage == 0 ? "\"write, \"\"all\"\"\"" : "update", (int)task->block,
             e->worker);
    assert_memory_equal(line, expected, strlen(expected));
    line += strlen(expected);
    char *end;
    double start_us = strtod(line, &end), duration_us = strtod(end + 1, &end);
    assert_true(start_us >= e->start_s * 1e6 - 0.001 && start_us <= e->start_s * 1e6 + 0.001);
    assert_true(duration_us >= 0 && duration_us <= (e->end_s - e->start_s) * 1e6 + 0.001);
    for (int64_t c = 0; c < t->run.n_counters; c++) {
        assert_int_equal(*end, ',');
        assert_true(strtod(end + 1, &end) == t->run.counts[i * t->run.n_counters + c]);
    }
    assert_int_equal(*end, '\n');
}

static void check_csv(const trace *t)
{
    char line[1000];
    FILE *f = fopen(CSV_PATH, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    static const char heads[] = "stage,block,worker,start_us,duration_us";
    assert_memory_equal(line, heads, strlen(heads));
    if (t->run.n_counters > 0) {
        static const char more[] = ",tsc,";
        assert_memory_equal(line + strlen(heads), more, strlen(more));
    } else {
        assert_string_equal(line + strlen(heads), "\n");
    }
    for (int64_t i = 0; i < t->run.n_events; i++) {
        assert_non_null(fgets(line, sizeof line, f));
        check_line(t, i, line);
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
    remove(CSV_PATH);
}

static void test_csv(void **state)
{
    (void)state;
    trace t = run_at(2);
    assert_int_equal(trace_write_csv(&t, CSV_PATH, NULL), DSV4_OK);
    check_csv(&t);
    trace_deinit(&t);
    t = run_at(1);
    assert_int_equal(trace_write_csv(&t, CSV_PATH, NULL), DSV4_OK);
    check_csv(&t);
    dsv4_error err = {0};
    assert_int_equal(trace_write_csv(&t, TEST_TEMPORARY "/no such folder/t.csv", &err), DSV4_E_IO);
    trace_deinit(&t);
}

static void test_csv_in_a_locale_with_commas(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    trace t = run_at(2);
    const char *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && set == NULL; i++) {
        set = setlocale(LC_NUMERIC, names[i]);
    }
    if (set == NULL) {
        trace_deinit(&t);
        print_message("skipped: no locale with decimal commas here\n");
        skip();
    }
    assert_int_equal(trace_write_csv(&t, CSV_PATH, NULL), DSV4_OK);
    setlocale(LC_NUMERIC, "C");
    check_csv(&t);
    trace_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_level_adds_its_own),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_counts_are_as_declared),
        cmocka_unit_test(test_waits_lie_between_blocks),
        cmocka_unit_test(test_files_keep_all),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_in_a_locale_with_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
