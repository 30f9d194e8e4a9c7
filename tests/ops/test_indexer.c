/* The indexer's operators: against the vectors of the reference implementation and against their references; and the choices of
 * long contexts, of ties and of INT8 caches. */
#include "ops/indexer_runs.h"

#include <math.h>

#include "base/numbers.h"
#include "vector_file.h"

/* ---- comparison -------------------------------------------------------------------------------------------------------------- */

/* The lists name rows of the same scores, in order, as far as rounding lets them. */
static void compare_choices(const step *s, const dsv4_tensor_list *actual, const dsv4_tensor_list *expected, const char *what)
{
    const dsv4_tensor score = get_tensor(actual, "score"), want = get_tensor(expected, "score");
    const int64_t columns = score.shape[score.n_dims - 1];
    const cmp_topk lists = {.actual = i32_of(actual, "topk_idxs"),
                            .expected = i32_of(expected, "topk_idxs"),
                            .rows = dsv4_tensor_count(&score) / columns,
                            .k = columns,
                            .row_stride = columns,
                            .actual_scores = score.data,
                            .expected_scores = want.data,
                            .n_scores = columns,
                            .offset = offset_of(s),
                            .atol = 1e-4,
                            .rtol = 1.0 / 128};
    dsv4_error err = {0};
    cmp_result result;
    require_ok(cmp_topk_rows(&lists, true, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s: %d chosen rows are not among the best, the first at %d: %.9g, expected %.9g", what, (int)result.n_bad,
                 (int)result.worst_index, result.worst_actual, result.worst_expected);
    }
}

/* Every output that is expected, by its rule; chosen rows exactly where asked, else as rounding lets them. */
static void compare_outputs(const step *s, const dsv4_tensor_list *actual, const dsv4_tensor_list *expected, bool exact_choice,
                            const char *what)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        const op_tensor *row = &s->op->tensors[i];
        const dsv4_tensor *want = dsv4_tensor_list_find(expected, row->name);
        if (!op_is_output(row) || want == NULL) {
            continue;
        }
        if (strcmp(row->name, "topk_idxs") == 0 && !exact_choice) {
            compare_choices(s, actual, expected, what);
            continue;
        }
        const dsv4_tensor got = get_tensor(actual, row->name);
        dsv4_error err = {0};
        cmp_result result;
        require_ok(cmp_tensors(row->name, &got, want, &row->rule, &result, &err), &err);
        if (!result.pass) {
            fail_msg("%s: %s: %d of %d elements over tolerance, the worst is %.9g, expected %.9g", what, row->name,
                     (int)result.n_bad, (int)result.n, result.worst_actual, result.worst_expected);
        }
    }
}

/* ---- vectors ----------------------------------------------------------------------------------------------------------------- */

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    const step s = {.op = find_op(v.kernel), .config = v.config, .in = v.in};
    sealed run = run_step(&s, compat_options(&s, DSV4_REFERENCE));
    assert_true(v.expected.n >= 3);
    compare_outputs(&s, &run.io, &v.expected, true, *state);
    assert_rows_follow_scores(&s, &run);
    sealed_deinit(&run);
    vector_file_close(&v);
}

/* ---- references -------------------------------------------------------------------------------------------------------------- */

static void check_against_golden(const step *s, dsv4_compat compat, const char *what)
{
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    const golden *g = golden_find(s->op->name);
    assert_non_null(g);
    require_ok(g->run(&s->config, &(dsv4_numerics){.compat = compat}, &s->in, &expected, NULL, &err), &err);
    sealed run = run_step(s, compat_options(s, compat));
    compare_outputs(s, &run.io, &expected, false, what);
    assert_rows_follow_scores(s, &run);
    sealed_deinit(&run);
    dsv4_tensor_list_deinit(&expected);
}

static void check_decode(dsv4_config config, int64_t B, int64_t S, int64_t start_pos, const char *what)
{
    step s = draw_step(DSV4_DECODE, config, B, S, start_pos);
    check_against_golden(&s, DSV4_REFERENCE, what);
    check_against_golden(&s, DSV4_CORRECT, what);
    dsv4_tensor_list_deinit(&s.in);
}

static void check_prefill(dsv4_config config, int64_t T, int64_t start_pos, const char *what)
{
    step s = draw_step(DSV4_PREFILL, config, 1, T, start_pos);
    check_against_golden(&s, DSV4_CORRECT, what);
    dsv4_tensor_list_deinit(&s.in);
}

