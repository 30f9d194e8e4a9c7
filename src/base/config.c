#include "dsv4/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NESTING = 64 };

typedef struct int_field {
    const char *key;
    size_t offset; /* of an int64_t in dsv4_config */
    int64_t lo, hi;
} int_field;

typedef struct real_field {
    const char *key;
    size_t offset; /* of a double in dsv4_config */
    double lo, hi;
} real_field;

static const int_field int_fields[] = {
#define INT_FIELD(field, flash, pro, tiny, lo, hi) {#field, offsetof(dsv4_config, field), lo, hi},
    DSV4_CONFIG_INT_LIST(INT_FIELD)
#undef INT_FIELD
};

static const int_field tiling_fields[] = {
#define TILING_FIELD(field, key, flash, pro, tiny, lo, hi) {key, offsetof(dsv4_config, field), lo, hi},
    DSV4_CONFIG_TILING_LIST(TILING_FIELD)
#undef TILING_FIELD
};

static const real_field real_fields[] = {
#define REAL_FIELD(field, flash, pro, tiny, lo, hi) {#field, offsetof(dsv4_config, field), lo, hi},
    DSV4_CONFIG_REAL_LIST(REAL_FIELD)
#undef REAL_FIELD
};

static const int_field moe_fields[] = {
#define MOE_FIELD(field, flash, pro, tiny, lo, hi) {#field, offsetof(dsv4_config, field), lo, hi},
    DSV4_CONFIG_MOE_LIST(MOE_FIELD)
#undef MOE_FIELD
};

static const real_field moe_real_fields[] = {
#define MOE_REAL_FIELD(field, flash, pro, tiny, lo, hi) {#field, offsetof(dsv4_config, field), lo, hi},
    DSV4_CONFIG_MOE_REAL_LIST(MOE_REAL_FIELD)
#undef MOE_REAL_FIELD
};

enum {
    N_INT_FIELDS = sizeof int_fields / sizeof *int_fields,
    N_REAL_FIELDS = sizeof real_fields / sizeof *real_fields,
    N_TILING_FIELDS = sizeof tiling_fields / sizeof *tiling_fields,
    N_MOE_FIELDS = sizeof moe_fields / sizeof *moe_fields,
    N_MOE_REAL_FIELDS = sizeof moe_real_fields / sizeof *moe_real_fields
};

#define FLASH_VALUE(field, flash, pro, tiny, lo, hi) .field = flash,
#define FLASH_TILING(field, key, flash, pro, tiny, lo, hi) .field = flash,
#define PRO_VALUE(field, flash, pro, tiny, lo, hi) .field = pro,
#define PRO_TILING(field, key, flash, pro, tiny, lo, hi) .field = pro,
#define TINY_VALUE(field, flash, pro, tiny, lo, hi) .field = tiny,
#define TINY_TILING(field, key, flash, pro, tiny, lo, hi) .field = tiny,
static const dsv4_config presets[] = {
    {.name = "flash",
     DSV4_CONFIG_INT_LIST(FLASH_VALUE) DSV4_CONFIG_REAL_LIST(FLASH_VALUE) DSV4_CONFIG_TILING_LIST(FLASH_TILING)
         DSV4_CONFIG_MOE_LIST(FLASH_VALUE) DSV4_CONFIG_MOE_REAL_LIST(FLASH_VALUE)},
    {.name = "pro",
     DSV4_CONFIG_INT_LIST(PRO_VALUE) DSV4_CONFIG_REAL_LIST(PRO_VALUE) DSV4_CONFIG_TILING_LIST(PRO_TILING)
         DSV4_CONFIG_MOE_LIST(PRO_VALUE) DSV4_CONFIG_MOE_REAL_LIST(PRO_VALUE)},
    {.name = "tiny",
     DSV4_CONFIG_INT_LIST(TINY_VALUE) DSV4_CONFIG_REAL_LIST(TINY_VALUE) DSV4_CONFIG_TILING_LIST(TINY_TILING)
         DSV4_CONFIG_MOE_LIST(TINY_VALUE) DSV4_CONFIG_MOE_REAL_LIST(TINY_VALUE)},
};

