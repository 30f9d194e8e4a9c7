/* config.c - config.json, field by field. */
#include "model/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

typedef struct reader {
    const char *source;
    const json_t *root;
    dsv4_error *err;
} reader;

/* What stands in place of an accepted value, for a message. */
static const char *describe(const json_t *value, char *text, size_t size)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_TRUE] = "true", [JSON_FALSE] = "false", [JSON_NULL] = "null"};
    if (value == NULL) {
        snprintf(text, size, "missing");
    } else if (json_is_integer(value)) {
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, size, "%.15g", json_real_value(value));
    } else if (json_is_string(value)) {
        snprintf(text, size, "\"%.40s\"", json_string_value(value));
    } else {
        snprintf(text, size, "%s", kinds[json_typeof(value)]);
    }
    return text;
}

static dsv4_status refuse(const reader *r, const char *path, const json_t *value, const char *expected)
{
    char got[64];
    return dsv4_fail(r->err, value == NULL ? DSV4_E_FORMAT : DSV4_E_VALUE, "%s: %s is %s, expected %s", r->source, path,
                     describe(value, got, sizeof got), expected);
}

static dsv4_status read_int(const reader *r, const char *key, int64_t low, int64_t high, int64_t *out)
{
    const json_t *value = json_object_get(r->root, key);
    const int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < low || number > high) {
        char expected[80];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)low, (long long)high);
        return refuse(r, key, value, expected);
    }
    *out = number;
    return DSV4_OK;
}

static dsv4_status read_real(const reader *r, const char *key, double low, double high, double *out)
{
    const json_t *value = json_object_get(r->root, key);
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high)) {
        char expected[80];
        snprintf(expected, sizeof expected, "a number from %.7g to %.7g", low, high);
        return refuse(r, key, value, expected);
    }
    *out = number;
    return DSV4_OK;
}

/* ---- what the architecture fixes ------------------------------------------------------------------------------------------- */

typedef struct fixed_field {
    const char *object; /* that the key stands in; NULL: at the top */
    const char *key;
    const char *value; /* JSON text */
    bool required;
} fixed_field;

static const fixed_field fixed_fields[] = {
    {NULL, "model_type", "\"deepseek_v4\"", true},
    {NULL, "num_key_value_heads", "1", true},
    {NULL, "n_shared_experts", "1", true},
    {NULL, "scoring_func", "\"sqrtsoftplus\"", true},
    {NULL, "topk_method", "\"noaux_tc\"", true},
    {NULL, "norm_topk_prob", "true", true},
    {NULL, "hidden_act", "\"silu\"", true},
    {NULL, "attention_bias", "false", false},
    {NULL, "tie_word_embeddings", "false", false},
    {NULL, "torch_dtype", "\"bfloat16\"", false},
    {"rope_scaling", "type", "\"yarn\"", true},
    {"quantization_config", "quant_method", "\"fp8\"", true},
    {"quantization_config", "fmt", "\"e4m3\"", true},
    {"quantization_config", "scale_fmt", "\"ue8m0\"", true},
    {"quantization_config", "weight_block_size", "[128,128]", true},
    {"quantization_config", "activation_scheme", "\"dynamic\"", false},
};

static dsv4_status check_fixed(const reader *r, const fixed_field *f)
{
    const json_t *object = f->object == NULL ? r->root : json_object_get(r->root, f->object);
    const json_t *value = json_object_get(object, f->key);
    if (value == NULL && f->object != NULL && strcmp(f->key, "type") == 0) {
        value = json_object_get(object, "rope_type"); /* the newer name of the key */
    }
    if (value == NULL && !f->required) {
        return DSV4_OK;
    }
    json_t *expected = json_loads(f->value, JSON_DECODE_ANY, NULL);
    const bool same = expected != NULL && json_equal(expected, value);
    json_decref(expected);
    char path[80];
    snprintf(path, sizeof path, "%s%s%s", f->object != NULL ? f->object : "", f->object != NULL ? "." : "", f->key);
    return same ? DSV4_OK : refuse(r, path, value, f->value);
}

/* ---- blocks ---------------------------------------------------------------------------------------------------------------- */

static dsv4_status read_draft(const reader *r, model_config *out)
{
    int64_t n = 0;
    if (json_object_get(r->root, "dspark_block_size") == NULL) {
        const dsv4_status status = read_int(r, "num_nextn_predict_layers", 0, 1, &n);
        out->n_draft_blocks = (int)n;
        out->draft = n > 0 ? MODEL_DRAFT_MTP : MODEL_DRAFT_NONE;
        return status;
    }
    out->draft = MODEL_DRAFT_DSPARK;
    out->n_draft_blocks = 3;
    return read_int(r, "dspark_markov_rank", 1, 1 << 16, &out->dspark_markov_rank);
}

static dsv4_status read_ratios(const reader *r, model_config *out)
{
    const json_t *ratios = json_object_get(r->root, "compress_ratios");
    const int n_blocks = model_config_n_blocks(out);
    if (!json_is_array(ratios)) {
        return refuse(r, "compress_ratios", ratios, "an array");
    }
    if (n_blocks > MODEL_MAX_BLOCKS || json_array_size(ratios) != (size_t)n_blocks) {
        return dsv4_fail(r->err, DSV4_E_VALUE, "%s: compress_ratios has %zu entries, expected %d: %d layers and %d draft blocks",
                         r->source, json_array_size(ratios), n_blocks, (int)out->num_hidden_layers, out->n_draft_blocks);
    }
    for (int i = 0; i < n_blocks; i++) {
        const json_t *value = json_array_get(ratios, (size_t)i);
        const int64_t ratio = json_integer_value(value);
        const bool is_draft = i >= out->num_hidden_layers;
        if (!json_is_integer(value) || !(ratio == 0 || (!is_draft && (ratio == 4 || ratio == 128)))) {
            char path[40];
            snprintf(path, sizeof path, "compress_ratios[%d]", i);
            return refuse(r, path, value, is_draft ? "0 for a draft block" : "0, 4 or 128");
        }
        out->compress_ratio[i] = (int)ratio;
    }
    return DSV4_OK;
}

