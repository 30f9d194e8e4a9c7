#include "cli/bench/peers/dnnl.h"

#include <dnnl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A byte whose repetition is a small positive number in all types: 0.0115 as BF16 and FP32. */
enum { SMALL_VALUES = 0x3c };

struct peer_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t product;
    void *x, *y;
    dnnl_memory_t x_memory, y_memory;
    int n_copies;
    void **w; /* [n_copies] */
    dnnl_memory_t *w_memory;
};

static const struct {
    dnnl_data_type_t x, w, y;
} types_of[PEER_DNNL_N_TYPES] = {
    [PEER_DNNL_BF16_BF16] = {dnnl_bf16, dnnl_bf16, dnnl_f32}, [PEER_DNNL_F32_BF16] = {dnnl_f32, dnnl_bf16, dnnl_f32},
    [PEER_DNNL_F32_F32] = {dnnl_f32, dnnl_f32, dnnl_f32},     [PEER_DNNL_S8_S8] = {dnnl_s8, dnnl_s8, dnnl_s32},
    [PEER_DNNL_U8_S8] = {dnnl_u8, dnnl_s8, dnnl_s32},
};

static dsv4_status check(dnnl_status_t status, const char *what, dsv4_error *err)
{
    return status == dnnl_success         ? DSV4_OK
           : status == dnnl_unimplemented ? dsv4_fail(err, DSV4_E_UNSUPPORTED, "oneDNN: has no %s", what)
                                          : dsv4_fail(err, DSV4_E_NO_MEMORY, "oneDNN: %s: status %d", what, (int)status);
}

/* Memory of ours, zeroed and in huge pages where there are any, as oneDNN sees it. */
static dsv4_status new_memory(const peer_dnnl *p, const dnnl_memory_desc_t *desc, void **data, dnnl_memory_t *out, dsv4_error *err)
{
    *data = memory_zeroed_array(dnnl_memory_desc_get_size(desc), 1);
    if (*data == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "oneDNN: no memory for %zu bytes", dnnl_memory_desc_get_size(desc));
    }
    return check(dnnl_memory_create(out, desc, p->engine, *data), "memory", err);
}

/* Fills copy 0 in the layout of desc, the others from it. */
static dsv4_status store_weights(peer_dnnl *p, const dnnl_memory_desc_t *plain_desc, const void *plain,
                                 const dnnl_memory_desc_t *desc, dsv4_error *err)
{
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t reorder_desc = NULL;
    dnnl_primitive_t reorder = NULL;
    void *borrowed;
    memcpy(&borrowed, &plain, sizeof borrowed); /* read only */
    dsv4_status status = check(dnnl_memory_create(&from, plain_desc, p->engine, borrowed), "memory", err);
    if (status == DSV4_OK) {
        status = check(dnnl_reorder_primitive_desc_create(&reorder_desc, plain_desc, p->engine, desc, p->engine, NULL),
                       "reordering of the weights", err);
    }
    if (status == DSV4_OK) {
        status = check(dnnl_primitive_create(&reorder, reorder_desc), "reordering of the weights", err);
    }
    for (int i = 0; i < p->n_copies && status == DSV4_OK; i++) {
        status = new_memory(p, desc, &p->w[i], &p->w_memory[i], err);
        if (status == DSV4_OK && i > 0) {
            memcpy(p->w[i], p->w[0], dnnl_memory_desc_get_size(desc));
        } else if (status == DSV4_OK) {
            const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, p->w_memory[0]}};
            status = check(dnnl_primitive_execute(reorder, p->stream, 2, args), "reordering of the weights", err);
            dnnl_stream_wait(p->stream);
        }
    }
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(reorder_desc);
    dnnl_memory_destroy(from);
    return status;
}

