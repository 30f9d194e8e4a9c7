/* cli/ablate/layout.h - addresses of a graph's views as a device would have them. */
#ifndef CLI_ABLATE_LAYOUT_H
#define CLI_ABLATE_LAYOUT_H

#include "trace/trace.h"

/* Moves every tensor, with all views of it, to pages of its own. DSV4_E_NO_MEMORY. */
DSV4_MUST_CHECK dsv4_status layout_place(trace_graph *g, dsv4_error *err);

#endif
