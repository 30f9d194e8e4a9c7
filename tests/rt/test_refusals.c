/* What a graph refuses, and the one line that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "rt_helpers.h"
#include "sealing.h"

static uint8_t area[64 * 64];
static dsv4_pool *one_thread;

static int create_pool(void **state)
{
    (void)state;
    return dsv4_pool_create(1, &one_thread, NULL) != DSV4_OK ? -1 : 0;
}

static int destroy_pool(void **state)
{
    (void)state;
    dsv4_pool_destroy(one_thread);
    return 0;
}

static dsv4_view view_area(dsv4_graph *g)
{
    return dsv4_graph_view(g, "m", area, 64, 64, 1, 64);
}

static void test_cycle_names_blocks(void **state)
{
    (void)state;
    static const tiling writes = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, 64}, 1, 0}}};
    static const tiling reads = {.n_tiles = 1, .tiles = {{0, DSV4_READ, {0, 1, 0, 64}, 1, 0}}};
    dsv4_graph *g = dsv4_graph_create("cycle");
    view_area(g);
    dsv4_stage w = tiling_stage(g, "c.write", 4, &writes), r = tiling_stage(g, "c.read", 4, &reads);
    dsv4_graph_after_block(g, w, 2, r, 2);
    dsv4_error err = {0};
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), DSV4_E_GRAPH);
    assert_contains(err.text, "cycle");
    assert_contains(err.text, "c.write block 2");
    assert_contains(err.text, "c.read block 2");
    dsv4_graph_destroy(g);

    g = dsv4_graph_create("cycle through joins");
    dsv4_stage a = tiling_stage(g, "c.a", 3, &(const tiling){0}), join = dsv4_graph_join(g, "c.join");
    dsv4_graph_after(g, join, a);
    dsv4_graph_after(g, a, join);
    assert_refused(g, "c.a block", "c.join block 0");
}

static void test_self_edges_are_refused(void **state)
{
    (void)state;
    static const tiling none = {0};
    dsv4_graph *g = dsv4_graph_create("self");
    dsv4_stage a = tiling_stage(g, "s.a", 3, &none);
    dsv4_graph_after(g, a, a);
    assert_refused(g, "s.a", "cycle");

    g = dsv4_graph_create("self");
    a = tiling_stage(g, "s.a", 3, &none);
    dsv4_graph_after_block(g, a, 1, a, 1);
    assert_refused(g, "s.a", "cycle");
}

static void test_bad_edges_are_refused(void **state)
{
    (void)state;
    static const tiling none = {0};
    static const struct {
        dsv4_stage stage;
        int64_t block;
        dsv4_stage before;
        int64_t before_block;
    } bad[] = {{0, 0, 1, 2}, {0, 3, 1, 0}, {0, -1, 1, 0}, {0, 0, 1, -1}, {0, -1, 1, -1}, {2, 0, 1, 0}, {0, 0, -1, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dsv4_graph *g = dsv4_graph_create("bad edge");
        tiling_stage(g, "s.a", 3, &none);
        tiling_stage(g, "s.b", 2, &none);
        dsv4_graph_after_block(g, bad[i].stage, bad[i].block, bad[i].before, bad[i].before_block);
        assert_refused(g, "declared edge", "no such block");
    }
    dsv4_graph *g = dsv4_graph_create("bad edge");
    dsv4_graph_after(g, 0, 5);
    assert_refused(g, "declared edge", "stage 5");
}

static void test_bad_views_are_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t rows, cols;
        size_t elem_bytes, row_bytes;
    } bad[] = {{-1, 4, 1, 4},        {4, -1, 1, 4},        {4, 4, 0, 4},         {4, 4, 2, 7}, /* rows overlap */
               {4, 4, 1000, 100000}, {INT64_MAX, 4, 1, 4}, {4, INT64_MAX, 1, 4}, {2, 4, 1, SIZE_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dsv4_graph *g = dsv4_graph_create("bad view");
        assert_int_equal(dsv4_graph_view(g, "odd", area, bad[i].rows, bad[i].cols, bad[i].elem_bytes, bad[i].row_bytes), 0);
        assert_refused(g, "view odd", "row bytes");
    }
    dsv4_graph *g = dsv4_graph_create("one row");
    dsv4_graph_view(g, "one row has no stride", area, 1, 64, 1, 0);
    dsv4_graph_view(g, "empty", NULL, 0, 0, 4, 0);
    seal(g, DSV4_DEPS_BLOCK);
    dsv4_graph_destroy(g);

    void *data = area;
    for (int i = 0; i < 3; i++) {
        g = dsv4_graph_create("bad intermediate");
        dsv4_graph_alloc(g, "odd", bad[i].rows, bad[i].cols, bad[i].elem_bytes, &data);
        assert_null(data);
        assert_refused(g, "view odd", "element bytes");
    }

    g = dsv4_graph_create("too large");
    data = area;
    dsv4_graph_alloc(g, "huge", INT64_MAX, 16, 4, &data);
    assert_null(data);
    dsv4_error err = {0};
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), DSV4_E_NO_MEMORY);
    dsv4_graph_destroy(g);
}

