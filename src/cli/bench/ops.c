/* cli/bench/ops.c - `dsv4 bench ops` and `dsv4 bench layer`: operators and whole attention layers against the sum of their bounds.
 * */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench/bounds.h"

enum { DEFAULT_ROUNDS = 30, METER_ROUNDS = 5 /* of a call, at most */, MAX_ROWS = 64 };

typedef struct suite {
    const char *name;
    const bench_call_options *o;
    dsv4_pool *pool;
    bench_meter *meter;
    bench_ceilings ceilings; /* of the call at hand */
    double *seconds, *idle;  /* [rounds] */
    bench_row rows[MAX_ROWS];
    int n_rows;
} suite;

/* ---- one call -------------------------------------------------------------------------------------------------------------- */

/* Ceilings are measured again between the rounds: what is divided by them was measured at the same time. */
static dsv4_status time_rounds(suite *s, const bench_copies *c, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int rounds = (int)s->o->shared.rounds;
    bench_meter_restart(s->meter);
    progress bar = progress_begin(c->op->name);
    for (int i = 0; i < rounds && status == DSV4_OK; i++) {
        dsv4_exec *exec = c->launch[i % c->n].exec;
        if (i % ((rounds + METER_ROUNDS - 1) / METER_ROUNDS) == 0) {
            bench_meter_round(s->meter);
        }
        double begin_s = clock_s();
        status = dsv4_exec_run(exec, 0, err);
        s->seconds[i] = clock_s() - begin_s;
        s->idle[i] = 1 - dsv4_exec_get_summary(exec).busy_share;
        progress_report(&bar, (double)(i + 1) / rounds);
    }
    progress_end(&bar);
    s->ceilings = bench_meter_get(s->meter);
    return status;
}

static const char *ceiling_text(bench_ceiling which)
{
    static const char *const texts[] = {"read", "int8", "bf16", "fp32", "-"};
    return texts[which];
}

/* Of the last run of a copy: stages by name, as a table. */
static void print_stages(const suite *s, const bench_bounds *b, double total_s)
{
    double n_workers = dsv4_pool_n_threads(s->pool);
    cli_print("    %-24s %7s %10s %10s %7s %8s %9s\n", "stage", "blocks", "us", "bound us", "binds", "of it", "of all");
    for (int64_t i = 0; i < b->n; i++) {
        bench_ceiling which;
        double bound_s = bench_bound_s(&b->stages[i], &s->ceilings, &which), time_s = b->stages[i].time_s / n_workers;
        cli_print("    %-24s %7lld %10.2f %10.2f %7s %6.1f %% %7.1f %%\n", b->stages[i].name, (long long)b->stages[i].n_blocks,
                  time_s * 1e6, bound_s * 1e6, ceiling_text(which), time_s > 0 ? bound_s / time_s * 100 : 0,
                  time_s / total_s * 100);
    }
}

static void add_row(suite *s, const bench_call *call, const bench_bounds *b, bool is_cold, uint64_t checksum)
{
    int rounds = (int)s->o->shared.rounds;
    bench_row *row = &s->rows[s->n_rows++];
    *row = (bench_row){.name = call->family,
                       .by = "dsv4",
                       .weights = is_cold ? "cold" : "cached",
                       .m = bench_call_tokens(call),
                       .bytes = bench_bounds_bytes(b),
                       .ops = bench_bounds_ops(b),
                       .bound_s = bench_bounds_total_s(b, &s->ceilings),
                       .times = bench_times_of(s->seconds, rounds),
                       .idle_share = bench_times_of(s->idle, rounds).median_s,
                       .checksum = checksum};
    snprintf(row->shape, sizeof row->shape, "%s %s", bench_mode_text(call->mode), bench_ratio_text(call));
    bench_print_row(row);
    if (s->o->stages) {
        print_stages(s, b, row->times.median_s);
    }
}

