/* dsv4/trace.h - a run to look at: where and when each block ran, in a file.
 *
 * The file holds Chrome/Perfetto trace events (ui.perfetto.dev, chrome://tracing: a lane per worker, a slice per block named after
 * its stage, arrows along the edges) and, in a member "dsv4", the sealed graph and the run themselves, for dsv4's own tools. */
#ifndef DSV4_TRACE_H
#define DSV4_TRACE_H

#include "dsv4/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the last run of an exec created with trace. Replaces path whole or not at all. DSV4_E_USAGE without a traced run. */
DSV4_MUST_CHECK dsv4_status dsv4_exec_write_trace(const dsv4_exec *exec, const char *path, dsv4_error *err);

#ifdef __cplusplus
}
#endif
#endif
