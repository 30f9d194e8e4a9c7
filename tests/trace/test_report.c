/* Reports on runs that are written down by hand, in whole seconds, so that sums are exact; and on random ones, against the definitions
 * applied second by second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "trace/report.h"

enum { MAX_TASKS = 64, MAX_EDGES = 1024, MAX_WORKERS = 4, MAX_STAGES = 8, N_BUCKETS = 4 };

/* A trace in arrays of its own. */
typedef struct small {
    trace t;
    trace_view views[4];
    trace_stage stages[MAX_STAGES];
    trace_task tasks[MAX_TASKS];
    trace_touch touches[16];
    trace_edge edges[MAX_EDGES];
    trace_worker workers[MAX_WORKERS];
    trace_event events[MAX_TASKS];
} small;

static void small_init(small *s)
{
    *s = (small){0};
    s->t.graph = (trace_graph){
        .name = "small", .views = s->views, .stages = s->stages, .tasks = s->tasks, .touches = s->touches, .edges = s->edges};
    s->t.run = (trace_run){.level = 1, .workers = s->workers, .events = s->events};
}

static void add_workers(small *s, int n, const char *const *names)
{
    for (int i = 0; i < n; i++) {
        s->workers[s->t.run.n_workers++].name = names[i];
    }
}

static int32_t add_stage(small *s, const char *name, dsv4_core_kind kind)
{
    s->stages[s->t.graph.n_stages] = (trace_stage){.name = name, .kind = kind};
    return (int32_t)s->t.graph.n_stages++;
}

static int32_t add_block(small *s, int32_t stage)
{
    int64_t end = s->t.graph.n_touches;
    s->tasks[s->t.graph.n_tasks] =
        (trace_task){.stage = stage, .block = s->stages[stage].n_blocks++, .touch = end, .touch_end = end};
    s->t.graph.n_blocks++;
    return (int32_t)s->t.graph.n_tasks++;
}

static int32_t add_join(small *s)
{
    s->tasks[s->t.graph.n_tasks] = (trace_task){.stage = TRACE_NONE, .is_join = true};
    return (int32_t)s->t.graph.n_tasks++;
}

/* Edges come in the order of `from`. */
static void add_edge(small *s, int32_t from, int32_t to)
{
    trace_task *task = &s->tasks[from];
    if (task->edge == task->edge_end) {
        task->edge = task->edge_end = s->t.graph.n_edges;
    }
    assert_int_equal(task->edge_end, s->t.graph.n_edges);
    task->edge_end++;
    s->tasks[to].n_before++;
    s->edges[s->t.graph.n_edges++] = (trace_edge){.from = from, .to = to, .from_touch = TRACE_NONE, .to_touch = TRACE_NONE};
}

/* Workers ascending, in order of start within each. */
static void add_event(small *s, int32_t task, int32_t worker, int32_t found, double ready_s, double start_s, double end_s)
{
    s->events[s->t.run.n_events++] = (trace_event){task, worker, found, ready_s, start_s, start_s, end_s};
}

static double sum(const double *gaps)
{
    return gaps[TRACE_NO_WORK] + gaps[TRACE_NO_CORE] + gaps[TRACE_PICKUP] + gaps[TRACE_STEAL];
}

static void expect_gaps(const double *gaps, double no_work, double no_core, double pickup, double steal)
{
    assert_true(gaps[TRACE_NO_WORK] == no_work);
    assert_true(gaps[TRACE_NO_CORE] == no_core);
    assert_true(gaps[TRACE_PICKUP] == pickup);
    assert_true(gaps[TRACE_STEAL] == steal);
}

/* But for rounding, of times up to some hundred. */
static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

