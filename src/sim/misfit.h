/* sim/misfit.h - blocks that do not fit into the buffers of the cores that run them. */
#ifndef SIM_MISFIT_H
#define SIM_MISFIT_H

#include "sim/sim.h"

/* Fills out->misfits, by stage and buffer. kinds: of each stage's blocks. */
DSV4_MUST_CHECK dsv4_status sim_find_misfits(const sim_device *d, const trace_graph *g, sim_result *out, dsv4_error *err);

/* The first kind of core that runs a stage's blocks; NULL: none. */
const sim_core_kind *sim_kind_for(const sim_device *d, dsv4_core_kind stage);

#endif
