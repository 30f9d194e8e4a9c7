/* Models of unusual dimensions: a configuration is refused in one line, or its model runs: all logits are numbers, and the same bits
 * however the tokens are cut into steps. Weights are random. */
#include "model_files.h"

#include <jansson.h>
#include <math.h>

#include "dsv4/safetensors.h"
#include "model/engine.h"
#include "model/synth_values.h"
#include "sanitized.h"

enum { N_TOKENS = 140 };

static const char folder[] = "odd_model";

/* A small model; what an odd one has instead comes behind it. */
static const char base_config[] =
    "{'model_type': 'deepseek_v4', 'scoring_func': 'sqrtsoftplus', 'topk_method': 'noaux_tc', 'hidden_act': 'silu',"
    " 'norm_topk_prob': true, 'num_key_value_heads': 1, 'n_shared_experts': 1, 'bos_token_id': 0, 'eos_token_id': 1,"
    " 'expert_dtype': 'fp4', 'hc_eps': 1e-6, 'hc_mult': 2, 'hc_sinkhorn_iters': 5, 'head_dim': 128, 'hidden_size': 64,"
    " 'index_head_dim': 64, 'index_n_heads': 2, 'index_topk': 8, 'max_position_embeddings': 4096, 'moe_intermediate_size': 64,"
    " 'n_routed_experts': 4, 'num_attention_heads': 4, 'num_experts_per_tok': 2, 'num_hidden_layers': 3, 'num_hash_layers': 1,"
    " 'num_nextn_predict_layers': 0, 'o_groups': 2, 'o_lora_rank': 32, 'q_lora_rank': 64, 'qk_rope_head_dim': 64,"
    " 'rms_norm_eps': 1e-6, 'rope_theta': 10000, 'compress_rope_theta': 160000, 'routed_scaling_factor': 1.5,"
    " 'sliding_window': 16, 'swiglu_limit': 10.0, 'vocab_size': 64, 'compress_ratios': [0, 4, 128],"
    " 'rope_scaling': {'type': 'yarn', 'factor': 16, 'beta_fast': 32, 'beta_slow': 1, 'original_max_position_embeddings': 256},"
    " 'quantization_config': {'quant_method': 'fp8', 'fmt': 'e4m3', 'scale_fmt': 'ue8m0', 'weight_block_size': [128, 128]}}";

