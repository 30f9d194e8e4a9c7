/* packed.c - the weights of a checkpoint in memory. */
#include "model/packed.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/progress.h"
#include "model/packed_memory.h"
#include "model/packed_plan.h"
#include "rt/pool.h"

typedef struct packing_worker {
    packed_packer *packer;
    dsv4_status status;
    size_t piece; /* at which it failed */
    dsv4_error err;
} packing_worker;

typedef struct packing {
    const model_checkpoint *checkpoint;
    const packed_plan *plan;
    char *data;
    progress *bar;
    int n_workers;
    packing_worker *workers;
} packing;

/* The share of a worker of n panels or rows: that of a stage whose blocks are these in ascending order. */
static int64_t share_begin(const packing *p, int worker, int64_t n)
{
    return (worker * n + p->n_workers - 1) / p->n_workers;
}

static dsv4_status pack_weights(const packing *p, int worker, const packed_piece *piece, dsv4_error *err)
{
    for (int64_t e = 0; e < piece->count; e++) {
        const model_weight w = packed_form_in(piece->form, piece->k, piece->n, p->data + piece->offset + (size_t)e * piece->stride);
        const int64_t begin = share_begin(p, worker, w.packed.n_panels), end = share_begin(p, worker + 1, w.packed.n_panels);
        char name[MODEL_NAME_BYTES];
        model_matrix m;
        dsv4_status status = DSV4_OK;
        if (begin == end) {
            continue;
        }
        if ((status = packed_source_find(p->checkpoint, piece, e, name, &m, err)) != DSV4_OK ||
            (status = packed_panels(p->workers[worker].packer, name, &m, &w, begin, end, err)) != DSV4_OK) {
            return status;
        }
        packed_source_drop(&m, begin * UK_PANEL, end * UK_PANEL < m.rows ? end * UK_PANEL : m.rows);
    }
    return DSV4_OK;
}

static dsv4_status pack_piece(const packing *p, int worker, const packed_piece *piece, dsv4_error *err)
{
    if (piece->kind == PACKED_WEIGHT || piece->kind == PACKED_BANK) {
        return pack_weights(p, worker, piece, err);
    }
    const int64_t begin = share_begin(p, worker, piece->k), end = share_begin(p, worker + 1, piece->k);
    const size_t row_bytes = piece->bytes / (size_t)piece->k;
    return begin == end
               ? DSV4_OK
               : packed_source_rows(p->checkpoint, piece, begin, end, p->data + piece->offset + (size_t)begin * row_bytes, err);
}

static void pack_share(void *context, int worker)
{
    const packing *p = context;
    packing_worker *w = &p->workers[worker];
    for (size_t i = 0; i < p->plan->n; i++) {
        w->piece = i;
        if ((w->status = pack_piece(p, worker, &p->plan->pieces[i], &w->err)) != DSV4_OK) {
            return;
        }
        if (worker == 0) {
            const packed_piece *piece = &p->plan->pieces[i];
            progress_report(p->bar, (double)(piece->offset + packed_piece_bytes(piece)) / (double)p->plan->bytes);
        }
    }
}

/* The failure at the earliest piece, of the first worker. */
static dsv4_status first_failure(const packing *p, dsv4_error *err)
{
    const packing_worker *first = NULL;
    for (int i = 0; i < p->n_workers; i++) {
        const packing_worker *w = &p->workers[i];
        first = w->status != DSV4_OK && (first == NULL || w->piece < first->piece) ? w : first;
    }
    return first == NULL ? DSV4_OK : dsv4_fail(err, first->status, "%.100s: %s", p->checkpoint->folder, first->err.text);
}

static dsv4_status pack_all(packing *p, dsv4_pool *pool, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    p->n_workers = pool == NULL ? 1 : dsv4_pool_n_threads(pool);
    p->workers = memory_zeroed_array((size_t)p->n_workers, sizeof *p->workers);
    if (p->workers == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %d workers", p->n_workers);
    }
    for (int i = 0; status == DSV4_OK && i < p->n_workers; i++) {
        status = packed_packer_create(p->plan, &p->workers[i].packer, err);
    }
    if (status == DSV4_OK && pool == NULL) {
        pack_share(p, 0);
    } else if (status == DSV4_OK) {
        rt_pool_run_all(pool, pack_share, p);
    }
    if (status == DSV4_OK) {
        status = first_failure(p, err);
    }
    for (int i = 0; i < p->n_workers; i++) {
        packed_packer_destroy(p->workers[i].packer);
    }
    free(p->workers);
    return status;
}

dsv4_status model_weights_pack(const model_checkpoint *c, bool int8, dsv4_pool *pool, progress *bar, model_weights **out,
                               dsv4_error *err)
{
    model_weights *w = NULL;
    packed_plan plan = {0};
    dsv4_status status = model_checkpoint_require(c, err);
    if (status != DSV4_OK || (status = packed_plan_make(&c->config, int8, &w, &plan, err)) != DSV4_OK) {
        return status;
    }
    void *data = memory_map(plan.bytes);
    if (data == NULL || (w->memory = malloc(sizeof *w->memory)) == NULL) {
        if (data != NULL) {
            memory_unmap(data, plan.bytes);
        }
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%.200s: no memory for %zu bytes of weights", c->folder, plan.bytes);
        goto fail;
    }
    *w->memory = (struct model_weights_memory){data, plan.bytes};
    packing p = {.checkpoint = c, .plan = &plan, .data = data, .bar = bar};
    if ((status = pack_all(&p, pool, err)) != DSV4_OK) {
        goto fail;
    }
    packed_plan_bind(&plan, data);
    packed_plan_deinit(&plan);
    *out = w;
    return DSV4_OK;
fail:
    packed_plan_deinit(&plan);
    model_weights_free(w);
    return status;
}

void model_weights_free(model_weights *w)
{
    if (w != NULL) {
        if (w->memory != NULL) {
            memory_unmap(w->memory->start, w->memory->bytes);
        }
        free(w->memory);
        free(w->blocks);
        free(w);
    }
}