static void test_bad_boxes_are_refused(void **state)
{
    (void)state;
    static const dsv4_box outside[] = {{0, 65, 0, 1}, {-1, 1, 0, 1}, {0, 1, 0, 65}, {0, 1, -1, 1},
                                       {5, 4, 0, 1},  {0, 1, 3, 2},  {70, 70, 0, 0}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        dsv4_graph *g = dsv4_graph_create("bad box");
        view_area(g);
        tiling t = {.n_tiles = 1, .tiles = {{0, DSV4_READ, outside[i], 0, 0}}};
        char box[64];
        snprintf(box, sizeof box, "reads m[%d:%d, %d:%d]", (int)outside[i].row0, (int)outside[i].row1, (int)outside[i].col0,
                 (int)outside[i].col1);
        tiling_stage(g, "s.box", 2, &t);
        assert_refused(g, "s.box block 0", box);
    }
    static const tiling later = {.n_tiles = 1, .tiles = {{0, DSV4_UPDATE, {0, 16, 0, 64}, 16, 0}}};
    dsv4_graph *g = dsv4_graph_create("bad tail");
    view_area(g);
    tiling_stage(g, "s.box", 5, &later);
    assert_refused(g, "s.box block 4", "updates m[64:80, 0:64]");
}

static void test_bad_touches_are_refused(void **state)
{
    (void)state;
    static const tile bad[] = {{1, DSV4_READ, {0, 1, 0, 1}, 0, 0},
                               {-1, DSV4_READ, {0, 1, 0, 1}, 0, 0},
                               {0, 0, {0, 1, 0, 1}, 0, 0},
                               {0, DSV4_UNTRACKED, {0, 1, 0, 1}, 0, 0},
                               {0, 8 | DSV4_READ, {0, 1, 0, 1}, 0, 0}};
    static const char *const named[] = {"view 1", "view -1", "mode 0", "mode 4", "mode 9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiling t = {.n_tiles = 1, .tiles = {bad[i]}};
        dsv4_graph *g = dsv4_graph_create("bad touch");
        view_area(g);
        tiling_stage(g, "s.touch", 2, &t);
        assert_refused(g, "s.touch block 0", named[i]);
    }
}

