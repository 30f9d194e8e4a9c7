/* Drawing the inputs of a call: positions, pages, slots, rope rows and histories against values worked out by hand. The model is
 * TINY: W = BS = 16, N = 160. */
#include "ops/made.h"

#include <float.h>
#include <math.h>

#include "golden/golden.h"

/* Which rows of a tensor hold anything but zeros: row_is_set[n_rows]. */
static void find_set_rows(const dsv4_tensor *t, bool *row_is_set, int64_t n_rows)
{
    const int64_t cols = dsv4_tensor_count(t) / n_rows;
    memset(row_is_set, 0, (size_t)n_rows * sizeof *row_is_set);
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        row_is_set[i / cols] = row_is_set[i / cols] || dsv4_tensor_get(t, i) != 0;
    }
}

/* ---- positions and slots -------------------------------------------------------------------------------------------------- */

static void decode_slots_of_ratio_4(void **state)
{
    static const op_tensor rows[] = {
        MADE("position_ids", DSV4_I32, "B,S", 0, 0, "positions"),
        MADE("kv_seq_lens", DSV4_I32, "B", 0, 0, "lengths"),
        MADE("state_slots", DSV4_I64, "B,S", 0, 0, "state_slots:table"),
        MADE("cmp_slots", DSV4_I64, "B,S", 4, 0, "cache_slots:"),
        MADE("table", DSV4_I32, "B,SPR", 0, 0, "table"),
    };
    const dsv4_op op = op_of("decode_compressor_ratio4", DSV4_DECODE, 4, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 4, 2, OP_UNKNOWN);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    (void)state;
    EXPECT_VALUES(&list, "position_ids", 0, 0, 1, 1, 2, 2, 3, 3, 4);
    EXPECT_VALUES(&list, "kv_seq_lens", 0, 2, 3, 4, 5);
    EXPECT_VALUES(&list, "table", 0, 0, 1, 2, 3, 4, 5, 6, 7); /* five positions on two pages of four rows */
    EXPECT_VALUES(&list, "state_slots", 0, 0, 1, 9, 10, 18, 19, 27, 28);
    EXPECT_VALUES(&list, "cmp_slots", 0, -1, -1, -1, -1, -1, 2 * 32, 3 * 32, -1); /* two pages of 16 per request */
    dsv4_tensor_list_deinit(&list);
}

static void decode_slots_through_swapped_pages(void **state)
{
    static const op_tensor rows[] = {
        MADE("position_ids", DSV4_I32, "B,S", 0, 0, "positions"),
        MADE("table", DSV4_I32, "B,SPR", 0, 0, "table_swapped"),
        MADE("state_slots", DSV4_I64, "B,S", 0, 0, "state_slots:table"),
    };
    const dsv4_op op = op_of("decode_compressor_ratio128", DSV4_DECODE, 128, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 7, 2, OP_UNKNOWN);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    enum { P = 33 }; /* 257 positions on pages of 8 */
    (void)state;
    EXPECT_VALUES(&list, "position_ids", 0, 7, 8, 10, 11, 126, 127, 127, 128, 254, 255, 255, 256, 7, 8);
    EXPECT_VALUES(&list, "table", 0, 31, 1, 2);
    EXPECT_VALUES(&list, "table", 30, 30, 0, 32, P + 31);
    EXPECT_VALUES(&list, "state_slots", 0, 31 * 8 + 7, 8, (P + 1) * 8 + 2, (P + 1) * 8 + 3);
    EXPECT_VALUES(&list, "state_slots", 6, (3 * P + 15) * 8 + 7, (3 * P + 16) * 8);
    EXPECT_VALUES(&list, "state_slots", 10, 5 * P * 8 + 7, (5 * P + 32) * 8);
    dsv4_tensor_list_deinit(&list);
}