static dsv4_status measure(suite *s, const bench_call *call, dsv4_error *err)
{
    bench_copies c = {0};
    bench_bounds b = {0};
    uint64_t checksum = 0;
    dsv4_status status = bench_copies_open(&c, call, s->o, s->pool, err);
    if (status == DSV4_OK) {
        status = time_rounds(s, &c, err);
    }
    if (status == DSV4_OK) {
        int last = (int)(s->o->shared.rounds - 1) % c.n;
        status = bench_bounds_find(&c.launch[last], &c.io[last], &c.config, call, s->o->context, &b, err);
    }
    if (status == DSV4_OK) {
        status = bench_copies_checksum(&c, 0, &checksum, err);
    }
    if (status == DSV4_OK) {
        add_row(s, call, &b, c.is_cold, checksum);
    }
    bench_bounds_free(&b);
    bench_copies_close(&c);
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------------------------------------- */

static dsv4_status measure_all(suite *s, const bench_call_list *list, dsv4_error *err)
{
    size_t cold_bytes = 0;
    dsv4_status status = bench_cold_bytes(&cold_bytes, err);
    if (status == DSV4_OK) {
        status = bench_meter_open(s->pool, METER_ROUNDS, cold_bytes, &s->meter, err);
    }
    if (status == DSV4_OK) {
        cli_print("%s %s, context %lld; bound: the sum over the stages; idle: share of the workers' time outside of blocks\n",
                  s->name, s->o->preset, s->o->context);
        bench_print_heads();
    }
    for (int i = 0; i < list->n && status == DSV4_OK; i++) {
        if (bench_call_is_wanted(&list->calls[i], s->o)) {
            status = measure(s, &list->calls[i], err);
        }
    }
    if (status == DSV4_OK) {
        bench_print_ceilings(&s->ceilings, dsv4_pool_n_threads(s->pool));
    }
    bench_meter_close(s->meter);
    return status;
}

static dsv4_status open_suite(suite *s, dsv4_error *err)
{
    size_t rounds = (size_t)s->o->shared.rounds;
    s->seconds = calloc(rounds, sizeof *s->seconds);
    s->idle = calloc(rounds, sizeof *s->idle);
    if (s->seconds == NULL || s->idle == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu rounds", s->name, rounds);
    }
    return dsv4_pool_create((int)s->o->shared.n_threads, &s->pool, err);
}

static int run(const cli_command *self, int argc, char **argv, const bench_call_list *list)
{
    bench_call_options o = bench_default_call_options();
    dsv4_error err = {0};
    o.shared.rounds = DEFAULT_ROUNDS;
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    const char *suite_name = strchr(self->name, ' ') + 1;
    suite s = {.name = suite_name, .o = &o};
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "%s: got \"%s\", expected options alone", self->name, argv[first])
                             : bench_calls_check(self->name, list, 1, &o, &err);
    if (status == DSV4_OK) {
        status = open_suite(&s, &err);
    }
    if (status == DSV4_OK) {
        status = measure_all(&s, list, &err);
    }
    const bench_results results = {.suite = suite_name,
                                   .n_threads = s.pool != NULL ? dsv4_pool_n_threads(s.pool) : 0,
                                   .rounds = (int)o.shared.rounds,
                                   .ceilings = s.ceilings,
                                   .rows = s.rows,
                                   .n_rows = s.n_rows};
    code = bench_results_finish(&results, &o.shared, status, &err);
    dsv4_pool_destroy(s.pool);
    free(s.seconds);
    free(s.idle);
    return code;
}

static int run_ops(const cli_command *self, int argc, char **argv)
{
    return run(self, argc, argv, &bench_op_calls);
}

static int run_layer(const cli_command *self, int argc, char **argv)
{
    return run(self, argc, argv, &bench_layer_calls);
}

const cli_command bench_ops = {"bench ops",
                               "[options]",
                               "each operator in decode and prefill against the sum of its stages' bounds",
                               bench_call_option_table,
                               bench_option_table,
                               run_ops};
const cli_command bench_layer = {"bench layer",
                                 "[options]",
                                 "whole attention layers in decode and prefill against the sum of their stages' bounds",
                                 bench_call_option_table,
                                 bench_option_table,
                                 run_layer};
