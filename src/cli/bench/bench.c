/* cli/bench/bench.c - `dsv4 bench SUITE`: measures and prints tables. */
#include "cli/bench/bench.h"

#include <stdio.h>
#include <string.h>

static const cli_command *const suites[] = {&bench_kernels, &bench_ops,  &bench_layer,        &bench_peers_suite, &bench_rt,
                                            &bench_context, &bench_pack, &bench_device_suite, &bench_forecast,    &bench_model};

enum { N_SUITES = sizeof suites / sizeof *suites };

/* "rt" of "bench rt" */
static const char *suite_name(const cli_command *suite)
{
    return strchr(suite->name, ' ') + 1;
}

int bench_finish(json_t *results, dsv4_status status, dsv4_error *err)
{
    if (status != DSV4_OK) {
        json_decref(results);
        return cli_fail(err);
    }
    return cli_write_json(results, err) == DSV4_OK ? CLI_PASS : cli_fail(err);
}

/* "rt, context" */
static void join_names(char *text, size_t size)
{
    size_t length = 0;
    for (int i = 0; i < N_SUITES && length < size; i++) {
        length += (size_t)snprintf(text + length, size - length, "%s%s", i > 0 ? ", " : "", suite_name(suites[i]));
    }
}

static int run(const cli_command *self, int argc, char **argv)
{
    dsv4_error err = {0};
    for (int i = 0; i < N_SUITES && argc > 1; i++) {
        if (strcmp(suite_name(suites[i]), argv[1]) == 0) {
            return suites[i]->run(suites[i], argc - 1, argv + 1);
        }
    }
    int first = 0, code = cli_parse(self, argc, argv, NULL, &first);
    if (code < 0) {
        char names[128];
        join_names(names, sizeof names);
        dsv4_fail(&err, DSV4_E_USAGE, "bench: got %s%s%s, expected one of %s in front of all options",
                  first < argc ? "\"" : "no suite", first < argc ? argv[first] : "", first < argc ? "\"" : "", names);
        code = cli_fail(&err);
    }
    return code;
}

const cli_command cli_bench = {"bench",
                               "SUITE [options]",
                               "measure; SUITE: kernels, ops, layer, peers, rt, context, pack, device, forecast or model",
                               NULL,
                               NULL,
                               run};