/* The width of all heads fits 31 bits for every accepted pair, so products of two widths fit int64_t. */
#define LARGEST(field, flash, pro, tiny, lo, hi) LARGEST_##field = hi,
enum { DSV4_CONFIG_INT_LIST(LARGEST) };
_Static_assert(LARGEST_num_attention_heads <= INT32_MAX / LARGEST_head_dim, "width of all heads");
_Static_assert(LARGEST_index_n_heads <= INT32_MAX / LARGEST_index_head_dim, "width of all index heads");
_Static_assert(LARGEST_o_lora_rank <= INT32_MAX / LARGEST_o_groups, "width of all output groups");
_Static_assert(LARGEST_hidden_size <= INT32_MAX / LARGEST_hc_mult, "width of all residual streams");

dsv4_status dsv4_config_preset(const char *name, dsv4_config *out, dsv4_error *err)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(name, presets[i].name) == 0) {
            *out = presets[i];
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "preset '%s' is unknown, expected flash, pro or tiny", name);
}

/* Whether arrays and objects nest deeper than MAX_NESTING before the first syntax error; brackets in strings do not count. */
static bool nests_too_deep(const char *json, size_t n_bytes)
{
    ptrdiff_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes; i++) {
        char c = json[i];
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > MAX_NESTING) {
                return true;
            }
        } else if (!in_string && (c == '}' || c == ']')) {
            depth--;
        }
    }
    return false;
}

/* A parsed text with what messages about it need. */
typedef struct config_reader {
    const char *source;
    const json_t *root;
    dsv4_error *err;
} config_reader;

/* The name under which rope_scaling holds a field; NULL if it holds no such field. */
static const char *rope_scaling_key(const char *key)
{
    static const char *const names[][2] = {{"rope_factor", "factor"},
                                           {"beta_fast", "beta_fast"},
                                           {"beta_slow", "beta_slow"},
                                           {"original_max_position_embeddings", "original_max_position_embeddings"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(key, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return NULL;
}

/* NULL if the text has no such field. */
static const json_t *find_field(const config_reader *r, const char *key)
{
    const json_t *value = json_object_get(r->root, key);
    const char *nested_key = rope_scaling_key(key);
    if (value || !nested_key) {
        return value;
    }
    return json_object_get(json_object_get(r->root, "rope_scaling"), nested_key);
}

/* What stands in place of an accepted number, for a message. */
static void describe(const json_t *value, char *text, size_t size)
{
    static const char *const kinds[] = {[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
                                        [JSON_TRUE] = "true",        [JSON_FALSE] = "false",    [JSON_NULL] = "null"};
    if (!value) {
        snprintf(text, size, "missing");
    } else if (json_is_integer(value)) {
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, size, "the real %.15g", json_real_value(value));
    } else {
        snprintf(text, size, "%s", kinds[json_typeof(value)]);
    }
}

static dsv4_status read_int(const config_reader *r, const int_field *field, dsv4_config *out)
{
    const json_t *value = find_field(r, field->key);
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < field->lo || number > field->hi) {
        char got[64];
        describe(value, got, sizeof got);
        return dsv4_fail(r->err, json_is_integer(value) ? DSV4_E_VALUE : DSV4_E_FORMAT,
                         "%s: config field %s is %s, expected an integer from %lld to %lld", r->source, field->key, got,
                         (long long)field->lo, (long long)field->hi);
    }
    memcpy((char *)out + field->offset, &number, sizeof number);
    return DSV4_OK;
}

static dsv4_status read_real(const config_reader *r, const real_field *field, dsv4_config *out)
{
    const json_t *value = find_field(r, field->key);
    double number = json_number_value(value);
    if (!json_is_number(value) || number < field->lo || number > field->hi) {
        char got[64];
        describe(value, got, sizeof got);
        return dsv4_fail(r->err, json_is_number(value) ? DSV4_E_VALUE : DSV4_E_FORMAT,
                         "%s: config field %s is %s, expected a number from %.7g to %.7g", r->source, field->key, got, field->lo,
                         field->hi);
    }
    memcpy((char *)out + field->offset, &number, sizeof number);
    return DSV4_OK;
}

static dsv4_status read_name(const config_reader *r, dsv4_config *out)
{
    const json_t *value = json_object_get(r->root, "name");
    if (value && !json_is_string(value)) {
        char got[64];
        describe(value, got, sizeof got);
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: config field name is %s, expected a string", r->source, got);
    }
    const char *name = value ? json_string_value(value) : "unnamed";
    size_t n_bytes = strlen(name);
    if (n_bytes >= sizeof out->name) {
        return dsv4_fail(r->err, DSV4_E_VALUE, "%s: config field name has %zu bytes, expected at most %zu", r->source, n_bytes,
                         sizeof out->name - 1);
    }
    memcpy(out->name, name, n_bytes + 1);
    return DSV4_OK;
}

/* Tiling that the text may lack: what follows from the model then. */
static dsv4_status read_tiling(const config_reader *r, dsv4_config *out)
{
    int64_t window = out->sliding_window, rows = window + window / 2;
    dsv4_status status = DSV4_OK;
    out->attn_tile = window;
    out->prefill_max_compressed = rows < out->index_topk ? rows : out->index_topk;
    for (size_t i = 0; !status && i < N_TILING_FIELDS; i++) {
        if (find_field(r, tiling_fields[i].key) != NULL) {
            status = read_int(r, &tiling_fields[i], out);
        }
    }
    return status;
}

static dsv4_status read_moe(const config_reader *r, dsv4_config *out)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; !status && i < N_MOE_FIELDS; i++) {
        if (find_field(r, moe_fields[i].key) != NULL) {
            status = read_int(r, &moe_fields[i], out);
        }
    }
    for (size_t i = 0; !status && i < N_MOE_REAL_FIELDS; i++) {
        if (find_field(r, moe_real_fields[i].key) != NULL) {
            status = read_real(r, &moe_real_fields[i], out);
        }
    }
    return status;
}

