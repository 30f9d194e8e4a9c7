/* What an exec records at each level: where blocks were found, what the events of a group counted, when workers waited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "rt/exec.h"
#include "rt_helpers.h"

enum { N_THREADS = 2, N_BLOCKS = 64, N_COLS = 16, N_PAGES = 24, PAGE_BYTES = 4096, N_ATTEMPTS = 100 };

static float made[N_BLOCKS][N_COLS];
static dsv4_pool *pool;

static int create_pool(void **state)
{
    (void)state;
    return dsv4_pool_create(N_THREADS, &pool, NULL) == DSV4_OK ? 0 : -1;
}

static int destroy_pool(void **state)
{
    (void)state;
    dsv4_pool_destroy(pool);
    return 0;
}

static void spin(double seconds)
{
    double end_s = clock_s() + seconds;
    while (clock_s() < end_s) {
    }
}

static void run_short(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)block;
    (void)scratch;
    spin(5e-6);
}

static dsv4_graph *new_graph(void)
{
    dsv4_graph *g = dsv4_graph_create("levels");
    dsv4_graph_view(g, "made", made, N_BLOCKS, N_COLS, sizeof made[0][0], sizeof made[0]);
    return g;
}

static void seal(dsv4_graph *g)
{
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

static const tiling write_row = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, N_COLS}, 1, 0}}};
static const tiling update_row = {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 1, 0, N_COLS}, 1, 0}}};

/* n_stages launches: each block works on the row of its number, behind the same block of the stage before. */
static dsv4_graph *build_chains(int n_stages, int64_t n_blocks)
{
    dsv4_graph *g = new_graph();
    for (int i = 0; i < n_stages; i++) {
        dsv4_graph_stage(g, &(dsv4_stage_desc){"chain", n_blocks, run_short, tiling_describe, i == 0 ? &write_row : &update_row, 0,
                                               DSV4_VECTOR});
    }
    seal(g);
    return g;
}