static void test_bad_costs_are_refused(void **state)
{
    (void)state;
    static const dsv4_work bad[] = {{.flops_bf16 = -1e18}, {.ops_i8 = -1e18},    {.vector_ops = -1e18},
                                    {.flops_bf16 = NAN},   {.ops_i8 = INFINITY}, {.gathered_bytes = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiling t = {.work = bad[i]};
        dsv4_graph *g = dsv4_graph_create("bad cost");
        tiling_stage(g, "s.cost", 2, &t);
        assert_refused(g, "s.cost block 0", "costs");
    }
}

static void test_bad_stages_are_refused(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("bad stage");
    assert_int_equal(dsv4_graph_stage(g, &(dsv4_stage_desc){.name = "s.bad", .n_blocks = -1, .run = tiling_run_nothing}), 0);
    assert_refused(g, "s.bad", "-1 blocks");
    g = dsv4_graph_create("bad stage");
    dsv4_graph_stage(g, &(dsv4_stage_desc){.name = "s.bad", .n_blocks = INT64_MAX, .run = tiling_run_nothing});
    assert_refused(g, "s.bad", "9223372036854775807 blocks");
    g = dsv4_graph_create("bad stage");
    dsv4_graph_stage(g, &(dsv4_stage_desc){.name = "s.bad", .n_blocks = 3});
    assert_refused(g, "s.bad", "no function");
}

/* More scratch than there is address space: refused where it would be allocated, never rounded to little. */
static void test_scratch_of_any_size_is_checked(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("scratch");
    dsv4_stage_desc desc = {.name = "s.greedy", .n_blocks = 1, .run = tiling_run_nothing, .scratch_bytes = SIZE_MAX - 10};
    dsv4_graph_stage(g, &desc);
    seal(g, DSV4_DEPS_BLOCK);
    dsv4_exec *x = NULL;
    dsv4_error err = {0};
    assert_int_equal(dsv4_exec_create(g, one_thread, 0, &x, &err), DSV4_E_NO_MEMORY);
    assert_null(x);
    assert_int_equal(dsv4_graph_verify(g, 1, NULL, &err), DSV4_E_NO_MEMORY);
    dsv4_graph_destroy(g);
}

static void test_bad_manual_regions_are_refused(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("open");
    dsv4_graph_manual_begin(g);
    assert_refused(g, "manual region", "does not end");
    g = dsv4_graph_create("nested");
    dsv4_graph_manual_begin(g);
    dsv4_graph_manual_begin(g);
    assert_refused(g, "manual region", "inside another");
    g = dsv4_graph_create("ended");
    dsv4_graph_manual_end(g);
    assert_refused(g, "manual region", "not begun");
}

/* The first error stays; everything after it does nothing. */
static void test_first_error_stays(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("sticky");
    dsv4_error mine = {DSV4_E_VALUE, "op: T is 0, expected at least 1"}, later = {DSV4_E_SHAPE, "later"}, err = {0};
    void *data = area;
    view_area(g);
    dsv4_graph_fail(g, &mine);
    dsv4_graph_fail(g, &later);
    dsv4_graph_after(g, 7, 8);
    dsv4_graph_manual_end(g);
    assert_null(dsv4_graph_memory(g, 8));
    assert_int_equal(view_area(g), 0);
    assert_int_equal(dsv4_graph_alloc(g, "v", 1, 1, 1, &data), 0);
    assert_null(data);
    assert_int_equal(tiling_stage(g, "s.a", 3, &(const tiling){0}), 0);
    assert_int_equal(dsv4_graph_join(g, "j"), 0);
    assert_int_equal(dsv4_graph_get_info(g).n_stages, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, mine.text);
    }
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, one_thread, 0, &x, &err), DSV4_E_GRAPH);
    dsv4_graph_destroy(g);
}

/* A failed seal leaves a graph that cannot be sealed any more. */
static void test_failed_seal_stays(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("failed");
    tiling t = {.n_tiles = 1, .tiles = {{5, DSV4_READ, {0, 1, 0, 1}, 0, 0}}};
    tiling_stage(g, "s.a", 1, &t);
    dsv4_error first = {0}, second = {0};
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &first), DSV4_E_GRAPH);
    t.n_tiles = 0;
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &second), DSV4_E_GRAPH);
    assert_string_equal(first.text, second.text);
    assert_int_equal(dsv4_graph_join(g, "late"), 0);
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycle_names_blocks),
        cmocka_unit_test(test_self_edges_are_refused),
        cmocka_unit_test(test_bad_edges_are_refused),
        cmocka_unit_test(test_bad_views_are_refused),
        cmocka_unit_test(test_bad_boxes_are_refused),
        cmocka_unit_test(test_bad_touches_are_refused),
        cmocka_unit_test(test_bad_costs_are_refused),
        cmocka_unit_test(test_bad_stages_are_refused),
        cmocka_unit_test(test_scratch_of_any_size_is_checked),
        cmocka_unit_test(test_bad_manual_regions_are_refused),
        cmocka_unit_test(test_first_error_stays),
        cmocka_unit_test(test_failed_seal_stays),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
