/* Sparse attention on cases small enough to know the result: rows of small integers, and a projection that hands them on. */
#include "golden/support.h"

#include <math.h>

enum { W = 4, KT = 4, HD = 8, BATCH = 2, STEP = 2, TOKENS = BATCH * STEP, ROWS = 4 };

#define NO_SINK (-1e30f)

/* One head of 8 elements, one group: wo_a and wo_b are identities. */
static dsv4_config small_config(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = config.head_dim = config.o_lora_rank = HD;
    config.num_attention_heads = config.o_groups = 1;
    config.qk_rope_head_dim = 2;
    config.sliding_window = config.attn_tile = W;
    config.index_topk = config.prefill_max_compressed = KT;
    return config;
}

static void set_bf16(const dsv4_tensor *t, int64_t i, double value)
{
    ((uint16_t *)t->data)[i] = num_bf16_from_f64(value);
}

/* Adds wo_a[G, n, n], wo_b[G*n, G*n] and wo_b_scale that hand values on, and rope rows that turn nothing. */
static void add_identity_projection(dsv4_tensor_list *in, int64_t T, int64_t G, int64_t n)
{
    const dsv4_tensor wo_a = add_tensor(in, "wo_a", DSV4_BF16, 3, (int64_t[]){G, n, n});
    const dsv4_tensor wo_b = add_tensor(in, "wo_b", DSV4_I8, 2, (int64_t[]){G * n, G * n});
    const dsv4_tensor scale = add_tensor(in, "wo_b_scale", DSV4_F32, 1, (int64_t[]){G * n});
    const dsv4_tensor freqs_cos = add_tensor(in, "freqs_cos", DSV4_BF16, 2, (int64_t[]){T, 2});
    add_tensor(in, "freqs_sin", DSV4_BF16, 2, (int64_t[]){T, 2});
    for (int64_t i = 0; i < G * n; i++) {
        set_bf16(&wo_a, i * n + i % n, 1.0);
        ((int8_t *)wo_b.data)[i * G * n + i] = 1;
        ((float *)scale.data)[i] = 1.0f;
    }
    for (int64_t i = 0; i < T * 2; i++) {
        set_bf16(&freqs_cos, i, 1.0);
    }
}

/* A decode step of BATCH requests with q = 0, so that all scores are equal, and a list of holes. Element d of row r of request b's
 * page is 127 where d = r, of its overlay token o where d = 4 + o, of its compressed row c where d = 6 + c. */
static dsv4_tensor build_step(dsv4_tensor_list *in, int64_t list_width, float sink)
{
    add_tensor(in, "q", DSV4_BF16, 3, (int64_t[]){TOKENS, 1, HD});
    const dsv4_tensor ring = add_tensor(in, "ori_kv", DSV4_BF16, 4, (int64_t[]){BATCH, ROWS, 1, HD});
    const dsv4_tensor ring_table = add_tensor(in, "ori_block_table", DSV4_I32, 2, (int64_t[]){BATCH, 1});
    const dsv4_tensor overlay = add_tensor(in, "mtp_kv_overlay", DSV4_BF16, 2, (int64_t[]){TOKENS, HD});
    const dsv4_tensor cmp = add_tensor(in, "cmp_kv", DSV4_BF16, 4, (int64_t[]){BATCH, 2, 1, HD});
    const dsv4_tensor cmp_table = add_tensor(in, "cmp_block_table", DSV4_I32, 2, (int64_t[]){BATCH, 1});
    const dsv4_tensor attn_sink = add_tensor(in, "attn_sink", DSV4_F32, 1, (int64_t[]){1});
    const dsv4_tensor list = add_tensor(in, "cmp_sparse_indices", DSV4_I32, 2, (int64_t[]){TOKENS, list_width});
    add_identity_projection(in, TOKENS, 1, HD);
    for (int b = 0; b < BATCH; b++) {
        const int page = BATCH - 1 - b;
        ((int32_t *)ring_table.data)[b] = ((int32_t *)cmp_table.data)[b] = page;
        for (int r = 0; r < ROWS; r++) {
            set_bf16(&ring, (page * ROWS + r) * HD + r, 127.0);
        }
        for (int i = 0; i < 2; i++) {
            set_bf16(&overlay, (b * STEP + i) * HD + 4 + i, 127.0);
            set_bf16(&cmp, (page * 2 + i) * HD + 6 + i, 127.0);
        }
    }
    ((float *)attn_sink.data)[0] = sink;
    for (int64_t i = 0; i < TOKENS * list_width; i++) {
        ((int32_t *)list.data)[i] = -1;
    }
    return list;
}

