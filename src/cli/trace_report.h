/* cli/trace_report.h - `dsv4 trace report FILE`: what a run shows, as text for people and JSON. */
#ifndef CLI_TRACE_REPORT_H
#define CLI_TRACE_REPORT_H

#include "cli/cli.h"
#include "trace/report.h"

/* argv[0] is "report". self is not looked at: the command has its own options. */
int trace_report_run(const cli_command *self, int argc, char **argv);

/* Of workers the first n_rows, of stages the n_rows that take longest; the rest in a line. */
void trace_report_print(const trace *t, const trace_report *r, int64_t n_rows);

/* The path as executed, a line for each block. */
void trace_report_print_path(const trace *t, const trace_report *r);

/* All of it; NULL without memory. */
json_t *trace_report_json(const trace *t, const trace_report *r);

#endif
