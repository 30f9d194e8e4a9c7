/* cli/bench.c - `dsv4 bench SUITE`: measures and prints tables. */
#include "cli/bench.h"

#include <string.h>

static const struct {
    const char *name;
    const cli_command *command;
} suites[] = {{"rt", &bench_rt}, {"context", &bench_context}, {"pack", &bench_pack}};

enum { N_SUITES = sizeof suites / sizeof *suites };

int bench_finish(json_t *results, dsv4_status status, dsv4_error *err)
{
    if (status != DSV4_OK) {
        json_decref(results);
        return cli_fail(err);
    }
    return cli_write_json(results, err) == DSV4_OK ? CLI_PASS : cli_fail(err);
}

static int run(const cli_command *self, int argc, char **argv)
{
    dsv4_error err = {0};
    for (int i = 0; i < N_SUITES && argc > 1; i++) {
        if (strcmp(suites[i].name, argv[1]) == 0) {
            return suites[i].command->run(suites[i].command, argc - 1, argv + 1);
        }
    }
    int first = 0, code = cli_parse(self, argc, argv, NULL, &first);
    if (code < 0) {
        dsv4_fail(&err, DSV4_E_USAGE, "bench: got %s%s%s, expected rt, context or pack in front of all options",
                  first < argc ? "\"" : "no suite", first < argc ? argv[first] : "", first < argc ? "\"" : "");
        code = cli_fail(&err);
    }
    return code;
}

const cli_command cli_bench = {"bench",
                               "rt|context|pack [options]",
                               "measure: rt is the runtime against OpenMP, context a layer at growing contexts, pack weights",
                               NULL,
                               NULL,
                               run};
