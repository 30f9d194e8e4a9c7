/* Packed weights: every value of the tiny models, decoded by the layouts that kernels.h documents, against the checkpoint's. */
#include "model_files.h"

#include <math.h>

#include "base/numbers.h"
#include "model/packed.h"
#include "model/weights.h"

typedef struct opened {
    model_checkpoint *checkpoint;
    model_weights *weights;
    char name[MODEL_NAME_BYTES];
} opened;

static opened open_and_pack(const char *folder, bool int8, dsv4_pool *pool)
{
    opened o = {0};
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(folder, &o.checkpoint, &err), &err);
    require_ok(model_weights_pack(o.checkpoint, int8, pool, NULL, &o.weights, &err), &err);
    return o;
}

static void close_both(opened *o)
{
    model_weights_free(o->weights);
    model_checkpoint_close(o->checkpoint);
}

/* ---- a value by its layout -------------------------------------------------------------------------------------------------------- */

static const uint8_t *panel_of(const model_weight *w, int64_t n)
{
    return (const uint8_t *)w->packed.panels + n / 32 * w->packed.panel_bytes;
}

static float value_bf16(const model_weight *w, int64_t k, int64_t n)
{
    uint16_t bits;
    memcpy(&bits, panel_of(w, n) + k / 2 * 128 + 2 * (2 * (n % 32) + k % 2), sizeof bits);
    return num_f32_from_bf16(bits);
}

static float value_f32(const model_weight *w, int64_t k, int64_t n)
{
    float value;
    memcpy(&value, panel_of(w, n) + k * 128 + 4 * (n % 32), sizeof value);
    return value;
}

static float value_fp8(const model_weight *w, int64_t k, int64_t n)
{
    const int64_t column = n % 32, byte = 16 * (column % 16 / 4) + 8 * (column / 16) + 2 * (column % 4) + k % 2;
    const float scale = w->scales[n / 32 * ((w->packed.k + 127) / 128) + k / 128];
    return num_f32_from_e4m3(panel_of(w, n)[k / 2 * 64 + byte]) * scale;
}

static float value_fp4(const model_weight *w, int64_t k, int64_t n)
{
    const int64_t column = n % 32, row = k % 64;
    const uint8_t *block = panel_of(w, n) + k / 64 * 17 * 64;
    const uint8_t code = block[64 * (1 + row / 4) + 4 * (column % 16) + row % 4];
    return num_f32_from_e2m1((uint8_t)(column < 16 ? code & 15 : code >> 4)) * num_f32_from_e8m0(block[32 * (row / 32) + column]);
}

static int code_i8(const model_weight *w, int64_t k, int64_t n)
{
    return (int8_t)panel_of(w, n)[k / 4 * 128 + 4 * (n % 32) + k % 4];
}

static float value_of(const model_weight *w, int64_t k, int64_t n)
{
    switch (w->form) {
    case MODEL_FORM_BF16:
        return value_bf16(w, k, n);
    case MODEL_FORM_F32:
        return value_f32(w, k, n);
    case MODEL_FORM_FP8:
        return value_fp8(w, k, n);
    case MODEL_FORM_FP4:
        return value_fp4(w, k, n);
    default:
        fail_msg("form %d", w->form);
        return 0;
    }
}

/* ---- weights ----------------------------------------------------------------------------------------------------------------------- */

static void check_i8_column(const char *name, const model_weight *w, int64_t n, const float *column)
{
    double amax = 1e-4, sum = 0;
    for (int64_t k = 0; k < w->packed.k; k++) {
        amax = fabs((double)column[k]) > amax ? fabs((double)column[k]) : amax;
        sum += code_i8(w, k, n);
    }
    if (fabs((double)w->scales[n] * 127 / amax - 1) > 1e-6 || w->packed.correction[n] != -128 * sum) {
        fail_msg("%s: column %d: scale %.9g, correction %d", name, (int)n, (double)w->scales[n], w->packed.correction[n]);
    }
    for (int64_t k = 0; k < w->packed.k; k++) {
        if (fabs(code_i8(w, k, n) - (double)column[k] * 127 / amax) > 0.5 + 1e-4) {
            fail_msg("%s[%d][%d]: %d of scale %.9g, expected %.9g", name, (int)k, (int)n, code_i8(w, k, n), (double)w->scales[n],
                     (double)column[k]);
        }
    }
}

