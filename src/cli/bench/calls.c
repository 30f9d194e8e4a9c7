#include "cli/bench/calls.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bounds.h"
#include "cli/inputs.h"

enum { FREE_MEMORY_SHARE = 3, DEFAULT_CONTEXT = 8192 };

/* ---- what there is to measure ------------------------------------------------------------------------------------------- */

/* Decode of 1 and of 8 tokens (4 requests of 2), prefill of 128 and 512. */
#define FOUR_SIZES(family, ratio)                                                                                  \
    {family, ratio, DSV4_DECODE, 1, 1}, {family, ratio, DSV4_DECODE, 4, 2}, {family, ratio, DSV4_PREFILL, 1, 128}, \
    {                                                                                                              \
        family, ratio, DSV4_PREFILL, 1, 512                                                                        \
    }

static const bench_call op_calls[] = {
    FOUR_SIZES("qkv_proj_rope", OP_ANY), FOUR_SIZES("indexer", 4),     FOUR_SIZES("sparse_attn", 4),  FOUR_SIZES("compressor", 4),
    FOUR_SIZES("compressor", 128),       FOUR_SIZES("hc_pre", OP_ANY), FOUR_SIZES("hc_post", OP_ANY),
};

static const bench_call layer_calls[] = {
    FOUR_SIZES("attention", 4),
    FOUR_SIZES("attention", 128),
    FOUR_SIZES("attention", 0),
};

const bench_call_list bench_op_calls = {op_calls, sizeof op_calls / sizeof *op_calls};
const bench_call_list bench_layer_calls = {layer_calls, sizeof layer_calls / sizeof *layer_calls};

const char *bench_ratio_text(const bench_call *call)
{
    return call->ratio == OP_ANY ? "" : call->ratio == 0 ? "swa" : call->ratio == 4 ? "csa" : "hca";
}

const char *bench_mode_text(dsv4_mode mode)
{
    return mode == DSV4_DECODE ? "decode" : "prefill";
}

int64_t bench_call_tokens(const bench_call *call)
{
    return call->n_requests * call->n_tokens;
}

/* ---- options -------------------------------------------------------------------------------------------------------------- */

#define FIELD(name) offsetof(bench_call_options, name)

const cli_option bench_call_option_table[] = {
    {"preset", "flash|pro|tiny", "dimensions (default flash)", cli_store_text, FIELD(preset), 0, 0},
    {"context", "N", "tokens of each request with the call's own (default 8192)", cli_store_number, FIELD(context), 1, 1 << 24},
    {"only", "NAME", "measure what has this name alone", cli_store_text, FIELD(only), 0, 0},
    {"stages", NULL, "tell of each stage its bound, what binds it, and the share reached", cli_store_flag, FIELD(stages), 0, 0},
    {.name = NULL},
};

bench_call_options bench_default_call_options(void)
{
    return (bench_call_options){.preset = "flash", .context = DEFAULT_CONTEXT};
}

bool bench_call_is_wanted(const bench_call *call, const bench_call_options *o)
{
    return o->only == NULL || strcmp(call->family, o->only) == 0;
}

dsv4_status bench_calls_check(const char *suite, const bench_call_list *lists, int n_lists, const bench_call_options *o,
                              dsv4_error *err)
{
    int n_wanted = 0;
    for (int i = 0; i < n_lists; i++) {
        for (int k = 0; k < lists[i].n; k++) {
            const bench_call *call = &lists[i].calls[k];
            n_wanted += bench_call_is_wanted(call, o);
            if (bench_call_is_wanted(call, o) && call->n_tokens > o->context) {
                return dsv4_fail(err, DSV4_E_USAGE, "%s: got --context %lld, expected at least the %lld tokens of a request", suite,
                                 o->context, (long long)call->n_tokens);
            }
        }
    }
    return n_wanted > 0 ? DSV4_OK
                        : dsv4_fail(err, DSV4_E_USAGE, "%s: got --only \"%s\", which it does not measure", suite, o->only);
}

/* ---- copies ------------------------------------------------------------------------------------------------------------- */

/* Matrices whose shape the model alone decides: they are packed, so that copies can share them. */
static bool is_weight(const op_tensor *row, const dsv4_config *config)
{
    op_dims dims = op_dims_of_config(config);
    int n_dims = 0;
    int64_t extents[DSV4_MAX_DIMS];
    return !op_is_output(row) && op_eval_shape(row->shape, &dims, &n_dims, extents, NULL) == DSV4_OK && n_dims >= 2;
}

