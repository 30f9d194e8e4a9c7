/* cli/trace_run.h - what `dsv4 run --trace` and `--deps-json` write. */
#ifndef CLI_TRACE_RUN_H
#define CLI_TRACE_RUN_H

#include "cli/launch.h"

typedef struct trace_run_options {
    const char *path, *deps_path; /* the trace; the graph with what its edges come from; NULL: not wanted */
    bool ceilings;                /* measure what the machine can do at best and put it into the trace */
} trace_run_options;

/* Writes the last run of a launch and its graph to files. Ceilings are measured on the same workers, in a second or two, and go into
 * the results as well. */
DSV4_MUST_CHECK dsv4_status trace_run_write(const launch *l, const trace_run_options *o, json_t *results, dsv4_error *err);

#endif
