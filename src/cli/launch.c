#include "cli/launch.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/device_tiles.h"

/* ---- options ----------------------------------------------------------------------------------------------------------- */

static dsv4_status store_deps(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    (void)self;
    return dsv4_deps_parse(text, field, err);
}

static dsv4_status store_numerics(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    (void)field;
    return strcmp(text, "w8a8") == 0
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_UNSUPPORTED, "--%s: \"%s\" is not available, expected w8a8", self->name, text);
}

static dsv4_status store_compat(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    dsv4_numerics read = {0};
    dsv4_status status = numerics_read(&(numerics_words){.compat = text}, &read, err);
    return status == DSV4_OK ? cli_store_text(self, field, text, err) : status;
}

static dsv4_status store_act_scale(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    dsv4_numerics read = {0};
    dsv4_status status = numerics_read(&(numerics_words){.act_scale = text}, &read, err);
    return status == DSV4_OK ? cli_store_text(self, field, text, err) : status;
}

static dsv4_status store_set(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    launch_options *o = field;
    if (o->op.n_sets == LAUNCH_MAX_SETS) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: more than %d of them", self->name, LAUNCH_MAX_SETS);
    }
    o->sets[o->op.n_sets++] = text;
    return DSV4_OK;
}

static dsv4_status store_tiles(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "default") != 0 && strcmp(text, "table") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected default or table", self->name, text);
    }
    *(bool *)field = text[0] == 'd';
    return DSV4_OK;
}

const cli_option launch_option_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(launch_options, n_threads), 1, 1024},
    {"deps", "block|stage|tensor", "what a block waits for: blocks, whole stages or tensors (default block)", store_deps,
     offsetof(launch_options, deps), 0, 0},
    {"set", "NAME=VALUE", "change a tile (see dsv4 list OP); may be repeated", store_set, 0, 0, 0},
    {"tiles", "default|table", "the operator's own, or what dsv4 tune found (default table, without --set)", store_tiles,
     offsetof(launch_options, default_tiles), 0, 0},
    {"numerics", "w8a8", "which arithmetic (default w8a8)", store_numerics, 0, 0, 0},
    {"compat", "reference|correct", "index by first tokens as the reference does, or by each token's own position", store_compat,
     offsetof(launch_options, numerics.compat), 0, 0},
    {"act-scale", "group|row|block", "what shares an INT8 scale in front of wo_b (default group)", store_act_scale,
     offsetof(launch_options, numerics.act_scale), 0, 0},
    {.name = NULL},
};

dsv4_status launch_store_mode(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "decode") != 0 && strcmp(text, "prefill") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected decode or prefill", self->name, text);
    }
    *(int *)field = text[0] == 'd' ? DSV4_DECODE : DSV4_PREFILL;
    return DSV4_OK;
}

dsv4_status launch_store_compress_ratio(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "4") != 0 && strcmp(text, "128") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 0, 4 or 128", self->name, text);
    }
    *(int *)field = atoi(text);
    return DSV4_OK;
}

char *launch_numerics_text(const dsv4_numerics *numerics, dsv4_compat usual, char *text, size_t size)
{
    char compat[32] = "", act_scale[32] = "";
    if (numerics->compat != usual) {
        snprintf(compat, sizeof compat, ", compat %s", numerics_compat_word(numerics->compat));
    }
    if (numerics->act_scale != DSV4_SCALE_GROUP) {
        snprintf(act_scale, sizeof act_scale, ", act-scale %s", numerics_act_scale_word(numerics->act_scale));
    }
    snprintf(text, size, "%s%s", compat, act_scale);
    return text;
}

/* ---- state ------------------------------------------------------------------------------------------------------------- */

static dsv4_status copy_tensor(const char *name, const dsv4_tensor *t, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_tensor copy;
    dsv4_status status = dsv4_tensor_list_alloc(io, name, t->dtype, t->n_dims, t->shape, &copy, err);
    if (status == DSV4_OK && dsv4_tensor_bytes(t) > 0) {
        memcpy(copy.data, t->data, dsv4_tensor_bytes(t));
    }
    return status;
}

