/* trace/read_graph.c - the section "graph" of a trace file; data.c lists its tables. */
#include <stdlib.h>

#include "base/memory.h"
#include "trace/out.h"
#include "trace/reading.h"

enum { MAX_ROWS = 1 << 30, MAX_ELEM_BYTES = 64 };

static const double max_number = 1e300;

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

static void read_views(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    const json_t *rows = reading_table(r, root, "views", MAX_ROWS, &g->n_views);
    g->views = reading_array(r, g->n_views, sizeof *g->views);
    for (int64_t i = 0; rows != NULL && i < g->n_views && reading_row(r, rows, i, 6); i++) {
        trace_view *v = &g->views[i];
        v->name = reading_text(r, 0, "name");
        v->address = reading_integer(r, 1, "address", 0, INT64_MAX / 2);
        v->rows = reading_integer(r, 2, "rows", 0, READING_MAX);
        v->cols = reading_integer(r, 3, "cols", 0, READING_MAX);
        v->elem_bytes = reading_integer(r, 4, "elem_bytes", 1, MAX_ELEM_BYTES);
        v->row_bytes = reading_integer(r, 5, "row_bytes", 0, READING_MAX);
        if ((double)v->rows * (double)v->row_bytes + (double)v->cols * (double)v->elem_bytes > (double)INT64_MAX / 4) {
            reading_fail(r, "got %lld rows of %lld bytes, expected a view within the address space", (long long)v->rows,
                         (long long)v->row_bytes);
        } else if (v->rows > 1 && v->row_bytes < v->cols * v->elem_bytes) {
            reading_fail(r, "got rows %lld bytes apart, expected at least the %lld of a row", (long long)v->row_bytes,
                         (long long)(v->cols * v->elem_bytes));
        }
    }
}

static void read_stages(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    const json_t *rows = reading_table(r, root, "stages", MAX_ROWS, &g->n_stages);
    g->stages = reading_array(r, g->n_stages, sizeof *g->stages);
    for (int64_t i = 0; rows != NULL && i < g->n_stages && reading_row(r, rows, i, 4); i++) {
        trace_stage *s = &g->stages[i];
        s->name = reading_text(r, 0, "name");
        s->n_blocks = reading_integer(r, 1, "n_blocks", 0, MAX_ROWS);
        s->scratch_bytes = reading_integer(r, 2, "scratch_bytes", 0, READING_MAX);
        s->kind = (dsv4_core_kind)reading_word(r, 3, "kind", trace_kind_names, 2);
    }
}

static dsv4_work read_work(reading *r, int i)
{
    dsv4_work w;
    w.flops_bf16 = reading_number(r, i, "flops_bf16", 0, max_number);
    w.ops_i8 = reading_number(r, i + 1, "ops_i8", 0, max_number);
    w.vector_ops = reading_number(r, i + 2, "vector_ops", 0, max_number);
    w.gathered_bytes = reading_number(r, i + 3, "gathered_bytes", 0, max_number);
    w.product.m = reading_integer(r, i + 4, "m", 0, READING_MAX);
    w.product.n = reading_integer(r, i + 5, "n", 0, READING_MAX);
    w.product.k = reading_integer(r, i + 6, "k", 0, READING_MAX);
    w.product.k_tile = reading_integer(r, i + 7, "k_tile", 0, READING_MAX);
    w.product.ahead = reading_integer(r, i + 8, "ahead", 0, READING_MAX);
    return w;
}

/* Blocks first, then joins; a block has a stage that it is within. */
static void read_task(reading *r, trace_task *task)
{
    trace_graph *g = &r->t->graph;
    task->stage = (int32_t)reading_integer(r, 0, "stage", TRACE_NONE, g->n_stages - 1);
    int64_t n_blocks = r->status == DSV4_OK && task->stage != TRACE_NONE ? g->stages[task->stage].n_blocks : 1;
    task->block = reading_integer(r, 1, "block", 0, n_blocks - 1);
    task->is_join = reading_bool(r, 2, "is_join");
    task->spread = reading_bool(r, 3, "spread");
    task->edge_end = task->edge + reading_integer(r, 4, "n_edges", 0, MAX_ROWS);
    task->touch_end = task->touch + reading_integer(r, 5, "n_touches", 0, MAX_ROWS);
    task->work = read_work(r, 6);
    if (!task->is_join && task->stage == TRACE_NONE) {
        reading_fail(r, "got a block without a stage");
    } else if (!task->is_join && r->row > g->n_blocks) {
        reading_fail(r, "got a block behind a join, expected joins last");
    }
    g->n_blocks += !task->is_join;
}

