/* sample_trace.h - a trace without a run behind it: layers of stages, each block reads a few blocks of the stage before, every other
 * stage through a join; workers take ready blocks in the order of tasks. */
#ifndef SAMPLE_TRACE_H
#define SAMPLE_TRACE_H

#include "require.h"

#include <stdio.h>
#include <stdlib.h>

#include "trace/trace.h"

typedef struct sample_shape {
    int64_t n_stages, n_blocks, n_workers; /* blocks of each stage */
    const char *stage_names[8];            /* in turn */
    const char *graph_name, *device;
} sample_shape;

static inline int64_t sample_tasks_of_stage(const sample_shape *s)
{
    return s->n_blocks + 1; /* and a join */
}

static inline void sample_fill_graph(trace *t, const sample_shape *s)
{
    enum { N_READ = 3 };
    trace_graph *g = &t->graph;
    *g = (trace_graph){.name = s->graph_name,
                       .n_views = s->n_stages + 1,
                       .n_stages = s->n_stages,
                       .n_blocks = s->n_stages * s->n_blocks,
                       .n_tasks = s->n_stages * s->n_blocks + s->n_stages};
    g->views = calloc((size_t)g->n_views, sizeof *g->views);
    g->stages = calloc((size_t)g->n_stages, sizeof *g->stages);
    g->tasks = calloc((size_t)g->n_tasks, sizeof *g->tasks);
    g->touches = calloc((size_t)g->n_blocks * 2, sizeof *g->touches);
    g->edges = calloc((size_t)g->n_blocks * (N_READ + 2), sizeof *g->edges);
    assert_true(g->views != NULL && g->stages != NULL && g->tasks != NULL && g->touches != NULL && g->edges != NULL);
    for (int64_t v = 0; v < g->n_views; v++) {
        char name[32];
        snprintf(name, sizeof name, "between %lld", (long long)v);
        g->views[v] = (trace_view){arena_copy_text(&t->memory, name), v * 1000000, s->n_blocks * 8, 128, 2, 256};
    }
    for (int64_t i = 0; i < g->n_tasks; i++) {
        trace_task *task = &g->tasks[i];
        bool is_join = i >= g->n_blocks;
        int64_t stage = is_join ? i - g->n_blocks : i / s->n_blocks, block = is_join ? 0 : i % s->n_blocks;
        *task = (trace_task){.stage = is_join ? TRACE_NONE : (int32_t)stage, .block = block, .is_join = is_join};
        task->touch = g->n_touches;
        if (!is_join) {
            int64_t row = block * 8;
            g->stages[stage] = (trace_stage){.name = s->stage_names[stage % 8], .n_blocks = s->n_blocks, .kind = DSV4_CUBE};
            task->work = (dsv4_work){.flops_bf16 = 2e6, .vector_ops = 1e4, .product = {8, 128, 1024, 256, 2}};
            g->touches[g->n_touches++] = (trace_touch){(dsv4_view)stage, DSV4_READ, {row, row + 8, 0, 128}};
            g->touches[g->n_touches++] = (trace_touch){(dsv4_view)stage + 1, DSV4_WRITE, {row, row + 8, 0, 64}};
        }
        task->touch_end = g->n_touches;
        task->edge = g->n_edges;
        for (int64_t k = 0; !is_join && stage + 1 < s->n_stages && stage % 2 == 0 && k < N_READ && block + k < s->n_blocks; k++) {
            g->edges[g->n_edges++] = (trace_edge){(int32_t)i, (int32_t)((stage + 1) * s->n_blocks + block + k), TRACE_RAW, 1, 0};
        }
        if (!is_join && stage % 2 == 1) {
            g->edges[g->n_edges++] = (trace_edge){(int32_t)i, (int32_t)(g->n_blocks + stage), TRACE_RAW, TRACE_NONE, TRACE_NONE};
        }
        for (int64_t k = 0; is_join && stage % 2 == 1 && stage + 1 < s->n_stages && k < s->n_blocks; k++) {
            g->edges[g->n_edges++] =
                (trace_edge){(int32_t)i, (int32_t)((stage + 1) * s->n_blocks + k), TRACE_RAW, TRACE_NONE, TRACE_NONE};
        }
        task->edge_end = g->n_edges;
    }
    for (int64_t e = 0; e < g->n_edges; e++) {
        g->tasks[g->edges[e].to].n_before++;
    }
}

