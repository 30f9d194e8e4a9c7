/* ops/op.c - the operators' register, and building one: bind the call, choose its tiles, add its stages. */
#include "ops/op.h"

#include <string.h>

#include "ops/bind.h"
#include "ops/tiles.h"

/* The forms of a family stand together. */
static const dsv4_op *const operators[] = {
    &op_rope_tables,
    &op_rmsnorm,
    &op_qkv_proj_rope,
    &op_hc_pre,
    &op_hc_post,
    &op_hc_head,
    &op_decode_compressor_ratio4,
    &op_decode_compressor_ratio128,
    &op_prefill_compressor_ratio4,
    &op_prefill_compressor_ratio128,
    &op_decode_indexer_compressor,
    &op_prefill_indexer_compressor,
    &op_decode_indexer,
    &op_prefill_indexer,
    &op_decode_sparse_attn,
    &op_decode_sparse_attn_hca,
    &op_decode_sparse_attn_swa,
    &op_prefill_sparse_attn,
    &op_decode_attention_swa,
    &op_decode_attention_csa,
    &op_decode_attention_hca,
    &op_prefill_attention_swa,
    &op_prefill_attention_csa,
    &op_prefill_attention_hca,
    &op_moe_gate,
    &op_expert_shared,
    &op_expert_routed,
    &op_expert_routed_fp4,
    &op_dispatch,
    &op_combine,
    &op_moe,
    &op_lm_head,
    &op_mtp_projection,
    NULL,
};

enum { N_OPERATORS = sizeof operators / sizeof *operators - 1 };

const dsv4_op *dsv4_op_at(size_t i)
{
    return i < N_OPERATORS ? operators[i] : NULL;
}

const char *dsv4_op_name(const dsv4_op *op)
{
    return op->name;
}

const char *dsv4_op_summary(const dsv4_op *op)
{
    return op->summary;
}

dsv4_tensor op_tensor_named(const op_context *c, const char *name)
{
    size_t i = 0;
    while (strcmp(c->op->tensors[i].name, name) != 0) {
        i++;
    }
    return c->tensor[i];
}

bool op_has_tensor(const op_context *c, const char *name)
{
    for (size_t i = 0; i < c->op->n_tensors; i++) {
        if (strcmp(c->op->tensors[i].name, name) == 0) {
            return c->tensor[i].data != NULL;
        }
    }
    return false;
}

/* ---- building ---------------------------------------------------------------------------------------------------------- */

/* Checks the outputs that the caller brings. */
static dsv4_status check_outputs(const dsv4_op *op, const op_context *c, const dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(io, op->tensors[i].name);
        if (!op_is_input(&op->tensors[i]) && t != NULL) {
            status = op_check_tensor(&op->tensors[i], t, &c->dims, err);
        }
    }
    return status;
}

/* Puts what io has into table order. */
static void take_tensors(const dsv4_op *op, op_context *c, const dsv4_tensor_list *io)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(io, op->tensors[i].name);
        if (t != NULL) {
            c->tensor[i] = *t;
        }
    }
}

/* Allocates the outputs that io lacks. */
static dsv4_status make_outputs(const dsv4_op *op, op_context *c, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = check_outputs(op, c, io, err);
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &op->tensors[i];
        int n_dims = 0;
        int64_t extents[DSV4_MAX_DIMS];
        if (op_is_input(row) || dsv4_tensor_list_find(io, row->name) != NULL) {
            continue;
        }
        status = op_eval_shape(row->shape, &c->dims, &n_dims, extents, err);
        if (status == DSV4_OK) {
            status = dsv4_tensor_list_alloc(io, row->name, row->dtype, n_dims, extents, &c->tensor[i], err);
        }
    }
    return status;
}

/* A cache that is I8 has scales, one that is not has none. */
static dsv4_status check_quantised(const dsv4_op *op, const op_context *c, dsv4_error *err)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        bool is_i8 = c->tensor[i].data != NULL && c->tensor[i].dtype == DSV4_I8;
        if ((op->tensors[i].use & OP_OR_I8) != 0 && is_i8 != op_has_tensor(c, OP_SCALE_OF_I8)) {
            return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: %s is %s and %s is %s, rule: scales with I8 and with nothing else",
                             op->name, op->tensors[i].name, is_i8 ? "I8" : dsv4_dtype_name(op->tensors[i].dtype), OP_SCALE_OF_I8,
                             is_i8 ? "missing" : "there");
        }
    }
    return DSV4_OK;
}

static dsv4_status check_options(const dsv4_op *op, const dsv4_op_options *options, op_context *c, dsv4_error *err)
{
    op_set_default_tiles(op, c);
    dsv4_status status = uk_find(options->isa, &c->uk, err);
    for (size_t i = 0; i < options->n_sets && status == DSV4_OK; i++) {
        status = op_set_tile(op, c, options->sets[i], err);
    }
    if (status == DSV4_OK) {
        status = check_quantised(op, c, err);
    }
    return status == DSV4_OK && op->check != NULL ? op->check(c, err) : status;
}

dsv4_status op_plan(const dsv4_op *op, const dsv4_config *config, const dsv4_op_options *options, const dsv4_tensor_list *io,
                    op_context *out, dsv4_error *err)
{
    op_context c = {.op = op,
                    .config = config,
                    .numerics = options->numerics,
                    .dims = op_dims_of_config(config),
                    .mode = options->mode,
                    .pool = options->pool};
    dsv4_status status = op_bind(op, io, &c.dims, err);
    if (status == DSV4_OK) {
        take_tensors(op, &c, io);
        status = check_options(op, options, &c, err);
    }
    if (status == DSV4_OK) {
        *out = c;
    }
    return status;
}

dsv4_status dsv4_op_build(const dsv4_op *op, const dsv4_config *config, const dsv4_op_options *options, dsv4_tensor_list *io,
                          dsv4_graph *g, dsv4_error *err)
{
    op_context c;
    dsv4_status status = op_plan(op, config, options, io, &c, err);
    if (status == DSV4_OK) {
        status = make_outputs(op, &c, io, err);
    }
    if (status == DSV4_OK) {
        c.g = g;
        op->build(&c);
    }
    return status;
}