static void test_tiny(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    config.max_position_embeddings = 1024;
    check_decode(config, 9, 2, OP_UNKNOWN, "tiny decode");
    check_decode(config, 3, 1, 403, "tiny decode, one token");
    check_decode(config, 1, 4, 29, "tiny decode, four tokens");
    for (int64_t start = 0; start < 8; start++) {
        check_prefill(config, 16, start, "tiny prefill");
    }
    check_prefill(config, 37, 101, "tiny prefill, an odd chunk");
    check_prefill(config, 1, 203, "tiny prefill, one token");
}

static void test_flash(void **state)
{
    (void)state;
    dsv4_config config = preset("flash");
    config.max_position_embeddings = 8196;
    check_decode(config, SANITIZED ? 1 : 4, 2, SANITIZED ? 2046 : 8190, "flash decode");
    check_prefill(config, SANITIZED ? 5 : 19, 700, "flash prefill");
}

static void test_pro(void **state)
{
    (void)state;
    dsv4_config config = preset("pro");
    config.max_position_embeddings = 8192;
    check_decode(config, 1, 2, SANITIZED ? 1022 : 6142, "pro decode");
    check_prefill(config, 6, 1200, "pro prefill");
}

/* Heads and widths beside multiples of the panel, the vector and the group of four. */
static void test_strange_dims(void **state)
{
    static const struct {
        int64_t n_heads, head_dim, rope, topk;
    } models[] = {{5, 34, 6, 7}, {33, 70, 2, 3}, {1, 2, 2, 1}, {3, 6, 4, 100}, {64, 129, 8, 16}, {31, 33, 32, 5}, {2, 515, 10, 9}};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char what[64];
        dsv4_config config = indexer_model(models[i].n_heads, models[i].head_dim, models[i].rope, models[i].topk);
        config.max_position_embeddings = 640;
        snprintf(what, sizeof what, "%d heads of %d", (int)models[i].n_heads, (int)models[i].head_dim);
        check_decode(config, 3, 3, OP_UNKNOWN, what);
        check_decode(config, 2, 2, 510, what);
        check_prefill(config, 13, 90, what);
    }
}

/* Tokens beyond num_tokens see nothing; what stands before them is as in a chunk without them. */
static void test_partial_chunks(void **state)
{
    (void)state;
    step s = draw_step(DSV4_PREFILL, preset("tiny"), 1, 16, 50);
    sealed whole = run_step(&s, compat_options(&s, DSV4_CORRECT));
    const dsv4_tensor score = get_tensor(&whole.io, "score");
    const int64_t columns = score.shape[1];
    for (int32_t n = 0; n <= 16; n += 5) {
        *i32_of(&s.in, "num_tokens") = n;
        sealed part = run_step(&s, compat_options(&s, DSV4_CORRECT));
        const float *got = get_tensor(&part.io, "score").data;
        assert_memory_equal(got, score.data, (size_t)(n * columns) * sizeof *got);
        for (int64_t i = n * columns; i < 16 * columns; i++) {
            assert_true(got[i] == -FLT_MAX);
        }
        assert_rows_follow_scores(&s, &part);
        sealed_deinit(&part);
    }
    sealed_deinit(&whole);
    dsv4_tensor_list_deinit(&s.in);
}

/* ---- choices ----------------------------------------------------------------------------------------------------------------- */

/* All heads negative: every score is exactly 0, and the first rows are chosen. */
static void test_ties_take_the_smaller_row(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    config.max_position_embeddings = 1024;
    step s = draw_step(DSV4_DECODE, config, 2, 2, 998);
    const dsv4_tensor qr = get_tensor(&s.in, "qr");
    memset(qr.data, 0, dsv4_tensor_bytes(&qr));
    sealed run = run_step(&s, compat_options(&s, DSV4_REFERENCE));
    const int32_t *chosen = i32_of(&run.io, "topk_idxs");
    for (int64_t t = 0; t < 4; t++) {
        for (int32_t k = 0; k < config.index_topk; k++) {
            assert_int_equal(chosen[t * 256 + k], k + config.sliding_window);
        }
        assert_int_equal(chosen[t * 256 + config.index_topk], -1);
    }
    assert_rows_follow_scores(&s, &run);
    sealed_deinit(&run);
    dsv4_tensor_list_deinit(&s.in);
}

