/* Any bytes: either a one-line error and an empty trace, or a trace that can be written and reported on. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "trace/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Follows every reference within the trace. */
static double follow(const trace *t)
{
    const trace_graph *g = &t->graph;
    double sum = 0;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        const trace_task *task = &g->tasks[i];
        trace_bytes moved = trace_task_bytes(g, task);
        sum += moved.read + moved.written + (task->stage != TRACE_NONE ? (double)strlen(g->stages[task->stage].name) : 0);
        for (int64_t e = task->edge; e < task->edge_end; e++) {
            require(g->edges[e].from == i && g->edges[e].to >= 0 && g->edges[e].to < g->n_tasks);
            require(g->edges[e].from_touch < g->n_touches && g->edges[e].to_touch < g->n_touches);
        }
    }
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        require(e->task < g->n_blocks && !g->tasks[e->task].is_join && e->ready_s <= e->end_s);
        sum += (double)strlen(t->run.workers[e->worker].name);
    }
    return sum;
}

/* Gaps and blocks of the path as executed make up the makespan. */
static void report(const trace *t)
{
    enum { N_BUCKETS = 8 };
    trace_report r = {0};
    dsv4_error err = {0};
    dsv4_status status = trace_report_make(t, N_BUCKETS, &r, &err);
    require(status == DSV4_OK || status == DSV4_E_NO_MEMORY || (status == DSV4_E_USAGE && t->run.n_events == 0));
    if (status == DSV4_OK) {
        double sum_s = r.executed.blocks_s;
        for (int reason = 0; reason < TRACE_N_REASONS; reason++) {
            require(r.executed.gap_s[reason] >= 0);
            sum_s += r.executed.gap_s[reason];
        }
        require(fabs(sum_s - r.makespan_s) <= 1e-12 * (1 + (double)t->run.n_events) * r.makespan_s + 1e-300);
    }
    trace_report_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    trace t = {0}, none = {0};
    dsv4_error err = {0};
    if (trace_read_memory("fuzz", bytes, n_bytes, &t, &err) != DSV4_OK) {
        require(err.text[0] != '\0' && strchr(err.text, '\n') == NULL && memcmp(&t, &none, sizeof t) == 0);
        return 0;
    }
    require(follow(&t) >= 0);
    require(trace_write(&t, "/dev/null", &err) == DSV4_OK && trace_write_deps(&t, "/dev/null", &err) == DSV4_OK);
    report(&t);
    trace_deinit(&t);
    return 0;
}
