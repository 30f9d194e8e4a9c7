/* Wrong declarations, one at a time, and whether verify finds and names them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "rt_helpers.h"

enum { N = 8, IN = 0, MID = 1, OUT = 2, FLAGS = 3 };

/* The graph under test: "v.fill" writes the rows of mid from those of in, "v.case" is the stage of the test, "v.last" updates the
 * rows of out. */
static struct buffers {
    uint8_t in[N][N], mid[N][N], out[N][N], flags[N];
} now, initial;

static dsv4_pool *pool;

static int create_pool(void **state)
{
    (void)state;
    dice d = dice_make(1);
    uint8_t *bytes = (uint8_t *)&initial;
    for (size_t i = 0; i < sizeof initial; i++) {
        bytes[i] = (uint8_t)dice_u64(&d);
    }
    memset(initial.flags, 0, sizeof initial.flags);
    return dsv4_pool_create(2, &pool, NULL) == DSV4_OK ? 0 : -1;
}

static int destroy_pool(void **state)
{
    (void)state;
    dsv4_pool_destroy(pool);
    return 0;
}

static void run_fill(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int i = 0; i < N; i++) {
        now.mid[block][i] = (uint8_t)(now.in[block][i] + 1);
    }
}

static void run_last(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int i = 0; i < N; i++) {
        now.out[block][i] = (uint8_t)(3 * now.out[block][i] + now.mid[block][i]);
    }
}

static void describe_fill(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, IN, block, block + 1, 0, N);
    dsv4_writes(d, MID, block, block + 1, 0, N);
}

static void describe_last(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, MID, block, block + 1, 0, N);
    dsv4_updates(d, OUT, block, block + 1, 0, N);
}

/* The views do not touch each other: four regions. */
static dsv4_graph *build(dsv4_block_fn *run, dsv4_describe_fn *describe)
{
    dsv4_graph *g = dsv4_graph_create("verified");
    dsv4_graph_view(g, "in", now.in, N, N, 1, N);
    dsv4_graph_view(g, "mid", now.mid, N, N, 1, N);
    dsv4_graph_view(g, "out", now.out, N, N, 1, N);
    dsv4_graph_view(g, "flags", now.flags, 1, N, 1, N);
    dsv4_graph_stage(g, &(dsv4_stage_desc){"v.fill", N, run_fill, describe_fill, NULL, 0, DSV4_VECTOR});
    dsv4_graph_stage(g, &(dsv4_stage_desc){"v.case", N, run, describe, NULL, N, DSV4_VECTOR});
    dsv4_graph_stage(g, &(dsv4_stage_desc){"v.last", N, run_last, describe_last, NULL, 0, DSV4_VECTOR});
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return g;
}

/* Verify makes n_expected findings and names both texts. */
static void verify_once(dsv4_graph *g, uint64_t seed, int64_t n_expected, const char *block, const char *what)
{
    int64_t n_findings = -1;
    dsv4_error err = {0};
    now = initial;
    assert_int_equal(dsv4_graph_verify(g, seed, &n_findings, &err), n_expected == 0 ? DSV4_OK : DSV4_E_GRAPH);
    assert_int_equal(n_findings, n_expected);
    if (n_expected > 0 && (strstr(err.text, block) == NULL || strstr(err.text, what) == NULL)) {
        fail_msg("\"%s\" does not name \"%s\" and \"%s\"", err.text, block, what);
    }
}

/* Likewise in several orders; the buffers end as after a replay. */
static void check(dsv4_block_fn *run, dsv4_describe_fn *describe, int64_t n_expected, const char *block, const char *what)
{
    dsv4_graph *g = build(run, describe);
    dsv4_exec *x;
    assert_int_equal(dsv4_exec_create(g, pool, 0, &x, NULL), DSV4_OK);
    now = initial;
    assert_int_equal(dsv4_exec_run(x, 0, NULL), DSV4_OK);
    struct buffers replayed = now;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        verify_once(g, seed, n_expected, block, what);
        assert_memory_equal(&now, &replayed, sizeof now);
    }
    dsv4_exec_destroy(x);
    dsv4_graph_destroy(g);
}

