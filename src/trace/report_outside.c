#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "rt/vec.h"
#include "trace/report_parts.h"

enum { MAX_PIECES = 1 << 23 };

/* ---- views ------------------------------------------------------------------------------------------------------------------- */

/* What is done with the memory of a view, through it or through views that share bytes with it. */
typedef struct view_use {
    bool is_read, is_written;
} view_use;

typedef struct view_span {
    int64_t begin, end;
    int32_t view;
} view_span;

static int compare_spans(const void *a, const void *b)
{
    const view_span *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin) : (x->view > y->view) - (x->view < y->view);
}

/* Views that share bytes, directly or through others, become alike. */
static void unite(const view_span *spans, int64_t n, view_use *uses)
{
    for (int64_t first = 0, end; first < n; first = end) {
        int64_t reach = spans[first].end;
        view_use all = uses[spans[first].view];
        for (end = first + 1; end < n && spans[end].begin < reach; end++) {
            reach = spans[end].end > reach ? spans[end].end : reach;
            all.is_read |= uses[spans[end].view].is_read;
            all.is_written |= uses[spans[end].view].is_written;
        }
        for (int64_t i = first; i < end; i++) {
            uses[spans[i].view] = all;
        }
    }
}

/* uses[n_views], zeroed before; false without memory. */
static bool find_uses(const trace_graph *g, view_use *uses)
{
    view_span *spans = memory_array((size_t)g->n_views, sizeof *spans);
    if (spans == NULL) {
        return false;
    }
    for (int32_t v = 0; v < g->n_views; v++) {
        const trace_view *view = &g->views[v];
        spans[v] = (view_span){view->address, view->address + view->rows * view->row_bytes, v};
    }
    for (int64_t i = 0; i < g->n_touches; i++) {
        uses[g->touches[i].view].is_read |= (g->touches[i].mode & DSV4_READ) != 0;
        uses[g->touches[i].view].is_written |= (g->touches[i].mode & DSV4_WRITE) != 0;
    }
    qsort(spans, (size_t)g->n_views, sizeof *spans, compare_spans);
    unite(spans, g->n_views, uses);
    free(spans);
    return true;
}

/* ---- pieces of memory -------------------------------------------------------------------------------------------------------- */

typedef struct piece {
    int64_t begin, end;
    int32_t row;
} piece;

typedef VEC(piece) piece_vec;

static int compare_pieces(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin) : (x->row > y->row) - (x->row < y->row);
}

/* Adds the rows of a box; false without memory. *known turns false where there are too many. */
static bool add_box(piece_vec *v, const trace_view *view, const dsv4_box *b, int32_t row, bool *known)
{
    int64_t first = view->address + b->row0 * view->row_bytes + b->col0 * view->elem_bytes, n = b->row1 - b->row0,
            width = (b->col1 - b->col0) * view->elem_bytes;
    if (n <= 0 || width <= 0) {
        return true;
    }
    if (width == view->row_bytes) {
        return vec_push(v, ((piece){first, first + n * width, row}));
    }
    *known = *known && n <= MAX_PIECES - v->n;
    bool has_memory = true;
    for (int64_t i = 0; i < n && *known && has_memory; i++) {
        has_memory = vec_push(v, ((piece){first + i * view->row_bytes, first + i * view->row_bytes + width, row}));
    }
    return has_memory;
}

/* Inputs are read and never written, outputs written and never read. */
static bool gather_pieces(const trace_graph *g, const int32_t *row_of, const view_use *uses, piece_vec *v, bool *known)
{
    bool has_memory = true;
    for (int64_t n = 0; n < g->n_tasks && *known && has_memory; n++) {
        const trace_task *task = &g->tasks[n];
        for (int64_t i = task->touch; i < task->touch_end && *known && has_memory; i++) {
            const trace_touch *t = &g->touches[i];
            if ((t->mode & DSV4_UNTRACKED) == 0 && uses[t->view].is_read != uses[t->view].is_written && task->stage != TRACE_NONE) {
                has_memory = add_box(v, &g->views[t->view], &t->box, row_of[task->stage], known);
            }
        }
    }
    return has_memory;
}

/* ---- the first row to touch a byte ------------------------------------------------------------------------------------------- */

static void heap_push(piece *heap, int64_t n, piece p)
{
    for (; n > 0 && heap[(n - 1) / 2].row > p.row; n = (n - 1) / 2) {
        heap[n] = heap[(n - 1) / 2];
    }
    heap[n] = p;
}

/* Takes the first of n pieces away. */
static void heap_pop(piece *heap, int64_t n)
{
    piece p = heap[n - 1];
    int64_t at = 0;
    for (int64_t child = 1; child < n - 1; child = 2 * at + 1) {
        child += child + 1 < n - 1 && heap[child + 1].row < heap[child].row;
        if (heap[child].row >= p.row) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = p;
}

/* pieces ascending; heap[n]. A byte counts for the first of the rows that cover it. */
static void count_bytes(const piece *pieces, int64_t n, piece *heap, double *bytes)
{
    int64_t n_heap = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = pieces[i].begin, next = i + 1 < n ? pieces[i + 1].begin : INT64_MAX;
        heap_push(heap, n_heap++, pieces[i]);
        while (n_heap > 0 && at < next) {
            if (heap[0].end <= at) {
                heap_pop(heap, n_heap--);
                continue;
            }
            int64_t end = heap[0].end < next ? heap[0].end : next;
            bytes[heap[0].row] += (double)(end - at);
            at = end;
        }
    }
}

dsv4_status trace_outside_bytes(const trace_graph *g, const int32_t *row_of, int64_t n_rows, double *bytes, bool *known,
                                dsv4_error *err)
{
    view_use *uses = memory_zeroed_array((size_t)g->n_views, sizeof *uses);
    piece_vec pieces = {0};
    bool ok = uses != NULL && find_uses(g, uses);
    *known = true;
    ok = ok && gather_pieces(g, row_of, uses, &pieces, known);
    piece *heap = ok && *known ? memory_array((size_t)pieces.n, sizeof *heap) : NULL;
    if (heap != NULL && pieces.n > 0) {
        qsort(pieces.items, (size_t)pieces.n, sizeof *pieces.items, compare_pieces);
        count_bytes(pieces.items, pieces.n, heap, bytes);
    }
    ok = ok && (heap != NULL || !*known);
    free(heap);
    free(uses);
    vec_free(&pieces);
    return ok ? DSV4_OK
              : dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory for the bytes of %lld stages", g->name, (long long)n_rows);
}
