/* cli/bench/rt.c - `dsv4 bench rt`: what a block costs, how well uneven work is spread, how long sealing takes.
 *
 * TURNS  Contenders take turns within a round. A turn is an untimed run that starts the contender's threads and warms the caches,
 *        then a timed one. Medians over the rounds are compared. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/bench/bench.h"
#include "cli/bench/work.h"

static const bench_spec block_specs[] = {
    {"chain", BENCH_CHAIN, 100, 100, 0, 0},
    {"all", BENCH_ALL, 100, 100, 0, 0},
    {"neighbours", BENCH_NEIGHBOURS, 100, 100, 0, 0},
    {"free", BENCH_FREE, 1, 10000, 0, 0},
};

static const bench_spec uneven_spec = {"uneven", BENCH_NEIGHBOURS, 100, 16, 2e-6, 20e-6};

enum { N_BLOCK_SPECS = sizeof block_specs / sizeof *block_specs };
enum { DSV4, DSV4_TRACED, FIRST_PEER, N_CONTENDERS = FIRST_PEER + BENCH_N_PEERS };
enum { RUNS_OF_A_TURN = 2 };

static const char *contender_name(int contender)
{
    return contender >= FIRST_PEER ? bench_peers[contender - FIRST_PEER].name : contender == DSV4 ? "dsv4" : "dsv4 traced";
}

static bool is_built(int contender)
{
    return contender < FIRST_PEER || bench_peers[contender - FIRST_PEER].run != NULL;
}

/* What the whole suite shares. */
typedef struct suite {
    int rounds, n_threads;
    bool pins; /* the pool binds its workers to cores */
    machine *machine;
    dsv4_pool *pool;
    double *samples[N_CONTENDERS]; /* [rounds] */
} suite;

/* One work and what was measured of it. */
typedef struct subject {
    bench_work work;
    dsv4_exec *exec[FIRST_PEER]; /* without and with trace */
    double median_s[N_CONTENDERS];
} subject;

/* ---- measuring ----------------------------------------------------------------------------------------------------------- */

static void run_once(const suite *s, const subject *x, int contender)
{
    if (contender < FIRST_PEER) {
        dsv4_status never_refused = dsv4_exec_run(x->exec[contender], 0, NULL);
        (void)never_refused;
    } else {
        bench_peers[contender - FIRST_PEER].run(&x->work, s->n_threads);
    }
}

static dsv4_status take_turn(const suite *s, const subject *x, int contender, double *seconds, dsv4_error *err)
{
    bool is_peer = contender >= FIRST_PEER;
    int64_t expected = bench_work_n_runs(&x->work) + RUNS_OF_A_TURN * x->work.spec.n_stages * x->work.spec.n_blocks;
    if (is_peer) {
        dsv4_status status = bench_peers_begin(s->machine, s->n_threads, s->pins, err);
        if (status != DSV4_OK) {
            return status;
        }
    }
    run_once(s, x, contender);
    double begin_s = clock_s();
    run_once(s, x, contender);
    *seconds = clock_s() - begin_s;
    if (is_peer) {
        bench_peers_end();
    }
    int64_t got = bench_work_n_runs(&x->work);
    if (got != expected) {
        return dsv4_fail(err, DSV4_E_MISMATCH, "bench %s: %s left the counters at %lld block runs, expected %lld",
                         x->work.spec.name, contender_name(contender), (long long)got, (long long)expected);
    }
    return DSV4_OK;
}

static dsv4_status measure(const suite *s, subject *x, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin(x->work.spec.name);
    for (int i = 0; i < s->rounds * N_CONTENDERS && status == DSV4_OK; i++) {
        int round = i / N_CONTENDERS, contender = i % N_CONTENDERS;
        if (is_built(contender)) {
            status = take_turn(s, x, contender, &s->samples[contender][round], err);
        }
        progress_report(&bar, (double)(i + 1) / (s->rounds * N_CONTENDERS));
    }
    progress_end(&bar);
    for (int c = 0; c < N_CONTENDERS && status == DSV4_OK; c++) {
        x->median_s[c] = is_built(c) ? bench_times_of(s->samples[c], s->rounds).median_s : NAN;
    }
    return status;
}

/* ---- reporting ----------------------------------------------------------------------------------------------------------- */

static void print_heads(const char *first, const char *last)
{
    cli_print("%-12s", first);
    for (int c = 0; c < N_CONTENDERS; c++) {
        cli_print(" %16s", contender_name(c));
    }
    cli_print(" %12s\n", last);
}

/* Worker time per block; of the others also as a multiple of dsv4's. */
static double print_block_cost(const suite *s, const subject *x, int contender)
{
    const bench_spec *spec = &x->work.spec;
    double ns = x->median_s[contender] * s->n_threads / (double)(spec->n_stages * spec->n_blocks) * 1e9;
    if (contender == DSV4) {
        cli_print(" %16.1f", ns);
    } else {
        cli_print(" %8.1f x%-6.2f", ns, x->median_s[contender] / x->median_s[DSV4]);
    }
    return ns;
}

static double print_efficiency(const suite *s, const subject *x, int contender)
{
    double efficiency = x->work.total_spin_s / (x->median_s[contender] * s->n_threads);
    cli_print(" %14.1f %%", efficiency * 100);
    return efficiency;
}

typedef double print_fn(const suite *s, const subject *x, int contender);

