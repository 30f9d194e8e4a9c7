#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsv4/config.h"

/* The config metadata of a vector file: the tiny preset, with keys of other parts of the model. */
static const char vector_config[] =
    "{\"name\": \"tiny\", \"hidden_size\": 256, \"num_attention_heads\": 8, \"head_dim\": 128, \"qk_rope_head_dim\": 32, "
    "\"q_lora_rank\": 128, \"o_lora_rank\": 64, \"o_groups\": 4, \"sliding_window\": 16, \"rms_norm_eps\": 1e-06, "
    "\"vocab_size\": 512, \"moe_intermediate_size\": 128, \"scoring_func\": \"sqrtsoftplus\", \"routed_scaling_factor\": 1.5, "
    "\"n_routed_experts\": 8, \"num_experts_per_tok\": 2, \"num_hash_layers\": 2, \"swiglu_limit\": 0.75, "
    "\"compress_ratios\": [0, 0, 4, 128, 4, 0], \"index_n_heads\": 4, \"index_head_dim\": 64, \"index_topk\": 8, \"hc_mult\": 4, "
    "\"hc_sinkhorn_iters\": 20, \"hc_eps\": 1e-06, \"max_position_embeddings\": 160, \"rope_theta\": 10000.0, "
    "\"compress_rope_theta\": 160000.0, \"rope_factor\": 16.0, \"beta_fast\": 32, \"beta_slow\": 1, "
    "\"original_max_position_embeddings\": 65536, \"expert_dtype\": \"fp4\", \"preset\": \"TINY\", \"DECODE_BATCH\": 4, "
    "\"BLOCK_SIZE\": 16, \"FP32_NEG_INF\": -3.4028234663852886e+38, \"PREFILL_MAX_COMPRESSED\": 48, \"ATTN_TILE\": 16}";

/* The published form: YaRN fields in rope_scaling, integers for real fields, no name. */
static const char published_config[] =
    "{\n  \"architectures\": [\"DeepseekV4ForCausalLM\"],\n  \"attention_bias\": false,\n  \"hc_eps\": 1e-06,\n  \"hc_mult\": 4,\n"
    "  \"hc_sinkhorn_iters\": 20,\n  \"head_dim\": 512,\n  \"hidden_size\": 4096,\n  \"index_head_dim\": 128,\n  "
    "\"index_n_heads\": 64,\n"
    "  \"index_topk\": 512,\n  \"max_position_embeddings\": 1048576,\n  \"num_attention_heads\": 64,\n  \"o_groups\": 8,\n"
    "  \"o_lora_rank\": 1024,\n  \"q_lora_rank\": 1024,\n  \"qk_rope_head_dim\": 64,\n"
    "  \"quantization_config\": {\"fmt\": \"e4m3\", \"weight_block_size\": [128, 128]},\n  \"rms_norm_eps\": 1e-06,\n"
    "  \"rope_scaling\": {\"beta_fast\": 24, \"beta_slow\": 2, \"factor\": 8,\n"
    "    \"original_max_position_embeddings\": 32768, \"type\": \"yarn\"},\n"
    "  \"rope_theta\": 10000,\n  \"sliding_window\": 128,\n  \"compress_rope_theta\": 160000\n}\n";

