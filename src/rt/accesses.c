#include "rt/accesses.h"

#include <stdlib.h>

#include "base/memory.h"

/* Nominal rates of one core, for priorities alone: what matters is which of two paths is longer. Memory and arithmetic overlap. An
 * untracked box may be a whole cache of which the block touches a row, so it does not count. */
static double nominal_cost_ns(const dsv4_describe *d)
{
    double bytes = 0;
    for (int64_t i = 0; i < d->touches.n; i++) {
        const rt_touch *t = &d->touches.items[i];
        bytes += (t->mode & DSV4_UNTRACKED) != 0 ? 0 : (double)(t->span.n * t->span.len);
    }
    double memory = bytes / 16, arithmetic = d->work.flops_bf16 / 150 + d->work.ops_i8 / 600 + d->work.vector_ops / 8;
    return 50 + (memory > arithmetic ? memory : arithmetic);
}

/* Adds the tracked boxes of a described block; reads first, so that a write of the same block comes last. */
static bool keep_accesses(rt_accesses *a, dsv4_deps deps, const dsv4_describe *d)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < d->touches.n; i++) {
            const rt_touch *t = &d->touches.items[i];
            bool is_write = (t->mode & DSV4_WRITE) != 0;
            if (is_write != (pass == 1) || (t->mode & DSV4_UNTRACKED) != 0) {
                continue;
            }
            rt_span span = deps == DSV4_DEPS_TENSOR ? rt_boxset_region_span(&a->boxes, t->view) : t->span;
            int32_t box = rt_boxset_add(&a->boxes, t->view, &span);
            if (box == RT_NONE || !vec_push(&a->list, ((rt_access){box, is_write}))) {
                return false;
            }
        }
    }
    return true;
}

static dsv4_status describe_all(rt_accesses *a, const dsv4_graph *g, dsv4_deps deps, double *cost_ns, dsv4_error *err)
{
    dsv4_describe d = {0};
    dsv4_status status = DSV4_OK;
    for (int64_t s = 0; s < g->stages.n && status == DSV4_OK; s++) {
        const rt_stage *stage = &g->stages.items[s];
        for (int64_t b = 0; b < stage->n_blocks && status == DSV4_OK; b++) {
            int64_t task = stage->first_block + b;
            status = rt_describe_block(&d, g, (int32_t)s, b, err);
            if (status != DSV4_OK) {
                break;
            }
            a->first[task] = a->list.n;
            cost_ns[task] = nominal_cost_ns(&d);
            a->n_described += d.touches.n;
            if (!stage->manual && !keep_accesses(a, deps, &d)) {
                status = dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory for boxes", g->name);
            }
        }
    }
    a->first[g->n_blocks] = a->list.n;
    rt_describe_deinit(&d);
    return status;
}

/* Arrays of the size that a graph usually needs, so that large ones are not moved while they grow. */
static bool allocate(rt_accesses *a, const dsv4_graph *g)
{
    a->first = memory_array((size_t)(g->n_blocks + 1), sizeof *a->first);
    return a->first != NULL && rt_boxset_init(&a->boxes, g) && vec_reserve(&a->list, 2 * g->n_blocks) &&
           vec_reserve(&a->boxes.boxes, g->n_blocks);
}

dsv4_status rt_accesses_collect(const dsv4_graph *g, dsv4_deps deps, rt_accesses *out, double *cost_ns, dsv4_error *err)
{
    bool ok = allocate(out, g);
    if (ok) {
        dsv4_status status = describe_all(out, g, deps, cost_ns, err);
        if (status != DSV4_OK) {
            return status;
        }
        ok = rt_boxset_index(&out->boxes);
    }
    return ok ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory for boxes", g->name);
}

void rt_accesses_deinit(rt_accesses *a)
{
    rt_boxset_deinit(&a->boxes);
    vec_free(&a->list);
    free(a->first);
}
