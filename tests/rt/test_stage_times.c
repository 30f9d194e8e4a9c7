/* Times and declared work by stage, and a step that a block refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "rt_helpers.h"

enum { N_ROWS = 4, N_COLS = 16 };

static float rows[N_ROWS][N_COLS];
static dsv4_pool *pool;

static int create_pool(void **state)
{
    (void)state;
    return dsv4_pool_create(2, &pool, NULL) == DSV4_OK ? 0 : -1;
}

static int destroy_pool(void **state)
{
    (void)state;
    dsv4_pool_destroy(pool);
    return 0;
}

static dsv4_graph *sealed(dsv4_graph *g)
{
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return g;
}

/* ---- times ------------------------------------------------------------------------------------------------------------ */

static const double busy_s = 200e-6;

static void run_busy(const void *arg, int64_t block, void *scratch)
{
    (void)arg, (void)block, (void)scratch;
    double end_s = clock_s() + busy_s;
    while (clock_s() < end_s) {
    }
}

/* Updates half a row, reads a row, and may go anywhere. */
static const tiling half = {.n_tiles = 3,
                            .tiles = {{0, DSV4_UPDATE, {0, 1, 0, N_COLS / 2}, 1, 0},
                                      {0, DSV4_READ, {0, 1, 0, N_COLS}, 1, 0},
                                      {0, DSV4_READ | DSV4_UNTRACKED, {0, N_ROWS, 0, N_COLS}, 0, 0}},
                            .work = {.flops_bf16 = 8, .ops_i8 = 4, .vector_ops = 2}};
static const tiling nothing = {.n_tiles = 0};

static dsv4_graph *build_timed(void)
{
    dsv4_graph *g = dsv4_graph_create("timed");
    dsv4_graph_view(g, "rows", rows, N_ROWS, N_COLS, sizeof rows[0][0], sizeof rows[0]);
    dsv4_stage busy = dsv4_graph_stage(g, &(dsv4_stage_desc){"busy", N_ROWS, run_busy, tiling_describe, &half, 0, DSV4_VECTOR});
    dsv4_stage join = dsv4_graph_join(g, "join");
    dsv4_graph_after(g, join, busy);
    tiling_stage(g, "quick", 3, &nothing);
    tiling_stage(g, "none", 0, &nothing);
    return sealed(g);
}

static void test_times_and_work(void **state)
{
    (void)state;
    dsv4_graph *g = build_timed();
    dsv4_exec *x;
    dsv4_stage_time t[4];
    assert_int_equal(dsv4_graph_get_info(g).n_stages, 4);
    assert_int_equal(dsv4_exec_create(g, pool, 1, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK); /* the last one alone counts */
    assert_int_equal(dsv4_exec_stage_times(x, t, NULL), DSV4_OK);
    const dsv4_exec_summary s = dsv4_exec_get_summary(x);
    static const char *const names[] = {"busy", "join", "quick", "none"};
    static const int64_t n_blocks[] = {N_ROWS, 0, 3, 0};
    double total_s = 0;
    for (int i = 0; i < 4; i++) {
        assert_string_equal(t[i].name, names[i]);
        assert_int_equal(t[i].n_blocks, n_blocks[i]);
        total_s += t[i].total_s;
    }
    assert_true(t[0].total_s >= 0.98 * N_ROWS * busy_s);
    const double busy_of_all_s = s.busy_share * s.makespan_s * (double)s.n_workers;
    assert_true(total_s > 0.95 * busy_of_all_s && total_s < 1.05 * busy_of_all_s);
    assert_true(t[0].work.flops_bf16 == 8 * N_ROWS && t[0].work.ops_i8 == 4 * N_ROWS && t[0].work.vector_ops == 2 * N_ROWS);
    assert_true(t[0].read_bytes == N_ROWS * (N_COLS / 2 + N_COLS) * 4); /* what is not tracked counts nothing */
    assert_true(t[0].written_bytes == N_ROWS * (N_COLS / 2) * 4);
    assert_true(t[2].read_bytes == 0 && t[2].written_bytes == 0 && t[2].work.flops_bf16 == 0);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

static void test_work_without_a_run(void **state)
{
    (void)state;
    dsv4_graph *g = build_timed();
    dsv4_exec *x;
    dsv4_stage_time t[4];
    assert_int_equal(dsv4_exec_create(g, pool, 0, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_stage_times(x, t, NULL), DSV4_OK);
    assert_true(t[0].total_s == 0 && t[0].work.flops_bf16 == 8 * N_ROWS);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

/* ---- refusals --------------------------------------------------------------------------------------------------------- */

/* Refuses a step whose data is negative. */
typedef struct judge {
    dsv4_verdict_slot slot;
    dsv4_view verdicts, data;
    const int32_t *value;
    const char *name;
} judge;

static void run_judge(const void *arg, int64_t block, void *scratch)
{
    (void)block, (void)scratch;
    const judge *j = arg;
    j->slot.verdict->status = DSV4_OK;
    if (*j->value < 0) {
        dsv4_fail(j->slot.verdict, DSV4_E_VALUE, "tensor %s: got %d, expected at least 0", j->name, *j->value);
    }
}

static void describe_judge(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)block;
    const judge *j = arg;
    dsv4_reads(d, j->data, 0, 1, 0, 1);
    dsv4_writes(d, j->verdicts, j->slot.row, j->slot.row + 1, 0, (int64_t)sizeof(dsv4_error));
}

static void add_judge(dsv4_graph *g, judge *j, const char *name, int32_t *value)
{
    const dsv4_error *all;
    *j = (judge){dsv4_graph_verdict(g), dsv4_graph_verdict_view(g, &all), dsv4_graph_view(g, name, value, 1, 1, 4, 4), value, name};
    dsv4_graph_stage(g, &(dsv4_stage_desc){name, 1, run_judge, describe_judge, j, 0, DSV4_VECTOR});
}

static void assert_refused(dsv4_status status, const dsv4_error *err, const char *text)
{
    assert_int_equal(status, DSV4_E_VALUE);
    assert_int_equal(err->status, DSV4_E_VALUE);
    assert_string_equal(err->text, text);
}

static void test_refusals(void **state)
{
    (void)state;
    int32_t first = 3, second = -7;
    judge judges[2];
    dsv4_graph *g = dsv4_graph_create("judged");
    add_judge(g, &judges[0], "first", &first);
    add_judge(g, &judges[1], "second", &second);
    sealed(g);
    dsv4_exec *x;
    dsv4_error err = {0};
    assert_int_equal(dsv4_exec_create(g, pool, 0, &x, NULL), DSV4_OK);
    assert_refused(dsv4_exec_run(x, 0, &err), &err, "tensor second: got -7, expected at least 0");
    int64_t n_findings = -1;
    assert_refused(dsv4_graph_verify(g, 1, &n_findings, &err), &err, "tensor second: got -7, expected at least 0");
    assert_int_equal(n_findings, 0);
    first = -1;
    assert_refused(dsv4_exec_run(x, 0, &err), &err, "tensor first: got -1, expected at least 0");
    first = second = 0; /* a verdict is about one step */
    assert_int_equal(dsv4_exec_run(x, 0, &err), DSV4_OK);
    assert_int_equal(dsv4_graph_verify(g, 1, &n_findings, &err), DSV4_OK);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_and_work),
        cmocka_unit_test(test_work_without_a_run),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
