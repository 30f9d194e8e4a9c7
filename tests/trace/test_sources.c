/* What edges come from, on graphs small enough to know: every edge with its source and its two boxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace_helpers.h"

enum { N = 8, MAX_BLOCKS = 64, MAX_AT_JOIN = 4096, N_STAGES = 24 };

static float a[N][N], b[N][N];

typedef struct graph_views {
    dsv4_graph *g;
    dsv4_view a, b;
} graph_views;

static graph_views begin(void)
{
    graph_views v = {.g = dsv4_graph_create("sources")};
    v.a = dsv4_graph_view(v.g, "a", a, N, N, sizeof a[0][0], sizeof a[0]);
    v.b = dsv4_graph_view(v.g, "b", b, N, N, sizeof b[0][0], sizeof b[0]);
    return v;
}

static trace end(graph_views v, dsv4_deps deps)
{
    seal(v.g, deps);
    trace t = captured(v.g);
    dsv4_graph_destroy(v.g);
    assert_int_equal(t.graph.deps, deps);
    return t;
}

/* Task of a stage's block; -1 - i: the join made by sealing number i. */
static int32_t find_task(const trace *t, int stage, int64_t block)
{
    int n_joins = 0;
    for (int32_t i = 0; i < t->graph.n_tasks; i++) {
        const trace_task *task = &t->graph.tasks[i];
        if (stage < 0 ? task->stage == TRACE_NONE && n_joins++ == -1 - stage : task->stage == stage && task->block == block) {
            return i;
        }
    }
    fail_msg("no task %d %d", stage, (int)block);
    return -1;
}

static const trace_edge *edge_of(const trace *t, int32_t from, int32_t to)
{
    for (int64_t e = t->graph.tasks[from].edge; e < t->graph.tasks[from].edge_end; e++) {
        assert_int_equal(t->graph.edges[e].from, from);
        if (t->graph.edges[e].to == to) {
            return &t->graph.edges[e];
        }
    }
    fail_msg("no edge from %d to %d", from, to);
    return NULL;
}

static const trace_edge *edge_between(const trace *t, int from, int64_t from_block, int to, int64_t to_block)
{
    return edge_of(t, find_task(t, from, from_block), find_task(t, to, to_block));
}

typedef struct expected_box {
    int mode;
    dsv4_view view;
    dsv4_box box;
} expected_box;

static void assert_touch(const trace *t, int64_t touch, expected_box expected)
{
    assert_in_range(touch, 0, t->graph.n_touches - 1);
    const trace_touch *got = &t->graph.touches[touch];
    assert_true(got->mode == expected.mode && got->view == expected.view);
    assert_same_box(&got->box, &expected.box);
}

static void assert_edge(const trace *t, const trace_edge *e, trace_source source, expected_box from, expected_box to)
{
    assert_int_equal(e->source, source);
    assert_touch(t, e->from_touch, from);
    assert_touch(t, e->to_touch, to);
}

static void assert_no_boxes(const trace_edge *e, trace_source source)
{
    assert_int_equal(e->source, source);
    assert_true(e->from_touch == TRACE_NONE && e->to_touch == TRACE_NONE);
}

/* A stage of n blocks with one box, moved by so many rows from block to block. */
static tiling rows_of(dsv4_view view, int mode, int64_t row0, int64_t row1, int64_t step)
{
    return (tiling){.n_tiles = 1, .tiles = {{view, mode, {row0, row1, 0, N}, step, 0}}};
}

/* ---- block to block ------------------------------------------------------------------------------------------------------ */

static void test_raw_waw_war(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, 4, 0), read = rows_of(v.a, DSV4_READ, 2, 6, 0),
           again = rows_of(v.a, DSV4_WRITE, 3, 8, 0);
    tiling_stage(v.g, "write", 1, &write);
    tiling_stage(v.g, "read", 1, &read);
    tiling_stage(v.g, "again", 1, &again);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, 3);
    expected_box written = {DSV4_WRITE, v.a, {0, 4, 0, N}}, was_read = {DSV4_READ, v.a, {2, 6, 0, N}},
                 rewritten = {DSV4_WRITE, v.a, {3, 8, 0, N}};
    assert_edge(&t, edge_between(&t, 0, 0, 1, 0), TRACE_RAW, written, was_read);
    assert_edge(&t, edge_between(&t, 0, 0, 2, 0), TRACE_WAW, written, rewritten);
    assert_edge(&t, edge_between(&t, 1, 0, 2, 0), TRACE_WAR, was_read, rewritten);
    trace_deinit(&t);
}