/* A context of 2^20 tokens: 2^18 rows on 2^14 pages of 16 rows. */
static void test_a_million_tokens(void **state)
{
    const int64_t n_tokens = SANITIZED ? 1 << 16 : 1 << 20;
    (void)state;
    dsv4_config config = indexer_model(2, 8, 2, 512);
    config.max_position_embeddings = n_tokens;
    step s = draw_step(DSV4_DECODE, config, 1, 2, n_tokens - 2);
    check_against_golden(&s, DSV4_REFERENCE, "a million tokens");
    dsv4_tensor_list_deinit(&s.in);
}

/* ---- INT8 cache -------------------------------------------------------------------------------------------------------------- */

static float quantise_row(const uint16_t *row, int64_t n, int8_t *q)
{
    float amax = 1e-4f;
    for (int64_t i = 0; i < n; i++) {
        amax = fmaxf(amax, fabsf(num_f32_from_bf16(row[i])));
    }
    const float multiplier = 1.0f / amax * 127.0f;
    for (int64_t i = 0; i < n; i++) {
        q[i] = (int8_t)rintf(num_f32_from_bf16(row[i]) * multiplier);
    }
    return 1.0f / multiplier;
}

/* The rows of a BF16 cache, quantised: cache and scales. */
static void quantise_cache(const dsv4_tensor *cache, dsv4_tensor_list *out)
{
    dsv4_error err = {0};
    dsv4_tensor q, scale;
    const int64_t width = cache->shape[3];
    require_ok(dsv4_tensor_list_alloc(out, "idx_kv_cache", DSV4_I8, 4, cache->shape, &q, &err), &err);
    require_ok(
        dsv4_tensor_list_alloc(out, "idx_kv_scale", DSV4_F32, 4, (int64_t[]){cache->shape[0], cache->shape[1], 1, 1}, &scale, &err),
        &err);
    for (int64_t row = 0; row < dsv4_tensor_count(&scale); row++) {
        ((float *)scale.data)[row] =
            quantise_row((const uint16_t *)cache->data + row * width, width, (int8_t *)q.data + row * width);
    }
}

/* A cache that is quantised when it is written scores as one that is quantised when it is read. */
static void check_int8_cache(step s)
{
    sealed bf16 = run_step(&s, compat_options(&s, DSV4_CORRECT));
    dsv4_tensor_list expected = {0};
    const dsv4_tensor before = get_tensor(&s.in, "idx_kv_cache"), after = get_tensor(&bf16.io, "idx_kv_cache");
    step quantised = {.op = s.op, .config = s.config};
    quantise_cache(&before, &quantised.in);
    for (size_t i = 0; i < s.in.n; i++) {
        if (strcmp(s.in.items[i].name, "idx_kv_cache") != 0) {
            put_tensor(&quantised.in, s.in.items[i].name, s.in.items[i].tensor);
        }
    }
    sealed i8 = run_step(&quantised, compat_options(&s, DSV4_CORRECT));
    quantise_cache(&after, &expected);
    assert_same_bits(&i8.io, &expected, "idx_kv_cache", "INT8 cache");
    assert_same_bits(&i8.io, &expected, "idx_kv_scale", "INT8 cache");
    assert_same_bits(&i8.io, &bf16.io, "score", "INT8 cache");
    assert_same_bits(&i8.io, &bf16.io, "topk_idxs", "INT8 cache");
    sealed_deinit(&i8);
    sealed_deinit(&bf16);
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&quantised.in);
    dsv4_tensor_list_deinit(&s.in);
}

static void test_int8_cache(void **state)
{
    (void)state;
    check_int8_cache(draw_step(DSV4_DECODE, preset("tiny"), 4, 2, 102));
    check_int8_cache(draw_step(DSV4_PREFILL, preset("tiny"), 1, 16, 100));
    check_int8_cache(draw_step(DSV4_DECODE, indexer_model(5, 34, 6, 7), 2, 3, 101));
    check_int8_cache(draw_step(DSV4_PREFILL, indexer_model(3, 6, 4, 9), 1, 21, 37));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(decode_indexer_pos0123),
        VECTOR(decode_indexer_pos34),
        VECTOR(prefill_indexer_pos0),
        VECTOR(prefill_indexer_pos32),
        VECTOR(prefill_indexer_pos100),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_flash),
        cmocka_unit_test(test_pro),
        cmocka_unit_test(test_strange_dims),
        cmocka_unit_test(test_partial_chunks),
        cmocka_unit_test(test_ties_take_the_smaller_row),
        cmocka_unit_test(test_a_million_tokens),
        cmocka_unit_test(test_int8_cache),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
