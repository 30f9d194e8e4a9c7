/* cli/launch.h - one operator from tensors to compared results: what `run` and `check` share. */
#ifndef CLI_LAUNCH_H
#define CLI_LAUNCH_H

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/numerics.h"
#include "ops/op.h"

enum { LAUNCH_MAX_SETS = OP_MAX_TILES };

/* How to run it. */
typedef struct launch_options {
    dsv4_op_options op;
    const char *sets[LAUNCH_MAX_SETS];
    dsv4_deps deps;
    numerics_words numerics; /* as given; they go to op.numerics by numerics_read */
    long long n_threads;     /* 0: one per core */
    bool default_tiles;      /* without a look at the user's table of measured tiles, which sets rule out too */
    bool verify;             /* look for wrong declarations instead of running once on all workers */
} launch_options;

/* --threads, --deps, --set, --tiles, --numerics, --compat, --act-scale, for a structure that begins with a launch_options. */
extern const cli_option launch_option_table[];

/* Options that choose among the forms of an operator. */
cli_store_fn launch_store_mode;           /* int: a dsv4_mode */
cli_store_fn launch_store_compress_ratio; /* int: 0, 4 or 128 */

/* ", compat reference, act-scale row": what differs from usual, or "". Cut to size; returns text. */
char *launch_numerics_text(const dsv4_numerics *numerics, dsv4_compat usual, char *text, size_t size);

/* ---- state ------------------------------------------------------------------------------------------------------------- */

/* The tensors that an operator works on: the inputs of pristine, borrowed, but copies of those that it updates in place. */
DSV4_MUST_CHECK dsv4_status launch_isolate(const dsv4_op *op, const dsv4_tensor_list *pristine, dsv4_tensor_list *io,
                                           dsv4_error *err);

/* Makes io what it was before its first run: updated tensors are those of pristine, other outputs zero. */
void launch_restore(const dsv4_op *op, const dsv4_tensor_list *pristine, dsv4_tensor_list *io);

/* ---- running ----------------------------------------------------------------------------------------------------------- */

/* An operator ready to be replayed. Zero-initialise; launch_close always. */
typedef struct launch {
    dsv4_pool *shared_pool; /* set before launch_open: borrowed until launch_close; NULL: the launch makes its own */
    const dsv4_op *op;
    char *tiles; /* "n_tile=64 from FILE for CPU": those that the user's table of measured tiles has for this call; NULL: none */
    dsv4_graph *graph;
    dsv4_pool *pool;
    dsv4_exec *exec;
} launch;

/* Builds the operator over io (outputs are added to it) and everything to replay it. */
DSV4_MUST_CHECK dsv4_status launch_open(launch *l, const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                                        dsv4_tensor_list *io, dsv4_error *err);
void launch_close(launch *l);

/* Runs it once; or verifies it, if the options say so: a finding is an error. So is a step that the operator refuses. */
DSV4_MUST_CHECK dsv4_status launch_run(launch *l, const launch_options *options, uint64_t seed, dsv4_error *err);

#endif
