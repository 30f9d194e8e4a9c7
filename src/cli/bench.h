/* cli/bench.h - measuring: interleaved repetitions, warm-up, medians, checksums. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/launch.h"

/* min, median, mean and max of times. */
typedef struct bench_times {
    double min_s, median_s, mean_s, max_s;
} bench_times;

/* Of n >= 1 samples; sorts them. */
bench_times bench_times_of(double *samples, int n);

/* Times `rounds` >= 1 replays of the operator, rotating among copies of its graph whose packed weights together exceed the
 * last-level caches several times (it says so when memory does not allow that). Prints its lines and adds "bench" to results. io is
 * what launch_isolate made of pristine, with or without outputs; it ends as after one run. */
DSV4_MUST_CHECK dsv4_status bench_operator(const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                                           const dsv4_tensor_list *pristine, dsv4_tensor_list *io, int rounds, json_t *results,
                                           dsv4_error *err);

/* `dsv4 bench rt`: the runtime against OpenMP on n_threads threads (0: one per physical core). Prints its tables and fills results.
 * DSV4_E_MISMATCH if a contender did not run every block. */
DSV4_MUST_CHECK dsv4_status bench_rt(int n_threads, int rounds, json_t *results, dsv4_error *err);

/* A part of it: times of sealing. Appends to the array rows. */
DSV4_MUST_CHECK dsv4_status bench_seal(int rounds, json_t *rows, dsv4_error *err);

#endif