/* What holds for every run. */
static void expect_sums(const small *s, const trace_report *r)
{
    double busy_s = 0;
    assert_true(r->executed.blocks_s + sum(r->executed.gap_s) == r->makespan_s);
    assert_true(is_near(r->needs.blocks_s + sum(r->needs.gap_s), r->makespan_s));
    assert_true(r->longest.blocks_s <= r->makespan_s);
    assert_true(r->cores_bound_s <= r->makespan_s);
    for (int64_t w = 0; w < s->t.run.n_workers; w++) {
        assert_true(is_near(r->workers[w].busy_s + sum(r->workers[w].idle_s), r->makespan_s));
        busy_s += r->workers[w].busy_s;
    }
    assert_true(busy_s == r->busy_s);
    double share = 0, running = 0;
    for (int64_t n = 0; n <= s->t.run.n_workers; n++) {
        share += r->parallel.share[n];
    }
    for (int64_t b = 0; b < r->parallel.n_buckets; b++) {
        running += r->parallel.running[b] / (double)r->parallel.n_buckets;
    }
    assert_true(is_near(share, 1));
    assert_true(is_near(running, busy_s / r->makespan_s));
    assert_true(is_near(r->parallel.mean, running));
}

static void make_report(const small *s, trace_report *r)
{
    dsv4_error err = {0};
    *r = (trace_report){0};
    assert_int_equal(trace_report_make(&s->t, N_BUCKETS, r, &err), DSV4_OK);
    expect_sums(s, r);
}

static void expect_tasks(const small *s, const trace_path *p, int n, const int32_t *tasks)
{
    assert_int_equal(p->n_steps, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(s->events[p->steps[i].event].task, tasks[i]);
    }
}

#define WORKERS(s, ...) add_workers(s, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})
#define EXPECT_TASKS(s, p, ...) \
    expect_tasks(s, p, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (const int32_t[]){__VA_ARGS__})

static uint64_t n_drawn;

static int draw(const rng *g, int below)
{
    return (int)rng_below(g, n_drawn++, (uint64_t)below);
}

/* ---- by hand ----------------------------------------------------------------------------------------------------------------- */

static void test_chain(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0");
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR), a = add_block(&s, stage), b = add_block(&s, stage), c = add_block(&s, stage);
    add_edge(&s, a, b);
    add_edge(&s, b, c);
    add_event(&s, a, 0, 0, 10, 11, 13);
    add_event(&s, b, 0, TRACE_KEPT, 13, 14, 16);
    add_event(&s, c, 0, TRACE_KEPT, 16, 16, 20);
    make_report(&s, &r);
    assert_true(r.makespan_s == 10 && r.longest.blocks_s == 8 && r.executed.blocks_s == 8);
    EXPECT_TASKS(&s, &r.longest, a, b, c);
    EXPECT_TASKS(&s, &r.executed, a, b, c);
    expect_gaps(r.executed.gap_s, 0, 0, 2, 0);
    expect_gaps(r.workers[0].idle_s, 0, 0, 2, 0);
    assert_int_equal(r.executed.n_by_core, 0);
    assert_true(r.stages[0].longest_path_s == 8 && r.stages[0].total_s == 8 && r.stages[0].p95_s == 4);
    trace_report_deinit(&r);
}

/* a -> (b | c, stolen) -> join -> d */
static void test_fork_and_join(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0", "worker 1");
    int32_t one = add_stage(&s, "one", DSV4_VECTOR), two = add_stage(&s, "two", DSV4_CUBE);
    int32_t a = add_block(&s, one), b = add_block(&s, two), c = add_block(&s, two), d = add_block(&s, one), join = add_join(&s);
    add_edge(&s, a, b);
    add_edge(&s, a, c);
    add_edge(&s, b, join);
    add_edge(&s, c, join);
    add_edge(&s, join, d);
    add_event(&s, a, 0, 0, 0, 0, 2);
    add_event(&s, b, 0, TRACE_KEPT, 2, 2, 6);
    add_event(&s, d, 0, 0, 6, 7, 8);
    add_event(&s, c, 1, 0, 2, 3, 5);
    make_report(&s, &r);
    EXPECT_TASKS(&s, &r.longest, a, b, d);
    EXPECT_TASKS(&s, &r.executed, a, b, d);
    assert_true(r.longest.blocks_s == 7 && r.makespan_s == 8 && r.cores_bound_s == 4.5);
    expect_gaps(r.executed.gap_s, 0, 0, 1, 0);
    expect_gaps(r.workers[0].idle_s, 0, 0, 1, 0);
    expect_gaps(r.workers[1].idle_s, 2 + 3, 0, 0, 1);
    assert_true(r.parallel.share[0] == 1. / 8 && r.parallel.share[1] == 5. / 8 && r.parallel.share[2] == 2. / 8);
    assert_true(r.parallel.running[0] == 1 && r.parallel.running[1] == 1.5 && r.parallel.running[2] == 1.5 &&
                r.parallel.running[3] == 0.5);
    assert_true(r.parallel.ready[0] == 0 && r.parallel.ready[1] == 0.5 && r.parallel.ready[3] == 0.5);
    assert_int_equal(r.n_stages, 2);
    assert_true(r.stages[0].longest_path_s == 3 && r.stages[1].longest_path_s == 4);
    trace_report_deinit(&r);
}

