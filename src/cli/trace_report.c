#include "cli/trace_report.h"

#include <stddef.h>

enum { N_BUCKETS = 64, DEFAULT_ROWS = 20 };

typedef struct report_options {
    long long n_rows; /* 0: not given */
    bool path;
} report_options;

static const cli_option options_table[] = {
    {"top", "N", "print the N stages that take longest, and N workers (default 20)", cli_store_number,
     offsetof(report_options, n_rows), 1, 1 << 20},
    {"path", NULL, "print the path as executed block by block", cli_store_flag, offsetof(report_options, path), 0, 0},
    {.name = NULL},
};

static const cli_command command = {"trace report",
                                    "FILE.trace.json [options]",
                                    "what a run shows: workers, stages, critical paths, parallelism, bounds",
                                    options_table,
                                    NULL,
                                    trace_report_run};

static dsv4_status report(const char *path, const report_options *o, dsv4_error *err)
{
    trace t = {0};
    trace_report r = {0};
    dsv4_status status = trace_read(path, &t, err);
    if (status == DSV4_OK && trace_report_make(&t, N_BUCKETS, &r, err) != DSV4_OK) {
        status = cli_blame(path, err);
    }
    if (status == DSV4_OK) {
        trace_report_print(&t, &r, o->n_rows > 0 ? o->n_rows : DEFAULT_ROWS);
        if (o->path) {
            trace_report_print_path(&t, &r);
        }
        status = cli_write_json(trace_report_json(&t, &r), err);
    }
    trace_report_deinit(&r);
    trace_deinit(&t);
    return status;
}

int trace_report_run(const cli_command *self, int argc, char **argv)
{
    (void)self;
    report_options options = {0};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(&command, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "trace report: got %d files, expected one", argc - first);
        return cli_fail(&err);
    }
    return report(argv[first], &options, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
}
