/* cli/bench/forecast.c - `dsv4 bench forecast`: what the simulator predicts for this machine beside what is measured.
 *
 * Rounds of the micro-suite (bench/device.h) stand between those of a call, so that a drift of the machine hits both alike; of both
 * the fastest tenth counts, as a disturbance hits long runs more often than short ones. Calls are measured as bench/calls.h says, with
 * weights from memory; a simulation begins with empty caches. The same description serves one worker as well as all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/bench/calls.h"
#include "cli/bench/device.h"
#include "cli/bench/origin.h"
#include "cli/bench/team.h"
#include "sim/sim.h"

enum { DEFAULT_ROUNDS = 30, DEVICE_ROUNDS = 15 /* of a call */, MAX_ROWS = 64, MAX_POOLS = 2 };

#define TWO_SIZES(family, ratio)            \
    {family, ratio, DSV4_DECODE, 4, 2},     \
    {                                       \
        family, ratio, DSV4_PREFILL, 1, 128 \
    }

static const bench_call calls[] = {
    TWO_SIZES("qkv_proj_rope", OP_ANY), TWO_SIZES("indexer", 4),     TWO_SIZES("compressor", 4),    TWO_SIZES("compressor", 128),
    TWO_SIZES("indexer_compressor", 4), TWO_SIZES("sparse_attn", 4), TWO_SIZES("sparse_attn", 128), TWO_SIZES("sparse_attn", 0),
    TWO_SIZES("attention", 0),          TWO_SIZES("attention", 4),   TWO_SIZES("attention", 128),
};
static const bench_call_list call_list = {calls, sizeof calls / sizeof *calls};

typedef struct forecast_options {
    bench_call_options calls;
    const char *device;   /* NULL: measure it */
    const char *markdown; /* NULL: not asked for */
} forecast_options;

typedef struct row {
    const bench_call *call;
    int n_threads;
    double measured_s, predicted_s;
} row;

typedef struct suite {
    const forecast_options *o;
    dsv4_pool *pools[MAX_POOLS]; /* all workers; one */
    int n_pools;
    bench_device *meter; /* NULL: the description is given */
    sim_device device;
    double *seconds; /* [pools][rounds] */
    row rows[MAX_ROWS];
    int n_rows;
} suite;

/* ---- one call -------------------------------------------------------------------------------------------------------------- */

/* A call that is measured on every pool, and what is found. */
typedef struct subject {
    const bench_call *call;
    bench_copies copies;
    dsv4_exec *execs[MAX_POOLS][BENCH_MAX_COPIES]; /* of the copies' graphs; those on the first pool are the copies' own */
    double *stage_s[MAX_POOLS];                    /* [n_stages][rounds]: inside the blocks of a stage */
    dsv4_stage_time *times;                        /* [n_stages] of the run at hand */
    int64_t n_stages;
    sim_result results[MAX_POOLS];
} subject;

static dsv4_status open_subject(suite *s, subject *x, dsv4_error *err)
{
    dsv4_status status = bench_copies_open(&x->copies, x->call, &s->o->calls, s->pools[0], err);
    for (int i = 0; i < x->copies.n && status == DSV4_OK; i++) {
        x->execs[0][i] = x->copies.launch[i].exec;
        if (s->n_pools > 1) {
            status = dsv4_exec_create(x->copies.launch[i].graph, s->pools[1], 1, &x->execs[1][i], err);
        }
    }
    if (status != DSV4_OK) {
        return status;
    }
    x->n_stages = dsv4_graph_get_info(x->copies.launch[0].graph).n_stages;
    x->times = calloc((size_t)x->n_stages, sizeof *x->times);
    for (int p = 0; p < s->n_pools; p++) {
        x->stage_s[p] = calloc((size_t)(x->n_stages * s->o->calls.shared.rounds), sizeof **x->stage_s);
        status = x->times == NULL || x->stage_s[p] == NULL
                     ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench forecast: no memory for %lld stages", (long long)x->n_stages)
                     : status;
    }
    return status;
}

static void close_subject(suite *s, subject *x)
{
    for (int i = 0; i < x->copies.n && s->n_pools > 1; i++) {
        dsv4_exec_destroy(x->execs[1][i]);
    }
    for (int p = 0; p < MAX_POOLS; p++) {
        free(x->stage_s[p]);
        sim_result_deinit(&x->results[p]);
    }
    free(x->times);
    bench_copies_close(&x->copies);
}

typedef struct replay {
    dsv4_pool *pool;
    dsv4_exec *exec;
    dsv4_status status;
    dsv4_error *err;
} replay;

static void do_nothing(void *context, int worker, int n_workers)
{
    (void)context, (void)worker, (void)n_workers;
}

