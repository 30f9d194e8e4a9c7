/* Random graphs against brute force: the results of every replay, and the order that sealing finds.
 *
 * A graph_case is drawn whole before any graph is built: views that cut three small areas of memory in different shapes, stages
 * whose blocks touch random boxes of them, joins and declared edges. A block hashes all bytes that it reads and writes bytes drawn
 * from the hash, so any two conflicting blocks in the wrong order, or at the same time, change the outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "rt/graph.h"
#include "rt_helpers.h"

enum {
    N_GRAPHS = SANITIZED ? 400 : 10000,
    N_POOLS = 3, /* of 1, 2 and 3 threads */
    N_AREAS = 3,
    AREA_BYTES = 192,
    MEMORY_BYTES = N_AREAS * AREA_BYTES,
    MAX_VIEWS = 9,
    MAX_STAGES = 9,
    MAX_BLOCKS = 6,
    MAX_TOUCHES = 4,
    MAX_EDGES = 6,
    MAX_ALL = MAX_STAGES * MAX_BLOCKS
};

_Static_assert(MAX_ALL <= 64, "a set of blocks is one 64-bit word");

/* ---- a case ------------------------------------------------------------------------------------------------------------------ */

typedef struct view_case {
    int64_t offset, rows, cols, elem_bytes, row_bytes;
} view_case;

typedef struct touch_case {
    int view, mode;
    dsv4_box box;
} touch_case;

typedef struct block_case {
    int n_touches;
    touch_case touches[MAX_TOUCHES];
} block_case;

typedef struct graph_case graph_case;

typedef struct stage_case {
    const graph_case *owner;
    bool is_join;
    int first_block, n_blocks;
    size_t scratch_bytes;
} stage_case;

/* block < 0: both whole stages. */
typedef struct edge_case {
    int stage, before;
    int64_t block, before_block;
} edge_case;

struct graph_case {
    int n_views, n_stages, n_blocks, n_edges;
    view_case views[MAX_VIEWS];
    stage_case stages[MAX_STAGES];
    block_case blocks[MAX_ALL];
    edge_case edges[MAX_EDGES];
};

static uint8_t memory[MEMORY_BYTES], initial[MEMORY_BYTES], expected[MEMORY_BYTES];
static dsv4_pool *pools[N_POOLS];
static _Atomic bool scratch_was_shared;

/* ---- drawing ------------------------------------------------------------------------------------------------------------ */

/* Views of one area: its rows, its rows cut into heads, a window with the same row stride, or some other stride. */
static void draw_views(dice *d, graph_case *c, int64_t area)
{
    int64_t elem = INT64_C(1) << dice_between(d, 0, 2), heads = dice_between(d, 1, 4), width = dice_between(d, 1, 3);
    int64_t row_bytes = heads * width * elem, rows = dice_between(d, 1, AREA_BYTES / row_bytes < 8 ? AREA_BYTES / row_bytes : 8);
    for (int i = (int)dice_between(d, 1, 3); i > 0; i--) {
        view_case v = {0, rows, heads * width, elem, row_bytes};
        switch (dice_between(d, 0, 3)) {
        case 0:
            v = (view_case){0, rows * heads, width, elem, width * elem};
            break;
        case 1:
            v.offset = dice_between(d, 0, v.cols - 1) * elem;
            v.cols -= v.offset / elem;
            break;
        case 2:
            v = (view_case){dice_between(d, 0, 20), dice_between(d, 1, 6), dice_between(d, 1, 10), 1, dice_between(d, 10, 25)};
            break;
        default:
            break;
        }
        v.offset += area * AREA_BYTES;
        c->views[c->n_views++] = v;
    }
}

static touch_case draw_touch(dice *d, const graph_case *c)
{
    static const int modes[] = {DSV4_READ, DSV4_READ, DSV4_WRITE, DSV4_UPDATE};
    touch_case t = {(int)dice_between(d, 0, c->n_views - 1), modes[dice_between(d, 0, 3)], {0, 0, 0, 0}};
    const view_case *v = &c->views[t.view];
    t.box = (dsv4_box){0, v->rows, 0, v->cols};
    if (dice_between(d, 0, 3) > 0) {
        t.box.row0 = dice_between(d, 0, v->rows - 1);
        t.box.row1 = dice_between(d, t.box.row0, v->rows); /* sometimes empty */
    }
    if (dice_between(d, 0, 2) == 0) {
        t.box.col0 = dice_between(d, 0, v->cols - 1);
        t.box.col1 = dice_between(d, t.box.col0 + 1, v->cols);
    }
    return t;
}