static void check_weight(const opened *o, const char *name, const model_weight *w)
{
    model_matrix m;
    dsv4_error err = {0};
    float column[4096];
    require_ok(model_matrix_find(o->checkpoint, name, &m, &err), &err);
    assert_true(m.columns <= 4096 && w->packed.k == m.columns && w->packed.n == m.rows && w->packed.n_panels == (m.rows + 31) / 32);
    assert_int_equal((uintptr_t)w->packed.panels % 64, 0);
    for (int64_t n = 0; n < m.rows; n++) {
        model_matrix_tile(&m, n, 1, 0, m.columns, column, m.columns);
        if (w->form == MODEL_FORM_I8) {
            check_i8_column(name, w, n, column);
            continue;
        }
        for (int64_t k = 0; k < m.columns; k++) {
            if (value_of(w, k, n) != column[k]) {
                fail_msg("%s[%d][%d]: %.9g, expected %.9g", name, (int)k, (int)n, (double)value_of(w, k, n), (double)column[k]);
            }
        }
    }
}

static char *in_block(opened *o, int block, const char *leaf)
{
    const int n_layers = (int)o->checkpoint->config.num_hidden_layers;
    snprintf(o->name, sizeof o->name, "%s.%d.%.40s", block < n_layers ? "layers" : "mtp",
             block < n_layers ? block : block - n_layers, leaf);
    return o->name;
}

static void check_in_block(opened *o, int block, const char *leaf, const model_weight *w, model_form form)
{
    assert_int_equal(w->form, form);
    check_weight(o, in_block(o, block, leaf), w);
}

static void check_vector(opened *o, const char *name, const void *data, size_t value_bytes)
{
    model_matrix m;
    dsv4_error err = {0};
    require_ok(model_matrix_find(o->checkpoint, name, &m, &err), &err);
    assert_memory_equal(data, m.data, (size_t)(m.rows * m.columns) * value_bytes);
}

static void check_streams(opened *o, const char *path, const model_streams_weights *w)
{
    char name[MODEL_NAME_BYTES];
    snprintf(name, sizeof name, "%s_fn", path);
    assert_int_equal(w->fn.form, MODEL_FORM_F32);
    check_weight(o, name, &w->fn);
    snprintf(name, sizeof name, "%s_base", path);
    check_vector(o, name, w->base, 4);
    snprintf(name, sizeof name, "%s_scale", path);
    check_vector(o, name, w->scale, 4);
}

static void check_compressor(opened *o, int b, const char *path, const model_compressor_weights *w)
{
    char leaf[MODEL_NAME_BYTES];
    snprintf(leaf, sizeof leaf, "%s.wkv", path);
    check_in_block(o, b, leaf, &w->wkv, MODEL_FORM_BF16);
    snprintf(leaf, sizeof leaf, "%s.wgate", path);
    check_in_block(o, b, leaf, &w->wgate, MODEL_FORM_BF16);
    snprintf(leaf, sizeof leaf, "%s.ape", path);
    check_vector(o, in_block(o, b, leaf), w->ape, 4);
    snprintf(leaf, sizeof leaf, "%s.norm", path);
    check_vector(o, in_block(o, b, leaf), w->norm, 2);
}

static void check_bank(opened *o, int b, const char *matrix, const model_expert_bank *bank)
{
    assert_int_equal(bank->n_experts, o->checkpoint->config.n_routed_experts);
    for (int64_t e = 0; e < bank->n_experts; e++) {
        char leaf[MODEL_NAME_BYTES];
        const model_weight w = model_expert_weight(bank, e);
        snprintf(leaf, sizeof leaf, "ffn.experts.%d.%s", (int)e, matrix);
        check_in_block(o, b, leaf, &w, MODEL_FORM_FP4);
    }
}

