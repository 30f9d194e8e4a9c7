/* Graphs and devices made by hand, of round numbers. */
#ifndef TESTS_SIM_MADE_H
#define TESTS_SIM_MADE_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

enum { MADE_MAX = 64 };

/* Views, stages, blocks and edges in the order of the calls; made_trace turns them into a trace. */
typedef struct made {
    trace_view views[MADE_MAX];
    trace_stage stages[MADE_MAX];
    trace_task tasks[MADE_MAX];
    trace_touch touches[MADE_MAX];
    int edges[MADE_MAX][2];
    int n_views, n_stages, n_tasks, n_blocks, n_touches, n_edges;
} made;

static inline int made_view(made *m, int64_t address, int64_t rows, int64_t cols, int64_t row_bytes)
{
    m->views[m->n_views] = (trace_view){"view", address, rows, cols, 1, row_bytes};
    return m->n_views++;
}

static inline int made_stage(made *m, int64_t n_blocks, dsv4_core_kind kind)
{
    m->stages[m->n_stages] = (trace_stage){"stage", n_blocks, 0, kind};
    return m->n_stages++;
}

/* The next block of a stage; its boxes follow by made_touch. */
static inline int made_block(made *m, int stage, int64_t block, dsv4_work work)
{
    assert(m->n_tasks == m->n_blocks);
    m->tasks[m->n_tasks] =
        (trace_task){.stage = stage, .block = block, .work = work, .touch = m->n_touches, .touch_end = m->n_touches};
    m->n_blocks++;
    return m->n_tasks++;
}

static inline int made_join(made *m)
{
    m->tasks[m->n_tasks] = (trace_task){.stage = TRACE_NONE, .is_join = true, .touch = m->n_touches, .touch_end = m->n_touches};
    return m->n_tasks++;
}

/* A box of the block made last. */
static inline void made_touch(made *m, int view, int mode, dsv4_box box)
{
    m->touches[m->n_touches++] = (trace_touch){view, mode, box};
    m->tasks[m->n_tasks - 1].touch_end = m->n_touches;
}

/* Reads bytes [begin, end) of a view of one row. */
static inline void made_reads(made *m, int view, int64_t begin, int64_t end)
{
    made_touch(m, view, DSV4_READ, (dsv4_box){0, 1, begin, end});
}

static inline void made_edge(made *m, int from, int to)
{
    m->edges[m->n_edges][0] = from;
    m->edges[m->n_edges++][1] = to;
    m->tasks[to].n_before++;
}

static inline void *made_copy(const void *from, size_t n, size_t item_bytes)
{
    void *to = calloc(n + 1, item_bytes);
    assert(to != NULL);
    memcpy(to, from, n * item_bytes);
    return to;
}

static inline trace made_trace(const made *m)
{
    trace t = {0};
    trace_graph *g = &t.graph;
    *g = (trace_graph){.name = "made",
                       .views = made_copy(m->views, (size_t)m->n_views, sizeof *m->views),
                       .stages = made_copy(m->stages, (size_t)m->n_stages, sizeof *m->stages),
                       .tasks = made_copy(m->tasks, (size_t)m->n_tasks, sizeof *m->tasks),
                       .touches = made_copy(m->touches, (size_t)m->n_touches, sizeof *m->touches),
                       .edges = calloc((size_t)m->n_edges + 1, sizeof *g->edges),
                       .n_views = m->n_views,
                       .n_stages = m->n_stages,
                       .n_tasks = m->n_tasks,
                       .n_blocks = m->n_blocks,
                       .n_touches = m->n_touches,
                       .n_edges = m->n_edges};
    assert(g->edges != NULL);
    for (int from = 0, n = 0; from < m->n_tasks; from++) {
        g->tasks[from].edge = n;
        for (int i = 0; i < m->n_edges; i++) {
            if (m->edges[i][0] == from) {
                g->edges[n++] = (trace_edge){from, m->edges[i][1], TRACE_DECLARED, TRACE_NONE, TRACE_NONE};
            }
        }
        g->tasks[from].edge_end = n;
    }
    return t;
}

/* So many cores of 1e9 operations a second; memory of 1e9 bytes a second for all and for one; an own cache of 64 KB that costs
 * nothing. No overheads; arithmetic and transfers overlap wholly. */
static inline sim_device made_device(int n_cores)
{
    return (sim_device){
        .name = "made",
        .cores = {{.name = "core",
                   .count = n_cores,
                   .runs_cube = true,
                   .runs_vector = true,
                   .bf16 = {.ops_s = 1e9, .step_m = 1, .step_n = 1, .step_k = 1},
                   .i8 = {.ops_s = 2e9, .step_m = 1, .step_n = 1, .step_k = 1},
                   .vector = {.ops_s = 1e9, .step_m = 1, .step_n = 1, .step_k = 1}}},
        .n_core_kinds = 1,
        .levels = {{.name = "memory", .is_shared = true, .read_bytes_s = 1e9, .write_bytes_s = 5e8, .line_bytes = 64},
                   {.name = "cache", .bytes = 65536, .line_bytes = 64}},
        .n_levels = 2,
        .overlap = 1};
}

#endif
