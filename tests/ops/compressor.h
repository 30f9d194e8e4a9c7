/* ops/compressor.h - what the tests of the compressors share: calls at any positions, runs that update copies of state and cache.
 *
 * Every page table is a permutation, every slot follows from its table, every value of state and cache is random: what a run should
 * leave alone shows. */
#ifndef OPS_COMPRESSOR_H
#define OPS_COMPRESSOR_H

#include <math.h>

#include "ops/pool.h"

#include "base/numbers.h"
#include "base/rng.h"

enum { SEED = 2 };

/* The inputs of a call; they stay as they are. */
typedef struct call {
    const dsv4_op *op;
    dsv4_config config;
    op_dims dims;
    dsv4_tensor_list in;
} call;

/* A sealed graph over copies of the tensors that it updates. */
typedef struct updating {
    const call *c;
    dsv4_tensor_list io;
    dsv4_graph *graph;
} updating;

static inline bool is_decode(const dsv4_op *op)
{
    return op->mode == DSV4_DECODE;
}

static inline int64_t ratio_of(const dsv4_op *op)
{
    return op->ratio == OP_ANY ? 4 : op->ratio;
}

static inline bool is_index(const dsv4_op *op)
{
    return strstr(op->name, "indexer") != NULL;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------------- */

/* Pages hold every position up to n_positions. */
static inline op_dims call_dims(const dsv4_op *op, const dsv4_config *config, int64_t B, int64_t S, int64_t n_positions)
{
    op_dims dims = op_dims_of_config(config);
    int64_t page = ratio_of(op) == 4 ? 4 : 8, pages = n_positions / page + 1;
    int64_t *of = dims.of;
    of[OP_B] = B;
    of[OP_S] = S;
    of[OP_T] = B * S;
    of[OP_N] = n_positions;
    of[OP_BS] = config->attn_tile;
    of[OP_CPR] = of[OP_IPR] = n_positions / ratio_of(op) / of[OP_BS] + 1;
    of[OP_CP] = of[OP_IP] = B * of[OP_CPR];
    of[OP_SPR] = of[OP_JPR] = pages;
    of[OP_SP] = of[OP_JP] = B * pages + 1;
    of[OP_SR] = of[OP_JR] = page;
    return dims;
}

/* Largest value of the uniform draw of a tensor. */
static inline double spread_of(const char *name, const op_dims *dims)
{
    if (strcmp(name, "wkv") == 0 || strcmp(name, "wgate") == 0) {
        return 3.0 / sqrt((double)dims->of[OP_D]);
    }
    return strcmp(name, "hadamard") == 0 ? 1.0 / sqrt((double)dims->of[OP_ID]) : 1.0;
}

/* The seed is one with which no row in front of a Hadamard product rounds to other bits than the golden's: one bit there moves the
 * whole row behind it, and SPEC 7 allows none of its points in decode. */
static inline void fill_real(const char *name, const op_dims *dims, dsv4_tensor *t)
{
    const rng r = {SEED, rng_stream(name)};
    const double spread = spread_of(name, dims);
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        const double value = rng_uniform(&r, (uint64_t)i, -spread, spread);
        if (t->dtype == DSV4_F32) {
            ((float *)t->data)[i] = (float)value;
        } else {
            ((uint16_t *)t->data)[i] = num_bf16_from_f64(value);
        }
    }
}

static inline int32_t *i32_of(const call *c, const char *name)
{
    return get_tensor(&c->in, name).data;
}

static inline int64_t *i64_of(const call *c, const char *name)
{
    return get_tensor(&c->in, name).data;
}

static inline const char *table_name(const dsv4_op *op)
{
    return is_index(op) && !is_decode(op) ? "inner_compress_state_block_table" : "compress_state_block_table";
}

static inline const char *state_slots_name(const dsv4_op *op)
{
    return is_index(op) ? "inner_state_slot_mapping" : "state_slot_mapping";
}

static inline const char *cache_slots_name(const dsv4_op *op)
{
    return is_index(op) ? "idx_slot_mapping" : "cmp_slot_mapping";
}

static inline int64_t state_row(const call *c, int64_t request, int64_t position)
{
    const int64_t page = c->dims.of[OP_SR];
    return (int64_t)i32_of(c, table_name(c->op))[request * c->dims.of[OP_SPR] + position / page] * page + position % page;
}

/* The slots that the positions give. */
static inline void derive_slots(const call *c)
{
    const int64_t ratio = ratio_of(c->op), rows = c->dims.of[OP_CPR] * c->dims.of[OP_BS], S = c->dims.of[OP_S];
    for (int64_t t = 0; t < c->dims.of[OP_T]; t++) {
        const int64_t position = i32_of(c, "position_ids")[t], b = t / S;
        i64_of(c, state_slots_name(c->op))[t] = state_row(c, b, position);
        i64_of(c, cache_slots_name(c->op))[t] = (position + 1) % ratio == 0 ? (b + 1) * rows - 1 - position / ratio : -1;
    }
}

