/* ops/tile_table.c - entries in memory: keys, finding, merging, writing. */
#include "ops/tile_table.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ops/bind.h"

void op_tile_table_deinit(op_tile_table *t)
{
    free(t->entries);
    *t = (op_tile_table){0};
}

/* ---- keys ---------------------------------------------------------------------------------------------------------------- */

static const char *const symbol_names[] = {
#define OP_SYMBOL_NAME(symbol, least, meaning) #symbol,
    OP_SYMBOLS(OP_SYMBOL_NAME)
#undef OP_SYMBOL_NAME
};

/* Whether a tensor of the operator has that symbol in its shape. */
static bool has_symbol(const dsv4_op *op, int symbol)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        for (const char *at = op->tensors[i].shape; *at != '\0';) {
            size_t n = strcspn(at, "*/+,");
            if (op_find_symbol(at, n) == symbol) {
                return true;
            }
            at += n + (at[n] != '\0');
        }
    }
    return false;
}

/* Dimensions of a model, without the columns of the index scores: those follow from the longest sequence. */
static void write_dims(const op_context *c, char *text, size_t size)
{
    op_dims model = op_dims_of_config(c->config);
    size_t used = 0;
    text[0] = '\0';
    for (int s = 0; s < OP_N_SYMBOLS; s++) {
        if (model.of[s] != OP_UNKNOWN && s != OP_SL && has_symbol(c->op, s) && used < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s=%lld", used > 0 ? " " : "", symbol_names[s],
                                     (long long)model.of[s]);
        }
    }
}

static int64_t power_of_two_below(int64_t n)
{
    int64_t power = 1;
    while (power <= n / 2) {
        power *= 2;
    }
    return power;
}

op_tile_key op_tile_key_of(const op_context *c, int n_threads)
{
    int64_t tokens = c->dims.of[OP_T] != OP_UNKNOWN ? c->dims.of[OP_T] : c->dims.of[OP_N];
    op_tile_key key = {.mode = c->mode, .tokens = power_of_two_below(tokens), .n_threads = n_threads};
    snprintf(key.op, sizeof key.op, "%s", c->op->name);
    snprintf(key.isa, sizeof key.isa, "%s", c->uk->isa);
    write_dims(c, key.dims, sizeof key.dims);
    return key;
}

static bool is_same_key(const op_tile_key *a, const op_tile_key *b)
{
    return strcmp(a->op, b->op) == 0 && strcmp(a->dims, b->dims) == 0 && strcmp(a->isa, b->isa) == 0 && a->mode == b->mode &&
           a->tokens == b->tokens && a->n_threads == b->n_threads;
}

/* ---- finding and merging --------------------------------------------------------------------------------------------------- */

static op_tile_entry *find(const op_tile_table *t, const char *cpu, const op_tile_key *key)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->entries[i].cpu, cpu) == 0 && is_same_key(&t->entries[i].key, key)) {
            return &t->entries[i];
        }
    }
    return NULL;
}

const op_tile_entry *op_tile_table_find(const op_tile_table *t, const char *cpu, const op_tile_key *key)
{
    return find(t, cpu, key);
}

dsv4_status op_tile_table_put(op_tile_table *t, const op_tile_entry *entry, dsv4_error *err)
{
    op_tile_entry *old = find(t, entry->cpu, &entry->key);
    if (old != NULL) {
        *old = *entry;
        return DSV4_OK;
    }
    if (t->n == OP_MAX_TILE_ENTRIES) {
        return dsv4_fail(err, DSV4_E_VALUE, "tile table: more than %d entries", OP_MAX_TILE_ENTRIES);
    }
    op_tile_entry *grown = realloc(t->entries, (t->n + 1) * sizeof *grown);
    if (grown == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tile table: no memory for %zu entries", t->n + 1);
    }
    t->entries = grown;
    t->entries[t->n++] = *entry;
    return DSV4_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

static json_t *entry_to_json(const op_tile_entry *e)
{
    json_t *tiles = json_object();
    for (size_t i = 0; i < e->n_tiles; i++) {
        json_object_set_new(tiles, e->tiles[i].name, json_integer(e->tiles[i].value));
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o, s:f, s:f, s:s}", "op", e->key.op, "dims", e->key.dims, "mode",
                     e->key.mode == DSV4_DECODE ? "decode" : "prefill", "tokens", (json_int_t)e->key.tokens, "threads",
                     (json_int_t)e->key.n_threads, "isa", e->key.isa, "tiles", tiles, "default_s", e->default_s, "chosen_s",
                     e->chosen_s, "commit", e->commit);
}

/* NULL without memory. */
static json_t *table_to_json(const op_tile_table *t)
{
    json_t *cpus = json_object(), *root = json_pack("{s:s, s:i, s:o}", "format", "dsv4 tiles", "version", 1, "cpus", cpus);
    int failed = root == NULL;
    for (size_t i = 0; i < t->n && !failed; i++) {
        json_t *list = json_object_get(cpus, t->entries[i].cpu);
        if (list == NULL) {
            list = json_array();
            failed = json_object_set_new(cpus, t->entries[i].cpu, list);
        }
        failed = failed || json_array_append_new(list, entry_to_json(&t->entries[i]));
    }
    if (failed) {
        json_decref(root);
        return NULL;
    }
    return root;
}

dsv4_status op_tile_table_write(const char *path, const op_tile_table *t, dsv4_error *err)
{
    file_writer writer;
    json_t *root = table_to_json(t);
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the tile table", path);
    }
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status == DSV4_OK) {
        json_dumpf(root, writer.stream, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        fputc('\n', writer.stream);
        status = file_writer_commit(&writer, err);
    }
    json_decref(root);
    return status;
}