static void default_positions_of_the_layers(void **state)
{
    static const op_tensor rows[] = {
        MADE("kv_seq_lens", DSV4_I32, "B", 0, 0, "lengths"),
        MADE("table", DSV4_I32, "B,WPR", 0, 0, "table"),
        MADE("ring_slots", DSV4_I64, "T", 0, 0, "ring_slots:table"),
    };
    const op_call call = call_of(DSV4_DECODE, 10, 2, OP_UNKNOWN);
    const dsv4_config config = preset("tiny");
    const dsv4_op csa = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(rows));
    const dsv4_op indexer = op_of("decode_indexer", DSV4_DECODE, OP_ANY, ROWS(rows));
    const dsv4_op hca = op_of("decode_attention_hca", DSV4_DECODE, 128, ROWS(rows));
    (void)state;
    dsv4_tensor_list list = draw(&csa, &config, &call);
    EXPECT_VALUES(&list, "kv_seq_lens", 0, 12, 4, 5, 6, 8, 13, 16, 17, 18, 12);
    EXPECT_VALUES(&list, "ring_slots", 0, 10, 11, 16 + 2, 16 + 3);
    EXPECT_VALUES(&list, "ring_slots", 12, 6 * 16 + 14, 6 * 16 + 15, 7 * 16 + 15, 7 * 16, 8 * 16, 8 * 16 + 1);
    dsv4_tensor_list_deinit(&list);
    list = draw(&indexer, &config, &call);
    EXPECT_VALUES(&list, "kv_seq_lens", 0, 2, 3, 4, 5, 8, 9, 129, 128, 256, 2);
    dsv4_tensor_list_deinit(&list);
    list = draw(&hca, &config, &call);
    EXPECT_VALUES(&list, "kv_seq_lens", 0, 12, 128, 129, 130, 256, 385, 12);
    dsv4_tensor_list_deinit(&list);
}

static void prefill_slots_through_permuted_pages(void **state)
{
    static const op_tensor rows[] = {
        MADE("position_ids", DSV4_I32, "T", 0, 0, "positions"),
        MADE("num_tokens", DSV4_I32, "", 0, 0, "tokens"),
        MADE("offset", DSV4_I32, "", 0, 0, "window"),
        MADE("state_slots", DSV4_I64, "T", 0, 0, "state_slots:inner_table"),
        MADE("idx_slots", DSV4_I64, "T", 4, 0, "cache_slots:idx_table"),
        MADE("inner_table", DSV4_I32, "JPR", 17, 3, "table_permuted"),
        MADE("idx_table", DSV4_I32, "IPR", 5, 1, "table_permuted"),
    };
    const dsv4_op op = op_of("prefill_indexer_compressor", DSV4_PREFILL, 4, ROWS(rows));
    const op_call call = call_of(DSV4_PREFILL, 1, 6, 61);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    bool seen[17] = {false};
    (void)state;
    EXPECT_VALUES(&list, "position_ids", 0, 61, 62, 63, 64, 65, 66);
    EXPECT_VALUES(&list, "num_tokens", 0, 6);
    EXPECT_VALUES(&list, "offset", 0, 16);
    EXPECT_VALUES(&list, "idx_table", 0, 1, 0, 2); /* (5j + 1) mod 3 */
    EXPECT_VALUES(&list, "idx_slots", 0, -1, -1, 15 + 16, -1, -1, -1);
    /* 67 positions on 17 pages, which 17 does not permute but 18 does: (18j + 3) mod 17 */
    const dsv4_tensor table = get_tensor(&list, "inner_table");
    assert_int_equal(dsv4_tensor_count(&table), 17);
    for (int64_t j = 0; j < 17; j++) {
        seen[(int64_t)dsv4_tensor_get(&table, j)] = true;
    }
    for (int64_t j = 0; j < 17; j++) {
        assert_true(seen[j]);
    }
    EXPECT_VALUES(&list, "inner_table", 0, 3, 4);
    EXPECT_VALUES(&list, "state_slots", 0, 1 * 4 + 1, 1 * 4 + 2, 1 * 4 + 3, 2 * 4, 2 * 4 + 1, 2 * 4 + 2);
    dsv4_tensor_list_deinit(&list);
}

/* ---- rope ------------------------------------------------------------------------------------------------------------------- */

/* Element (row, j) of a drawn tensor is element (position, j) of the golden's table. */
static void expect_rope_row(const dsv4_tensor_list *list, const char *name, int64_t row, int64_t position, const char *table,
                            const dsv4_tensor_list *golden_tables)
{
    const dsv4_tensor got = get_tensor(list, name), want = get_tensor(golden_tables, table);
    const int64_t cols = got.shape[got.n_dims - 1], R = want.shape[1];
    for (int64_t j = 0; j < cols; j++) {
        assert_true(dsv4_tensor_get(&got, row * cols + j) == dsv4_tensor_get(&want, position * R + j));
    }
}

