/* ops/support.h - what the tests of the operators share: drawn calls, runs that must succeed, outputs compared bit for bit. */
#ifndef OPS_SUPPORT_H
#define OPS_SUPPORT_H

#include <string.h>

#include "ops/op.h"
#include "require.h"
#include "sanitized.h"

/* A model that no preset describes. */
static inline dsv4_config model(int64_t hidden, int64_t q_lora, int64_t heads, int64_t head_dim, int64_t rope)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = hidden;
    config.q_lora_rank = q_lora;
    config.num_attention_heads = heads;
    config.head_dim = head_dim;
    config.qk_rope_head_dim = rope;
    return config;
}

static inline const dsv4_op *find_op(const char *name)
{
    const dsv4_op *op;
    dsv4_error err = {0};
    require_ok(dsv4_op_find(name, &op, &err), &err);
    return op;
}

static inline dsv4_pool *make_pool(int n_threads)
{
    dsv4_pool *pool;
    dsv4_error err = {0};
    require_ok(dsv4_pool_create(n_threads, &pool, &err), &err);
    return pool;
}

static inline dsv4_tensor get_tensor(const dsv4_tensor_list *list, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(list, name);
    if (t == NULL) {
        fail_msg("no tensor %s", name);
    }
    return *t;
}

static inline void put_tensor(dsv4_tensor_list *list, const char *name, dsv4_tensor t)
{
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_put(list, name, &t, &err), &err);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------------- */

/* Every input of a call of T tokens; of rope_tables, T rows under this compress_ratio. */
static inline dsv4_tensor_list draw_inputs(const dsv4_op *op, const dsv4_config *config, int64_t T, int64_t compress_ratio)
{
    dsv4_tensor_list in = {0};
    dsv4_error err = {0};
    dsv4_config sized = *config;
    sized.max_position_embeddings = T;
    const op_call call = {DSV4_PREFILL, 1, T, OP_UNKNOWN, compress_ratio, false, 1};
    require_ok(op_draw_inputs(op, &sized, &call, &in, &err), &err);
    return in;
}

static inline bool is_per_token(const op_tensor *row)
{
    return strncmp(row->shape, "T,", 2) == 0;
}

/* Rows [row0, row0 + rows) of a tensor. */
static inline dsv4_tensor rows_of(dsv4_tensor t, int64_t row0, int64_t rows)
{
    t.data = (char *)t.data + (size_t)(row0 * t.stride[0]) * dsv4_dtype_bytes(t.dtype);
    t.shape[0] = rows;
    return t;
}

/* A copy of a tensor, owned by the list. */
static inline void put_copy(dsv4_tensor_list *list, const char *name, dsv4_tensor t)
{
    dsv4_error err = {0};
    dsv4_tensor copy;
    require_ok(dsv4_tensor_list_alloc(list, name, t.dtype, t.n_dims, t.shape, &copy, &err), &err);
    memcpy(copy.data, t.data, dsv4_tensor_bytes(&t));
}

/* The inputs of a call with tokens [t0, t0 + T) of another call, borrowed from it; what an operator updates is copied. T = 0: all
 * of them. */
static inline dsv4_tensor_list borrow_inputs(const dsv4_op *op, const dsv4_tensor_list *in, int64_t t0, int64_t T)
{
    dsv4_tensor_list borrowed = {0};
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(in, row->name);
        if (!op_is_input(row) || (t == NULL && (row->use & OP_OPTIONAL) != 0)) {
            continue;
        }
        if (op_is_output(row)) {
            put_copy(&borrowed, row->name, get_tensor(in, row->name));
        } else {
            put_tensor(&borrowed, row->name, T > 0 && is_per_token(row) ? rows_of(*t, t0, T) : get_tensor(in, row->name));
        }
    }
    return borrowed;
}

/* ---- runs --------------------------------------------------------------------------------------------------------------- */

/* An operator's graph over its tensors, sealed. */
typedef struct sealed {
    const dsv4_op *op;
    dsv4_tensor_list io; /* inputs borrowed, outputs owned */
    dsv4_graph *graph;
} sealed;

