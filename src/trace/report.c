#include "trace/report.h"

#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

/* What is needed while a report is made. */
typedef struct making {
    trace_index index;
    trace_blame *blames;
    trace_tail *tails;
    int32_t *row_of;
} making;

static dsv4_status prepare(const trace *t, making *m, dsv4_error *err)
{
    if (t->run.n_events == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "graph %s: no run to report on", t->graph.name);
    }
    m->blames = memory_array((size_t)t->run.n_events, sizeof *m->blames);
    m->tails = memory_array((size_t)t->run.n_workers, sizeof *m->tails);
    m->row_of = memory_array((size_t)t->graph.n_stages, sizeof *m->row_of);
    if (m->blames == NULL || m->tails == NULL || m->row_of == NULL) {
        return trace_report_no_memory(t, err);
    }
    dsv4_status status = trace_index_make(t, &m->index, err);
    return status == DSV4_OK ? trace_blame_indexed(t, &m->index, m->blames, m->tails, err) : status;
}

static dsv4_status make(const trace *t, making *m, int64_t n_buckets, trace_report *r, dsv4_error *err)
{
    dsv4_status status = prepare(t, m, err);
    if (status == DSV4_OK) {
        status = trace_report_workers(t, &m->index, m->blames, m->tails, r, err);
    }
    if (status == DSV4_OK) {
        status = trace_report_stages(t, m->blames, m->row_of, r, err);
    }
    if (status == DSV4_OK) {
        status = trace_report_paths(t, &m->index, m->blames, m->row_of, r, err);
    }
    if (status == DSV4_OK) {
        status = trace_report_parallel(t, &m->index, n_buckets, &r->parallel, err);
    }
    return status == DSV4_OK ? trace_report_bounds(t, m->row_of, r, err) : status;
}

dsv4_status trace_report_make(const trace *t, int64_t n_buckets, trace_report *out, dsv4_error *err)
{
    making m = {0};
    dsv4_status status = make(t, &m, n_buckets, out, err);
    trace_index_deinit(&m.index);
    free(m.blames);
    free(m.tails);
    free(m.row_of);
    return status;
}

void trace_report_deinit(trace_report *r)
{
    free(r->workers);
    free(r->kinds);
    free(r->stages);
    free(r->longest.steps);
    free(r->executed.steps);
    free(r->needs.steps);
    free(r->parallel.running);
    free(r->parallel.ready);
    free(r->parallel.share);
    *r = (trace_report){0};
}
