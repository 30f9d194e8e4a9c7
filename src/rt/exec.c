#include "rt/exec.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "rt/ticks.h"

/* ---- placing ready blocks ------------------------------------------------------------------------------------------------ */

/* The worker whose share of a stage holds the block: contiguous shares, so that a worker meets the same weights at every replay. */
static int home_of(const dsv4_exec *x, const rt_task *t)
{
    return (int)(t->block * x->n_workers / x->g->stages.items[t->stage].n_blocks);
}

/* Ready blocks on their way into the ready sets, gathered while they fall into the same word of the same set. */
typedef struct outbox {
    dsv4_exec *exec;
    int worker;
    rt_mask mask;
    int64_t n_sent;
} outbox;

static void outbox_flush(outbox *o)
{
    if (o->mask.bits != 0) {
        rt_ready_add(&o->exec->workers[o->worker].ready, o->mask.word, o->mask.bits);
        o->mask.bits = 0;
    }
}

static void outbox_send(outbox *o, int worker, int32_t task)
{
    if (worker != o->worker || task >> 6 != o->mask.word) {
        outbox_flush(o);
        o->worker = worker;
        o->mask.word = task >> 6;
    }
    o->mask.bits |= UINT64_C(1) << (task & 63);
    o->n_sent++;
}

/* ---- finishing a task ---------------------------------------------------------------------------------------------------- */

/* Counts down a task; true if it is ready now. The counter is restored at once: nobody else touches it before the next replay. */
static bool count_down(dsv4_exec *x, int32_t task)
{
    int32_t n_before = x->g->tasks[task].n_before;
    if (n_before == 1) {
        return true;
    }
    if (atomic_fetch_sub_explicit(&x->waiting[task].left, 1, memory_order_acq_rel) != 1) {
        return false;
    }
    atomic_store_explicit(&x->waiting[task].left, n_before, memory_order_relaxed);
    return true;
}

/* Releases what waits for `task`, through joins. Returns the most urgent block that needs what this worker has just made, for it to
 * go on with; the others go into ready sets. */
static int32_t release(dsv4_exec *x, int worker, int32_t task, uint64_t now)
{
    const dsv4_graph *g = x->g;
    outbox out = {.exec = x, .worker = worker};
    int32_t keep = RT_NONE, joins = RT_NONE;
    for (;;) {
        for (int64_t i = g->tasks[task].after; i < g->tasks[task].after_end; i++) {
            int32_t next = g->after[i];
            if (!count_down(x, next)) {
                continue;
            }
            if (next >= x->n_runnable) {
                x->next_join[next - x->n_runnable] = joins;
                joins = next;
                continue;
            }
            if (x->trace) {
                x->ready_ticks[next] = now;
            }
            if (g->tasks[next].spread) {
                outbox_send(&out, home_of(x, &g->tasks[next]), next);
            } else if (keep == RT_NONE && x->shuffle == 0) {
                keep = next;
            } else {
                outbox_send(&out, worker, next);
            }
        }
        if (joins == RT_NONE) {
            break;
        }
        task = joins;
        joins = x->next_join[task - x->n_runnable];
    }
    outbox_flush(&out);
    if (out.n_sent > 0) {
        rt_pool_wake(x->pool, out.n_sent);
    }
    return keep;
}

/* ---- working ------------------------------------------------------------------------------------------------------------- */

static int64_t take_random(dsv4_exec *x, rt_worker *w, rt_ready *set)
{
    rng r = {x->shuffle, (uint64_t)(w - x->workers)};
    return rt_ready_take_from(set, (int64_t)rng_below(&r, w->n_draws++, (uint64_t)x->n_runnable));
}

/* A block from the worker's own set, else from the sets of the workers behind it. */
static int32_t find_block(dsv4_exec *x, int worker)
{
    for (int i = 0; i < x->n_workers; i++) {
        rt_ready *set = &x->workers[(worker + i) % x->n_workers].ready;
        int64_t task = x->shuffle == 0 ? rt_ready_take(set) : take_random(x, &x->workers[worker], set);
        if (task != RT_READY_EMPTY) {
            return (int32_t)task;
        }
    }
    return RT_NONE;
}

/* A few loads for each worker; may overlook a block that is being added. */
static bool sees_work(void *context)
{
    dsv4_exec *x = context;
    for (int i = 0; i < x->n_workers; i++) {
        if (rt_ready_first(&x->workers[i].ready) != RT_READY_EMPTY) {
            return true;
        }
    }
    return atomic_load_explicit(&x->remaining, memory_order_acquire) == 0;
}

/* Exact. */
static bool has_work(void *context)
{
    dsv4_exec *x = context;
    if (atomic_load(&x->remaining) == 0) {
        return true;
    }
    for (int i = 0; i < x->n_workers; i++) {
        if (!rt_ready_is_empty(&x->workers[i].ready)) {
            return true;
        }
    }
    return false;
}

/* Tells the others how many blocks are done; true if that was the last of them. */
static bool report_done(dsv4_exec *x, rt_worker *w)
{
    int64_t n = w->n_done;
    w->n_done = 0;
    if (n == 0) {
        return atomic_load(&x->remaining) == 0;
    }
    if (atomic_fetch_sub(&x->remaining, n) != n) {
        return false;
    }
    rt_pool_wake(x->pool, x->n_workers);
    return true;
}