static dsv4_config parse_ok(const char *json)
{
    dsv4_config config;
    dsv4_error err = {0};
    if (dsv4_config_parse("c.json", json, strlen(json), &config, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return config;
}

/* A refused text leaves the output as it is and says why. */
static void check_refused(const char *json, size_t n_bytes, dsv4_status expected, const char *named)
{
    dsv4_config config, before;
    memset(&config, 0x5a, sizeof config);
    before = config;
    dsv4_error err = {0};
    assert_int_equal(dsv4_config_parse("c.json", json, n_bytes, &config, &err), expected);
    assert_int_equal(err.status, expected);
    assert_memory_equal(err.text, "c.json: ", 8);
    if (!strstr(err.text, named)) {
        fail_msg("message '%s' does not say '%s'", err.text, named);
    }
    assert_memory_equal(&config, &before, sizeof config);
}

/* vector_config with one occurrence of `old` replaced; the caller frees it. */
static char *edited(const char *old, const char *new)
{
    const char *at = strstr(vector_config, old);
    assert_non_null(at);
    size_t size = sizeof vector_config + strlen(new);
    char *text = malloc(size);
    assert_non_null(text);
    snprintf(text, size, "%.*s%s%s", (int)(at - vector_config), vector_config, new, at + strlen(old));
    return text;
}

static void check_edit_refused(const char *old, const char *new, dsv4_status expected, const char *named)
{
    char *text = edited(old, new);
    check_refused(text, strlen(text), expected, named);
    free(text);
}

static dsv4_config preset(const char *name)
{
    dsv4_config config;
    assert_int_equal(dsv4_config_preset(name, &config, NULL), DSV4_OK);
    assert_string_equal(config.name, name);
    return config;
}

static void assert_same(const dsv4_config *a, const dsv4_config *b)
{
#define ASSERT_SAME(field, flash, pro, tiny, lo, hi) assert_true(a->field == b->field);
    DSV4_CONFIG_INT_LIST(ASSERT_SAME)
    DSV4_CONFIG_REAL_LIST(ASSERT_SAME)
    DSV4_CONFIG_MOE_LIST(ASSERT_SAME)
    DSV4_CONFIG_MOE_REAL_LIST(ASSERT_SAME)
#undef ASSERT_SAME
#define ASSERT_SAME(field, key, flash, pro, tiny, lo, hi) assert_true(a->field == b->field);
    DSV4_CONFIG_TILING_LIST(ASSERT_SAME)
#undef ASSERT_SAME
    assert_string_equal(a->name, b->name);
}

static void test_presets(void **state)
{
    (void)state;
    const dsv4_config flash = {.name = "flash",
                               .hidden_size = 4096,
                               .num_attention_heads = 64,
                               .head_dim = 512,
                               .qk_rope_head_dim = 64,
                               .q_lora_rank = 1024,
                               .o_lora_rank = 1024,
                               .o_groups = 8,
                               .sliding_window = 128,
                               .index_n_heads = 64,
                               .index_head_dim = 128,
                               .index_topk = 512,
                               .hc_mult = 4,
                               .hc_sinkhorn_iters = 20,
                               .max_position_embeddings = 8192,
                               .original_max_position_embeddings = 65536,
                               .rms_norm_eps = 1e-6,
                               .hc_eps = 1e-6,
                               .rope_theta = 1e4,
                               .compress_rope_theta = 1.6e5,
                               .rope_factor = 16,
                               .beta_fast = 32,
                               .beta_slow = 1,
                               .attn_tile = 128,
                               .prefill_max_compressed = 192,
                               .vocab_size = 129280,
                               .moe_intermediate_size = 2048,
                               .n_routed_experts = 256,
                               .num_experts_per_tok = 6,
                               .num_hash_layers = 3,
                               .routed_scaling_factor = 1.5,
                               .swiglu_limit = 10};
    dsv4_config pro = flash, got = preset("flash");
    assert_same(&got, &flash);
    memcpy(pro.name, "pro", 4);
    pro.hidden_size = 7168;
    pro.num_attention_heads = 128;
    pro.q_lora_rank = 1536;
    pro.o_groups = 16;
    pro.index_topk = 1024;
    pro.max_position_embeddings = 1048576;
    pro.moe_intermediate_size = 3072;
    pro.n_routed_experts = 384;
    pro.routed_scaling_factor = 2.5;
    got = preset("pro");
    assert_same(&got, &pro);
}

static void test_vector_metadata_is_tiny(void **state)
{
    (void)state;
    dsv4_config tiny = preset("tiny"), got = parse_ok(vector_config);
    assert_same(&got, &tiny);
}

static void test_unknown_preset(void **state)
{
    (void)state;
    dsv4_config config;
    dsv4_error err = {0};
    assert_int_equal(dsv4_config_preset("huge", &config, &err), DSV4_E_NOT_FOUND);
    assert_string_equal(err.text, "preset 'huge' is unknown, expected flash, pro or tiny");
}

/* Tiling is no part of a model: where a text has none, it follows from the model. */
static void test_tiling_without_a_word(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new;
        int64_t attn_tile, prefill_max_compressed;
    } cases[] = {
        {", \"PREFILL_MAX_COMPRESSED\": 48, \"ATTN_TILE\": 16", "", 16, 8}, /* at most index_topk */
        {", \"PREFILL_MAX_COMPRESSED\": 48", "", 16, 8},
        {", \"ATTN_TILE\": 16", "", 16, 48},
        {"\"ATTN_TILE\": 16", "\"ATTN_TILE\": 32", 32, 48},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = edited(cases[i].old, cases[i].new);
        const dsv4_config got = parse_ok(text);
        free(text);
        assert_int_equal(got.attn_tile, cases[i].attn_tile);
        assert_int_equal(got.prefill_max_compressed, cases[i].prefill_max_compressed);
    }
    const dsv4_config published = parse_ok(published_config); /* sliding_window 128, index_topk 512 */
    assert_int_equal(published.attn_tile, 128);
    assert_int_equal(published.prefill_max_compressed, 192);
}

static void test_tiling_is_checked(void **state)
{
    (void)state;
    check_edit_refused("\"ATTN_TILE\": 16", "\"ATTN_TILE\": 0", DSV4_E_VALUE,
                       "ATTN_TILE is 0, expected an integer from 1 to 1048576");
    check_edit_refused("\"ATTN_TILE\": 16", "\"ATTN_TILE\": \"16\"", DSV4_E_FORMAT, "ATTN_TILE is a string");
    check_edit_refused("\"ATTN_TILE\": 16", "\"ATTN_TILE\": null", DSV4_E_FORMAT, "ATTN_TILE is null");
    check_edit_refused("\"PREFILL_MAX_COMPRESSED\": 48", "\"PREFILL_MAX_COMPRESSED\": -1", DSV4_E_VALUE,
                       "PREFILL_MAX_COMPRESSED is -1");
}

static void test_experts_are_checked(void **state)
{
    (void)state;
    check_edit_refused("\"n_routed_experts\": 8", "\"n_routed_experts\": 16385", DSV4_E_VALUE,
                       "n_routed_experts is 16385, expected an integer from 0 to 16384");
    check_edit_refused("\"swiglu_limit\": 0.75", "\"swiglu_limit\": -1", DSV4_E_VALUE, "swiglu_limit is -1");
}

static void test_published_form(void **state)
{
    (void)state;
    dsv4_config got = parse_ok(published_config), expected = preset("flash");
    memcpy(expected.name, "unnamed", 8);
    expected.max_position_embeddings = 1048576;
    expected.original_max_position_embeddings = 32768;
    expected.rope_factor = 8;
    expected.beta_fast = 24;
    expected.beta_slow = 2;
    expected.vocab_size = expected.moe_intermediate_size = expected.n_routed_experts = 0; /* it does not have them */
    expected.num_experts_per_tok = expected.num_hash_layers = 0;
    expected.routed_scaling_factor = expected.swiglu_limit = 0;
    assert_same(&got, &expected);
}

static void test_top_level_comes_before_rope_scaling(void **state)
{
    (void)state;
    char *text = edited("\"rope_theta\"", "\"rope_scaling\": {\"factor\": 3, \"beta_fast\": 3}, \"rope_theta\"");
    dsv4_config got = parse_ok(text), tiny = preset("tiny");
    free(text);
    assert_same(&got, &tiny);
}

static void check_round_trip(const dsv4_config *config)
{
    char *text = dsv4_config_format(config);
    assert_non_null(text);
    dsv4_config again = parse_ok(text);
    free(text);
    assert_same(&again, config);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"flash", "pro", "tiny"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dsv4_config config = preset(names[i]);
        check_round_trip(&config);
    }
    dsv4_config odd = preset("tiny");
    memcpy(odd.name, "say \"hi\" \\", 11);
    odd.rms_norm_eps = nextafter(1e-6, 1);
    odd.rope_factor = 1.0 / 3;
    odd.index_topk = 77;
    odd.attn_tile = 48;
    odd.prefill_max_compressed = 5;
    check_round_trip(&odd);
}

