/* trace/capture.c - a trace from a sealed graph, and from the last run of an exec. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "rt/exec.h"
#include "trace/capture_counts.h"
#include "trace/source.h"
#include "trace/trace.h"

static dsv4_status no_memory(const dsv4_graph *g, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory for its trace", g->name);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------- */

static bool copy_views(const dsv4_graph *g, trace *t)
{
    t->graph.views = memory_array((size_t)g->views.n, sizeof *t->graph.views);
    for (int64_t i = 0; t->graph.views != NULL && i < g->views.n; i++) {
        const rt_view *v = &g->views.items[i];
        const char *name = arena_copy_text(&t->memory, v->name);
        if (name == NULL) {
            return false;
        }
        t->graph.views[i] = (trace_view){name, v->address, v->rows, v->cols, v->elem_bytes, v->row_bytes};
    }
    t->graph.n_views = g->views.n;
    return t->graph.views != NULL;
}

static bool copy_stages(const dsv4_graph *g, trace *t)
{
    t->graph.stages = memory_array((size_t)g->stages.n, sizeof *t->graph.stages);
    for (int64_t i = 0; t->graph.stages != NULL && i < g->stages.n; i++) {
        const rt_stage *s = &g->stages.items[i];
        const char *name = arena_copy_text(&t->memory, s->name);
        if (name == NULL) {
            return false;
        }
        t->graph.stages[i] = (trace_stage){name, s->n_blocks, (int64_t)s->scratch_bytes, s->kind};
    }
    t->graph.n_stages = g->stages.n;
    return t->graph.stages != NULL;
}

typedef VEC(trace_touch) touch_vec;

static bool add_touches(touch_vec *touches, const dsv4_describe *d)
{
    if (!vec_reserve(touches, d->touches.n)) {
        return false;
    }
    for (int64_t i = 0; i < d->touches.n; i++) {
        const rt_touch *t = &d->touches.items[i];
        touches->items[touches->n++] = (trace_touch){t->view, t->mode, t->box};
    }
    return true;
}

static dsv4_status describe_tasks(const dsv4_graph *g, trace_graph *out, touch_vec *touches, dsv4_error *err)
{
    dsv4_describe d = {0};
    dsv4_status status = DSV4_OK;
    for (int64_t i = 0; i < g->n_tasks && status == DSV4_OK; i++) {
        const rt_task *from = &g->tasks[i];
        trace_task *to = &out->tasks[i];
        *to = (trace_task){.stage = from->stage, .block = from->block, .is_join = from->run == NULL, .spread = from->spread};
        to->n_before = from->n_before;
        to->edge = from->after;
        to->edge_end = from->after_end;
        to->touch = touches->n;
        out->n_blocks += !to->is_join;
        if (!to->is_join) {
            status = rt_describe_block(&d, g, from->stage, from->block, err);
            to->work = d.work;
            if (status == DSV4_OK && !add_touches(touches, &d)) {
                status = no_memory(g, err);
            }
        }
        to->touch_end = touches->n;
    }
    rt_describe_deinit(&d);
    return status;
}

static dsv4_status copy_tasks(const dsv4_graph *g, trace_graph *out, dsv4_error *err)
{
    touch_vec touches = {0};
    out->tasks = memory_array((size_t)g->n_tasks, sizeof *out->tasks);
    if (out->tasks == NULL) {
        return no_memory(g, err);
    }
    dsv4_status status = describe_tasks(g, out, &touches, err);
    out->n_tasks = g->n_tasks;
    out->touches = touches.items;
    out->n_touches = touches.n;
    return status;
}

static bool copy_edges(const dsv4_graph *g, trace_graph *out)
{
    out->edges = memory_array((size_t)g->n_edges, sizeof *out->edges);
    for (int64_t i = 0; out->edges != NULL && i < g->n_tasks; i++) {
        for (int64_t e = g->tasks[i].after; e < g->tasks[i].after_end; e++) {
            out->edges[e] = (trace_edge){(int32_t)i, g->after[e], TRACE_COARSE, TRACE_NONE, TRACE_NONE};
        }
    }
    out->n_edges = g->n_edges;
    return out->edges != NULL && trace_find_sources(g, out);
}

dsv4_status trace_capture_graph(const dsv4_graph *g, trace *t, dsv4_error *err)
{
    dsv4_status status = rt_graph_check_sealed(g, err);
    if (status != DSV4_OK) {
        return status;
    }
    t->graph.name = arena_copy_text(&t->memory, g->name);
    t->graph.deps = g->deps;
    t->run.device = "";
    if (t->graph.name == NULL || !copy_views(g, t) || !copy_stages(g, t)) {
        return no_memory(g, err);
    }
    status = copy_tasks(g, &t->graph, err);
    if (status != DSV4_OK) {
        return status;
    }
    return copy_edges(g, &t->graph) ? DSV4_OK : no_memory(g, err);
}