static json_t *parse(const char *quoted)
{
    char text[4096];
    size_t n = strlen(quoted);
    assert_true(n < sizeof text);
    for (size_t i = 0; i <= n; i++) {
        text[i] = (char)(quoted[i] == '\'' ? '"' : quoted[i]);
    }
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* The text of the small model's configuration with the fields of `changes`; the caller frees. */
static char *config_text(const char *changes)
{
    json_t *config = parse(base_config), *other = parse(changes);
    json_object_update(config, other);
    char *text = json_dumps(config, 0);
    assert_non_null(text);
    json_decref(config);
    json_decref(other);
    return text;
}

/* ---- a checkpoint ------------------------------------------------------------------------------------------------------------ */

static void write_weights(const model_config *config)
{
    model_table table = {0};
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    json_t *names = json_object();
    require_ok(model_table_make(config, &table, &err), &err);
    for (size_t i = 0; i < table.n; i++) {
        const model_tensor *t = &table.items[i];
        const synth_values values = synth_values_of(config, t, 7);
        const size_t n = model_tensor_bytes(t), n_blocks = (n + SYNTH_BLOCK - 1) / SYNTH_BLOCK;
        uint8_t *bytes = malloc(n_blocks * SYNTH_BLOCK);
        dsv4_tensor tensor;
        assert_non_null(bytes);
        synth_values_fill(&values, 0, n_blocks, bytes);
        require_ok(dsv4_tensor_list_alloc(&list, t->name, t->dtype, t->n_dims, t->shape, &tensor, &err), &err);
        memcpy(tensor.data, bytes, n);
        free(bytes);
        json_object_set_new(names, t->name, json_string("all.safetensors"));
    }
    const dsv4_safetensors_part part = {"", &list};
    require_ok(dsv4_safetensors_write(path_in(folder, "all.safetensors"), NULL, 0, &part, 1, &err), &err);
    json_t *index = json_pack("{s:o}", "weight_map", names);
    assert_int_equal(json_dump_file(index, path_in(folder, "model.safetensors.index.json"), 0), 0);
    json_decref(index);
    dsv4_tensor_list_deinit(&list);
    model_table_deinit(&table);
}

static void write_checkpoint(const char *text)
{
    model_config config;
    dsv4_error err = {0};
    require_ok(model_config_parse("odd", text, strlen(text), &config, &err), &err);
    mkdir(folder, 0777);
    write_bytes(path_in(folder, "config.json"), text, strlen(text));
    write_weights(&config);
}

/* ---- runs -------------------------------------------------------------------------------------------------------------------- */

typedef struct runner {
    dsv4_pool *pool;
    model_weights *weights;
    const model_numerics *numerics;
    int64_t V;
    int32_t tokens[N_TOKENS];
} runner;

/* Logits of n tokens, read `chunk` at a time in an engine that takes step_tokens of them; and of the draft block where there is one. */
static void read_tokens(const runner *r, int64_t n, int64_t step_tokens, int64_t chunk, float *logits, float *drafts)
{
    const model_engine_options options = {
        .numerics = r->numerics, .n_sequences = 1, .context = N_TOKENS, .step_tokens = step_tokens};
    model_engine *e = NULL;
    model_sequence *s = NULL;
    dsv4_error err = {0};
    require_ok(model_engine_create(r->weights, r->pool, &options, &e, &err), &err);
    require_ok(model_sequence_open(model_engine_kv(e), &s, &err), &err);
    for (int64_t at = 0; at < n; at += chunk) {
        const int64_t n_now = chunk < n - at ? chunk : n - at, n_next = at + n_now < n ? n_now : n_now - 1;
        const model_feed feed = {s, r->tokens + at, n_now, n_now, logits + at * r->V};
        require_ok(model_engine_step(e, &feed, 1, &err), &err);
        const model_feed next = {s, r->tokens + at + 1, n_next, n_next, drafts + at * r->V};
        if (r->weights->config.n_draft_blocks > 0 && n_next > 0 && n_now <= step_tokens) {
            require_ok(model_engine_draft(e, &next, 1, &err), &err);
        }
    }
    assert_int_equal(s->length, n);
    model_engine_destroy(e);
}

static float *rows_new(const runner *r)
{
    float *rows = calloc((size_t)(N_TOKENS * r->V), sizeof *rows);
    assert_non_null(rows);
    return rows;
}

static void check_finite(const char *what, const runner *r, const float *rows)
{
    for (int64_t i = 0; i < N_TOKENS * r->V; i++) {
        if (!isfinite(rows[i])) {
            fail_msg("%s: %s: row %lld has a value that is no number", what, r->numerics->name, (long long)(i / r->V));
        }
    }
}

static void check_numerics(const char *what, runner *r)
{
    float *first = rows_new(r), *first_drafts = rows_new(r), *other = rows_new(r), *other_drafts = rows_new(r);
    const struct {
        int64_t n, step_tokens, chunk;
    } ways[] = {{24, 1, 1}, {N_TOKENS, N_TOKENS, 37}, {N_TOKENS, 7, 7}, {N_TOKENS, 64, N_TOKENS}};
    read_tokens(r, N_TOKENS, N_TOKENS, N_TOKENS, first, first_drafts);
    check_finite(what, r, first);
    check_finite(what, r, first_drafts);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const size_t row_bytes = (size_t)r->V * sizeof *first, n = (size_t)ways[i].n;
        read_tokens(r, ways[i].n, ways[i].step_tokens, ways[i].chunk, other, other_drafts);
        if (memcmp(other, first, n * row_bytes) != 0) {
            fail_msg("%s: %s: %lld tokens at once, %lld a step: other logits", what, r->numerics->name, (long long)ways[i].chunk,
                     (long long)ways[i].step_tokens);
        }
        if (ways[i].chunk <= ways[i].step_tokens && memcmp(other_drafts, first_drafts, (n - 1) * row_bytes) != 0) {
            fail_msg("%s: %s: %lld tokens at once: other drafts", what, r->numerics->name, (long long)ways[i].chunk);
        }
    }
    free(first);
    free(first_drafts);
    free(other);
    free(other_drafts);
}