/* Where several hold, the strongest; an update reads and writes. */
static void test_strongest(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling first = {.n_tiles = 3,
                    .tiles = {{v.a, DSV4_READ, {0, 1, 0, N}, 0, 0},
                              {v.a, DSV4_WRITE, {1, 2, 0, N}, 0, 0},
                              {v.b, DSV4_WRITE, {0, 1, 0, 4}, 0, 0}}};
    tiling second = {.n_tiles = 3,
                     .tiles = {{v.a, DSV4_WRITE, {0, 1, 0, N}, 0, 0},
                               {v.a, DSV4_WRITE, {1, 2, 0, N}, 0, 0},
                               {v.b, DSV4_READ, {0, N, 3, 4}, 0, 0}}};
    tiling update = rows_of(v.b, DSV4_UPDATE, 0, N, 0);
    tiling_stage(v.g, "first", 1, &first);
    tiling_stage(v.g, "second", 1, &second);
    tiling_stage(v.g, "update", 1, &update);
    trace t = end(v, DSV4_DEPS_BLOCK);
    expected_box updated = {DSV4_UPDATE, v.b, {0, N, 0, N}};
    assert_edge(&t, edge_between(&t, 0, 0, 1, 0), TRACE_RAW, (expected_box){DSV4_WRITE, v.b, {0, 1, 0, 4}},
                (expected_box){DSV4_READ, v.b, {0, N, 3, 4}});
    assert_edge(&t, edge_between(&t, 0, 0, 2, 0), TRACE_RAW, (expected_box){DSV4_WRITE, v.b, {0, 1, 0, 4}}, updated);
    assert_edge(&t, edge_between(&t, 1, 0, 2, 0), TRACE_WAR, (expected_box){DSV4_READ, v.b, {0, N, 3, 4}}, updated);
    trace_deinit(&t);
}

/* Columns of a, seen as rows of another width through a second view of the same bytes: row 1 of 4 columns is a[0][4..8). */
static void test_views_of_the_same_bytes(void **state)
{
    (void)state;
    graph_views v = begin();
    dsv4_view narrow = dsv4_graph_view(v.g, "narrow", a, 2 * N, N / 2, sizeof a[0][0], sizeof a[0] / 2);
    tiling columns = {.n_tiles = 1, .tiles = {{v.a, DSV4_WRITE, {0, N, 0, 4}, 0, 4}}};
    tiling row = {.n_tiles = 1, .tiles = {{narrow, DSV4_READ, {1, 2, 0, 4}, 0, 0}}};
    tiling_stage(v.g, "columns", 2, &columns);
    tiling_stage(v.g, "row", 1, &row);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, 1);
    assert_edge(&t, edge_between(&t, 0, 1, 1, 0), TRACE_RAW, (expected_box){DSV4_WRITE, v.a, {0, N, 4, 8}},
                (expected_box){DSV4_READ, narrow, {1, 2, 0, 4}});
    trace_deinit(&t);
}

/* ---- declared ------------------------------------------------------------------------------------------------------------ */

/* Untracked boxes don't count, though they overlap; nor does a declaration where bytes are shared. */
static void test_declared(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = {.n_tiles = 2,
                    .tiles = {{v.a, DSV4_WRITE | DSV4_UNTRACKED, {0, N, 0, N}, 0, 0}, {v.b, DSV4_WRITE, {0, 1, 0, N}, 1, 0}}};
    tiling gather = rows_of(v.a, DSV4_READ | DSV4_UNTRACKED, 0, N, 0), read = rows_of(v.b, DSV4_READ, 0, 1, 0);
    dsv4_stage writes = tiling_stage(v.g, "write", 2, &write), gathers = tiling_stage(v.g, "gather", 2, &gather),
               reads = tiling_stage(v.g, "read", 1, &read);
    dsv4_graph_after_block(v.g, gathers, 0, writes, 1);
    dsv4_graph_after_block(v.g, reads, 0, writes, 0);
    dsv4_graph_after(v.g, reads, gathers);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_no_boxes(edge_between(&t, 0, 1, 1, 0), TRACE_DECLARED);
    assert_edge(&t, edge_between(&t, 0, 0, 2, 0), TRACE_RAW, (expected_box){DSV4_WRITE, v.b, {0, 1, 0, N}},
                (expected_box){DSV4_READ, v.b, {0, 1, 0, N}});
    assert_no_boxes(edge_between(&t, 1, 0, -1, 0), TRACE_DECLARED); /* all of a stage before one block: through a join */
    assert_no_boxes(edge_between(&t, 1, 1, -1, 0), TRACE_DECLARED);
    assert_no_boxes(edge_between(&t, -1, 0, 2, 0), TRACE_DECLARED);
    trace_deinit(&t);
}

