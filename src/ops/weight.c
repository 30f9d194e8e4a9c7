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

static void fail_to_pack(const op_context *c, const char *name, const op_weight_source *w)
{
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_VALUE, "%s: %s: weights of %lld x %lld cannot be packed", c->op->name, name, (long long)w->k,
              (long long)w->n);
    dsv4_graph_fail(c->g, &err);
}

static uk_packed pack_into(const op_context *c, const op_weight_source *w, void *memory)
{
    packing p = {.uk = c->uk, .n_workers = 1};
    p.source = (uk_source){w->data, (int64_t)dsv4_dtype_bytes(w->dtype), w->k, w->n, w->stride_k, w->stride_n};
    p.packed = uk_packed_in(&p.source, memory);
    if (c->pool == NULL) {
        pack_share(&p, 0);
    } else {
        p.n_workers = dsv4_pool_n_threads(c->pool);
        rt_pool_run_all(c->pool, pack_share, &p);
    }
    return p.packed;
}

op_weight op_weight_pack(const op_context *c, const char *name, op_weight_source w)
{
    size_t n_bytes = packed_bytes(&w);
    void *memory = n_bytes > 0 ? dsv4_graph_memory(c->g, n_bytes) : NULL;
    if (n_bytes == 0) {
        fail_to_pack(c, name, &w);
    }
    if (memory == NULL) {
        return (op_weight){0};
    }
    uk_packed packed = pack_into(c, &w, memory);
    dsv4_view view = dsv4_graph_view(c->g, name, memory, packed.n_panels, packed.panel_bytes, 1, (size_t)packed.panel_bytes);
    return (op_weight){packed, view};
}

/* ---- weights of experts ---------------------------------------------------------------------------------------------------- */

op_weight_bank op_weight_bank_pack(const op_context *c, const char *name, const dsv4_tensor *w)
{
    int64_t N = w->shape[w->n_dims - 2], K = w->shape[w->n_dims - 1];
    op_weight_source first = {w->data, w->dtype, K, N, 1, K};
    op_weight_bank bank = {.stride = packed_bytes(&first), .n = w->n_dims == 3 ? w->shape[0] : 1};
    if (bank.stride == 0 || bank.stride > SIZE_MAX / (size_t)bank.n) {
        fail_to_pack(c, name, &first);
        return (op_weight_bank){0};
    }
    char *memory = dsv4_graph_memory(c->g, bank.stride * (size_t)bank.n);
    for (int64_t e = 0; memory != NULL && e < bank.n; e++) {
        op_weight_source source = first;
        source.data = (const int8_t *)w->data + e * N * K;
        uk_packed packed = pack_into(c, &source, memory + (size_t)e * bank.stride);
        bank.first = e == 0 ? packed : bank.first;
    }
    bank.view = dsv4_graph_view(c->g, name, memory, bank.n, bank.first.n_panels * bank.first.panel_bytes, 1, bank.stride);
    return bank;
}

uk_packed op_weight_bank_at(const op_weight_bank *bank, int64_t e)
{
    uk_packed w = bank->first;
    w.panels = (char *)w.panels + (size_t)e * bank->stride;
    w.correction = (int32_t *)((char *)w.correction + (size_t)e * bank->stride);
    return w;
}
