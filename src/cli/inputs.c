#include "cli/inputs.h"

#include <string.h>

#include "cli/machine.h"
#include "dsv4/safetensors.h"

dsv4_status inputs_store_index_cache(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "bf16") != 0 && strcmp(text, "int8") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected bf16 or int8", self->name, text);
    }
    *(bool *)field = text[0] == 'i';
    return DSV4_OK;
}

/* ---- memory -------------------------------------------------------------------------------------------------------------- */

/* How often a tensor is there: a drawn or loaded input; an output of the operator and of its golden; what is updated in place, all
 * three times. */
static double copies_of(const op_tensor *row)
{
    return (op_is_input(row) ? 1 : 0) + (op_is_output(row) ? 2 : 0);
}

/* Refuses what would exhaust the machine: a file's scalars and the options may ask for any size. An optional tensor may have a
 * dimension that nothing else has: where that is unknown, the tensor is not there. */
static dsv4_status check_memory(const dsv4_op *op, const op_dims *dims, dsv4_error *err)
{
    double need = 0, free_bytes = (double)machine_free_bytes();
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        int n_dims = 0;
        int64_t extents[DSV4_MAX_DIMS];
        double n_bytes = (double)dsv4_dtype_bytes(row->dtype) * copies_of(row);
        dsv4_status status = op_eval_shape(row->shape, dims, &n_dims, extents, err);
        if (status != DSV4_OK && (row->use & OP_OPTIONAL) != 0) {
            continue;
        }
        if (status != DSV4_OK) {
            return status;
        }
        for (int d = 0; d < n_dims; d++) {
            n_bytes *= (double)extents[d];
        }
        need += n_bytes;
    }
    return need <= free_bytes ? DSV4_OK
                              : dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: its tensors take %.3g GB, expected at most the free %.3g GB",
                                          op->name, need / 1e9, free_bytes / 1e9);
}

/* ---- from a file --------------------------------------------------------------------------------------------------------- */

static dsv4_status load(const char *path, dsv4_config *config, dsv4_tensor_list *inputs, dsv4_error *err)
{
    dsv4_safetensors *st = NULL;
    dsv4_status status = dsv4_safetensors_open(path, &st, err);
    if (status != DSV4_OK) {
        return status;
    }
    const char *text = dsv4_safetensors_metadata(st, "config");
    if (text != NULL) {
        status = dsv4_config_parse(path, text, strlen(text), config, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_safetensors_load(st, "in.", inputs, err);
    }
    dsv4_safetensors_close(st);
    return status;
}

static dsv4_status check_loaded(const char *path, const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *inputs,
                                dsv4_error *err)
{
    op_dims dims = op_dims_of_config(config);
    dsv4_status status = op_bind(op, inputs, &dims, err);
    if (status == DSV4_OK) {
        status = check_memory(op, &dims, err);
    }
    return status == DSV4_OK ? DSV4_OK : cli_blame(path, err);
}

/* ---- drawn --------------------------------------------------------------------------------------------------------------- */

static op_call call_of(const inputs_request *r, const dsv4_config *config)
{
    bool decode = r->mode == DSV4_DECODE;
    return (op_call){.mode = r->mode,
                     .n_requests = r->batch > 0 ? r->batch
                                   : decode     ? 4
                                                : 1,
                     .n_tokens = r->seq > 0 ? r->seq
                                 : decode   ? 2
                                            : config->sliding_window,
                     .start_pos = r->start_pos,
                     .ratio = r->ratio,
                     .quantised_index = r->quantised_index,
                     .seed = (uint64_t)r->seed};
}

static dsv4_status check_call(const dsv4_op *op, const op_call *call, dsv4_error *err)
{
    bool can_quantise = false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        can_quantise = can_quantise || (op->tensors[i].use & OP_OR_I8) != 0;
    }
    if (call->quantised_index && !can_quantise) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: has no index cache, got --index-cache int8", op->name);
    }
    if (op->family != NULL && op->mode == DSV4_PREFILL && call->n_requests != 1) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: got --batch %lld, expected 1: a prefill call is one request", op->name,
                         (long long)call->n_requests);
    }
    return DSV4_OK;
}

/* Dimensions of the call, under a config that has all of its positions. */
static op_dims dims_of_call(const dsv4_op *op, const op_call *call, dsv4_config *config)
{
    op_dims dims = op_dims_of_call(op, config, call);
    if (dims.of[OP_N] > config->max_position_embeddings) {
        config->max_position_embeddings = dims.of[OP_N];
        dims = op_dims_of_call(op, config, call);
    }
    return dims;
}

static dsv4_status draw(const inputs_request *r, const dsv4_op *op, dsv4_config *config, dsv4_tensor_list *inputs, dsv4_error *err)
{
    op_call call = call_of(r, config);
    dsv4_status status = check_call(op, &call, err);
    if (status == DSV4_OK) {
        op_dims dims = dims_of_call(op, &call, config);
        status = check_memory(op, &dims, err);
    }
    return status == DSV4_OK ? op_draw_inputs(op, config, &call, inputs, err) : status;
}

dsv4_status inputs_get(const inputs_request *r, const dsv4_op *op, dsv4_config *config, dsv4_tensor_list *inputs, dsv4_error *err)
{
    dsv4_status status = dsv4_config_preset(r->preset != NULL ? r->preset : "flash", config, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (r->path == NULL) {
        return draw(r, op, config, inputs, err);
    }
    status = load(r->path, config, inputs, err);
    return status == DSV4_OK ? check_loaded(r->path, op, config, inputs, err) : status;
}
