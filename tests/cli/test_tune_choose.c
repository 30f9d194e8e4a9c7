/* Which values `dsv4 tune` tries, and which of them it keeps: made-up rules and times. */
#include "require.h"

#include <math.h>

#include "cli/tune/tune.h"

/* ---- candidates ----------------------------------------------------------------------------------------------------------- */

enum { T_TILE, NORM_T_TILE, PANEL, HEADS, SPLIT, PARTS, ALL, RAFT_TILE };

static const op_tile tiles[] = {
    [T_TILE] = {"t_tile", "", 128, 64, 1, NULL, NULL},
    [NORM_T_TILE] = {"norm_t_tile", "", 4, 16, 1, NULL, NULL},
    [PANEL] = {"n_tile", "", 64, 64, 32, NULL, NULL},
    [HEADS] = {"heads", "", 6, 6, 1, "H", NULL},
    [SPLIT] = {"k_split", "", 1, 1, 1, NULL, "D"},
    [PARTS] = {"parts", "", 8, 8, 1, NULL, NULL},
    [ALL] = {"key_blocks", "", INT32_MAX, INT32_MAX, 1, NULL, NULL},
    [RAFT_TILE] = {"raft_tile", "", 16, 16, 1, NULL, NULL},
};

static const dsv4_op op = {.name = "made_up", .tiles = tiles, .n_tiles = sizeof tiles / sizeof *tiles};

/* 10 tokens, 24 heads, a sum of 1024. */
static op_context make_call(void)
{
    op_context c = {.op = &op, .dims = op_dims_of_config(&(dsv4_config){.num_attention_heads = 24, .hidden_size = 1024})};
    c.dims.of[OP_T] = 10;
    for (size_t i = 0; i < op.n_tiles; i++) {
        c.tile[i] = tiles[i].decode;
    }
    return c;
}

static void expect_axis(size_t tile, int n, const int64_t *values, int64_t start)
{
    op_context c = make_call();
    tune_axis a = tune_axis_of(&c, tile);
    assert_int_equal(a.tile, tile);
    assert_int_equal(a.n, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(a.value[i], values[i]);
    }
    assert_int_equal(a.value[a.start], start);
}
#define EXPECT_AXIS(tile, start, ...) \
    expect_axis(tile, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__}, start)

static void test_values_obey_rules(void **state)
{
    (void)state;
    EXPECT_AXIS(PARTS, 8, 1, 2, 4, 8, 16, 32, 64);
    EXPECT_AXIS(PANEL, 64, 32, 64, 128, 256, 512); /* multiples of 32 */
    EXPECT_AXIS(HEADS, 6, 1, 3, 6, 12, 24);        /* divisors of 24 */
    EXPECT_AXIS(SPLIT, 1, 1, 2);                   /* 1024 has two chunks of 512 */
    EXPECT_AXIS(ALL, INT32_MAX, 1, 2, 4, 8, 16, 32, 64, INT32_MAX);
}

/* All values from 10 on take 10 rows at once. */
static void test_rows_end_with_the_tokens(void **state)
{
    (void)state;
    EXPECT_AXIS(T_TILE, 128, 2, 4, 8, 128);
    EXPECT_AXIS(NORM_T_TILE, 4, 1, 2, 4, 8, 16);
    EXPECT_AXIS(RAFT_TILE, 16, 2, 4, 8, 16, 32, 64, 128);
}

/* ---- times ----------------------------------------------------------------------------------------------------------------- */

static void test_median_and_error(void **state)
{
    (void)state;
    double samples[] = {12, 10, 11, 9, 100}, same[] = {3, 3, 3};
    tune_time t = tune_time_of(samples, 5), calm = tune_time_of(same, 3);
    assert_true(t.median_s == 11); /* deviations 0, 1, 1, 2, 89 */
    assert_true(fabs(t.error_s - 1.2533 * 1.4826 * 1 / sqrt(5)) < 1e-9);
    assert_true(calm.median_s == 3 && calm.error_s == 0);
}