static void put_list(const dsv4_tensor *list, int64_t t, int n, const int32_t *indices)
{
    memcpy((int32_t *)list->data + t * list->shape[1], indices, (size_t)n * sizeof *indices);
}

/* attn_out[t] is expected within a step of its INT8 scale. */
static void assert_row(const dsv4_tensor_list *out, int64_t t, const double *expected)
{
    const dsv4_tensor y = get_tensor(out, "attn_out");
    for (int64_t d = 0; d < HD; d++) {
        assert_near(dsv4_tensor_get(&y, t * HD + d), expected[d], 0.51);
    }
}

static void test_keys_by_index(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    const dsv4_tensor list = build_step(&in, W + KT, NO_SINK);
    put_list(&list, 0, 1, (int32_t[]){2});                             /* a ring row */
    put_list(&list, 1, 8, (int32_t[]){-1, -1, -1, -1, -1, -1, 5, -1}); /* a token of the step, behind an empty block */
    put_list(&list, 2, 3, (int32_t[]){-1, 7, -1});                     /* a compressed row */
    run_golden("decode_sparse_attn", &config, &in, &out);
    assert_row(&out, 0, (double[HD]){0, 0, 127});
    assert_row(&out, 1, (double[HD]){0, 0, 0, 0, 0, 127});
    assert_row(&out, 2, (double[HD]){0, 0, 0, 0, 0, 0, 0, 127});
    assert_row(&out, 3, (double[HD]){0});
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* All scores are 0: with n keys, m = 0 and l = n, and a sink of ln 2 adds 2 to it. */
static void test_sink_enters_the_denominator_alone(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    const dsv4_tensor list = build_step(&in, W + KT, logf(2.0f));
    put_list(&list, 0, 1, (int32_t[]){0});
    put_list(&list, 1, 8, (int32_t[]){0, -1, -1, -1, 1, -1, -1, -1});
    run_golden("decode_sparse_attn", &config, &in, &out);
    assert_row(&out, 0, (double[HD]){127.0 / 3});
    assert_row(&out, 1, (double[HD]){127.0 / 4, 127.0 / 4});
    assert_row(&out, 2, (double[HD]){0});
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

static void test_repeated_index(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list csa = {0}, swa = {0}, csa_out = {0}, swa_out = {0};
    const dsv4_tensor csa_list = build_step(&csa, W + KT, NO_SINK), swa_list = build_step(&swa, W, NO_SINK);
    for (int64_t t = 0; t < TOKENS; t++) {
        put_list(&csa_list, t, 4, (int32_t[]){3, 4, 3, -1});
        put_list(&swa_list, t, 4, (int32_t[]){3, 4, 3, -1});
    }
    run_golden("decode_sparse_attn", &config, &csa, &csa_out);
    run_golden("decode_sparse_attn_swa", &config, &swa, &swa_out);
    assert_row(&csa_out, 3, (double[HD]){0, 0, 0, 127.0 * 2 / 3, 127.0 / 3});
    assert_row(&swa_out, 3, (double[HD]){0, 0, 0, 127.0 / 2, 127.0 / 2});
    dsv4_tensor_list_deinit(&swa_out);
    dsv4_tensor_list_deinit(&csa_out);
    dsv4_tensor_list_deinit(&swa);
    dsv4_tensor_list_deinit(&csa);
}

/* A chunk of the preset tiny with random rows; lists of n_keys keys, every other slot a hole if spread. */
static void build_chunk(dsv4_tensor_list *in, const dsv4_config *config, int n_keys, bool spread)
{
    const int64_t T = 4, H = config->num_attention_heads, hd = config->head_dim, R = config->qk_rope_head_dim;
    const int64_t G = config->o_groups, OL = config->o_lora_rank, D = config->hidden_size, width = 24;
    add_uniform(in, "q", DSV4_BF16, 3, (int64_t[]){T, H, hd}, -1, 1);
    add_uniform(in, "ori_kv", DSV4_BF16, 4, (int64_t[]){1, 16, 1, hd}, -1, 1);
    add_tensor(in, "ori_block_table", DSV4_I32, 1, (int64_t[]){1});
    add_uniform(in, "kv_overlay", DSV4_BF16, 2, (int64_t[]){T, hd}, -1, 1);
    add_uniform(in, "cmp_kv", DSV4_BF16, 4, (int64_t[]){1, 16, 1, hd}, -1, 1);
    add_tensor(in, "cmp_block_table", DSV4_I32, 1, (int64_t[]){1});
    add_uniform(in, "attn_sink", DSV4_F32, 1, (int64_t[]){H}, -1, 1);
    add_uniform(in, "freqs_cos", DSV4_BF16, 2, (int64_t[]){T, R}, -1, 1);
    add_uniform(in, "freqs_sin", DSV4_BF16, 2, (int64_t[]){T, R}, -1, 1);
    add_uniform(in, "wo_a", DSV4_BF16, 3, (int64_t[]){G, OL, H * hd / G}, -0.1, 0.1);
    add_uniform(in, "wo_b", DSV4_I8, 2, (int64_t[]){D, G * OL}, -127, 127);
    add_uniform(in, "wo_b_scale", DSV4_F32, 1, (int64_t[]){D}, 1e-3, 2e-3);
    *(int32_t *)add_tensor(in, "num_tokens", DSV4_I32, 0, NULL).data = 3;
    const dsv4_tensor list = add_tensor(in, "cmp_sparse_indices", DSV4_I32, 2, (int64_t[]){T, width});
    const dsv4_tensor lens = add_tensor(in, "cmp_sparse_lens", DSV4_I32, 1, (int64_t[]){T});
    for (int64_t t = 0; t < T; t++) {
        int32_t *row = (int32_t *)list.data + t * width;
        for (int i = 0; i < width; i++) {
            row[i] = -1;
        }
        for (int i = 0; i < n_keys; i++) {
            row[spread ? 2 * i : i] = i < 3 ? 16 + i : 16 + 4 + i; /* tokens of the chunk, then compressed rows */
        }
        ((int32_t *)lens.data)[t] = (int32_t)width + 5; /* beyond the list: clamped */
    }
}

/* With tiles of 4, holes that kept their slots would move keys to other blocks. */
static void test_prefill_closes_holes(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    config.attn_tile = 4;
    dsv4_tensor_list spread = {0}, dense = {0}, spread_out = {0}, dense_out = {0};
    build_chunk(&spread, &config, 11, true);
    build_chunk(&dense, &config, 11, false);
    run_golden("prefill_sparse_attn", &config, &spread, &spread_out);
    run_golden("prefill_sparse_attn", &config, &dense, &dense_out);
    assert_same_bits(&spread_out, &dense_out, "attn_out");
    const dsv4_tensor y = get_tensor(&dense_out, "attn_out");
    assert_true(dsv4_tensor_get(&y, 2 * 256) != 0.0);
    for (int64_t d = 0; d < 256; d++) {
        assert_true(dsv4_tensor_get(&y, 3 * 256 + d) == 0.0); /* beyond num_tokens */
    }
    dsv4_tensor_list_deinit(&dense_out);
    dsv4_tensor_list_deinit(&spread_out);
    dsv4_tensor_list_deinit(&dense);
    dsv4_tensor_list_deinit(&spread);
}

/* A token beyond num_tokens and a compressed row beyond the table name no key in a chunk. */
static void test_prefill_ignores_what_is_not_there(void **state)
{
    (void)state;
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = {0}, with = {0}, without = {0};
    build_chunk(&in, &config, 5, false);
    run_golden("prefill_sparse_attn", &config, &in, &without);
    int32_t *row = get_tensor(&in, "cmp_sparse_indices").data;
    row[7] = 16 + 3;
    row[8] = 16 + 4 + 16;
    run_golden("prefill_sparse_attn", &config, &in, &with);
    assert_same_bits(&with, &without, "attn_out");
    dsv4_tensor_list_deinit(&without);
    dsv4_tensor_list_deinit(&with);
    dsv4_tensor_list_deinit(&in);
}

/* attn_out of one token that attends to one row: 127 first, `small` at element `at`; heads and groups of n elements. */
static double handed_on(int64_t G, int64_t n, dsv4_act_scale act_scale, int64_t at, double small)
{
    dsv4_config config = small_config();
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    config.hidden_size = G * n;
    config.head_dim = config.o_lora_rank = n;
    config.num_attention_heads = config.o_groups = G;
    add_uniform(&in, "q", DSV4_BF16, 3, (int64_t[]){1, G, n}, 0, 0);
    add_tensor(&in, "ori_kv", DSV4_BF16, 4, (int64_t[]){1, W, 1, n});
    add_tensor(&in, "ori_block_table", DSV4_I32, 2, (int64_t[]){1, 1});
    const dsv4_tensor overlay = add_tensor(&in, "mtp_kv_overlay", DSV4_BF16, 2, (int64_t[]){1, n});
    const dsv4_tensor attn_sink = add_tensor(&in, "attn_sink", DSV4_F32, 1, (int64_t[]){G});
    const dsv4_tensor list = add_tensor(&in, "cmp_sparse_indices", DSV4_I32, 2, (int64_t[]){1, W});
    put_list(&list, 0, W, (int32_t[]){W, -1, -1, -1});
    add_identity_projection(&in, 1, G, n);
    set_bf16(&overlay, 0, 127.0);
    set_bf16(&overlay, at % n, small);
    for (int64_t g = 0; g < G; g++) {
        ((float *)attn_sink.data)[g] = g == 0 ? NO_SINK : logf(512.0f); /* the second group's values are 513 times smaller */
    }
    require_ok(golden_find("decode_sparse_attn_swa")->run(&config, &(dsv4_numerics){.act_scale = act_scale}, &in, &out, NULL, &err),
               &err);
    const dsv4_tensor y = get_tensor(&out, "attn_out");
    const double value = dsv4_tensor_get(&y, at);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
    return value;
}

/* 0.25 beside 127 under one scale is 0. */
static void test_scales_of_the_projection(void **state)
{
    (void)state;
    assert_near(handed_on(2, 8, DSV4_SCALE_GROUP, 8, 127.0), 127.0 / 513, 1e-3);
    assert_near(handed_on(2, 8, DSV4_SCALE_ROW, 8, 127.0), 0.0, 0.0);
    assert_near(handed_on(1, 130, DSV4_SCALE_GROUP, 128, 0.25), 0.0, 0.0);
    assert_near(handed_on(1, 130, DSV4_SCALE_BLOCK, 128, 0.25), 0.25, 1e-3);
    assert_near(handed_on(1, 130, DSV4_SCALE_BLOCK, 127, 0.25), 0.0, 0.0);
    assert_near(handed_on(2, 8, DSV4_SCALE_BLOCK, 8, 127.0), 127.0 / 513, 1e-3);
}

static void refuse(const char *op, const dsv4_config *config, const dsv4_tensor_list *in, const char *text)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    assert_int_equal(golden_find(op)->run(config, &(dsv4_numerics){0}, in, &out, NULL, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, text);
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&out);
}

/* A step whose token 3, of request 1, has this index in slot 6. */
static void refuse_index(int32_t index, const char *text)
{
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0};
    const dsv4_tensor list = build_step(&in, W + KT, NO_SINK);
    ((int32_t *)list.data)[3 * (W + KT) + 6] = index;
    refuse("decode_sparse_attn", &config, &in, text);
    dsv4_tensor_list_deinit(&in);
}

