/* cli/bench/device.h - this machine as a device description (sim/device.h): what a micro-suite measures of it.
 *
 *   rates       products of FLASH depth on weights that stay beside the core, at 1..128 rows: the peak, and the share of it by rows;
 *               elementwise: the harmonic mean of the kernels of bench/vectors.h
 *   levels      reads of more than the last-level caches hold, and of what they hold, by one worker and by all; writes from copies
 *   schedule    graphs of blocks that do nothing: alone, with edges, and handed from worker to worker
 *   overlap     products of 4 to 16 rows on weights from memory, by one worker and by all, beside what arithmetic and transfer take
 *               alone
 *
 * No operator is run: what a simulation predicts of one is a prediction. In rounds, as bench/ceilings.h. */
#ifndef CLI_BENCH_DEVICE_H
#define CLI_BENCH_DEVICE_H

#include "dsv4/graph.h"
#include "sim/device.h"

typedef struct bench_device bench_device;

/* On the workers of a pool, for at most max_rounds >= 1 rounds. The caller closes it (NULL allowed there). */
DSV4_MUST_CHECK dsv4_status bench_device_open(dsv4_pool *pool, int max_rounds, bench_device **out, dsv4_error *err);
void bench_device_close(bench_device *b);

/* Measures everything once more, in half a second or so. */
void bench_device_round(bench_device *b);
void bench_device_restart(bench_device *b); /* forgets the rounds so far */

/* Fills d, zeroed before, from the rounds, as fast as a tenth of them was: what else the machine does shows less.
 * sim_device_deinit always. */
DSV4_MUST_CHECK dsv4_status bench_device_get(bench_device *b, sim_device *d, dsv4_error *err);

/* All of it, on n_threads workers (0: one per physical core): a few seconds. */
DSV4_MUST_CHECK dsv4_status bench_device_measure(int n_threads, sim_device *d, dsv4_error *err);

#endif
