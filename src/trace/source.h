/* trace/source.h - what the edges of a sealed graph come from. */
#ifndef TRACE_SOURCE_H
#define TRACE_SOURCE_H

#include "rt/graph.h"
#include "trace/trace.h"

/* Fills source, from_touch and to_touch of every edge of out, which holds all else of g. False without memory.
 *
 * Two blocks that share bytes, one writing, depend on each other through these: read after write, else write after write, else
 * write after read. Untracked boxes and those of manual regions don't count. An edge without such a pair is declared, or comes from
 * coarser tracking. An edge to or from a join made by sealing has the source of a pair of blocks that it orders; one to or from a
 * declared join is declared. */
bool trace_find_sources(const dsv4_graph *g, trace_graph *out);

#endif
