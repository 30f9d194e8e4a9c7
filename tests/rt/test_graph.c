/* Facts about building and sealing, one small graph each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rt_helpers.h"
#include "sealing.h"

enum { N_THREADS = 3, N_ORDERS = 40, LOG_SIZE = 64 };

static dsv4_pool *one_thread, *some_threads;

static int create_pools(void **state)
{
    (void)state;
    return dsv4_pool_create(1, &one_thread, NULL) != DSV4_OK || dsv4_pool_create(N_THREADS, &some_threads, NULL) != DSV4_OK ? -1
                                                                                                                            : 0;
}

static int destroy_pools(void **state)
{
    (void)state;
    dsv4_pool_destroy(some_threads);
    dsv4_pool_destroy(one_thread);
    return 0;
}

/* ---- stages that note when their blocks ran ---------------------------------------------------------------------------------- */

typedef struct logged {
    char letter; /* of the stage */
    tiling boxes;
} logged;

static char log_text[2 * LOG_SIZE + 1];
static _Atomic int n_logged;

/* Appends letter and block: "a0b3...". Blocks that wait for each other also order their letters. */
static void run_logged(const void *arg, int64_t block, void *scratch)
{
    (void)scratch;
    const logged *l = arg;
    int at = atomic_fetch_add(&n_logged, 1);
    log_text[2 * at] = l->letter;
    log_text[2 * at + 1] = (char)('0' + block);
}

static void describe_logged(const void *arg, int64_t block, dsv4_describe *d)
{
    const logged *l = arg;
    tiling_describe(&l->boxes, block, d);
}

static dsv4_stage add_logged(dsv4_graph *g, const logged *l, int64_t n_blocks)
{
    char name[16];
    snprintf(name, sizeof name, "log.%c", l->letter);
    dsv4_stage_desc desc = {name, n_blocks, run_logged, describe_logged, l, 0, DSV4_VECTOR};
    return dsv4_graph_stage(g, &desc);
}

/* The log of one replay. */
static const char *replay(const dsv4_graph *g, dsv4_pool *pool, uint64_t shuffle)
{
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, pool, 0, &x, NULL), DSV4_OK);
    atomic_store(&n_logged, 0);
    assert_int_equal(dsv4_exec_run(x, shuffle, NULL), DSV4_OK);
    log_text[2 * atomic_load(&n_logged)] = '\0';
    dsv4_exec_destroy(x);
    return log_text;
}

static int position(const char *log, const char *block)
{
    const char *found = strstr(log, block);
    assert_non_null(found);
    return (int)(found - log);
}

static bool runs_before(const char *log, const char *first, const char *second)
{
    return position(log, first) < position(log, second);
}

static int64_t count_edges(dsv4_graph *g)
{
    seal(g, DSV4_DEPS_BLOCK);
    int64_t n_edges = dsv4_graph_get_info(g).n_edges;
    dsv4_graph_destroy(g);
    return n_edges;
}

/* ---- what a graph may be --------------------------------------------------------------------------------------------------- */

static void test_empty_graph(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("empty");
    seal(g, DSV4_DEPS_BLOCK);
    dsv4_graph_info info = dsv4_graph_get_info(g);
    assert_int_equal(info.n_stages, 0);
    assert_int_equal(info.n_blocks, 0);
    assert_int_equal(info.n_edges, 0);
    assert_int_equal(info.longest_path, 0);
    assert_string_equal(replay(g, some_threads, 0), "");
    int64_t n_findings = -1;
    assert_int_equal(dsv4_graph_verify(g, 1, &n_findings, NULL), DSV4_OK);
    assert_int_equal(n_findings, 0);
    dsv4_graph_destroy(g);
    dsv4_graph_destroy(NULL);
}

static void test_stage_without_blocks(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'}, none = {.letter = 'n'};
    dsv4_graph *g = dsv4_graph_create("no blocks");
    dsv4_stage first = add_logged(g, &a, 1), empty = add_logged(g, &none, 0), last = add_logged(g, &b, 1);
    dsv4_graph_after(g, empty, first);
    dsv4_graph_after(g, last, empty);
    seal(g, DSV4_DEPS_BLOCK);
    dsv4_graph_info info = dsv4_graph_get_info(g);
    assert_int_equal(info.n_stages, 3);
    assert_int_equal(info.n_blocks, 2);
    assert_int_equal(info.n_edges, 0);
    assert_int_equal(strlen(replay(g, some_threads, 0)), 4);
    dsv4_graph_destroy(g);
}