static void read_tasks(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    int64_t edge = 0, touch = 0;
    const json_t *rows = reading_table(r, root, "tasks", MAX_ROWS, &g->n_tasks);
    g->tasks = reading_array(r, g->n_tasks, sizeof *g->tasks);
    for (int64_t i = 0; rows != NULL && i < g->n_tasks && reading_row(r, rows, i, 15); i++) {
        trace_task *task = &g->tasks[i];
        task->edge = edge;
        task->touch = touch;
        read_task(r, task);
        edge = task->edge_end;
        touch = task->touch_end;
    }
    g->n_edges = edge;
    g->n_touches = touch;
    r->row = -1;
}

static void read_touches(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    int64_t n = 0;
    const json_t *rows = reading_table(r, root, "touches", MAX_ROWS, &n);
    if (rows != NULL && n != g->n_touches) {
        reading_fail(r, "got %lld rows, expected the %lld that tasks have", (long long)n, (long long)g->n_touches);
    }
    g->touches = reading_array(r, n, sizeof *g->touches);
    for (int64_t i = 0; rows != NULL && i < n && reading_row(r, rows, i, 6); i++) {
        trace_touch *t = &g->touches[i];
        t->view = (dsv4_view)reading_integer(r, 0, "view", 0, g->n_views - 1);
        t->mode = (int)reading_integer(r, 1, "mode", 1, DSV4_UPDATE | DSV4_UNTRACKED);
        if (r->status == DSV4_OK && (t->mode & DSV4_UPDATE) == 0) {
            reading_fail(r, "got mode %d, expected read, write or update", t->mode);
        }
        int64_t n_rows = r->status == DSV4_OK ? g->views[t->view].rows : 0,
                n_cols = r->status == DSV4_OK ? g->views[t->view].cols : 0;
        t->box.row0 = reading_integer(r, 2, "row0", 0, n_rows - 1);
        t->box.row1 = reading_integer(r, 3, "row1", t->box.row0 + 1, n_rows);
        t->box.col0 = reading_integer(r, 4, "col0", 0, n_cols - 1);
        t->box.col1 = reading_integer(r, 5, "col1", t->box.col0 + 1, n_cols);
    }
}

/* ---- edges ----------------------------------------------------------------------------------------------------------------- */

/* One end of an edge: a box of the task; of any task where it is a join. */
static int64_t read_end(reading *r, int i, const char *name, const trace_task *task)
{
    const trace_graph *g = &r->t->graph;
    bool any = task->is_join;
    int64_t touch = reading_integer(r, i, name, TRACE_NONE, g->n_touches - 1);
    if (r->status == DSV4_OK && touch != TRACE_NONE && !any && (touch < task->touch || touch >= task->touch_end)) {
        reading_fail(r, "got %s %lld, expected one of the task's, from %lld to %lld", name, (long long)touch,
                     (long long)task->touch, (long long)task->touch_end - 1);
    }
    return touch;
}

static void read_edge(reading *r, int32_t from, int32_t after, trace_edge *e)
{
    const trace_graph *g = &r->t->graph;
    e->from = from;
    e->to = (int32_t)reading_integer(r, 0, "to", after + 1, g->n_tasks - 1);
    e->source = (trace_source)reading_integer(r, 1, "source", 0, TRACE_N_SOURCES - 1);
    e->from_touch = read_end(r, 2, "from_touch", &g->tasks[from]);
    if (r->status == DSV4_OK) {
        e->to_touch = read_end(r, 3, "to_touch", &g->tasks[e->to]);
    }
    bool has_boxes = e->from_touch != TRACE_NONE && e->to_touch != TRACE_NONE, has_one = has_boxes || e->from_touch != e->to_touch;
    if (e->to == from) {
        reading_fail(r, "got an edge from task %d to itself", from);
    } else if (e->source <= TRACE_WAR ? !has_boxes : has_one) {
        reading_fail(r, "got source %d with boxes %lld and %lld, expected two boxes for sources up to %d and none (-1) above",
                     (int)e->source, (long long)e->from_touch, (long long)e->to_touch, (int)TRACE_WAR);
    }
}