/* A stolen block that the end waits for. */
static void test_steal_on_the_path(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0", "worker 1");
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR), a = add_block(&s, stage), b = add_block(&s, stage), c = add_block(&s, stage);
    add_edge(&s, a, b);
    add_edge(&s, a, c);
    add_event(&s, a, 0, 0, 0, 1, 2);
    add_event(&s, b, 0, TRACE_KEPT, 2, 2, 3);
    add_event(&s, c, 1, 0, 2, 5, 9);
    make_report(&s, &r);
    EXPECT_TASKS(&s, &r.executed, a, c);
    expect_gaps(r.executed.gap_s, 0, 0, 1, 3);
    expect_gaps(r.executed.steps[1].gap_s, 0, 0, 0, 3);
    trace_report_deinit(&r);
}

static void test_no_core(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0");
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR), a = add_block(&s, stage), b = add_block(&s, stage), c = add_block(&s, stage);
    add_event(&s, a, 0, 0, 0, 0, 3);
    add_event(&s, b, 0, 0, 0, 3, 5);
    add_event(&s, c, 0, 0, 0, 6, 7);
    make_report(&s, &r);
    assert_true(r.longest.blocks_s == 3 && r.cores_bound_s == 6);
    EXPECT_TASKS(&s, &r.executed, a, b, c);
    assert_int_equal(r.executed.n_by_core, 2);
    assert_true(r.executed.for_core_s == 5);
    expect_gaps(r.executed.gap_s, 0, 0, 1, 0);
    EXPECT_TASKS(&s, &r.needs, c);
    expect_gaps(r.needs.gap_s, 0, 5, 1, 0);
    expect_gaps(r.stages[0].delay_s, 0, 3 + 5, 1, 0);
    trace_report_deinit(&r);
}

/* b waits behind a, while the other worker has been free since c, until d. */
static void test_missed_core(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0", "worker 1");
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR);
    int32_t a = add_block(&s, stage), b = add_block(&s, stage), z = add_block(&s, stage), c = add_block(&s, stage),
            d = add_block(&s, stage);
    add_edge(&s, a, d);
    add_edge(&s, z, b);
    add_event(&s, a, 0, 0, 0, 0, 4);
    add_event(&s, b, 0, 0, 1, 4, 6);
    add_event(&s, z, 1, 1, 0, 0, 1);
    add_event(&s, c, 1, 1, 0, 1, 2);
    add_event(&s, d, 1, 1, 4, 4, 5);
    make_report(&s, &r);
    EXPECT_TASKS(&s, &r.executed, z, c, b);
    assert_int_equal(r.executed.n_by_core, 2);
    expect_gaps(r.executed.gap_s, 0, 0, 2, 0);
    EXPECT_TASKS(&s, &r.needs, z, b);
    expect_gaps(r.needs.gap_s, 0, 1, 2, 0);
    expect_gaps(r.workers[1].idle_s, 1, 0, 2, 0);
    trace_report_deinit(&r);
}

