/* ops/compress_plan.h - one step of a compressor with every row resolved. Internal to compress*.c.
 *
 * The integers of a step come from outside and may be anything. The plan stage checks them all and writes rows that are in range;
 * the stages behind it read nothing else. The plan of a refused step is empty: no token is written, no window ends. */
#ifndef OPS_COMPRESS_PLAN_H
#define OPS_COMPRESS_PLAN_H

#include "ops/compress.h"
#include "ops/verdict.h"

/* A window that ends in the step. */
typedef struct op_window {
    int64_t token;      /* that ends it; -1: there is no window, and of the other members pooled_row alone means something */
    int64_t cache_row;  /* -1: the cache is not written */
    int64_t pooled_row; /* of op_compress.pooled, cleared where there is no window; -1: none */
    int64_t turn_row;
} op_window;

struct op_compress_plan {
    op_compress a;
    int64_t T, out; /* tokens; columns of the projections: OUT */
    int64_t span;   /* positions that a pooled row covers: 2*ratio where windows overlap, else ratio */
    int64_t windows_per_request;
    op_matrix token_rows; /* I64 [1, T]: state row of the token; -1: it is not written */
    op_matrix ape_rows;   /* I32 [1, T]: position % ratio, where token_rows is not -1 */
    op_matrix windows;    /* op_window [windows, 1]: those of a request in order of their last tokens */
    op_matrix entries;    /* I64 [windows, span]: state rows by ascending position; -1: absent */
    op_verdict verdict;
};

/* Windows overlap: a pooled row takes the window before as well, from the first half of the columns. */
static inline bool op_compress_overlaps(const op_compress *a)
{
    return a->ratio == 4;
}

static inline const op_window *op_window_at(const op_compress_plan *p, int64_t window)
{
    return (const op_window *)p->windows.data + window;
}

#endif
