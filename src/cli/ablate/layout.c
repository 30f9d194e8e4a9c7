/* cli/ablate/layout.c - where a device would put the memory of a graph: each tensor at the beginning of a page, in order.
 *
 * Addresses of this process begin anywhere in a line of the device and differ from run to run; on the device tensors are aligned, and
 * the same graph moves the same lines. */
#include <stdlib.h>

#include "cli/ablate/layout.h"

enum { PAGE = 4096 };

static int64_t view_bytes(const trace_view *v)
{
    return v->rows > 0 ? (v->rows - 1) * v->row_bytes + v->cols * v->elem_bytes : 0;
}

static int compare_views(const void *a, const void *b)
{
    const trace_view *x = *(const trace_view *const *)a, *y = *(const trace_view *const *)b;
    return (x->address > y->address) - (x->address < y->address);
}

/* Views that share bytes move together. */
static void place(trace_view **views, int64_t n)
{
    int64_t first = 0, end = 0, base = 0, next = PAGE;
    for (int64_t i = 0; i < n; i++) {
        int64_t address = views[i]->address, last = address + view_bytes(views[i]);
        if (i == 0 || address >= end) {
            first = end = address;
            base = next;
        }
        end = last > end ? last : end;
        next = base + (end - first + 2 * PAGE - 1) / PAGE * PAGE;
        views[i]->address = base + (address - first);
    }
}

dsv4_status layout_place(trace_graph *g, dsv4_error *err)
{
    trace_view **views = calloc((size_t)g->n_views + 1, sizeof *views);
    if (views == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to place its tensors", g->name);
    }
    for (int64_t i = 0; i < g->n_views; i++) {
        views[i] = &g->views[i];
    }
    qsort(views, (size_t)g->n_views, sizeof *views, compare_views);
    place(views, g->n_views);
    free(views);
    return DSV4_OK;
}