/* Now, but not before `earlier`: reading the counter is not ordered with the memory accesses around it. */
static uint64_t ticks_since(uint64_t earlier)
{
    uint64_t now = rt_ticks();
    return now > earlier ? now : earlier;
}

static int32_t run_block(dsv4_exec *x, int worker, int32_t task)
{
    const rt_task *t = &x->g->tasks[task];
    rt_worker *w = &x->workers[worker];
    w->n_done++;
    if (!x->trace) {
        t->run(t->arg, t->block, w->scratch);
        return release(x, worker, task, 0);
    }
    rt_record *r = &w->records[w->n_records++];
    r->task = task;
    r->ready = x->ready_ticks[task];
    r->dispatch = ticks_since(r->ready);
    r->start = ticks_since(r->dispatch);
    t->run(t->arg, t->block, w->scratch);
    r->end = ticks_since(r->start);
    return release(x, worker, task, r->end);
}

static void work(void *context, int worker)
{
    dsv4_exec *x = context;
    int32_t next = RT_NONE;
    for (;;) {
        int32_t task = next != RT_NONE ? next : find_block(x, worker);
        if (task != RT_NONE) {
            next = run_block(x, worker, task);
        } else if (report_done(x, &x->workers[worker])) {
            return;
        } else {
            rt_pool_wait(x->pool, sees_work, has_work, x);
        }
    }
}

dsv4_status dsv4_exec_run(dsv4_exec *x, uint64_t shuffle, dsv4_error *err)
{
    if (x->n_runnable == 0) {
        return DSV4_OK;
    }
    x->shuffle = shuffle;
    atomic_store(&x->remaining, x->n_runnable);
    x->run_ticks = rt_ticks();
    for (int64_t i = 0; x->trace && i < x->g->n_roots; i++) {
        x->ready_ticks[x->g->roots[i]] = x->run_ticks;
    }
    for (int i = 0; i < x->n_workers; i++) {
        rt_worker *w = &x->workers[i];
        w->n_records = 0;
        w->n_draws = 0;
        for (int64_t m = 0; m < w->roots.n; m++) {
            rt_ready_add(&w->ready, w->roots.items[m].word, w->roots.items[m].bits);
        }
    }
    rt_pool_run(x->pool, work, x);
    return rt_graph_find_refusal(x->g, err);
}

/* ---- set-up -------------------------------------------------------------------------------------------------------------- */

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
    w->scratch = memory_array(x->g->scratch_bytes, 1);
    if (w->scratch == NULL || !rt_ready_init(&w->ready, x->n_runnable)) {
        return false;
    }
    if (x->trace) {
        w->records = memory_array((size_t)x->n_runnable + 1, sizeof *w->records);
    }
    return !x->trace || w->records != NULL;
}

/* Backs the worker's own memory before the first replay, near its core. */
static void touch_own(void *context, int worker)
{
    dsv4_exec *x = context;
    rt_worker *w = &x->workers[worker];
    memset(w->scratch, 0, x->g->scratch_bytes);
    if (x->trace) {
        memset(w->records, 0, ((size_t)x->n_runnable + 1) * sizeof *w->records);
    }
}

static bool init_exec(dsv4_exec *x)
{
    const dsv4_graph *g = x->g;
    x->waiting = memory_array((size_t)(g->n_tasks + 1), sizeof *x->waiting);
    x->next_join = memory_array((size_t)(g->n_tasks - x->n_runnable + 1), sizeof *x->next_join);
    x->workers = memory_zeroed_array((size_t)x->n_workers, sizeof *x->workers);
    if (x->trace) {
        x->ready_ticks = memory_zeroed_array((size_t)g->n_tasks + 1, sizeof *x->ready_ticks);
    }
    if (x->waiting == NULL || x->next_join == NULL || x->workers == NULL || (x->trace && x->ready_ticks == NULL)) {
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
        ok = add_root(&x->workers[home_of(x, &g->tasks[g->roots[i]])], g->roots[i]);
    }
    return ok;
}

dsv4_status dsv4_exec_create(const dsv4_graph *g, dsv4_pool *pool, bool trace, dsv4_exec **out, dsv4_error *err)
{
    dsv4_status status = rt_graph_check_sealed(g, err);
    if (status != DSV4_OK) {
        return status;
    }
    dsv4_exec *x = aligned_alloc(64, (sizeof *x + 63) / 64 * 64);
    if (x == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to replay it", g->name);
    }
    *x = (dsv4_exec){.g = g, .pool = pool, .n_workers = dsv4_pool_n_threads(pool), .trace = trace, .ticks_clock_s = clock_s()};
    x->ticks_origin = rt_ticks();
    while (x->n_runnable < g->n_tasks && g->tasks[x->n_runnable].run != NULL) {
        x->n_runnable++;
    }
    if (!init_exec(x)) {
        dsv4_exec_destroy(x);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to replay %lld blocks", g->name, (long long)g->n_blocks);
    }
    rt_pool_run_all(pool, touch_own, x);
    *out = x;
    return DSV4_OK;
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
        vec_free(&x->workers[i].roots);
    }
    free(x->workers);
    free(x->waiting);
    free(x->next_join);
    free(x->ready_ticks);
    free(x);
}
