/* trace/html_data.h - a run as the page of src/trace/viewer/ reads it. */
#ifndef TRACE_HTML_DATA_H
#define TRACE_HTML_DATA_H

#include <stdio.h>

#include "trace/trace.h"

/* Writes one JSON object without '<', for a script element; times are whole nanoseconds. Needs the C locale and a trace with a run.
 * False without memory, or where the edges go in a circle. */
bool trace_html_data(const trace *t, FILE *out);

#endif
