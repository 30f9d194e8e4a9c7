/* The pool's threads: how many, and where they run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <string.h>

#include "rt/pool.h"
#include "rt_helpers.h"

static cpu_set_t affinity(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return set;
}

static void assert_affinity(const cpu_set_t *expected)
{
    cpu_set_t set = affinity();
    assert_true(CPU_EQUAL(&set, expected));
}

static int first_cpu(const cpu_set_t *set)
{
    int cpu = 0;
    while (!CPU_ISSET(cpu, set)) {
        cpu++;
    }
    return cpu;
}

static dsv4_pool *create_pool(int n_threads)
{
    dsv4_pool *pool;
    dsv4_error err = {0};
    if (dsv4_pool_create(n_threads, &pool, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return pool;
}

static void test_bad_thread_counts_are_refused(void **state)
{
    (void)state;
    static const int bad[] = {-1, 1025, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dsv4_pool *pool = NULL;
        dsv4_error err = {0};
        assert_int_equal(dsv4_pool_create(bad[i], &pool, &err), DSV4_E_VALUE);
        assert_non_null(strstr(err.text, "threads: got "));
        assert_null(pool);
    }
}

/* The creating thread gets its affinity back with the last of its pools, in whatever order they go. */
static void test_affinity_is_restored(void **state)
{
    (void)state;
    cpu_set_t before = affinity();
    dsv4_pool *one = create_pool(1);
    cpu_set_t pinned = affinity();
    assert_int_equal(CPU_COUNT(&pinned), 1);
    dsv4_pool_destroy(one);
    assert_affinity(&before);

    one = create_pool(1);
    dsv4_pool *two = create_pool(1);
    dsv4_pool_destroy(one);
    assert_affinity(&pinned);
    dsv4_pool_destroy(two);
    assert_affinity(&before);
}

/* Another pool, created while one has pinned the caller, counts the cores that the caller had. */
static void test_pools_do_not_narrow_each_other(void **state)
{
    (void)state;
    int n_cores = dsv4_pool_default_threads();
    dsv4_pool *one = create_pool(1);
    assert_int_equal(dsv4_pool_default_threads(), n_cores);
    dsv4_pool *all = create_pool(0);
    assert_int_equal(dsv4_pool_n_threads(all), n_cores);
    dsv4_pool_destroy(all);
    dsv4_pool_destroy(one);
}

typedef struct seen_cpus {
    _Atomic int n_inside;
    cpu_set_t set[4];
} seen_cpus;

static void note_affinity(void *context, int worker)
{
    seen_cpus *seen = context;
    sched_getaffinity(0, sizeof seen->set[worker], &seen->set[worker]);
    atomic_fetch_add(&seen->n_inside, 1);
    while (atomic_load(&seen->n_inside) < 4) { /* until all workers have come */
        sched_yield();
    }
}

/* A caller confined to one processor confines its pool: the default is one thread, and more of them share it. */
static void test_pool_keeps_to_the_callers_processors(void **state)
{
    (void)state;
    cpu_set_t before = affinity(), one;
    CPU_ZERO(&one);
    CPU_SET(first_cpu(&before), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(dsv4_pool_default_threads(), 1);
    dsv4_pool *pool = create_pool(4);
    seen_cpus seen = {0};
    rt_pool_run(pool, note_affinity, &seen);
    for (int i = 0; i < 4; i++) {
        assert_true(CPU_EQUAL(&seen.set[i], &one));
    }
    dsv4_pool_destroy(pool);
    assert_affinity(&one);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void count_run(void *context, int worker)
{
    int *n_runs = context;
    n_runs[worker]++;
}

/* Also workers that sleep: each does its part before the call returns. */
static void test_every_worker_runs_once(void **state)
{
    (void)state;
    enum { N_RUNS = 200 };
    for (int n = 1; n <= 4; n++) {
        dsv4_pool *pool = create_pool(n);
        int n_runs[4] = {0};
        for (int run = 1; run <= N_RUNS; run++) {
            rt_pool_run_all(pool, count_run, n_runs);
            for (int w = 0; w < 4; w++) {
                assert_int_equal(n_runs[w], w < n ? run : 0);
            }
        }
        dsv4_pool_destroy(pool);
    }
}

/* More threads than cores run anywhere, also when another pool has pinned the caller. */
static void test_many_threads_are_not_pinned(void **state)
{
    (void)state;
    cpu_set_t before = affinity();
    dsv4_pool *one = create_pool(1);
    if (dsv4_pool_default_threads() >= 4) {
        dsv4_pool_destroy(one);
        print_message("skipped: 4 threads have a core each here\n");
        skip();
    }
    dsv4_pool *pool = create_pool(4);
    seen_cpus seen = {0};
    rt_pool_run(pool, note_affinity, &seen);
    for (int i = 1; i < 4; i++) {
        assert_true(CPU_EQUAL(&seen.set[i], &before));
    }
    dsv4_pool_destroy(pool);
    dsv4_pool_destroy(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_thread_counts_are_refused),  cmocka_unit_test(test_affinity_is_restored),
        cmocka_unit_test(test_pools_do_not_narrow_each_other), cmocka_unit_test(test_pool_keeps_to_the_callers_processors),
        cmocka_unit_test(test_many_threads_are_not_pinned),    cmocka_unit_test(test_every_worker_runs_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
