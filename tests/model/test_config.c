/* config.json of Flash, Pro and the tiny model, the tables that follow, and texts that break each rule. */
#include "model_files.h"

static model_config read_config(const char *path)
{
    model_config config;
    dsv4_error err = {0};
    require_ok(model_config_read(path, &config, &err), &err);
    return config;
}

static void flash_is_flash(void **state)
{
    (void)state;
    const model_config c = read_config(CONFIGS "/flash.json");
    assert_string_equal(c.dims.name, "flash");
    assert_int_equal(c.dims.hidden_size, 4096);
    assert_int_equal(c.dims.original_max_position_embeddings, 65536);
    assert_true(c.dims.rope_factor == 16 && c.swiglu_limit == 10 && c.routed_scaling_factor == 1.5);
    assert_int_equal(c.n_draft_blocks, 1);
    assert_int_equal(c.draft, MODEL_DRAFT_MTP);
    assert_int_equal(c.expert_dtype, MODEL_EXPERT_FP4);
    const int ratios[] = {0, 0, 4, 128};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.compress_ratio[i], ratios[i]);
    }
    assert_int_equal(c.compress_ratio[42], 4);
    assert_int_equal(c.compress_ratio[43], 0);
    assert_true(model_config_is_hashed(&c, 2) && !model_config_is_hashed(&c, 3));
}

/* Counts and bytes are those of the published files' headers. */
static void check_table(const char *path, size_t n_trunk, size_t n_draft, size_t n_bytes)
{
    model_config c = read_config(path);
    model_table table;
    dsv4_error err = {0};
    size_t trunk = 0, draft = 0, bytes = 0;
    c.expert_dtype = MODEL_EXPERT_FP4;
    require_ok(model_table_make(&c, &table, &err), &err);
    for (size_t i = 0; i < table.n; i++) {
        const bool is_draft = table.items[i].block >= c.num_hidden_layers;
        trunk += !is_draft;
        draft += is_draft;
        bytes += model_tensor_bytes(&table.items[i]);
    }
    model_table_deinit(&table);
    assert_int_equal(trunk, n_trunk);
    assert_int_equal(draft, n_draft);
    if (n_bytes > 0) {
        assert_int_equal(bytes, n_bytes);
    }
}

static void tables_have_the_published_counts(void **state)
{
    (void)state;
    check_table(CONFIGS "/flash.json", 67612, 1575, 159609485896u);
    check_table(CONFIGS "/pro.json", 142773, 2343, 864704792696u);
    check_table(CONFIGS "/flash-0731.json", 67612, 4705, 0);
}

static void pro_has_no_expert_dtype(void **state)
{
    (void)state;
    const model_config c = read_config(CONFIGS "/pro.json");
    assert_string_equal(c.dims.name, "pro");
    assert_int_equal(c.expert_dtype, MODEL_EXPERT_UNKNOWN);
    assert_int_equal(c.compress_ratio[0], 128);
}

static void refuses(const char *from, const char *to, const char *word)
{
    size_t n;
    char *text = read_text(CONFIGS "/tiny.json", &n), *changed = replace_text(text, from, to);
    model_config config;
    dsv4_error err = {0};
    const dsv4_status status = model_config_parse("c.json", changed, strlen(changed), &config, &err);
    if (status == DSV4_OK || strncmp(err.text, "c.json: ", 8) != 0 || strstr(err.text, word) == NULL ||
        strstr(err.text, "expected") == NULL) {
        fail_msg("'%s' for '%s': status %d, \"%s\"", to, from, (int)status, err.text);
    }
    free(changed);
    free(text);
}

static void refuses_what_the_architecture_is_not(void **state)
{
    (void)state;
    refuses("\"deepseek_v4\"", "\"llama\"", "model_type is \"llama\"");
    refuses("\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2", "num_key_value_heads is 2");
    refuses("\"sqrtsoftplus\"", "\"softmax\"", "scoring_func");
    refuses("\"weight_block_size\": [\n   128", "\"weight_block_size\": [\n   64", "quantization_config.weight_block_size");
    refuses("\"yarn\"", "7", "rope_scaling.type is 7");
    refuses("\"quantization_config\"", "\"other\"", "quantization_config.quant_method is missing");
    refuses("\"expert_dtype\": \"fp4\"", "\"expert_dtype\": \"int4\"", "expert_dtype is \"int4\"");
}

static void refuses_numbers_out_of_range(void **state)
{
    (void)state;
    refuses("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 4", "compress_ratios has 6 entries");
    refuses("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 5.0", "num_hidden_layers is 5");
    refuses("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 1000000000", "num_hidden_layers");
    refuses("\"num_hidden_layers\"", "\"layers\"", "num_hidden_layers is missing");
    refuses("\"n_routed_experts\": 8", "\"n_routed_experts\": 1", "num_experts_per_tok <= n_routed_experts");
    refuses("\"num_hash_layers\": 1", "\"num_hash_layers\": 6", "num_hash_layers <= num_hidden_layers");
    refuses("\"swiglu_limit\": 2.0", "\"swiglu_limit\": -1", "swiglu_limit is -1");
    refuses("\"swiglu_limit\": 2.0", "\"swiglu_limit\": null", "swiglu_limit is null");
    refuses("\"o_groups\": 4", "\"o_groups\": 3", "num_attention_heads a multiple of o_groups");
    refuses("  0,\n  4,\n", "  0,\n  8,\n", "compress_ratios[1] is 8");
    refuses("\"eos_token_id\": 1", "\"eos_token_id\": 512", "eos_token_id < vocab_size");
    refuses("\"hidden_size\": 256", "\"hidden_size\": 250", "multiples of 32");
}

static void refuses_hostile_text(void **state)
{
    (void)state;
    model_config config;
    dsv4_error err = {0};
    char deep[4096];
    memset(deep, '[', sizeof deep);
    assert_int_equal(model_config_parse("c", deep, sizeof deep, &config, &err), DSV4_E_FORMAT);
    assert_int_equal(model_config_parse("c", "[]", 2, &config, &err), DSV4_E_FORMAT);
    assert_int_equal(model_config_parse("c", "", 0, &config, &err), DSV4_E_FORMAT);
    assert_int_equal(model_config_read("/dev/null", &config, &err), DSV4_E_IO);
    assert_int_equal(model_config_read(TEST_VECTORS, &config, &err), DSV4_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flash_is_flash),
        cmocka_unit_test(tables_have_the_published_counts),
        cmocka_unit_test(pro_has_no_expert_dtype),
        cmocka_unit_test(refuses_what_the_architecture_is_not),
        cmocka_unit_test(refuses_numbers_out_of_range),
        cmocka_unit_test(refuses_hostile_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
