#include "cli/bench/products.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/bench/team.h"
#include "ops/tile.h"

enum { CACHED_BYTES = 512 << 10 /* of weights beside a core: half of a usual L2 */, PATTERN_BYTES = 1 << 20, PAGE = 4096 };
static const double turn_s = 2e-3; /* at least, with enough runs */

void product_init(product *p, const family *f, family_shape shape, int64_t m, int n_workers)
{
    *p = (product){.family = f, .shape = shape, .m = m, .n_runs = 1, .cached = shape.n == FAMILY_CACHED};
    p->panel_bytes = f->panel_bytes(shape.k);
    if (p->cached) {
        int64_t fits = CACHED_BYTES / p->panel_bytes;
        p->shape.n = UK_PANEL * n_workers * (fits > 0 ? fits : 1);
    }
    p->n_panels = tile_count(p->shape.n, UK_PANEL);
    p->run_bytes = shape.n_parts * p->n_panels * p->panel_bytes;
    p->group_rows = m < UK_ROWS ? m : UK_ROWS;
}

size_t product_output_bytes(const product *p)
{
    return (size_t)(p->shape.n_parts * p->m * p->n_panels * UK_PANEL) * sizeof(float);
}

/* ---- drawn values --------------------------------------------------------------------------------------------------------- */

static void draw_words(const family *f, uint64_t stream, uint16_t *words, int64_t n)
{
    rng r = {1, stream};
    for (int64_t i = 0; i < n; i += 8) {
        uint32_t drawn[4];
        rng_words(&r, (uint64_t)i, drawn);
        for (int64_t j = i; j < i + 8 && j < n; j++) {
            words[j] = (uint16_t)((drawn[(j - i) / 2] >> (16 * (j % 2)) & f->keep) | f->set);
        }
    }
}

typedef struct fill_call {
    const product_weights *weights;
    const char *pattern;
} fill_call;

static void fill_part(void *context, int worker, int n_workers)
{
    const fill_call *call = context;
    int64_t n_pages = tile_count(call->weights->n_bytes, PAGE), end = bench_team_begin(n_pages, worker + 1, n_workers) * PAGE;
    for (int64_t at = bench_team_begin(n_pages, worker, n_workers) * PAGE; at < end; at += PAGE) {
        int64_t left = call->weights->n_bytes - at;
        memcpy(call->weights->data + at, call->pattern + at % PATTERN_BYTES, (size_t)(left < PAGE ? left : PAGE));
    }
}

void product_draw_weights(dsv4_pool *pool, const family *f, product_weights *w)
{
    static uint16_t pattern[PATTERN_BYTES / 2];
    draw_words(f, rng_stream("weights"), pattern, PATTERN_BYTES / 2);
    for (int64_t i = 0; f->is_paired && i < PATTERN_BYTES / 2; i++) {
        pattern[i] = (uint16_t)((pattern[i] & 0xff) | (~pattern[i] & 0xff) << 8);
    }
    bench_team_run(pool, fill_part, &(fill_call){w, (const char *)pattern});
}

static dsv4_status pack_acts(product *p, dsv4_error *err)
{
    int64_t n_groups = tile_count(p->m, UK_ROWS), k = p->shape.k;
    p->group_bytes = p->family->acts_bytes(p->setting->uk, p->group_rows, k);
    uint16_t *values = memory_array((size_t)(UK_ROWS * k), sizeof *values);
    p->acts = memory_array((size_t)(p->shape.n_parts * n_groups), (size_t)p->group_bytes);
    if (values == NULL || p->acts == NULL) {
        free(values);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench kernels: no memory for activations");
    }
    for (int64_t g = 0; g < p->shape.n_parts * n_groups; g++) {
        int64_t first = g % n_groups * UK_ROWS, rows = p->m - first < UK_ROWS ? p->m - first : UK_ROWS;
        draw_words(p->family, (uint64_t)g, values, rows * k);
        p->family->tile(p->setting->uk, rows, p->group_rows, k, values, p->acts + g * p->group_bytes);
    }
    free(values);
    return DSV4_OK;
}

/* ---- running -------------------------------------------------------------------------------------------------------------- */

typedef struct turn {
    const product *p;
    int64_t n_runs, first; /* where the first run reads */
} turn;