static void draw_stage(dice *d, graph_case *c)
{
    stage_case *s = &c->stages[c->n_stages++];
    bool join = dice_between(d, 0, 5) == 0;
    *s = (stage_case){c, join, c->n_blocks, join ? 1 : (int)dice_between(d, 0, MAX_BLOCKS), (size_t)dice_between(d, 0, 100)};
    c->n_blocks += s->n_blocks;
    int shared = (int)dice_between(d, 0, 1); /* all blocks of the stage make their first touch the same */
    for (int b = 0; b < s->n_blocks && !join; b++) {
        block_case *block = &c->blocks[s->first_block + b];
        block->n_touches = (int)dice_between(d, shared, MAX_TOUCHES);
        for (int i = 0; i < block->n_touches; i++) {
            block->touches[i] = i == 0 && b > 0 && shared ? c->blocks[s->first_block].touches[0] : draw_touch(d, c);
        }
    }
}

/* Edges run forward in program order. */
static void draw_edge(dice *d, graph_case *c)
{
    int before = (int)dice_between(d, 0, c->n_stages - 1), stage = (int)dice_between(d, before, c->n_stages - 1);
    const stage_case *s = &c->stages[stage], *b = &c->stages[before];
    edge_case e = {stage, before, -1, -1};
    if (s->n_blocks > 0 && b->n_blocks > 0 && (stage == before || dice_between(d, 0, 1))) {
        e.block = dice_between(d, 0, s->n_blocks - 1);
        e.before_block = dice_between(d, 0, b->n_blocks - 1);
    }
    if (stage > before || e.before_block < e.block) {
        c->edges[c->n_edges++] = e;
    }
}

static void draw_case(dice *d, graph_case *c)
{
    memset(c, 0, sizeof *c);
    for (int area = 0; area < N_AREAS; area++) {
        draw_views(d, c, area);
    }
    for (int i = (int)dice_between(d, 1, MAX_STAGES); i > 0; i--) {
        draw_stage(d, c);
    }
    for (int i = (int)dice_between(d, 0, MAX_EDGES); i > 0; i--) {
        draw_edge(d, c);
    }
    for (int i = 0; i < MEMORY_BYTES; i++) {
        initial[i] = (uint8_t)dice_u64(d);
    }
}

/* ---- running a block ---------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

typedef struct byte_range {
    int64_t first, n;
} byte_range;

static byte_range row_range(const graph_case *c, const touch_case *t, int64_t row)
{
    const view_case *v = &c->views[t->view];
    return (byte_range){v->offset + row * v->row_bytes + t->box.col0 * v->elem_bytes, (t->box.col1 - t->box.col0) * v->elem_bytes};
}

static uint64_t hash_box(const graph_case *c, const touch_case *t, uint64_t hash)
{
    for (int64_t row = t->box.row0; row < t->box.row1; row++) {
        byte_range r = row_range(c, t, row);
        for (int64_t i = 0; i < r.n; i++) {
            hash = mix(hash + memory[r.first + i]);
        }
    }
    return hash;
}

static void write_box(const graph_case *c, const touch_case *t, uint64_t hash)
{
    for (int64_t row = t->box.row0; row < t->box.row1; row++) {
        byte_range r = row_range(c, t, row);
        for (int64_t i = 0; i < r.n; i++) {
            memory[r.first + i] = (uint8_t)mix(hash + (uint64_t)(row * AREA_BYTES + i));
        }
    }
}

static void run_block(const graph_case *c, int id)
{
    const block_case *b = &c->blocks[id];
    uint64_t hash = mix((uint64_t)id + 1);
    for (int i = 0; i < b->n_touches; i++) {
        if ((b->touches[i].mode & DSV4_READ) != 0) {
            hash = hash_box(c, &b->touches[i], hash);
        }
    }
    for (int i = 0; i < b->n_touches; i++) {
        if ((b->touches[i].mode & DSV4_WRITE) != 0) {
            write_box(c, &b->touches[i], hash + (uint64_t)i);
        }
    }
}

/* Also fills its scratch and looks whether anyone else wrote there. */
static void run(const void *arg, int64_t block, void *scratch)
{
    const stage_case *s = arg;
    uint8_t *bytes = scratch, mark = (uint8_t)(s->first_block + block);
    memset(bytes, mark, s->scratch_bytes);
    run_block(s->owner, s->first_block + (int)block);
    for (size_t i = 0; i < s->scratch_bytes; i++) {
        if (bytes[i] != mark) {
            atomic_store(&scratch_was_shared, true);
        }
    }
}