static void test_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("memory");
    static const uint8_t zeros[300];
    void *data;
    for (int i = 0; i < 100; i++) {
        uint8_t *memory = dsv4_graph_memory(g, 300);
        assert_int_equal((uintptr_t)memory % 64, 0);
        assert_memory_equal(memory, zeros, 300);
        memset(memory, 0xff, 300);
    }
    assert_int_equal(dsv4_graph_alloc(g, "v", 10, 30, 1, &data), 0);
    assert_memory_equal(data, zeros, 300);
    dsv4_graph_destroy(g);
}

static void *alloc(dsv4_graph *g, const char *name, int64_t rows)
{
    void *data = NULL;
    dsv4_graph_alloc(g, name, rows, 64, 1, &data);
    assert_non_null(data);
    return data;
}

/* A part of a graph has the memory of the one before the last: for the same name and extents, once. */
static void test_memory_is_handed_out_again(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("rooms");
    void *before = alloc(g, "a", 2), *a[4], *b[4];
    for (int part = 0; part < 4; part++) {
        dsv4_graph_reuse(g, part % 2);
        a[part] = alloc(g, "a", 2);
        b[part] = alloc(g, "a", 2);
        assert_ptr_not_equal(a[part], b[part]);
        assert_ptr_not_equal(a[part], before);
    }
    assert_true(a[0] == a[2] && a[1] == a[3] && a[0] != a[1] && b[0] == b[2] && b[1] == b[3] && b[0] != b[1]);
    assert_int_equal(dsv4_graph_get_info(g).between_bytes, 5 * 2 * 64);
    void *larger = alloc(g, "a", 3);
    dsv4_graph_reuse(g, -1);
    void *outside = alloc(g, "a", 2);
    assert_true(larger != a[1] && larger != b[1] && outside != a[0] && outside != a[1] && outside != before);
    dsv4_graph_destroy(g);
}

/* What is lent is handed out in order, as it is, while it lasts. */
static void test_memory_is_lent(void **state)
{
    (void)state;
    static _Alignas(64) char lent[5 * 64];
    static const char zeros[3 * 64];
    dsv4_graph *g = dsv4_graph_create("lent");
    memset(lent, 7, sizeof lent);
    dsv4_graph_lend(g, lent, sizeof lent);
    char *first = alloc(g, "a", 2), *too_large = alloc(g, "b", 4), *second = alloc(g, "c", 3), *third = alloc(g, "d", 1);
    assert_ptr_equal(first, lent);
    assert_ptr_equal(second, lent + 2 * 64);
    assert_int_equal(second[0], 7);
    assert_true(too_large + 4 * 64 <= lent || too_large >= lent + sizeof lent);
    assert_memory_equal(too_large, zeros, sizeof zeros);
    assert_true(third + 64 <= lent || third >= lent + sizeof lent);
    const dsv4_graph_info info = dsv4_graph_get_info(g);
    assert_int_equal(info.between_bytes, 10 * 64);
    assert_int_equal(info.memory_bytes, 10 * 64);
    dsv4_graph_destroy(g);
}

static void test_deps_parse(void **state)
{
    (void)state;
    dsv4_deps deps = DSV4_DEPS_TENSOR;
    dsv4_error err = {0};
    assert_int_equal(dsv4_deps_parse("block", &deps, &err), DSV4_OK);
    assert_int_equal(deps, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_deps_parse("stage", &deps, &err), DSV4_OK);
    assert_int_equal(deps, DSV4_DEPS_STAGE);
    assert_int_equal(dsv4_deps_parse("tensor", &deps, &err), DSV4_OK);
    assert_int_equal(deps, DSV4_DEPS_TENSOR);
    assert_int_equal(dsv4_deps_parse("blocks", &deps, &err), DSV4_E_NOT_FOUND);
    assert_contains(err.text, "\"blocks\"");
    assert_int_equal(deps, DSV4_DEPS_TENSOR);
}

