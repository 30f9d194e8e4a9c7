/* cli/counters.h - the counters of a run by stage. */
#ifndef CLI_COUNTERS_H
#define CLI_COUNTERS_H

#include "cli/cli.h"
#include "trace/trace.h"

/* Prints the sums of each stage and figures derived from them, and returns the same as JSON; NULL without memory. */
json_t *counters_report(const trace *t);

#endif
