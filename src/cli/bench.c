/* cli/bench.c - `dsv4 bench SUITE`: measures and prints tables. */
#include <stddef.h>
#include <string.h>

#include "cli/bench.h"

typedef struct bench_options {
    long long threads, rounds;
} bench_options;

enum { DEFAULT_ROUNDS = 30 };

static const cli_option options_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(bench_options, threads), 1, 1024},
    {"rounds", "N", "interleaved repetitions; medians are printed (default 30)", cli_store_number, offsetof(bench_options, rounds),
     1, 100000},
    {.name = NULL},
};

static dsv4_status check_suite(int argc, char **argv, int first, dsv4_error *err)
{
    if (first + 1 != argc) {
        return dsv4_fail(err, DSV4_E_USAGE, "bench: got %d suites, expected one: rt", argc - first);
    }
    if (strcmp(argv[first], "rt") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "bench: suite \"%s\" is unknown, expected rt", argv[first]);
    }
    return DSV4_OK;
}

static int run(const cli_command *self, int argc, char **argv)
{
    bench_options options = {.rounds = DEFAULT_ROUNDS};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = check_suite(argc, argv, first, &err);
    if (status != DSV4_OK) {
        return cli_fail(&err);
    }
    json_t *results = json_object();
    status = bench_rt((int)options.threads, (int)options.rounds, results, &err);
    if (status != DSV4_OK) {
        json_decref(results);
        return cli_fail(&err);
    }
    return cli_write_json(results, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
}

const cli_command cli_bench = {"bench", "rt [options]", "measure: rt is the runtime against OpenMP", options_table, NULL, run};