static dsv4_tensor_list golden_tables_of(const dsv4_config *config, int32_t ratio, int32_t n)
{
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    put_tensor(&in, "compress_ratio", dsv4_tensor_make(DSV4_I32, 0, NULL, &ratio));
    put_tensor(&in, "max_seq_len", dsv4_tensor_make(DSV4_I32, 0, NULL, &n));
    require_ok(golden_find("rope_tables")->run(config, &(dsv4_numerics){0}, &in, &out, NULL, &err), &err);
    dsv4_tensor_list_deinit(&in);
    return out;
}

static void rope_rows_are_those_of_the_tables(void **state)
{
    static const op_tensor rows[] = {
        MADE("rope_cos", DSV4_BF16, "T,R", 4, 0, "rope_rows"),       MADE("rope_sin", DSV4_BF16, "T,R", OP_ANY, 0, "rope_rows"),
        MADE("freqs_cos", DSV4_BF16, "N,R", 4, 0, "rope_table"),     MADE("first_sin", DSV4_BF16, "T,R", 4, 0, "rope_first"),
        MADE("token_cos", DSV4_F32, "T,R/2", 4, 0, "rope_token"),    MADE("start_sin", DSV4_F32, "B,R/2", 4, 1, "rope_request"),
        MADE("window_cos", DSV4_F32, "B,R/2", 4, 4, "rope_request"), MADE("plain_cos", DSV4_BF16, "T,R", 0, 0, "rope_rows"),
    };
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 2, 3, 174);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call), tables = golden_tables_of(&config, 4, 177);
    dsv4_tensor_list plain = golden_tables_of(&config, 0, 177);
    const dsv4_tensor table = get_tensor(&list, "freqs_cos"), want = get_tensor(&tables, "freqs_cos");
    (void)state;
    assert_int_equal(table.shape[0], 177); /* max_position_embeddings is 160, the call ends at 177 */
    assert_int_equal(count_bit_mismatches(&table, &want), 0);
    for (int64_t t = 0; t < 6; t++) {
        expect_rope_row(&list, "rope_cos", t, 174 + t % 3, "freqs_cos", &tables);
        expect_rope_row(&list, "rope_sin", t, 174 + t % 3, "freqs_sin", &tables);
        expect_rope_row(&list, "token_cos", t, 174 + t % 3, "freqs_cos", &tables);
        expect_rope_row(&list, "first_sin", t, t, "freqs_sin", &tables);
        expect_rope_row(&list, "plain_cos", t, 174 + t % 3, "freqs_cos", &plain);
    }
    for (int64_t b = 0; b < 2; b++) {
        expect_rope_row(&list, "start_sin", b, 174, "freqs_sin", &tables);
        expect_rope_row(&list, "window_cos", b, 172, "freqs_cos", &tables);
    }
    dsv4_tensor_list_deinit(&list);
    dsv4_tensor_list_deinit(&tables);
    dsv4_tensor_list_deinit(&plain);
}

/* ---- histories -------------------------------------------------------------------------------------------------------------- */

/* The state has six pages of four rows under (17j + 3) mod 6: positions 0, 4, 8, ... lie on pages 3, 2, 1, 0, 5, 4. */
static void check_history(int64_t start, int64_t n_tokens, int64_t first, int64_t end)
{
    static const op_tensor rows[] = {
        MADE("kv_state", DSV4_F32, "SP,SR,2*hd", 0.05, 8, "history:table"),
        MADE("table", DSV4_I32, "SPR", 17, 3, "table_permuted"),
    };
    static const int64_t page_of[6] = {3, 2, 1, 0, 5, 4};
    const dsv4_op op = op_of("prefill_compressor_ratio4", DSV4_PREFILL, 4, ROWS(rows));
    const op_call call = call_of(DSV4_PREFILL, 1, n_tokens, start);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    const dsv4_tensor kv = get_tensor(&list, "kv_state");
    bool is_set[24];
    float largest = 0;
    assert_int_equal(kv.shape[0], 6);
    find_set_rows(&kv, is_set, 24);
    for (int64_t p = 0; p < 24; p++) {
        assert_int_equal(is_set[page_of[p / 4] * 4 + p % 4], p >= first && p < end);
    }
    for (int64_t i = 0; i < dsv4_tensor_count(&kv); i++) {
        largest = fmaxf(largest, fabsf(((const float *)kv.data)[i]));
    }
    assert_true(largest > 0.0249f && largest <= 0.025f);
    dsv4_tensor_list_deinit(&list);
}

