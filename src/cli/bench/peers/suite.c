/* cli/bench/peers/suite.c - `dsv4 bench peers`: our products against oneDNN and OpenBLAS, our operators and layers against their
 * barrier version (barrier.h). */
#include "cli/bench/peers/suite.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bounds.h"
#include "cli/bench/peers/barrier.h"
#include "cli/bench/peers/contest.h"
#include "cli/bench/peers/dnnl.h"
#include "cli/bench/peers/products.h"
#include "cli/bench/work.h"

/* ---- operators and layers ------------------------------------------------------------------------------------------------------
 * */

/* Our graphs and the peer's versions of them. */
typedef struct match {
    bench_copies copies;
    bench_barrier **barriers; /* [copies.n] */
} match;

static void run_graph(void *state, int copy)
{
    match *x = state;
    dsv4_status not_refused_before = dsv4_exec_run(x->copies.launch[copy].exec, 0, NULL);
    (void)not_refused_before;
}

static void run_barrier(void *state, int copy)
{
    match *x = state;
    bench_barrier_run(x->barriers[copy]);
}

/* lacks: the library has no such product, BF16 without AVX-512 for one. */
static dsv4_status open_barriers(const peers_suite *s, match *x, bool *lacks, dsv4_error *err)
{
    x->barriers = calloc((size_t)x->copies.n, sizeof(bench_barrier *));
    dsv4_status status = x->barriers == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench peers: no memory for peers")
                                             : peers_begin_team(s, err); /* it stores the weights */
    for (int i = 0; i < x->copies.n && status == DSV4_OK; i++) {
        status = bench_barrier_open(x->copies.launch[i].graph, dsv4_pool_n_threads(s->pool), &x->barriers[i], err);
        *lacks = status == DSV4_E_UNSUPPORTED;
    }
    bench_peers_end();
    return status;
}

static dsv4_status report_match(peers_suite *s, match *x, const bench_call *call, uint64_t checksum, dsv4_error *err)
{
    bench_bounds bounds = {0};
    dsv4_status status =
        bench_bounds_find(&x->copies.launch[0], &x->copies.io[0], &x->copies.config, call, s->o->context, &bounds, err);
    if (status != DSV4_OK) {
        return status;
    }
    bench_row row = {.name = call->family,
                     .by = "dsv4",
                     .weights = x->copies.is_cold ? "cold" : "cached",
                     .m = bench_call_tokens(call),
                     .bytes = bench_bounds_bytes(&bounds),
                     .ops = bench_bounds_ops(&bounds),
                     .bound_s = bench_bounds_total_s(&bounds, &s->ceilings),
                     .times = bench_times_of(peers_samples_of(s, 0), peers_n_samples(s)),
                     .checksum = checksum};
    snprintf(row.shape, sizeof row.shape, "%s %s", bench_mode_text(call->mode), bench_ratio_text(call));
    double ours_s = row.times.median_s;
    peers_add_row(s, &row);
    row.by = "OpenMP + oneDNN";
    row.checksum = 0; /* its products do not reach the outputs */
    row.times = bench_times_of(peers_samples_of(s, 1), peers_n_samples(s));
    row.ratio = row.times.median_s / ours_s;
    peers_add_row(s, &row);
    bench_bounds_free(&bounds);
    return DSV4_OK;
}

/* Half a turn around apart: data that both use is as cold for either. */
static dsv4_status play_match(peers_suite *s, match *x, const bench_call *call, dsv4_error *err)
{
    peers_player players[] = {
        {.run = run_graph, .state = x, .n_copies = x->copies.n},
        {.run = run_barrier, .state = x, .n_copies = x->copies.n, .next = x->copies.n / 2, .is_openmp = true}};
    uint64_t checksum = 0;
    dsv4_status status = peers_play(s, x->copies.op->name, players, 2, err);
    if (status == DSV4_OK) {
        status = bench_copies_checksum(&x->copies, 0, &checksum, err);
    }
    return status == DSV4_OK ? report_match(s, x, call, checksum, err) : status;
}