static void test_sealed_graph_is_closed(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'};
    dsv4_graph *g = dsv4_graph_create("sealed");
    dsv4_exec *x;
    dsv4_error err = {0};
    add_logged(g, &a, 1);
    assert_int_equal(dsv4_exec_create(g, one_thread, 0, &x, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "before it was sealed");
    assert_int_equal(dsv4_graph_verify(g, 1, NULL, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "before it was sealed");
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "sealed twice");
    assert_string_equal(replay(g, one_thread, 0), "a0");

    assert_int_equal(add_logged(g, &a, 1), 0);
    assert_null(dsv4_graph_memory(g, 8));
    assert_int_equal(dsv4_graph_get_info(g).n_stages, 1);
    assert_int_equal(dsv4_exec_create(g, one_thread, 0, &x, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "changed after it was sealed");
    assert_int_equal(dsv4_graph_verify(g, 1, NULL, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "changed after it was sealed");
    dsv4_graph_destroy(g);
}

/* ---- declared edges -------------------------------------------------------------------------------------------------------- */

static void test_after_orders_whole_stages(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'};
    dsv4_graph *g = dsv4_graph_create("after");
    dsv4_stage first = add_logged(g, &a, 5);
    dsv4_graph_after(g, add_logged(g, &b, 5), first);
    seal(g, DSV4_DEPS_BLOCK);
    for (uint64_t order = 0; order < N_ORDERS; order++) {
        const char *log = replay(g, some_threads, order);
        assert_int_equal(strlen(log), 20);
        assert_int_equal(strspn(log, "a01234"), 10);
    }
    dsv4_graph_destroy(g);
}

static void test_after_block_orders_one_pair(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'};
    dsv4_graph *g = dsv4_graph_create("after block");
    dsv4_stage first = add_logged(g, &a, 3), second = add_logged(g, &b, 3);
    dsv4_graph_after_block(g, second, 1, first, 2);
    assert_int_equal(dsv4_graph_get_info(g).n_blocks, 6);
    assert_int_equal(dsv4_graph_get_info(g).n_joins, 0); /* also before the seal */
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 1);
    int n_free = 0;
    for (uint64_t order = 1; order < N_ORDERS; order++) {
        const char *log = replay(g, one_thread, order);
        assert_true(runs_before(log, "a2", "b1"));
        n_free += runs_before(log, "b0", "a0");
    }
    assert_in_range(n_free, 1, N_ORDERS - 2);
    dsv4_graph_destroy(g);
}

/* A backward edge without a conflict is an order like any other. */
static void test_backward_edge_is_allowed(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'};
    dsv4_graph *g = dsv4_graph_create("backward");
    dsv4_stage first = add_logged(g, &a, 2), second = add_logged(g, &b, 2);
    dsv4_graph_after(g, first, second);
    seal(g, DSV4_DEPS_BLOCK);
    for (uint64_t order = 0; order < N_ORDERS; order++) {
        assert_int_equal(strspn(replay(g, some_threads, order), "b01"), 4);
    }
    dsv4_graph_destroy(g);
}

/* ---- joins ----------------------------------------------------------------------------------------------------------------- */

static void test_join_gathers_and_releases(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    dsv4_graph *g = dsv4_graph_create("join");
    dsv4_stage one = add_logged(g, &a, 3), two = add_logged(g, &b, 1), join = dsv4_graph_join(g, "gate");
    dsv4_graph_after(g, join, one);
    dsv4_graph_after(g, join, two);
    dsv4_graph_after(g, add_logged(g, &c, 4), join);
    seal(g, DSV4_DEPS_BLOCK);
    for (uint64_t order = 0; order < N_ORDERS; order++) {
        const char *log = replay(g, some_threads, order);
        assert_int_equal(strlen(log), 16);
        assert_int_equal(strspn(log, "ab012"), 8);
    }
    dsv4_graph_destroy(g);
}

/* Joins that wait for nothing hold nobody back, also when they wait for each other or end the graph. */
static void test_root_joins(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'};
    dsv4_graph *g = dsv4_graph_create("root joins");
    dsv4_stage one = dsv4_graph_join(g, "one"), two = dsv4_graph_join(g, "two");
    dsv4_graph_after(g, two, one);
    dsv4_stage work = add_logged(g, &a, 2);
    dsv4_graph_after(g, work, two);
    dsv4_graph_after(g, dsv4_graph_join(g, "end"), work);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(strlen(replay(g, some_threads, 0)), 4);
    assert_int_equal(strlen(replay(g, one_thread, 7)), 4);
    dsv4_graph_destroy(g);

    g = dsv4_graph_create("only a join");
    dsv4_graph_join(g, "one");
    seal(g, DSV4_DEPS_BLOCK);
    assert_string_equal(replay(g, one_thread, 0), "");
    dsv4_graph_destroy(g);
}

static void test_chain_of_joins(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'}, b = {.letter = 'b'};
    dsv4_graph *g = dsv4_graph_create("chain of joins");
    dsv4_stage last = add_logged(g, &a, 1);
    for (int i = 0; i < 10000; i++) {
        dsv4_stage join = dsv4_graph_join(g, "link");
        dsv4_graph_after(g, join, last);
        last = join;
    }
    dsv4_graph_after(g, add_logged(g, &b, 1), last);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 10001);
    assert_string_equal(replay(g, some_threads, 0), "a0b0");
    assert_string_equal(replay(g, some_threads, 5), "a0b0");
    dsv4_graph_destroy(g);
}

/* ---- what is not inferred -------------------------------------------------------------------------------------------------- */

static uint8_t area[64 * 64];

static dsv4_view view_area(dsv4_graph *g)
{
    return dsv4_graph_view(g, "m", area, 64, 64, 1, 64);
}

/* Two writers of one row: `mode` says how the second one declares it, `manual` whether nothing is inferred. */
static dsv4_graph *two_writers(const tiling *one, const tiling *two, bool manual, dsv4_stage ids[2])
{
    dsv4_graph *g = dsv4_graph_create("two writers");
    view_area(g);
    ids[0] = tiling_stage(g, "w.one", 2, one);
    if (manual) {
        dsv4_graph_manual_begin(g);
    }
    ids[1] = tiling_stage(g, "w.two", 2, two);
    if (manual) {
        dsv4_graph_manual_end(g);
    }
    return g;
}

/* Verify names the stages, one of the blocks and the box. */
static void assert_unordered(dsv4_graph *g, int64_t n_expected)
{
    int64_t n_findings = 0;
    dsv4_error err = {0};
    assert_int_equal(dsv4_graph_verify(g, 1, &n_findings, &err), DSV4_E_GRAPH);
    assert_int_equal(n_findings, n_expected);
    assert_contains(err.text, "unordered conflict");
    assert_contains(err.text, "w.one block ");
    assert_contains(err.text, "w.two block ");
    assert_contains(err.text, "writes m[0:1, 0:64]");
}

static void test_manual_region_infers_nothing(void **state)
{
    (void)state;
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}};
    dsv4_stage ids[2];
    dsv4_graph *g = two_writers(&writes, &writes, true, ids);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 0);
    assert_int_equal(dsv4_graph_get_info(g).n_boxes, 4);
    assert_unordered(g, 2);
    dsv4_graph_destroy(g);

    g = two_writers(&writes, &writes, true, ids);
    dsv4_graph_after(g, ids[1], ids[0]);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_verify(g, 1, NULL, NULL), DSV4_OK);
    dsv4_graph_destroy(g);

    g = two_writers(&writes, &writes, false, ids);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 2);
    assert_int_equal(dsv4_graph_verify(g, 1, NULL, NULL), DSV4_OK);
    dsv4_graph_destroy(g);
}

