/* sim/engine.h - the parts of a simulation: the clock with the blocks that run (engine.c), who takes which block (workers.c,
 * threads.c), and the run around them (run.c). */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "sim/heap.h"
#include "sim/share.h"
#include "sim/sim.h"

enum { SIM_NONE = -1 };

/* Tasks in the order in which they were released, linked by sim_engine.next. */
typedef struct sim_list {
    int32_t first, last;
} sim_list;

typedef struct sim_core {
    int kind;
    int32_t task; /* that it runs, or SIM_NONE */
    sim_cost cost;
    double left;       /* of the block, 1 at its start */
    bool busy;         /* it has a block, or is about to */
    bool looks;        /* workers: it will look for a block soon */
    sim_list released; /* workers: by the block that it has just ended */
} sim_core;

typedef struct sim_engine sim_engine;

/* Who takes which block. False: e->status says why. */
typedef struct sim_policy {
    bool (*begin)(sim_engine *e, sim_list roots);
    bool (*ended)(sim_engine *e, int core, int32_t task); /* the policy releases what waits for it, now or later */
    bool (*due)(sim_engine *e, sim_item event);           /* an event that it has asked for */
} sim_policy;
extern const sim_policy sim_workers, sim_threads;

struct sim_engine {
    const sim_device *d;
    const trace_graph *g;
    const sim_policy *policy;
    sim_bandwidth core_bandwidth, total_bandwidth;
    sim_caches *caches;
    sim_core *cores; /* [n_cores], kinds in the order of the device */
    sim_running *running;
    int n_cores;

    double now;
    int64_t n_asked; /* events so far: orders those of one time */
    sim_heap events;
    bool changed; /* other blocks run than when the rates were found */

    int32_t *waits, *next; /* [n_tasks] tasks before it that are not done; links of lists */
    int32_t *first_of;     /* [n_stages] a stage's first block, or SIM_NONE */
    int32_t *next_of;      /* [n_blocks] the block of the same stage behind it */
    double *ready_s;       /* [n_tasks] when the last task before it that is done was done */
    double *path_s;        /* [n_tasks] longest chain of blocks before it; with it once it is done */
    trace_event *record;   /* [n_blocks] by task */
    int32_t *started;      /* [n_blocks] tasks in order of their start */
    int64_t n_started, n_ended;
    sim_result *result; /* NULL: a run that only warms the caches */

    sim_heap *ready; /* workers: [n_cores] own sets; threads: [2] by kind of stage */
    sim_heap ended;  /* threads: blocks whose end none has handled */
    int n_free;      /* threads */

    dsv4_status status;
    dsv4_error *err;
};

/* Runs the graph once from an empty start; caches stay as the last run left them. */
dsv4_status sim_engine_run(sim_engine *e);

/* ---- for policies; false: e->status says why ------------------------------------------------------------------------------ */

/* Calls due after so long. */
bool sim_engine_ask(sim_engine *e, double after_s, int32_t what, int core, int32_t task);

/* Whether blocks wait for their stage to be submitted, too. */
static inline bool sim_submits(const sim_device *d)
{
    return d->schedule.n_threads > 0 && d->schedule.submit_s > 0;
}

/* Starts a block on a core now. */
bool sim_engine_start(sim_engine *e, int core, int32_t task);

/* Counts down what waits for a task that is done; returns what that made ready, through joins, in the order of rt/exec.c. */
sim_list sim_engine_release(sim_engine *e, int32_t task);

/* The time that the edges behind a task cost. */
double sim_edges_s(const sim_engine *e, int32_t task);

bool sim_engine_no_memory(sim_engine *e);

#endif
