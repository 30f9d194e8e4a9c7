#include "cli/bench/views.h"

#include <stdlib.h>

static bool share_bytes(const rt_view *a, const rt_view *b)
{
    int64_t a_end = a->address + a->rows * a->row_bytes, b_end = b->address + b->rows * b->row_bytes;
    return a->address < b_end && b->address < a_end;
}

/* Through the view itself. */
static dsv4_status find_own_uses(const dsv4_graph *g, bench_view_use *own, dsv4_error *err)
{
    dsv4_describe d = {0};
    dsv4_status status = DSV4_OK;
    for (int32_t s = 0; s < g->stages.n; s++) {
        for (int64_t b = 0; b < g->stages.items[s].n_blocks && status == DSV4_OK; b++) {
            status = rt_describe_block(&d, g, s, b, err);
            for (int64_t i = 0; i < d.touches.n; i++) {
                const rt_touch *t = &d.touches.items[i];
                own[t->view].is_read |= (t->mode & DSV4_READ) != 0;
                own[t->view].is_written |= (t->mode & DSV4_WRITE) != 0;
            }
        }
    }
    rt_describe_deinit(&d);
    return status;
}

dsv4_status bench_view_uses(const dsv4_graph *g, bench_view_use *uses, dsv4_error *err)
{
    int64_t n = g->views.n;
    bench_view_use *own = calloc((size_t)n + 1, sizeof *own);
    dsv4_status status = own == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %lld views", (long long)n)
                                     : find_own_uses(g, own, err);
    for (int64_t v = 0; v < n && status == DSV4_OK; v++) {
        for (int64_t w = 0; w < n; w++) {
            if (share_bytes(&g->views.items[v], &g->views.items[w])) {
                uses[v].is_read |= own[w].is_read;
                uses[v].is_written |= own[w].is_written;
            }
        }
    }
    free(own);
    return status;
}