static dsv4_status build(peer_dnnl *p, peer_dnnl_types types, int64_t m, int64_t k, int64_t n, const void *weights, dsv4_error *err)
{
    const dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, y_dims = {m, n};
    dnnl_memory_desc_t x, w, plain, y;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t chosen = NULL;
    char what[80];
    snprintf(what, sizeof what, "product of these types of %lld x %lld by %lld x %lld", (long long)m, (long long)k, (long long)k,
             (long long)n);
    bool described = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, types_of[types].x, dnnl_ab) == dnnl_success &&
                     dnnl_memory_desc_init_by_tag(&w, 2, w_dims, types_of[types].w, dnnl_format_tag_any) == dnnl_success &&
                     dnnl_memory_desc_init_by_tag(&plain, 2, w_dims, types_of[types].w, dnnl_ab) == dnnl_success &&
                     dnnl_memory_desc_init_by_tag(&y, 2, y_dims, types_of[types].y, dnnl_ab) == dnnl_success;
    dsv4_status status = described ? check(dnnl_matmul_desc_init(&desc, &x, &w, NULL, &y), what, err)
                                   : dsv4_fail(err, DSV4_E_UNSUPPORTED, "oneDNN: has no %s", what);
    if (status == DSV4_OK) {
        status = check(dnnl_primitive_desc_create(&chosen, &desc, NULL, p->engine, NULL), what, err);
    }
    if (status == DSV4_OK) {
        status = check(dnnl_primitive_create(&p->product, chosen), what, err);
    }
    if (status == DSV4_OK) {
        status = new_memory(p, &x, &p->x, &p->x_memory, err);
    }
    if (status == DSV4_OK) {
        memset(p->x, SMALL_VALUES, dnnl_memory_desc_get_size(&x));
        status = new_memory(p, &y, &p->y, &p->y_memory, err);
    }
    if (status == DSV4_OK) {
        status = store_weights(p, &plain, weights, dnnl_primitive_desc_query_md(chosen, dnnl_query_weights_md, 0), err);
    }
    dnnl_primitive_desc_destroy(chosen);
    return status;
}

dsv4_status peer_dnnl_create(peer_dnnl_types types, int64_t m, int64_t k, int64_t n, const void *weights, int n_copies,
                             peer_dnnl **out, dsv4_error *err)
{
    peer_dnnl *p = calloc(1, sizeof *p);
    if (p != NULL) {
        p->n_copies = n_copies;
        p->w = calloc((size_t)n_copies, sizeof *p->w);
        p->w_memory = calloc((size_t)n_copies, sizeof(dnnl_memory_t));
    }
    dsv4_status status = p == NULL || p->w == NULL || p->w_memory == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "oneDNN: no memory for a product")
                             : check(dnnl_engine_create(&p->engine, dnnl_cpu, 0), "engine", err);
    if (status == DSV4_OK) {
        status = check(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags), "stream", err);
    }
    if (status == DSV4_OK) {
        status = build(p, types, m, k, n, weights, err);
    }
    if (status == DSV4_OK) {
        *out = p;
    } else {
        peer_dnnl_destroy(p);
    }
    return status;
}

void peer_dnnl_destroy(peer_dnnl *p)
{
    if (p == NULL) {
        return;
    }
    for (int i = 0; p->w != NULL && p->w_memory != NULL && i < p->n_copies; i++) {
        dnnl_memory_destroy(p->w_memory[i]);
        free(p->w[i]);
    }
    dnnl_memory_destroy(p->x_memory);
    dnnl_memory_destroy(p->y_memory);
    dnnl_primitive_destroy(p->product);
    dnnl_stream_destroy(p->stream);
    dnnl_engine_destroy(p->engine);
    free(p->x);
    free(p->y);
    free(p->w);
    free(p->w_memory);
    free(p);
}

void *peer_dnnl_x(peer_dnnl *p)
{
    return p->x;
}

const void *peer_dnnl_y(const peer_dnnl *p)
{
    return p->y;
}

void peer_dnnl_run(peer_dnnl *p, int copy)
{
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, p->x_memory}, {DNNL_ARG_WEIGHTS, p->w_memory[copy]}, {DNNL_ARG_DST, p->y_memory}};
    dnnl_primitive_execute(p->product, p->stream, 3, args);
    dnnl_stream_wait(p->stream);
}

const char *peer_dnnl_version(void)
{
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
