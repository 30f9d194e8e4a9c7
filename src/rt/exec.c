#include "rt/exec.h"

#include "base/rng.h"
#include "rt/ticks.h"

/* ---- placing ready blocks ------------------------------------------------------------------------------------------------ */

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
            if (x->level > 0) {
                x->ready_ticks[next] = now;
            }
            if (g->tasks[next].spread) {
                outbox_send(&out, rt_exec_home(x, &g->tasks[next]), next);
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

/* A block to run, and where it was. */
typedef struct find {
    int32_t task; /* or RT_NONE */
    int32_t found;
} find;

/* A block from the worker's own set, else from the sets of the workers behind it. */
static find find_block(dsv4_exec *x, int worker)
{
    for (int i = 0; i < x->n_workers; i++) {
        int from = (worker + i) % x->n_workers;
        rt_ready *set = &x->workers[from].ready;
        int64_t task = x->shuffle == 0 ? rt_ready_take(set) : take_random(x, &x->workers[worker], set);
        if (task != RT_READY_EMPTY) {
            return (find){(int32_t)task, from};
        }
    }
    return (find){RT_NONE, RT_KEPT};
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

/* Runs a block between two readings of the worker's counters. */
static void count_block(const dsv4_exec *x, rt_worker *w, const rt_task *t, rt_record *r)
{
    rt_pmu_reading begin = {0}, end = {0};
    double *counts = w->counts + (w->n_records - 1) * x->pmu.n_events;
    rt_pmu_read(&w->meter, &begin);
    r->start = ticks_since(r->dispatch);
    t->run(t->arg, t->block, w->scratch);
    r->end = ticks_since(r->start);
    rt_pmu_read(&w->meter, &end);
    for (int i = 0; i < x->pmu.n_events; i++) {
        counts[i] = rt_pmu_count(&begin, &end, i);
    }
}

static int32_t run_block(dsv4_exec *x, int worker, find next)
{
    const rt_task *t = &x->g->tasks[next.task];
    rt_worker *w = &x->workers[worker];
    w->n_done++;
    if (x->level == 0) {
        t->run(t->arg, t->block, w->scratch);
        return release(x, worker, next.task, 0);
    }
    rt_record *r = &w->records[w->n_records++];
    r->task = next.task;
    r->found = next.found;
    r->ready = x->ready_ticks[next.task];
    r->dispatch = ticks_since(r->ready);
    if (x->level >= RT_LEVEL_COUNTERS && x->pmu.n_events > 0) {
        count_block(x, w, t, r);
    } else {
        r->start = ticks_since(r->dispatch);
        t->run(t->arg, t->block, w->scratch);
        r->end = ticks_since(r->start);
    }
    return release(x, worker, next.task, r->end);
}

/* Waits for work, and records that: as one wait until the worker's next block. */
static void wait_for_work(dsv4_exec *x, rt_worker *w)
{
    if (x->level < RT_LEVEL_WAITS) {
        rt_pool_wait(x->pool, sees_work, has_work, x);
        return;
    }
    rt_wait *wait = w->n_waits > 0 ? &w->waits[w->n_waits - 1] : NULL;
    if (wait == NULL || wait->n_records != w->n_records) {
        uint64_t before = w->n_records > 0 ? w->records[w->n_records - 1].end : x->run_ticks;
        wait = &w->waits[w->n_waits++];
        *wait = (rt_wait){.begin = ticks_since(before), .n_records = w->n_records};
    }
    wait->slept |= rt_pool_wait(x->pool, sees_work, has_work, x);
    wait->end = ticks_since(wait->begin);
}

static void work(void *context, int worker)
{
    dsv4_exec *x = context;
    rt_worker *w = &x->workers[worker];
    find next = {RT_NONE, RT_KEPT};
    for (;;) {
        if (next.task == RT_NONE) {
            next = find_block(x, worker);
        }
        if (next.task != RT_NONE) {
            next = (find){run_block(x, worker, next), RT_KEPT};
        } else if (report_done(x, w)) {
            return;
        } else {
            wait_for_work(x, w);
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
    for (int64_t i = 0; x->level > 0 && i < x->g->n_roots; i++) {
        x->ready_ticks[x->g->roots[i]] = x->run_ticks;
    }
    for (int i = 0; i < x->n_workers; i++) {
        rt_worker *w = &x->workers[i];
        w->n_records = 0;
        w->n_waits = 0;
        w->n_draws = 0;
        for (int64_t m = 0; m < w->roots.n; m++) {
            rt_ready_add(&w->ready, w->roots.items[m].word, w->roots.items[m].bits);
        }
    }
    rt_pool_run(x->pool, work, x);
    return rt_graph_find_refusal(x->g, err);
}
