/* rt/verify.h - the two halves of dsv4_graph_verify. */
#ifndef RT_VERIFY_H
#define RT_VERIFY_H

#include "rt/graph.h"

/* Findings so far; the first one is kept in words. */
typedef struct rt_findings {
    int64_t n;
    dsv4_error first;
} rt_findings;

/* Pairs of blocks that touch the same byte, one writing, with no path of edges between them. Looks at every declared box, also
 * untracked ones and those of manual regions. Fails only without memory. */
DSV4_MUST_CHECK dsv4_status rt_verify_order(const dsv4_graph *g, rt_findings *found, dsv4_error *err);

/* Blocks that write undeclared bytes or read undeclared ones: runs the graph, see verify_touch.c. */
DSV4_MUST_CHECK dsv4_status rt_verify_touches(const dsv4_graph *g, uint64_t seed, rt_findings *found, dsv4_error *err);

#endif
