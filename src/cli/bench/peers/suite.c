/* cli/bench/peers/suite.c - `dsv4 bench peers`: our products against oneDNN and OpenBLAS, our operators and layers against their
 * barrier version (barrier.h).
 *
 * TURNS  Contenders take turns within a round. A turn is an untimed run, which starts the contender's threads, and a few timed ones,
 *        each with other weights. Behind a turn of OpenMP its team is let go; whose threads cannot be let go is waited for. So no
 *        thread of one contender spins while another is measured, and all are bound to the same cores. */
#include "cli/bench/peers/suite.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/numbers.h"
#include "base/rng.h"
#include "cli/bench/bounds.h"
#include "cli/bench/peers/barrier.h"
#include "cli/bench/peers/dnnl.h"
#include "cli/bench/peers/products.h"
#include "cli/bench/work.h"

enum { RUNS_OF_A_TURN = 3, METER_ROUNDS = 5 /* of a contest, at most */, DEFAULT_ROUNDS = 10, MAX_ROWS = 256 };

typedef struct suite {
    const bench_call_options *o;
    machine *machine;
    dsv4_pool *pool;
    bench_meter *meter;
    bench_ceilings ceilings; /* of the contest at hand */
    size_t cold_bytes;
    double *samples; /* [PEERS_MAX_CONTENDERS][rounds * RUNS_OF_A_TURN] */
    bench_row rows[MAX_ROWS];
    int n_rows;
} suite;

static int n_samples(const suite *s)
{
    return (int)s->o->shared.rounds * RUNS_OF_A_TURN;
}

static double *samples_of(const suite *s, int contender)
{
    return s->samples + (size_t)contender * (size_t)n_samples(s);
}

/* ---- a turn ---------------------------------------------------------------------------------------------------------------- */

typedef void run_fn(void *state, int copy);

/* Who takes turns. */
typedef struct player {
    run_fn *run;
    void *state;
    int n_copies, next; /* the copy that comes next */
    bool is_openmp;
    double rest_s;
} player;

static void run_next(player *p)
{
    p->run(p->state, p->next);
    p->next = (p->next + 1) % p->n_copies;
}

static void rest(double seconds)
{
    const struct timespec pause = {0, (long)(seconds * 1e9)};
    if (seconds > 0) {
        nanosleep(&pause, NULL);
    }
}

/* Starts the team of the libraries, bound to the cores that our workers have. */
static dsv4_status begin_team(const suite *s, dsv4_error *err)
{
    int n_threads = dsv4_pool_n_threads(s->pool);
    return bench_peers_begin(s->machine, n_threads, n_threads <= machine_n_cores(s->machine), err);
}

static dsv4_status take_turn(const suite *s, player *p, double *seconds, dsv4_error *err)
{
    dsv4_status status = p->is_openmp ? begin_team(s, err) : DSV4_OK;
    if (status != DSV4_OK) {
        return status;
    }
    run_next(p);
    for (int i = 0; i < RUNS_OF_A_TURN; i++) {
        double begin_s = clock_s();
        run_next(p);
        seconds[i] = clock_s() - begin_s;
    }
    if (p->is_openmp) {
        bench_peers_end();
    }
    rest(p->rest_s);
    return DSV4_OK;
}