static dsv4_status read_expert_dtype(const reader *r, model_config *out)
{
    const json_t *value = json_object_get(r->root, "expert_dtype");
    const char *text = json_string_value(value);
    if (value == NULL) {
        out->expert_dtype = MODEL_EXPERT_UNKNOWN;
    } else if (text != NULL && strcmp(text, "fp4") == 0) {
        out->expert_dtype = MODEL_EXPERT_FP4;
    } else if (text != NULL && strcmp(text, "fp8") == 0) {
        out->expert_dtype = MODEL_EXPERT_FP8;
    } else {
        return refuse(r, "expert_dtype", value, "\"fp4\" or \"fp8\"");
    }
    return DSV4_OK;
}

/* ---- what fields must be to each other --------------------------------------------------------------------------------------- */

typedef struct rule {
    bool holds;
    const char *text;
} rule;

static dsv4_status check_rules(const reader *r, const model_config *c)
{
    const dsv4_config *d = &c->dims;
    const rule rules[] = {
        {c->num_hash_layers <= c->num_hidden_layers, "num_hash_layers <= num_hidden_layers"},
        {c->num_experts_per_tok <= c->n_routed_experts, "num_experts_per_tok <= n_routed_experts"},
        {c->n_routed_experts * model_config_n_blocks(c) <= MODEL_MAX_EXPERTS, "at most 262144 experts in all layers"},
        {c->bos_token_id < c->vocab_size && c->eos_token_id < c->vocab_size, "bos_token_id and eos_token_id < vocab_size"},
        {d->qk_rope_head_dim < d->head_dim && d->qk_rope_head_dim % 2 == 0, "qk_rope_head_dim even and < head_dim"},
        {d->qk_rope_head_dim <= d->index_head_dim, "qk_rope_head_dim <= index_head_dim"},
        {(d->head_dim - d->qk_rope_head_dim) % 64 == 0, "head_dim - qk_rope_head_dim a multiple of 64"},
        {(d->index_head_dim & (d->index_head_dim - 1)) == 0 && d->index_head_dim % 32 == 0, "index_head_dim a power of two >= 32"},
        {d->num_attention_heads % d->o_groups == 0, "num_attention_heads a multiple of o_groups"},
        {d->o_groups == 1 || d->o_lora_rank % 32 == 0, "o_lora_rank a multiple of 32, or one of o_groups"},
        {d->hidden_size % 32 == 0 && c->moe_intermediate_size % 32 == 0, "hidden_size and moe_intermediate_size multiples of 32"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].holds) {
            return dsv4_fail(r->err, DSV4_E_VALUE, "%s: the fields break a rule, expected %s", r->source, rules[i].text);
        }
    }
    return DSV4_OK;
}

/* The name of the model whose dimensions these are, whatever the text calls itself. Context length and tiling are no dimensions. */
static void set_name(dsv4_config *dims)
{
    static const char *const names[] = {"flash", "pro"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dsv4_config known;
        if (dsv4_config_preset(names[i], &known, NULL) == DSV4_OK && known.hidden_size == dims->hidden_size &&
            known.num_attention_heads == dims->num_attention_heads && known.head_dim == dims->head_dim &&
            known.q_lora_rank == dims->q_lora_rank && known.o_groups == dims->o_groups && known.index_topk == dims->index_topk) {
            memcpy(dims->name, known.name, sizeof dims->name);
        }
    }
}

static dsv4_status read_fields(const reader *r, model_config *out)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; status == DSV4_OK && i < sizeof fixed_fields / sizeof *fixed_fields; i++) {
        status = check_fixed(r, &fixed_fields[i]);
    }
#define READ_INT(field, lo, hi) status = status != DSV4_OK ? status : read_int(r, #field, lo, hi, &out->field);
    MODEL_CONFIG_INT_LIST(READ_INT)
#undef READ_INT
#define READ_REAL(field, lo, hi) status = status != DSV4_OK ? status : read_real(r, #field, lo, hi, &out->field);
    MODEL_CONFIG_REAL_LIST(READ_REAL)
#undef READ_REAL
    dsv4_status (*const parts[])(const reader *, model_config *) = {read_draft, read_ratios, read_expert_dtype};
    for (size_t i = 0; status == DSV4_OK && i < sizeof parts / sizeof *parts; i++) {
        status = parts[i](r, out);
    }
    return status == DSV4_OK ? check_rules(r, out) : status;
}

dsv4_status model_config_parse(const char *source, const char *json, size_t n_bytes, model_config *out, dsv4_error *err)
{
    model_config config = {0};
    dsv4_status status = dsv4_config_parse(source, json, n_bytes, &config.dims, err);
    if (status != DSV4_OK) {
        return status;
    }
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, NULL); /* parsed before: fails without memory only */
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory to parse it", source);
    }
    status = read_fields(&(reader){source, root, err}, &config);
    json_decref(root);
    if (status == DSV4_OK) {
        set_name(&config.dims);
        *out = config;
    }
    return status;
}

dsv4_status model_config_read(const char *path, model_config *out, dsv4_error *err)
{
    char *text;
    size_t n_bytes;
    dsv4_status status = file_read(path, MODEL_MAX_CONFIG_BYTES, &text, &n_bytes, err);
    if (status == DSV4_OK) {
        status = model_config_parse(path, text, n_bytes, out, err);
        free(text);
    }
    return status;
}
