/* Replaying: the same bytes whatever the threads and the order, nothing allocated, no wake-up lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rt_helpers.h"

enum { N = 64, N_PARTS = 8, PART = N / N_PARTS, N_REPLAYS = SANITIZED ? 20 : 100, HANG_S = 120 };

/* ---- counting allocations ----------------------------------------------------------------------------------------------- */

#if defined(__GLIBC__) && !SANITIZED
#define COUNTS_ALLOCATIONS 1

static _Atomic int64_t n_allocations;

extern void *__libc_malloc(size_t n_bytes);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *memory, size_t n_bytes);
extern void *__libc_memalign(size_t alignment, size_t n_bytes);
extern void __libc_free(void *memory);

void *malloc(size_t n_bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t n_bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_realloc(memory, n_bytes);
}

void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_memalign(alignment, n_bytes);
}

void free(void *memory)
{
    atomic_fetch_add(&n_allocations, memory != NULL);
    __libc_free(memory);
}
#endif

/* ---- a graph of sums ---------------------------------------------------------------------------------------------------- */

/* y = (sum over k of x * w, in parts) normalized by its row, then doubled in place: crossing tiles, a split sum, an update.
 * Rounding makes the result depend on the order of every sum. */
static struct buffers {
    float x[N][N], w[N][N], part[N_PARTS][N][N], y[N][N];
} now, initial;

static void run_part(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    float *row = scratch;
    for (int t = 0; t < N; t++) {
        memset(row, 0, N * sizeof *row);
        for (int k = (int)block * PART; k < ((int)block + 1) * PART; k++) {
            for (int n = 0; n < N; n++) {
                row[n] += now.x[t][k] * now.w[k][n];
            }
        }
        memcpy(now.part[block][t], row, N * sizeof *row);
    }
}

static void describe_part(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, 0, 0, N, block * PART, (block + 1) * PART);
    dsv4_reads(d, 1, block * PART, (block + 1) * PART, 0, N);
    dsv4_writes(d, 2, block * N, (block + 1) * N, 0, N);
}

static void run_reduce(const void *arg, int64_t t, void *scratch)
{
    (void)arg;
    (void)scratch;
    float sum = 1;
    for (int n = 0; n < N; n++) {
        float y = 0;
        for (int p = 0; p < N_PARTS; p++) {
            y += now.part[p][t][n];
        }
        now.y[t][n] = y;
        sum += y * y;
    }
    for (int n = 0; n < N; n++) {
        now.y[t][n] /= sum;
    }
}

static void describe_reduce(const void *arg, int64_t t, dsv4_describe *d)
{
    (void)arg;
    for (int p = 0; p < N_PARTS; p++) {
        dsv4_reads(d, 2, p * N + t, p * N + t + 1, 0, N);
    }
    dsv4_writes(d, 3, t, t + 1, 0, N);
}

/* Feeds y back into x, one column tile a block. */
static void run_feed_back(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int t = 0; t < N; t++) {
        for (int n = (int)block * PART; n < ((int)block + 1) * PART; n++) {
            now.x[t][n] += 2 * now.y[t][n];
        }
    }
}

static void describe_feed_back(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, 3, 0, N, block * PART, (block + 1) * PART);
    dsv4_updates(d, 0, 0, N, block * PART, (block + 1) * PART);
}

static dsv4_graph *build_sums(int n_rounds)
{
    dsv4_graph *g = dsv4_graph_create("sums");
    dsv4_graph_view(g, "x", now.x, N, N, 4, sizeof now.x[0]);
    dsv4_graph_view(g, "w", now.w, N, N, 4, sizeof now.w[0]);
    dsv4_graph_view(g, "part", now.part, N_PARTS * N, N, 4, sizeof now.part[0][0]);
    dsv4_graph_view(g, "y", now.y, N, N, 4, sizeof now.y[0]);
    for (int i = 0; i < n_rounds; i++) {
        dsv4_graph_stage(g, &(dsv4_stage_desc){"sums.part", N_PARTS, run_part, describe_part, NULL, N * sizeof(float), DSV4_CUBE});
        dsv4_graph_stage(g, &(dsv4_stage_desc){"sums.reduce", N, run_reduce, describe_reduce, NULL, 0, DSV4_VECTOR});
        dsv4_graph_stage(g, &(dsv4_stage_desc){"sums.feed", N_PARTS, run_feed_back, describe_feed_back, NULL, 0, DSV4_VECTOR});
    }
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return g;
}