static void test_format_without_form(void **state)
{
    (void)state;
    dsv4_config config = preset("tiny");
    config.beta_fast = INFINITY;
    assert_null(dsv4_config_format(&config));
    config = preset("tiny");
    memcpy(config.name, "\xff", 2);
    assert_null(dsv4_config_format(&config));
}

static void test_missing_field(void **state)
{
    (void)state;
    check_edit_refused("\"head_dim\": 128, ", "", DSV4_E_FORMAT,
                       "config field head_dim is missing, expected an integer from 2 to 65536");
    check_edit_refused("\"rope_factor\": 16.0, ", "", DSV4_E_FORMAT, "config field rope_factor is missing, expected a number");
    check_edit_refused("\"beta_slow\": 1, ", "\"rope_scaling\": null, ", DSV4_E_FORMAT, "config field beta_slow is missing");
    check_edit_refused("\"beta_slow\": 1, ", "\"rope_scaling\": [1], ", DSV4_E_FORMAT, "config field beta_slow is missing");
    check_edit_refused("\"hc_sinkhorn_iters\": 20, ", "", DSV4_E_FORMAT,
                       "hc_sinkhorn_iters is missing, expected an integer from 1");
    check_edit_refused("\"hc_eps\": 1e-06, ", "", DSV4_E_FORMAT, "hc_eps is missing, expected a number from 0 to 1");
    check_refused("{}", 2, DSV4_E_FORMAT, "hidden_size is missing");
}

