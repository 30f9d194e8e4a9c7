/* cli/bench/views.h - what a graph does with the memory of its views: which of them bring something in, which pass something on. */
#ifndef CLI_BENCH_VIEWS_H
#define CLI_BENCH_VIEWS_H

#include "rt/graph.h"

/* Through this view or through another one that shares bytes with it. */
typedef struct bench_view_use {
    bool is_read, is_written;
} bench_view_use;

/* Fills uses[0 .. number of views), zeroed before. */
DSV4_MUST_CHECK dsv4_status bench_view_uses(const dsv4_graph *g, bench_view_use *uses, dsv4_error *err);

#endif