dsv4_status launch_isolate(const dsv4_op *op, const dsv4_tensor_list *pristine, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(pristine, row->name);
        if (op_is_input(row) && t != NULL) {
            status = op_is_output(row) ? copy_tensor(row->name, t, io, err) : dsv4_tensor_list_put(io, row->name, t, err);
        }
    }
    return status;
}

void launch_restore(const dsv4_op *op, const dsv4_tensor_list *pristine, dsv4_tensor_list *io)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(io, row->name), *was = dsv4_tensor_list_find(pristine, row->name);
        size_t n_bytes = !op_is_output(row) || t == NULL ? 0 : dsv4_tensor_bytes(t);
        if (n_bytes > 0 && op_is_input(row)) {
            memcpy(t->data, was->data, n_bytes);
        } else if (n_bytes > 0) {
            memset(t->data, 0, n_bytes);
        }
    }
}

/* ---- running ----------------------------------------------------------------------------------------------------------- */

static dsv4_status describe_tiles(const device_tiles *t, char **out, dsv4_error *err)
{
    char list[1024] = "";
    for (size_t i = 0; i < t->n; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? " " : "", t->sets[i]);
    }
    int n = snprintf(NULL, 0, "%s from %s for %s", list, t->path, t->cpu);
    char *text = malloc((size_t)n + 1);
    if (text == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for a line about its tiles", t->path);
    }
    snprintf(text, (size_t)n + 1, "%s from %s for %s", list, t->path, t->cpu);
    *out = text;
    return DSV4_OK;
}

/* The tiles of the user's table for this call, where it has an entry that changes any. */
static dsv4_status find_tiles(launch *l, const dsv4_config *config, const dsv4_op_options *options, const dsv4_tensor_list *io,
                              device_tiles *out, dsv4_error *err)
{
    op_context call;
    dsv4_status status = op_plan(l->op, config, options, io, &call, err);
    if (status == DSV4_OK) {
        status = device_tiles_find(&call, dsv4_pool_n_threads(l->pool), out, err);
    }
    return status == DSV4_OK && out->n > 0 ? describe_tiles(out, &l->tiles, err) : status;
}

static dsv4_status build(launch *l, const dsv4_config *config, const launch_options *options, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_op_options op_options = options->op;
    device_tiles tiles = {.n = 0};
    op_options.sets = options->sets;
    op_options.pool = l->pool;
    if (!options->default_tiles && options->op.n_sets == 0) {
        dsv4_status status = find_tiles(l, config, &op_options, io, &tiles, err);
        if (status != DSV4_OK) {
            return status;
        }
        op_options.sets = tiles.sets;
        op_options.n_sets = tiles.n;
    }
    return dsv4_op_build(l->op, config, &op_options, io, l->graph, err);
}

dsv4_status launch_open(launch *l, const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                        dsv4_tensor_list *io, dsv4_error *err)
{
    l->op = op;
    l->graph = dsv4_graph_create(op->name);
    if (l->graph == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for a graph", op->name);
    }
    dsv4_status status = DSV4_OK;
    l->pool = l->shared_pool;
    if (l->pool == NULL) {
        status = dsv4_pool_create((int)options->n_threads, &l->pool, err);
    }
    if (status == DSV4_OK) {
        status = build(l, config, options, io, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_graph_seal(l->graph, options->deps, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_exec_create(l->graph, l->pool, 1, &l->exec, err);
    }
    return status;
}

void launch_close(launch *l)
{
    dsv4_exec_destroy(l->exec);
    if (l->shared_pool == NULL) {
        dsv4_pool_destroy(l->pool);
    }
    dsv4_graph_destroy(l->graph);
    free(l->tiles);
    *l = (launch){0};
}

dsv4_status launch_run(launch *l, const launch_options *options, uint64_t seed, dsv4_error *err)
{
    if (options->verify) {
        return dsv4_graph_verify(l->graph, seed, NULL, err);
    }
    return dsv4_exec_run(l->exec, 0, err);
}
