/* trace/report_parts.h - what the files of the report share. */
#ifndef TRACE_REPORT_PARTS_H
#define TRACE_REPORT_PARTS_H

#include "trace/report.h"

/* The order of a graph, and where its blocks are in the run. */
typedef struct trace_index {
    int32_t *order;  /* [n_tasks]: every task behind those that it waits for */
    int32_t *event;  /* [n_tasks]: of its block; TRACE_NONE */
    int32_t *before; /* [n_events]: the event before it on its worker; TRACE_NONE */
    int32_t *last;   /* [n_workers]: of each worker; TRACE_NONE */
    double begin_s, end_s;
} trace_index;

DSV4_MUST_CHECK dsv4_status trace_index_make(const trace *t, trace_index *out, dsv4_error *err);
void trace_index_deinit(trace_index *x);

/* Of a worker's name without its number. */
size_t trace_worker_name_length(const char *name);

/* Workers are of one kind whose names differ in their numbers alone: kind_of[n_workers], numbered as they come. False without
 * memory, as below. */
bool trace_worker_kinds(const trace_run *run, int32_t *kind_of, int64_t *n_kinds);

/* The kinds of stages, as bits (1 << dsv4_core_kind), that workers of its kind have run: out[n_workers]. */
bool trace_worker_skills(const trace *t, uint8_t *out);

DSV4_MUST_CHECK dsv4_status trace_blame_indexed(const trace *t, const trace_index *x, trace_blame *out, trace_tail *tails,
                                                dsv4_error *err);

/* Rows of stages by name: row_of[n_stages of the graph]; fills r->stages but for paths and bounds. */
DSV4_MUST_CHECK dsv4_status trace_report_stages(const trace *t, const trace_blame *blames, int32_t *row_of, trace_report *r,
                                                dsv4_error *err);
DSV4_MUST_CHECK dsv4_status trace_report_workers(const trace *t, const trace_index *x, const trace_blame *blames,
                                                 const trace_tail *tails, trace_report *r, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status trace_report_paths(const trace *t, const trace_index *x, const trace_blame *blames,
                                               const int32_t *row_of, trace_report *r, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status trace_report_parallel(const trace *t, const trace_index *x, int64_t n_buckets, trace_parallel *out,
                                                  dsv4_error *err);
DSV4_MUST_CHECK dsv4_status trace_report_bounds(const trace *t, const int32_t *row_of, trace_report *r, dsv4_error *err);

/* Bytes of inputs and outputs by row, each counted where it is touched first. bytes[n_rows] zeroed before. *known false: more
 * pieces of memory than can be told apart in reasonable time. */
DSV4_MUST_CHECK dsv4_status trace_outside_bytes(const trace_graph *g, const int32_t *row_of, int64_t n_rows, double *bytes,
                                                bool *known, dsv4_error *err);

static inline dsv4_status trace_report_no_memory(const trace *t, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to report on %lld blocks", t->graph.name,
                     (long long)t->graph.n_blocks);
}

#endif