/* Workers that sleep since the turn before are woken first, as they are awake in a model that runs layer after layer. */
static double take_turn(void *context)
{
    replay *r = context;
    bench_team_run(r->pool, do_nothing, NULL);
    r->status = dsv4_exec_run(r->exec, 0, r->err);
    return dsv4_exec_get_summary(r->exec).makespan_s;
}

static dsv4_status measure_round(suite *s, subject *x, int round, dsv4_error *err)
{
    int rounds = (int)s->o->calls.shared.rounds;
    replay r = {.status = DSV4_OK, .err = err};
    for (int p = 0; p < s->n_pools && r.status == DSV4_OK; p++) {
        r.pool = s->pools[p];
        r.exec = x->execs[p][(round * s->n_pools + p) % x->copies.n];
        s->seconds[p * rounds + round] = bench_quiet_turn(take_turn, &r);
        if (r.status == DSV4_OK && s->o->calls.stages) {
            r.status = dsv4_exec_stage_times(r.exec, x->times, err);
        }
        for (int64_t i = 0; i < x->n_stages; i++) {
            x->stage_s[p][i * rounds + round] = x->times[i].total_s;
        }
    }
    return r.status;
}

static dsv4_status measure(suite *s, subject *x, dsv4_error *err)
{
    int rounds = (int)s->o->calls.shared.rounds, done = 0;
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < rounds && status == DSV4_OK; i++) {
        if (s->meter != NULL && i * DEVICE_ROUNDS >= done * rounds) {
            bench_device_round(s->meter);
            done++;
        }
        status = measure_round(s, x, i, err);
    }
    return status;
}

/* The graph of a copy that has run, on the machine as it was while the call was measured. */
static dsv4_status predict(const sim_device *d, const subject *x, int n_threads, sim_result *out, dsv4_error *err)
{
    trace t = {0};
    dsv4_status status = trace_capture(x->execs[0][0], &t, err);
    if (status == DSV4_OK) {
        trace_clear_run(&t);
        status = sim_run(d, &(sim_options){.cores = n_threads}, &t, out, err);
    }
    trace_deinit(&t);
    return status;
}

static dsv4_status predict_all(suite *s, subject *x, dsv4_error *err)
{
    sim_device measured = {0};
    dsv4_status status = s->meter != NULL ? bench_device_get(s->meter, &measured, err) : DSV4_OK;
    for (int p = 0; p < s->n_pools && status == DSV4_OK; p++) {
        status = predict(s->meter != NULL ? &measured : &s->device, x, dsv4_pool_n_threads(s->pools[p]), &x->results[p], err);
    }
    sim_device_deinit(&measured);
    return status;
}

/* ---- its rows ---------------------------------------------------------------------------------------------------------------- */

static double error_of(double predicted, double measured)
{
    return measured > 0 ? predicted / measured - 1 : 0;
}

/* Stages of one name together, where the first of them stands. */
static void print_stages(const suite *s, const subject *x, int pool)
{
    int rounds = (int)s->o->calls.shared.rounds;
    cli_print("    %-24s %7s %12s %12s %10s %12s %12s\n", "stage", "blocks", "measured us", "predicted us", "error", "arithmetic",
              "transfer");
    for (int64_t i = 0; i < x->n_stages; i++) {
        double measured_s = 0, predicted_s = 0, arithmetic_s = 0, transfer_s = 0;
        int64_t n_blocks = 0, first = 0;
        while (strcmp(x->times[first].name, x->times[i].name) != 0) {
            first++;
        }
        for (int64_t k = i; k < x->n_stages && first == i; k++) {
            if (strcmp(x->times[k].name, x->times[i].name) == 0) {
                measured_s += bench_times_of(x->stage_s[pool] + k * rounds, rounds).p10_s;
                predicted_s += x->results[pool].stages[k].total_s;
                arithmetic_s += x->results[pool].stages[k].arithmetic_s;
                transfer_s += x->results[pool].stages[k].transfer_s;
                n_blocks += x->times[k].n_blocks;
            }
        }
        if (n_blocks > 0) {
            cli_print("    %-24s %7lld %12.2f %12.2f %8.1f %% %12.2f %12.2f\n", x->times[i].name, (long long)n_blocks,
                      measured_s * 1e6, predicted_s * 1e6, error_of(predicted_s, measured_s) * 100, arithmetic_s * 1e6,
                      transfer_s * 1e6);
        }
    }
}

