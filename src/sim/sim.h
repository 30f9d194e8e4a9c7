/* sim/sim.h - replays a graph on the description of a machine, event by event.
 *
 *   device*.c, fields.c  a description      boxes.c, caches.c, pages.c  bytes of a block by level    cost.c   its time
 *   share.c  bandwidth among blocks         engine.c  the clock             workers.c, threads.c  who takes which block
 *   run.c    from arguments to a trace      misfit.c  what does not fit on chip
 *
 * BLOCK     work and boxes of a block -> seconds on a core:
 *             arithmetic  sum over the types: operations / (rate of the core * share of the peak at the product's rows), the product
 *                         rounded up to the unit's steps
 *             transfers   bytes by the level that holds them / its bandwidth, and the latency of the farthest level once; whole
 *                         lines: a run shorter than a line moves all of it. A shared level's bandwidth is divided (share.h)
 *             streamed (k_tile 0)  latency + max of both + (1 - overlap) * min of both
 *                         gathered rows are known when the block runs, nothing requests them ahead: their time is added
 *             tiled       n = k/k_tile steps of loads and arithmetic, `ahead` loads in flight: latency + load + arithmetic +
 *                         (n - 1) * max(arithmetic, load, (latency + arithmetic + load) / ahead); writes come behind
 * CACHES    Each level but the first keeps the pages that were used last, and which 64-byte sectors of each (caches.h). A graph is
 *           replayed `warm` times before the run that counts, so that what stays from replay to replay is there.
 * SCHEDULE  As rt/exec.c does it (own ready set, what the worker has just released first, then steals; priority by task number), or
 *           by scheduler threads that hand the most urgent ready block to a free core of a kind that runs it.
 * One cost model serves all graphs: it knows work, boxes and the device, no operator. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "sim/device.h"
#include "trace/trace.h"

typedef struct sim_options {
    int cores; /* of each kind at most; 0: as described */
    int warm;  /* replays before the one that counts */
} sim_options;

/* A block that does not fit on chip; the largest one of each stage and buffer. */
typedef struct sim_misfit {
    int32_t stage;
    const char *buffer;
    double bytes, excess_bytes;
    int64_t n_blocks;
} sim_misfit;

/* Where the time of a stage's blocks goes, seconds of all of them. */
typedef struct sim_stage {
    double total_s, arithmetic_s, transfer_s; /* the latter two as if the other took no time, and alone on the device */
    double wanted_bytes;                      /* what the boxes hold, and what is gathered */
    double level_bytes[SIM_MAX_LEVELS];       /* moved from and to each level, whole lines */
} sim_stage;

typedef struct sim_result {
    double makespan_s;
    double path_s;                     /* longest chain of blocks, each as long as it took: no less with any number of cores */
    double busy_s[SIM_MAX_CORE_KINDS]; /* of all cores of a kind */
    int n_cores[SIM_MAX_CORE_KINDS];
    sim_stage *stages; /* [n_stages of the graph] */
    sim_misfit *misfits;
    int64_t n_misfits;
} sim_result;

/* Replays t->graph on d: fills t->run (which must be empty) and out, zeroed before; sim_result_deinit always. DSV4_E_UNSUPPORTED where
 * no core of the device runs a stage's kind. The same arguments, the same result. */
DSV4_MUST_CHECK dsv4_status sim_run(const sim_device *d, const sim_options *o, trace *t, sim_result *out, dsv4_error *err);
void sim_result_deinit(sim_result *r);

#endif
