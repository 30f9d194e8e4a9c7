/* cli/bench/peers/barrier.h - the peer of an operator: its stages as OpenMP loops with barriers between them, its products by
 * oneDNN.
 *
 * What runs is the same graph: stage after stage in program order, each an `omp parallel for` over the same blocks, which ends with
 * a barrier; a stage of one block runs on the caller. A stage that multiplies by packed weights is one call of oneDNN instead: BF16
 * x BF16 -> FP32, FP32 x FP32 -> FP32 or U8 x S8 -> S32, of the same rows, columns and depth (padded as ours are), on oneDNN's own
 * OpenMP loops, with weights of as many bytes in the layout that it prefers.
 *
 * The work is equal, or less for the peer: its products leave their sums in buffers of their own, and what our stage does to sums
 * in the same block (heads are scaled, normalised and rotated, out.proj_b scales and adds them, signed activations are corrected by
 * column sums) the peer does not do. So the stages behind a product go on with the sums of the last run of the graph itself.
 * Activations of its products are constants: what a product costs does not depend on them. */
#ifndef CLI_BENCH_PEERS_BARRIER_H
#define CLI_BENCH_PEERS_BARRIER_H

#include "dsv4/graph.h"

typedef struct bench_barrier bench_barrier;

/* Of a sealed graph that has run at least once. For n_threads, whose team bench_peers_begin starts. The graph
 * must outlive it. The caller closes it (NULL allowed there). */
DSV4_MUST_CHECK dsv4_status bench_barrier_open(const dsv4_graph *g, int n_threads, bench_barrier **out, dsv4_error *err);
void bench_barrier_close(bench_barrier *b);

/* Runs all stages once. One thread calls, while no pool runs. */
void bench_barrier_run(const bench_barrier *b);

/* Of its stages, those that oneDNN computes, and the bytes of their weights. */
int bench_barrier_n_products(const bench_barrier *b);
double bench_barrier_weight_bytes(const bench_barrier *b);

#endif