static void test_repeats_that_differ_are_uncertain(void **state)
{
    (void)state;
    tune_result r[] = {{0.90, 0.01, 1, 8}, {1.10, 0.02, 1, 8}, {0.94, 0.01, 1, 8}};
    tune_result all = tune_combine(r, 3), one = tune_combine(r, 1);
    assert_true(all.ratio == 0.94 && fabs(all.error - 0.10) < 1e-9 && all.n_changed == 1 && all.n_blocks == 8);
    assert_true(one.ratio == 0.90 && one.error == 0.01);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------------------- */

static void test_fastest_wins(void **state)
{
    (void)state;
    tune_result r[] = {{1, 0.002, 0, 64}, {0.9, 0.002, 1, 64}, {0.7, 0.002, 3, 512}, {0.8, 0.002, 2, 64}};
    assert_int_equal(tune_choose(r, 4, 0.01), 2);
}

static void test_simplest_within_noise(void **state)
{
    (void)state;
    tune_result near_default[] = {{1, 0.002, 0, 64}, {0.995, 0.002, 1, 32}};
    assert_int_equal(tune_choose(near_default, 2, 0.01), 0);
    tune_result near_single[] = {{1, 0.002, 0, 64}, {0.900, 0.002, 2, 32}, {0.905, 0.002, 1, 64}, {0.908, 0.002, 1, 32}};
    assert_int_equal(tune_choose(near_single, 4, 0.01), 3); /* one change, larger blocks */
    tune_result same_blocks[] = {{0.905, 0.002, 1, 64}, {0.900, 0.002, 1, 64}};
    assert_int_equal(tune_choose(same_blocks, 2, 0.01), 1);
}

/* The same medians are a gain with small errors and none with large ones. */
static void test_errors_decide(void **state)
{
    (void)state;
    tune_result r[] = {{1, 0.01, 0, 64}, {0.95, 0.01, 1, 64}}, wide[] = {{1, 0.03, 0, 64}, {0.95, 0.03, 1, 64}};
    assert_int_equal(tune_choose(r, 2, 0.01), 1);
    assert_int_equal(tune_choose(wide, 2, 0.01), 0);
    assert_int_equal(tune_choose(r, 2, 0.06), 0);
}

static void test_unmeasured_are_never_chosen(void **state)
{
    (void)state;
    tune_result r[] = {{0, 0, 0, 0}, {1.2, 0.01, 1, 64}, {0, 0, 1, 0}};
    assert_int_equal(tune_choose(r, 3, 0.01), 1);
    assert_int_equal(tune_choose(r, 1, 0.01), -1);
    assert_int_equal(tune_choose(r, 0, 0.01), -1);
}

static void test_weights(void **state)
{
    (void)state;
    tune_result gains[] = {{1.3, 0.002, 1, 0}, {1, 0, 0, 0}, {0.9, 0.002, 1, 0}, {0, 0, 0, 0}};
    tune_weight w = tune_weigh(gains, 4, 1, 0.01);
    assert_true(fabs(w.gain - 0.1) < 1e-9 && fabs(w.spread - 0.4) < 1e-9);
    tune_result noise[] = {{0.995, 0.002, 1, 0}, {1, 0, 0, 0}};
    assert_true(tune_weigh(noise, 2, 1, 0.01).gain == 0);
}

static void test_rank(void **state)
{
    (void)state;
    const tune_weight weights[] = {{0, 0.5}, {0.1, 0.2}, {0, 0.9}, {0.3, 0.3}, {0.1, 0.4}, {0, 0.5}};
    const int expected[] = {3, 4, 1, 2, 0, 5};
    int rank[6];
    tune_rank(weights, 6, rank);
    assert_memory_equal(rank, expected, sizeof rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_obey_rules), cmocka_unit_test(test_rows_end_with_the_tokens),
        cmocka_unit_test(test_median_and_error),  cmocka_unit_test(test_repeats_that_differ_are_uncertain),
        cmocka_unit_test(test_fastest_wins),      cmocka_unit_test(test_simplest_within_noise),
        cmocka_unit_test(test_errors_decide),     cmocka_unit_test(test_unmeasured_are_never_chosen),
        cmocka_unit_test(test_weights),           cmocka_unit_test(test_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
