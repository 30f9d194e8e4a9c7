/* cli/bench/team.h - the workers of a pool doing one thing at the same time, outside of graphs. */
#ifndef CLI_BENCH_TEAM_H
#define CLI_BENCH_TEAM_H

#include "dsv4/graph.h"

/* The part of worker `worker` of n_workers; a worker has the same number, and core, every time. */
typedef void bench_team_fn(void *context, int worker, int n_workers);

/* Runs part on all workers of the pool. Returns the seconds from the moment when all of them were there until the last was done. */
double bench_team_run(dsv4_pool *pool, bench_team_fn *part, void *context);

/* Where the share of a worker begins, of n things in all; that of worker n_workers is the end. */
static inline int64_t bench_team_begin(int64_t n, int worker, int n_workers)
{
    return n * worker / n_workers;
}

#endif