/* Prints a line of a table and appends it to rows; the value printed is called `value` there. */
static void report(const suite *s, const subject *x, print_fn *print, const char *value, json_t *rows)
{
    const bench_spec *spec = &x->work.spec;
    json_t *contenders = json_array();
    cli_print("%-12s", spec->name);
    for (int c = 0; c < N_CONTENDERS; c++) {
        if (!is_built(c)) {
            cli_print(" %16s", "not built");
            continue;
        }
        double printed = print(s, x, c);
        json_array_append_new(contenders, json_pack("{s:s, s:f, s:f, s:f}", "name", contender_name(c), "time_s", x->median_s[c],
                                                    value, printed, "ratio", x->median_s[c] / x->median_s[DSV4]));
    }
    int64_t n_runs = bench_work_n_runs(&x->work);
    cli_print(" %12lld\n", (long long)n_runs);
    json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:I, s:f, s:I, s:o}", "name", spec->name, "stages",
                                          (json_int_t)spec->n_stages, "blocks", (json_int_t)(spec->n_stages * spec->n_blocks),
                                          "edges", (json_int_t)dsv4_graph_get_info(x->work.graph).n_edges, "work_s",
                                          x->work.total_spin_s, "block_runs", (json_int_t)n_runs, "contenders", contenders));
}

static dsv4_status run_subject(const suite *s, const bench_spec *spec, print_fn *print, const char *value, json_t *rows,
                               dsv4_error *err)
{
    subject x = {0};
    dsv4_status status = bench_work_init(&x.work, spec, err);
    for (int traced = 0; traced < FIRST_PEER && status == DSV4_OK; traced++) {
        status = dsv4_exec_create(x.work.graph, s->pool, traced, &x.exec[traced], err);
    }
    if (status == DSV4_OK) {
        status = measure(s, &x, err);
    }
    if (status == DSV4_OK) {
        report(s, &x, print, value, rows);
    }
    for (int traced = 0; traced < FIRST_PEER; traced++) {
        dsv4_exec_destroy(x.exec[traced]);
    }
    bench_work_deinit(&x.work);
    return status;
}

/* ---- the suite ----------------------------------------------------------------------------------------------------------- */

static dsv4_status run_blocks(const suite *s, json_t *rows, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    cli_print("cost of a block: 10,000 empty blocks, %d threads; worker time per block in ns (x: times dsv4), median of %d\n",
              s->n_threads, s->rounds);
    cli_print("chain: a block depends on its own of the stage before; all: on all 100; neighbours: on three; free: on none\n"
              "OpenMP static and dynamic are loops with a barrier behind each stage\n");
    print_heads("depends on", "block runs");
    for (int i = 0; i < N_BLOCK_SPECS && status == DSV4_OK; i++) {
        status = run_subject(s, &block_specs[i], print_block_cost, "worker_ns_per_block", rows, err);
    }
    return status;
}

static dsv4_status run_uneven(const suite *s, json_t *rows, dsv4_error *err)
{
    cli_print(
        "\nuneven work: 100 stages of 16 blocks of 2 to 20 us, each after its neighbours; work / (time * threads), median of %d\n",
        s->rounds);
    print_heads("", "block runs");
    return run_subject(s, &uneven_spec, print_efficiency, "efficiency", rows, err);
}

static dsv4_status run_suite(const suite *s, json_t *results, dsv4_error *err)
{
    json_t *blocks = json_array(), *uneven = json_array(), *seal = json_array();
    json_t *suite_json = json_pack("{s:i, s:i, s:b, s:o, s:o, s:o}", "threads", s->n_threads, "rounds", s->rounds, "openmp",
                                   is_built(FIRST_PEER), "blocks", blocks, "uneven", uneven, "seal", seal);
    if (json_object_update_new(results, suite_json) != 0) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for the results");
    }
    if (!is_built(FIRST_PEER)) {
        cli_print("built without OpenMP: its tasks and loops are not measured\n");
    }
    dsv4_status status = run_blocks(s, blocks, err);
    if (status == DSV4_OK) {
        status = run_uneven(s, uneven, err);
    }
    return status == DSV4_OK ? bench_seal(s->rounds, seal, err) : status;
}

static dsv4_status measure_all(int n_threads, int rounds, json_t *results, dsv4_error *err)
{
    suite s = {.rounds = rounds};
    double *samples = calloc((size_t)rounds * N_CONTENDERS, sizeof *samples);
    dsv4_status status = samples == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %d rounds", rounds)
                                         : machine_open(&s.machine, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create(n_threads, &s.pool, err);
    }
    if (status == DSV4_OK) {
        s.n_threads = dsv4_pool_n_threads(s.pool);
        s.pins = s.n_threads <= machine_n_cores(s.machine);
        for (int c = 0; c < N_CONTENDERS; c++) {
            s.samples[c] = samples + (size_t)c * (size_t)rounds;
        }
        status = run_suite(&s, results, err);
    }
    dsv4_pool_destroy(s.pool);
    machine_close(s.machine);
    free(samples);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------------------------------------- */

typedef struct rt_options {
    long long threads, rounds;
} rt_options;

enum { DEFAULT_ROUNDS = 30 };

static const cli_option options_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(rt_options, threads), 1, 1024},
    {"rounds", "N", "interleaved repetitions; medians are printed (default 30)", cli_store_number, offsetof(rt_options, rounds), 1,
     100000},
    {.name = NULL},
};

static int run(const cli_command *self, int argc, char **argv)
{
    rt_options options = {.rounds = DEFAULT_ROUNDS};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first < argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "bench rt: got \"%s\", expected options alone", argv[first]);
        return cli_fail(&err);
    }
    json_t *results = json_object();
    return bench_finish(results, measure_all((int)options.threads, (int)options.rounds, results, &err), &err);
}

const cli_command bench_rt = {"bench rt", "[options]", "the runtime against OpenMP on the same graphs", options_table, NULL, run};
