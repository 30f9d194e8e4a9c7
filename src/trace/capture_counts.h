/* trace/capture_counts.h - the counters of a run. */
#ifndef TRACE_CAPTURE_COUNTS_H
#define TRACE_CAPTURE_COUNTS_H

#include "trace/trace.h"

/* Names and counts of the last run of exec, from level 2 on, where t has its graph and events. The group software begins with the
 * ticks of each block and ends with what it declares. A count that the machine could not give is 0. False without memory. */
bool trace_capture_counts(const dsv4_exec *exec, trace *t);

#endif