static void add_rows(suite *s, const subject *x)
{
    int rounds = (int)s->o->calls.shared.rounds;
    for (int p = 0; p < s->n_pools; p++) {
        row *r = &s->rows[s->n_rows++];
        *r = (row){x->call, dsv4_pool_n_threads(s->pools[p]), bench_times_of(s->seconds + p * rounds, rounds).p10_s,
                   x->results[p].makespan_s};
        cli_print("%-18s %-7s %-4s %7d %12.3f %12.3f %8.1f %%\n", r->call->family, bench_mode_text(r->call->mode),
                  bench_ratio_text(r->call), r->n_threads, r->measured_s * 1e3, r->predicted_s * 1e3,
                  error_of(r->predicted_s, r->measured_s) * 100);
        if (s->o->calls.stages) {
            print_stages(s, x, p);
        }
    }
}

static dsv4_status forecast(suite *s, const bench_call *call, dsv4_error *err)
{
    subject x = {.call = call};
    dsv4_status status = open_subject(s, &x, err);
    if (s->meter != NULL) {
        bench_device_restart(s->meter);
    }
    if (status == DSV4_OK) {
        status = measure(s, &x, err);
    }
    if (status == DSV4_OK) {
        status = predict_all(s, &x, err);
    }
    if (status == DSV4_OK) {
        add_rows(s, &x);
    }
    close_subject(s, &x);
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of many errors: the middle and the largest. */
typedef struct error_summary {
    double median, largest;
} error_summary;

static error_summary summary_of(double *errors, int n)
{
    qsort(errors, (size_t)n, sizeof *errors, compare_doubles);
    return n > 0 ? (error_summary){errors[n / 2], errors[n - 1]} : (error_summary){0, 0};
}

static error_summary makespan_errors(const suite *s)
{
    double errors[MAX_ROWS];
    for (int i = 0; i < s->n_rows; i++) {
        errors[i] = fabs(error_of(s->rows[i].predicted_s, s->rows[i].measured_s));
    }
    return summary_of(errors, s->n_rows);
}

/* The rows of a call stand behind each other: all workers, then one. */
static error_summary scaling_errors(const suite *s)
{
    double errors[MAX_ROWS];
    int n = 0;
    for (int i = 0; i + 1 < s->n_rows && s->n_pools == MAX_POOLS; i += MAX_POOLS) {
        const row *all = &s->rows[i], *one = &s->rows[i + 1];
        errors[n++] = fabs(error_of(one->predicted_s / all->predicted_s, one->measured_s / all->measured_s));
    }
    return summary_of(errors, n);
}

static json_t *summary_json(const char *what, error_summary e)
{
    cli_print("%s: median error %.1f %%, largest %.1f %%\n", what, e.median * 100, e.largest * 100);
    return json_pack("{s:f, s:f}", "median_error", e.median, "largest_error", e.largest);
}

/* The table, for documents. */
static void print_markdown(const suite *s, const origin *from, FILE *f)
{
    error_summary makespan = makespan_errors(s), scaling = scaling_errors(s);
    fprintf(
        f,
        "# Forecasts\n\nWhat `dsv4 sim` predicts for the machine that it runs on, beside what is measured there. Made by `make "
        "forecast` (`dsv4 bench forecast`), which writes this file whole; how it predicts: [SIMULATION.md](SIMULATION.md).\n\n"
        "%s, %d cores, %lld rounds, context %lld, %s, commit %s. Makespans: median error %.1f %%, largest %.1f %%. Speed-up from "
        "one worker to all: median error %.1f %%, largest %.1f %%.\n\n| operator | mode | | workers | measured ms | predicted ms "
        "| error |\n|---|---|---|--:|--:|--:|--:|\n",
        from->cpu, from->n_cores, s->o->calls.shared.rounds, s->o->calls.context, from->date, origin_commit, makespan.median * 100,
        makespan.largest * 100, scaling.median * 100, scaling.largest * 100);
    for (int i = 0; i < s->n_rows; i++) {
        const row *r = &s->rows[i];
        fprintf(f, "| %s | %s | %s | %d | %.3f | %.3f | %+.1f %% |\n", r->call->family, bench_mode_text(r->call->mode),
                bench_ratio_text(r->call), r->n_threads, r->measured_s * 1e3, r->predicted_s * 1e3,
                error_of(r->predicted_s, r->measured_s) * 100);
    }
}

static dsv4_status write_markdown(const suite *s, const char *path, dsv4_error *err)
{
    file_writer writer;
    origin from;
    dsv4_status status = origin_get(&from, err);
    if (status == DSV4_OK) {
        status = file_writer_open(&writer, path, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    print_markdown(s, &from, writer.stream);
    return file_writer_commit(&writer, err);
}

static json_t *rows_json(const suite *s)
{
    json_t *array = json_array();
    for (int i = 0; i < s->n_rows; i++) {
        const row *r = &s->rows[i];
        json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:i, s:f, s:f}", "op", r->call->family, "mode",
                                               bench_mode_text(r->call->mode), "ratio", bench_ratio_text(r->call), "threads",
                                               r->n_threads, "measured_s", r->measured_s, "predicted_s", r->predicted_s));
    }
    return array;
}