static void test_manual_region(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, N, 0), read = rows_of(v.a, DSV4_READ, 0, N, 0);
    dsv4_stage before = tiling_stage(v.g, "before", 1, &write);
    dsv4_graph_manual_begin(v.g);
    dsv4_stage inside = tiling_stage(v.g, "inside", 1, &read);
    dsv4_graph_after(v.g, inside, before);
    dsv4_graph_manual_end(v.g);
    tiling_stage(v.g, "behind", 1, &read);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, 2);
    assert_no_boxes(edge_between(&t, 0, 0, 1, 0), TRACE_DECLARED);
    assert_int_equal(edge_between(&t, 0, 0, 2, 0)->source, TRACE_RAW);
    trace_deinit(&t);
}

static void test_declared_join(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, 1, 1), read = rows_of(v.b, DSV4_READ, 0, 1, 1);
    dsv4_stage writes = tiling_stage(v.g, "write", 3, &write), join = dsv4_graph_join(v.g, "join"),
               reads = tiling_stage(v.g, "read", 2, &read);
    dsv4_graph_after(v.g, join, writes);
    dsv4_graph_after(v.g, reads, join);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, 3 + 1 + 2); /* a join of the three writers leads to the declared one */
    for (int64_t e = 0; e < t.graph.n_edges; e++) {
        assert_no_boxes(&t.graph.edges[e], TRACE_DECLARED);
    }
    assert_true(t.graph.tasks[find_task(&t, 1, 0)].is_join);
    trace_deinit(&t);
}

/* ---- joins made by sealing ----------------------------------------------------------------------------------------------- */

/* Writers of rows, readers of everything: the first reader keeps its own edges, the others share a join. */
static void test_join_of_writers(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, 1, 1), read = rows_of(v.a, DSV4_READ, 0, N, 0);
    tiling_stage(v.g, "write", N, &write);
    tiling_stage(v.g, "read", 3, &read);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, N + N + 2);
    expected_box all = {DSV4_READ, v.a, {0, N, 0, N}};
    for (int64_t row = 0; row < N; row++) {
        expected_box written = {DSV4_WRITE, v.a, {row, row + 1, 0, N}};
        assert_edge(&t, edge_between(&t, 0, row, 1, 0), TRACE_RAW, written, all);
        const trace_edge *to_join = edge_between(&t, 0, row, -1, 0);
        assert_edge(&t, to_join, TRACE_RAW, written, all);
        assert_true(to_join->to_touch != t.graph.tasks[find_task(&t, 1, 0)].touch); /* of a reader that the join releases */
    }
    for (int64_t r = 1; r < 3; r++) {
        const trace_edge *from_join = edge_between(&t, -1, 0, 1, r);
        assert_int_equal(from_join->source, TRACE_RAW);
        assert_int_equal(from_join->to_touch, t.graph.tasks[find_task(&t, 1, r)].touch);
        int64_t row = t.graph.touches[from_join->from_touch].box.row0;
        assert_touch(&t, from_join->from_touch, (expected_box){DSV4_WRITE, v.a, {row, row + 1, 0, N}});
    }
    trace_deinit(&t);
}

/* Readers of everything, then writers of rows: through a join as well. */
static void test_join_of_readers(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling read = rows_of(v.a, DSV4_READ, 0, N, 0), write = rows_of(v.a, DSV4_WRITE, 0, 1, 1);
    tiling_stage(v.g, "read", 5, &read);
    tiling_stage(v.g, "write", N, &write);
    trace t = end(v, DSV4_DEPS_BLOCK);
    assert_int_equal(t.graph.n_edges, 5 + N);
    for (int64_t e = 0; e < t.graph.n_edges; e++) {
        const trace_edge *edge = &t.graph.edges[e];
        assert_int_equal(edge->source, TRACE_WAR);
        assert_touch(&t, edge->from_touch, (expected_box){DSV4_READ, v.a, {0, N, 0, N}});
        assert_int_equal(t.graph.touches[edge->to_touch].mode, DSV4_WRITE);
        const trace_task *from = &t.graph.tasks[edge->from], *to = &t.graph.tasks[edge->to];
        assert_true(from->stage == TRACE_NONE ? edge->to_touch == to->touch : edge->from_touch == from->touch);
    }
    trace_deinit(&t);
}