static dsv4_status measure_call(peers_suite *s, const bench_call *call, dsv4_error *err)
{
    match x = {0};
    bool lacks = false;
    dsv4_status status = bench_copies_open(&x.copies, call, s->o, s->pool, err);
    if (status == DSV4_OK) {
        status = open_barriers(s, &x, &lacks, err);
    }
    if (lacks) {
        cli_print("%s %s: not compared: %s\n", x.copies.op->name, bench_mode_text(call->mode), err->text);
        status = DSV4_OK;
    } else if (status == DSV4_OK) {
        status = play_match(s, &x, call, err);
    }
    for (int i = 0; x.barriers != NULL && i < x.copies.n; i++) {
        bench_barrier_close(x.barriers[i]);
    }
    free(x.barriers);
    bench_copies_close(&x.copies);
    return status;
}

static dsv4_status measure_calls(peers_suite *s, const bench_call_list *list, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < list->n && status == DSV4_OK; i++) {
        if (bench_call_is_wanted(&list->calls[i], s->o)) {
            status = measure_call(s, &list->calls[i], err);
        }
    }
    return status;
}

/* ---- the suite ------------------------------------------------------------------------------------------------------------------
 * */

static dsv4_status measure_all(peers_suite *s, dsv4_error *err)
{
    cli_print("peers: oneDNN %s; %s, context %lld, %d threads, %d runs of each\n", peer_dnnl_version(), s->o->preset, s->o->context,
              dsv4_pool_n_threads(s->pool), peers_n_samples(s));
    bench_print_heads();
    dsv4_status status = peers_measure_products(s, err);
    if (status == DSV4_OK) {
        status = measure_calls(s, &bench_op_calls, err);
    }
    if (status == DSV4_OK) {
        status = measure_calls(s, &bench_layer_calls, err);
    }
    if (status == DSV4_OK && s->ceilings.read_bytes_s > 0) {
        bench_print_ceilings(&s->ceilings, dsv4_pool_n_threads(s->pool));
    }
    return status;
}

static dsv4_status open_suite(peers_suite *s, dsv4_error *err)
{
    s->samples = calloc((size_t)peers_n_samples(s) * PEERS_MAX_CONTENDERS, sizeof *s->samples);
    dsv4_status status = s->samples == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench peers: no memory for %lld rounds", s->o->shared.rounds)
                             : bench_cold_bytes(&s->cold_bytes, err);
    if (status == DSV4_OK) {
        status = machine_open(&s->machine, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_pool_create((int)s->o->shared.n_threads, &s->pool, err);
    }
    if (status == DSV4_OK) {
        status = bench_meter_open(s->pool, PEERS_METER_ROUNDS, s->cold_bytes, &s->meter, err);
    }
    if (status == DSV4_OK) {
        omp_set_dynamic(0);
        omp_set_num_threads(dsv4_pool_n_threads(s->pool));
    }
    return status;
}

static dsv4_status check_options(const bench_call_options *o, dsv4_error *err)
{
    const bench_call_list lists[] = {bench_op_calls, bench_layer_calls};
    if (peers_has_product(o->only)) {
        return DSV4_OK;
    }
    return bench_calls_check("bench peers", lists, 2, o, err);
}

int peers_run(const cli_command *self, int argc, char **argv)
{
    bench_call_options o = bench_default_call_options();
    dsv4_error err = {0};
    o.shared.rounds = PEERS_DEFAULT_ROUNDS;
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    peers_suite s = {.o = &o};
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "bench peers: got \"%s\", expected options alone", argv[first])
                             : check_options(&o, &err);
    if (status == DSV4_OK) {
        status = open_suite(&s, &err);
    }
    if (status == DSV4_OK) {
        status = measure_all(&s, &err);
    }
    const bench_results results = {.suite = strchr(self->name, ' ') + 1,
                                   .n_threads = s.pool != NULL ? dsv4_pool_n_threads(s.pool) : 0,
                                   .rounds = (int)o.shared.rounds,
                                   .ceilings = s.ceilings,
                                   .rows = s.rows,
                                   .n_rows = s.n_rows};
    code = bench_results_finish(&results, &o.shared, status, &err);
    bench_meter_close(s.meter);
    dsv4_pool_destroy(s.pool);
    machine_close(s.machine);
    free(s.samples);
    return code;
}