/* ---- the stage under test: reads a row of mid, writes it to out ------------------------------------------------------------ */

static void describe_copy(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, MID, block, block + 1, 0, N);
    dsv4_writes(d, OUT, block, block + 1, 0, N);
}

/* Passes the row through scratch, which it fills first. */
static void run_copy(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    memcpy(scratch, now.mid[block], N);
    memcpy(now.out[block], scratch, N);
}

static void test_right_declarations(void **state)
{
    (void)state;
    check(run_copy, describe_copy, 0, "", "");
}

static void run_update(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    for (int i = 0; i < N; i++) {
        now.out[block][i] ^= now.mid[block][i];
    }
}

static void describe_update(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, MID, block, block + 1, 0, N);
    dsv4_updates(d, OUT, block, block + 1, 0, N);
}

static void test_right_update(void **state)
{
    (void)state;
    check(run_update, describe_update, 0, "", "");
}

/* A write that data decides against is no wrong declaration. */
static void run_nothing_written(const void *arg, int64_t block, void *scratch)
{
    if (now.flags[block] != 0) {
        run_copy(arg, block, scratch);
    }
}

static void describe_with_flag(const void *arg, int64_t block, dsv4_describe *d)
{
    describe_copy(arg, block, d);
    dsv4_reads(d, FLAGS, 0, 1, block, block + 1);
}

static void test_declared_write_may_be_left_out(void **state)
{
    (void)state;
    check(run_nothing_written, describe_with_flag, 0, "", "");
}

/* ---- what is wrong --------------------------------------------------------------------------------------------------------- */

static void run_writes_elsewhere(const void *arg, int64_t block, void *scratch)
{
    run_copy(arg, block, scratch);
    if (block == 2) {
        now.mid[2][3]++;
    }
}

static void test_undeclared_write(void **state)
{
    (void)state;
    check(run_writes_elsewhere, describe_copy, 1, "v.case block 2", "writes mid[2:3, 3:4], which it does not declare");
}

/* Block 2 writes behind its columns what v.fill has written there. */
static void run_rewrites(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)scratch;
    memcpy(now.out[block], now.mid[block], N - 1);
    if (block == 2) {
        now.mid[2][N - 1] = (uint8_t)(now.in[2][N - 1] + 1);
    }
}

static void describe_all_but_last_column(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, MID, block, block + 1, 0, N - 1);
    dsv4_writes(d, OUT, block, block + 1, 0, N - 1);
}

/* A write that changes nothing races all the same. */
static void test_undeclared_write_of_the_same_value(void **state)
{
    (void)state;
    check(run_rewrites, describe_all_but_last_column, 1, "v.case block 2", "writes mid[2:3, 7:8], which it does not declare");
}

static void run_writes_constant(const void *arg, int64_t block, void *scratch)
{
    run_copy(arg, block, scratch);
    if (block == 5) {
        now.flags[6] = 9;
    }
}

/* Memory that no stage declares to write: the one block that does is reported once. */
static void test_undeclared_write_to_constant(void **state)
{
    (void)state;
    check(run_writes_constant, describe_copy, 1, "v.case block 5", "writes flags[0:1, 6:7], which it does not declare");
}

static void describe_copy_behind_all(const void *arg, int64_t block, dsv4_describe *d)
{
    describe_copy(arg, block, d);
    dsv4_reads(d, MID, 0, N, 0, 1);
}

static void run_reads_elsewhere(const void *arg, int64_t block, void *scratch)
{
    run_copy(arg, block, scratch);
    if (block == 4) {
        now.out[4][0] ^= now.mid[7][5];
    }
}

/* The block also waits for row 7, so that the replay to compare with is determined. */
static void test_undeclared_read(void **state)
{
    (void)state;
    check(run_reads_elsewhere, describe_copy_behind_all, 1, "v.case block 4", "reads mid[7:8, 5:6], which it does not declare");
}