/* The same block waits for a core of its kind, or is overlooked by a free one. */
static void test_kinds_of_workers(void **state)
{
    (void)state;
    const char *const names[][2] = {{"cube 0", "vector 0"}, {"core 0", "core 1"}};
    for (int i = 0; i < 2; i++) {
        small s;
        trace_report r;
        small_init(&s);
        add_workers(&s, 2, names[i]);
        int32_t cube = add_stage(&s, "cube", DSV4_CUBE), vector = add_stage(&s, "vector", DSV4_VECTOR);
        int32_t a = add_block(&s, cube), b = add_block(&s, cube), v = add_block(&s, vector);
        add_event(&s, a, 0, 0, 0, 0, 3);
        add_event(&s, b, 0, 0, 0, 3, 5);
        add_event(&s, v, 1, 1, 0, 0, 1);
        make_report(&s, &r);
        expect_gaps(r.stages[0].delay_s, 0, i == 0 ? 3 : 1, i == 0 ? 0 : 2, 0);
        expect_gaps(r.workers[1].idle_s, i == 0 ? 4 : 2, 0, i == 0 ? 0 : 2, 0);
        assert_true(r.cores_bound_s == (i == 0 ? 5 : 3));
        assert_int_equal(r.n_kinds, i == 0 ? 2 : 1);
        assert_int_equal(r.kinds[0].n_workers, i == 0 ? 1 : 2);
        assert_int_equal(r.kinds[0].name_length, 5);
        assert_true(r.kinds[0].sum.busy_s == (i == 0 ? 5 : 6));
        trace_report_deinit(&r);
    }
}

/* Two blocks end together behind two joins; the one after takes no time, and the release of the last takes some. */
static void test_simultaneous_ends(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0", "worker 1");
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR), a = add_block(&s, stage), b = add_block(&s, stage), c = add_block(&s, stage),
            d = add_block(&s, stage), j = add_join(&s), k = add_join(&s);
    add_edge(&s, a, j);
    add_edge(&s, b, j);
    add_edge(&s, c, d);
    add_edge(&s, j, k);
    add_edge(&s, k, c);
    add_event(&s, a, 0, 0, 0, 0, 2);
    add_event(&s, c, 0, 0, 2, 2, 2);
    add_event(&s, b, 1, 1, 0, 0, 2);
    add_event(&s, d, 1, 1, 3, 4, 5);
    make_report(&s, &r);
    assert_int_equal(r.executed.n_steps, 3);
    expect_gaps(r.executed.gap_s, 1, 0, 1, 0);
    assert_true(r.longest.blocks_s == 3);
    assert_int_equal(r.longest.n_steps, 3);
    trace_report_deinit(&r);
}

