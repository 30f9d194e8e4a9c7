/* rt/accesses.h - what every block of a graph touches, as ids of distinct boxes: what inference walks over.
 *
 * Untracked accesses and blocks of manual regions are left out. Within a block reads come first, its own writes last. */
#ifndef RT_ACCESSES_H
#define RT_ACCESSES_H

#include "rt/boxset.h"

typedef struct rt_access {
    int32_t box;
    bool is_write;
} rt_access;

typedef struct rt_accesses {
    rt_boxset boxes; /* indexed, every box inactive */
    VEC(rt_access) list;
    int64_t *first;      /* [n_blocks + 1]: block b in program order has the accesses [first[b], first[b + 1]) */
    int64_t n_described; /* boxes that blocks declared, left out or not */
} rt_accesses;

/* Describes every block once. With DSV4_DEPS_TENSOR each box is widened to its memory region. cost_ns [n_blocks] receives the
 * blocks' nominal costs. Zeroed storage; deinit always. */
DSV4_MUST_CHECK dsv4_status rt_accesses_collect(const dsv4_graph *g, dsv4_deps deps, rt_accesses *out, double *cost_ns,
                                                dsv4_error *err);
void rt_accesses_deinit(rt_accesses *a);

#endif