static void test_untracked_access_infers_nothing(void **state)
{
    (void)state;
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}};
    static const tiling untracked = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE | DSV4_UNTRACKED, {0, 1, 0, 64}, 1, 0}}};
    dsv4_stage ids[2];
    dsv4_graph *g = two_writers(&writes, &untracked, false, ids);
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 0);
    assert_unordered(g, 2);
    dsv4_graph_destroy(g);
}

/* ---- how many edges -------------------------------------------------------------------------------------------------------- */

enum { P = 64, C = 60 };

/* P blocks write a row each, C blocks read the whole. */
static void test_whole_reads_cost_p_plus_c_edges(void **state)
{
    (void)state;
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}};
    static const tiling reads = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 64, 0, 64}, 0, 0}}};
    dsv4_graph *g = dsv4_graph_create("whole reads");
    view_area(g);
    tiling_stage(g, "e.write", P, &writes);
    tiling_stage(g, "e.read", C, &reads);
    assert_in_range(count_edges(g), P + C, 2 * P + C);
}

/* C blocks read the whole, then P blocks write a row each: as many edges the other way round. */
static void test_row_writes_after_whole_reads_cost_p_plus_c_edges(void **state)
{
    (void)state;
    static const tiling reads = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 64, 0, 64}, 0, 0}}};
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}};
    dsv4_graph *g = dsv4_graph_create("writes after reads");
    view_area(g);
    tiling_stage(g, "e.read", C, &reads);
    tiling_stage(g, "e.write", P, &writes);
    assert_in_range(count_edges(g), P + C, P + 2 * C);
}