static void history_holds_the_last_positions(void **state)
{
    (void)state;
    check_history(5, 16, 0, 5);
    check_history(18, 6, 10, 18);
}

static void decode_history_and_empty_states(void **state)
{
    static const op_tensor rows[] = {
        MADE("compress_state", DSV4_F32, "SP,SR,4*hd", 0.05, 0, "history_decode:table"),
        MADE("empty", DSV4_F32, "SP,SR,4*hd", 0, 0, "empty_state"),
        MADE("table", DSV4_I32, "B,SPR", 0, 0, "table"),
    };
    const dsv4_op op = op_of("decode_attention_csa", DSV4_DECODE, 4, ROWS(rows));
    const op_call call = call_of(DSV4_DECODE, 2, 2, OP_UNKNOWN); /* starts 10 and 2: three pages each */
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list list = draw(&op, &config, &call);
    const dsv4_tensor drawn = get_tensor(&list, "compress_state"), none = get_tensor(&list, "empty");
    const int64_t cols = 4 * config.head_dim;
    double squares = 0;
    (void)state;
    assert_int_equal(drawn.shape[0], 6);
    for (int64_t row = 0; row < 24; row++) {
        const bool written = row % 12 < (row < 12 ? 10 : 2);
        for (int64_t c = 0; c < cols; c++) {
            const float value = ((const float *)drawn.data)[row * cols + c];
            assert_true(written ? value != 0 && fabsf(value) < 0.5f : value == (c < cols / 2 ? 0 : -INFINITY));
            assert_true(((const float *)none.data)[row * cols + c] == (c < cols / 2 ? 0 : -FLT_MAX));
            squares += written ? (double)value * (double)value : 0;
        }
    }
    assert_true(fabs(sqrt(squares / (double)(12 * cols)) - 0.05) < 0.003);
    dsv4_tensor_list_deinit(&list);
}

static void caches_hold_what_came_before(void **state)
{
    static const op_tensor rows[] = {
        MADE("cmp_kv", DSV4_BF16, "CP,BS,1,hd", 0.05, 4, "cache_rows:cmp_table"),
        MADE("kv_cache", DSV4_BF16, "WP,BS,1,hd", 0.05, 0, "ring_rows:ring_table"),
        MADE("cmp_table", DSV4_I32, "CPR", 5, 1, "table_permuted"),
        MADE("ring_table", DSV4_I32, "WPR", 0, 0, "table"),
    };
    static const int64_t page_of[3] = {1, 0, 2};
    const dsv4_op op = op_of("prefill_attention_csa", DSV4_PREFILL, 4, ROWS(rows));
    const dsv4_config config = preset("tiny");
    (void)state;
    for (int64_t start = 0; start <= 100; start += 10) {
        const op_call call = call_of(DSV4_PREFILL, 1, 16, start);
        dsv4_tensor_list list = draw(&op, &config, &call);
        const dsv4_tensor cmp = get_tensor(&list, "cmp_kv"), ring = get_tensor(&list, "kv_cache");
        bool is_set[48];
        assert_int_equal(cmp.shape[0], 3);
        find_set_rows(&cmp, is_set, 48);
        for (int64_t c = 0; c < 48; c++) {
            assert_int_equal(is_set[page_of[c / 16] * 16 + c % 16], c < start / 4);
        }
        find_set_rows(&ring, is_set, 16);
        for (int64_t r = 0; r < 16; r++) {
            assert_int_equal(is_set[r], r < start);
        }
        dsv4_tensor_list_deinit(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_slots_of_ratio_4),           cmocka_unit_test(decode_slots_through_swapped_pages),
        cmocka_unit_test(default_positions_of_the_layers),   cmocka_unit_test(prefill_slots_through_permuted_pages),
        cmocka_unit_test(rope_rows_are_those_of_the_tables), cmocka_unit_test(history_holds_the_last_positions),
        cmocka_unit_test(decode_history_and_empty_states),   cmocka_unit_test(caches_hold_what_came_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
