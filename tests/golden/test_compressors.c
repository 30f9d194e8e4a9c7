/* The compressors beyond the vector files: pooling by hand, decode and prefill of the same tokens, the INT8 form of the cache. */
#include <math.h>
#include <stdio.h>

#include "golden/compressor_inputs.h"

#include "golden/parts.h"
#include "golden/primitives.h"

static void test_pool_by_hand(void **state)
{
    (void)state;
    const float ln3 = logf(3.0f);
    const float kv[4][3] = {{8.0f, 5.0f, 1.0f}, {4.0f, 7.0f, 2.0f}, {100.0f, 9.0f, 3.0f}, {100.0f, 2.0f, 4.0f}};
    const float score[4][3] = {
        {ln3, 0.0f, GOLDEN_NO_SCORE}, {0.0f, 60.0f, -INFINITY}, {-INFINITY, 0.0f, -INFINITY}, {GOLDEN_NO_SCORE, -60.0f, -INFINITY}};
    golden_pool_row rows[4];
    float pooled[3];
    for (int i = 0; i < 4; i++) {
        rows[i] = (golden_pool_row){kv[i], score[i]};
    }
    golden_pool(rows, 4, 3, pooled);
    assert_near(pooled[0], 7.0, 1e-6);
    assert_near(pooled[1], 7.0, 1e-6);
    assert_true(pooled[2] == 0.0f);
}

/* Two requests at positions 3 and 7, hidden_size 1, head_dim 4: gates and ape are zero, so all rows of a window weigh the same. */
static dsv4_config build_small(dsv4_tensor_list *in)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = 1;
    config.head_dim = 4;
    config.qk_rope_head_dim = 2;
    const int64_t b1[] = {2, 1};
    add_uniform(in, "x", DSV4_BF16, 3, (int64_t[]){2, 1, 1}, 1.0, 1.0);
    add_tensor(in, "wgate", DSV4_BF16, 2, (int64_t[]){8, 1});
    add_tensor(in, "ape", DSV4_F32, 2, (int64_t[]){4, 8});
    add_uniform(in, "norm_w", DSV4_BF16, 1, (int64_t[]){4}, 1.0, 1.0);
    add_table(in, "compress_state_block_table", 2, 2, 2);
    add_tensor(in, "cos", DSV4_F32, 2, b1);
    add_uniform(in, "sin", DSV4_F32, 2, b1, 1.0, 1.0);
    add_tensor(in, "cmp_kv_cache", DSV4_BF16, 4, (int64_t[]){1, 2, 1, 4});
    memcpy(add_i32(in, "position_ids", 2, b1), (int32_t[]){3, 7}, 2 * sizeof(int32_t));
    memcpy(add_i64(in, "state_slot_mapping", 2, b1), (int64_t[]){3, 15}, 2 * sizeof(int64_t));
    memcpy(add_i64(in, "cmp_slot_mapping", 2, b1), (int64_t[]){1, -1}, 2 * sizeof(int64_t));

    uint16_t *wkv = add_tensor(in, "wkv", DSV4_BF16, 2, (int64_t[]){8, 1}).data;
    float *rows = add_tensor(in, "compress_state", DSV4_F32, 3, (int64_t[]){4, 4, 16}).data;
    for (int d = 0; d < 4; d++) {
        wkv[4 + d] = num_bf16_from_f32(4.0f * (float)(d + 1)); /* the half that counts in the token's own window */
        rows[4 * 16 + d] = 1e6f;                               /* request 0, position 4: behind the window */
        rows[8 * 16 + d] = 12.0f;                              /* request 1, position 0: the window before */
        rows[8 * 16 + 4 + d] = 1e6f;                           /* its other half counts in its own window only */
    }
    return config;
}

/* Request 0 has the mean (1, 2, 3, 4) of four rows, request 1 the mean (2, 2.5, 3, 3.5) of eight; then the norm, and the last pair
 * turned by 90 degrees. */