/* ---- the run --------------------------------------------------------------------------------------------------------------- */

typedef struct clock_scale {
    uint64_t origin;
    double tick_s;
} clock_scale;

/* Counters of different cores may differ by a few ticks: never before the start of the run. */
static double seconds_of(const clock_scale *c, uint64_t ticks)
{
    return ticks > c->origin ? (double)(ticks - c->origin) * c->tick_s : 0;
}

static trace_event event_of(const clock_scale *c, int32_t worker, const rt_record *r)
{
    return (trace_event){.task = r->task,
                         .worker = worker,
                         .found = r->found == RT_KEPT ? TRACE_KEPT : r->found,
                         .ready_s = seconds_of(c, r->ready),
                         .dispatch_s = seconds_of(c, r->dispatch),
                         .start_s = seconds_of(c, r->start),
                         .end_s = seconds_of(c, r->end)};
}

static bool name_workers(const dsv4_exec *exec, trace *t)
{
    char text[128];
    cpu_model_name(text, sizeof text);
    t->run.device = arena_copy_text(&t->memory, text);
    t->run.workers = memory_array((size_t)exec->n_workers, sizeof *t->run.workers);
    if (t->run.device == NULL || t->run.workers == NULL) {
        return false;
    }
    for (int w = 0; w < exec->n_workers; w++) {
        snprintf(text, sizeof text, "worker %d", w);
        t->run.workers[w].name = arena_copy_text(&t->memory, text);
        if (t->run.workers[w].name == NULL) {
            return false;
        }
    }
    t->run.n_workers = exec->n_workers;
    return true;
}

static bool copy_events(const dsv4_exec *exec, const clock_scale *c, int64_t n_events, trace_run *run)
{
    run->events = memory_array((size_t)n_events, sizeof *run->events);
    for (int w = 0; run->events != NULL && w < exec->n_workers; w++) {
        for (int64_t i = 0; i < exec->workers[w].n_records; i++) {
            run->events[run->n_events++] = event_of(c, w, &exec->workers[w].records[i]);
        }
    }
    return run->events != NULL;
}

/* Work is what the run had to do. */
static dsv4_status take_shares(const dsv4_graph *g, trace_graph *out, dsv4_error *err)
{
    dsv4_describe d = {0};
    dsv4_status status = DSV4_OK;
    for (int64_t i = 0; i < out->n_blocks && status == DSV4_OK; i++) {
        if (g->stages.items[out->tasks[i].stage].share != NULL) {
            status = rt_describe_ran(&d, g, out->tasks[i].stage, out->tasks[i].block, err);
            out->tasks[i].work = d.work;
        }
    }
    rt_describe_deinit(&d);
    return status;
}

static bool copy_waits(const dsv4_exec *exec, const clock_scale *c, trace_run *run)
{
    int64_t n = 0;
    for (int w = 0; w < exec->n_workers; w++) {
        n += exec->workers[w].n_waits;
    }
    run->waits = memory_array((size_t)n, sizeof *run->waits);
    for (int w = 0; run->waits != NULL && w < exec->n_workers; w++) {
        for (int64_t i = 0; i < exec->workers[w].n_waits; i++) {
            const rt_wait *wait = &exec->workers[w].waits[i];
            run->waits[run->n_waits++] = (trace_wait){w, wait->slept, seconds_of(c, wait->begin), seconds_of(c, wait->end)};
        }
    }
    return run->waits != NULL;
}

dsv4_status trace_capture(const dsv4_exec *exec, trace *t, dsv4_error *err)
{
    int64_t n_events = 0;
    for (int w = 0; w < exec->n_workers; w++) {
        n_events += exec->workers[w].n_records;
    }
    if (n_events == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "graph %s: no traced run", exec->g->name);
    }
    dsv4_status status = trace_capture_graph(exec->g, t, err);
    if (status == DSV4_OK) {
        status = take_shares(exec->g, &t->graph, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    t->run.level = exec->level;
    const clock_scale c = {exec->run_ticks, rt_exec_tick_ns(exec) / 1e9};
    bool ok = name_workers(exec, t) && copy_events(exec, &c, n_events, &t->run) && copy_waits(exec, &c, &t->run) &&
              trace_capture_counts(exec, t);
    return ok ? DSV4_OK : no_memory(exec->g, err);
}