/* Sealed over tokens [t0, t0 + T) of a call; T = 0: all of them. */
static inline sealed seal_rows(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, int64_t t0, int64_t T,
                               dsv4_op_options options, dsv4_deps deps)
{
    sealed s = {op, borrow_inputs(op, in, t0, T), dsv4_graph_create(op->name)};
    dsv4_error err = {0};
    assert_non_null(s.graph);
    require_ok(dsv4_op_build(op, config, &options, &s.io, s.graph, &err), &err);
    require_ok(dsv4_graph_seal(s.graph, deps, &err), &err);
    return s;
}

static inline void sealed_deinit(sealed *s)
{
    dsv4_graph_destroy(s->graph);
    dsv4_tensor_list_deinit(&s->io);
}

/* Puts what the operator updates back to what it is in `in`. */
static inline void reset_state(const sealed *s, const dsv4_tensor_list *in)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        const op_tensor *row = &s->op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(in, row->name);
        if (op_is_input(row) && op_is_output(row) && t != NULL) {
            memcpy(get_tensor(&s->io, row->name).data, t->data, dsv4_tensor_bytes(t));
        }
    }
}

/* Fills the outputs, so that what a run leaves unwritten shows. */
static inline void spoil_outputs(const sealed *s)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        if (op_is_output(&s->op->tensors[i]) && !op_is_input(&s->op->tensors[i])) {
            const dsv4_tensor t = get_tensor(&s->io, s->op->tensors[i].name);
            memset(t.data, 0xa5, dsv4_tensor_bytes(&t));
        }
    }
}

/* A run with ready blocks in an order drawn from shuffle, 0: by rank. */
static inline dsv4_status replay(const sealed *s, dsv4_pool *pool, uint64_t shuffle, dsv4_error *err)
{
    dsv4_exec *exec;
    require_ok(dsv4_exec_create(s->graph, pool, 0, &exec, err), err);
    spoil_outputs(s);
    const dsv4_status status = dsv4_exec_run(exec, shuffle, err);
    dsv4_exec_destroy(exec);
    return status;
}

static inline void run_sealed(const sealed *s, dsv4_pool *pool)
{
    dsv4_error err = {0};
    require_ok(replay(s, pool, 0, &err), &err);
}

/* A run of tokens [t0, t0 + T) with default dependencies. The caller ends it with sealed_deinit. */
static inline sealed run_rows(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, int64_t t0, int64_t T,
                              dsv4_op_options options, dsv4_pool *pool)
{
    sealed s = seal_rows(op, config, in, t0, T, options, DSV4_DEPS_BLOCK);
    run_sealed(&s, pool);
    return s;
}

/* ---- bits --------------------------------------------------------------------------------------------------------------- */

/* Elements whose bytes differ, of two tensors of one dtype and count without gaps. */
static inline int64_t count_bit_mismatches(const dsv4_tensor *a, const dsv4_tensor *b)
{
    const size_t size = dsv4_dtype_bytes(a->dtype);
    int64_t n = 0;
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(dsv4_tensor_count(a), dsv4_tensor_count(b));
    if (memcmp(a->data, b->data, dsv4_tensor_bytes(a)) == 0) {
        return 0;
    }
    for (int64_t i = 0; i < dsv4_tensor_count(a); i++) {
        n += memcmp((const char *)a->data + (size_t)i * size, (const char *)b->data + (size_t)i * size, size) != 0;
    }
    return n;
}

/* Every output of s has the bits of the rows from row0 on of the reference's. what names the run in the message. */
static inline void assert_same_rows(const sealed *s, const sealed *reference, int64_t row0, const char *what)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        const char *name = s->op->tensors[i].name;
        if (!op_is_output(&s->op->tensors[i]) || dsv4_tensor_list_find(&s->io, name) == NULL) {
            continue;
        }
        const dsv4_tensor got = get_tensor(&s->io, name), want = rows_of(get_tensor(&reference->io, name), row0, got.shape[0]);
        const int64_t n = count_bit_mismatches(&got, &want);
        if (n > 0) {
            fail_msg("%s, %s: %lld of %lld elements of %s differ", s->op->name, what, (long long)n,
                     (long long)dsv4_tensor_count(&got), name);
        }
    }
}

#endif