static void run_reads_constant(const void *arg, int64_t block, void *scratch)
{
    run_copy(arg, block, scratch);
    now.out[block][0] ^= now.in[1][1];
}

static void test_undeclared_read_of_constant_is_harmless(void **state)
{
    (void)state;
    check(run_reads_constant, describe_copy, 0, "", "");
}

static void test_update_declared_as_write(void **state)
{
    (void)state;
    check(run_update, describe_copy, N, "v.case block ", "reads out[");
}

static void run_reads_scratch(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    const uint8_t *bytes = scratch;
    memcpy(now.out[block], now.mid[block], N);
    if (block == 6) {
        now.out[6][7] ^= bytes[3];
    }
}

static void test_scratch_read_before_written(void **state)
{
    (void)state;
    dsv4_graph *g = build(run_reads_scratch, describe_copy);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        verify_once(g, seed, 1, "v.case block 6", "reads its scratch before writing it");
    }
    dsv4_graph_destroy(g);
}

static void run_reads_two_places(const void *arg, int64_t block, void *scratch)
{
    run_copy(arg, block, scratch);
    if (block == 1 && now.flags[0] != 0 && now.mid[7][0] != (uint8_t)(now.in[7][0] + 1)) {
        now.out[1][1]++;
    }
}

static void describe_two_places(const void *arg, int64_t block, dsv4_describe *d)
{
    describe_copy(arg, block, d);
    dsv4_reads(d, MID, 7, 8, 1, 2);
    if (block == 0) {
        dsv4_updates(d, FLAGS, 0, 1, N - 1, N);
    }
}

/* Noise in one of the two buffers changes nothing, noise in both does. */
static void test_undeclared_reads_that_count_together(void **state)
{
    (void)state;
    check(run_reads_two_places, describe_two_places, 1, "v.case block 1", "reads several places at once");
}

static void describe_reads_too_little(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, MID, (dsv4_box){block, block + 1, 0, N});
    dsv4_writes(d, OUT, block, block + 1, 0, N);
}

/* An access that is declared and not tracked may be unordered; verify names both blocks and boxes. */
static void test_unordered_conflict(void **state)
{
    (void)state;
    dsv4_graph *g = build(run_copy, describe_reads_too_little);
    verify_once(g, 3, N, "unordered conflict: v.fill block ", " writes mid[");
    verify_once(g, 3, N, ", v.case block ", " reads mid[");
    dsv4_graph_destroy(g);
}

static void describe_copy_anywhere(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)arg;
    dsv4_reads(d, 0, block, block + 1, 0, N);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, 1, (dsv4_box){0, N, 0, N});
}

/* Blocks whose rows are known only when they run declare all rows that they may touch; that these meet is no finding. */
static void test_untracked_boxes_larger_than_what_is_touched(void **state)
{
    (void)state;
    dsv4_graph *g = dsv4_graph_create("verified");
    dsv4_graph_view(g, "mid", now.mid, N, N, 1, N);
    dsv4_graph_view(g, "out", now.out, N, N, 1, N);
    dsv4_graph_stage(g, &(dsv4_stage_desc){"v.case", N, run_copy, describe_copy_anywhere, NULL, N, DSV4_VECTOR});
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, NULL), DSV4_OK);
    verify_once(g, 3, 0, "", "");
    dsv4_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_declarations),
        cmocka_unit_test(test_right_update),
        cmocka_unit_test(test_declared_write_may_be_left_out),
        cmocka_unit_test(test_undeclared_write),
        cmocka_unit_test(test_undeclared_write_of_the_same_value),
        cmocka_unit_test(test_undeclared_write_to_constant),
        cmocka_unit_test(test_undeclared_read),
        cmocka_unit_test(test_undeclared_read_of_constant_is_harmless),
        cmocka_unit_test(test_update_declared_as_write),
        cmocka_unit_test(test_scratch_read_before_written),
        cmocka_unit_test(test_undeclared_reads_that_count_together),
        cmocka_unit_test(test_unordered_conflict),
        cmocka_unit_test(test_untracked_boxes_larger_than_what_is_touched),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