static dsv4_status copy_inputs(const bench_copies *c, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < c->op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &c->op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(&c->inputs, row->name);
        dsv4_tensor copy;
        if (!op_is_input(row) || t == NULL) {
            continue;
        }
        if (is_weight(row, &c->config)) {
            status = dsv4_tensor_list_put(io, row->name, t, err);
            continue;
        }
        status = dsv4_tensor_list_alloc(io, row->name, t->dtype, t->n_dims, t->shape, &copy, err);
        if (status == DSV4_OK && dsv4_tensor_bytes(t) > 0) {
            memcpy(copy.data, t->data, dsv4_tensor_bytes(t));
        }
    }
    return status;
}

static dsv4_status open_copy(bench_copies *c, const bench_call *call, dsv4_pool *pool, dsv4_error *err)
{
    const launch_options options = {.op = {.mode = call->mode}};
    launch *l = &c->launch[c->n];
    dsv4_tensor_list *io = &c->io[c->n++];
    l->shared_pool = pool;
    dsv4_status status = copy_inputs(c, io, err);
    if (status == DSV4_OK) {
        status = launch_open(l, c->op, &c->config, &options, io, err);
    }
    return status == DSV4_OK ? dsv4_exec_run(l->exec, 0, err) : status;
}

/* As many as read more from outside than cold_bytes, within what memory allows. */
static int choose_n(const bench_copies *c, size_t cold_bytes)
{
    double taken = c->bytes + (double)dsv4_graph_get_info(c->launch[0].graph).between_bytes, n = (double)cold_bytes / c->bytes + 1,
           possible = (double)machine_free_bytes() / FREE_MEMORY_SHARE / taken;
    n = n < possible ? n : possible;
    return n < 1 ? 1 : n > BENCH_MAX_COPIES ? BENCH_MAX_COPIES : (int)n;
}

static dsv4_status draw(bench_copies *c, const bench_call *call, const bench_call_options *o, dsv4_error *err)
{
    inputs_request request = {.preset = o->preset,
                              .batch = call->n_requests,
                              .seq = call->n_tokens,
                              .start_pos = o->context - call->n_tokens,
                              .mode = call->mode,
                              .ratio = call->ratio};
    dsv4_status status = op_choose(call->family, (int)call->mode, call->ratio, &c->op, err);
    request.ratio = status == DSV4_OK ? op_ratio_of(c->op, call->ratio) : 0;
    return status == DSV4_OK ? inputs_get(&request, c->op, &c->config, &c->inputs, err) : status;
}

dsv4_status bench_copies_open(bench_copies *c, const bench_call *call, const bench_call_options *o, dsv4_pool *pool,
                              dsv4_error *err)
{
    bench_bounds bounds = {0};
    size_t cold_bytes = 0;
    c->launch = calloc(BENCH_MAX_COPIES, sizeof *c->launch);
    c->io = calloc(BENCH_MAX_COPIES, sizeof *c->io);
    dsv4_status status = c->launch == NULL || c->io == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %d copies", (int)BENCH_MAX_COPIES)
                             : draw(c, call, o, err);
    if (status == DSV4_OK) {
        status = open_copy(c, call, pool, err);
    }
    if (status == DSV4_OK && c->launch[0].tiles != NULL) {
        cli_print("  tiles %s\n", c->launch[0].tiles);
    }
    if (status == DSV4_OK) {
        status = bench_bounds_find(&c->launch[0], &c->io[0], &c->config, call, o->context, &bounds, err);
    }
    if (status == DSV4_OK) {
        c->bytes = bench_bounds_bytes(&bounds);
        bench_bounds_free(&bounds);
    }
    if (status == DSV4_OK) {
        status = bench_cold_bytes(&cold_bytes, err);
    }
    int n = status == DSV4_OK ? choose_n(c, cold_bytes) : 0;
    progress bar = progress_begin("copies of the weights");
    while (c->n < n && status == DSV4_OK) {
        status = open_copy(c, call, pool, err);
        progress_report(&bar, (double)c->n / n);
    }
    progress_end(&bar);
    c->is_cold = c->n * c->bytes >= (double)cold_bytes;
    return status;
}

void bench_copies_close(bench_copies *c)
{
    for (int i = c->n - 1; i >= 0; i--) {
        launch_close(&c->launch[i]);
        dsv4_tensor_list_deinit(&c->io[i]);
    }
    free(c->launch);
    free(c->io);
    dsv4_tensor_list_deinit(&c->inputs);
    *c = (bench_copies){0};
}

dsv4_status bench_copies_checksum(const bench_copies *c, int copy, uint64_t *out, dsv4_error *err)
{
    launch_restore(c->op, &c->inputs, &c->io[copy]);
    dsv4_status status = dsv4_exec_run(c->launch[copy].exec, 0, err);
    *out = bench_outputs_checksum(c->op, &c->io[copy]);
    return status;
}
