/* sim/cost.h - what one block needs of a core: arithmetic, bytes by level; and how long that takes at given bandwidths. */
#ifndef SIM_COST_H
#define SIM_COST_H

#include "sim/caches.h"
#include "trace/trace.h"

/* A bandwidth each: reads of level l, writes of level l. */
enum { SIM_N_FLOWS = 2 * SIM_MAX_LEVELS };
static inline int sim_read_flow(int level)
{
    return 2 * level;
}
static inline int sim_write_flow(int level)
{
    return 2 * level + 1;
}

/* Bytes a second of each flow: what a core has, or all of them together. INFINITY: costs nothing. */
typedef struct sim_bandwidth {
    double bytes_s[SIM_N_FLOWS];
    bool is_short; /* cores ask for more than there is */
} sim_bandwidth;

/* What one core gets at most, and all together; for a level of each core, all together is INFINITY. */
sim_bandwidth sim_core_bandwidth(const sim_device *d);
sim_bandwidth sim_total_bandwidth(const sim_device *d);

typedef struct sim_cost {
    double arithmetic_s;
    double bytes[SIM_N_FLOWS]; /* whole lines */
    double gathered_bytes;     /* of these, read within untracked boxes, from level gathered_level */
    int gathered_level;
    double latency_s;    /* of the farthest level that it reads from; 0 where it reads nothing that costs */
    double steps, ahead; /* of a tiled product; steps 0: streamed */
    double wanted_bytes; /* what the boxes hold */
} sim_cost;

/* Seconds that a block's transfers take alone, and the block. */
double sim_cost_transfer_s(const sim_cost *c, const sim_bandwidth *bandwidth);
double sim_cost_seconds(const sim_device *d, const sim_cost *c, const sim_bandwidth *bandwidth);

/* Seconds of arithmetic on a core of a kind; negative where it cannot do a type that the block needs. */
double sim_arithmetic_s(const sim_core_kind *core, const dsv4_work *work);

/* Fills out, and moves through the caches what the block touches. False without memory. */
bool sim_cost_of_block(const sim_device *d, const trace_graph *g, const trace_task *task, const sim_core_kind *kind, int core,
                       sim_caches *caches, sim_cost *out);

/* Pages that the tracked boxes of all blocks touch, one for each run of bytes in it: how long the caches take. */
double sim_count_pages(const trace_graph *g);

#endif
