/* cli/bench/bounds.h - how fast the stages of a graph could be on this machine at best.
 *
 * BOUND of a stage = max(bytes / read, arithmetic), ceilings of bench/ceilings.h; arithmetic = INT8 operations / their peak + BF16
 * operations / their peak + elementwise FP32 operations / half the FP32 peak (an fma is one of them), since all of them take turns
 * in the same units. Of a graph: the sum over its stages, the groups of the output projection taken together. A graph that
 * overlaps the arithmetic of a stage with the bytes of another may be faster.
 * BYTES    Each byte that comes from outside of the graph and each that leaves it counts once, in the first stage that touches it:
 *          packed weights, activations, tables, outputs. Of the caches each row that some token attends to or scores counts once.
 *          What passes between stages, states and stores to caches count nothing.
 * WORK     is what the blocks had to do in the last run: keys that tokens do have, not what lists are padded to. Columns that fill up
 *          a panel do not count. */
#ifndef CLI_BENCH_BOUNDS_H
#define CLI_BENCH_BOUNDS_H

#include "cli/bench/calls.h"

/* Stages of one name together. */
typedef struct bench_bound {
    const char *name;
    int64_t n_blocks;
    double time_s; /* of the last run, inside blocks, of all workers together */
    double bytes;
    dsv4_work work;
} bench_bound;

typedef struct bench_bounds {
    bench_bound *stages; /* [n], in program order; those without blocks are left out */
    int64_t n;
} bench_bounds;

/* Of a copy that has run. The caller frees. */
DSV4_MUST_CHECK dsv4_status bench_bounds_find(const launch *l, const dsv4_tensor_list *io, const dsv4_config *config,
                                              const bench_call *call, int64_t context, bench_bounds *out, dsv4_error *err);
void bench_bounds_free(bench_bounds *b);

/* The stages of that name; added behind the others where there are none. There is room for each stage of the graph. */
bench_bound *bench_bounds_stage(bench_bounds *b, const char *name);

typedef enum bench_ceiling { BENCH_READ, BENCH_I8, BENCH_BF16, BENCH_F32, BENCH_NO_CEILING } bench_ceiling;

/* Seconds, and which ceiling binds: of arithmetic the largest part; BENCH_NO_CEILING and 0 for a stage that counts nothing. which
 * may be NULL. */
double bench_bound_s(const bench_bound *stage, const bench_ceilings *c, bench_ceiling *which);

double bench_bounds_total_s(const bench_bounds *b, const bench_ceilings *c);
double bench_bounds_bytes(const bench_bounds *b);
double bench_bounds_ops(const bench_bounds *b);

#endif
