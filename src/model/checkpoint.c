/* checkpoint.c - opens the files of a folder and looks up every tensor of the table. */
#include "model/checkpoint.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/problems.h"

static const char config_name[] = "config.json", index_name[] = "model.safetensors.index.json";

/* ---- problems --------------------------------------------------------------------------------------------------------------- */

void model_problem_add(model_checkpoint *c, model_problem_kind kind, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    c->n_of_kind[kind]++;
    if (c->n_problems >= MODEL_MAX_PROBLEMS) {
        return;
    }
    if (c->n_problems == c->problem_capacity) {
        const size_t capacity = c->problem_capacity == 0 ? 16 : 2 * c->problem_capacity;
        model_problem *problems = realloc(c->problems, capacity * sizeof *problems);
        if (problems == NULL) {
            return;
        }
        c->problems = problems;
        c->problem_capacity = capacity;
    }
    dsv4_error clean; /* which replaces control characters */
    dsv4_fail(&clean, DSV4_E_FORMAT, "%s", line);
    model_problem *problem = &c->problems[c->n_problems];
    *problem = (model_problem){kind, strdup(clean.text)};
    c->n_problems += problem->text != NULL;
}

dsv4_status model_checkpoint_require(const model_checkpoint *c, dsv4_error *err)
{
    const size_t n = c->n_of_kind[MODEL_MISSING] + c->n_of_kind[MODEL_WRONG];
    if (n == 0) {
        return DSV4_OK;
    }
    const char *text = "a tensor is missing or wrong";
    for (size_t i = 0; i < c->n_problems; i++) {
        if (c->problems[i].kind != MODEL_UNEXPECTED) {
            text = c->problems[i].text;
            break;
        }
    }
    return n == 1 ? dsv4_fail(err, DSV4_E_FORMAT, "%.100s: %s", c->folder, text)
                  : dsv4_fail(err, DSV4_E_FORMAT, "%.100s: %.300s; and %zu more: see dsv4 inspect", c->folder, text, n - 1);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------- */

static dsv4_status read_config(model_checkpoint *c, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    const dsv4_status status = file_join(c->folder, config_name, path, err);
    return status == DSV4_OK ? model_config_read(path, &c->config, err) : status;
}

static dsv4_status read_index(const model_checkpoint *c, json_t **weight_map, dsv4_error *err)
{
    char path[FILE_PATH_BYTES], *text;
    size_t n_bytes;
    dsv4_status status = file_join(c->folder, index_name, path, err);
    if (status != DSV4_OK || (status = file_read(path, MODEL_MAX_INDEX_BYTES, &text, &n_bytes, err)) != DSV4_OK) {
        return status;
    }
    status = model_index_parse(path, text, n_bytes, weight_map, err);
    free(text);
    return status;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The names of all files, each once, sorted; borrowed from weight_map. The caller frees *names. */
static dsv4_status list_files(const json_t *weight_map, const char ***names, size_t *n_names, dsv4_error *err)
{
    const size_t n_entries = json_object_size(weight_map);
    const char **all = memory_array(n_entries, sizeof *all);
    if (all == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu entries", index_name, n_entries);
    }
    size_t n = 0, n_distinct = 0;
    const char *tensor;
    json_t *file, *map = (json_t *)(uintptr_t)weight_map; /* Jansson's loop takes no const */
    json_object_foreach(map, tensor, file)
    {
        all[n++] = json_string_value(file);
    }
    qsort(all, n, sizeof *all, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (n_distinct == 0 || strcmp(all[i], all[n_distinct - 1]) != 0) {
            all[n_distinct++] = all[i];
        }
    }
    if (n_distinct > MODEL_MAX_SHARDS) {
        free(all);
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: names %zu files, at most %d allowed", index_name, n_distinct, MODEL_MAX_SHARDS);
    }
    *names = all;
    *n_names = n_distinct;
    return DSV4_OK;
}

static void open_shard(model_checkpoint *c, const char *name)
{
    char path[FILE_PATH_BYTES];
    dsv4_error err = {0};
    dsv4_safetensors *file = NULL;
    dsv4_status status = file_join(c->folder, name, path, &err);
    if (status == DSV4_OK) {
        status = dsv4_safetensors_open(path, &file, &err);
    }
    if (status != DSV4_OK) {
        const char *text = strncmp(err.text, c->folder, strlen(c->folder)) == 0 ? err.text + strlen(c->folder) + 1 : err.text;
        model_problem_add(c, status == DSV4_E_IO ? MODEL_MISSING : MODEL_WRONG, "%s; its tensors are missing", text);
    }
    c->shards[c->n_shards].file = file;
    c->n_shards++;
}

static dsv4_status open_shards(model_checkpoint *c, const json_t *weight_map, dsv4_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    dsv4_status status = list_files(weight_map, &names, &n, err);
    if (status != DSV4_OK) {
        return status;
    }
    c->shards = memory_zeroed_array(n, sizeof *c->shards);
    for (size_t i = 0; status == DSV4_OK && i < n; i++) {
        if (c->shards == NULL || (c->shards[i].name = strdup(names[i])) == NULL) {
            status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu files", c->folder, n);
            break;
        }
        open_shard(c, names[i]);
    }
    free(names);
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------------------- */

static int find_shard(const model_checkpoint *c, const char *name)
{
    size_t low = 0, high = c->n_shards;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(name, c->shards[middle].name);
        if (order == 0) {
            return (int)middle;
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    return -1;
}

/* Of a text that does not say how experts are stored: a stored one tells. Nothing stored: FP4, as in published models. */
static void settle_expert_dtype(model_checkpoint *c)
{
    for (size_t i = 0; c->config.expert_dtype == MODEL_EXPERT_UNKNOWN && i < c->n_shards; i++) {
        const dsv4_safetensors *file = c->shards[i].file;
        const dsv4_tensor *t =
            file == NULL ? NULL : dsv4_tensor_list_find(dsv4_safetensors_tensors(file), "layers.0.ffn.experts.0.w1.weight");
        if (t != NULL) {
            c->config.expert_dtype = t->dtype == DSV4_F8_E4M3 ? MODEL_EXPERT_FP8 : MODEL_EXPERT_FP4;
        }
    }
    if (c->config.expert_dtype == MODEL_EXPERT_UNKNOWN) {
        c->config.expert_dtype = MODEL_EXPERT_FP4;
    }
}

static bool is_as_expected(const model_tensor *expected, const dsv4_tensor *got)
{
    return got->dtype == expected->dtype && got->n_dims == expected->n_dims &&
           memcmp(got->shape, expected->shape, (size_t)expected->n_dims * sizeof *expected->shape) == 0;
}

static void report_wrong(model_checkpoint *c, const char *file, const model_tensor *expected, const dsv4_tensor *got)
{
    char got_shape[128], expected_shape[64];
    model_problem_add(c, MODEL_WRONG, "%s: tensor '%s' is %s %s, expected %s %s", file, expected->name, dsv4_dtype_name(got->dtype),
                      dsv4_tensor_shape_text(got, got_shape, sizeof got_shape), dsv4_dtype_name(expected->dtype),
                      model_tensor_shape_text(expected, expected_shape, sizeof expected_shape));
}

static void look_up(model_checkpoint *c, const json_t *weight_map, size_t i)
{
    const model_tensor *expected = &c->table.items[i];
    const char *file = json_string_value(json_object_get(weight_map, expected->name));
    char shape[64];
    c->shard_of[i] = -1;
    if (file == NULL) {
        model_problem_add(c, MODEL_MISSING, "%s: tensor '%s' is not listed, expected %s %s", index_name, expected->name,
                          dsv4_dtype_name(expected->dtype), model_tensor_shape_text(expected, shape, sizeof shape));
        return;
    }
    const int shard = find_shard(c, file);
    if (shard < 0 || c->shards[shard].file == NULL) {
        return; /* the file is the problem, and was told */
    }
    const dsv4_tensor *got = dsv4_tensor_list_find(dsv4_safetensors_tensors(c->shards[shard].file), expected->name);
    if (got == NULL) {
        model_problem_add(c, MODEL_MISSING, "%s: has no tensor '%s', expected %s %s (by %s)", file, expected->name,
                          dsv4_dtype_name(expected->dtype), model_tensor_shape_text(expected, shape, sizeof shape), index_name);
    } else if (!is_as_expected(expected, got)) {
        report_wrong(c, file, expected, got);
    } else {
        c->data[i] = got->data;
        c->shard_of[i] = shard;
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

static int compare_items(const void *left, const void *right, void *items)
{
    const model_tensor *all = items;
    return strcmp(all[*(const uint32_t *)left].name, all[*(const uint32_t *)right].name);
}

int64_t model_checkpoint_find(const model_checkpoint *c, const char *name)
{
    size_t low = 0, high = c->table.n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(name, c->table.items[c->by_name[middle]].name);
        if (order == 0) {
            return c->by_name[middle];
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    return -1;
}

/* Tensors of the index that the table has not, and tensors of the files that the index has not. */
static void report_unexpected(model_checkpoint *c, json_t *weight_map)
{
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        if (model_checkpoint_find(c, tensor) < 0) {
            model_problem_add(c, MODEL_UNEXPECTED, "%s: tensor '%.120s' is no part of this architecture", json_string_value(file),
                              tensor);
        }
    }
    for (size_t s = 0; s < c->n_shards; s++) {
        const dsv4_tensor_list *list = c->shards[s].file == NULL ? NULL : dsv4_safetensors_tensors(c->shards[s].file);
        for (size_t i = 0; list != NULL && i < list->n; i++) {
            const char *in = json_string_value(json_object_get(weight_map, list->items[i].name));
            if (in == NULL || strcmp(in, c->shards[s].name) != 0) {
                model_problem_add(c, MODEL_UNEXPECTED, "%s: tensor '%s' is %s%.80s in %s", c->shards[s].name, list->items[i].name,
                                  in == NULL ? "not listed" : "listed under ", in == NULL ? "" : in, index_name);
            }
        }
    }
}

static dsv4_status look_up_all(model_checkpoint *c, json_t *weight_map, dsv4_error *err)
{
    settle_expert_dtype(c);
    const dsv4_status status = model_table_make(&c->config, &c->table, err);
    if (status != DSV4_OK) {
        return status;
    }
    c->data = memory_zeroed_array(c->table.n, sizeof *c->data);
    c->shard_of = memory_array(c->table.n, sizeof *c->shard_of);
    c->by_name = memory_array(c->table.n, sizeof *c->by_name);
    if (c->data == NULL || c->shard_of == NULL || c->by_name == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu tensors", c->folder, c->table.n);
    }
    for (size_t i = 0; i < c->table.n; i++) {
        c->by_name[i] = (uint32_t)i;
        look_up(c, weight_map, i);
    }
    qsort_r(c->by_name, c->table.n, sizeof *c->by_name, compare_items, c->table.items);
    report_unexpected(c, weight_map);
    return DSV4_OK;
}

/* ---- open and close ------------------------------------------------------------------------------------------------------------ */

dsv4_status model_checkpoint_open(const char *folder, model_checkpoint **out, dsv4_error *err)
{
    dsv4_status status = DSV4_E_NO_MEMORY;
    json_t *weight_map = NULL;
    model_checkpoint *c = calloc(1, sizeof *c);
    if (c == NULL || (c->folder = strdup(folder)) == NULL) {
        dsv4_fail(err, status, "%s: no memory for a checkpoint", folder);
        goto fail;
    }
    if ((status = read_config(c, err)) != DSV4_OK || (status = read_index(c, &weight_map, err)) != DSV4_OK ||
        (status = open_shards(c, weight_map, err)) != DSV4_OK || (status = look_up_all(c, weight_map, err)) != DSV4_OK) {
        goto fail;
    }
    json_decref(weight_map);
    *out = c;
    return DSV4_OK;
fail:
    json_decref(weight_map);
    model_checkpoint_close(c);
    return status;
}

void model_checkpoint_close(model_checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; c->shards != NULL && i < c->n_shards; i++) {
        dsv4_safetensors_close(c->shards[i].file);
        free(c->shards[i].name);
    }
    for (size_t i = 0; i < c->n_problems; i++) {
        free(c->problems[i].text);
    }
    free(c->problems);
    free(c->shards);
    free(c->data);
    free(c->shard_of);
    free(c->by_name);
    model_table_deinit(&c->table);
    free(c->folder);
    free(c);
}