/* Ceilings are measured again between the rounds: what is divided by them was measured at the same time. */
static dsv4_status play(suite *s, const char *name, player *players, int n, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int rounds = (int)s->o->shared.rounds;
    progress bar = progress_begin(name);
    bench_meter_restart(s->meter);
    for (int i = 0; i < rounds * n && status == DSV4_OK; i++) {
        if (i % n == 0 && i / n % ((rounds + METER_ROUNDS - 1) / METER_ROUNDS) == 0) {
            bench_meter_round(s->meter);
        }
        status = take_turn(s, &players[i % n], samples_of(s, i % n) + i / n * RUNS_OF_A_TURN, err);
        progress_report(&bar, (double)(i + 1) / (rounds * n));
    }
    progress_end(&bar);
    s->ceilings = bench_meter_get(s->meter);
    return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

static void add_row(suite *s, const bench_row *row)
{
    bench_print_row(row);
    if (s->n_rows < MAX_ROWS) {
        s->rows[s->n_rows++] = *row;
    }
}

/* ---- products ---------------------------------------------------------------------------------------------------------------- */

static const struct {
    bool is_i8;
    int64_t k, n;
} product_shapes[] = {
    {false, 4096, 512}, {false, 4096, 1024}, {false, 4096, 2048}, {true, 1024, 32768},
    {true, 8192, 4096}, {true, 1024, 8192},  {true, 1024, 4096},
};
static const int64_t product_rows[] = {1, 8, 16, 128};

enum { N_SHAPES = sizeof product_shapes / sizeof *product_shapes, N_ROWS = sizeof product_rows / sizeof *product_rows };

/* A product and those that take part. */
typedef struct contest {
    peers_problem problem;
    const peers_contender *who[PEERS_MAX_CONTENDERS];
    player players[PEERS_MAX_CONTENDERS];
    int n;
} contest;

static const char *type_text(bool is_i8)
{
    return is_i8 ? "i8" : "bf16";
}

/* Uniform in -1 .. 1, or all INT8 values. The caller frees. */
static void *draw(bool is_i8, int64_t n, const char *name)
{
    const rng r = {0, rng_stream(name)};
    void *x = memory_array((size_t)n, is_i8 ? 1 : 2);
    for (int64_t i = 0; x != NULL && i < n; i++) {
        if (is_i8) {
            ((int8_t *)x)[i] = (int8_t)((int)rng_below(&r, (uint64_t)i, 256) - 128);
        } else {
            ((uint16_t *)x)[i] = num_bf16_from_f32((float)rng_uniform(&r, (uint64_t)i, -1, 1));
        }
    }
    return x;
}

/* Whoever lacks a product stays away. */
static dsv4_status enter(const suite *s, contest *c, dsv4_error *err)
{
    dsv4_status status = begin_team(s, err); /* it stores the weights */
    for (int i = 0; peers_contenders[i] != NULL && status == DSV4_OK; i++) {
        const peers_contender *who = peers_contenders[i];
        player *p = &c->players[c->n];
        if (who->of_i8 != c->problem.is_i8) {
            continue;
        }
        *p = (player){.run = who->run, .is_openmp = !who->is_ours && who->rest_s == 0, .rest_s = who->rest_s};
        status = who->open(who, &c->problem, &p->state, &p->n_copies, err);
        if (status == DSV4_OK) {
            c->who[c->n++] = who;
        } else if (status == DSV4_E_UNSUPPORTED && !who->is_ours) {
            status = DSV4_OK;
        }
    }
    bench_peers_end();
    return status;
}

static void leave(contest *c)
{
    for (int i = 0; i < c->n; i++) {
        c->who[i]->close(c->players[i].state);
    }
}

/* Ours is contender 0. INT8 products are exact; the sums of the others are near. */
static dsv4_status compare(const contest *c, dsv4_error *err)
{
    const peers_problem *p = &c->problem;
    double tolerance = p->is_i8 ? 0 : 1e-5 * (double)p->k;
    for (int i = 1; i < c->n; i++) {
        for (int64_t at = 0; at < p->m * p->n; at++) {
            double ours = c->who[0]->value(c->players[0].state, at / p->n, at % p->n),
                   theirs = c->who[i]->value(c->players[i].state, at / p->n, at % p->n);
            if (!(ours - theirs <= tolerance && theirs - ours <= tolerance)) {
                return dsv4_fail(err, DSV4_E_MISMATCH, "bench peers: %lld x %lld x %lld: %s has %g at [%lld, %lld], dsv4 %g",
                                 (long long)p->m, (long long)p->k, (long long)p->n, c->who[i]->name, theirs, (long long)(at / p->n),
                                 (long long)(at % p->n), ours);
            }
        }
    }
    return DSV4_OK;
}

/* Of its values as doubles: the same for all who computed the same. */
static uint64_t checksum_of(const contest *c, int contender)
{
    uint64_t sum = BENCH_CHECKSUM_OF_NOTHING;
    for (int64_t at = 0; at < c->problem.m * c->problem.n; at++) {
        double value = c->who[contender]->value(c->players[contender].state, at / c->problem.n, at % c->problem.n);
        sum = bench_checksum_bytes(sum, &value, sizeof value);
    }
    return sum;
}

static void report_contest(suite *s, const contest *c)
{
    const peers_problem *p = &c->problem;
    double bytes = (double)(p->k * p->n) * (p->is_i8 ? 1 : 2), ops = 2 * (double)p->m * (double)(p->k * p->n), ours_s = 0;
    double read_s = bytes / s->ceilings.read_bytes_s,
           multiply_s = ops / (p->is_i8 ? s->ceilings.ops_i8_s : s->ceilings.flops_bf16_s);
    for (int i = 0; i < c->n; i++) {
        bench_row row = {.name = type_text(p->is_i8),
                         .by = c->who[i]->name,
                         .weights = "cold",
                         .m = p->m,
                         .bytes = bytes,
                         .ops = ops,
                         .bound_s = read_s > multiply_s ? read_s : multiply_s,
                         .times = bench_times_of(samples_of(s, i), n_samples(s)),
                         .checksum = checksum_of(c, i)};
        snprintf(row.shape, sizeof row.shape, "%lldx%lld", (long long)p->k, (long long)p->n);
        ours_s = i == 0 ? row.times.median_s : ours_s;
        row.ratio = i == 0 ? 0 : row.times.median_s / ours_s;
        add_row(s, &row);
    }
}

static dsv4_status measure_product(suite *s, bool is_i8, int64_t m, int64_t k, int64_t n, dsv4_error *err)
{
    void *x = draw(is_i8, m * k, "x"), *w = draw(is_i8, k * n, "w");
    contest c = {.problem = {is_i8, m, k, n, x, w, s->cold_bytes, s->pool}};
    dsv4_status status =
        x == NULL || w == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench peers: no memory for a product") : DSV4_OK;
    if (status == DSV4_OK) {
        status = enter(s, &c, err);
    }
    if (status == DSV4_OK) {
        status = play(s, "products", c.players, c.n, err);
    }
    if (status == DSV4_OK) {
        status = compare(&c, err);
    }
    if (status == DSV4_OK) {
        report_contest(s, &c);
    }
    leave(&c);
    free(x);
    free(w);
    return status;
}

/* only: NULL, "bf16", or "bf16 4096x512". */
static bool is_wanted_product(int shape, const char *only)
{
    char text[64];
    snprintf(text, sizeof text, "%s %lldx%lld", type_text(product_shapes[shape].is_i8), (long long)product_shapes[shape].k,
             (long long)product_shapes[shape].n);
    return only == NULL || strcmp(only, text) == 0 || strcmp(only, type_text(product_shapes[shape].is_i8)) == 0;
}

static dsv4_status measure_products(suite *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < N_SHAPES; i++) {
        bool is_wanted = is_wanted_product(i, s->o->only);
        for (int row = 0; row < N_ROWS && is_wanted && status == DSV4_OK; row++) {
            status = measure_product(s, product_shapes[i].is_i8, product_rows[row], product_shapes[i].k, product_shapes[i].n, err);
        }
    }
    return status;
}