/* ---- coarser tracking ---------------------------------------------------------------------------------------------------- */

/* Row by row: with whole stages a reader waits for all writers, and only its own shares bytes with it. */
static void test_stage_deps(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, 1, 1), read = rows_of(v.a, DSV4_READ, 1, 2, 1);
    tiling_stage(v.g, "write", 4, &write);
    tiling_stage(v.g, "read", 3, &read);
    trace t = end(v, DSV4_DEPS_STAGE);
    assert_int_equal(t.graph.n_edges, 4 + 3);
    assert_no_boxes(edge_between(&t, 0, 0, -1, 0), TRACE_COARSE); /* nobody reads row 0 */
    for (int64_t row = 1; row < 4; row++) {
        expected_box written = {DSV4_WRITE, v.a, {row, row + 1, 0, N}}, was_read = {DSV4_READ, v.a, {row, row + 1, 0, N}};
        assert_edge(&t, edge_between(&t, 0, row, -1, 0), TRACE_RAW, written, was_read);
        assert_edge(&t, edge_between(&t, -1, 0, 1, row - 1), TRACE_RAW, written, was_read);
    }
    trace_deinit(&t);
}

/* Blocks that work on their own rows follow each other where tensors are the unit. */
static void test_tensor_deps(void **state)
{
    (void)state;
    graph_views v = begin();
    tiling write = rows_of(v.a, DSV4_WRITE, 0, 1, 1), read = rows_of(v.a, DSV4_READ, 1, 2, 0);
    tiling_stage(v.g, "write", 2, &write);
    tiling_stage(v.g, "read", 1, &read);
    trace t = end(v, DSV4_DEPS_TENSOR);
    assert_int_equal(t.graph.n_edges, 2);
    assert_no_boxes(edge_between(&t, 0, 0, 0, 1), TRACE_COARSE);
    assert_edge(&t, edge_between(&t, 0, 1, 1, 0), TRACE_RAW, (expected_box){DSV4_WRITE, v.a, {1, 2, 0, N}},
                (expected_box){DSV4_READ, v.a, {1, 2, 0, N}});
    trace_deinit(&t);
}

/* ---- random graphs ------------------------------------------------------------------------------------------------------- */

static bool boxes_meet(const dsv4_box *x, const dsv4_box *y)
{
    return x->row0 < y->row1 && y->row0 < x->row1 && x->col0 < y->col1 && y->col0 < x->col1;
}

/* What blocks x and y have in common, by comparing all their boxes of the same view. */
static trace_source source_by_boxes(const trace_graph *g, const trace_task *x, const trace_task *y)
{
    trace_source best = TRACE_COARSE;
    for (int64_t i = x->touch; i < x->touch_end; i++) {
        for (int64_t k = y->touch; k < y->touch_end; k++) {
            int from = g->touches[i].mode, to = g->touches[k].mode;
            if (g->touches[i].view != g->touches[k].view || !boxes_meet(&g->touches[i].box, &g->touches[k].box)) {
                continue;
            }
            trace_source s = (from & DSV4_WRITE) && (to & DSV4_READ)    ? TRACE_RAW
                             : (from & DSV4_WRITE) && (to & DSV4_WRITE) ? TRACE_WAW
                             : (to & DSV4_WRITE)                        ? TRACE_WAR
                                                                        : TRACE_COARSE;
            best = s < best ? s : best;
        }
    }
    return best;
}

static void check_pair(const trace_graph *g, const trace_edge *e)
{
    static const int from_mode[] = {DSV4_WRITE, DSV4_WRITE, DSV4_READ}, to_mode[] = {DSV4_READ, DSV4_WRITE, DSV4_WRITE};
    assert_true(e->source <= TRACE_WAR);
    const trace_touch *from = &g->touches[e->from_touch], *to = &g->touches[e->to_touch];
    assert_true((from->mode & from_mode[e->source]) != 0 && (to->mode & to_mode[e->source]) != 0);
    assert_true(from->view == to->view && boxes_meet(&from->box, &to->box));
}