/* One panel for all rows. */
static void run_panel(const product *p, int64_t part, int64_t panel, const char *weights, void *scratch)
{
    int64_t ld = p->n_panels * UK_PANEL, n_groups = tile_count(p->m, UK_ROWS);
    char *y = (char *)p->setting->y + (part * p->m * ld + panel * UK_PANEL) * (int64_t)sizeof(float);
    for (int64_t t = 0; t < p->m; t += FAMILY_BLOCK_ROWS) {
        uk_acts x = {p->acts + (part * n_groups + t / UK_ROWS) * p->group_bytes,
                     p->m - t < FAMILY_BLOCK_ROWS ? p->m - t : FAMILY_BLOCK_ROWS, p->group_rows, p->group_bytes};
        p->family->run(&(family_product){p->setting->uk, p->shape.k, x, weights + (part * p->n_panels + panel) * p->panel_bytes,
                                         y + t * ld * (int64_t)sizeof(float), ld, scratch});
    }
}

/* Where a run at `at` reads: behind the run before, or at the beginning where the rest is too short. */
static int64_t place(const product *p, int64_t at)
{
    return p->cached || at + p->run_bytes > p->weights->n_bytes ? 0 : at;
}

static void run_part(void *context, int worker, int n_workers)
{
    const turn *t = context;
    const product *p = t->p;
    int64_t n = p->shape.n_parts * p->n_panels, begin = bench_team_begin(n, worker, n_workers),
            end = bench_team_begin(n, worker + 1, n_workers), at = t->first;
    char *scratch = p->setting->scratch + (size_t)worker * p->setting->scratch_bytes;
    for (int64_t run = 0; run < t->n_runs; run++, at += p->run_bytes) {
        at = place(p, at);
        for (int64_t i = begin; i < end; i++) {
            run_panel(p, i / p->n_panels, i % p->n_panels, p->weights->data + at, scratch);
        }
    }
}

/* Seconds of all runs. */
static double run(product *p, int64_t n_runs)
{
    double seconds = bench_team_run(p->setting->pool, run_part, &(turn){p, n_runs, p->weights->next});
    for (int64_t i = 0; i < n_runs; i++) {
        p->weights->next = place(p, p->weights->next) + p->run_bytes;
    }
    return seconds;
}

double product_take_turn(product *p)
{
    run(p, 1);
    return run(p, p->n_runs) / (double)p->n_runs;
}

uint64_t product_checksum(product *p)
{
    p->weights->next = 0;
    run(p, 1);
    return bench_checksum_bytes(BENCH_CHECKSUM_OF_NOTHING, p->setting->y, product_output_bytes(p));
}

dsv4_status product_prepare(product *p, const product_setting *setting, product_weights *weights, dsv4_error *err)
{
    p->setting = setting;
    p->weights = weights;
    dsv4_status status = pack_acts(p, err);
    if (status == DSV4_OK) {
        run(p, 1);
        while (run(p, p->n_runs) < turn_s) {
            p->n_runs *= 2;
        }
    }
    return status;
}

void product_deinit(product *p)
{
    free(p->acts);
}

/* ---- reporting ------------------------------------------------------------------------------------------------------------ */

void product_describe(const product *p, const bench_ceilings *c, bench_row *row)
{
    const family_shape *s = &p->shape;
    double peak = *(const double *)((const char *)c + p->family->peak);
    row->name = p->family->name;
    row->by = p->setting->uk->isa;
    row->weights = p->cached ? "cached" : "cold";
    row->m = p->m;
    row->bytes = (double)p->run_bytes;
    row->ops = 2.0 * (double)p->m * (double)s->k * (double)(s->n * s->n_parts);
    row->bound_s = row->ops / peak;
    if (!p->cached && row->bytes / c->read_bytes_s > row->bound_s) {
        row->bound_s = row->bytes / c->read_bytes_s;
    }
    if (s->n_parts > 1) {
        snprintf(row->shape, sizeof row->shape, "%lldx%lldx%lld", (long long)s->n_parts, (long long)s->k, (long long)s->n);
    } else {
        snprintf(row->shape, sizeof row->shape, "%lldx%lld", (long long)s->k, (long long)s->n);
    }
}
