/* Drawing compressor states far into a context: a request's pages are used in turn, and never by two positions that a step needs
 * (SPEC 4.3 I2). The model is TINY. */
#include "ops/made.h"

#include <math.h>

/* 65 pages of 4 rows a request: position p is in row p mod 260. */
static void decode_uses_its_pages_in_turn(void **state)
{
    static const op_tensor rows[] = {
        MADE("table", DSV4_I32, "B,SPR", 0, 0, "table:SP"),
        MADE("state_slots", DSV4_I64, "T", 0, 0, "state_slots:table"),
    };
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 2, 2, 1039);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    (void)state;
    assert_int_equal(get_tensor(&list, "table").shape[1], 261); /* 1041 positions */
    EXPECT_VALUES(&list, "table", 63, 63, 64, 0, 1);
    EXPECT_VALUES(&list, "table", 259, 64, 0, 65, 66);
    EXPECT_VALUES(&list, "table", 261 + 64, 129, 65);
    EXPECT_VALUES(&list, "state_slots", 0, 259, 0, 260 + 259, 260); /* 1040 is four times 260 */
    dsv4_tensor_list_deinit(&list);
}

/* 64 pages of 8 rows; entries of pages 0 and 31 change places in every turn. */
static void swapped_pages_stay_swapped(void **state)
{
    static const op_tensor rows[] = {MADE("table", DSV4_I32, "B,SPR", 0, 0, "table_swapped:SP")};
    const dsv4_op op = op_of("decode_compressor_ratio128", DSV4_DECODE, 128, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 2, 1, 1022);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    (void)state;
    assert_int_equal(get_tensor(&list, "table").shape[1], 128);
    EXPECT_VALUES(&list, "table", 0, 31, 1);
    EXPECT_VALUES(&list, "table", 30, 30, 0, 32);
    EXPECT_VALUES(&list, "table", 63, 63, 31, 1);
    EXPECT_VALUES(&list, "table", 128 + 63, 127, 95, 65);
    EXPECT_VALUES(&list, "table", 128 + 94, 94, 64, 96);
    dsv4_tensor_list_deinit(&list);
}

/* The last `span` positions before a chunk and those of the chunk have a row each. */
static void check_chunk(int ratio, int64_t span, int64_t start, int64_t n_tokens, int64_t n_pages)
{
    static const op_tensor rows[] = {
        MADE("table", DSV4_I32, "SPR", 17, 3, "table_permuted:SP"),
        MADE("kv_state", DSV4_F32, "SP,SR,2*hd", 0.05, 0, "history:table"),
    };
    const dsv4_op op = op_of("prefill_attention_csa", DSV4_PREFILL, ratio, ROWS(rows));
    const op_call call = call_of(DSV4_PREFILL, 1, n_tokens, start);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    const dsv4_tensor table = get_tensor(&list, "table"), kv = get_tensor(&list, "kv_state");
    const int64_t page = kv.shape[1];
    bool *taken = test_calloc((size_t)(n_pages * page), sizeof *taken);
    assert_int_equal(kv.shape[0], n_pages);
    assert_int_equal(dsv4_tensor_count(&table), (start + n_tokens + page - 1) / page);
    for (int64_t p = start >= span ? start - span : 0; p < start + n_tokens; p++) {
        const int64_t row = (int64_t)dsv4_tensor_get(&table, p / page) * page + p % page;
        assert_true(row >= 0 && row < n_pages * page && !taken[row]);
        taken[row] = true;
    }
    test_free(taken);
    dsv4_tensor_list_deinit(&list);
}

static void prefill_keeps_window_and_chunk_apart(void **state)
{
    (void)state;
    check_chunk(4, 8, 5000, 128, 65);
    check_chunk(4, 8, 5001, 255, 66); /* 263 rows */
    check_chunk(4, 8, 5003, 601, 153);
    check_chunk(4, 8, 0, 601, 151);
    check_chunk(128, 128, 5000, 128, 64);
    check_chunk(128, 128, 5005, 1001, 142); /* 1129 rows */
    check_chunk(128, 128, 100, 128, 29);
}

/* Every row of a full ring has been written, and of one that is not full those before the call. */
static void decode_history_fills_the_ring(void **state)
{
    static const op_tensor rows[] = {
        MADE("compress_state", DSV4_F32, "SP,SR,4*hd", 0.05, 0, "history_decode:table"),
        MADE("table", DSV4_I32, "B,SPR", 0, 0, "table:SP"),
    };
    static const int64_t starts[] = {258, 260, 700};
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(rows));
    const dsv4_config config = preset("tiny");
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        const op_call call = call_of(DSV4_DECODE, 1, 2, starts[i]);
        dsv4_tensor_list list = draw(&op, &config, &call);
        const dsv4_tensor drawn = get_tensor(&list, "compress_state");
        const int64_t cols = 4 * config.head_dim;
        assert_int_equal(dsv4_tensor_count(&drawn), 260 * cols);
        for (int64_t row = 0; row < 260; row++) {
            const float last = ((const float *)drawn.data)[row * cols + cols - 1];
            assert_true(row < starts[i] ? isfinite(last) && last != 0 : last == -INFINITY);
        }
        dsv4_tensor_list_deinit(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_uses_its_pages_in_turn),
        cmocka_unit_test(swapped_pages_stay_swapped),
        cmocka_unit_test(prefill_keeps_window_and_chunk_apart),
        cmocka_unit_test(decode_history_fills_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
