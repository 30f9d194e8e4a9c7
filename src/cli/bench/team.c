#include "cli/bench/team.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "rt/pool.h"

enum { SPINS_BEFORE_YIELD = 1 << 14 };

typedef struct team {
    bench_team_fn *part;
    void *context;
    int n_workers;
    _Atomic int n_there;
    double begin_s; /* written by the worker that came last, before it counts itself */
} team;

/* The last to come starts the clock; the others start when they see that it came. */
static void wait_for_all(team *t)
{
    if (atomic_fetch_add(&t->n_there, 1) + 1 == t->n_workers) {
        t->begin_s = clock_s();
        atomic_fetch_add(&t->n_there, 1);
        return;
    }
    for (int spins = 1; atomic_load(&t->n_there) <= t->n_workers; spins++) {
        if (spins % SPINS_BEFORE_YIELD == 0) {
            sched_yield(); /* threads may share cores */
        }
    }
}

static void run_part(void *context, int worker)
{
    team *t = context;
    wait_for_all(t);
    t->part(t->context, worker, t->n_workers);
}

double bench_team_run(dsv4_pool *pool, bench_team_fn *part, void *context)
{
    team t = {.part = part, .context = context, .n_workers = dsv4_pool_n_threads(pool)};
    rt_pool_run(pool, run_part, &t);
    return clock_s() - t.begin_s;
}