static void check_routes(opened *o, int b, const model_block_weights *w)
{
    const model_config *c = &o->checkpoint->config;
    if (!model_config_is_hashed(c, b)) {
        assert_null(w->routes);
        check_vector(o, in_block(o, b, "ffn.gate.bias"), w->gate_bias, 4);
        return;
    }
    assert_null(w->gate_bias);
    const int64_t item = model_checkpoint_find(o->checkpoint, in_block(o, b, "ffn.gate.tid2eid"));
    assert_true(item >= 0);
    for (int64_t i = 0; i < c->vocab_size * c->num_experts_per_tok; i++) {
        int64_t expert;
        memcpy(&expert, (const char *)o->checkpoint->data[item] + 8 * i, sizeof expert);
        assert_int_equal(w->routes[i], expert);
    }
}

static void check_block(opened *o, int b, model_form fp8)
{
    const model_block_weights *w = &o->weights->blocks[b];
    const int ratio = o->checkpoint->config.compress_ratio[b];
    assert_int_equal(w->ratio, ratio);
    check_in_block(o, b, "attn.wq_a", &w->wq_a, fp8);
    check_in_block(o, b, "attn.wq_b", &w->wq_b, fp8);
    check_in_block(o, b, "attn.wkv", &w->wkv, fp8);
    check_in_block(o, b, "attn.wo_a", &w->wo_a, fp8);
    check_in_block(o, b, "attn.wo_b", &w->wo_b, fp8);
    check_vector(o, in_block(o, b, "attn.q_norm"), w->q_norm, 2);
    check_vector(o, in_block(o, b, "attn.kv_norm"), w->kv_norm, 2);
    check_vector(o, in_block(o, b, "attn.attn_sink"), w->sink, 4);
    check_vector(o, in_block(o, b, "attn_norm"), w->attn_norm, 2);
    check_vector(o, in_block(o, b, "ffn_norm"), w->ffn_norm, 2);
    check_streams(o, in_block(o, b, "hc_attn"), &w->attn_streams);
    check_streams(o, in_block(o, b, "hc_ffn"), &w->ffn_streams);
    if (ratio > 0) {
        check_compressor(o, b, "attn.compressor", &w->compress);
    }
    assert_int_equal(w->index_wq_b.form, ratio == 4 ? fp8 : MODEL_FORM_NONE);
    if (ratio == 4) {
        check_in_block(o, b, "attn.indexer.wq_b", &w->index_wq_b, fp8);
        check_in_block(o, b, "attn.indexer.weights_proj", &w->index_weights, MODEL_FORM_BF16);
        check_compressor(o, b, "attn.indexer.compressor", &w->index_compress);
    }
    check_in_block(o, b, "ffn.gate", &w->gate, MODEL_FORM_BF16);
    check_routes(o, b, w);
    check_in_block(o, b, "ffn.shared_experts.w1", &w->shared.w1, fp8);
    check_in_block(o, b, "ffn.shared_experts.w3", &w->shared.w3, fp8);
    check_in_block(o, b, "ffn.shared_experts.w2", &w->shared.w2, fp8);
    check_bank(o, b, "w1", &w->w1);
    check_bank(o, b, "w3", &w->w3);
    check_bank(o, b, "w2", &w->w2);
    if (b >= o->checkpoint->config.num_hidden_layers) {
        check_in_block(o, b, "e_proj", &w->e_proj, fp8);
        check_in_block(o, b, "h_proj", &w->h_proj, fp8);
        check_vector(o, in_block(o, b, "enorm"), w->enorm, 2);
        check_vector(o, in_block(o, b, "hnorm"), w->hnorm, 2);
        check_vector(o, in_block(o, b, "norm"), w->norm, 2);
        check_streams(o, in_block(o, b, "hc_head"), &w->head_streams);
    }
}