static void test_out_of_range(void **state)
{
    (void)state;
    check_edit_refused("\"hidden_size\": 256", "\"hidden_size\": 0", DSV4_E_VALUE,
                       "hidden_size is 0, expected an integer from 1 to 1048576");
    check_edit_refused("\"hidden_size\": 256", "\"hidden_size\": 1048577", DSV4_E_VALUE, "hidden_size is 1048577");
    check_edit_refused("\"o_groups\": 4", "\"o_groups\": -4", DSV4_E_VALUE, "o_groups is -4");
    check_edit_refused("\"hidden_size\": 256", "\"hidden_size\": 9223372036854775807", DSV4_E_VALUE, "9223372036854775807");
    check_edit_refused("\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": -0.5", DSV4_E_VALUE,
                       "rms_norm_eps is the real -0.5, expected a number from 0 to 1");
    check_edit_refused("\"rope_theta\": 10000.0", "\"rope_theta\": 1", DSV4_E_VALUE,
                       "rope_theta is 1, expected a number from 1.000001");
    check_edit_refused("\"hidden_size\": 256", "\"hidden_size\": 9223372036854775808", DSV4_E_FORMAT, "no valid JSON");
    check_edit_refused("\"rope_theta\": 10000.0", "\"rope_theta\": 1e999", DSV4_E_FORMAT, "no valid JSON");
}

static void test_wrong_type(void **state)
{
    (void)state;
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": 128.0", DSV4_E_FORMAT, "head_dim is the real 128, expected an integer");
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": \"128\"", DSV4_E_FORMAT, "head_dim is a string");
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": [128]", DSV4_E_FORMAT, "head_dim is an array");
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": {}", DSV4_E_FORMAT, "head_dim is an object");
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": true", DSV4_E_FORMAT, "head_dim is true");
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": false", DSV4_E_FORMAT, "head_dim is false");
    check_edit_refused("\"beta_fast\": 32", "\"beta_fast\": null", DSV4_E_FORMAT, "beta_fast is null, expected a number");
    check_edit_refused("\"name\": \"tiny\"", "\"name\": 7", DSV4_E_FORMAT, "name is 7, expected a string");
}

static void test_name_length(void **state)
{
    (void)state;
    char *text = edited("\"tiny\"", "\"0123456789012345678901234567890\"");
    dsv4_config config = parse_ok(text);
    free(text);
    assert_string_equal(config.name, "0123456789012345678901234567890");
    check_edit_refused("\"tiny\"", "\"01234567890123456789012345678901\"", DSV4_E_VALUE, "name has 32 bytes, expected at most 31");
}

