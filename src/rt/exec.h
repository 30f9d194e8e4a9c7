/* rt/exec.h - one graph on one pool: everything a replay needs, allocated once.
 *
 * A block's life: it is READY when the last task before it is done; some worker takes it (DISPATCH), calls it (START .. END), and
 * counts down the tasks behind it. The four times are what the trace records. */
#ifndef RT_EXEC_H
#define RT_EXEC_H

#include <stdatomic.h>

#include "rt/graph.h"
#include "rt/pool.h"
#include "rt/ready.h"

typedef struct rt_record {
    int32_t task;
    uint64_t ready, dispatch, start, end; /* ticks */
} rt_record;

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
    rt_record *records; /* [n_blocks] when tracing */
    int64_t n_records;
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
    bool trace;
    uint64_t *ready_ticks; /* [n_tasks] when tracing */
    double ticks_clock_s;  /* a pair of readings at creation, to convert ticks */
    uint64_t ticks_origin, run_ticks;
    _Alignas(64) _Atomic int64_t remaining; /* blocks not yet done, as far as workers have told */
};

/* Nanoseconds per tick, from the time that passed since the exec was created (waits until that is 10 ms). */
double rt_exec_tick_ns(const dsv4_exec *exec);

#endif
