/* cli/launch.h - one operator from tensors to compared results: what `run` and `check` share. */
#ifndef CLI_LAUNCH_H
#define CLI_LAUNCH_H

#include "base/progress.h"
#include "cli/cli.h"
#include "ops/op.h"

enum { LAUNCH_MAX_SETS = OP_MAX_TILES };

/* How to run it. */
typedef struct launch_options {
    dsv4_op_options op;
    const char *sets[LAUNCH_MAX_SETS];
    dsv4_deps deps;
    long long n_threads; /* 0: one per core */
    bool verify;         /* look for wrong declarations instead of running once on all workers */
} launch_options;

/* --threads, --deps, --set, --numerics, --verify, for a structure that begins with a launch_options. */
extern const cli_option launch_option_table[];

/* An operator ready to be replayed. Zero-initialise; launch_close always. */
typedef struct launch {
    dsv4_pool *shared_pool; /* set before launch_open: borrowed until launch_close; NULL: the launch makes its own */
    const dsv4_op *op;
    dsv4_graph *graph;
    dsv4_pool *pool;
    dsv4_exec *exec;
} launch;

/* Builds the operator over io (outputs are added to it) and everything to replay it. */
DSV4_MUST_CHECK dsv4_status launch_open(launch *l, const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                                        dsv4_tensor_list *io, dsv4_error *err);
void launch_close(launch *l);

/* Runs it once; or verifies it, if the options say so: a finding is an error. */
DSV4_MUST_CHECK dsv4_status launch_run(launch *l, const launch_options *options, uint64_t seed, dsv4_error *err);

/* Compares the operator's outputs in actual with those in expected, prints a line for each (SKIP for one that expected lacks), and
 * appends to the JSON array outputs (may be NULL). *pass tells whether all agree. */
DSV4_MUST_CHECK dsv4_status launch_compare(const dsv4_op *op, const dsv4_tensor_list *actual, const dsv4_tensor_list *expected,
                                           json_t *outputs, bool *pass, dsv4_error *err);

#endif
