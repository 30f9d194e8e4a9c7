/* The indexers beyond the vector files: scores by hand, ties, what a token sees, the INT8 form of the cache. */
#include <float.h>
#include <math.h>

#include "golden/compressor_inputs.h"

#include "golden/parts.h"
#include "golden/primitives.h"

static dsv4_config small_config(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = 24;
    config.max_position_embeddings = 256;
    return config;
}

static void test_topk_order(void **state)
{
    (void)state;
    const float score[8] = {1.0f, 0.0f, 3.0f, -0.0f, 3.0f, NAN, -FLT_MAX, 2.0f};
    const int32_t expected[8] = {2, 4, 7, 0, 1, 3, 6, 5};
    int32_t indices[8];
    dsv4_error err = {0};
    require_ok(golden_topk(score, 8, 8, indices, &err), &err);
    assert_memory_equal(indices, expected, sizeof expected);
    require_ok(golden_topk(score, 8, 3, indices, &err), &err);
    assert_memory_equal(indices, expected, 3 * sizeof *expected);
}

/* Two heads of two elements, no rotation, the identity for hadamard. Queries (127, 0) and (0, -127) of scale 1/127, head weights
 * (x weights_proj) / 2 = (1, 10); keys (127, 127), (127, -127), (-127, 127), (127, 127). */
static void test_scores_by_hand(void **state)
{
    (void)state;
    const uint16_t one = num_bf16_from_f32(1.0f), identity[4] = {one, 0, 0, one};
    const uint16_t x[1] = {one}, weights_proj[2] = {num_bf16_from_f32(2.0f), num_bf16_from_f32(20.0f)};
    const int8_t qr[1] = {1}, wq_b[4] = {100, 0, 0, -100};
    const float qr_scale[1] = {0.1f}, wq_b_scale[4] = {0.1f, 0.1f, 0.1f, 0.1f}, cos[1] = {1.0f}, sin[1] = {0.0f};
    const golden_index ix = {.T = 1,
                             .D = 1,
                             .QL = 1,
                             .IH = 2,
                             .ID = 2,
                             .R = 2,
                             .x = x,
                             .qr = qr,
                             .qr_scale = qr_scale,
                             .wq_b = wq_b,
                             .wq_b_scale = wq_b_scale,
                             .weights_proj = weights_proj,
                             .hadamard = identity,
                             .cos = cos,
                             .sin = sin,
                             .tokens_per_angle = 1};
    int8_t keys[8] = {127, 127, 127, -127, -127, 127, 127, 127};
    float scales[4] = {1.0f / 127, 1.0f / 127, 1.0f / 127, 1.0f / 127}, score[6];
    int32_t topk_idxs[6];
    const int32_t position_ids[1] = {15}, kv_seq_lens[1] = {16}, table[3] = {1, 0, 7};
    const golden_index_step step = {.B = 1,
                                    .S = 1,
                                    .position_ids = position_ids,
                                    .kv_seq_lens = kv_seq_lens,
                                    .pages = {table, 3, 2, 2, "table"},
                                    .cache = {.i8 = keys, .scale = scales, .n_rows = 4, .width = 2},
                                    .topk = 3,
                                    .offset = 10,
                                    .score_len = 6,
                                    .score = score,
                                    .topk_idxs = topk_idxs};
    dsv4_error err = {0};
    require_ok(golden_check_index_decode(&step, &err), &err);
    require_ok(golden_index_decode(&ix, &step, NULL, &err), &err);
    /* Logical rows 0, 1 lie on page 1 (the last two keys), rows 2, 3 on page 0. */
    const double expected[4] = {0.0, 1.0, 1.0, 11.0};
    const int32_t best[6] = {13, 11, 12, -1, -1, -1};
    for (int c = 0; c < 4; c++) {
        assert_near(score[c], expected[c], 1e-5);
    }
    assert_true(score[4] == GOLDEN_NO_SCORE && score[5] == GOLDEN_NO_SCORE);
    assert_memory_equal(topk_idxs, best, sizeof best);
}

/* Rows of a result row that hold a score. */
static int64_t count_scores(const dsv4_tensor_list *out, int64_t row)
{
    const dsv4_tensor score = get_tensor(out, "score");
    const int64_t n = score.shape[score.n_dims - 1];
    int64_t count = 0;
    for (int64_t c = 0; c < n; c++) {
        const bool scored = ((const float *)score.data)[row * n + c] != GOLDEN_NO_SCORE;
        assert_true(!scored || count == c);
        count += scored;
    }
    return count;
}

/* Selected rows of a result row; checks that they are rows of it, in descending order of score, each once. */
static int64_t count_selected(const dsv4_tensor_list *out, int64_t row, int32_t offset)
{
    const dsv4_tensor topk = get_tensor(out, "topk_idxs"), score = get_tensor(out, "score");
    const int64_t n = topk.shape[topk.n_dims - 1];
    const int32_t *idxs = (const int32_t *)topk.data + row * n;
    const float *scores = (const float *)score.data + row * n;
    int64_t count = 0;
    while (count < n && idxs[count] >= 0) {
        const int32_t index = idxs[count] - offset;
        assert_in_range(index, 0, n - 1);
        assert_true(scores[index] != GOLDEN_NO_SCORE);
        if (count > 0) {
            const int32_t before = idxs[count - 1] - offset;
            assert_true(scores[before] > scores[index] || (scores[before] == scores[index] && before < index));
        }
        count++;
    }
    for (int64_t i = count; i < n; i++) {
        assert_int_equal(idxs[i], -1);
    }
    return count;
}

