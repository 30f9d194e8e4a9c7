/* sim/share.h - how fast blocks that run beside each other get on: the bandwidth of a shared level is divided fairly.
 *
 * A core takes at most its own bandwidth, and no more of a level than its block needs on average while it runs. Where all together
 * need more than the level gives, none gets more than a common share, as large as possible. */
#ifndef SIM_SHARE_H
#define SIM_SHARE_H

#include "sim/cost.h"

typedef struct sim_running {
    const sim_cost *cost; /* NULL: runs nothing */
    double rate;          /* parts of the block per second: filled */
} sim_running;

/* Fills the rates of cores that run something. core, total: sim_core_bandwidth, sim_total_bandwidth of d. */
void sim_share(const sim_device *d, const sim_bandwidth *core, const sim_bandwidth *total, sim_running *running, int n);

#endif