/* S tokens of each of B requests, from these positions on (prefill: B = 1). */
static inline call make_call(const char *op, dsv4_config config, int64_t B, int64_t S, const int32_t *starts, int64_t n_positions)
{
    call c = {.op = find_op(op), .config = config};
    dsv4_error err = {0};
    c.dims = call_dims(c.op, &config, B, S, n_positions);
    for (size_t i = 0; i < c.op->n_tensors; i++) {
        const op_tensor *row = &c.op->tensors[i];
        int n_dims;
        int64_t shape[DSV4_MAX_DIMS];
        dsv4_tensor t;
        if (!op_is_input(row) || (row->use & OP_OPTIONAL) != 0) {
            continue;
        }
        require_ok(op_eval_shape(row->shape, &c.dims, &n_dims, shape, &err), &err);
        require_ok(dsv4_tensor_list_alloc(&c.in, row->name, row->dtype, n_dims, shape, &t, &err), &err);
        if (t.dtype == DSV4_BF16 || t.dtype == DSV4_F32) {
            fill_real(row->name, &c.dims, &t);
        } else if (fix_name_ends(row->name, "block_table")) {
            for (int64_t j = 0; j < dsv4_tensor_count(&t); j++) {
                ((int32_t *)t.data)[j] = (int32_t)(dsv4_tensor_count(&t) - j);
            }
        }
    }
    for (int64_t t = 0; t < B * S; t++) {
        i32_of(&c, "position_ids")[t] = starts[t / S] + (int32_t)(t % S);
    }
    derive_slots(&c);
    if (!is_decode(c.op)) {
        *i32_of(&c, "num_tokens") = (int32_t)S;
    }
    return c;
}

static inline void call_deinit(call *c)
{
    dsv4_tensor_list_deinit(&c->in);
}

/* ---- runs --------------------------------------------------------------------------------------------------------------- */

/* State and cache as the call has them, outputs zero; in prefill junk. */
static inline void reset(const updating *u)
{
    for (size_t i = 0; i < u->c->op->n_tensors; i++) {
        const op_tensor *row = &u->c->op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(&u->io, row->name), *from = dsv4_tensor_list_find(&u->c->in, row->name);
        if (!op_is_output(row) || t == NULL) {
            continue;
        }
        if (from != NULL) {
            memcpy(t->data, from->data, dsv4_tensor_bytes(t));
        } else {
            memset(t->data, is_decode(u->c->op) ? 0 : 0xa5, dsv4_tensor_bytes(t)); /* prefill writes every row of kv */
        }
    }
}

static inline updating make_updating(const call *c, dsv4_op_options options)
{
    updating u = {c, borrow_inputs(c->op, &c->in, 0, 0), dsv4_graph_create(c->op->name)};
    dsv4_error err = {0};
    assert_non_null(u.graph);
    require_ok(dsv4_op_build(c->op, &c->config, &options, &u.io, u.graph, &err), &err);
    require_ok(dsv4_graph_seal(u.graph, DSV4_DEPS_BLOCK, &err), &err);
    return u;
}

static inline void updating_deinit(updating *u)
{
    dsv4_graph_destroy(u->graph);
    dsv4_tensor_list_deinit(&u->io);
}

/* One step from the call's state and cache. */
static inline dsv4_status run_step(const updating *u, dsv4_pool *threads, uint64_t shuffle, dsv4_error *err)
{
    dsv4_exec *exec;
    dsv4_error failure = {0};
    reset(u);
    require_ok(dsv4_exec_create(u->graph, threads, 0, &exec, &failure), &failure);
    const dsv4_status status = dsv4_exec_run(exec, shuffle, err);
    dsv4_exec_destroy(exec);
    return status;
}

static inline void must_run(const updating *u, dsv4_pool *threads, uint64_t shuffle)
{
    dsv4_error err = {0};
    require_ok(run_step(u, threads, shuffle, &err), &err);
}

/* Every output of u has the bits of the list's. what names the run. */
static inline void assert_same_outputs(const updating *u, const dsv4_tensor_list *expected, const char *what)
{
    for (size_t i = 0; i < u->c->op->n_tensors; i++) {
        const op_tensor *row = &u->c->op->tensors[i];
        const dsv4_tensor *want = dsv4_tensor_list_find(expected, row->name), *got = dsv4_tensor_list_find(&u->io, row->name);
        if (op_is_output(row) && want != NULL && got != NULL && count_bit_mismatches(got, want) > 0) {
            fail_msg("%s, %s: %lld elements of %s differ", u->c->op->name, what, (long long)count_bit_mismatches(got, want),
                     row->name);
        }
    }
}

#endif