/* A vector file of one operator may hold values that no whole model has: what fields must be to each other is for operators. */
static void test_fields_do_not_depend_on_each_other(void **state)
{
    (void)state;
    char *text = edited("\"o_groups\": 4", "\"o_groups\": 3");
    assert_int_equal(parse_ok(text).o_groups, 3);
    free(text);
    text = edited("\"index_head_dim\": 64", "\"index_head_dim\": 30");
    assert_int_equal(parse_ok(text).index_head_dim, 30);
    free(text);
    text = edited("\"qk_rope_head_dim\": 32", "\"qk_rope_head_dim\": 31");
    assert_int_equal(parse_ok(text).qk_rope_head_dim, 31);
    free(text);
}

static void test_duplicate_key(void **state)
{
    (void)state;
    check_edit_refused("\"head_dim\": 128", "\"head_dim\": 128, \"head_dim\": 64", DSV4_E_FORMAT, "duplicate");
    check_edit_refused("\"preset\"", "\"vocab_size\"", DSV4_E_FORMAT, "duplicate");
}

static void test_malformed_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " ", "{", "nonsense", "{\"name\": \"tiny\x01\"}", "{\"a\": \"\xff\"}", "{\"a\" 1}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_refused(texts[i], strlen(texts[i]), DSV4_E_FORMAT, "config is no valid JSON: line ");
    }
    check_refused("[1]", 3, DSV4_E_FORMAT, "config is no JSON object");
    check_edit_refused("\"ATTN_TILE\": 16}", "\"ATTN_TILE\": 16} x", DSV4_E_FORMAT, "no valid JSON");
    check_refused(vector_config, sizeof vector_config, DSV4_E_FORMAT, "no valid JSON"); /* with its NUL */
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof vector_config - 1; n++) {
        char *text = malloc(n ? n : 1); /* exact size, for the address sanitizer */
        assert_non_null(text);
        memcpy(text, vector_config, n);
        check_refused(text, n, DSV4_E_FORMAT, "no valid JSON");
        free(text);
    }
}

/* vector_config with a key that holds n_levels nested arrays; the caller frees it. */
static char *nested(int n_levels)
{
    enum { MAX_LEVELS = 100000 };
    char *insert = malloc(2 * MAX_LEVELS + 64);
    assert_non_null(insert);
    assert_true(n_levels <= MAX_LEVELS);
    int n = sprintf(insert, "\"brackets\": \"[[\\\"{{\", \"deep\": ");
    memset(insert + n, '[', (size_t)n_levels);
    memset(insert + n + n_levels, ']', (size_t)n_levels);
    strcpy(insert + n + 2 * n_levels, ", \"preset\"");
    char *text = edited("\"preset\"", insert);
    free(insert);
    return text;
}

static void test_nesting(void **state)
{
    (void)state;
    char *text = nested(63); /* and the object itself */
    assert_int_equal(parse_ok(text).head_dim, 128);
    free(text);
    static const int too_deep[] = {64, 1000, 99000};
    for (size_t i = 0; i < sizeof too_deep / sizeof *too_deep; i++) {
        text = nested(too_deep[i]);
        check_refused(text, strlen(text), DSV4_E_FORMAT, "config nests deeper than 64 levels");
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_vector_metadata_is_tiny),
        cmocka_unit_test(test_unknown_preset),
        cmocka_unit_test(test_tiling_without_a_word),
        cmocka_unit_test(test_tiling_is_checked),
        cmocka_unit_test(test_experts_are_checked),
        cmocka_unit_test(test_published_form),
        cmocka_unit_test(test_top_level_comes_before_rope_scaling),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_format_without_form),
        cmocka_unit_test(test_missing_field),
        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_wrong_type),
        cmocka_unit_test(test_name_length),
        cmocka_unit_test(test_fields_do_not_depend_on_each_other),
        cmocka_unit_test(test_duplicate_key),
        cmocka_unit_test(test_malformed_text),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
