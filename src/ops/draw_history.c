/* ops/draw_history.c - compressor states and caches as earlier steps left them (SPEC 8). What no earlier step wrote is zero, or has
 * a score without weight. */
#include <float.h>
#include <math.h>

#include "ops/draw.h"

/* Rows of a state are its last extent, those of a cache [pages, BS, 1, d] too. */
static int64_t rows_of(const dsv4_tensor *t)
{
    const int64_t cols = fix_columns(t);
    return cols > 0 ? dsv4_tensor_count(t) / cols : 0;
}

/* Fills the rows [first, first + n) of request b. */
static dsv4_status fill_rows(const op_target *x, const fix_rule *rule, const op_page_map *pages, int64_t b, int64_t first,
                             int64_t n, dsv4_error *err)
{
    const int64_t cols = fix_columns(x->t), n_rows = rows_of(x->t);
    dsv4_status status = DSV4_OK;
    for (int64_t i = first; i < first + n && status == DSV4_OK; i++) {
        const int64_t row = op_page_map_row(pages, b, i);
        if (row < 0 || row >= n_rows) {
            return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: row %lld of request %lld is beyond its table or its %lld rows",
                             x->row->name, (long long)i, (long long)b, (long long)n_rows);
        }
        status = fix_fill_range(x->row->name, rule, x->d->call->seed, x->t, row * cols, cols, err);
    }
    return status;
}

/* Columns [0, cols/2) of a state are kv and stay 0, the others are scores. */
static void fill_scores(dsv4_tensor *t, float score)
{
    const int64_t cols = fix_columns(t), n_rows = rows_of(t);
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t c = cols / 2; c < cols; c++) {
            ((float *)t->data)[row * cols + c] = score;
        }
    }
}

dsv4_status op_draw_empty_state(const op_target *x, dsv4_error *err)
{
    (void)err;
    fill_scores(x->t, -FLT_MAX);
    return DSV4_OK;
}

/* The b positions before the call: U(-a/2, a/2). */
dsv4_status op_draw_history(const op_target *x, dsv4_error *err)
{
    const fix_rule rule = {FIX_UNIFORM, -x->row->fixture.a / 2, x->row->fixture.a / 2, NULL};
    op_page_map pages;
    dsv4_status status = op_state_pages(x, &pages, err);
    for (int64_t b = 0; b < x->d->dims.of[OP_B] && status == DSV4_OK; b++) {
        const int64_t start = x->d->start[b], length = (int64_t)x->row->fixture.b, n = start < length ? start : length;
        status = fill_rows(x, &rule, &pages, b, start - n, n, err);
    }
    return status;
}

/* All positions before the call that the state still holds: N(a). */
dsv4_status op_draw_history_decode(const op_target *x, dsv4_error *err)
{
    const fix_rule rule = {FIX_NORMAL, 0, x->row->fixture.a, NULL};
    const int64_t n_held = rows_of(x->t) / x->d->dims.of[OP_B];
    op_page_map pages;
    dsv4_status status = op_state_pages(x, &pages, err);
    fill_scores(x->t, -INFINITY);
    for (int64_t b = 0; b < x->d->dims.of[OP_B] && status == DSV4_OK; b++) {
        const int64_t start = x->d->start[b], n = start < n_held ? start : n_held;
        status = fill_rows(x, &rule, &pages, b, start - n, n, err);
    }
    return status;
}

/* The windows of b positions that ended before the call: U(-a, a). */
dsv4_status op_draw_cache_rows(const op_target *x, dsv4_error *err)
{
    const fix_rule rule = {FIX_UNIFORM, -x->row->fixture.a, x->row->fixture.a, NULL};
    op_page_map pages;
    dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t b = 0; b < x->d->dims.of[OP_B] && status == DSV4_OK; b++) {
        status = fill_rows(x, &rule, &pages, b, 0, x->d->start[b] / (int64_t)x->row->fixture.b, err);
    }
    return status;
}

/* The last W positions before the call: U(-a, a). The ring holds position p in row p % W. */
dsv4_status op_draw_ring_rows(const op_target *x, dsv4_error *err)
{
    const fix_rule rule = {FIX_UNIFORM, -x->row->fixture.a, x->row->fixture.a, NULL};
    op_page_map pages;
    dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t b = 0; b < x->d->dims.of[OP_B] && status == DSV4_OK; b++) {
        const int64_t start = x->d->start[b], W = x->d->dims.of[OP_W];
        status = fill_rows(x, &rule, &pages, b, 0, start < W ? start : W, err);
    }
    return status;
}