static void describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const stage_case *s = arg;
    const block_case *b = &s->owner->blocks[s->first_block + block];
    for (int i = 0; i < b->n_touches; i++) {
        dsv4_touch(d, b->touches[i].mode, b->touches[i].view, b->touches[i].box);
    }
}

/* ---- brute force -------------------------------------------------------------------------------------------------------- */

static void run_in_program_order(const graph_case *c)
{
    memcpy(memory, initial, sizeof memory);
    for (int id = 0; id < c->n_blocks; id++) {
        run_block(c, id);
    }
    memcpy(expected, memory, sizeof expected);
}

typedef struct byte_sets {
    bool reads[MEMORY_BYTES], writes[MEMORY_BYTES];
} byte_sets;

static void collect_bytes(const graph_case *c, int id, byte_sets *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < c->blocks[id].n_touches; i++) {
        const touch_case *t = &c->blocks[id].touches[i];
        for (int64_t row = t->box.row0; row < t->box.row1; row++) {
            byte_range r = row_range(c, t, row);
            for (int64_t k = r.first; k < r.first + r.n; k++) {
                out->reads[k] |= (t->mode & DSV4_READ) != 0;
                out->writes[k] |= (t->mode & DSV4_WRITE) != 0;
            }
        }
    }
}

static bool conflict(const byte_sets *a, const byte_sets *b)
{
    for (int i = 0; i < MEMORY_BYTES; i++) {
        if ((a->writes[i] && (b->reads[i] || b->writes[i])) || (a->reads[i] && b->writes[i])) {
            return true;
        }
    }
    return false;
}

/* behind[i]: the blocks that wait for block i, directly or not, as a set. */
static void find_expected_order(const graph_case *c, uint64_t behind[MAX_ALL])
{
    static byte_sets bytes[MAX_ALL];
    for (int i = c->n_blocks - 1; i >= 0; i--) {
        collect_bytes(c, i, &bytes[i]);
        behind[i] = 0;
        for (int j = i + 1; j < c->n_blocks; j++) {
            behind[i] |= conflict(&bytes[i], &bytes[j]) ? UINT64_C(1) << j : 0;
        }
        for (int e = 0; e < c->n_edges; e++) {
            const edge_case *edge = &c->edges[e];
            const stage_case *from = &c->stages[edge->before], *to = &c->stages[edge->stage];
            bool leaves = edge->block < 0 ? i >= from->first_block && i < from->first_block + from->n_blocks
                                          : i == from->first_block + edge->before_block;
            for (int b = 0; leaves && b < to->n_blocks; b++) {
                behind[i] |= edge->block < 0 || edge->block == b ? UINT64_C(1) << (to->first_block + b) : 0;
            }
        }
        for (int j = i + 1; j < c->n_blocks; j++) {
            behind[i] |= behind[i] >> j & 1 ? behind[j] : 0;
        }
    }
}

/* ---- the sealed graph --------------------------------------------------------------------------------------------------- */