/* The stages one after the other, blocks in ascending order. */
static struct buffers run_sums_in_order(int n_rounds)
{
    float scratch[N];
    now = initial;
    for (int i = 0; i < n_rounds; i++) {
        for (int b = 0; b < N_PARTS; b++) {
            run_part(NULL, b, scratch);
        }
        for (int t = 0; t < N; t++) {
            run_reduce(NULL, t, scratch);
        }
        for (int b = 0; b < N_PARTS; b++) {
            run_feed_back(NULL, b, scratch);
        }
    }
    return now;
}

static int draw_inputs(void **state)
{
    (void)state;
    rng r = {1, rng_stream("sums")};
    for (int i = 0; i < N * N; i++) {
        initial.x[i / N][i % N] = (float)rng_normal(&r, (uint64_t)i, 0, 1);
        initial.w[i / N][i % N] = (float)rng_normal(&r, (uint64_t)(N * N + i), 0, 1);
    }
    alarm(HANG_S); /* a lost wake-up hangs: end the program instead */
    return 0;
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

static dsv4_exec *create_exec(const dsv4_graph *g, dsv4_pool *pool, int level)
{
    dsv4_exec *x;
    dsv4_error err = {0};
    if (dsv4_exec_create(g, pool, level, &x, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return x;
}

/* ---- the same bytes ----------------------------------------------------------------------------------------------------- */

static void check_threads(int n_threads, int level)
{
    enum { N_ROUNDS = 3 };
    static struct buffers expected;
    expected = run_sums_in_order(N_ROUNDS);
    dsv4_graph *g = build_sums(N_ROUNDS);
    dsv4_pool *pool = create_pool(n_threads);
    assert_int_equal(dsv4_pool_n_threads(pool), n_threads);
    dsv4_exec *x = create_exec(g, pool, level);
    for (uint64_t i = 0; i < N_REPLAYS; i++) {
        now = initial;
        assert_int_equal(dsv4_exec_run(x, i, NULL), DSV4_OK); /* 0: in the order of priorities */
        assert_memory_equal(&now, &expected, sizeof now);
    }
    dsv4_exec_destroy(x);
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(g);
}

static void test_same_bytes_on_1_thread(void **state)
{
    (void)state;
    check_threads(1, 0);
}

static void test_same_bytes_on_2_threads(void **state)
{
    (void)state;
    check_threads(2, 0);
}

static void test_same_bytes_on_3_threads(void **state)
{
    (void)state;
    check_threads(3, 0);
}

static void test_same_bytes_on_8_threads(void **state)
{
    (void)state;
    check_threads(8, 0);
}

static void test_same_bytes_when_traced(void **state)
{
    (void)state;
    for (int level = 1; level <= 3; level++) {
        check_threads(2, level);
    }
}

static void test_default_pool_has_a_thread_a_core(void **state)
{
    (void)state;
    dsv4_pool *pool = create_pool(0);
    assert_int_equal(dsv4_pool_n_threads(pool), dsv4_pool_default_threads());
    assert_in_range(dsv4_pool_n_threads(pool), 1, sysconf(_SC_NPROCESSORS_ONLN));
    dsv4_pool_destroy(pool);
}

/* ---- no allocation ------------------------------------------------------------------------------------------------------ */

/* 100 stages of 100 blocks: each stage writes rows and reads all that the last one wrote. */
static dsv4_graph *build_large(uint8_t *memory, tiling tilings[2])
{
    dsv4_graph *g = dsv4_graph_create("large");
    for (int i = 0; i < 2; i++) {
        dsv4_graph_view(g, "buffer", memory + 10000 * i, 100, 100, 1, 100);
        tilings[i] =
            (tiling){.n_tiles = 2, .tiles = {{i, DSV4_READ, {0, 100, 0, 100}, 0, 0}, {1 - i, DSV4_WRITE, {0, 1, 0, 100}, 1, 0}}};
    }
    for (int s = 0; s < 100; s++) {
        tiling_stage(g, "large.stage", 100, &tilings[s % 2]);
    }
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, NULL), DSV4_OK);
    assert_int_equal(dsv4_graph_get_info(g).n_blocks, 10000);
    return g;
}

static void test_replay_allocates_nothing(void **state)
{
    (void)state;
#ifdef COUNTS_ALLOCATIONS
    static uint8_t memory[20000];
    tiling tilings[2];
    int64_t before = atomic_load(&n_allocations);
    dsv4_graph *g = build_large(memory, tilings);
    assert_true(atomic_load(&n_allocations) > before); /* the counting works */
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        for (int level = 0; level <= 3; level++) {
            dsv4_pool *pool = create_pool(n_threads);
            dsv4_exec *x = create_exec(g, pool, level);
            before = atomic_load(&n_allocations);
            assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
            assert_int_equal(dsv4_exec_run(x, 1, NULL), DSV4_OK);
            assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
            assert_int_equal(atomic_load(&n_allocations) - before, 0);
            dsv4_exec_destroy(x);
            dsv4_pool_destroy(pool);
        }
    }
    dsv4_graph_destroy(g);
#else
    (void)build_large;
    print_message("skipped: allocations cannot be counted under a sanitizer or another C library\n");
    skip();
#endif
}

