/* cli/bench/bench.h - measuring: interleaved repetitions, warm-up, medians, checksums. */
#ifndef CLI_BENCH_BENCH_H
#define CLI_BENCH_BENCH_H

#include "cli/launch.h"

/* Of times; a tenth of them is below p10_s, a tenth above p90_s. */
typedef struct bench_times {
    double min_s, p10_s, median_s, mean_s, p90_s, max_s;
} bench_times;

/* Of n >= 1 samples; sorts them. */
bench_times bench_times_of(double *samples, int n);

/* Takes a turn, which returns its seconds; again while the system took a core away from the program meanwhile, a few times at most:
 * on a machine that others use too, such a time says how busy they are. */
double bench_quiet_turn(double (*turn)(void *context), void *context);

#define BENCH_CHECKSUM_OF_NOTHING UINT64_C(14695981039346656037)

/* FNV-1a of bytes, or of a tensor's, behind those that `sum` is of. */
uint64_t bench_checksum_bytes(uint64_t sum, const void *data, size_t n_bytes);
uint64_t bench_checksum(uint64_t sum, const dsv4_tensor *t);

/* Of all outputs in io: after one run from the same state the same for every schedule. */
uint64_t bench_outputs_checksum(const dsv4_op *op, const dsv4_tensor_list *io);

/* Of the weights in io: the matrices whose shape the model alone decides. */
size_t bench_weight_bytes(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io);

/* Times `rounds` >= 1 replays of the operator, rotating among copies of its graph whose packed weights together exceed the
 * last-level caches several times (it says so when memory does not allow that). Prints its lines and adds "bench" to results. io is
 * what launch_isolate made of pristine, with or without outputs; it ends as after one run. */
DSV4_MUST_CHECK dsv4_status bench_operator(const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                                           const dsv4_tensor_list *pristine, dsv4_tensor_list *io, int rounds, json_t *results,
                                           dsv4_error *err);

/* The suites, commands of their own: `dsv4 bench rt`. */
extern const cli_command bench_kernels, bench_ops, bench_layer, bench_peers_suite, bench_rt, bench_context, bench_pack,
    bench_device_suite, bench_forecast, bench_model;

/* Ends a suite: writes results where --json says, or says what went wrong. Takes over the reference; returns the exit code. */
int bench_finish(json_t *results, dsv4_status status, dsv4_error *err);

/* A part of `bench rt`: times of sealing. Appends to the array rows. */
DSV4_MUST_CHECK dsv4_status bench_seal(int rounds, json_t *rows, dsv4_error *err);

#endif
