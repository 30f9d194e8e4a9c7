#include "rt/pool.h"

#include <hwloc.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt/ticks.h"

enum { MAX_THREADS = 1024 };

enum { SPIN_ROUNDS = 4000 }; /* about 0.1 ms: longer than the gaps between stages and between replays */

typedef struct thread_start {
    dsv4_pool *pool;
    int worker;
} thread_start;

struct dsv4_pool {
    int n_threads, n_started; /* n_started threads besides the caller */
    int spin_rounds;          /* 0 when threads share cores: spinning would steal from those that work */
    pthread_t *threads;
    thread_start *starts;
    hwloc_topology_t topology; /* of the cores that the caller may use */
    hwloc_cpuset_t allowed;
    bool pins_caller;
    rt_job_fn *job;
    void *context;
    uint32_t n_jobs;
    _Alignas(64) _Atomic uint32_t open; /* number of the job that may be entered, 0 for none */
    _Atomic bool stop;
    _Alignas(64) _Atomic int inside;
    _Alignas(64) _Atomic uint32_t signal; /* the futex */
    _Atomic int n_sleeping;
};

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

bool rt_pool_wait(dsv4_pool *pool, rt_until_fn *hint, rt_until_fn *until, void *context)
{
    for (int i = 0; i < pool->spin_rounds; i++) {
        if (hint(context)) {
            return false;
        }
        rt_pause();
    }
    uint32_t seen = atomic_load(&pool->signal);
    atomic_fetch_add(&pool->n_sleeping, 1);
    bool sleeps = !until(context);
    if (sleeps) {
        futex_wait(&pool->signal, seen);
    }
    atomic_fetch_sub(&pool->n_sleeping, 1);
    return sleeps;
}

void rt_pool_wake(dsv4_pool *pool, int64_t n)
{
    if (atomic_load(&pool->n_sleeping) > 0) {
        atomic_fetch_add(&pool->signal, 1);
        futex_wake(&pool->signal, n < INT_MAX ? (int)n : INT_MAX);
    }
}

/* ---- jobs -------------------------------------------------------------------------------------------------------------- */

typedef struct next_job {
    dsv4_pool *pool;
    uint32_t last; /* the newest one this worker has entered */
} next_job;

static bool has_next_job(void *context)
{
    next_job *n = context;
    uint32_t open = atomic_load(&n->pool->open);
    return (open != 0 && open != n->last) || atomic_load(&n->pool->stop);
}

static void *worker_main(void *start_context)
{
    thread_start *start = start_context;
    dsv4_pool *pool = start->pool;
    next_job next = {pool, 0};
    while (!atomic_load(&pool->stop)) {
        if (!has_next_job(&next)) {
            rt_pool_wait(pool, has_next_job, has_next_job, &next);
            continue;
        }
        atomic_fetch_add(&pool->inside, 1);
        uint32_t open = atomic_load(&pool->open);
        if (open != 0) {
            next.last = open;
            pool->job(pool->context, start->worker);
        }
        atomic_fetch_sub(&pool->inside, 1);
    }
    return NULL;
}

void rt_pool_run(dsv4_pool *pool, rt_job_fn *job, void *context)
{
    pool->job = job;
    pool->context = context;
    pool->n_jobs += pool->n_jobs == UINT32_MAX ? 2 : 1; /* never 0 */
    atomic_store(&pool->open, pool->n_jobs);
    rt_pool_wake(pool, pool->n_threads);
    job(context, 0);
    atomic_store(&pool->open, 0);
    while (atomic_load(&pool->inside) > 0) {
        if (pool->spin_rounds == 0) {
            sched_yield();
        }
        rt_pause();
    }
}

/* A job that stays open until every worker has done its part. */
typedef struct parts {
    dsv4_pool *pool;
    rt_job_fn *job;
    void *context;
    _Atomic int left;
} parts;

static bool all_parts_done(void *context)
{
    parts *p = context;
    return atomic_load(&p->left) == 0;
}

static void run_part(void *context, int worker)
{
    parts *p = context;
    p->job(p->context, worker);
    if (atomic_fetch_sub(&p->left, 1) == 1) {
        rt_pool_wake(p->pool, p->pool->n_threads);
    }
    while (worker == 0 && !all_parts_done(p)) {
        rt_pool_wait(p->pool, all_parts_done, all_parts_done, p);
    }
}

void rt_pool_run_all(dsv4_pool *pool, rt_job_fn *job, void *context)
{
    parts p = {.pool = pool, .job = job, .context = context, .left = pool->n_threads};
    rt_pool_run(pool, run_part, &p);
}

/* ---- threads and cores --------------------------------------------------------------------------------------------------- */

/* The affinity of a thread as it was before pools pinned it; the last of them gives it back. */
static _Thread_local struct {
    hwloc_cpuset_t original;
    int n_pools;
} caller;

static int count_cores(hwloc_topology_t topology)
{
    int n = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    return n > 0 ? n : 1;
}

