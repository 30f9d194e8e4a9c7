/* rt/describe.c - from what a block says it touches to spans of bytes, and to words for messages. */
#include <float.h>
#include <stdio.h>

#include "rt/graph.h"

static bool box_is_inside(const rt_view *v, const dsv4_box *b)
{
    return b->row0 >= 0 && b->row0 <= b->row1 && b->row1 <= v->rows && b->col0 >= 0 && b->col0 <= b->col1 && b->col1 <= v->cols;
}

static rt_span box_span(const rt_view *v, const dsv4_box *b)
{
    return rt_span_make(v->address + b->row0 * v->row_bytes + b->col0 * v->elem_bytes, b->row1 - b->row0, v->row_bytes,
                        (b->col1 - b->col0) * v->elem_bytes);
}

void dsv4_touch(dsv4_describe *d, int mode, dsv4_view view, dsv4_box box)
{
    if (d->error.status != DSV4_OK) {
        return;
    }
    char text[192];
    rt_touch touch = {view, mode, box, {0, 0, 0, 0}};
    if (view < 0 || view >= d->graph->views.n) {
        dsv4_fail(&d->error, DSV4_E_GRAPH, "%s: touches view %d; the graph has %lld views",
                  rt_block_text(d->graph, d->stage, d->block, text, sizeof text), view, (long long)d->graph->views.n);
        return;
    }
    if ((mode & DSV4_UPDATE) == 0 || (mode & ~(DSV4_UPDATE | DSV4_UNTRACKED)) != 0) {
        dsv4_fail(&d->error, DSV4_E_GRAPH, "%s: touches view %d with mode %d; expected read, write or update",
                  rt_block_text(d->graph, d->stage, d->block, text, sizeof text), view, mode);
        return;
    }
    const rt_view *v = &d->graph->views.items[view];
    if (!box_is_inside(v, &box)) {
        char what[256];
        dsv4_fail(&d->error, DSV4_E_GRAPH, "%s: %s, outside the view of %lld rows and %lld columns",
                  rt_block_text(d->graph, d->stage, d->block, text, sizeof text),
                  rt_touch_text(d->graph, &touch, what, sizeof what), (long long)v->rows, (long long)v->cols);
        return;
    }
    if (box.row0 == box.row1 || box.col0 == box.col1) {
        return;
    }
    touch.span = box_span(v, &box);
    if (!vec_push(&d->touches, touch)) {
        dsv4_fail(&d->error, DSV4_E_NO_MEMORY, "graph %s: no memory for boxes", d->graph->name);
    }
}

void dsv4_reads(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1)
{
    dsv4_touch(d, DSV4_READ, view, (dsv4_box){row0, row1, col0, col1});
}

void dsv4_writes(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1)
{
    dsv4_touch(d, DSV4_WRITE, view, (dsv4_box){row0, row1, col0, col1});
}

void dsv4_updates(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1)
{
    dsv4_touch(d, DSV4_UPDATE, view, (dsv4_box){row0, row1, col0, col1});
}

/* Finite and not negative: priorities are sums of costs. */
static bool is_cost(double x)
{
    return x >= 0 && x <= DBL_MAX;
}

void dsv4_costs(dsv4_describe *d, dsv4_work work)
{
    char text[192];
    bool ok = is_cost(work.flops_bf16) && is_cost(work.ops_i8) && is_cost(work.vector_ops) && is_cost(work.gathered_bytes);
    if (d->error.status == DSV4_OK && !ok) {
        dsv4_fail(&d->error, DSV4_E_GRAPH,
                  "%s: costs %g flops, %g integer and %g vector operations, %g bytes; expected finite numbers >= 0",
                  rt_block_text(d->graph, d->stage, d->block, text, sizeof text), work.flops_bf16, work.ops_i8, work.vector_ops,
                  work.gathered_bytes);
    }
    d->work = work;
}

dsv4_status rt_describe_block(dsv4_describe *d, const dsv4_graph *g, int32_t stage, int64_t block, dsv4_error *err)
{
    const rt_stage *s = &g->stages.items[stage];
    d->graph = g;
    d->stage = stage;
    d->block = block;
    d->touches.n = 0;
    d->work = (dsv4_work){0};
    d->error.status = DSV4_OK;
    if (s->describe != NULL) {
        s->describe(s->arg, block, d);
    }
    if (d->error.status != DSV4_OK && err != NULL) {
        *err = d->error;
    }
    return d->error.status;
}

dsv4_status rt_describe_ran(dsv4_describe *d, const dsv4_graph *g, int32_t stage, int64_t block, dsv4_error *err)
{
    const rt_stage *s = &g->stages.items[stage];
    dsv4_status status = rt_describe_block(d, g, stage, block, err);
    if (status == DSV4_OK && s->share != NULL) {
        double share = s->share(s->arg, block);
        d->work.flops_bf16 *= share;
        d->work.ops_i8 *= share;
        d->work.vector_ops *= share;
        d->work.gathered_bytes *= share;
    }
    return status;
}

void rt_describe_deinit(dsv4_describe *d)
{
    vec_free(&d->touches);
}

char *rt_block_text(const dsv4_graph *g, int32_t stage, int64_t block, char *text, size_t size)
{
    snprintf(text, size, "%s block %lld", g->stages.items[stage].name, (long long)block);
    return text;
}

char *rt_touch_text(const dsv4_graph *g, const rt_touch *touch, char *text, size_t size)
{
    static const char *const verb[] = {"touches", "reads", "writes", "updates"};
    const dsv4_box *b = &touch->box;
    snprintf(text, size, "%s %s[%lld:%lld, %lld:%lld]", verb[touch->mode & DSV4_UPDATE], g->views.items[touch->view].name,
             (long long)b->row0, (long long)b->row1, (long long)b->col0, (long long)b->col1);
    return text;
}