static dsv4_status forecast_all(suite *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    cli_print("forecast %s, context %lld: a simulation of this machine beside it\n", s->o->calls.preset, s->o->calls.context);
    cli_print("%-18s %-7s %-4s %7s %12s %12s %10s\n", "name", "mode", "", "workers", "measured ms", "predicted ms", "error");
    for (int i = 0; i < call_list.n && status == DSV4_OK; i++) {
        status = bench_call_is_wanted(&calls[i], &s->o->calls) ? forecast(s, &calls[i], err) : DSV4_OK;
    }
    return status;
}

static dsv4_status open_suite(suite *s, dsv4_error *err)
{
    s->seconds = calloc(MAX_POOLS * (size_t)s->o->calls.shared.rounds, sizeof *s->seconds);
    if (s->seconds == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench forecast: no memory for %lld rounds", s->o->calls.shared.rounds);
    }
    dsv4_status status = dsv4_pool_create((int)s->o->calls.shared.n_threads, &s->pools[s->n_pools++], err);
    if (status == DSV4_OK && dsv4_pool_n_threads(s->pools[0]) > 1) {
        status = dsv4_pool_create(1, &s->pools[s->n_pools++], err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    return s->o->device != NULL ? sim_device_read(s->o->device, &s->device, err)
                                : bench_device_open(s->pools[0], DEVICE_ROUNDS, &s->meter, err);
}

static void close_suite(suite *s)
{
    bench_device_close(s->meter);
    sim_device_deinit(&s->device);
    for (int i = s->n_pools - 1; i >= 0; i--) {
        dsv4_pool_destroy(s->pools[i]);
    }
    free(s->seconds);
}

static const cli_option forecast_table[] = {
    {"preset", "flash|pro|tiny", "dimensions (default flash)", cli_store_text, offsetof(forecast_options, calls.preset), 0, 0},
    {"context", "N", "tokens of each request with the call's own (default 8192)", cli_store_number,
     offsetof(forecast_options, calls.context), 128, 1 << 24},
    {"only", "NAME", "what has this name alone", cli_store_text, offsetof(forecast_options, calls.only), 0, 0},
    {"stages", NULL, "tell of each stage", cli_store_flag, offsetof(forecast_options, calls.stages), 0, 0},
    {"device", "F.json", "predict with this description instead of measuring the machine", cli_store_text,
     offsetof(forecast_options, device), 0, 0},
    {"markdown", "FILE", "write the table as a document", cli_store_file, offsetof(forecast_options, markdown), 0, 0},
    {"threads", "N", "workers (default: one per physical core); one alone is measured too", cli_store_number,
     offsetof(forecast_options, calls.shared.n_threads), 1, 1024},
    {"rounds", "N", "repetitions of each call; the fastest tenth counts (default 30)", cli_store_number,
     offsetof(forecast_options, calls.shared.rounds), 1, 100000},
    {.name = NULL},
};

static int run_forecast(const cli_command *self, int argc, char **argv)
{
    forecast_options o = {.calls = bench_default_call_options()};
    dsv4_error err = {0};
    o.calls.shared.rounds = DEFAULT_ROUNDS;
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    suite s = {.o = &o};
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "%s: got \"%s\", expected options alone", self->name, argv[first])
                             : bench_calls_check(self->name, &call_list, 1, &o.calls, &err);
    if (status == DSV4_OK) {
        status = open_suite(&s, &err);
    }
    if (status == DSV4_OK) {
        status = forecast_all(&s, &err);
    }
    json_t *results = NULL;
    if (status == DSV4_OK) {
        json_t *makespan = summary_json("makespans", makespan_errors(&s)),
               *scaling = summary_json("speed-up from one worker to all", scaling_errors(&s));
        results = json_pack("{s:o, s:o, s:o}", "makespan", makespan, "speed_up", scaling, "rows", rows_json(&s));
    }
    if (status == DSV4_OK && o.markdown != NULL) {
        status = write_markdown(&s, o.markdown, &err);
    }
    close_suite(&s);
    return bench_finish(results, status, &err);
}

const cli_command bench_forecast = {
    "bench forecast", "[options]", "what dsv4 sim predicts for this machine beside what is measured",
    forecast_table,   NULL,        run_forecast};
