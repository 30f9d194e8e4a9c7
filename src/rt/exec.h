/* rt/exec.h - one graph on one pool: everything a replay needs, allocated once.
 *
 * A block's life: it is READY when the last task before it is done; some worker takes it (DISPATCH), calls it (START .. END), and
 * counts down the tasks behind it. The four times are what the trace records, and at its higher levels what the events of a group
 * have counted between START and END, and the times in which a worker found no block. */
#ifndef RT_EXEC_H
#define RT_EXEC_H

#include <stdatomic.h>

#include "rt/graph.h"
#include "rt/pmu.h"
#include "rt/pool.h"
#include "rt/ready.h"

enum { RT_LEVEL_TIMES = 1, RT_LEVEL_COUNTERS = 2, RT_LEVEL_WAITS = 3 };

enum { RT_KEPT = -1 }; /* the worker went on with a block that needs what it has just made */

typedef struct rt_record {
    int32_t task;
    int32_t found;                        /* worker in whose ready set it was, or RT_KEPT */
    uint64_t ready, dispatch, start, end; /* ticks */
} rt_record;

/* Between two blocks of a worker, or behind its last. */
typedef struct rt_wait {
    uint64_t begin, end; /* ticks */
    int64_t n_records;   /* blocks of the worker before it */
    bool slept;          /* at some time of it */
} rt_wait;

/* Some ready blocks of one word of a ready set. */
typedef struct rt_mask {
    int64_t word;
    uint64_t bits;
} rt_mask;

typedef struct rt_counter {
    _Atomic int32_t left;
} rt_counter;

typedef struct rt_worker {
    _Alignas(64) rt_ready ready;
    void *scratch;
    VEC(rt_mask) roots; /* where its share of the graph's roots lies in its ready set */
    int64_t n_done;     /* blocks run, not yet subtracted from exec.remaining */
    uint64_t n_draws;   /* random orders: draws so far */
    rt_record *records; /* [n_blocks] from level 1 on */
    int64_t n_records;
    rt_pmu_meter meter;
    int meter_failure; /* errno */
    double *counts;    /* [n_blocks][n_counters] from level 2 on; NAN where the counters were not available */
    rt_wait *waits;    /* [n_blocks + 1] at level 3 */
    int64_t n_waits;
} rt_worker;

struct dsv4_exec {
    const dsv4_graph *g;
    dsv4_pool *pool;
    int n_workers;
    int64_t n_runnable; /* tasks that run something: sealed numbers below it */
    rt_worker *workers;
    rt_counter *waiting; /* [n_tasks] tasks before it that are not done; restored by the last one, ready for the next replay */
    int32_t *next_join;  /* [n_tasks - n_runnable] list links of joins being released */
    uint64_t shuffle;
    int level;             /* of the trace; 0: none */
    rt_pmu_choice pmu;     /* from level 2 on */
    uint64_t *ready_ticks; /* [n_tasks] when tracing */
    double ticks_clock_s;  /* a pair of readings at creation, to convert ticks */
    uint64_t ticks_origin, run_ticks;
    _Alignas(64) _Atomic int64_t remaining; /* blocks not yet done, as far as workers have told */
};

/* The worker whose share of a stage holds the block: contiguous shares, so that a worker meets the same weights at every replay. */
static inline int rt_exec_home(const dsv4_exec *x, const rt_task *t)
{
    return (int)(t->block * x->n_workers / x->g->stages.items[t->stage].n_blocks);
}

/* dsv4_exec_create with counters of the caller's choice, which matter from level 2 on; NULL: the group software. DSV4_E_UNSUPPORTED
 * where a worker cannot open them. */
DSV4_MUST_CHECK dsv4_status rt_exec_create(const dsv4_graph *g, dsv4_pool *pool, int level, const rt_pmu_choice *pmu,
                                           dsv4_exec **out, dsv4_error *err);

/* Bytes that sealing the graph and an exec of level 0 keep, besides the memory that builders took. Before the seal the numbers of
 * edges and joins are taken from those of other graphs. */
size_t rt_exec_bytes(const dsv4_graph *g, int n_workers);

/* Blocks of the last run that lack a count. */
int64_t rt_exec_n_uncounted(const dsv4_exec *exec);

/* Nanoseconds per tick, from the time that passed since the exec was created (waits until that is 10 ms). */
double rt_exec_tick_ns(const dsv4_exec *exec);

#endif
