/* rt/pool.h - the workers: threads that wait cheaply and start fast.
 *
 * WAITING  A worker that finds nothing to do spins for about 0.1 ms, then sleeps on a futex. Whoever makes work visible calls
 *          rt_pool_wake afterwards. No wake is lost: a sleeper announces itself (n_sleeping) before it looks a last time, a waker
 *          publishes before it looks at n_sleeping; both are sequentially consistent, so one of them sees the other.
 * A JOB    is open while `open` holds its number. Workers enter by counting themselves into `inside` and then checking that it is
 *          still open; the caller closes it and waits for inside = 0, so a worker that slept through the job costs nothing. */
#ifndef RT_POOL_H
#define RT_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dsv4/graph.h"

typedef void rt_job_fn(void *context, int worker);
typedef bool rt_until_fn(void *context);

/* Runs job(context, w) on the caller (w = 0) and on the other workers as they arrive; returns when all that entered have left. The
 * job must return on every worker once its work is done. */
void rt_pool_run(dsv4_pool *pool, rt_job_fn *job, void *context);

/* Runs job(context, w) once on each worker w; returns when all have returned. */
void rt_pool_run_all(dsv4_pool *pool, rt_job_fn *job, void *context);

/* Returns soon after until(context) is true; may return earlier. Spins on hint, which is called often and may be false too long,
 * and sleeps only while until is false. Both must read atomics only. True if it slept. */
bool rt_pool_wait(dsv4_pool *pool, rt_until_fn *hint, rt_until_fn *until, void *context);

/* Lets up to n waiting workers look again. Nearly free when none sleeps. */
void rt_pool_wake(dsv4_pool *pool, int64_t n);

#endif
