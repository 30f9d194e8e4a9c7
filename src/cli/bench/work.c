#include "cli/bench/work.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"

/* Spins by the clock: the total is known without calibration, whatever frequency the core runs at. */
void bench_block(const void *arg, int64_t block, void *scratch)
{
    const bench_stage *s = arg;
    (void)scratch;
    if (s->spin_s != NULL) {
        double end_s = clock_s() + s->spin_s[block];
        while (clock_s() < end_s) {
        }
    }
    s->mine[block].n_runs++;
}

static void describe_block(const void *arg, int64_t block, dsv4_describe *d)
{
    const bench_stage *s = arg;
    int64_t begin = block, end = block + 1;
    if (s->pattern == BENCH_ALL) {
        begin = 0;
        end = s->n_blocks;
    } else if (s->pattern == BENCH_NEIGHBOURS) {
        begin -= begin > 0;
        end += end < s->n_blocks;
    }
    if (s->pattern != BENCH_FREE) {
        dsv4_reads(d, s->view, s->index, s->index + 1, begin, end);
    }
    dsv4_updates(d, s->view, s->index + 1, s->index + 2, block, block + 1);
}

static dsv4_status build_graph(bench_work *w, dsv4_error *err)
{
    const bench_spec *spec = &w->spec;
    w->graph = dsv4_graph_create(spec->name);
    if (w->graph == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench %s: no memory for a graph", spec->name);
    }
    dsv4_view view = dsv4_graph_view(w->graph, "cells", w->cells, spec->n_stages + 1, spec->n_blocks, sizeof *w->cells,
                                     (size_t)spec->n_blocks * sizeof *w->cells);
    for (int64_t s = 0; s < spec->n_stages; s++) {
        w->stages[s].view = view;
        dsv4_graph_stage(w->graph, &(dsv4_stage_desc){.name = spec->name,
                                                      .n_blocks = spec->n_blocks,
                                                      .run = bench_block,
                                                      .describe = describe_block,
                                                      .arg = &w->stages[s]});
    }
    return dsv4_graph_seal(w->graph, DSV4_DEPS_BLOCK, err);
}

static void draw_spins(bench_work *w)
{
    rng r = {1, rng_stream(w->spec.name)};
    for (int64_t i = 0; i < w->spec.n_stages * w->spec.n_blocks; i++) {
        w->spin_s[i] = rng_uniform(&r, (uint64_t)i, w->spec.spin_lo_s, w->spec.spin_hi_s);
        w->total_spin_s += w->spin_s[i];
    }
}

dsv4_status bench_work_init(bench_work *w, const bench_spec *spec, dsv4_error *err)
{
    size_t n_cells = (size_t)((spec->n_stages + 1) * spec->n_blocks);
    bool spins = spec->spin_hi_s > 0;
    w->spec = *spec;
    w->stages = calloc((size_t)spec->n_stages, sizeof *w->stages);
    w->cells = aligned_alloc(_Alignof(bench_cell), n_cells * sizeof *w->cells);
    w->spin_s = calloc(n_cells, sizeof *w->spin_s);
    if (w->stages == NULL || w->cells == NULL || w->spin_s == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench %s: no memory for its cells", spec->name);
    }
    memset(w->cells, 0, n_cells * sizeof *w->cells);
    if (spins) {
        draw_spins(w);
    }
    for (int64_t s = 0; s < spec->n_stages; s++) {
        bench_cell *before = w->cells + s * spec->n_blocks;
        w->stages[s] = (bench_stage){.pattern = spec->pattern,
                                     .index = s,
                                     .n_blocks = spec->n_blocks,
                                     .before = before,
                                     .mine = before + spec->n_blocks,
                                     .spin_s = spins ? w->spin_s + s * spec->n_blocks : NULL};
    }
    return build_graph(w, err);
}

void bench_work_deinit(bench_work *w)
{
    dsv4_graph_destroy(w->graph);
    free(w->stages);
    free(w->cells);
    free(w->spin_s);
    *w = (bench_work){0};
}

int64_t bench_work_n_runs(const bench_work *w)
{
    int64_t total = 0;
    for (int64_t i = 0; i < (w->spec.n_stages + 1) * w->spec.n_blocks; i++) {
        total += w->cells[i].n_runs;
    }
    return total;
}