/* ---- no lost wake-up ---------------------------------------------------------------------------------------------------- */

static void sleep_us(int64_t us)
{
    struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

static _Atomic int64_t n_run;

static void run_counting(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    if (block % 7 == 3) {
        sleep_us(20); /* long enough, now and then, for the others to run out of work */
    }
    atomic_fetch_add(&n_run, 1);
}

/* Replays of a small graph, back to back and with pauses in which the workers fall asleep. */
static void check_quick_replays(int n_threads, int n_replays)
{
    static const int64_t pauses_us[] = {0, 0, 0, 30, 0, 0, 0, 600};
    dsv4_graph *g = dsv4_graph_create("quick");
    dsv4_stage last = dsv4_graph_join(g, "begin");
    for (int i = 0; i < 3; i++) {
        dsv4_stage stage = dsv4_graph_stage(g, &(dsv4_stage_desc){.name = "quick.stage", .n_blocks = 5 + i, .run = run_counting});
        dsv4_graph_after(g, stage, last);
        last = stage;
    }
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, NULL), DSV4_OK);
    dsv4_pool *pool = create_pool(n_threads);
    dsv4_exec *x = create_exec(g, pool, 0);
    for (int i = 0; i < n_replays; i++) {
        atomic_store(&n_run, 0);
        assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
        assert_int_equal(atomic_load(&n_run), 5 + 6 + 7);
        int64_t pause_us = pauses_us[(size_t)i % (sizeof pauses_us / sizeof *pauses_us)];
        if (pause_us > 0) {
            sleep_us(pause_us);
        }
    }
    dsv4_exec_destroy(x);
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(g);
}

static void test_quick_replays_lose_no_wake_up(void **state)
{
    (void)state;
    check_quick_replays(2, 1000);
    check_quick_replays(3, 1000);
}

static void test_pools_start_and_stop(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        dsv4_pool *idle = create_pool(1 + i % 4);
        check_quick_replays(1 + i % 3, 2);
        dsv4_pool_destroy(idle);
    }
    dsv4_pool_destroy(NULL);
    dsv4_exec_destroy(NULL);
}

/* ---- several graphs on one pool ----------------------------------------------------------------------------------------- */

static void test_two_graphs_share_a_pool(void **state)
{
    (void)state;
    static struct buffers expected[2];
    dsv4_graph *g[2];
    dsv4_exec *x[2];
    dsv4_pool *pool = create_pool(2);
    for (int i = 0; i < 2; i++) {
        expected[i] = run_sums_in_order(1 + i);
        g[i] = build_sums(1 + i);
        x[i] = create_exec(g[i], pool, i == 1 ? 1 : 0);
    }
    for (uint64_t i = 0; i < N_REPLAYS; i++) {
        now = initial;
        assert_int_equal(dsv4_exec_run(x[i % 2], i / 2, NULL), DSV4_OK);
        assert_memory_equal(&now, &expected[i % 2], sizeof now);
    }
    for (int i = 0; i < 2; i++) {
        dsv4_exec_destroy(x[i]);
        dsv4_graph_destroy(g[i]);
    }
    dsv4_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_on_1_thread),   cmocka_unit_test(test_same_bytes_on_2_threads),
        cmocka_unit_test(test_same_bytes_on_3_threads),  cmocka_unit_test(test_same_bytes_on_8_threads),
        cmocka_unit_test(test_same_bytes_when_traced),   cmocka_unit_test(test_default_pool_has_a_thread_a_core),
        cmocka_unit_test(test_replay_allocates_nothing), cmocka_unit_test(test_quick_replays_lose_no_wake_up),
        cmocka_unit_test(test_pools_start_and_stop),     cmocka_unit_test(test_two_graphs_share_a_pool),
    };
    return cmocka_run_group_tests(tests, draw_inputs, NULL);
}