/* Reads the topology of the cores that the calling thread may use. On false the caller still destroys both. */
static bool load_topology(hwloc_topology_t *topology, hwloc_cpuset_t *allowed)
{
    if (hwloc_topology_init(topology) != 0 || hwloc_topology_load(*topology) != 0) {
        return false;
    }
    *allowed = hwloc_bitmap_dup(caller.n_pools > 0 ? caller.original : hwloc_topology_get_allowed_cpuset(*topology));
    if (*allowed == NULL) {
        return false;
    }
    if (caller.n_pools == 0) {
        hwloc_get_cpubind(*topology, *allowed, HWLOC_CPUBIND_THREAD); /* left as it is where the system cannot tell */
    }
    hwloc_topology_restrict(*topology, *allowed, 0);
    return true;
}

static void unload_topology(hwloc_topology_t topology, hwloc_cpuset_t allowed)
{
    hwloc_bitmap_free(allowed);
    if (topology != NULL) {
        hwloc_topology_destroy(topology);
    }
}

int dsv4_pool_default_threads(void)
{
    hwloc_topology_t topology = NULL;
    hwloc_cpuset_t allowed = NULL;
    int n = load_topology(&topology, &allowed) ? count_cores(topology) : 1;
    unload_topology(topology, allowed);
    return n < MAX_THREADS ? n : MAX_THREADS;
}

/* Binds a thread to the first hardware thread of a core. Pinning is a matter of speed: where the system refuses it, the worker runs
 * unpinned. */
static void pin_thread(const dsv4_pool *pool, pthread_t thread, int core)
{
    hwloc_obj_t object = hwloc_get_obj_by_type(pool->topology, HWLOC_OBJ_CORE, (unsigned)core);
    hwloc_cpuset_t set = object == NULL ? NULL : hwloc_bitmap_dup(object->cpuset);
    if (set != NULL) {
        hwloc_bitmap_singlify(set);
        hwloc_set_thread_cpubind(pool->topology, thread, set, 0);
        hwloc_bitmap_free(set);
    }
}

static void pin_caller(dsv4_pool *pool)
{
    if (caller.n_pools == 0) {
        caller.original = hwloc_bitmap_dup(pool->allowed);
        if (caller.original == NULL) {
            return;
        }
    }
    caller.n_pools++;
    pool->pins_caller = true;
    pin_thread(pool, pthread_self(), 0);
}

static void unpin_caller(dsv4_pool *pool)
{
    if (pool->pins_caller && --caller.n_pools == 0) {
        hwloc_set_thread_cpubind(pool->topology, pthread_self(), caller.original, 0);
        hwloc_bitmap_free(caller.original);
    }
}

/* One core a worker if there are enough; else the system places them, wherever the caller may run. */
static void bind_threads(dsv4_pool *pool, int n_cores)
{
    bool pinned = pool->n_threads <= n_cores;
    for (int i = 0; i < pool->n_started; i++) {
        if (pinned) {
            pin_thread(pool, pool->threads[i], i + 1);
        } else {
            hwloc_set_thread_cpubind(pool->topology, pool->threads[i], pool->allowed, 0);
        }
    }
    if (pinned) {
        pin_caller(pool);
    }
}

static dsv4_status start_threads(dsv4_pool *pool, dsv4_error *err)
{
    for (int i = 0; i + 1 < pool->n_threads; i++) {
        pool->starts[i] = (thread_start){pool, i + 1};
        if (pthread_create(&pool->threads[i], NULL, worker_main, &pool->starts[i]) != 0) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "threads: the system gave %d of %d; use fewer", i + 1, pool->n_threads);
        }
        pool->n_started++;
    }
    return DSV4_OK;
}

dsv4_status dsv4_pool_create(int n_threads, dsv4_pool **out, dsv4_error *err)
{
    if (n_threads < 0 || n_threads > MAX_THREADS) {
        return dsv4_fail(err, DSV4_E_VALUE, "threads: got %d, expected 0 (one per core) to %d", n_threads, MAX_THREADS);
    }
    dsv4_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (pool == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "threads: no memory for a pool");
    }
    *pool = (dsv4_pool){0};
    dsv4_status status;
    if (!load_topology(&pool->topology, &pool->allowed)) {
        status = dsv4_fail(err, DSV4_E_UNSUPPORTED, "threads: the machine's topology cannot be read");
        goto fail;
    }
    int n_cores = count_cores(pool->topology);
    pool->n_threads = n_threads > 0 ? n_threads : n_cores < MAX_THREADS ? n_cores : MAX_THREADS;
    pool->spin_rounds = pool->n_threads <= n_cores ? SPIN_ROUNDS : 0;
    pool->threads = calloc((size_t)pool->n_threads, sizeof *pool->threads);
    pool->starts = calloc((size_t)pool->n_threads, sizeof *pool->starts);
    if (pool->threads == NULL || pool->starts == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "threads: no memory for %d workers", pool->n_threads);
        goto fail;
    }
    status = start_threads(pool, err);
    if (status != DSV4_OK) {
        goto fail;
    }
    bind_threads(pool, n_cores);
    *out = pool;
    return DSV4_OK;
fail:
    dsv4_pool_destroy(pool);
    return status;
}

void dsv4_pool_destroy(dsv4_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    atomic_store(&pool->stop, true);
    rt_pool_wake(pool, pool->n_threads);
    for (int i = 0; i < pool->n_started; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    unpin_caller(pool);
    unload_topology(pool->topology, pool->allowed);
    free(pool->threads);
    free(pool->starts);
    free(pool);
}

int dsv4_pool_n_threads(const dsv4_pool *pool)
{
    return pool->n_threads;
}
