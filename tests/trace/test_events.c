/* Swimlanes, read back from the written file: a stage that works in place runs in parallel with exact boxes and one block at a time
 * with a tracker that sees whole tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "dsv4/trace.h"
#include "rt/rt_helpers.h"

#define TRACE_PATH TEST_TEMPORARY "/trace_events.json"

enum { N_ROWS = 8, N_COLS = 64, N_READERS = 3, N_THREADS = 2, MAX_SLICES = 64, MAX_ARROWS = 128, N_ATTEMPTS = 50 };

/* Times are written in microseconds with three digits. */
static const double rounding_us = 0.0011;
static const double busy_s = 200e-6;

static float rows[N_ROWS][N_COLS];
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
    remove(TRACE_PATH);
    return 0;
}

/* ---- the graph: fill a row -> rotate it in place -> read all rows ------------------------------------------------------- */

static void run_fill(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int i = 0; i < N_COLS; i++) {
        rows[block][i] = (float)i;
    }
}

static void run_rotate(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    double end_s = clock_s() + busy_s;
    for (int i = N_COLS / 2; i < N_COLS; i += 2) {
        float even = rows[block][i];
        rows[block][i] = -rows[block][i + 1];
        rows[block][i + 1] = even;
    }
    while (clock_s() < end_s) {
    }
}

/* Reads the row and writes back into columns of it. */
static const tiling fill = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, N_COLS}, 1, 0}}};
static const tiling rotate = {
    .n_tiles = 2, .tiles = {{0, DSV4_READ, {0, 1, 0, N_COLS}, 1, 0}, {0, DSV4_WRITE, {0, 1, N_COLS / 2, N_COLS}, 1, 0}}};
static const tiling read_all = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, N_ROWS, 0, N_COLS}, 0, 0}}};

static const char odd_name[] = "rope.\"read\"\\all \xc3\xbc\xe2\x86\x92"; /* quotes, a backslash, UTF-8 */

static dsv4_graph *build(dsv4_deps deps)
{
    dsv4_graph *g = dsv4_graph_create("rope \"in place\"");
    dsv4_graph_view(g, "rows", rows, N_ROWS, N_COLS, sizeof rows[0][0], sizeof rows[0]);
    dsv4_graph_stage(g, &(dsv4_stage_desc){"rope.fill", N_ROWS, run_fill, tiling_describe, &fill, 0, DSV4_VECTOR});
    dsv4_graph_stage(g, &(dsv4_stage_desc){"rope.rotate", N_ROWS, run_rotate, tiling_describe, &rotate, 0, DSV4_VECTOR});
    tiling_stage(g, odd_name, N_READERS, &read_all);
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, deps, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return g;
}

/* ---- reading a trace ---------------------------------------------------------------------------------------------------- */

typedef struct slice {
    const char *name, *cname;
    int64_t lane, block;
    double begin, end, ready, dispatch, waited; /* us */
} slice;

typedef struct arrow_end {
    int64_t id, lane;
    double at;
} arrow_end;

typedef struct swimlanes {
    json_t *root; /* owns the names */
    int n_lanes, n_slices, n_tails, n_heads, n_samples;
    int64_t first_ready, last_ready;
    double sampled; /* us, the last sample */
    slice slices[MAX_SLICES];
    arrow_end tails[MAX_ARROWS], heads[MAX_ARROWS];
} swimlanes;