static void test_indices_that_name_nothing(void **state)
{
    (void)state;
    refuse_index(-2, "input cmp_sparse_indices: token 3, slot 6: got -2, expected -1 to 7");
    refuse_index(8, "input cmp_sparse_indices: token 3, slot 6: got 8, expected -1 to 7");
    refuse_index(INT32_MAX, "input cmp_sparse_indices: token 3, slot 6: got 2147483647, expected -1 to 7");
}

static void test_pages_that_are_not_there(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list in = {0};
    const dsv4_tensor list = build_step(&in, W + KT, NO_SINK);
    int32_t *ring = get_tensor(&in, "ori_block_table").data, *cmp = get_tensor(&in, "cmp_block_table").data;
    put_list(&list, 3, 2, (int32_t[]){1, 6});
    cmp[1] = -1;
    refuse("decode_sparse_attn", &config, &in, "input cmp_block_table: request 1, entry 0: got -1, expected a page from 0 to 1");
    cmp[1] = 0;
    ring[1] = 2;
    refuse("decode_sparse_attn", &config, &in, "input ori_block_table: request 1, entry 0: got 2, expected a page from 0 to 1");
    dsv4_tensor_list_deinit(&in);
}

/* The hints of CSA and SWA must say what the indices say. */
static void test_hints(void **state)
{
    (void)state;
    const dsv4_config config = small_config();
    dsv4_tensor_list csa = {0}, swa = {0}, out = {0};
    const dsv4_tensor csa_list = build_step(&csa, W + KT, NO_SINK), swa_list = build_step(&swa, W, NO_SINK);
    const dsv4_tensor mask = add_tensor(&csa, "valid_block_mask", DSV4_I32, 2, (int64_t[]){TOKENS, 2});
    put_list(&csa_list, 2, 8, (int32_t[]){-1, -1, -1, -1, 1, -1, -1, -1});
    refuse("decode_sparse_attn", &config, &csa,
           "input valid_block_mask: token 2 block 1: masked, expected 1 as cmp_sparse_indices has a key there");
    ((int32_t *)mask.data)[2 * 2 + 1] = 1;
    run_golden("decode_sparse_attn", &config, &csa, &out);

    const dsv4_tensor bias = add_tensor(&swa, "win_bias", DSV4_F32, 2, (int64_t[]){TOKENS, 2 * W});
    for (int64_t i = 0; i < TOKENS * 2 * W; i++) {
        ((float *)bias.data)[i] = -1e20f;
    }
    put_list(&swa_list, 3, 2, (int32_t[]){2, W + 1});
    ((float *)bias.data)[3 * 2 * W + 2] = 0.0f;
    refuse("decode_sparse_attn_swa", &config, &swa,
           "input win_bias: token 3 column 7: got -1e+20, expected 0 by cmp_sparse_indices");
    ((float *)bias.data)[3 * 2 * W + W + 3] = 0.0f;
    ((float *)bias.data)[W + 3] = 0.0f;
    refuse("decode_sparse_attn_swa", &config, &swa,
           "input win_bias: token 0 column 7: got 0, expected -1e20 by cmp_sparse_indices");
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&swa);
    dsv4_tensor_list_deinit(&csa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_by_index),
        cmocka_unit_test(test_sink_enters_the_denominator_alone),
        cmocka_unit_test(test_repeated_index),
        cmocka_unit_test(test_prefill_closes_holes),
        cmocka_unit_test(test_prefill_ignores_what_is_not_there),
        cmocka_unit_test(test_scales_of_the_projection),
        cmocka_unit_test(test_indices_that_name_nothing),
        cmocka_unit_test(test_pages_that_are_not_there),
        cmocka_unit_test(test_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