/* ---- operators and layers ------------------------------------------------------------------------------------------------------ */

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

static dsv4_status open_barriers(const suite *s, match *x, const bench_call *call, dsv4_error *err)
{
    x->barriers = calloc((size_t)x->copies.n, sizeof(bench_barrier *));
    dsv4_status status = x->barriers == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench peers: no memory for peers")
                                             : begin_team(s, err); /* it stores the weights */
    for (int i = 0; i < x->copies.n && status == DSV4_OK; i++) {
        status = bench_barrier_open(x->copies.launch[i].graph, bench_call_tokens(call), dsv4_pool_n_threads(s->pool),
                                    &x->barriers[i], err);
    }
    bench_peers_end();
    return status;
}

static dsv4_status report_match(suite *s, match *x, const bench_call *call, uint64_t checksum, dsv4_error *err)
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
                     .times = bench_times_of(samples_of(s, 0), n_samples(s)),
                     .checksum = checksum};
    snprintf(row.shape, sizeof row.shape, "%s %s", bench_mode_text(call->mode), bench_ratio_text(call));
    double ours_s = row.times.median_s;
    add_row(s, &row);
    row.by = "OpenMP + oneDNN";
    row.checksum = 0; /* its products do not reach the outputs */
    row.times = bench_times_of(samples_of(s, 1), n_samples(s));
    row.ratio = row.times.median_s / ours_s;
    add_row(s, &row);
    bench_bounds_free(&bounds);
    return DSV4_OK;
}

