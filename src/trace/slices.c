#include "trace/slices.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "rt/vec.h"

static const double narrow = 2;   /* pixels */
static const double least = 1e-6; /* of a pixel, below which it is rounding, or a block that took no time */

/* One lane at a time; events come in order of time, so that one column is open at most. */
typedef struct summing {
    trace_slices *out;
    int32_t lane;
    int64_t column;       /* that is open; -1: none */
    double filled;        /* of it */
    double *row_filled;   /* [n_rows], 0 where not in seen */
    int32_t *seen;        /* [n_rows] */
    int64_t n_seen, last; /* slice that the next column may join; -1: none */
    bool failed;
} summing;

static void add(summing *s, trace_slice slice)
{
    if (!vec_reserve_bytes(&s->out->items, &s->out->capacity, s->out->n + 1, sizeof slice)) {
        s->failed = true;
        return;
    }
    s->out->items[s->out->n++] = slice;
}

static void close_column(summing *s)
{
    int32_t best = s->n_seen > 0 ? s->seen[0] : 0;
    for (int64_t i = 0; i < s->n_seen; i++) {
        best = s->row_filled[s->seen[i]] > s->row_filled[best] ? s->seen[i] : best;
    }
    if (s->n_seen > 0 && s->column >= 0) {
        double quarters = ceil(s->filled * TRACE_QUARTERS - 0.1);
        int32_t density = quarters < 1 ? 1 : quarters > TRACE_QUARTERS ? TRACE_QUARTERS : (int32_t)quarters;
        trace_slice *last = s->last >= 0 ? &s->out->items[s->last] : NULL;
        if (last != NULL && last->row == best && last->density == density && last->x + last->width == (double)s->column) {
            last->width += 1;
        } else {
            add(s, (trace_slice){(double)s->column, 1, s->lane, best, density});
            s->last = s->out->n - 1;
        }
    }
    for (int64_t i = 0; i < s->n_seen; i++) {
        s->row_filled[s->seen[i]] = 0;
    }
    s->n_seen = 0;
    s->filled = 0;
    s->column = -1;
}

static void fill(summing *s, int64_t column, double share, int32_t row)
{
    if (column != s->column) {
        close_column(s);
        s->column = column;
    }
    if (s->row_filled[row] == 0) {
        s->seen[s->n_seen++] = row;
    }
    s->row_filled[row] += share;
    s->filled += share;
}

/* A block from pixel a to pixel b, clipped to the columns. */
static void add_block(summing *s, double a, double b, int32_t row, int n_columns)
{
    bool is_wide = b - a >= narrow;
    a = a < 0 ? 0 : a;
    b = b > n_columns ? n_columns : b;
    if (is_wide) {
        close_column(s);
        add(s, (trace_slice){a, b - a, s->lane, row, TRACE_QUARTERS});
        s->last = -1;
    }
    for (int64_t c = (int64_t)a; c < n_columns && (double)c <= b; c++) {
        double share = fmax(0, fmin(b, (double)c + 1) - fmax(a, (double)c));
        s->out->running[c] += share;
        if (!is_wide && (share > least || b - a <= least)) {
            fill(s, c, fmax(share, least), row);
        }
    }
}

static int by_colour(const void *a, const void *b)
{
    const trace_slice *x = a, *y = b;
    if (x->row != y->row) {
        return x->row < y->row ? -1 : 1;
    }
    if (x->density != y->density) {
        return x->density < y->density ? -1 : 1;
    }
    return x->lane != y->lane ? (x->lane < y->lane ? -1 : 1) : (x->x > y->x) - (x->x < y->x);
}

static void add_events(summing *s, const trace *t, const trace_look *look, double begin_s, double end_s, int n_columns)
{
    double scale = n_columns / (end_s - begin_s);
    for (int64_t i = 0; i < t->run.n_events && !s->failed; i++) {
        const trace_event *e = &t->run.events[i];
        int32_t row = (int32_t)look->row_of[t->graph.tasks[e->task].stage];
        if (e->worker != s->lane) {
            close_column(s);
            s->lane = e->worker;
            s->last = -1;
        }
        if (e->end_s >= begin_s && e->start_s < end_s) {
            s->out->row_s[row] += fmin(e->end_s, end_s) - fmax(e->start_s, begin_s);
            add_block(s, (e->start_s - begin_s) * scale, (e->end_s - begin_s) * scale, row, n_columns);
        }
    }
    close_column(s);
}

dsv4_status trace_slices_init(trace_slices *slices, const trace *t, const trace_look *look, double begin_s, double end_s,
                              int n_columns, dsv4_error *err)
{
    summing s = {.out = slices,
                 .lane = TRACE_NONE,
                 .column = -1,
                 .last = -1,
                 .row_filled = memory_zeroed_array((size_t)look->n_rows, sizeof *s.row_filled),
                 .seen = memory_array((size_t)look->n_rows, sizeof *s.seen)};
    *slices = (trace_slices){.row_s = memory_zeroed_array((size_t)look->n_rows, sizeof *slices->row_s),
                             .running = memory_zeroed_array((size_t)n_columns, sizeof *slices->running)};
    s.failed = s.row_filled == NULL || s.seen == NULL || slices->row_s == NULL || slices->running == NULL;
    if (!s.failed) {
        add_events(&s, t, look, begin_s, end_s, n_columns);
    }
    free(s.row_filled);
    free(s.seen);
    if (s.failed) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory to draw %lld blocks", (long long)t->run.n_events);
    }
    if (slices->n > 0) {
        qsort(slices->items, (size_t)slices->n, sizeof *slices->items, by_colour);
    }
    return DSV4_OK;
}

void trace_slices_deinit(trace_slices *s)
{
    free(s->items);
    free(s->row_s);
    free(s->running);
    *s = (trace_slices){0};
}
