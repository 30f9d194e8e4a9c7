/* cli/bench/model_cost.h - what a step of a whole model must read and compute, from its graph and the routes that it took.
 *
 * BYTES  of a weight count once in the stage that reads it, scales and padding to panels included: all of it where the graph declares
 *        it, of the routed experts those that some token of the step went to. Rows between stages and caches count nothing.
 * WORK   is that of bench/bounds.h, of the routed experts that of the routes. */
#ifndef CLI_BENCH_MODEL_COST_H
#define CLI_BENCH_MODEL_COST_H

#include "cli/bench/bounds.h"
#include "model/graph.h"

/* Of the last run of a graph with a trace; stages of all layers by name. *n_experts is the number of experts that were read, of all
 * layers. The caller frees with bench_bounds_free. */
DSV4_MUST_CHECK dsv4_status model_cost_find(const model_graph *graph, const model_weights *w, bench_bounds *out, int64_t *n_experts,
                                            dsv4_error *err);

/* All stages together, as if it were one: the bound of a graph that overlaps everything. */
bench_bound model_cost_total(const bench_bounds *b);

#endif