/* Positions 6 and 7: the second row is complete with the second token. The reference shows it to the first one as well. */
static void test_decode_visibility(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, correct = {0}, reference = {0};
    build_decode_indexer(&in, &config, 2, 6);
    run_golden_as("decode_indexer", &config, DSV4_CORRECT, &in, &correct);
    run_golden_as("decode_indexer", &config, DSV4_REFERENCE, &in, &reference);
    assert_int_equal(count_scores(&correct, 0), 1);
    assert_int_equal(count_selected(&correct, 0, 100), 1);
    assert_int_equal(count_scores(&correct, 1), 2);
    assert_int_equal(count_selected(&correct, 1, 100), 2);
    for (int64_t row = 0; row < 2; row++) {
        assert_int_equal(count_scores(&reference, row), 2);
        assert_int_equal(count_selected(&reference, row, 100), 2);
    }
    dsv4_tensor_list_deinit(&reference);
    dsv4_tensor_list_deinit(&correct);
    dsv4_tensor_list_deinit(&in);
}

/* Eleven of twelve tokens from position 60: 15 rows at first, 17 at last; the padding has no selection. KT is 8. */
static void test_prefill_visibility(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    const int32_t offset = (int32_t)config.sliding_window + 12;
    dsv4_tensor_list in = {0}, out = {0}, none = {0};
    build_prefill_indexer(&in, &config, 12, 60);
    int32_t *num_tokens = get_tensor(&in, "num_tokens").data;
    *num_tokens = 11;
    run_golden("prefill_indexer", &config, &in, &out);
    for (int64_t t = 0; t < 12; t++) {
        const int64_t visible = (60 + t + 1) / 4;
        assert_int_equal(count_scores(&out, t), visible < 17 ? visible : 17);
        assert_int_equal(count_selected(&out, t, offset), t < 11 ? 8 : 0);
    }
    *num_tokens = 0;
    run_golden("prefill_indexer", &config, &in, &none);
    assert_int_equal(count_scores(&none, 0), 0);
    assert_int_equal(count_selected(&none, 0, offset), 0);
    assert_same_bits(&in, &none, "idx_kv_cache");
    assert_same_bits(&in, &none, "inner_kv_state");
    dsv4_tensor_list_deinit(&none);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* The same inputs with the cache as INT8 rows and scales. */
static void quantise_cache(const dsv4_tensor_list *in, dsv4_tensor_list *quantised)
{
    for (size_t i = 0; i < in->n; i++) {
        if (strcmp(in->items[i].name, "idx_kv_cache") != 0) {
            put_tensor(quantised, in->items[i].name, &in->items[i].tensor);
        }
    }
    const dsv4_tensor cache = get_tensor(in, "idx_kv_cache");
    const int64_t ID = cache.shape[3], n_rows = cache.shape[0] * cache.shape[1];
    int8_t *q = add_tensor(quantised, "idx_kv_cache", DSV4_I8, 4, cache.shape).data;
    float *scale = add_tensor(quantised, "idx_kv_scale", DSV4_F32, 4, (int64_t[]){cache.shape[0], cache.shape[1], 1, 1}).data;
    float values[64];
    assert_int_equal(ID, 64);
    for (int64_t row = 0; row < n_rows; row++) {
        golden_widen((const uint16_t *)cache.data + row * ID, ID, values);
        scale[row] = golden_q8(values, ID, q + row * ID);
    }
}

static void check_cache_forms(const char *op, const dsv4_tensor_list *in, const dsv4_config *config)
{
    dsv4_tensor_list quantised = {0}, out = {0}, out_i8 = {0};
    quantise_cache(in, &quantised);
    run_golden(op, config, in, &out);
    run_golden(op, config, &quantised, &out_i8);
    assert_same_bits(&out, &out_i8, "score");
    assert_same_bits(&out, &out_i8, "topk_idxs");
    const dsv4_tensor before = get_tensor(&quantised, "idx_kv_scale"), after = get_tensor(&out_i8, "idx_kv_scale");
    assert_true(count_bit_mismatches(&before, &after) > 0);
    dsv4_tensor_list_deinit(&out_i8);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&quantised);
}

static void test_cache_forms_agree(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list decode = {0}, prefill = {0};
    build_decode_indexer(&decode, &config, 2, 42);
    build_prefill_indexer(&prefill, &config, 12, 61);
    check_cache_forms("decode_indexer", &decode, &config);
    check_cache_forms("prefill_indexer", &prefill, &config);
    dsv4_tensor_list_deinit(&prefill);
    dsv4_tensor_list_deinit(&decode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topk_order),        cmocka_unit_test(test_scores_by_hand),
        cmocka_unit_test(test_decode_visibility), cmocka_unit_test(test_prefill_visibility),
        cmocka_unit_test(test_cache_forms_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
