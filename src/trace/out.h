/* trace/out.h - the parts of a trace file, and JSON values. Numbers need the C locale, which trace_out_file sets. */
#ifndef TRACE_OUT_H
#define TRACE_OUT_H

#include <stdio.h>

#include "trace/trace.h"

enum { TRACE_VERSION = 1 };

extern const char *const trace_deps_names[]; /* by dsv4_deps */
extern const char *const trace_kind_names[]; /* by dsv4_core_kind */

/* Writes a whole file or none: write returns false without memory. */
typedef bool trace_out_fn(const trace *t, FILE *out);
DSV4_MUST_CHECK dsv4_status trace_out_file(const trace *t, trace_out_fn *write, const char *path, dsv4_error *err);

/* In quotes; text is UTF-8. */
void trace_out_text(FILE *out, const char *text);

/* As few digits as give back the same number. */
void trace_out_number(FILE *out, double x);

/* The array of trace events. False without memory. */
bool trace_out_events(const trace *t, FILE *out);

/* The object of the member "dsv4". */
void trace_out_data(const trace *t, FILE *out);

#endif
