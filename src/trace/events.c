/* trace/events.c - a run as Chrome/Perfetto trace events.
 *
 *   M   names of the process and of one lane per worker
 *   X   one slice per block: name = stage, cname = the stage's colour, args = block, how long it waited, its counters
 *   C   how many blocks are ready and wait for a worker
 *   s,f one arrow per edge between blocks; through a join, from the block that completed it to every block that it released */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rt/sort.h"
#include "trace/out.h"

/* Colour names that Chrome's viewer knows; stages take them in turn. */
static const char *const colours[] = {"thread_state_running",
                                      "rail_animation",
                                      "thread_state_iowait",
                                      "rail_response",
                                      "cq_build_running",
                                      "rail_load",
                                      "olive",
                                      "thread_state_runnable",
                                      "cq_build_attempt_failed",
                                      "rail_idle",
                                      "yellow",
                                      "startup"};

typedef struct drawing {
    const trace *t;
    FILE *out;
    const trace_event **by_task; /* [n_blocks] */
    int64_t n_arrows;
} drawing;

static void draw_names(const drawing *d)
{
    const trace_run *run = &d->t->run;
    fputs("\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":", d->out);
    trace_out_text(d->out, d->t->graph.name);
    fputs("}}", d->out);
    for (int64_t w = 0; w < run->n_workers; w++) {
        fprintf(d->out, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%lld,\"name\":\"thread_name\",\"args\":{\"name\":", (long long)w);
        trace_out_text(d->out, run->workers[w].name);
        fputs("}}", d->out);
    }
}

static void draw_slice(const drawing *d, const trace_event *e)
{
    const trace_graph *g = &d->t->graph;
    const trace_run *run = &d->t->run;
    const trace_task *task = &g->tasks[e->task];
    const double *counts = run->n_counters > 0 ? &run->counts[(e - run->events) * run->n_counters] : NULL;
    fprintf(d->out, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"name\":", e->worker, e->start_s * 1e6,
            (e->end_s - e->start_s) * 1e6);
    trace_out_text(d->out, g->stages[task->stage].name);
    fprintf(d->out, ",\"cname\":\"%s\",\"args\":{\"block\":%lld,\"ready_us\":%.3f,\"dispatch_us\":%.3f,\"waited_us\":%.3f",
            colours[(size_t)task->stage % (sizeof colours / sizeof *colours)], (long long)task->block, e->ready_s * 1e6,
            e->dispatch_s * 1e6, (e->dispatch_s - e->ready_s) * 1e6);
    for (int64_t i = 0; i < run->n_counters; i++) {
        fputc(',', d->out);
        trace_out_text(d->out, run->counters[i]);
        fputc(':', d->out);
        trace_out_number(d->out, counts[i]);
    }
    fputs("}}", d->out);
}

/* An arrow from the end of one slice to the start of another. Its ends lie inside the slices, which is how viewers find them. */
static void draw_arrow(drawing *d, int32_t from, int32_t to)
{
    const trace_event *a = d->by_task[from], *b = d->by_task[to];
    double tail_us = a->end_s * 1e6 - ((a->end_s - a->start_s) * 1e6 > 0.002 ? 0.001 : 0);
    d->n_arrows++;
    fprintf(d->out, ",\n{\"ph\":\"s\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"id\":%lld,\"cat\":\"edge\",\"name\":\"edge\"}", a->worker,
            tail_us, (long long)d->n_arrows);
    fprintf(d->out,
            ",\n{\"ph\":\"f\",\"bp\":\"e\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"id\":%lld,\"cat\":\"edge\",\"name\":\"edge\"}",
            b->worker, b->start_s * 1e6, (long long)d->n_arrows);
}

/* Follows the successors of a block in the order of the run: the last one to reach a join is the one that its arrows start from. */
static void draw_arrows_from(drawing *d, int32_t block, int32_t *left, int32_t *stack)
{
    const trace_graph *g = &d->t->graph;
    int64_t depth = 0;
    stack[depth++] = block;
    while (depth > 0) {
        const trace_task *task = &g->tasks[stack[--depth]];
        for (int64_t i = task->edge; i < task->edge_end; i++) {
            int32_t next = g->edges[i].to;
            if (next < g->n_blocks) {
                draw_arrow(d, block, next);
            } else if (--left[next] == 0) {
                stack[depth++] = next;
            }
        }
    }
}

/* Non-negative doubles order as their bits do. */
static uint64_t time_key(double seconds)
{
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    return bits;
}

/* Blocks in the order in which they ended. */
static bool order_by_end(const drawing *d, int32_t *order)
{
    int64_t n = d->t->graph.n_blocks;
    uint64_t *end = memory_array((size_t)n, sizeof *end);
    for (int64_t i = 0; end != NULL && i < n; i++) {
        end[i] = time_key(d->by_task[i]->end_s);
    }
    bool ok = end != NULL && rt_sort_ids(end, n, order);
    free(end);
    return ok;
}

static bool draw_arrows(drawing *d)
{
    const trace_graph *g = &d->t->graph;
    int32_t *left = memory_array((size_t)g->n_tasks, sizeof *left), *stack = memory_array((size_t)g->n_tasks, sizeof *stack);
    int32_t *order = memory_array((size_t)g->n_blocks, sizeof *order);
    bool ok = left != NULL && stack != NULL && order != NULL && order_by_end(d, order);
    for (int64_t i = 0; ok && i < g->n_tasks; i++) {
        left[i] = g->tasks[i].n_before;
    }
    for (int64_t i = 0; ok && i < g->n_blocks; i++) {
        draw_arrows_from(d, order[i], left, stack);
    }
    free(left);
    free(stack);
    free(order);
    return ok;
}

/* One sample wherever the number changes: up when a block is ready, down when it is dispatched. */
static bool draw_ready(const drawing *d)
{
    const trace_run *run = &d->t->run;
    int64_t n = run->n_events, n_ready = 0;
    uint64_t *key = memory_array((size_t)(2 * n), sizeof *key);
    int32_t *order = memory_array((size_t)(2 * n), sizeof *order);
    for (int64_t i = 0; key != NULL && i < n; i++) {
        key[i] = time_key(run->events[i].ready_s);
        key[n + i] = time_key(run->events[i].dispatch_s);
    }
    bool ok = key != NULL && order != NULL && rt_sort_ids(key, 2 * n, order);
    for (int64_t i = 0; ok && i < 2 * n; i++) {
        n_ready += order[i] < n ? 1 : -1;
        if (i + 1 == 2 * n || key[order[i]] != key[order[i + 1]]) {
            double at_s = order[i] < n ? run->events[order[i]].ready_s : run->events[order[i] - n].dispatch_s;
            fprintf(d->out, ",\n{\"ph\":\"C\",\"pid\":1,\"ts\":%.3f,\"name\":\"ready blocks\",\"args\":{\"blocks\":%lld}}",
                    at_s * 1e6, (long long)n_ready);
        }
    }
    free(key);
    free(order);
    return ok;
}

bool trace_out_events(const trace *t, FILE *out)
{
    drawing d = {.t = t, .out = out};
    d.by_task = memory_array((size_t)t->graph.n_blocks, sizeof *d.by_task);
    if (d.by_task == NULL) {
        return false;
    }
    fputc('[', out);
    draw_names(&d);
    for (int64_t i = 0; i < t->run.n_events; i++) {
        d.by_task[t->run.events[i].task] = &t->run.events[i];
        draw_slice(&d, &t->run.events[i]);
    }
    bool ok = t->run.n_events == 0 || (draw_ready(&d) && draw_arrows(&d));
    fputs("\n]", out);
    free(d.by_task);
    return ok;
}
