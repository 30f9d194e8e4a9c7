#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

/* ---- over time --------------------------------------------------------------------------------------------------------------- */

/* Adds an interval to means over buckets: in part to those that it begins and ends in, and steps[] to those between. */
static void add_interval(double *part, double *steps, int64_t n, double begin, double end)
{
    double last = (double)n;
    begin = begin < 0 ? 0 : begin > last ? last : begin;
    end = end < begin ? begin : end > last ? last : end;
    int64_t first = begin < last ? (int64_t)begin : n - 1, final = end < last ? (int64_t)end : n - 1;
    if (first == final) {
        part[first] += end - begin;
        return;
    }
    part[first] += (double)(first + 1) - begin;
    part[final] += end - (double) final;
    steps[first + 1] += 1;
    steps[final] -= 1;
}

static bool fill_buckets(const trace *t, const trace_index *x, trace_parallel *p)
{
    int64_t n = p->n_buckets;
    double *steps = memory_zeroed_array(2 * (size_t)n, sizeof *steps), per_s = (double)n / (x->end_s - x->begin_s);
    if (steps == NULL) {
        return false;
    }
    for (int64_t i = 0; isfinite(per_s) && i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        double start = (e->start_s - x->begin_s) * per_s;
        add_interval(p->running, steps, n, start, (e->end_s - x->begin_s) * per_s);
        add_interval(p->ready, steps + n, n, (e->ready_s - x->begin_s) * per_s, start);
    }
    double running = 0, ready = 0;
    for (int64_t i = 0; i < n; i++) {
        running += steps[i];
        ready += steps[n + i];
        p->running[i] += running;
        p->ready[i] += ready;
    }
    free(steps);
    return true;
}

/* ---- in all ------------------------------------------------------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Shares of the time with 0, 1, ... n_workers running. starts, ends: [n_events], sorted. */
static void fill_shares(const double *starts, const double *ends, int64_t n_events, const trace_index *x, int64_t n_workers,
                        trace_parallel *p)
{
    double now_s = x->begin_s, makespan_s = x->end_s - x->begin_s;
    int64_t i = 0, j = 0;
    while (j < n_events && makespan_s > 0) {
        bool starts_next = i < n_events && starts[i] <= ends[j];
        double next_s = starts_next ? starts[i] : ends[j];
        int64_t running = i < j ? 0 : i - j < n_workers ? i - j : n_workers;
        p->share[running] += (next_s - now_s) / makespan_s;
        i += starts_next;
        j += !starts_next;
        now_s = next_s;
    }
    for (int64_t n = 0; n <= n_workers; n++) {
        p->mean += (double)n * p->share[n];
    }
}

static bool find_shares(const trace *t, const trace_index *x, trace_parallel *p)
{
    size_t n = (size_t)t->run.n_events;
    double *times = memory_array(2 * n, sizeof *times);
    if (times == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        times[i] = t->run.events[i].start_s;
        times[n + i] = t->run.events[i].end_s;
    }
    qsort(times, n, sizeof *times, compare_doubles);
    qsort(times + n, n, sizeof *times, compare_doubles);
    fill_shares(times, times + n, t->run.n_events, x, t->run.n_workers, p);
    free(times);
    return true;
}

dsv4_status trace_report_parallel(const trace *t, const trace_index *x, int64_t n_buckets, trace_parallel *out, dsv4_error *err)
{
    size_t n = (size_t)n_buckets;
    out->running = memory_zeroed_array(n, sizeof *out->running);
    out->ready = memory_zeroed_array(n, sizeof *out->ready);
    out->share = memory_zeroed_array((size_t)t->run.n_workers + 1, sizeof *out->share);
    out->n_buckets = n_buckets;
    if (out->running == NULL || out->ready == NULL || out->share == NULL || !fill_buckets(t, x, out) || !find_shares(t, x, out)) {
        return trace_report_no_memory(t, err);
    }
    return DSV4_OK;
}
