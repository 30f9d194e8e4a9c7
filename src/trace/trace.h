/* trace/trace.h - a run as data: the sealed graph, and when and where each of its blocks ran.
 *
 *   capture.c  from a sealed graph, and from the last run of an exec      write.c, read.c  to and from a file (data.c: its form)
 *   source.c   what each edge comes from                                  report.c         what the run shows, critical paths
 *   html.c, draw.c  for people to look at                                 sim/             fills `run` from a device's description
 *
 * Everything that looks at runs works on these structures: a real run, one read from a file and a simulated one look the same.
 *
 * TASKS   are those of the sealed graph, in its order: 0 is the first to start among ready ones; joins come behind the blocks.
 * TIMES   are seconds since the start of the run.
 * OWNER   A trace owns all that it points to; trace_deinit frees it. Plain data: read by any thread, changed by none after filling. */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "base/arena.h"
#include "dsv4/graph.h"

enum { TRACE_NONE = -1 };

/* ---- the graph ------------------------------------------------------------------------------------------------------------- */

typedef struct trace_view {
    const char *name;
    int64_t address; /* of its first byte: views that share bytes share addresses */
    int64_t rows, cols, elem_bytes, row_bytes;
} trace_view;

typedef struct trace_stage {
    const char *name;
    int64_t n_blocks; /* 1 for a declared join */
    int64_t scratch_bytes;
    dsv4_core_kind kind;
} trace_stage;

typedef struct trace_touch {
    dsv4_view view;
    int mode; /* dsv4_access, or-ed with DSV4_UNTRACKED */
    dsv4_box box;
} trace_touch;

typedef struct trace_task {
    int32_t stage;            /* TRACE_NONE for a join made by sealing */
    int64_t block;            /* of its stage */
    bool is_join;             /* runs nothing: done as soon as it is ready */
    bool spread;              /* placed by its block number (rt/graph.h) */
    int32_t n_before;         /* edges to it */
    int64_t edge, edge_end;   /* range in edges: those from it */
    int64_t touch, touch_end; /* range in touches */
    dsv4_work work;
} trace_task;

/* Why a task waits for another. */
typedef enum trace_source {
    TRACE_RAW,      /* it reads what the other wrote */
    TRACE_WAW,      /* it writes what the other wrote */
    TRACE_WAR,      /* it writes what the other read */
    TRACE_DECLARED, /* the author said so */
    TRACE_COARSE,   /* no bytes are shared: dependencies are tracked by stage or by tensor */
    TRACE_N_SOURCES
} trace_source;

typedef struct trace_edge {
    int32_t from, to;
    trace_source source;          /* through a join: of a pair of blocks that it orders */
    int64_t from_touch, to_touch; /* in touches: the two boxes that overlap; TRACE_NONE for declared and coarse edges */
} trace_edge;

typedef struct trace_graph {
    const char *name;
    dsv4_deps deps;
    trace_view *views;    /* [n_views] */
    trace_stage *stages;  /* [n_stages], in program order */
    trace_task *tasks;    /* [n_tasks]: n_blocks that run, then joins */
    trace_touch *touches; /* [n_touches], grouped by task */
    trace_edge *edges;    /* [n_edges], grouped by `from`, ascending `to` within */
    int64_t n_views, n_stages, n_tasks, n_blocks, n_touches, n_edges;
} trace_graph;

/* ---- the run --------------------------------------------------------------------------------------------------------------- */

typedef struct trace_worker {
    const char *name; /* "worker 0", "cube 3" */
} trace_worker;

enum { TRACE_KEPT = -1 }; /* the worker went on with a block that needs what it has just made */

/* A block's life: READY when the last task before it is done, DISPATCH when a worker takes it, START .. END inside its function. */
typedef struct trace_event {
    int32_t task, worker;
    int32_t found; /* worker in whose ready set it was found: another one's is a steal; TRACE_KEPT */
    double ready_s, dispatch_s, start_s, end_s;
} trace_event;

/* A time in which a worker found nothing to do. */
typedef struct trace_wait {
    int32_t worker;
    bool slept; /* or span */
    double begin_s, end_s;
} trace_wait;

typedef struct trace_run {
    const char *device; /* "AMD EPYC", "a2a3" */
    bool is_simulated;
    int level;             /* of detail, 1..3; 0: no run */
    trace_worker *workers; /* [n_workers] */
    trace_event *events;   /* [n_events]: in order of start within a worker, workers ascending. Each block once */
    const char **counters; /* [n_counters] names: "cycles", "instructions" */
    double *counts;        /* [n_events][n_counters] */
    trace_wait *waits;     /* [n_waits]: level 3 */
    int64_t n_workers, n_events, n_counters, n_waits;
    /* What the machine can do at best, of all workers together, as measured or described; 0: not known. */
    double read_bytes_s, ops_i8_s, flops_bf16_s, vector_ops_s;
} trace_run;

typedef struct trace {
    arena memory; /* names */
    trace_graph graph;
    trace_run run;
} trace;

void trace_deinit(trace *t);

/* Forgets the run, not the graph. */
void trace_clear_run(trace *t);

/* ---- from the runtime (capture.c) -------------------------------------------------------------------------------------------- */

/* Fills t, zeroed before, from a sealed graph: everything but the run. DSV4_E_NO_MEMORY, or DSV4_E_GRAPH where it is not sealed. */
DSV4_MUST_CHECK dsv4_status trace_capture_graph(const dsv4_graph *g, trace *t, dsv4_error *err);

/* The same, and the last run of exec, which was created with a trace; work is what that run had to do (dsv4_graph_share).
 * DSV4_E_USAGE where it has not run. */
DSV4_MUST_CHECK dsv4_status trace_capture(const dsv4_exec *exec, trace *t, dsv4_error *err);

/* ---- files (write.c, read.c) --------------------------------------------------------------------------------------------------- */

/* Writes Chrome/Perfetto trace events with a member "dsv4" that holds all of t, so that the same file opens in a viewer and is read
 * by trace_read. Replaces path whole or not at all. */
DSV4_MUST_CHECK dsv4_status trace_write(const trace *t, const char *path, dsv4_error *err);

/* Reads such a file into t, zeroed before; everything in it is checked: ids, ranges, acyclic edges, times in order. One line in err
 * names the file, the member, got, expected. */
DSV4_MUST_CHECK dsv4_status trace_read(const char *path, trace *t, dsv4_error *err);

/* The same from the bytes of such a file; name is what err calls it. */
DSV4_MUST_CHECK dsv4_status trace_read_memory(const char *name, const void *bytes, size_t n_bytes, trace *t, dsv4_error *err);

/* Writes the run as comma-separated values: stage, block, worker, start_us, duration_us, then a column per counter; a line per block,
 * in the order of events. Replaces path whole or not at all. */
DSV4_MUST_CHECK dsv4_status trace_write_csv(const trace *t, const char *path, dsv4_error *err);

/* Writes the graph with every edge's source and its two boxes. */
DSV4_MUST_CHECK dsv4_status trace_write_deps(const trace *t, const char *path, dsv4_error *err);

/* ---- measures ---------------------------------------------------------------------------------------------------------------- */

/* Bytes in the boxes of a task: tracked ones, an update counts in both. */
typedef struct trace_bytes {
    double read, written;
} trace_bytes;
trace_bytes trace_task_bytes(const trace_graph *g, const trace_task *task);

#endif