static dsv4_status read_config(const config_reader *r, dsv4_config *out)
{
    dsv4_status status = read_name(r, out);
    for (size_t i = 0; !status && i < N_INT_FIELDS; i++) {
        status = read_int(r, &int_fields[i], out);
    }
    for (size_t i = 0; !status && i < N_REAL_FIELDS; i++) {
        status = read_real(r, &real_fields[i], out);
    }
    if (status == DSV4_OK) {
        status = read_moe(r, out);
    }
    return status == DSV4_OK ? read_tiling(r, out) : status;
}

dsv4_status dsv4_config_parse(const char *source, const char *json, size_t n_bytes, dsv4_config *out, dsv4_error *err)
{
    if (nests_too_deep(json, n_bytes)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: config nests deeper than %d levels", source, MAX_NESTING);
    }
    json_error_t parse_error;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &parse_error);
    if (!root) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: config is no valid JSON: line %d, column %d: %s", source, parse_error.line,
                         parse_error.column, parse_error.text);
    }
    dsv4_config config = {0};
    dsv4_status status;
    if (json_is_object(root)) {
        status = read_config(&(config_reader){source, root, err}, &config);
    } else {
        status = dsv4_fail(err, DSV4_E_FORMAT, "%s: config is no JSON object", source);
    }
    json_decref(root);
    if (status == DSV4_OK) {
        *out = config;
    }
    return status;
}

static int put_ints(json_t *object, const dsv4_config *config, const int_field *fields, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t number;
        memcpy(&number, (const char *)config + fields[i].offset, sizeof number);
        failed |= json_object_set_new(object, fields[i].key, json_integer(number));
    }
    return failed;
}

static int put_reals(json_t *object, const dsv4_config *config, const real_field *fields, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        double number;
        memcpy(&number, (const char *)config + fields[i].offset, sizeof number);
        failed |= json_object_set_new(object, fields[i].key, json_real(number));
    }
    return failed;
}

static bool put_fields(json_t *object, const dsv4_config *config)
{
    int failed = json_object_set_new(object, "name", json_string(config->name));
    failed |= put_ints(object, config, int_fields, N_INT_FIELDS);
    failed |= put_ints(object, config, tiling_fields, N_TILING_FIELDS);
    failed |= put_ints(object, config, moe_fields, N_MOE_FIELDS);
    failed |= put_reals(object, config, real_fields, N_REAL_FIELDS);
    failed |= put_reals(object, config, moe_real_fields, N_MOE_REAL_FIELDS);
    return !failed;
}

char *dsv4_config_format(const dsv4_config *config)
{
    json_t *object = json_object();
    char *text = put_fields(object, config) ? json_dumps(object, 0) : NULL;
    json_decref(object);
    return text;
}
