/* cli/bench/openmp.c - the OpenMP peers of `dsv4 bench rt`: tasks and loops as a user of OpenMP 4.5 writes them. */
#include "cli/bench/work.h"

#ifdef _OPENMP
#include <omp.h>

dsv4_status bench_peers_begin(const machine *m, int n_threads, bool pin, dsv4_error *err)
{
    int n_given = 0;
    omp_set_dynamic(0);
#pragma omp parallel num_threads(n_threads) reduction(+ : n_given)
    {
        n_given++;
        if (pin) {
            machine_pin(m, omp_get_thread_num());
        }
    }
    if (n_given != n_threads) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "OpenMP: gave %d of %d threads; raise OMP_THREAD_LIMIT", n_given, n_threads);
    }
    return DSV4_OK;
}

void bench_peers_end(void)
{
    omp_pause_resource_all(omp_pause_soft);
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------- */

static void task_chain(const bench_stage *s, int64_t i)
{
#pragma omp task depend(in : s->before[i]) depend(out : s->mine[i])
    bench_block(s, i, NULL);
}

static void task_neighbours(const bench_stage *s, int64_t i)
{
    int64_t left = i > 0 ? i - 1 : i, right = i + 1 < s->n_blocks ? i + 1 : i;
#pragma omp task depend(in : s->before[left], s->before[i], s->before[right]) depend(out : s->mine[i])
    bench_block(s, i, NULL);
}

static void task_free(const bench_stage *s, int64_t i)
{
#pragma omp task
    bench_block(s, i, NULL);
}

/* All on all with two edges per block: every block of a stage reads the same cell as a token, and an empty task behind them updates
 * it and hands on the next. */
static void task_all(const bench_stage *s, int64_t i)
{
#pragma omp task depend(in : s->before[0])
    bench_block(s, i, NULL);
    if (i + 1 == s->n_blocks) {
#pragma omp task depend(inout : s->before[0]) depend(out : s->mine[0])
        ;
    }
}

/* The master creates: libgomp 12 does not free the dependence table of any other creator. */
static void run_tasks(const bench_work *w, int n_threads)
{
    static void (*const create[])(const bench_stage *, int64_t) = {
        [BENCH_CHAIN] = task_chain, [BENCH_ALL] = task_all, [BENCH_NEIGHBOURS] = task_neighbours, [BENCH_FREE] = task_free};
#pragma omp parallel num_threads(n_threads)
#pragma omp master
    for (int64_t s = 0; s < w->spec.n_stages; s++) {
        for (int64_t i = 0; i < w->spec.n_blocks; i++) {
            create[w->spec.pattern](&w->stages[s], i);
        }
    }
}

/* ---- loops ------------------------------------------------------------------------------------------------------------- */

static void run_for_static(const bench_work *w, int n_threads)
{
#pragma omp parallel num_threads(n_threads)
    for (int64_t s = 0; s < w->spec.n_stages; s++) {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < w->spec.n_blocks; i++) {
            bench_block(&w->stages[s], i, NULL);
        }
    }
}

static void run_for_dynamic(const bench_work *w, int n_threads)
{
#pragma omp parallel num_threads(n_threads)
    for (int64_t s = 0; s < w->spec.n_stages; s++) {
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < w->spec.n_blocks; i++) {
            bench_block(&w->stages[s], i, NULL);
        }
    }
}

#define PEER_RUN(run) run

#else

#define PEER_RUN(run) NULL

dsv4_status bench_peers_begin(const machine *m, int n_threads, bool pin, dsv4_error *err)
{
    (void)m, (void)n_threads, (void)pin;
    return dsv4_fail(err, DSV4_E_UNSUPPORTED, "OpenMP: the program was built without it");
}

void bench_peers_end(void)
{
}

#endif

const bench_peer bench_peers[BENCH_N_PEERS] = {
    {"OpenMP tasks", PEER_RUN(run_tasks)},
    {"OpenMP static", PEER_RUN(run_for_static)},
    {"OpenMP dynamic", PEER_RUN(run_for_dynamic)},
};