static void test_stages_of_one_name(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0");
    int32_t other = add_stage(&s, "other", DSV4_VECTOR);
    add_stage(&s, "other", DSV4_VECTOR);
    int32_t first = add_stage(&s, "same", DSV4_VECTOR), again = add_stage(&s, "same", DSV4_VECTOR);
    double now_s = 0;
    add_event(&s, add_block(&s, other), 0, 0, 0, 0, 0);
    for (int i = 20; i > 0; i--) {
        int32_t task = add_block(&s, i % 2 == 0 ? first : again);
        s.tasks[task].work = (dsv4_work){.flops_bf16 = 2, .ops_i8 = 3, .vector_ops = 4};
        add_event(&s, task, 0, 0, 0, now_s, now_s + i);
        now_s += i;
    }
    make_report(&s, &r);
    assert_int_equal(r.n_stages, 2);
    assert_string_equal(r.stages[0].name, "other");
    assert_string_equal(r.stages[1].name, "same");
    const trace_stage_stats *same = &r.stages[1];
    assert_int_equal(same->n_blocks, 20);
    assert_true(same->total_s == 210 && same->p95_s == 19);
    assert_true(same->flops_bf16 == 40 && same->ops_i8 == 60 && same->vector_ops == 80);
    trace_report_deinit(&r);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------------------ */

static void add_touch(small *s, int mode, dsv4_view view, dsv4_box box)
{
    s->touches[s->t.graph.n_touches++] = (trace_touch){view, mode, box};
    s->tasks[s->t.graph.n_tasks - 1].touch_end = s->t.graph.n_touches;
}

/* Input of 4 rows of 8 bytes, 16 apart; an intermediate; an output seen through two views. */
static void test_bounds_of_the_machine(void **state)
{
    (void)state;
    small s;
    trace_report r;
    small_init(&s);
    WORKERS(&s, "worker 0");
    s.views[0] = (trace_view){"in", 1000, 4, 4, 2, 16};
    s.views[1] = (trace_view){"between", 2000, 1, 8, 4, 32};
    s.views[2] = (trace_view){"out", 3000, 2, 4, 4, 16};
    s.views[3] = (trace_view){"out.flat", 3000, 1, 8, 4, 32};
    s.t.graph.n_views = 4;
    int32_t one = add_stage(&s, "one", DSV4_VECTOR), two = add_stage(&s, "two", DSV4_VECTOR);
    int32_t b = add_block(&s, two);
    add_touch(&s, DSV4_READ, 0, (dsv4_box){0, 4, 0, 4});
    add_touch(&s, DSV4_READ, 1, (dsv4_box){0, 1, 0, 8});
    add_touch(&s, DSV4_WRITE, 3, (dsv4_box){0, 1, 2, 8});
    int32_t a = add_block(&s, one);
    add_touch(&s, DSV4_READ, 0, (dsv4_box){0, 2, 0, 3});
    add_touch(&s, DSV4_READ, 0, (dsv4_box){1, 3, 1, 3});
    add_touch(&s, DSV4_READ | DSV4_UNTRACKED, 0, (dsv4_box){0, 4, 0, 4});
    add_touch(&s, DSV4_WRITE, 1, (dsv4_box){0, 1, 0, 8});
    add_touch(&s, DSV4_WRITE, 2, (dsv4_box){0, 1, 0, 3});
    s.tasks[a].work.flops_bf16 = 400;
    s.tasks[b].work.ops_i8 = 10;
    add_edge(&s, b, a); /* whatever the boxes say */
    add_event(&s, b, 0, 0, 0, 0, 50);
    add_event(&s, a, 0, 0, 50, 50, 100);
    make_report(&s, &r);
    assert_true(r.machine_bound_s == 0);
    assert_true(r.stages[0].outside_bytes == (3 + 3 + 2) * 2 + 12);
    assert_true(r.stages[1].outside_bytes == (4 * 4 - 8) * 2 + (24 - 4));
    trace_report_deinit(&r);
    s.t.run.read_bytes_s = 2;
    s.t.run.flops_bf16_s = 20;
    make_report(&s, &r);
    assert_true(r.machine_bound_s == 0 && r.arithmetic_bound_s == 0 && r.transfer_bound_s == 32 && r.stages[0].bound_s == 0);
    trace_report_deinit(&r);
    s.t.run.ops_i8_s = 1;
    make_report(&s, &r);
    assert_true(r.stages[0].bound_s == 20 && r.stages[1].bound_s == 18 && r.machine_bound_s == 38 && r.arithmetic_bound_s == 30);
    trace_report_deinit(&r);
}

/* Two regions side by side, the first seen through three views, the second through one. */
enum { ORIGIN = 500, REGION = 48, N_BYTES = 2 * REGION, N_VIEWS = 4, N_ROWS = 3 };

static const trace_view region_views[N_VIEWS] = {{"rows", ORIGIN, 6, 4, 2, 8},
                                                 {"flat", ORIGIN, 1, 12, 4, REGION},
                                                 {"gaps", ORIGIN, 3, 3, 2, 16},
                                                 {"second", ORIGIN + REGION, 4, 6, 2, 12}};

static bool holds_byte(const trace_view *v, const dsv4_box *b, int64_t at)
{
    int64_t y = at / v->row_bytes, x = at % v->row_bytes / v->elem_bytes;
    return at >= 0 && y >= b->row0 && y < b->row1 && x >= b->col0 && x < b->col1;
}

/* A touch of the last block, through any view; notes the row that is first to touch a byte. */
static void draw_touch(const rng *g, small *s, const int *modes, int32_t row, int *used, int32_t *first_row)
{
    dsv4_view view = draw(g, N_VIEWS);
    const trace_view *v = &region_views[view];
    dsv4_box box = {.row0 = draw(g, (int)v->rows), .col0 = draw(g, (int)v->cols)};
    box.row1 = box.row0 + 1 + draw(g, (int)(v->rows - box.row0));
    box.col1 = box.col0 + 1 + draw(g, (int)(v->cols - box.col0));
    add_touch(s, modes[view], view, box);
    used[v->address != ORIGIN] |= modes[view];
    for (int64_t at = 0; at < N_BYTES; at++) {
        if (first_row[at] == TRACE_NONE && holds_byte(v, &box, at + ORIGIN - v->address)) {
            first_row[at] = row;
        }
    }
}

static void expect_outside_bytes(const small *s, const int *used, const int32_t *first_row)
{
    trace_report r = {0};
    double expected[N_ROWS] = {0};
    for (int at = 0; at < N_BYTES; at++) {
        if (first_row[at] != TRACE_NONE && used[at / REGION] != DSV4_UPDATE) {
            expected[first_row[at]]++;
        }
    }
    assert_int_equal(trace_report_make(&s->t, N_BUCKETS, &r, NULL), DSV4_OK);
    for (int row = 0; row < N_ROWS; row++) {
        assert_true(r.stages[row].outside_bytes == expected[row]);
    }
    trace_report_deinit(&r);
}

static void test_random_boxes(void **state)
{
    (void)state;
    const char *const names[N_ROWS] = {"a", "b", "c"};
    for (int round = 0; round < 2000; round++) {
        rng g = {9, (uint64_t)round};
        small s;
        int32_t first_row[N_BYTES];
        int used[2] = {0}, modes[N_VIEWS];
        n_drawn = 0;
        small_init(&s);
        WORKERS(&s, "worker 0");
        memcpy(s.views, region_views, sizeof region_views);
        memset(first_row, 0xff, sizeof first_row);
        s.t.graph.n_views = N_VIEWS;
        for (int v = 0; v < N_VIEWS; v++) {
            modes[v] = draw(&g, 4) == 0 ? DSV4_WRITE : DSV4_READ;
        }
        for (int32_t row = 0; row < N_ROWS; row++) {
            add_event(&s, add_block(&s, add_stage(&s, names[row], DSV4_VECTOR)), 0, 0, 0, row, row + 1);
            for (int i = draw(&g, 6); i > 0; i--) {
                draw_touch(&g, &s, modes, row, used, first_row);
            }
        }
        expect_outside_bytes(&s, used, first_row);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    small s;
    trace_report r = {0};
    dsv4_error err = {0};
    small_init(&s);
    WORKERS(&s, "worker 0");
    assert_int_equal(trace_report_make(&s.t, N_BUCKETS, &r, &err), DSV4_E_USAGE);
    int32_t stage = add_stage(&s, "a", DSV4_VECTOR), a = add_block(&s, stage), b = add_block(&s, stage);
    add_edge(&s, a, b);
    add_edge(&s, b, a);
    add_event(&s, a, 0, 0, 0, 0, 1);
    add_event(&s, b, 0, 0, 0, 1, 2);
    assert_int_equal(trace_report_make(&s.t, N_BUCKETS, &r, &err), DSV4_E_GRAPH);
    trace_report_deinit(&r);
}

/* ---- random runs ------------------------------------------------------------------------------------------------------------- */

/* Blocks 0..n-1 with edges ascending, every other one through a join of its own. */
static void draw_graph(const rng *g, small *s, int n)
{
    bool has_edge[MAX_TASKS][MAX_TASKS] = {{false}};
    int32_t join[MAX_TASKS];
    int32_t stages[2] = {add_stage(s, "v", DSV4_VECTOR), add_stage(s, "c", DSV4_CUBE)};
    for (int i = 0; i < n; i++) {
        add_block(s, stages[draw(g, 2)]);
    }
    for (int i = 0; i < n; i++) {
        join[i] = i % 2 == 1 ? add_join(s) : TRACE_NONE;
    }
    for (int i = 0; i < n; i++) {
        for (int j = i + 1; j < n; j++) {
            has_edge[i][j] = draw(g, 4) == 0;
            if (has_edge[i][j]) {
                add_edge(s, i, join[j] != TRACE_NONE ? join[j] : j);
            }
        }
    }
    for (int i = 1; i < n; i += 2) {
        add_edge(s, join[i], i);
    }
}

/* Blocks before i, through its join. Returns how many. */
static int blocks_before(const small *s, int32_t i, int32_t *out)
{
    int n = 0;
    for (int64_t e = 0; e < s->t.graph.n_edges; e++) {
        const trace_edge *edge = &s->edges[e];
        bool to_join = s->tasks[edge->to].is_join && s->edges[s->tasks[edge->to].edge].to == i;
        if (!s->tasks[edge->from].is_join && (edge->to == i || to_join)) {
            out[n++] = edge->from;
        }
    }
    return n;
}

/* In the order of their numbers, on workers drawn, with delays drawn. */
static void draw_run(const rng *g, small *s, int n, int n_workers)
{
    double end_s[MAX_TASKS], free_s[MAX_WORKERS] = {0};
    trace_event drawn[MAX_TASKS];
    for (int i = 0; i < n; i++) {
        int32_t before[MAX_TASKS], worker = draw(g, n_workers);
        double ready_s = 0;
        for (int b = blocks_before(s, i, before) - 1; b >= 0; b--) {
            ready_s = fmax(ready_s, end_s[before[b]]);
        }
        ready_s += draw(g, 4) == 0;
        double start_s = fmax(ready_s, free_s[worker]) + (draw(g, 3) == 0 ? draw(g, 4) : 0);
        end_s[i] = free_s[worker] = start_s + draw(g, 6);
        drawn[i] = (trace_event){i, worker, draw(g, n_workers + 1) - 1, ready_s, start_s, start_s, end_s[i]};
    }
    for (int w = 0; w < n_workers; w++) {
        for (int i = 0; i < n; i++) {
            if (drawn[i].worker == w) {
                s->events[s->t.run.n_events++] = drawn[i];
            }
        }
    }
}

static double longest_from(const small *s, const double *duration_s, int32_t task)
{
    double longest_s = 0;
    for (int64_t e = s->tasks[task].edge; e < s->tasks[task].edge_end; e++) {
        longest_s = fmax(longest_s, longest_from(s, duration_s, s->edges[e].to));
    }
    return longest_s + duration_s[task];
}

static double brute_longest(const small *s)
{
    double duration_s[MAX_TASKS] = {0}, longest_s = 0;
    for (int64_t i = 0; i < s->t.run.n_events; i++) {
        duration_s[s->events[i].task] = s->events[i].end_s - s->events[i].start_s;
    }
    for (int32_t i = 0; i < s->t.graph.n_tasks; i++) {
        longest_s = fmax(longest_s, longest_from(s, duration_s, i));
    }
    return longest_s;
}

/* All workers run both kinds. What a worker does in the second from at_s: its next block, which is ready or not. */
static const trace_event *next_of(const small *s, int w, double at_s, double *since_s)
{
    *since_s = 0;
    for (int64_t i = 0; i < s->t.run.n_events; i++) {
        const trace_event *e = &s->events[i];
        if (e->worker != w || e->start_s == e->end_s) {
            *since_s = e->worker == w && e->end_s <= at_s ? fmax(*since_s, e->end_s) : *since_s;
            continue;
        }
        if (e->end_s > at_s) {
            return e;
        }
        *since_s = e->end_s;
    }
    return NULL;
}

/* Sums over workers of idle_s, and over blocks of delay_s, second by second. Only for runs in which every block takes time. */
static void brute_blame(const small *s, double makespan_s, double *idle_s, double *delay_s)
{
    for (double at_s = 0; at_s < makespan_s; at_s++) {
        int n_queued = 0, n_free = 0;
        double since_s;
        for (int64_t i = 0; i < s->t.run.n_events; i++) {
            const trace_event *e = &s->events[i];
            bool is_next = next_of(s, e->worker, at_s, &since_s) == e && since_s <= at_s;
            n_queued += e->ready_s <= at_s && at_s < e->start_s && !is_next;
        }
        for (int w = 0; w < s->t.run.n_workers; w++) {
            const trace_event *next = next_of(s, w, at_s, &since_s);
            bool is_finding = next != NULL && next->ready_s <= at_s && at_s < next->start_s;
            bool is_steal = is_finding && next->found != TRACE_KEPT && next->found != w;
            idle_s[is_steal ? TRACE_STEAL : TRACE_PICKUP] += is_finding;
            delay_s[is_steal ? TRACE_STEAL : TRACE_PICKUP] += is_finding;
            n_free += next == NULL || next->ready_s > at_s;
        }
        int n_pairs = n_queued < n_free ? n_queued : n_free;
        idle_s[TRACE_PICKUP] += n_pairs;
        idle_s[TRACE_NO_WORK] += n_free - n_pairs;
        delay_s[TRACE_PICKUP] += n_pairs;
        delay_s[TRACE_NO_CORE] += n_queued - n_pairs;
    }
}

static void expect_blame(const small *s, const trace_report *r)
{
    double expected_idle_s[TRACE_N_REASONS] = {0}, expected_delay_s[TRACE_N_REASONS] = {0};
    for (int64_t i = 0; i < s->t.run.n_events; i++) {
        if (s->events[i].start_s == s->events[i].end_s) {
            return;
        }
    }
    brute_blame(s, r->makespan_s, expected_idle_s, expected_delay_s);
    for (int reason = 0; reason < TRACE_N_REASONS; reason++) {
        double delay_s = 0;
        for (int64_t i = 0; i < r->n_stages; i++) {
            delay_s += r->stages[i].delay_s[reason];
        }
        assert_true(is_near(r->kinds[0].sum.idle_s[reason], expected_idle_s[reason]));
        assert_true(is_near(delay_s, expected_delay_s[reason]));
    }
}

/* Times of a path ascend, and a step that needs the one before has a path of edges from it. */
static void expect_path(const small *s, const trace_path *p)
{
    for (int64_t i = 1; i < p->n_steps; i++) {
        const trace_event *a = &s->events[p->steps[i - 1].event], *b = &s->events[p->steps[i].event];
        int32_t before[MAX_TASKS];
        bool is_needed = false;
        for (int n = blocks_before(s, b->task, before) - 1; n >= 0; n--) {
            is_needed = is_needed || before[n] == a->task;
        }
        assert_true(a->end_s <= b->start_s);
        assert_true(is_needed || p->steps[i].by_core);
    }
}

static void test_random_runs(void **state)
{
    (void)state;
    const char *const names[] = {"worker 0", "worker 1", "worker 2", "worker 3"};
    for (int round = 0; round < 3000; round++) {
        rng g = {7, (uint64_t)round};
        small s;
        trace_report r;
        n_drawn = 0;
        small_init(&s);
        int n = 1 + draw(&g, 14), n_workers = 1 + draw(&g, MAX_WORKERS);
        add_workers(&s, n_workers, names);
        draw_graph(&g, &s, n);
        draw_run(&g, &s, n, n_workers);
        if (brute_longest(&s) == 0) {
            continue;
        }
        make_report(&s, &r);
        assert_true(r.longest.blocks_s == brute_longest(&s));
        for (int64_t i = 0; i < r.n_stages; i++) {
            assert_true(r.stages[i].p95_s <= r.stages[i].total_s);
        }
        expect_path(&s, &r.executed);
        expect_path(&s, &r.needs);
        expect_path(&s, &r.longest);
        if (r.begin_s == 0) {
            expect_blame(&s, &r);
        }
        trace_report_deinit(&r);
    }
}

/* Times that no machine could have measured: no hang, no broken sum. */
static void test_impossible_times(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        rng g = {8, (uint64_t)round};
        small s;
        trace_report r = {0};
        n_drawn = 0;
        small_init(&s);
        WORKERS(&s, "worker 0", "vector 0");
        draw_graph(&g, &s, 12);
        draw_run(&g, &s, 12, 2);
        for (int i = 0; i < 12; i++) {
            s.events[i].ready_s = draw(&g, 20);
            s.events[i].start_s = draw(&g, 20);
            s.events[i].end_s = draw(&g, 20);
        }
        assert_int_equal(trace_report_make(&s.t, N_BUCKETS, &r, NULL), DSV4_OK);
        assert_true(r.executed.blocks_s + sum(r.executed.gap_s) == r.makespan_s);
        assert_true(is_near(r.needs.blocks_s + sum(r.needs.gap_s), r.makespan_s));
        trace_report_deinit(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_fork_and_join),
        cmocka_unit_test(test_steal_on_the_path),
        cmocka_unit_test(test_no_core),
        cmocka_unit_test(test_missed_core),
        cmocka_unit_test(test_kinds_of_workers),
        cmocka_unit_test(test_simultaneous_ends),
        cmocka_unit_test(test_stages_of_one_name),
        cmocka_unit_test(test_bounds_of_the_machine),
        cmocka_unit_test(test_random_boxes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_random_runs),
        cmocka_unit_test(test_impossible_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