static dsv4_exec *create(const dsv4_graph *g, int level)
{
    dsv4_exec *x;
    dsv4_error err = {0};
    if (dsv4_exec_create(g, pool, level, &x, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return x;
}

static void replay(dsv4_exec *x)
{
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
}

/* ---- what each level holds ------------------------------------------------------------------------------------------------- */

static void test_levels(void **state)
{
    (void)state;
    dsv4_graph *g = build_chains(2, N_BLOCKS);
    for (int level = 0; level <= 3; level++) {
        dsv4_exec *x = create(g, level);
        replay(x);
        assert_int_equal(dsv4_exec_get_summary(x).n_blocks, level > 0 ? 2 * N_BLOCKS : 0);
        for (int w = 0; w < N_THREADS; w++) {
            assert_int_equal(x->workers[w].records != NULL, level >= 1);
            assert_int_equal(x->workers[w].counts != NULL, level >= 2);
            assert_int_equal(x->workers[w].waits != NULL, level >= 3);
            assert_true(level >= 2 || x->workers[w].meter.n_events == 0);
            assert_true(level >= 3 || x->workers[w].n_waits == 0);
        }
        dsv4_exec_destroy(x);
    }
    dsv4_graph_destroy(g);
}

static void test_no_such_level(void **state)
{
    (void)state;
    dsv4_graph *g = build_chains(1, 1);
    for (int level = -1; level <= 4; level += 5) {
        dsv4_exec *x = NULL;
        dsv4_error err = {0};
        assert_int_equal(dsv4_exec_create(g, pool, level, &x, &err), DSV4_E_VALUE);
        assert_non_null(strstr(err.text, "expected 0 to 3"));
        assert_null(x);
    }
    dsv4_graph_destroy(g);
}

/* ---- where blocks were found ------------------------------------------------------------------------------------------------- */

/* One worker alone: roots come from its own set, everything behind a block that it has just run is kept. */
static void test_one_worker_keeps_its_chain(void **state)
{
    (void)state;
    dsv4_graph *g = build_chains(3, 4);
    dsv4_pool *alone;
    dsv4_exec *x;
    assert_int_equal(dsv4_pool_create(1, &alone, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_create(g, alone, 1, &x, NULL), DSV4_OK);
    replay(x);
    assert_int_equal(x->workers[0].n_records, 12);
    for (int i = 0; i < 12; i++) {
        const rt_record *r = &x->workers[0].records[i];
        assert_int_equal(r->found, g->tasks[r->task].n_before == 0 ? 0 : RT_KEPT);
    }
    dsv4_exec_destroy(x);
    dsv4_pool_destroy(alone);
    dsv4_graph_destroy(g);
}

static double slow_s[N_BLOCKS];

static void run_slow(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    spin(slow_s[block]);
}

/* Blocks of one launch are dealt in equal shares, the first half to worker 0. Where those of worker 0 are slow, worker 1 helps out. */
static void test_steals(void **state)
{
    (void)state;
    enum { N = 16 };
    dsv4_graph *g = new_graph();
    dsv4_graph_stage(g, &(dsv4_stage_desc){"dealt", N, run_slow, tiling_describe, &write_row, 0, DSV4_VECTOR});
    seal(g);
    dsv4_exec *x = create(g, 1);
    int n_steals = 0;
    for (int attempt = 0; attempt < N_ATTEMPTS && n_steals == 0; attempt++) {
        for (int i = 0; i < N; i++) {
            slow_s[i] = i < N / 2 ? 500e-6 : 0;
        }
        replay(x);
        for (int w = 0; w < N_THREADS; w++) {
            for (int64_t i = 0; i < x->workers[w].n_records; i++) {
                const rt_record *r = &x->workers[w].records[i];
                assert_int_equal(r->found, g->tasks[r->task].block < N / 2 ? 0 : 1);
                n_steals += w == 1 && r->found == 0;
            }
        }
    }
    assert_true(n_steals > 0);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

/* ---- waits ------------------------------------------------------------------------------------------------------------------- */

/* Waits stand in order, each behind the block that it counts and in front of the next. Returns the ticks of all of them. */
static uint64_t check_waits(const dsv4_exec *x, int worker, bool *slept)
{
    const rt_worker *w = &x->workers[worker];
    uint64_t sum = 0, last = x->run_ticks;
    int64_t n_before = -1;
    for (int64_t i = 0; i < w->n_waits; i++) {
        const rt_wait *wait = &w->waits[i];
        assert_true(wait->n_records > n_before && wait->n_records <= w->n_records);
        n_before = wait->n_records;
        assert_true(wait->begin >= last && wait->end >= wait->begin);
        if (wait->n_records > 0) {
            assert_true(wait->begin >= w->records[wait->n_records - 1].end);
        }
        if (wait->n_records < w->n_records) {
            assert_true(wait->end <= w->records[wait->n_records].dispatch);
        }
        last = wait->end;
        sum += wait->end - wait->begin;
        *slept |= wait->slept;
    }
    return sum;
}

/* One block of 3 ms for two workers: the other one waits about as long, first awake, then asleep. */
static void test_waits(void **state)
{
    (void)state;
    dsv4_graph *g = new_graph();
    dsv4_graph_stage(g, &(dsv4_stage_desc){"first", 2, run_slow, tiling_describe, &write_row, 0, DSV4_VECTOR});
    dsv4_graph_stage(g, &(dsv4_stage_desc){"long", 1, run_slow, tiling_describe,
                                           &(tiling){.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 2, 0, N_COLS}, 0, 0}}}, 0,
                                           DSV4_VECTOR});
    seal(g);
    dsv4_exec *x = create(g, 3);
    bool seen = false;
    for (int attempt = 0; attempt < N_ATTEMPTS && !seen; attempt++) {
        slow_s[0] = 3e-3;
        slow_s[1] = 0;
        replay(x);
        double waited_s = 0;
        bool slept = false;
        for (int w = 0; w < N_THREADS; w++) {
            waited_s += (double)check_waits(x, w, &slept) * rt_exec_tick_ns(x) * 1e-9;
        }
        double idle_s = dsv4_exec_get_summary(x).makespan_s * N_THREADS;
        assert_true(waited_s <= idle_s);
        seen = slept && waited_s > 2e-3;
    }
    assert_true(seen);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

static void test_waits_in_long_graphs(void **state)
{
    (void)state;
    dsv4_graph *g = build_chains(20, 3);
    dsv4_exec *x = create(g, 3);
    bool slept = false;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(dsv4_exec_run(x, (uint64_t)i, NULL), DSV4_OK);
        for (int w = 0; w < N_THREADS; w++) {
            check_waits(x, w, &slept);
        }
    }
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

/* ---- counters ------------------------------------------------------------------------------------------------------------------ */

static unsigned char *pages;

static void run_touch(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int64_t i = 0; i < block * 2; i++) {
        ((volatile unsigned char *)pages)[(block * N_PAGES + i) * PAGE_BYTES] = 1;
    }
}

/* Block b touches 2 b pages that nothing has touched: as many page faults, counted where they happen. */
static void test_page_faults(void **state)
{
    (void)state;
    enum { N = N_PAGES / 2 };
    rt_pmu_choice c;
    assert_int_equal(rt_pmu_choose("software", &c, NULL), DSV4_OK);
    if (c.n_events == 0 || strcmp(c.events[0]->name, "page_faults") != 0) {
        print_message("skipped: the system counts no page faults\n");
        skip();
    }
    size_t n_bytes = (size_t)N * N_PAGES * PAGE_BYTES;
    dsv4_graph *g = new_graph();
    dsv4_graph_stage(g, &(dsv4_stage_desc){"touch", N, run_touch, tiling_describe, &write_row, 0, DSV4_VECTOR});
    seal(g);
    dsv4_exec *x = create(g, 2);
    for (int attempt = 0; attempt < 2; attempt++) {
        pages = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(pages != MAP_FAILED);
        madvise(pages, n_bytes, MADV_NOHUGEPAGE);
        replay(x);
        munmap(pages, n_bytes);
    }
    for (int w = 0; w < N_THREADS; w++) {
        for (int64_t i = 0; i < x->workers[w].n_records; i++) {
            double n = x->workers[w].counts[i * x->pmu.n_events];
            double expected = 2.0 * (double)g->tasks[x->workers[w].records[i].task].block;
            assert_true(n >= expected && n <= expected + 1 + SANITIZED * 1000);
        }
    }
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

static volatile double sink;

static void run_adds(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int64_t i = 0; i < (block + 1) * 100000; i++) {
        sink = sink + 1;
    }
}

/* Block b adds (b + 1) * 100000 times, three instructions or more each. */
static void test_instructions(void **state)
{
    (void)state;
    enum { N = 4 };
    rt_pmu_choice c;
    dsv4_error err = {0};
    if (rt_pmu_choose("cycles", &c, &err) != DSV4_OK || c.n_events != 2) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    dsv4_graph *g = new_graph();
    dsv4_graph_stage(g, &(dsv4_stage_desc){"adds", N, run_adds, tiling_describe, &write_row, 0, DSV4_VECTOR});
    seal(g);
    dsv4_exec *x;
    assert_int_equal(rt_exec_create(g, pool, 2, &c, &x, &err), DSV4_OK);
    replay(x);
    replay(x);
    for (int w = 0; w < N_THREADS; w++) {
        for (int64_t i = 0; i < x->workers[w].n_records; i++) {
            const double *n = x->workers[w].counts + 2 * i;
            double adds = 1e5 * (double)(g->tasks[x->workers[w].records[i].task].block + 1);
            assert_true(isnan(n[0]) == isnan(n[1]));
            assert_true(isnan(n[1]) || (n[1] >= 3 * adds && n[1] <= 40 * adds));
        }
    }
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),      cmocka_unit_test(test_no_such_level), cmocka_unit_test(test_one_worker_keeps_its_chain),
        cmocka_unit_test(test_steals),      cmocka_unit_test(test_waits),         cmocka_unit_test(test_waits_in_long_graphs),
        cmocka_unit_test(test_page_faults), cmocka_unit_test(test_instructions),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
