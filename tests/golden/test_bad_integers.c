/* Positions, slots, tables and lengths that do not fit: one line that names the tensor, and no output. */
#include "golden/compressor_inputs.h"

static dsv4_config small_config(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = 24;
    config.max_position_embeddings = 64;
    return config;
}

/* decode_indexer for positions 6 and 7, or prefill_indexer for positions 60 to 71, with one integer changed. */
static void refuse(bool decode, const char *tensor, int64_t index, int64_t value, dsv4_status status, const char *text)
{
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    if (decode) {
        build_decode_indexer(&in, &config, 2, 6);
    } else {
        build_prefill_indexer(&in, &config, 12, 60);
    }
    const dsv4_tensor t = get_tensor(&in, tensor);
    assert_in_range(index, 0, dsv4_tensor_count(&t) - 1);
    if (t.dtype == DSV4_I64) {
        ((int64_t *)t.data)[index] = value;
    } else {
        ((int32_t *)t.data)[index] = (int32_t)value;
    }
    const golden *g = golden_find(decode ? "decode_indexer" : "prefill_indexer");
    assert_int_equal(g->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), status);
    assert_string_equal(err.text, text);
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&in);
}

static void refuse_decode(const char *tensor, int64_t index, int64_t value, const char *text)
{
    refuse(true, tensor, index, value, DSV4_E_VALUE, text);
}

static void refuse_prefill(const char *tensor, int64_t index, int64_t value, const char *text)
{
    refuse(false, tensor, index, value, DSV4_E_VALUE, text);
}

static void test_positions(void **state)
{
    (void)state;
    refuse_decode("position_ids", 0, -1, "input position_ids: request 0, token 0: got -1, expected 0 or more");
    refuse_decode("position_ids", 1, 8, "input position_ids: request 0, token 1: got 8, expected 7, one after the token before");
    refuse_decode("position_ids", 0, INT32_MAX,
                  "input position_ids: request 0, token 1: got 7, expected 2147483648, one after the token before");
    refuse_prefill("position_ids", 11, 70,
                   "input position_ids: request 0, token 11: got 70, expected 71, one after the token before");
    refuse_prefill("num_tokens", 0, 13, "input num_tokens: got 13, expected 0 to T = 12");
    refuse_prefill("num_tokens", 0, -1, "input num_tokens: got -1, expected 0 to T = 12");
}

static void test_slots(void **state)
{
    (void)state;
    refuse_decode("idx_slot_mapping", 1, 12, "input idx_slot_mapping: token 1: got 12, expected -1 or a row below 12");
    refuse_decode("idx_slot_mapping", 0, -2, "input idx_slot_mapping: token 0: got -2, expected -1 or a row below 12");
    refuse_decode("inner_state_slot_mapping", 0, INT64_MAX,
                  "input inner_state_slot_mapping: token 0: got 9223372036854775807, expected -1 or a row below 12");
    refuse_decode("inner_state_slot_mapping", 0, 7,
                  "input inner_state_slot_mapping: got row 7 for two tokens, expected a row of its own for each");
    refuse_prefill("inner_state_slot_mapping", 3, 76,
                   "input inner_state_slot_mapping: token 3: got 76, expected -1 or a row below 76");
    refuse_prefill("idx_slot_mapping", 0, 19,
                   "input idx_slot_mapping: token 0: got row 19 at position 60, expected -1: no window of 4 tokens ends here");
}

static void test_tables(void **state)
{
    (void)state;
    refuse_decode("inner_compress_state_block_table", 1, -1,
                  "input inner_compress_state_block_table: request 0, entry 1: got -1, expected a page from 0 to 2");
    refuse_decode("inner_compress_state_block_table", 0, 3,
                  "input inner_compress_state_block_table: request 0, entry 0: got 3, expected a page from 0 to 2");
    refuse_decode("idx_block_table", 0, -1, "input idx_block_table: request 0, entry 0: got -1, expected a page from 0 to 2");
    refuse_prefill("inner_compress_state_block_table", 2, 19,
                   "input inner_compress_state_block_table: entry 2: got 19, expected -1 or a page from 0 to 18");
    refuse_prefill("inner_compress_state_block_table", 18, -2,
                   "input inner_compress_state_block_table: entry 18: got -2, expected -1 or a page from 0 to 18");
    refuse_prefill("idx_block_table", 4, -1, "input idx_block_table: request 0, entry 4: got -1, expected a page from 0 to 4");
}

