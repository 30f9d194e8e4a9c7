/* rt/infer.h - edges from boxes. */
#ifndef RT_INFER_H
#define RT_INFER_H

#include "rt/graph.h"

typedef struct rt_edge {
    int32_t from, to; /* task ids while sealing: blocks in program order, then joins */
} rt_edge;

typedef struct rt_edges {
    VEC(rt_edge) edges;
    int64_t n_tasks; /* blocks and joins */
    int64_t n_boxes; /* declared by all blocks */
} rt_edges;

/* All edges of the graph: inferred from its boxes at the given granularity, and declared. Costs in cost_ns [n_blocks] come from the
 * same walk. Zeroed storage; the caller frees out->edges also after a failure. */
DSV4_MUST_CHECK dsv4_status rt_infer_edges(const dsv4_graph *g, dsv4_deps deps, rt_edges *out, double *cost_ns, dsv4_error *err);

#endif