/* Blocks at one end of an edge: the task, or where it is a join made by sealing, all behind or before it. */
static int blocks_at(const trace_graph *g, int32_t task, bool is_behind, int32_t *blocks, int n)
{
    if (g->tasks[task].stage != TRACE_NONE) {
        blocks[n++] = task;
        return n;
    }
    for (int64_t e = 0; e < g->n_edges; e++) {
        if ((is_behind ? g->edges[e].from : g->edges[e].to) == task) {
            n = blocks_at(g, is_behind ? g->edges[e].to : g->edges[e].from, is_behind, blocks, n);
            assert_true(n < MAX_AT_JOIN - MAX_BLOCKS);
        }
    }
    return n;
}

/* The strongest of all pairs that the edge orders. */
static trace_source source_by_pairs(const trace_graph *g, const trace_edge *e)
{
    static int32_t from[MAX_AT_JOIN], to[MAX_AT_JOIN];
    int n_from = blocks_at(g, e->from, false, from, 0), n_to = blocks_at(g, e->to, true, to, 0);
    trace_source best = TRACE_COARSE;
    for (int i = 0; i < n_from; i++) {
        for (int k = 0; k < n_to; k++) {
            trace_source s = source_by_boxes(g, &g->tasks[from[i]], &g->tasks[to[k]]);
            best = s < best ? s : best;
        }
    }
    return best;
}

/* Every edge has its strongest source and a pair of boxes that meet. */
static void check_random(uint64_t seed, dsv4_deps deps, int64_t *n_joined)
{
    dice d = dice_make(seed);
    graph_views v = begin();
    tiling stages[N_STAGES];
    for (int i = 0; i < N_STAGES; i++) {
        int64_t height = dice_between(&d, 1, 2), width = dice_between(&d, 1, N), col = dice_between(&d, 0, N - width);
        bool whole = dice_between(&d, 0, 1) == 0;
        int64_t n_blocks = dice_between(&d, 1, N / 2);
        dsv4_view view = dice_between(&d, 0, 1) == 0 ? v.a : v.b;
        dsv4_box box = {0, whole ? N : height, col, col + width};
        stages[i] = (tiling){.n_tiles = 2,
                             .tiles = {{view, (int)dice_between(&d, 1, 3), box, whole ? 0 : height, 0},
                                       {view == v.a ? v.b : v.a, DSV4_READ, {0, 2, 0, width}, 1, 0}}};
        tiling_stage(v.g, "s", n_blocks, &stages[i]);
    }
    trace t = end(v, deps);
    for (int64_t i = 0; i < t.graph.n_edges; i++) {
        const trace_edge *e = &t.graph.edges[i];
        assert_int_equal(e->source, source_by_pairs(&t.graph, e));
        *n_joined += t.graph.tasks[e->from].is_join && t.graph.tasks[e->to].is_join;
        if (e->source == TRACE_COARSE) {
            assert_int_not_equal(deps, DSV4_DEPS_BLOCK);
        } else {
            check_pair(&t.graph, e);
        }
    }
    trace_deinit(&t);
}

static void test_random_graphs(void **state)
{
    (void)state;
    int64_t n_joined = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        check_random(seed, (dsv4_deps)(seed % 3), &n_joined);
    }
    assert_true(n_joined > 0); /* from join to join */
}

static void test_unsealed(void **state)
{
    (void)state;
    graph_views v = begin();
    trace t = {0};
    dsv4_error err = {0};
    assert_int_equal(trace_capture_graph(v.g, &t, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "before it was sealed");
    trace_deinit(&t);
    dsv4_graph_destroy(v.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_raw_waw_war),
                                       cmocka_unit_test(test_strongest),
                                       cmocka_unit_test(test_views_of_the_same_bytes),
                                       cmocka_unit_test(test_declared),
                                       cmocka_unit_test(test_manual_region),
                                       cmocka_unit_test(test_declared_join),
                                       cmocka_unit_test(test_join_of_writers),
                                       cmocka_unit_test(test_join_of_readers),
                                       cmocka_unit_test(test_stage_deps),
                                       cmocka_unit_test(test_tensor_deps),
                                       cmocka_unit_test(test_random_graphs),
                                       cmocka_unit_test(test_unsealed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
