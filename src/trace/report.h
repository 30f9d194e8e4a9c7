/* trace/report.h - what a run shows: where its workers' time went, what its length came from, how far it is from its bounds.
 *
 *   report_graph.c     tasks in topological order, and which event ran each
 *   report_blame.c     why each block started no earlier, and why each worker waited for it
 *   report_path.c      the longest path of the graph, and the path as executed
 *   report_stages.c    statistics of stages and workers
 *   report_parallel.c  how much ran at once
 *   report_outside.c, report_bounds.c  the least time that graph and machine allow
 *
 * All of it is near-linear in blocks and edges and follows edges through joins. Of a run, ids are taken for granted, and that every
 * event is of a block; times may be anything finite. The MAKESPAN reaches from the first time at which a block was ready to the last end. */
#ifndef TRACE_REPORT_H
#define TRACE_REPORT_H

#include "trace/trace.h"

/* ---- blame ------------------------------------------------------------------------------------------------------------------ */

typedef enum trace_reason {
    TRACE_NO_WORK, /* too few blocks were ready that the worker could run; on a path: what the block waited for was not yet released */
    TRACE_NO_CORE, /* the block was ready, but too few workers that could run it were not at work or about to be */
    TRACE_PICKUP,  /* block and worker were there, but it had not yet started */
    TRACE_STEAL,   /* the same, of a block found in another worker's ready set */
    TRACE_N_REASONS
} trace_reason;
const char *trace_reason_name(trace_reason reason);

/* Of one event. A worker is free while it waits for a block that is not ready yet; from then on it is about to run that one. */
typedef struct trace_blame {
    double idle_s[TRACE_N_REASONS];  /* of the worker, since its block before ended */
    double delay_s[TRACE_N_REASONS]; /* of the block, from ready to start */
    trace_reason reason;             /* the largest part of idle_s */
    double gap_s;                    /* the sum of idle_s */
    int32_t made_ready;              /* event of the block whose end made it ready; TRACE_NONE: it was at first */
    int32_t explained; /* event whose end is what it waited for: that one, or one that a core came free by; TRACE_NONE */
    double since_s;    /* time since which a core was free for it without a break */
} trace_blame;

/* Fills out[n_events]. DSV4_E_NO_MEMORY, or DSV4_E_GRAPH where edges go in a circle. tails, unless NULL, [n_workers]: idle time of
 * each worker behind its last block. */
typedef struct trace_tail {
    double idle_s[TRACE_N_REASONS];
} trace_tail;
DSV4_MUST_CHECK dsv4_status trace_blame_find(const trace *t, trace_blame *out, trace_tail *tails, dsv4_error *err);

/* ---- the report -------------------------------------------------------------------------------------------------------------- */

typedef struct trace_worker_stats {
    int64_t n_blocks;
    double busy_s, idle_s[TRACE_N_REASONS]; /* together the makespan */
} trace_worker_stats;

/* Workers whose names differ in their numbers alone: "cube 0", "cube 1". Sums over them. */
typedef struct trace_kind_stats {
    const char *name; /* of the first */
    int name_length;  /* without its number */
    int64_t n_workers;
    trace_worker_stats sum;
} trace_kind_stats;

/* All stages of one name. */
typedef struct trace_stage_stats {
    const char *name;
    int64_t n_blocks;
    double total_s, p95_s;
    double delay_s[TRACE_N_REASONS];
    trace_bytes bytes;
    double flops_bf16, ops_i8, vector_ops;
    double longest_path_s, executed_path_s; /* its blocks on these paths */
    double outside_bytes;                   /* of inputs and outputs of the graph that no stage before it touches */
    double bound_s;                         /* the longer of arithmetic and transfer at best; 0: not known */
} trace_stage_stats;

typedef struct trace_step {
    int32_t event;
    bool by_core; /* it waited for a core, not for the block before it on the path */
    double gap_s[TRACE_N_REASONS];
} trace_step;

/* blocks_s and all gaps together: the makespan, but for the longest path, which has no gaps. */
typedef struct trace_path {
    trace_step *steps; /* [n_steps], first to last */
    int64_t n_steps, n_by_core;
    double blocks_s, gap_s[TRACE_N_REASONS];
    double for_core_s; /* of blocks_s: blocks that the next step did not need but for their core */
} trace_path;

typedef struct trace_parallel {
    double *running, *ready; /* [n_buckets]: mean numbers of running blocks, and of ready ones that have not started */
    int64_t n_buckets;
    double *share; /* [n_workers + 1]: of the makespan with so many running */
    double mean;   /* of running blocks */
} trace_parallel;

typedef struct trace_report {
    double begin_s, makespan_s, busy_s;
    trace_worker_stats *workers; /* [n_workers of the run] */
    trace_kind_stats *kinds;     /* [n_kinds] */
    trace_stage_stats *stages;   /* [n_stages], in program order */
    int64_t n_kinds, n_stages;
    trace_path longest;  /* of the graph with unlimited cores, durations as measured */
    trace_path executed; /* from the end back, to what each block waited for: a block that it needs, or one that held its core */
    trace_path needs;    /* likewise, but to the block that made it ready in any case */
    trace_parallel parallel;
    double cores_bound_s; /* busy time over workers, for each kind of work over those that run it */
    /* Sums over stages; 0: not known. The run may take less than the latter two where caches held data of a run before. */
    double arithmetic_bound_s; /* work as declared */
    double transfer_bound_s;   /* outside_bytes, from memory */
    double machine_bound_s;    /* of the stages' bound_s */
} trace_report;

/* Fills out, zeroed before, from a trace with a run; trace_report_deinit always. The report borrows names from t. */
DSV4_MUST_CHECK dsv4_status trace_report_make(const trace *t, int64_t n_buckets, trace_report *out, dsv4_error *err);
void trace_report_deinit(trace_report *r);

#endif