/* Column tiles read by row tiles, which column tiles overwrite: no box is touched twice, every pair overlaps. */
static void test_crossing_tiles_cost_p_plus_c_edges(void **state)
{
    (void)state;
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 64, 0, 1}, 0, 1}}};
    static const tiling reads = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 1, 0, 64}, 1, 0}}};
    dsv4_graph *g = dsv4_graph_create("crossing");
    view_area(g);
    tiling_stage(g, "e.write", P, &writes);
    tiling_stage(g, "e.read", P, &reads);
    assert_in_range(count_edges(g), 2 * P, 3 * P);

    g = dsv4_graph_create("crossing back");
    view_area(g);
    tiling_stage(g, "e.read", P, &reads);
    tiling_stage(g, "e.write", P, &writes);
    assert_in_range(count_edges(g), 2 * P, 3 * P);
}

/* Stages that cross each other again and again, in place: what earlier rounds left behind costs nothing more. */
static void test_crossing_rounds_cost_the_same(void **state)
{
    (void)state;
    enum { N_ROUNDS = 20 };
    static const tiling columns = {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 64, 0, 1}, 0, 1}}};
    static const tiling rows = {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 1, 0, 64}, 1, 0}}};
    static const tiling reads = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 1, 0, 64}, 1, 0}}};
    dsv4_graph *g = dsv4_graph_create("updates");
    view_area(g);
    for (int i = 0; i < N_ROUNDS; i++) {
        tiling_stage(g, "e.columns", P, &columns);
        tiling_stage(g, "e.rows", P, &rows);
    }
    assert_in_range(count_edges(g), 0, 2 * N_ROUNDS * 4 * P);

    g = dsv4_graph_create("writes and reads");
    view_area(g);
    for (int i = 0; i < N_ROUNDS; i++) {
        tiling_stage(g, "e.columns", P, &columns);
        tiling_stage(g, "e.read", P, &reads);
    }
    assert_in_range(count_edges(g), 0, 2 * N_ROUNDS * 4 * P);
}

/* What a later write covers is forgotten: a chain of in-place stages has one edge a block and stage. */
static void test_in_place_chain_costs_one_edge_a_block(void **state)
{
    (void)state;
    enum { N_STAGES = 500 };
    static const tiling updates = {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 8, 0, 64}, 8, 0}}};
    static const tiling rewrites = {.n_tiles = 2,
                                    .tiles = {{0, DSV4_READ, {0, 8, 0, 32}, 8, 0}, {0, DSV4_WRITE, {0, 8, 0, 64}, 8, 0}}};
    dsv4_graph *g = dsv4_graph_create("in place");
    view_area(g);
    for (int i = 0; i < N_STAGES; i++) {
        tiling_stage(g, "e.update", 8, i % 2 == 0 ? &updates : &rewrites);
    }
    seal(g, DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 8 * (N_STAGES - 1));
    assert_int_equal(dsv4_graph_get_info(g).n_joins, 0);
    assert_int_equal(dsv4_graph_get_info(g).longest_path, N_STAGES);
    dsv4_graph_destroy(g);
}

/* ---- granularity ----------------------------------------------------------------------------------------------------------- */

/* Stage a writes four rows, a block each; stage b updates the same rows in place. */
static dsv4_graph *row_by_row(dsv4_deps deps)
{
    static const logged a = {'a', {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}}};
    static const logged b = {'b', {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 1, 0, 64}, 1, 0}}}};
    dsv4_graph *g = dsv4_graph_create("row by row");
    view_area(g);
    add_logged(g, &a, 4);
    add_logged(g, &b, 4);
    seal(g, deps);
    return g;
}

static void test_block_deps_wait_for_one_row(void **state)
{
    (void)state;
    dsv4_graph *g = row_by_row(DSV4_DEPS_BLOCK);
    assert_int_equal(dsv4_graph_get_info(g).n_edges, 4);
    int n_overtaking = 0;
    for (uint64_t order = 1; order < N_ORDERS; order++) {
        const char *log = replay(g, one_thread, order);
        assert_true(runs_before(log, "a0", "b0") && runs_before(log, "a1", "b1"));
        assert_true(runs_before(log, "a2", "b2") && runs_before(log, "a3", "b3"));
        n_overtaking += strspn(log, "a0123") < 8;
    }
    assert_true(n_overtaking > N_ORDERS / 2);
    dsv4_graph_destroy(g);
}