static void test_lengths(void **state)
{
    (void)state;
    refuse_decode("kv_seq_lens", 0, -1, "input kv_seq_lens: request 0: got -1, expected 0 to 67");
    refuse_decode("kv_seq_lens", 0, 68, "input kv_seq_lens: request 0: got 68, expected 0 to 67");
    refuse_decode("kv_seq_lens", 0, 52, "input idx_block_table: request 0 needs row 12, expected one below 12: 3 pages of 4 rows");
    refuse_decode("offset", 0, -1, "input offset: got -1, expected 0 to 2147483631");
    refuse_decode("offset", 0, INT32_MAX, "input offset: got 2147483647, expected 0 to 2147483631");
}

/* Pages that nothing reads may be anything that a table can say. */
static void test_unneeded_entries_are_free(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list decode = {0}, prefill = {0}, out = {0};
    build_decode_indexer(&decode, &config, 2, 6);
    ((int32_t *)get_tensor(&decode, "idx_block_table").data)[1] = INT32_MAX;
    ((int32_t *)get_tensor(&decode, "inner_compress_state_block_table").data)[2] = -9;
    run_golden("decode_indexer", &config, &decode, &out);
    dsv4_tensor_list_deinit(&out);
    build_prefill_indexer(&prefill, &config, 12, 60);
    ((int32_t *)get_tensor(&prefill, "inner_compress_state_block_table").data)[14] = -1;
    run_golden("prefill_indexer", &config, &prefill, &out);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&prefill);
    dsv4_tensor_list_deinit(&decode);
}

/* An absent page counts as rows without a score: half a window is pooled without the other half. */
static void test_absent_state_page(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, absent = {0}, zeroed = {0};
    build_prefill_indexer(&in, &config, 12, 60);
    int32_t *table = get_tensor(&in, "inner_compress_state_block_table").data;
    float *scores = get_tensor(&in, "inner_score_state").data;
    table[14] = -1;
    run_golden("prefill_indexer", &config, &in, &absent);
    table[14] = 14;
    for (int64_t i = 0; i < 4 * 2 * config.index_head_dim; i++) {
        scores[14 * 4 * 2 * config.index_head_dim + i] = -3.4028234663852886e38f;
    }
    run_golden("prefill_indexer", &config, &in, &zeroed);
    assert_same_bits(&absent, &zeroed, "idx_kv_cache");
    assert_same_bits(&absent, &zeroed, "score");
    dsv4_tensor_list_deinit(&zeroed);
    dsv4_tensor_list_deinit(&absent);
    dsv4_tensor_list_deinit(&in);
}

static void refuse_decode_start(int64_t n, int64_t start, const char *text)
{
    dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    build_decode_indexer(&in, &config, n, start);
    assert_int_equal(golden_find("decode_indexer")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_SHAPE);
    assert_string_equal(err.text, text);
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&in);
}

static void test_step_longer_than_a_window(void **state)
{
    (void)state;
    refuse_decode_start(5, 0, "input position_ids: got 5 tokens per request, expected at most the ratio 4");
}

static void test_shapes_that_disagree(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    build_prefill_indexer(&in, &config, 12, 60);
    dsv4_tensor *slots = dsv4_tensor_list_find(&in, "inner_state_slot_mapping");
    slots->shape[0] = 11;
    assert_int_equal(golden_find("prefill_indexer")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_SHAPE);
    assert_string_equal(err.text, "input inner_state_slot_mapping: got I64 [11], expected I64 [12]");
    slots->shape[0] = 12;
    dsv4_tensor_list_find(&in, "idx_kv_cache")->dtype = DSV4_F16;
    assert_int_equal(golden_find("prefill_indexer")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_SHAPE);
    assert_string_equal(err.text, "input idx_kv_cache: got F16 [5, 4, 1, 64], expected BF16 [cache pages, cache page, 1, 64]");
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&in);
}

static void test_rope_rows_of_windows(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    build_prefill_indexer(&in, &config, 12, 60);
    dsv4_tensor_list_find(&in, "freqs_cos")->shape[0] = 68;
    dsv4_tensor_list_find(&in, "freqs_sin")->shape[0] = 68;
    assert_int_equal(golden_find("prefill_indexer")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_VALUE);
    assert_string_equal(err.text,
                        "input position_ids: token 11: got 71, expected a window that starts below 68, the rows of freqs_cos");
    dsv4_tensor_list_deinit(&in);
}

static void test_streams(void **state)
{
    (void)state;
    dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    config.hc_mult = 17;
    assert_int_equal(golden_find("hc_pre")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, "config hc_mult: got 17, expected 1 to 16");
    assert_int_equal(golden_find("hc_head")->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_unneeded_entries_are_free),
        cmocka_unit_test(test_absent_state_page),
        cmocka_unit_test(test_step_longer_than_a_window),
        cmocka_unit_test(test_shapes_that_disagree),
        cmocka_unit_test(test_rope_rows_of_windows),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