static void check_all(const char *folder, bool int8)
{
    dsv4_pool *pool = NULL;
    dsv4_error err = {0};
    require_ok(dsv4_pool_create(3, &pool, &err), &err);
    opened o = open_and_pack(folder, int8, pool);
    assert_int_equal(o.weights->n_blocks, model_config_n_blocks(&o.checkpoint->config));
    for (int b = 0; b < o.weights->n_blocks; b++) {
        check_block(&o, b, int8 ? MODEL_FORM_I8 : MODEL_FORM_FP8);
    }
    check_vector(&o, "embed", o.weights->embedding, 2);
    check_vector(&o, "norm", o.weights->norm, 2);
    check_weight(&o, "head", &o.weights->head);
    check_streams(&o, "hc_head", &o.weights->head_streams);
    close_both(&o);
    dsv4_pool_destroy(pool);
}

static void english_is_whole(void **state)
{
    (void)state;
    check_all(TINY_ENGLISH, false);
    check_all(TINY_ENGLISH, true);
}

static void random_is_whole(void **state)
{
    (void)state;
    check_all(TINY_RANDOM, false);
    check_all(TINY_RANDOM, true);
}

/* ---- products and bits ------------------------------------------------------------------------------------------------------------ */

/* y = w x by the scalar kernels, against sums in double of the checkpoint's values. */
static void products_are_those_of_the_values(void **state)
{
    (void)state;
    enum { K = 128, PANEL = 1 };
    opened o = open_and_pack(TINY_ENGLISH, false, NULL);
    const model_weight *weights[] = {&o.weights->blocks[1].compress.wkv, &o.weights->blocks[1].wq_b};
    const char *const names[] = {"layers.1.attn.compressor.wkv", "layers.1.attn.wq_b"};
    const uk_table *uk = NULL;
    dsv4_error err = {0};
    require_ok(uk_find(NULL, &uk, &err), &err);
    uint16_t x[K];
    for (int k = 0; k < K; k++) {
        x[k] = num_bf16_from_f32((float)(k * 37 % 64 - 32) / 16);
    }
    _Alignas(64) char packed[K * 8];
    assert_true(uk_acts_bytes_bf16(uk, 1, K) <= (int64_t)sizeof packed);
    uk->tile_bf16(1, 1, K, x, K, packed);
    const uk_acts a = {packed, 1, 1, uk_acts_bytes_bf16(uk, 1, K)};
    for (int i = 0; i < 2; i++) {
        const model_weight *w = weights[i];
        float y[UK_PANEL];
        if (w->form == MODEL_FORM_BF16) {
            uk->gemm_bf16(a, K, uk_panel_bf16(&w->packed, PANEL, 0), y, UK_PANEL);
        } else {
            const uk_packed_fp8 fp8 = {w->packed, 1, (float *)(uintptr_t)w->scales};
            uk->gemm_fp8(a, K, uk_panel_fp8(&fp8, PANEL, 0), uk_scales_fp8(&fp8, PANEL, 0), y, UK_PANEL);
        }
        model_matrix m;
        require_ok(model_matrix_find(o.checkpoint, names[i], &m, &err), &err);
        float values[UK_PANEL][K];
        model_matrix_tile(&m, PANEL * UK_PANEL, UK_PANEL, 0, K, &values[0][0], K);
        for (int n = 0; n < UK_PANEL; n++) {
            double sum = 0, size = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)num_f32_from_bf16(x[k]) * (double)values[n][k];
                size += fabs((double)num_f32_from_bf16(x[k]) * (double)values[n][k]);
            }
            assert_true(size > 0 && fabs((double)y[n] - sum) < 1e-5 * size);
        }
    }
    close_both(&o);
}

static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int int8 = 0; int8 < 2; int8++) {
        opened one = open_and_pack(TINY_RANDOM, int8, NULL);
        dsv4_pool *pool = NULL;
        dsv4_error err = {0};
        require_ok(dsv4_pool_create(5, &pool, &err), &err);
        opened five = open_and_pack(TINY_RANDOM, int8, pool);
        assert_int_equal(one.weights->bytes, five.weights->bytes);
        /* the first piece begins the data */
        assert_memory_equal(one.weights->blocks[0].attn_streams.fn.packed.panels,
                            five.weights->blocks[0].attn_streams.fn.packed.panels, one.weights->bytes);
        close_both(&one);
        close_both(&five);
        dsv4_pool_destroy(pool);
    }
}

