/* trace/html.h - a run as a page to look at. */
#ifndef TRACE_HTML_H
#define TRACE_HTML_H

#include "trace/trace.h"

/* Writes one HTML page that holds all of t and needs nothing else: lanes, legend, what each block did and waited for. Times are
 * rounded to nanoseconds. DSV4_E_USAGE where t has no run. Replaces path whole or not at all. */
DSV4_MUST_CHECK dsv4_status trace_write_html(const trace *t, const char *path, dsv4_error *err);

#endif
