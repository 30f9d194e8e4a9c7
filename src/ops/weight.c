#include "ops/weight.h"

#include "rt/pool.h"

op_weight_source op_weight_of(const dsv4_tensor *w)
{
    return (op_weight_source){w->data, w->dtype, w->shape[0], w->shape[1], w->shape[1], 1};
}

op_weight_source op_weight_of_transposed(const dsv4_tensor *w)
{
    return (op_weight_source){w->data, w->dtype, w->shape[1], w->shape[0], 1, w->shape[1]};
}

static size_t packed_bytes(const op_weight_source *w)
{
    switch (w->dtype) {
    case DSV4_BF16:
        return uk_pack_bf16_bytes(w->k, w->n);
    case DSV4_F32:
        return uk_pack_f32_bytes(w->k, w->n);
    default:
        return uk_pack_i8_bytes(w->k, w->n);
    }
}

/* ---- packing by several workers ------------------------------------------------------------------------------------------- */

typedef struct packing {
    const uk_table *uk;
    uk_source source;
    uk_packed packed;
    int n_workers;
} packing;

/* The worker's share is that of a stage whose blocks are the panels in ascending order. */
static void pack_share(void *context, int worker)
{
    const packing *p = context;
    int64_t n = p->packed.n_panels, before = p->n_workers - 1;
    int64_t begin = (worker * n + before) / p->n_workers, end = ((worker + 1) * n + before) / p->n_workers;
    uk_pack_panels(p->uk, &p->source, begin, end, &p->packed);
}

op_weight op_weight_pack(const op_context *c, const char *name, op_weight_source w)
{
    size_t n_bytes = packed_bytes(&w);
    if (n_bytes == 0) {
        dsv4_error err = {0};
        dsv4_fail(&err, DSV4_E_VALUE, "%s: %s: weights of %lld x %lld cannot be packed", c->op->name, name, (long long)w.k,
                  (long long)w.n);
        dsv4_graph_fail(c->g, &err);
        return (op_weight){0};
    }
    void *memory = dsv4_graph_memory(c->g, n_bytes);
    if (memory == NULL) {
        return (op_weight){0};
    }
    packing p = {.uk = c->uk, .n_workers = 1};
    p.source = (uk_source){w.data, (int64_t)dsv4_dtype_bytes(w.dtype), w.k, w.n, w.stride_k, w.stride_n};
    p.packed = uk_packed_in(&p.source, memory);
    if (c->pool == NULL) {
        pack_share(&p, 0);
    } else {
        p.n_workers = dsv4_pool_n_threads(c->pool);
        rt_pool_run_all(c->pool, pack_share, &p);
    }
    dsv4_view view = dsv4_graph_view(c->g, name, memory, p.packed.n_panels, p.packed.panel_bytes, 1, (size_t)p.packed.panel_bytes);
    return (op_weight){p.packed, view};
}