/* Under sanitizers in one numerics. */
static void check_model(const char *changes, size_t m)
{
    static const char *const forms[] = {"official", "w8a8", "exact"}; /* rows enter products as BF16, INT8, parts of FP32 */
    char *text = config_text(changes);
    dsv4_error err = {0};
    runner r = {0};
    write_checkpoint(text);
    require_ok(dsv4_pool_create(2, &r.pool, &err), &err);
    for (size_t i = SANITIZED ? m % 3 : 0; i < (SANITIZED ? m % 3 + 1 : 3); i++) {
        model_checkpoint *c = NULL;
        require_ok(model_numerics_find(forms[i], &r.numerics, &err), &err);
        require_ok(model_checkpoint_open(folder, &c, &err), &err);
        require_ok(model_weights_pack(c, r.numerics->rows == MODEL_ROWS_I8, r.pool, NULL, &r.weights, &err), &err);
        model_checkpoint_close(c);
        r.V = r.weights->config.vocab_size;
        for (int64_t t = 0; t < N_TOKENS; t++) {
            r.tokens[t] = (int32_t)(t * t * 7 % r.V);
        }
        check_numerics(changes, &r);
        model_weights_free(r.weights);
    }
    dsv4_pool_destroy(r.pool);
    free(text);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------- */

/* Each has several things at once that no published model has. */
static const char *const odd[] = {
    "{}",
    "{'hc_mult': 1, 'sliding_window': 1, 'index_n_heads': 1, 'index_topk': 1}",
    "{'hc_mult': 16, 'sliding_window': 300, 'index_n_heads': 65, 'index_topk': 100000}",
    "{'hc_mult': 5, 'q_lora_rank': 33, 'o_lora_rank': 33, 'o_groups': 1, 'head_dim': 66, 'qk_rope_head_dim': 2}",
    "{'q_lora_rank': 1, 'o_lora_rank': 1, 'o_groups': 1, 'num_attention_heads': 1, 'head_dim': 514, 'qk_rope_head_dim': 2}",
    "{'num_attention_heads': 9, 'o_groups': 3, 'o_lora_rank': 96, 'q_lora_rank': 131, 'head_dim': 70, 'qk_rope_head_dim': 6}",
    "{'hidden_size': 32, 'moe_intermediate_size': 32, 'vocab_size': 2, 'n_routed_experts': 1, 'num_experts_per_tok': 1}",
    "{'hidden_size': 160, 'moe_intermediate_size': 224, 'vocab_size': 77, 'n_routed_experts': 9, 'num_experts_per_tok': 9}",
    "{'hidden_size': 96, 'expert_dtype': 'fp8', 'moe_intermediate_size': 160, 'n_routed_experts': 33, 'num_hash_layers': 3}",
    "{'num_nextn_predict_layers': 1, 'compress_ratios': [128, 4, 4, 0], 'hidden_size': 96, 'hc_mult': 3}",
    "{'num_hidden_layers': 1, 'compress_ratios': [4], 'num_hash_layers': 0, 'num_attention_heads': 40, 'rms_norm_eps': 0}",
};

static void odd_models_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        check_model(odd[i], i);
    }
}

/* What cannot run, and what the message says of it. */
static const struct {
    const char *changes, *text;
} refused[] = {
    {"{'o_lora_rank': 16}", "o_lora_rank a multiple of 32"},
    {"{'o_lora_rank': 33}", "o_lora_rank a multiple of 32"},
    {"{'num_attention_heads': 3}", "num_attention_heads a multiple of o_groups"},
    {"{'head_dim': 100}", "head_dim - qk_rope_head_dim a multiple of 64"},
    {"{'index_head_dim': 96}", "index_head_dim a power of two"},
    {"{'hidden_size': 72}", "hidden_size and moe_intermediate_size multiples of 32"},
    {"{'moe_intermediate_size': 48}", "hidden_size and moe_intermediate_size multiples of 32"},
    {"{'num_experts_per_tok': 5}", "num_experts_per_tok <= n_routed_experts"},
    {"{'hc_mult': 17}", "hc_mult is 17, expected an integer from 1 to 16"},
    {"{'sliding_window': 0}", "sliding_window is 0"},
    {"{'num_nextn_predict_layers': 1, 'compress_ratios': [0, 4, 128, 128]}", "expected 0 for a draft block"},
};

static void others_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char *text = config_text(refused[i].changes);
        model_config config;
        dsv4_error err = {0};
        assert_int_not_equal(model_config_parse("odd", text, strlen(text), &config, &err), DSV4_OK);
        if (strstr(err.text, refused[i].text) == NULL || strchr(err.text, '\n') != NULL) {
            fail_msg("%s: got \"%s\", expected \"%s\" in it", refused[i].changes, err.text, refused[i].text);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(odd_models_run), cmocka_unit_test(others_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