/* Latest end of the tasks before a block; joins end with their last. */
static inline double sample_ready_s(const trace_graph *g, const double *end_s, int32_t task)
{
    double ready_s = 0;
    for (int64_t e = 0; e < g->n_edges; e++) {
        const trace_edge *edge = &g->edges[e];
        if (edge->to == task) {
            double s = g->tasks[edge->from].is_join ? sample_ready_s(g, end_s, edge->from) : end_s[edge->from];
            ready_s = s > ready_s ? s : ready_s;
        }
    }
    return ready_s;
}

static inline int sample_order_events(const void *a, const void *b)
{
    const trace_event *x = a, *y = b;
    return x->worker != y->worker ? (x->worker > y->worker) - (x->worker < y->worker)
                                  : (x->start_s > y->start_s) - (x->start_s < y->start_s);
}

static inline void sample_fill_run(trace *t, const sample_shape *s)
{
    const trace_graph *g = &t->graph;
    trace_run *run = &t->run;
    double *end_s = calloc((size_t)g->n_tasks, sizeof *end_s), *free_s = calloc((size_t)s->n_workers, sizeof *free_s);
    double stage_ready_s = 0;
    *run = (trace_run){.device = s->device, .level = 2, .n_workers = s->n_workers, .n_events = g->n_blocks, .n_counters = 1};
    run->workers = calloc((size_t)run->n_workers, sizeof *run->workers);
    run->events = calloc((size_t)run->n_events, sizeof *run->events);
    run->counters = calloc(1, sizeof *run->counters);
    run->counts = calloc((size_t)run->n_events, sizeof *run->counts);
    assert_true(end_s != NULL && free_s != NULL && run->workers != NULL && run->events != NULL && run->counts != NULL);
    run->counters[0] = "cycles";
    for (int64_t w = 0; w < run->n_workers; w++) {
        char name[32];
        snprintf(name, sizeof name, "worker %lld", (long long)w);
        run->workers[w].name = arena_copy_text(&t->memory, name);
    }
    for (int64_t i = 0; i < g->n_blocks; i++) {
        int64_t w = 0, stage = i / s->n_blocks;
        for (int64_t k = 1; k < s->n_workers; k++) {
            w = free_s[k] < free_s[w] ? k : w;
        }
        if (i % s->n_blocks == 0 && stage % 2 == 0 && i > 0) {
            stage_ready_s = sample_ready_s(g, end_s, (int32_t)i);
        }
        double ready_s = stage % 2 == 0 ? stage_ready_s : end_s[i - s->n_blocks];
        double start_s = (ready_s > free_s[w] ? ready_s : free_s[w]) + 300e-9;
        double length_s = 1e-6 * (double)(4 + stage * 7 % 13 + i * 31 % 5);
        run->events[i] = (trace_event){
            (int32_t)i, (int32_t)w,        i % 7 == 0 ? (int32_t)((w + 1) % s->n_workers) : (int32_t)w, ready_s, start_s - 100e-9,
            start_s,    start_s + length_s};
        free_s[w] = end_s[i] = start_s + length_s;
    }
    qsort(run->events, (size_t)run->n_events, sizeof *run->events, sample_order_events);
    for (int64_t i = 0; i < run->n_events; i++) {
        run->counts[i] = 1000 + (double)run->events[i].task;
    }
    free(end_s);
    free(free_s);
}

/* End with trace_deinit. */
static inline void sample_trace(trace *t, const sample_shape *s)
{
    *t = (trace){0};
    sample_fill_graph(t, s);
    sample_fill_run(t, s);
}

#endif
