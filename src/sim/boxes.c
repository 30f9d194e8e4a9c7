/* sim/boxes.c - the bytes of a block's boxes on their way through the levels.
 *
 * TRACKED boxes are walked: each row is a run of bytes, of which every page and sector goes through the caches.
 * UNTRACKED boxes hold rows that are known only when a block runs; of them it reads gathered_bytes, whole rows and thus whole lines,
 * from the nearest level that is as large as their views. */
#include <math.h>

#include "sim/cost.h"

enum { SECTORS = 1 << (SIM_PAGE_SHIFT - SIM_SECTOR_SHIFT) };

/* Runs of one box, gathered while they fall into the same page. */
typedef struct walk {
    sim_caches *caches;
    int core;
    bool is_write;
    int64_t page;
    uint64_t mask;
    double bytes[SIM_MAX_LEVELS];
} walk;

static bool flush(walk *w)
{
    uint64_t mask = w->mask;
    w->mask = 0;
    return mask == 0 || sim_caches_touch(w->caches, w->core, w->page, mask, w->is_write, w->bytes);
}

static bool walk_run(walk *w, int64_t begin, int64_t end)
{
    int64_t sector = begin >> SIM_SECTOR_SHIFT, last = (end - 1) >> SIM_SECTOR_SHIFT;
    bool ok = true;
    while (sector <= last && ok) {
        int64_t page = sector / SECTORS, in_page = sector % SECTORS;
        int64_t n = last - sector + 1 < SECTORS - in_page ? last - sector + 1 : SECTORS - in_page;
        if (page != w->page) {
            ok = flush(w);
            w->page = page;
        }
        w->mask |= (n == SECTORS ? UINT64_MAX : (UINT64_C(1) << n) - 1) << in_page;
        sector += n;
    }
    return ok;
}

/* A box as runs of bytes: rows without gaps between them are one. */
typedef struct runs {
    int64_t begin, n, run_bytes, step_bytes;
} runs;

static runs runs_of(const trace_graph *g, const trace_touch *t)
{
    const trace_view *v = &g->views[t->view];
    int64_t rows = t->box.row1 - t->box.row0, bytes = (t->box.col1 - t->box.col0) * v->elem_bytes;
    int64_t begin = v->address + t->box.row0 * v->row_bytes + t->box.col0 * v->elem_bytes;
    if (rows > 1 && bytes == v->row_bytes) {
        return (runs){begin, 1, bytes * rows, 0};
    }
    return (runs){begin, rows, bytes, v->row_bytes};
}

static bool walk_box(walk *w, const runs *r)
{
    bool ok = true;
    for (int64_t i = 0; i < r->n && ok; i++) {
        ok = walk_run(w, r->begin + i * r->step_bytes, r->begin + i * r->step_bytes + r->run_bytes);
    }
    return ok && flush(w);
}

double sim_count_pages(const trace_graph *g)
{
    double pages = 0;
    for (int64_t i = 0; i < g->n_touches; i++) {
        if ((g->touches[i].mode & DSV4_UNTRACKED) == 0) {
            runs r = runs_of(g, &g->touches[i]);
            pages += (double)r.n * ((double)(r.run_bytes >> SIM_PAGE_SHIFT) + 1);
        }
    }
    return pages;
}

/* ---- of a block -------------------------------------------------------------------------------------------------------------- */

static bool add_tracked(const trace_graph *g, const trace_touch *t, int access, int core, sim_caches *caches, sim_cost *out)
{
    walk w = {.caches = caches, .core = core, .is_write = access == DSV4_WRITE, .page = INT64_MIN};
    if ((t->mode & access) == 0) {
        return true;
    }
    runs r = runs_of(g, t);
    bool ok = walk_box(&w, &r);
    for (int l = 0; l < SIM_MAX_LEVELS; l++) {
        out->bytes[access == DSV4_WRITE ? sim_write_flow(l) : sim_read_flow(l)] += w.bytes[l];
    }
    out->wanted_bytes += (double)r.n * (double)r.run_bytes;
    return ok;
}

/* The nearest level that could hold so many bytes. */
static int level_for(const sim_device *d, double bytes)
{
    int l = d->n_levels - 1;
    while (l > 0 && d->levels[l].bytes < bytes) {
        l--;
    }
    return l;
}

static void add_gathered(const sim_device *d, const trace_graph *g, const trace_task *task, sim_cost *out)
{
    double view_bytes = 0, box_bytes = 0, n_rows = 0;
    for (int64_t i = task->touch; i < task->touch_end; i++) {
        const trace_touch *t = &g->touches[i];
        const trace_view *v = &g->views[t->view];
        if ((t->mode & DSV4_UNTRACKED) != 0 && (t->mode & DSV4_READ) != 0) {
            double rows = (double)(t->box.row1 - t->box.row0);
            view_bytes += (double)v->rows * (double)v->row_bytes;
            box_bytes += rows * (double)(t->box.col1 - t->box.col0) * (double)v->elem_bytes;
            n_rows += rows;
        }
    }
    if (n_rows == 0 || task->work.gathered_bytes <= 0) {
        return;
    }
    int l = level_for(d, view_bytes);
    double row = box_bytes / n_rows, line = d->levels[l].line_bytes;
    out->gathered_level = l;
    out->gathered_bytes = task->work.gathered_bytes * ceil(row / line) * line / row;
    out->bytes[sim_read_flow(l)] += out->gathered_bytes;
    out->wanted_bytes += task->work.gathered_bytes;
}

/* Seconds before the first byte comes: of the farthest level that is read. */
static double latency_of(const sim_device *d, const sim_cost *c)
{
    for (int l = 0; l < d->n_levels; l++) {
        if (c->bytes[sim_read_flow(l)] > 0) {
            return d->levels[l].read_bytes_s > 0 ? d->levels[l].latency_s : 0;
        }
    }
    return 0;
}

bool sim_cost_of_block(const sim_device *d, const trace_graph *g, const trace_task *task, const sim_core_kind *kind, int core,
                       sim_caches *caches, sim_cost *out)
{
    const dsv4_product *p = &task->work.product;
    bool ok = true;
    *out = (sim_cost){.arithmetic_s = sim_arithmetic_s(kind, &task->work)};
    for (int64_t i = task->touch; i < task->touch_end && ok; i++) {
        if ((g->touches[i].mode & DSV4_UNTRACKED) == 0) {
            ok = add_tracked(g, &g->touches[i], DSV4_READ, core, caches, out);
        }
    }
    for (int64_t i = task->touch; i < task->touch_end && ok; i++) {
        if ((g->touches[i].mode & DSV4_UNTRACKED) == 0) {
            ok = add_tracked(g, &g->touches[i], DSV4_WRITE, core, caches, out);
        }
    }
    add_gathered(d, g, task, out);
    out->latency_s = latency_of(d, out);
    if (p->k > 0 && p->k_tile > 0) {
        out->steps = ceil((double)p->k / (double)p->k_tile);
        out->ahead = p->ahead > 0 ? (double)p->ahead : 2;
    }
    return ok;
}