static void test_decode_rows_by_hand(void **state)
{
    (void)state;
    dsv4_tensor_list in = {0}, out = {0};
    const dsv4_config config = build_small(&in);
    run_golden("decode_compressor_ratio4", &config, &in, &out);

    const double expected[2][4] = {{1.0, 2.0, -4.0, 3.0}, {2.0, 2.5, -3.5, 3.0}};
    const double mean_square[2] = {30.0 / 4.0, 31.5 / 4.0};
    const float *kv = get_tensor(&out, "kv").data, *rows = get_tensor(&out, "compress_state").data;
    const uint16_t *cache = get_tensor(&out, "cmp_kv_cache").data;
    for (int d = 0; d < 4; d++) {
        assert_near(kv[d], expected[0][d] / sqrt(mean_square[0]), 1e-6);
        assert_near(kv[4 + d], expected[1][d] / sqrt(mean_square[1]), 1e-6);
        assert_int_equal(cache[d], 0);
        assert_int_equal(cache[4 + d], num_bf16_from_f32(kv[d]));
        assert_true(rows[3 * 16 + 4 + d] == 4.0f * (float)(d + 1));
    }
    const float *untouched = get_tensor(&in, "compress_state").data;
    assert_true(untouched[3 * 16 + 4] == 0.0f);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* A request that is compressed piece by piece: what stays the same, and the memory that each piece updates. */
typedef struct request {
    const compressor_kind *kind;
    dsv4_config config;
    int64_t n_tokens;
    dsv4_tensor_list weights, tokens; /* tokens: x [n_tokens, D], freqs_cos and freqs_sin [n_tokens, R] */
    dsv4_tensor_list memory;
} request;

static void add_memory(request *r, const char *name, dsv4_dtype dtype, int64_t n_rows, int64_t page, int64_t width, bool cache)
{
    const int64_t pages = n_rows / page, flat[3] = {pages, page, width}, paged[4] = {pages, page, 1, width};
    add_tensor(&r->memory, name, dtype, cache ? 4 : 3, cache ? paged : flat);
}

static void init_request(request *r, const compressor_kind *kind, bool decode, int64_t n_tokens)
{
    *r = (request){.kind = kind, .config = preset("tiny"), .n_tokens = n_tokens};
    const int64_t R = r->config.qk_rope_head_dim, width = state_width(kind, &r->config);
    r->config.hidden_size = 24;
    add_weights(&r->weights, "", kind, &r->config);
    add_uniform(&r->tokens, "x", DSV4_BF16, 2, (int64_t[]){n_tokens, r->config.hidden_size}, -1.0, 1.0);
    add_uniform(&r->tokens, "freqs_cos", DSV4_BF16, 2, (int64_t[]){n_tokens, R}, -1.0, 1.0);
    add_uniform(&r->tokens, "freqs_sin", DSV4_BF16, 2, (int64_t[]){n_tokens, R}, -1.0, 1.0);
    add_memory(r, decode ? kind->decode_cache : kind->prefill_cache, DSV4_BF16,
               CACHE_PAGE * (n_tokens / kind->ratio / CACHE_PAGE + 1), CACHE_PAGE, row_width(kind, &r->config), true);
    if (decode) {
        add_memory(r, "compress_state", DSV4_F32, n_tokens, kind->page, 2 * width, false);
    } else {
        add_memory(r, "kv_state", DSV4_F32, n_tokens, kind->page, width, false);
        add_memory(r, "score_state", DSV4_F32, n_tokens, kind->page, width, false);
    }
}

static void deinit_request(request *r)
{
    dsv4_tensor_list_deinit(&r->weights);
    dsv4_tensor_list_deinit(&r->tokens);
    dsv4_tensor_list_deinit(&r->memory);
}

static void put_all(dsv4_tensor_list *in, const dsv4_tensor_list *from)
{
    for (size_t i = 0; i < from->n; i++) {
        put_tensor(in, from->items[i].name, &from->items[i].tensor);
    }
}

/* Runs one piece and takes over the memory that it updated. */
static void run_piece(request *r, const char *op, dsv4_tensor_list *in)
{
    dsv4_tensor_list out = {0};
    put_all(in, &r->weights);
    put_all(in, &r->memory);
    run_golden(op, &r->config, in, &out);
    for (size_t i = 0; i < r->memory.n; i++) {
        const dsv4_tensor updated = get_tensor(&out, r->memory.items[i].name);
        memcpy(r->memory.items[i].tensor.data, updated.data, dsv4_tensor_bytes(&updated));
    }
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(in);
}

static void prefill_piece(request *r, int64_t start, int64_t n)
{
    dsv4_tensor_list in = {0};
    const dsv4_tensor x = get_tensor(&r->tokens, "x"), cos = get_tensor(&r->tokens, "freqs_cos"),
                      sin = get_tensor(&r->tokens, "freqs_sin"), chunk = rows_of(&x, start, n);
    put_tensor(&in, "x", &chunk);
    put_tensor(&in, "freqs_cos", &cos);
    put_tensor(&in, "freqs_sin", &sin);
    add_table(&in, r->kind->prefill_table, 1, 1, r->n_tokens / r->kind->page);
    add_positions(&in, r->kind, 1, &n, start);
    add_scalar(&in, "num_tokens", (int32_t)n);
    run_piece(r, r->kind->prefill_op, &in);
}

/* cos or sin of a position, widened, for decode. */
static void add_angles(request *r, dsv4_tensor_list *in, const char *name, const char *table, int64_t position)
{
    const int64_t half = r->config.qk_rope_head_dim / 2;
    const uint16_t *row = (const uint16_t *)get_tensor(&r->tokens, table).data + position * 2 * half;
    golden_widen(row, half, add_tensor(in, name, DSV4_F32, 2, (int64_t[]){1, half}).data);
}

static void decode_piece(request *r, int64_t start, int64_t n)
{
    dsv4_tensor_list in = {0};
    const dsv4_tensor x = get_tensor(&r->tokens, "x");
    dsv4_tensor step = dsv4_tensor_make(DSV4_BF16, 3, (int64_t[]){1, n, x.shape[1]}, (uint16_t *)x.data + start * x.shape[1]);
    put_tensor(&in, "x", &step);
    add_angles(r, &in, "cos", "freqs_cos", start - start % r->kind->ratio);
    add_angles(r, &in, "sin", "freqs_sin", start - start % r->kind->ratio);
    add_table(&in, "compress_state_block_table", 2, 1, r->n_tokens / r->kind->page);
    add_positions(&in, r->kind, 2, (int64_t[]){1, n}, start);
    run_piece(r, r->kind->decode_op, &in);
}

/* The state of prefill, in two tensors, against that of decode, side by side. */
static void assert_same_state(const request *prefilled, const request *decoded)
{
    const int64_t width = state_width(prefilled->kind, &prefilled->config);
    const float *kv = get_tensor(&prefilled->memory, "kv_state").data, *score = get_tensor(&prefilled->memory, "score_state").data;
    const float *both = get_tensor(&decoded->memory, "compress_state").data;
    for (int64_t row = 0; row < prefilled->n_tokens; row++) {
        assert_memory_equal(kv + row * width, both + row * 2 * width, (size_t)width * sizeof(float));
        assert_memory_equal(score + row * width, both + row * 2 * width + width, (size_t)width * sizeof(float));
    }
}

/* SPEC 4.3: the same tokens in chunks of any size, or two by two, leave the same state and the same cache. */
static void test_prefill_and_decode_agree(void **state)
{
    (void)state;
    const int64_t chunks[] = {5, 8, 1, 16, 2};
    for (int k = 0; k < 3; k++) {
        const compressor_kind *kind = &compressor_kinds[k];
        const int64_t n_tokens = kind->ratio == 4 ? 48 : 256;
        request prefilled, decoded;
        init_request(&prefilled, kind, false, n_tokens);
        init_request(&decoded, kind, true, n_tokens);
        for (int64_t start = 0, n, i = 0; start < n_tokens; start += n, i++) {
            n = chunks[i % 5] < n_tokens - start ? chunks[i % 5] : n_tokens - start;
            prefill_piece(&prefilled, start, n);
        }
        for (int64_t start = 0; start < n_tokens; start += 2) {
            decode_piece(&decoded, start, 2);
        }
        assert_same_state(&prefilled, &decoded);
        const dsv4_tensor a = get_tensor(&prefilled.memory, kind->prefill_cache),
                          b = get_tensor(&decoded.memory, kind->decode_cache);
        assert_int_equal(count_bit_mismatches(&a, &b), 0);
        assert_int_not_equal(((const uint16_t *)a.data)[(n_tokens / kind->ratio - 1) * row_width(kind, &prefilled.config)], 0);
        deinit_request(&decoded);
        deinit_request(&prefilled);
    }
}

/* A cache of INT8 rows receives Q8 of what a BF16 cache receives. */
static void test_i8_cache_is_q8_of_bf16_cache(void **state)
{
    (void)state;
    const compressor_kind *kind = &compressor_kinds[2];
    request bf16, i8;
    init_request(&bf16, kind, false, 16);
    init_request(&i8, kind, false, 16);
    const int64_t ID = bf16.config.index_head_dim;
    dsv4_tensor *cache = dsv4_tensor_list_find(&i8.memory, kind->prefill_cache);
    *cache = dsv4_tensor_make(DSV4_I8, 4, cache->shape, cache->data);
    add_memory(&i8, "idx_kv_scale", DSV4_F32, 2 * CACHE_PAGE, CACHE_PAGE, 1, true);
    prefill_piece(&bf16, 0, 16);
    prefill_piece(&i8, 0, 16);

    const uint16_t *rows = get_tensor(&bf16.memory, kind->prefill_cache).data;
    const int8_t *quantised = get_tensor(&i8.memory, kind->prefill_cache).data;
    const float *scales = get_tensor(&i8.memory, "idx_kv_scale").data;
    float values[64];
    int8_t q[64];
    assert_int_equal(ID, 64);
    for (int64_t row = 0; row < 4; row++) {
        golden_widen(rows + row * ID, ID, values);
        assert_true(golden_q8(values, ID, q) == scales[row]);
        assert_memory_equal(q, quantised + row * ID, (size_t)ID);
    }
    deinit_request(&i8);
    deinit_request(&bf16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_by_hand),
        cmocka_unit_test(test_decode_rows_by_hand),
        cmocka_unit_test(test_prefill_and_decode_agree),
        cmocka_unit_test(test_i8_cache_is_q8_of_bf16_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