static void read_edges(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    int64_t n = 0;
    const json_t *rows = reading_table(r, root, "edges", MAX_ROWS, &n);
    if (rows != NULL && n != g->n_edges) {
        reading_fail(r, "got %lld rows, expected the %lld that tasks have", (long long)n, (long long)g->n_edges);
    }
    g->edges = reading_array(r, n, sizeof *g->edges);
    for (int64_t i = 0; rows != NULL && r->status == DSV4_OK && i < g->n_tasks; i++) {
        int32_t last = TRACE_NONE;
        for (int64_t e = g->tasks[i].edge; e < g->tasks[i].edge_end && reading_row(r, rows, e, 4); e++) {
            read_edge(r, (int32_t)i, last, &g->edges[e]);
            last = g->edges[e].to;
            g->tasks[last].n_before++;
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */

/* As many tasks as the stages have blocks. */
static void check_count(reading *r)
{
    const trace_graph *g = &r->t->graph;
    int64_t n_blocks = 0, n_tasks = 0;
    for (int64_t s = 0; r->status == DSV4_OK && s < g->n_stages; s++) {
        n_blocks += g->stages[s].n_blocks;
    }
    for (int64_t i = 0; r->status == DSV4_OK && i < g->n_tasks; i++) {
        n_tasks += g->tasks[i].stage != TRACE_NONE;
    }
    if (n_tasks != n_blocks) {
        reading_fail(r, "got %lld tasks of stages, expected one for each of their %lld blocks", (long long)n_tasks,
                     (long long)n_blocks);
    }
}

/* No block is two tasks. */
static void check_different(reading *r)
{
    const trace_graph *g = &r->t->graph;
    int64_t *first = reading_array(r, g->n_stages + 1, sizeof *first);
    uint8_t *seen = reading_array(r, g->n_tasks, 1);
    for (int64_t s = 0; first != NULL && s < g->n_stages; s++) {
        first[s + 1] = first[s] + g->stages[s].n_blocks;
    }
    for (int64_t i = 0; r->status == DSV4_OK && i < g->n_tasks; i++) {
        const trace_task *task = &g->tasks[i];
        if (task->stage != TRACE_NONE && seen[first[task->stage] + task->block]++ != 0) {
            r->row = i;
            reading_fail(r, "got block %lld of stage %d twice", (long long)task->block, task->stage);
        }
    }
    free(first);
    free(seen);
}

static void check_acyclic(reading *r)
{
    const trace_graph *g = &r->t->graph;
    int32_t *left = reading_array(r, g->n_tasks, sizeof *left), *order = reading_array(r, g->n_tasks, sizeof *order);
    int64_t n_done = 0, n_found = 0;
    for (int64_t i = 0; left != NULL && order != NULL && i < g->n_tasks; i++) {
        left[i] = g->tasks[i].n_before;
        if (left[i] == 0) {
            order[n_found++] = (int32_t)i;
        }
    }
    for (; n_done < n_found; n_done++) {
        const trace_task *task = &g->tasks[order[n_done]];
        for (int64_t e = task->edge; e < task->edge_end; e++) {
            if (--left[g->edges[e].to] == 0) {
                order[n_found++] = g->edges[e].to;
            }
        }
    }
    if (n_done < g->n_tasks) {
        r->row = -1;
        reading_fail(r, "got a cycle among %lld tasks, expected edges without one", (long long)(g->n_tasks - n_done));
    }
    free(left);
    free(order);
}

void reading_graph(reading *r, const json_t *root)
{
    trace_graph *g = &r->t->graph;
    if (!reading_section(r, root, "graph")) {
        return;
    }
    g->name = reading_text(r, 0, "name");
    g->deps = (dsv4_deps)reading_word(r, 0, "deps", trace_deps_names, 3);
    read_views(r, root);
    read_stages(r, root);
    read_tasks(r, root);
    check_count(r);
    check_different(r);
    read_touches(r, root);
    read_edges(r, root);
    check_acyclic(r);
}
