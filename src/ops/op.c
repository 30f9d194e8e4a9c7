/* ops/op.c - the operators' register, and building one: bind the call, choose its tiles, add its stages. */
#include "ops/op.h"

#include <string.h>

#include "ops/bind.h"
#include "ops/names.h"
#include "ops/tiles.h"

static const dsv4_op *const operators[] = {&op_rope_tables, &op_rmsnorm, &op_qkv_proj_rope, NULL};

enum { N_OPERATORS = sizeof operators / sizeof *operators - 1 };

const dsv4_op *dsv4_op_at(size_t i)
{
    return i < N_OPERATORS ? operators[i] : NULL;
}

dsv4_status dsv4_op_find(const char *name, const dsv4_op **out, dsv4_error *err)
{
    char known[256] = "";
    for (size_t i = 0; i < N_OPERATORS; i++) {
        if (strcmp(operators[i]->name, name) == 0) {
            *out = operators[i];
            return DSV4_OK;
        }
        op_append_name(known, sizeof known, operators[i]->name);
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "operator: got \"%s\", expected one of %s", name, known);
}

const char *dsv4_op_name(const dsv4_op *op)
{
    return op->name;
}

const char *dsv4_op_summary(const dsv4_op *op)
{
    return op->summary;
}

/* ---- building ---------------------------------------------------------------------------------------------------------- */

/* Checks the outputs that the caller brings. */
static dsv4_status check_outputs(const dsv4_op *op, const op_context *c, const dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(io, op->tensors[i].name);
        if (op->tensors[i].direction == OP_OUT && t != NULL) {
            status = op_check_tensor(&op->tensors[i], t, &c->dims, err);
        }
    }
    return status;
}

/* Puts the tensors into table order, and allocates the outputs that io lacks. */
static dsv4_status gather_tensors(const dsv4_op *op, op_context *c, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = check_outputs(op, c, io, err);
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(io, row->name);
        int n_dims = 0;
        int64_t extents[DSV4_MAX_DIMS];
        if (t != NULL) {
            c->tensor[i] = *t;
            continue;
        }
        status = op_eval_shape(row->shape, &c->dims, &n_dims, extents, err);
        if (status == DSV4_OK) {
            status = dsv4_tensor_list_alloc(io, row->name, row->dtype, n_dims, extents, &c->tensor[i], err);
        }
    }
    return status;
}

static dsv4_status check_options(const dsv4_op *op, const dsv4_op_options *options, op_context *c, dsv4_error *err)
{
    if (options->numerics != NULL && strcmp(options->numerics, "w8a8") != 0) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: numerics \"%s\" is not available, expected w8a8", op->name,
                         options->numerics);
    }
    op_set_default_tiles(op, c);
    dsv4_status status = uk_find(options->isa, &c->uk, err);
    for (size_t i = 0; i < options->n_sets && status == DSV4_OK; i++) {
        status = op_set_tile(op, c, options->sets[i], err);
    }
    return status == DSV4_OK && op->check != NULL ? op->check(c, err) : status;
}

dsv4_status dsv4_op_build(const dsv4_op *op, const dsv4_config *config, const dsv4_op_options *options, dsv4_tensor_list *io,
                          dsv4_graph *g, dsv4_error *err)
{
    op_context c = {.config = config, .dims = op_dims_of_config(config), .mode = options->mode, .g = g};
    dsv4_status status = op_bind(op, io, &c.dims, err);
    if (status == DSV4_OK) {
        status = check_options(op, options, &c, err);
    }
    if (status == DSV4_OK) {
        status = gather_tensors(op, &c, io, err);
    }
    if (status == DSV4_OK) {
        op->build(&c);
    }
    return status;
}