static dsv4_status measure_call(suite *s, const bench_call *call, dsv4_error *err)
{
    match x = {0};
    uint64_t checksum = 0;
    dsv4_status status = bench_copies_open(&x.copies, call, s->o, s->pool, err);
    if (status == DSV4_OK) {
        status = open_barriers(s, &x, call, err);
    }
    if (status == DSV4_OK) { /* half a turn around apart: data that both use is as cold for either */
        player players[] = {{.run = run_graph, .state = &x, .n_copies = x.copies.n},
                            {.run = run_barrier, .state = &x, .n_copies = x.copies.n, .next = x.copies.n / 2, .is_openmp = true}};
        status = play(s, x.copies.op->name, players, 2, err);
    }
    if (status == DSV4_OK) {
        status = bench_copies_checksum(&x.copies, 0, &checksum, err);
    }
    if (status == DSV4_OK) {
        status = report_match(s, &x, call, checksum, err);
    }
    for (int i = 0; x.barriers != NULL && i < x.copies.n; i++) {
        bench_barrier_close(x.barriers[i]);
    }
    free(x.barriers);
    bench_copies_close(&x.copies);
    return status;
}

static dsv4_status measure_calls(suite *s, const bench_call_list *list, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < list->n && status == DSV4_OK; i++) {
        if (bench_call_is_wanted(&list->calls[i], s->o)) {
            status = measure_call(s, &list->calls[i], err);
        }
    }
    return status;
}

/* ---- the suite ------------------------------------------------------------------------------------------------------------------ */

static dsv4_status measure_all(suite *s, dsv4_error *err)
{
    cli_print("peers: oneDNN %s; %s, context %lld, %d threads, %d runs of each\n", peer_dnnl_version(), s->o->preset, s->o->context,
              dsv4_pool_n_threads(s->pool), n_samples(s));
    bench_print_heads();
    dsv4_status status = measure_products(s, err);
    if (status == DSV4_OK) {
        status = measure_calls(s, &bench_op_calls, err);
    }
    if (status == DSV4_OK) {
        status = measure_calls(s, &bench_layer_calls, err);
    }
    if (status == DSV4_OK) {
        bench_print_ceilings(&s->ceilings, dsv4_pool_n_threads(s->pool));
    }
    return status;
}

static dsv4_status open_suite(suite *s, dsv4_error *err)
{
    s->samples = calloc((size_t)n_samples(s) * PEERS_MAX_CONTENDERS, sizeof *s->samples);
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
        status = bench_meter_open(s->pool, METER_ROUNDS, s->cold_bytes, &s->meter, err);
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
    for (int i = 0; i < N_SHAPES && o->only != NULL; i++) {
        if (is_wanted_product(i, o->only)) {
            return DSV4_OK;
        }
    }
    return bench_calls_check("bench peers", lists, 2, o, err);
}

int peers_run(const cli_command *self, int argc, char **argv)
{
    bench_call_options o = bench_default_call_options();
    dsv4_error err = {0};
    o.shared.rounds = DEFAULT_ROUNDS;
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    suite s = {.o = &o};
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
