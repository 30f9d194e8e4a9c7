/* cli/trace.c - `dsv4 trace WHAT FILE`. */
#include <string.h>

#include "cli/trace_report.h"

static int run(const cli_command *self, int argc, char **argv)
{
    dsv4_error err = {0};
    if (argc >= 2 && strcmp(argv[1], "report") == 0) {
        return trace_report_run(self, argc - 1, argv + 1);
    }
    dsv4_fail(&err, DSV4_E_USAGE, "trace: got %s, expected report", argc >= 2 ? argv[1] : "nothing");
    return cli_fail(&err);
}

const cli_command cli_trace = {"trace", "report FILE", "look at a run written by dsv4 run --trace", NULL, NULL, run};
