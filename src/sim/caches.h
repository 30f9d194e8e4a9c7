/* sim/caches.h - which bytes each level of a device holds, driven by what blocks read and write.
 *
 * A level but the first keeps the pages (4 KB of addresses) that were used last; of each page the 64-byte sectors that were moved.
 * What is read comes from the nearest level that holds it and is then held by all levels nearer; whole lines are moved. What is
 * written goes to the level that holds it (a cache fetches a line in order to write it, so where it lies decides what that costs;
 * the write bandwidth of a level includes its way back there later). It is then held by the writer's levels and the shared ones,
 * and no longer by those of other cores. Lines that fall out cost nothing more. */
#ifndef SIM_CACHES_H
#define SIM_CACHES_H

#include <stdint.h>

#include "sim/device.h"

enum { SIM_PAGE_SHIFT = 12, SIM_SECTOR_SHIFT = 6 };

typedef struct sim_caches sim_caches;

/* Empty caches for n_cores; NULL without memory. d must outlive them. */
sim_caches *sim_caches_create(const sim_device *d, int n_cores);
void sim_caches_destroy(sim_caches *c);

/* Core `core` reads or writes sectors (bits of mask, not 0) of a page: adds the bytes moved to bytes[level] for the levels that held
 * them. False without memory. */
bool sim_caches_touch(sim_caches *c, int core, int64_t page, uint64_t mask, bool is_write, double bytes[SIM_MAX_LEVELS]);

#endif
