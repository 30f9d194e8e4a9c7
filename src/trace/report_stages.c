#include <stdlib.h>

#include "base/memory.h"
#include "trace/look.h"
#include "trace/report_parts.h"

/* ---- rows -------------------------------------------------------------------------------------------------------------------- */

static dsv4_status name_rows(const trace *t, int32_t *row_of, trace_report *r, dsv4_error *err)
{
    trace_look look = {0};
    dsv4_status status = trace_look_init(&look, t, err);
    for (int64_t i = 0; i < t->graph.n_stages && status == DSV4_OK; i++) {
        row_of[i] = (int32_t)look.row_of[i];
    }
    for (int64_t i = 0; i < look.n_rows && status == DSV4_OK; i++) {
        r->stages[r->n_stages++].name = look.rows[i].name;
    }
    trace_look_deinit(&look);
    return status;
}

/* ---- sums -------------------------------------------------------------------------------------------------------------------- */

static void add_event(const trace *t, const trace_event *e, const trace_blame *b, trace_stage_stats *s)
{
    const trace_task *task = &t->graph.tasks[e->task];
    trace_bytes bytes = trace_task_bytes(&t->graph, task);
    s->n_blocks++;
    s->total_s += e->end_s - e->start_s;
    s->bytes.read += bytes.read;
    s->bytes.written += bytes.written;
    s->flops_bf16 += task->work.flops_bf16;
    s->ops_i8 += task->work.ops_i8;
    s->vector_ops += task->work.vector_ops;
    for (int r = 0; r < TRACE_N_REASONS; r++) {
        s->delay_s[r] += b->delay_s[r];
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The least duration that 95 % of a row's blocks do not exceed. */
static bool find_p95(const trace *t, const int32_t *row_of, trace_report *r)
{
    double *durations = memory_array((size_t)t->run.n_events, sizeof *durations);
    int64_t *next = memory_array((size_t)r->n_stages, sizeof *next), first = 0;
    bool ok = durations != NULL && next != NULL;
    for (int64_t i = 0; ok && i < r->n_stages; i++) {
        next[i] = first;
        first += r->stages[i].n_blocks;
    }
    for (int64_t i = 0; ok && i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        durations[next[row_of[t->graph.tasks[e->task].stage]]++] = e->end_s - e->start_s;
    }
    first = 0;
    for (int64_t i = 0; ok && i < r->n_stages; i++) {
        int64_t n = r->stages[i].n_blocks;
        qsort(durations + first, (size_t)n, sizeof *durations, compare_doubles);
        r->stages[i].p95_s = n > 0 ? durations[first + (95 * n + 99) / 100 - 1] : 0;
        first += n;
    }
    free(durations);
    free(next);
    return ok;
}

dsv4_status trace_report_stages(const trace *t, const trace_blame *blames, int32_t *row_of, trace_report *r, dsv4_error *err)
{
    r->stages = memory_zeroed_array((size_t)t->graph.n_stages, sizeof *r->stages);
    if (r->stages == NULL) {
        return trace_report_no_memory(t, err);
    }
    dsv4_status status = name_rows(t, row_of, r, err);
    if (status != DSV4_OK) {
        return status;
    }
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        add_event(t, e, &blames[i], &r->stages[row_of[t->graph.tasks[e->task].stage]]);
    }
    for (int64_t i = 0; i < r->n_stages; i++) {
        r->busy_s += r->stages[i].total_s;
    }
    return find_p95(t, row_of, r) ? DSV4_OK : trace_report_no_memory(t, err);
}

/* ---- workers ----------------------------------------------------------------------------------------------------------------- */

static bool sum_kinds(const trace_run *run, trace_report *r)
{
    int32_t *kind_of = memory_array((size_t)run->n_workers, sizeof *kind_of);
    bool ok = kind_of != NULL && trace_worker_kinds(run, kind_of, &r->n_kinds);
    r->kinds = ok ? memory_zeroed_array((size_t)r->n_kinds, sizeof *r->kinds) : NULL;
    for (int64_t w = 0; r->kinds != NULL && w < run->n_workers; w++) {
        trace_kind_stats *k = &r->kinds[kind_of[w]];
        if (k->n_workers++ == 0) {
            k->name = run->workers[w].name;
            k->name_length = (int)trace_worker_name_length(k->name);
        }
        k->sum.n_blocks += r->workers[w].n_blocks;
        k->sum.busy_s += r->workers[w].busy_s;
        for (int reason = 0; reason < TRACE_N_REASONS; reason++) {
            k->sum.idle_s[reason] += r->workers[w].idle_s[reason];
        }
    }
    free(kind_of);
    return r->kinds != NULL;
}

dsv4_status trace_report_workers(const trace *t, const trace_index *x, const trace_blame *blames, const trace_tail *tails,
                                 trace_report *r, dsv4_error *err)
{
    r->begin_s = x->begin_s;
    r->makespan_s = x->end_s - x->begin_s;
    r->workers = memory_zeroed_array((size_t)t->run.n_workers, sizeof *r->workers);
    if (r->workers == NULL) {
        return trace_report_no_memory(t, err);
    }
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        trace_worker_stats *w = &r->workers[e->worker];
        w->n_blocks++;
        w->busy_s += e->end_s - e->start_s;
        for (int reason = 0; reason < TRACE_N_REASONS; reason++) {
            w->idle_s[reason] += blames[i].idle_s[reason];
        }
    }
    for (int64_t i = 0; i < t->run.n_workers; i++) {
        for (int reason = 0; reason < TRACE_N_REASONS; reason++) {
            r->workers[i].idle_s[reason] += tails[i].idle_s[reason];
        }
    }
    return sum_kinds(&t->run, r) ? DSV4_OK : trace_report_no_memory(t, err);
}