static void test_stage_deps_wait_for_whole_launches(void **state)
{
    (void)state;
    dsv4_graph *g = row_by_row(DSV4_DEPS_STAGE);
    int n_shuffled = 0;
    for (uint64_t order = 1; order < N_ORDERS; order++) {
        const char *log = replay(g, one_thread, order);
        assert_int_equal(strspn(log, "a0123"), 8);
        n_shuffled += runs_before(log, "b3", "b0"); /* blocks of one stage stay free */
    }
    assert_in_range(n_shuffled, 1, N_ORDERS - 2);
    dsv4_graph_destroy(g);
}

static void test_tensor_deps_follow_program_order(void **state)
{
    (void)state;
    dsv4_graph *g = row_by_row(DSV4_DEPS_TENSOR);
    for (uint64_t order = 1; order < N_ORDERS; order++) {
        assert_string_equal(replay(g, some_threads, order), "a0a1a2a3b0b1b2b3");
    }
    dsv4_graph_destroy(g);
}

/* ---- order of running ------------------------------------------------------------------------------------------------------ */

/* Three chains that touch a row each; the one with the most work left starts first, whichever was added first. */
static void test_longest_remaining_path_runs_first(void **state)
{
    (void)state;
    static const logged cheap = {'c', {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 1, 0, 64}, 0, 0}}}};
    static const logged middle = {'m', {1, {{0, DSV4_UPDATE, {1, 2, 0, 64}, 0, 0}}, {.vector_ops = 40000}}};
    static const logged late = {'l', {1, {{0, DSV4_UPDATE, {2, 3, 0, 64}, 0, 0}}, {.vector_ops = 90000}}};
    dsv4_graph *g = dsv4_graph_create("priorities");
    view_area(g);
    add_logged(g, &cheap, 1);
    add_logged(g, &middle, 1);
    add_logged(g, &cheap, 1);
    add_logged(g, &late, 1);
    add_logged(g, &middle, 1);
    seal(g, DSV4_DEPS_BLOCK);
    assert_string_equal(replay(g, one_thread, 0), "l0m0m0c0c0");
    assert_int_equal(dsv4_graph_get_info(g).longest_path, 2);
    dsv4_graph_destroy(g);
}

/* One thread and one seed give one order; seeds give different ones. */
static void test_shuffle_is_reproducible(void **state)
{
    (void)state;
    static const logged a = {.letter = 'a'};
    dsv4_graph *g = dsv4_graph_create("shuffle");
    add_logged(g, &a, 8);
    seal(g, DSV4_DEPS_BLOCK);
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, one_thread, 0, &x, NULL), DSV4_OK);
    char logs[3][17];
    static const uint64_t seeds[] = {5, 6, 5};
    for (int i = 0; i < 3; i++) {
        atomic_store(&n_logged, 0);
        assert_int_equal(dsv4_exec_run(x, seeds[i], NULL), DSV4_OK);
        memcpy(logs[i], log_text, 16);
        logs[i][16] = '\0';
    }
    assert_string_equal(logs[0], logs[2]);
    assert_string_not_equal(logs[0], logs[1]);
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_graph),
        cmocka_unit_test(test_stage_without_blocks),
        cmocka_unit_test(test_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_memory_is_handed_out_again),
        cmocka_unit_test(test_memory_is_lent),
        cmocka_unit_test(test_deps_parse),
        cmocka_unit_test(test_sealed_graph_is_closed),
        cmocka_unit_test(test_after_orders_whole_stages),
        cmocka_unit_test(test_after_block_orders_one_pair),
        cmocka_unit_test(test_backward_edge_is_allowed),
        cmocka_unit_test(test_join_gathers_and_releases),
        cmocka_unit_test(test_root_joins),
        cmocka_unit_test(test_chain_of_joins),
        cmocka_unit_test(test_manual_region_infers_nothing),
        cmocka_unit_test(test_untracked_access_infers_nothing),
        cmocka_unit_test(test_whole_reads_cost_p_plus_c_edges),
        cmocka_unit_test(test_row_writes_after_whole_reads_cost_p_plus_c_edges),
        cmocka_unit_test(test_crossing_tiles_cost_p_plus_c_edges),
        cmocka_unit_test(test_crossing_rounds_cost_the_same),
        cmocka_unit_test(test_in_place_chain_costs_one_edge_a_block),
        cmocka_unit_test(test_block_deps_wait_for_one_row),
        cmocka_unit_test(test_stage_deps_wait_for_whole_launches),
        cmocka_unit_test(test_tensor_deps_follow_program_order),
        cmocka_unit_test(test_longest_remaining_path_runs_first),
        cmocka_unit_test(test_shuffle_is_reproducible),
    };
    return cmocka_run_group_tests(tests, create_pools, destroy_pools);
}