/* ---- what is not right -------------------------------------------------------------------------------------------------------------- */

/* Changes bytes of a tensor of a copy of tiny-english, and packs it. */
static void refuses_changed(const char *tensor, size_t byte, const char *values, const char *part)
{
    const char *folder = TEST_TEMPORARY "/packed_changed";
    copy_english(folder);
    model_checkpoint *c = NULL;
    model_weights *w = NULL;
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    const int64_t item = model_checkpoint_find(c, tensor);
    assert_true(item >= 0);
    const dsv4_tensor_list *list = dsv4_safetensors_tensors(c->shards[c->shard_of[item]].file);
    uintptr_t first = UINTPTR_MAX; /* the first byte of data lies behind 8 bytes and the header, whose length they are */
    for (size_t i = 0; i < list->n; i++) {
        first = (uintptr_t)list->items[i].tensor.data < first ? (uintptr_t)list->items[i].tensor.data : first;
    }
    size_t n_bytes;
    uint64_t n_header;
    char file[FILE_PATH_BYTES];
    snprintf(file, sizeof file, "%s", path_in(folder, c->shards[c->shard_of[item]].name));
    char *bytes = read_text(file, &n_bytes);
    memcpy(&n_header, bytes, sizeof n_header);
    const size_t at = 8 + n_header + ((uintptr_t)c->data[item] - first);
    model_checkpoint_close(c);
    memcpy(bytes + at + byte, values, strlen(values));
    write_bytes(file, bytes, n_bytes);
    free(bytes);
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    for (int int8 = 0; int8 < 2; int8++) {
        assert_int_equal(model_weights_pack(c, int8, NULL, NULL, &w, &err), DSV4_E_VALUE);
        if (strstr(err.text, part) == NULL) {
            fail_msg("got '%s', expected '%s'", err.text, part);
        }
    }
    assert_null(w);
    model_checkpoint_close(c);
}

static void bad_values_are_refused(void **state)
{
    (void)state;
    refuses_changed("layers.2.attn.wo_b.scale", 0, "\xff", "layers.2.attn.wo_b.scale: value 0 has code 255");
    refuses_changed("layers.3.ffn.experts.5.w1.scale", 7, "\xf7", "layers.3.ffn.experts.5.w1.scale: value 7 has code 247");
    refuses_changed("layers.1.attn.wkv.weight", 130, "\xff", "layers.1.attn.wkv.weight: row 1 has 1 values that are no number");
    refuses_changed("layers.0.ffn.gate.tid2eid", 16, "\x08",
                    "layers.0.ffn.gate.tid2eid: token 1 goes to expert 8, expected below 8");
    refuses_changed("layers.0.attn.attn_sink", 4, "\x80\x80\x80\xff", "layers.0.attn.attn_sink: has a value that is not finite");
    refuses_changed("layers.2.hc_ffn_fn", 1024, "\x01\x01\xc0\x7f", "layers.2.hc_ffn_fn: has a value that is not finite");
    refuses_changed("embed.weight", 131070, "\xff\x7f", "embed: has a value that is not finite");
    refuses_changed("layers.1.ffn.gate.weight", 2, "\x80\xff", "layers.1.ffn.gate: has a value that is not finite");
    refuses_changed("norm.weight", 254, "\xff\x7f", "norm: has a value that is not finite");
}

static void incomplete_is_refused(void **state)
{
    (void)state;
    const char *folder = TEST_TEMPORARY "/packed_incomplete";
    copy_english(folder);
    unlink(path_in(folder, english_files[3]));
    model_checkpoint *c = NULL;
    model_weights *w = NULL;
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    assert_int_equal(model_weights_pack(c, false, NULL, NULL, &w, &err), DSV4_E_FORMAT);
    assert_null(w);
    model_checkpoint_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(english_is_whole),
        cmocka_unit_test(random_is_whole),
        cmocka_unit_test(products_are_those_of_the_values),
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(incomplete_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
