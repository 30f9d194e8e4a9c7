/* cli/trace_run.h - the trace that `dsv4 run --trace` writes. */
#ifndef CLI_TRACE_RUN_H
#define CLI_TRACE_RUN_H

#include "cli/launch.h"

/* Writes the last run of a launch. With `ceilings` measures what the machine can do at best (a second or two, on the same workers),
 * puts it into the trace and the results, and prints it. */
DSV4_MUST_CHECK dsv4_status trace_run_write(const launch *l, const char *path, bool ceilings, json_t *results, dsv4_error *err);

#endif