static dsv4_graph *build(const graph_case *c, dsv4_deps deps)
{
    dsv4_graph *g = dsv4_graph_create("random");
    dsv4_error err = {0};
    for (int i = 0; i < c->n_views; i++) {
        const view_case *v = &c->views[i];
        assert_int_equal(dsv4_graph_view(g, "v", memory + v->offset, v->rows, v->cols, (size_t)v->elem_bytes, (size_t)v->row_bytes),
                         i);
    }
    for (int i = 0; i < c->n_stages; i++) {
        const stage_case *s = &c->stages[i];
        dsv4_stage_desc desc = {"s", s->n_blocks, run, describe, s, s->scratch_bytes, DSV4_VECTOR};
        assert_int_equal(s->is_join ? dsv4_graph_join(g, "join") : dsv4_graph_stage(g, &desc), i);
    }
    for (int i = 0; i < c->n_edges; i++) {
        const edge_case *e = &c->edges[i];
        if (e->block < 0) {
            dsv4_graph_after(g, e->stage, e->before);
        } else {
            dsv4_graph_after_block(g, e->stage, e->block, e->before, e->before_block);
        }
    }
    if (dsv4_graph_seal(g, deps, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return g;
}

static int id_of(const graph_case *c, const rt_task *t)
{
    return c->stages[t->stage].first_block + (int)t->block;
}

/* The blocks behind `task`: of its successors and behind them. behind and known are zeroed, an item a task. */
static uint64_t walk(const dsv4_graph *g, const graph_case *c, int32_t task, uint64_t *behind, bool *known)
{
    if (!known[task]) {
        known[task] = true; /* sealed graphs have no cycles */
        for (int64_t i = g->tasks[task].after; i < g->tasks[task].after_end; i++) {
            const rt_task *next = &g->tasks[g->after[i]];
            behind[task] |= walk(g, c, g->after[i], behind, known);
            behind[task] |= next->stage == RT_NONE ? 0 : UINT64_C(1) << id_of(c, next);
        }
    }
    return behind[task];
}

static void find_sealed_order(const dsv4_graph *g, const graph_case *c, uint64_t behind[MAX_ALL])
{
    uint64_t *by_task = calloc((size_t)g->n_tasks + 1, sizeof *by_task);
    bool *known = calloc((size_t)g->n_tasks + 1, sizeof *known);
    for (int32_t t = 0; t < g->n_tasks; t++) {
        uint64_t here = walk(g, c, t, by_task, known);
        if (g->tasks[t].stage != RT_NONE) {
            behind[id_of(c, &g->tasks[t])] = here;
        }
    }
    free(by_task);
    free(known);
}

/* In block mode the order is the expected one, no more and no less; the coarser modes only add. Joins that wait for nothing are not
 * there once sealed, so blocks that run are compared. */
static void check_order(const dsv4_graph *g, const graph_case *c, dsv4_deps deps)
{
    uint64_t wanted[MAX_ALL], got[MAX_ALL] = {0}, runs = 0;
    find_expected_order(c, wanted);
    find_sealed_order(g, c, got);
    for (int s = 0; s < c->n_stages; s++) {
        for (int b = 0; b < c->stages[s].n_blocks && !c->stages[s].is_join; b++) {
            runs |= UINT64_C(1) << (c->stages[s].first_block + b);
        }
    }
    for (int i = 0; i < c->n_blocks; i++) {
        if ((runs >> i & 1) != 0) {
            assert_int_equal(wanted[i] & runs & ~got[i], 0);
            assert_true(deps != DSV4_DEPS_BLOCK || (got[i] & runs & ~wanted[i]) == 0);
        }
    }
}

/* Mostly without counters, which the system opens slowly. */
static int draw_level(dice *d)
{
    return dice_between(d, 0, 31) == 0 ? (int)dice_between(d, 2, 3) : (int)dice_between(d, 0, 1);
}

static void check_replays(dice *d, const dsv4_graph *g)
{
    for (int p = 0; p < N_POOLS; p++) {
        dsv4_exec *x;
        dsv4_error err = {0};
        assert_int_equal(dsv4_exec_create(g, pools[p], draw_level(d), &x, &err), DSV4_OK);
        memcpy(memory, initial, sizeof memory);
        assert_int_equal(dsv4_exec_run(x, dice_between(d, 0, 3) == 0 ? 0 : dice_u64(d), NULL), DSV4_OK);
        assert_memory_equal(memory, expected, sizeof memory);
        assert_false(atomic_load(&scratch_was_shared));
        dsv4_exec_destroy(x);
    }
}

static void check_verify(dice *d, dsv4_graph *g)
{
    int64_t n_findings = -1;
    dsv4_error err = {0};
    memcpy(memory, initial, sizeof memory);
    if (dsv4_graph_verify(g, dice_u64(d), &n_findings, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(n_findings, 0);
    assert_memory_equal(memory, expected, sizeof memory);
}

static void test_random_graphs(void **state)
{
    (void)state;
    static graph_case c;
    int64_t n_joins = 0;
    for (uint64_t i = 0; i < N_GRAPHS; i++) {
        dice d = dice_make(i);
        draw_case(&d, &c);
        run_in_program_order(&c);
        for (dsv4_deps deps = DSV4_DEPS_BLOCK; deps <= DSV4_DEPS_TENSOR; deps++) {
            dsv4_graph *g = build(&c, deps);
            n_joins += deps == DSV4_DEPS_BLOCK ? dsv4_graph_get_info(g).n_joins : 0;
            check_order(g, &c, deps);
            check_replays(&d, g);
            if (i % 20 == 0) {
                check_verify(&d, g);
            }
            dsv4_graph_destroy(g);
        }
    }
    assert_in_range(n_joins, N_GRAPHS / 4, 100 * N_GRAPHS); /* the cases are dense enough for joins to be made */
}

static int create_pools(void **state)
{
    (void)state;
    for (int p = 0; p < N_POOLS; p++) {
        if (dsv4_pool_create(p + 1, &pools[p], NULL) != DSV4_OK) {
            return -1;
        }
    }
    return 0;
}

static int destroy_pools(void **state)
{
    (void)state;
    for (int p = N_POOLS - 1; p >= 0; p--) {
        dsv4_pool_destroy(pools[p]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs)};
    return cmocka_run_group_tests(tests, create_pools, destroy_pools);
}
