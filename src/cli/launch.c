#include "cli/launch.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- options ----------------------------------------------------------------------------------------------------------- */

static dsv4_status store_deps(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    (void)self;
    return dsv4_deps_parse(text, field, err);
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

const cli_option launch_option_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(launch_options, n_threads), 1, 1024},
    {"deps", "block|stage|tensor", "what a block waits for: blocks, whole stages or tensors (default block)", store_deps,
     offsetof(launch_options, deps), 0, 0},
    {"set", "NAME=VALUE", "change a tile (see dsv4 list OP); may be repeated", store_set, 0, 0, 0},
    {"numerics", "w8a8", "which arithmetic (default w8a8)", cli_store_text, offsetof(launch_options, op.numerics), 0, 0},
    {"verify", NULL, "look for touches that blocks do not declare, in random order (slow)", cli_store_flag,
     offsetof(launch_options, verify), 0, 0},
    {.name = NULL},
};

/* ---- running ----------------------------------------------------------------------------------------------------------- */

dsv4_status launch_open(launch *l, const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                        dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_op_options op_options = options->op;
    op_options.sets = options->sets;
    l->op = op;
    l->graph = dsv4_graph_create(op->name);
    if (l->graph == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for a graph", op->name);
    }
    dsv4_status status = dsv4_op_build(op, config, &op_options, io, l->graph, err);
    if (status == DSV4_OK) {
        status = dsv4_graph_seal(l->graph, options->deps, err);
    }
    l->pool = l->shared_pool;
    if (status == DSV4_OK && l->pool == NULL) {
        status = dsv4_pool_create((int)options->n_threads, &l->pool, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_exec_create(l->graph, l->pool, true, &l->exec, err);
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
    *l = (launch){0};
}

dsv4_status launch_run(launch *l, const launch_options *options, uint64_t seed, dsv4_error *err)
{
    if (options->verify) {
        return dsv4_graph_verify(l->graph, seed, NULL, err);
    }
    return dsv4_exec_run(l->exec, 0, err);
}

/* ---- comparing ---------------------------------------------------------------------------------------------------------- */

/* Row-major index as "[3, 17, 500]". */
static const char *index_text(const dsv4_tensor *t, int64_t index, char *text, size_t size)
{
    int64_t at[DSV4_MAX_DIMS] = {0};
    for (int d = t->n_dims - 1; d >= 0; d--) {
        at[d] = index % t->shape[d];
        index /= t->shape[d];
    }
    dsv4_tensor position = *t; /* its shape is printed in place of the tensor's */
    memcpy(position.shape, at, sizeof at);
    return dsv4_tensor_shape_text(&position, text, size);
}

static void print_result(const op_tensor *row, const dsv4_tensor *t, const cmp_result *r)
{
    char rule[128], where[128];
    cli_print("  %s %-12s %lld of %lld over tolerance (%lld allowed), ", r->pass ? "PASS" : "FAIL", row->name, (long long)r->n_bad,
              (long long)r->n, (long long)r->n_allowed);
    if (r->worst_index >= 0) {
        cli_print("worst error %.3g at %s: got %.6g, expected %.6g", r->worst, index_text(t, r->worst_index, where, sizeof where),
                  r->worst_actual, r->worst_expected);
    } else {
        cli_print("all equal");
    }
    cli_print("%s%s\n", r->pass ? "" : "; tolerance ", r->pass ? "" : cmp_rule_text(&row->rule, rule, sizeof rule));
}

static json_t *result_json(const op_tensor *row, const cmp_result *r)
{
    json_t *worst = isfinite(r->worst) ? json_real(r->worst) : json_null();
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:o, s:I}", "name", row->name, "pass", r->pass, "n", (json_int_t)r->n, "bad",
                     (json_int_t)r->n_bad, "allowed", (json_int_t)r->n_allowed, "worst", worst, "worst_index",
                     (json_int_t)r->worst_index);
}

dsv4_status launch_compare(const dsv4_op *op, const dsv4_tensor_list *actual, const dsv4_tensor_list *expected, json_t *outputs,
                           bool *pass, dsv4_error *err)
{
    *pass = true;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *a = dsv4_tensor_list_find(actual, row->name), *e = dsv4_tensor_list_find(expected, row->name);
        cmp_result result;
        if (row->direction == OP_IN) {
            continue;
        }
        if (e == NULL) {
            cli_print("  SKIP %-12s nothing to compare with\n", row->name);
            continue;
        }
        dsv4_status status = cmp_tensors(row->name, a, e, &row->rule, &result, err);
        if (status != DSV4_OK) {
            return status;
        }
        print_result(row, a, &result);
        json_array_append_new(outputs, result_json(row, &result));
        *pass = *pass && result.pass;
    }
    return DSV4_OK;
}
