/* rt/exec_create.c - everything that a replay needs, made and released. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rt/exec.h"
#include "rt/ticks.h"

static bool add_root(rt_worker *w, int32_t task)
{
    uint64_t bit = UINT64_C(1) << (task & 63);
    if (w->roots.n > 0 && w->roots.items[w->roots.n - 1].word == task >> 6) {
        w->roots.items[w->roots.n - 1].bits |= bit;
        return true;
    }
    return vec_push(&w->roots, ((rt_mask){task >> 6, bit}));
}

static bool init_worker(dsv4_exec *x, rt_worker *w)
{
    size_t n = (size_t)x->n_runnable + 1;
    w->scratch = memory_array(x->g->scratch_bytes, 1);
    bool ok = w->scratch != NULL && rt_ready_init(&w->ready, x->n_runnable);
    if (x->level >= RT_LEVEL_TIMES) {
        w->records = memory_array(n, sizeof *w->records);
        ok = ok && w->records != NULL;
    }
    if (x->level >= RT_LEVEL_COUNTERS) {
        w->counts = memory_array(n * (size_t)x->pmu.n_events, sizeof *w->counts);
        ok = ok && w->counts != NULL;
    }
    if (x->level >= RT_LEVEL_WAITS) {
        w->waits = memory_array(n, sizeof *w->waits);
        ok = ok && w->waits != NULL;
    }
    return ok;
}

static void touch(void *memory, size_t n_bytes)
{
    if (memory != NULL) {
        memset(memory, 0, n_bytes);
    }
}

/* Backs the worker's own memory before the first replay, near its core, and opens its counters. */
static void prepare_worker(void *context, int worker)
{
    dsv4_exec *x = context;
    rt_worker *w = &x->workers[worker];
    size_t n = (size_t)x->n_runnable + 1;
    touch(w->scratch, x->g->scratch_bytes);
    touch(w->records, n * sizeof *w->records);
    touch(w->counts, n * (size_t)x->pmu.n_events * sizeof *w->counts);
    touch(w->waits, n * sizeof *w->waits);
    if (x->level >= RT_LEVEL_COUNTERS) {
        w->meter_failure = rt_pmu_open(&w->meter, &x->pmu);
    }
}

/* The first worker that could not open its counters. */
static dsv4_status check_meters(const dsv4_exec *x, dsv4_error *err)
{
    for (int i = 0; i < x->n_workers; i++) {
        char reason[160];
        if (x->workers[i].meter_failure != 0) {
            return dsv4_fail(err, DSV4_E_UNSUPPORTED, "counters %s on worker %d of %d: %s", x->pmu.group->name, i, x->n_workers,
                             rt_pmu_reason_text(x->workers[i].meter_failure, reason, sizeof reason));
        }
    }
    return DSV4_OK;
}

static bool init_exec(dsv4_exec *x)
{
    const dsv4_graph *g = x->g;
    x->waiting = memory_array((size_t)(g->n_tasks + 1), sizeof *x->waiting);
    x->next_join = memory_array((size_t)(g->n_tasks - x->n_runnable + 1), sizeof *x->next_join);
    x->workers = memory_zeroed_array((size_t)x->n_workers, sizeof *x->workers);
    if (x->level > 0) {
        x->ready_ticks = memory_zeroed_array((size_t)g->n_tasks + 1, sizeof *x->ready_ticks);
    }
    if (x->waiting == NULL || x->next_join == NULL || x->workers == NULL || (x->level > 0 && x->ready_ticks == NULL)) {
        return false;
    }
    for (int64_t t = 0; t < g->n_tasks; t++) {
        atomic_init(&x->waiting[t].left, g->tasks[t].n_before);
    }
    bool ok = true;
    for (int i = 0; i < x->n_workers; i++) {
        ok = ok && init_worker(x, &x->workers[i]);
    }
    for (int64_t i = 0; ok && i < g->n_roots; i++) {
        ok = add_root(&x->workers[rt_exec_home(x, &g->tasks[g->roots[i]])], g->roots[i]);
    }
    return ok;
}

size_t rt_exec_bytes(const dsv4_graph *g, int n_workers)
{
    const double blocks = (double)g->n_blocks, stages = (double)(g->stages.n + 1);
    const double n_tasks = g->sealed ? (double)g->n_tasks : 1.1 * blocks;
    const double n_edges =
        g->sealed ? (double)g->n_edges : 3 * cbrt(blocks / stages) * blocks; /* as in steps of 1 to 1024 tokens */
    const double of_task = sizeof *g->tasks + sizeof(rt_counter), of_edge = sizeof *g->after;
    const double of_worker = (double)g->scratch_bytes + n_tasks / CHAR_BIT + sizeof(rt_worker);
    return (size_t)(n_tasks * of_task + n_edges * of_edge + n_workers * of_worker) +
           (size_t)g->stages.capacity * sizeof *g->stages.items + (size_t)g->views.capacity * sizeof *g->views.items +
           (size_t)g->reusable.capacity * sizeof *g->reusable.items;
}

dsv4_status rt_exec_create(const dsv4_graph *g, dsv4_pool *pool, int level, const rt_pmu_choice *pmu, dsv4_exec **out,
                           dsv4_error *err)
{
    dsv4_status status = rt_graph_check_sealed(g, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (level < 0 || level > RT_LEVEL_WAITS) {
        return dsv4_fail(err, DSV4_E_VALUE, "graph %s: trace level %d, expected 0 to %d", g->name, level, RT_LEVEL_WAITS);
    }
    dsv4_exec *x = aligned_alloc(64, (sizeof *x + 63) / 64 * 64);
    if (x == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to replay it", g->name);
    }
    *x = (dsv4_exec){.g = g, .pool = pool, .n_workers = dsv4_pool_n_threads(pool), .level = level, .ticks_clock_s = clock_s()};
    x->ticks_origin = rt_ticks();
    if (level >= RT_LEVEL_COUNTERS) {
        x->pmu = pmu != NULL ? *pmu : rt_pmu_look(rt_pmu_find_group("software"));
    }
    while (x->n_runnable < g->n_tasks && g->tasks[x->n_runnable].run != NULL) {
        x->n_runnable++;
    }
    if (!init_exec(x)) {
        dsv4_exec_destroy(x);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to replay %lld blocks", g->name, (long long)g->n_blocks);
    }
    rt_pool_run_all(pool, prepare_worker, x);
    status = check_meters(x, err);
    if (status != DSV4_OK) {
        dsv4_exec_destroy(x);
        return status;
    }
    *out = x;
    return DSV4_OK;
}

dsv4_status dsv4_exec_create(const dsv4_graph *g, dsv4_pool *pool, int level, dsv4_exec **out, dsv4_error *err)
{
    return rt_exec_create(g, pool, level, NULL, out, err);
}

void dsv4_exec_destroy(dsv4_exec *x)
{
    if (x == NULL) {
        return;
    }
    for (int i = 0; x->workers != NULL && i < x->n_workers; i++) {
        rt_ready_deinit(&x->workers[i].ready);
        free(x->workers[i].scratch);
        free(x->workers[i].records);
        free(x->workers[i].counts);
        free(x->workers[i].waits);
        rt_pmu_close(&x->workers[i].meter);
        vec_free(&x->workers[i].roots);
    }
    free(x->workers);
    free(x->waiting);
    free(x->next_join);
    free(x->ready_ticks);
    free(x);
}
