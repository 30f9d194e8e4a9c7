#include "ops/weight.h"

#include "kernels/pack_fp.h"
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
    const uint8_t *e8m0; /* scales of FP4 codes; NULL: the source is none */
    uk_packed packed;
    int n_workers;
} packing;

/* The worker's share is that of a stage whose blocks are the panels in ascending order. */
static void pack_share(void *context, int worker)
{
    const packing *p = context;
    int64_t n = p->packed.n_panels, before = p->n_workers - 1;
    int64_t begin = (worker * n + before) / p->n_workers, end = ((worker + 1) * n + before) / p->n_workers;
    if (p->e8m0 != NULL) {
        uk_pack_panels_fp4(p->source.data, p->e8m0, begin, end, &p->packed);
    } else {
        uk_pack_panels(p->uk, &p->source, begin, end, &p->packed);
    }
}

static void fail_to_pack(const op_context *c, const char *name, const op_weight_source *w)
{
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_VALUE, "%s: %s: weights of %lld x %lld cannot be packed", c->op->name, name, (long long)w->k,
              (long long)w->n);
    dsv4_graph_fail(c->g, &err);
}

static uk_packed pack_all(const op_context *c, packing *p)
{
    p->uk = c->uk;
    p->n_workers = c->pool != NULL ? dsv4_pool_n_threads(c->pool) : 1;
    if (c->pool == NULL) {
        pack_share(p, 0);
    } else {
        rt_pool_run_all(c->pool, pack_share, p);
    }
    return p->packed;
}

static uk_packed pack_into(const op_context *c, const op_weight_source *w, void *memory)
{
    packing p = {.source = {w->data, (int64_t)dsv4_dtype_bytes(w->dtype), w->k, w->n, w->stride_k, w->stride_n}};
    p.packed = uk_packed_in(&p.source, memory);
    return pack_all(c, &p);
}

static uk_packed pack_fp4_into(const op_context *c, const uint8_t *codes, const uint8_t *e8m0, int64_t k, int64_t n, void *memory)
{
    packing p = {.source = {.data = codes}, .e8m0 = e8m0, .packed = uk_packed_fp4_in(k, n, memory)};
    return pack_all(c, &p);
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

/* Memory for n weights of `stride` bytes; NULL, and the graph fails, if there is none. */
static char *bank_memory(const op_context *c, const char *name, const op_weight_source *w, op_weight_bank *bank)
{
    if (bank->stride == 0 || bank->stride > SIZE_MAX / (size_t)bank->n) {
        fail_to_pack(c, name, w);
        return NULL;
    }
    return dsv4_graph_memory(c->g, bank->stride * (size_t)bank->n);
}

static void view_bank(const op_context *c, const char *name, char *memory, op_weight_bank *bank)
{
    bank->view = dsv4_graph_view(c->g, name, memory, bank->n, bank->first.n_panels * bank->first.panel_bytes, 1, bank->stride);
}

op_weight_bank op_weight_bank_pack(const op_context *c, const char *name, const dsv4_tensor *w)
{
    int64_t N = w->shape[w->n_dims - 2], K = w->shape[w->n_dims - 1];
    op_weight_source first = {w->data, w->dtype, K, N, 1, K};
    op_weight_bank bank = {.stride = packed_bytes(&first), .n = w->n_dims == 3 ? w->shape[0] : 1};
    char *memory = bank_memory(c, name, &first, &bank);
    if (memory == NULL) {
        return (op_weight_bank){0};
    }
    for (int64_t e = 0; e < bank.n; e++) {
        op_weight_source source = first;
        source.data = (const int8_t *)w->data + e * N * K;
        uk_packed packed = pack_into(c, &source, memory + (size_t)e * bank.stride);
        bank.first = e == 0 ? packed : bank.first;
    }
    view_bank(c, name, memory, &bank);
    return bank;
}

op_weight_bank op_weight_bank_pack_fp4(const op_context *c, const char *name, const dsv4_tensor *codes, const dsv4_tensor *e8m0)
{
    int64_t N = codes->shape[codes->n_dims - 2], K = 2 * codes->shape[codes->n_dims - 1];
    op_weight_source first = {.k = K, .n = N};
    op_weight_bank bank = {.stride = uk_pack_fp4_bytes(K, N), .n = codes->n_dims == 3 ? codes->shape[0] : 1};
    char *memory = bank_memory(c, name, &first, &bank);
    if (memory == NULL) {
        return (op_weight_bank){0};
    }
    for (int64_t e = 0; e < bank.n; e++) {
        const uint8_t *w = (const uint8_t *)codes->data + e * N * (K / 2);
        const uint8_t *scales = (const uint8_t *)e8m0->data + e * N * (K / UK_GROUP_FP4);
        uk_packed packed = pack_fp4_into(c, w, scales, K, N, memory + (size_t)e * bank.stride);
        bank.first = e == 0 ? packed : bank.first;
    }
    view_bank(c, name, memory, &bank);
    return bank;
}

uk_packed op_weight_bank_at(const op_weight_bank *bank, int64_t e)
{
    uk_packed w = bank->first;
    w.panels = (char *)w.panels + (size_t)e * bank->stride;
    if (w.correction != NULL) {
        w.correction = (int32_t *)((char *)w.correction + (size_t)e * bank->stride);
    }
    return w;
}