static int64_t integer(const json_t *event, const char *key)
{
    const json_t *value = json_object_get(event, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static double number(const json_t *event, const char *key)
{
    const json_t *value = json_object_get(event, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *text(const json_t *event, const char *key)
{
    const char *value = json_string_value(json_object_get(event, key));
    assert_non_null(value);
    return value;
}

static void read_slice(const json_t *event, slice *s)
{
    const json_t *args = json_object_get(event, "args");
    double begin = number(event, "ts");
    *s = (slice){
        text(event, "name"),          text(event, "cname"),     integer(event, "tid"),       integer(args, "block"),   begin,
        begin + number(event, "dur"), number(args, "ready_us"), number(args, "dispatch_us"), number(args, "waited_us")};
}

static void read_metadata(const json_t *event, swimlanes *t)
{
    const char *given = text(json_object_get(event, "args"), "name");
    if (strcmp(text(event, "name"), "process_name") == 0) {
        assert_string_equal(given, "rope \"in place\"");
        return;
    }
    char expected[32];
    snprintf(expected, sizeof expected, "worker %d", t->n_lanes);
    assert_string_equal(text(event, "name"), "thread_name");
    assert_string_equal(given, expected);
    assert_int_equal(integer(event, "tid"), t->n_lanes++);
}

/* How many blocks wait for a worker. */
static void read_sample(const json_t *event, swimlanes *t)
{
    int64_t n_ready = integer(json_object_get(event, "args"), "blocks");
    assert_string_equal(text(event, "name"), "ready blocks");
    assert_true(n_ready >= 0 && n_ready <= MAX_SLICES && number(event, "ts") >= t->sampled);
    t->sampled = number(event, "ts");
    t->first_ready = t->n_samples++ == 0 ? n_ready : t->first_ready;
    t->last_ready = n_ready;
}

static void read_event(const json_t *event, swimlanes *t)
{
    const char *phase = text(event, "ph");
    assert_int_equal(integer(event, "pid"), 1);
    if (strcmp(phase, "M") == 0) {
        read_metadata(event, t);
    } else if (strcmp(phase, "X") == 0) {
        assert_true(t->n_slices < MAX_SLICES);
        read_slice(event, &t->slices[t->n_slices++]);
    } else if (strcmp(phase, "C") == 0) {
        read_sample(event, t);
    } else {
        bool tail = strcmp(phase, "s") == 0;
        assert_true(tail || strcmp(phase, "f") == 0);
        int *n = tail ? &t->n_tails : &t->n_heads;
        assert_true(*n < MAX_ARROWS);
        (tail ? t->tails : t->heads)[(*n)++] = (arrow_end){integer(event, "id"), integer(event, "tid"), number(event, "ts")};
    }
}

static swimlanes write_and_read(const dsv4_exec *x)
{
    swimlanes t = {0};
    dsv4_error err = {0};
    json_error_t json_err;
    if (dsv4_exec_write_trace(x, TRACE_PATH, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    t.root = json_load_file(TRACE_PATH, JSON_REJECT_DUPLICATES, &json_err);
    if (t.root == NULL) {
        fail_msg("line %d: %s", json_err.line, json_err.text);
    }
    size_t i;
    const json_t *event;
    json_array_foreach(json_object_get(t.root, "traceEvents"), i, event)
    {
        read_event(event, &t);
    }
    return t;
}

static swimlanes trace_run(dsv4_deps deps)
{
    dsv4_graph *g = build(deps);
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, pool, 1, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK); /* the last one counts */
    swimlanes t = write_and_read(x);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
    return t;
}

static const slice *find_slice(const swimlanes *t, const char *name, int64_t block)
{
    const slice *found = NULL;
    for (int i = 0; i < t->n_slices; i++) {
        if (strcmp(t->slices[i].name, name) == 0 && t->slices[i].block == block) {
            assert_null(found);
            found = &t->slices[i];
        }
    }
    assert_non_null(found);
    return found;
}

/* ---- what a trace holds ------------------------------------------------------------------------------------------------- */

static void test_every_block_has_its_slice(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int n_blocks;
    } stages[] = {{"rope.fill", N_ROWS}, {"rope.rotate", N_ROWS}, {odd_name, N_READERS}};
    swimlanes t = trace_run(DSV4_DEPS_BLOCK);
    assert_int_equal(t.n_lanes, N_THREADS);
    assert_int_equal(t.n_slices, 2 * N_ROWS + N_READERS);
    for (int s = 0; s < 3; s++) {
        const char *colour = find_slice(&t, stages[s].name, 0)->cname;
        for (int b = 0; b < stages[s].n_blocks; b++) {
            assert_string_equal(find_slice(&t, stages[s].name, b)->cname, colour);
        }
        for (int other = 0; other < s; other++) {
            assert_string_not_equal(find_slice(&t, stages[other].name, 0)->cname, colour);
        }
    }
    json_decref(t.root);
}

static void test_times_follow_a_blocks_life(void **state)
{
    (void)state;
    swimlanes t = trace_run(DSV4_DEPS_BLOCK);
    for (int i = 0; i < t.n_slices; i++) {
        const slice *s = &t.slices[i];
        assert_in_range(s->lane, 0, N_THREADS - 1);
        assert_true(0 <= s->ready && s->ready <= s->dispatch && s->dispatch <= s->begin && s->begin <= s->end);
        assert_true(s->waited >= 0 && fabs(s->waited - (s->dispatch - s->ready)) < 2 * rounding_us);
        assert_true(strcmp(s->name, "rope.rotate") != 0 || s->end - s->begin >= 0.95e6 * busy_s);
        for (int k = 0; k < i; k++) { /* a worker runs one block at a time */
            const slice *o = &t.slices[k];
            assert_true(o->lane != s->lane || o->end <= s->begin + 2 * rounding_us || s->end <= o->begin + 2 * rounding_us);
        }
    }
    json_decref(t.root);
}

/* All that depends on nothing is ready at first, and nothing at the end. */
static void test_samples_of_ready_blocks(void **state)
{
    (void)state;
    swimlanes t = trace_run(DSV4_DEPS_BLOCK);
    assert_int_equal(t.first_ready, N_ROWS);
    assert_int_equal(t.last_ready, 0);
    assert_true(t.n_samples > N_ROWS && t.n_samples <= 2 * t.n_slices);
    json_decref(t.root);
}

/* The slice that an end of an arrow lies in; at a shared border, the one that ends there for a tail and begins there for a head. */
static const slice *slice_at(const swimlanes *t, const arrow_end *a, bool tail)
{
    const slice *found = NULL;
    for (int i = 0; i < t->n_slices; i++) {
        const slice *s = &t->slices[i];
        if (s->lane == a->lane && s->begin - rounding_us <= a->at && a->at <= s->end + rounding_us) {
            bool better = found == NULL || (tail ? s->end < found->end : s->begin > found->begin);
            found = better ? s : found;
        }
    }
    assert_non_null(found);
    return found;
}

typedef struct arrow {
    const slice *from, *to;
} arrow;

/* Pairs tails with heads; each has exactly one partner. Returns their number. */
static int pair_arrows(const swimlanes *t, arrow arrows[MAX_ARROWS])
{
    assert_int_equal(t->n_tails, t->n_heads);
    for (int i = 0; i < t->n_tails; i++) {
        const arrow_end *head = NULL;
        for (int k = 0; k < t->n_heads; k++) {
            if (t->heads[k].id == t->tails[i].id) {
                assert_null(head);
                head = &t->heads[k];
            }
        }
        assert_non_null(head);
        assert_true(t->tails[i].at <= head->at);
        arrows[i] = (arrow){slice_at(t, &t->tails[i], true), slice_at(t, head, false)};
    }
    return t->n_tails;
}

static int count_arrows(const arrow *arrows, int n, const slice *from, const slice *to)
{
    int n_found = 0;
    for (int i = 0; i < n; i++) {
        n_found += (from == NULL || arrows[i].from == from) && arrows[i].to == to;
    }
    return n_found;
}

/* One arrow an edge: row by row into the rotation, from all rows into the first reader; the other readers' join is drawn as an
 * arrow from the block that completed it. */
static void test_arrows_follow_edges(void **state)
{
    (void)state;
    arrow arrows[MAX_ARROWS];
    swimlanes t = trace_run(DSV4_DEPS_BLOCK);
    int n = pair_arrows(&t, arrows);
    double last_end = 0;
    const slice *last = NULL;
    for (int b = 0; b < N_ROWS; b++) {
        const slice *filled = find_slice(&t, "rope.fill", b), *rotated = find_slice(&t, "rope.rotate", b);
        assert_int_equal(count_arrows(arrows, n, filled, rotated), 1);
        assert_int_equal(count_arrows(arrows, n, NULL, rotated), 1);
        assert_int_equal(count_arrows(arrows, n, NULL, filled), 0);
        assert_int_equal(count_arrows(arrows, n, rotated, find_slice(&t, odd_name, 0)), 1);
        last = rotated->end > last_end ? rotated : last;
        last_end = last->end;
    }
    for (int r = 1; r < N_READERS; r++) {
        assert_int_equal(count_arrows(arrows, n, last, find_slice(&t, odd_name, r)), 1);
    }
    json_decref(t.root);
}

/* ---- parallel or not ---------------------------------------------------------------------------------------------------- */

/* Pairs of rotations on different workers whose slices overlap by more than a tenth of their length. */
static int count_overlaps(const swimlanes *t)
{
    int n = 0;
    for (int a = 0; a < N_ROWS; a++) {
        for (int b = 0; b < a; b++) {
            const slice *one = find_slice(t, "rope.rotate", a), *two = find_slice(t, "rope.rotate", b);
            double begin = one->begin > two->begin ? one->begin : two->begin, end = one->end < two->end ? one->end : two->end;
            n += one->lane != two->lane && end - begin > 0.1e6 * busy_s;
        }
    }
    return n;
}

/* Other load may keep a worker away for a while: some run shows the overlap. */
static void test_exact_boxes_run_in_parallel(void **state)
{
    (void)state;
    if (dsv4_pool_default_threads() < N_THREADS) {
        print_message("skipped: needs %d cores\n", N_THREADS);
        skip();
    }
    int n_overlaps = 0;
    for (int i = 0; i < N_ATTEMPTS && n_overlaps == 0; i++) {
        swimlanes t = trace_run(DSV4_DEPS_BLOCK);
        n_overlaps = count_overlaps(&t);
        json_decref(t.root);
    }
    assert_true(n_overlaps > 0);
}

static void test_whole_tensors_run_one_by_one(void **state)
{
    (void)state;
    swimlanes t = trace_run(DSV4_DEPS_TENSOR);
    for (int b = 1; b < N_ROWS; b++) { /* in program order, each behind the end of the one before */
        assert_true(find_slice(&t, "rope.rotate", b - 1)->end <= find_slice(&t, "rope.rotate", b)->begin + 2 * rounding_us);
    }
    json_decref(t.root);
}

/* ---- summaries and refusals --------------------------------------------------------------------------------------------- */

static void test_summary(void **state)
{
    (void)state;
    dsv4_graph *g = build(DSV4_DEPS_TENSOR);
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, pool, 1, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_get_summary(x).n_blocks, 0);
    double before_s = clock_s();
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    double elapsed_s = clock_s() - before_s;
    dsv4_exec_summary s = dsv4_exec_get_summary(x);
    assert_int_equal(s.n_blocks, 2 * N_ROWS + N_READERS);
    assert_int_equal(s.n_workers, N_THREADS);
    assert_true(s.makespan_s >= 0.95 * N_ROWS * busy_s && s.makespan_s <= 1.05 * elapsed_s);
    assert_true(s.busy_share > 0 && s.busy_share <= 0.51); /* one of two workers at a time */
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

static void test_nothing_to_write(void **state)
{
    (void)state;
    dsv4_graph *g = build(DSV4_DEPS_BLOCK);
    for (int trace = 0; trace < 2; trace++) {
        dsv4_exec *x;
        dsv4_error err = {0};
        assert_int_equal(dsv4_exec_create(g, pool, trace, &x, NULL), DSV4_OK);
        if (trace == 0) { /* runs untraced; the other one never runs */
            assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
        }
        remove(TRACE_PATH);
        assert_int_equal(dsv4_exec_write_trace(x, TRACE_PATH, &err), DSV4_E_USAGE);
        assert_non_null(strstr(err.text, "no traced run"));
        assert_int_not_equal(access(TRACE_PATH, F_OK), 0);
        dsv4_exec_summary s = dsv4_exec_get_summary(x);
        assert_true(s.n_blocks == 0 && s.n_workers == 0 && s.makespan_s == 0 && s.busy_share == 0);
        dsv4_exec_destroy(x);
    }
    dsv4_graph_destroy(g);
}

static void test_unwritable_path(void **state)
{
    (void)state;
    dsv4_graph *g = build(DSV4_DEPS_BLOCK);
    dsv4_exec *x;
    dsv4_error err = {0};
    assert_int_equal(dsv4_exec_create(g, pool, 1, &x, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    assert_int_equal(dsv4_exec_write_trace(x, TEST_TEMPORARY "/no such folder/t.json", &err), DSV4_E_IO);
    assert_non_null(strstr(err.text, "no such folder"));
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_has_its_slice),
        cmocka_unit_test(test_times_follow_a_blocks_life),
        cmocka_unit_test(test_samples_of_ready_blocks),
        cmocka_unit_test(test_arrows_follow_edges),
        cmocka_unit_test(test_exact_boxes_run_in_parallel),
        cmocka_unit_test(test_whole_tensors_run_one_by_one),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_nothing_to_write),
        cmocka_unit_test(test_unwritable_path),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
