/* cli/bench/calls.h - the calls that `bench ops`, `bench layer` and `bench peers` measure, and copies of one to rotate among. */
#ifndef CLI_BENCH_CALLS_H
#define CLI_BENCH_CALLS_H

#include "cli/bench/results.h"
#include "cli/machine.h"

/* An operator, or a form of a family, at one place of a sequence. */
typedef struct bench_call {
    const char *family;
    int ratio; /* of the form; OP_ANY: it has none */
    dsv4_mode mode;
    int64_t n_requests, n_tokens; /* requests; tokens of each */
} bench_call;

typedef struct bench_call_list {
    const bench_call *calls;
    int n;
} bench_call_list;

extern const bench_call_list bench_op_calls, bench_layer_calls;

/* Options of the suites that measure calls. */
typedef struct bench_call_options {
    bench_options shared;
    const char *preset, *only; /* only: measure the calls whose family it is; NULL: all */
    long long context;         /* tokens of each request with the call's own */
    bool stages;
} bench_call_options;
extern const cli_option bench_call_option_table[]; /* --preset, --context, --only */

bench_call_options bench_default_call_options(void);

/* Whether the options ask for this call. */
bool bench_call_is_wanted(const bench_call *call, const bench_call_options *o);

/* DSV4_E_USAGE where the context is shorter than a call that is wanted, or where no call is. */
DSV4_MUST_CHECK dsv4_status bench_calls_check(const char *suite, const bench_call_list *lists, int n_lists,
                                              const bench_call_options *o, dsv4_error *err);

/* "csa" of a ratio, "" of none; "decode" of a mode. */
const char *bench_ratio_text(const bench_call *call);
const char *bench_mode_text(dsv4_mode mode);
int64_t bench_call_tokens(const bench_call *call);

/* ---- copies ------------------------------------------------------------------------------------------------------------- */

/* COPIES  Each has packed its own weights and has its own activations, caches and outputs. Replays rotate over them, so that what
 *         comes from outside of the operator lies in memory when it is read, as in a model of many layers. */
enum { BENCH_MAX_COPIES = 256 };
typedef struct bench_copies {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list inputs; /* as drawn */
    int n;
    double bytes;   /* that a replay of one reads from outside or writes there */
    bool is_cold;   /* together they are certain to come from memory */
    launch *launch; /* [BENCH_MAX_COPIES], n of them */
    dsv4_tensor_list *io;
} bench_copies;

/* Zero-initialise; bench_copies_close always. Draws the call and opens as many copies as exceed the caches, each run once. */
DSV4_MUST_CHECK dsv4_status bench_copies_open(bench_copies *c, const bench_call *call, const bench_call_options *o, dsv4_pool *pool,
                                              dsv4_error *err);
void bench_copies_close(bench_copies *c);

/* Of all outputs of a copy, run once from its drawn state. */
DSV4_MUST_CHECK dsv4_status bench_copies_checksum(const bench_copies *c, int copy, uint64_t *out, dsv4_error *err);

#endif
