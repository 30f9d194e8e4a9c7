/* cli/tune/measure.c - a batch of graphs of one call, each with its own tiles and packed weights, replayed in turn.
 *
 * COLD   All graphs of a batch share inputs and outputs, and each has its own weights. Where these together are no more than the
 *        caches hold several times, each point has several graphs.
 * A / A  The default tiles are measured as two points. How far these are apart is noise whatever its cause, also where one has the
 *        luckier addresses. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench/bench.h"
#include "cli/machine.h"
#include "cli/tune/tune.h"

enum { TIMES_CACHE = 4, FREE_MEMORY_SHARE = 3, MAX_COPIES = 8, MAX_BATCH = 16, N_DEFAULTS = 2, LEAST_ROUNDS = 5, TILE_TEXT = 64 };

/* A point, or the default, in a batch. */
typedef struct entrant {
    launch launch[MAX_COPIES];
    double *samples;
} entrant;

typedef struct batch {
    const tune_call *call;
    int n, n_copies, n_rounds; /* entrants: the defaults, then the points */
    entrant entrant[MAX_BATCH + N_DEFAULTS];
} batch;

/* How many points memory has room for. */
static int choose_size(const tune_call *call)
{
    size_t possible = call->weight_bytes == 0 ? MAX_BATCH : machine_free_bytes() / FREE_MEMORY_SHARE / call->weight_bytes;
    return possible < N_DEFAULTS + 1 ? 1 : possible > MAX_BATCH ? MAX_BATCH : (int)possible - N_DEFAULTS;
}

static int choose_copies(const tune_call *call, int n)
{
    if (call->weight_bytes == 0) {
        return 1;
    }
    size_t one = call->weight_bytes * (size_t)n, wanted = TIMES_CACHE * call->cache_bytes / one + 1,
           possible = machine_free_bytes() / FREE_MEMORY_SHARE / one;
    size_t copies = wanted < possible ? wanted : possible;
    return copies < 1 ? 1 : copies > MAX_COPIES ? MAX_COPIES : (int)copies;
}

/* ---- building ------------------------------------------------------------------------------------------------------------ */

static dsv4_status open_one(const tune_call *call, const tune_point *p, launch *l, dsv4_error *err)
{
    const dsv4_op *op = call->context.op;
    launch_options options = call->options;
    char text[OP_MAX_TILES][TILE_TEXT];
    options.default_tiles = true;
    options.op.n_sets = 0;
    for (size_t i = 0; i < op->n_tiles; i++) {
        if (p->tile[i] != call->context.tile[i]) {
            char *set = text[options.op.n_sets];
            snprintf(set, TILE_TEXT, "%s=%lld", op->tiles[i].name, (long long)p->tile[i]);
            options.sets[options.op.n_sets++] = set;
        }
    }
    l->shared_pool = call->pool;
    return launch_open(l, op, call->config, &options, call->io, err);
}

/* Same inputs, same bits. */
static dsv4_status check_outputs(const tune_call *call, const tune_point *p, const launch *l, dsv4_error *err)
{
    launch_restore(call->context.op, call->pristine, call->io);
    dsv4_status status = dsv4_exec_run(l->exec, 0, err);
    if (status == DSV4_OK && bench_outputs_checksum(call->context.op, call->io) != call->checksum) {
        char text[256];
        status = dsv4_fail(err, DSV4_E_MISMATCH, "tune: %s with %s: outputs differ from those of the default tiles",
                           call->context.op->name, tune_tiles_text(&call->context, p, text, sizeof text));
    }
    return status;
}

static dsv4_status open_entrant(batch *b, entrant *e, const tune_point *p, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    e->samples = calloc((size_t)b->call->rounds, sizeof *e->samples);
    if (e->samples == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tune: no memory for %d rounds", b->call->rounds);
    }
    for (int i = 0; i < b->n_copies && status == DSV4_OK; i++) {
        status = open_one(b->call, p, &e->launch[i], err);
        status = status == DSV4_OK ? check_outputs(b->call, p, &e->launch[i], err) : status;
    }
    return status;
}

static void close_entrants(batch *b)
{
    for (int i = b->n - 1; i >= 0; i--) {
        for (int k = b->n_copies - 1; k >= 0; k--) {
            launch_close(&b->entrant[i].launch[k]);
        }
        free(b->entrant[i].samples);
    }
}

/* ---- timing -------------------------------------------------------------------------------------------------------------- */

typedef struct turn {
    dsv4_exec *exec;
    dsv4_status status;
    dsv4_error *err;
} turn;

static double take_turn(void *context)
{
    turn *t = context;
    double begin_s = clock_s();
    t->status = dsv4_exec_run(t->exec, 0, t->err);
    return clock_s() - begin_s;
}

/* Every other round goes backwards, so that nobody always follows the same. */
static dsv4_status time_round(batch *b, int round, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < b->n && status == DSV4_OK; i++) {
        entrant *e = &b->entrant[round % 2 == 0 ? i : b->n - 1 - i];
        turn t = {.exec = e->launch[round % b->n_copies].exec, .err = err};
        e->samples[round] = bench_quiet_turn(take_turn, &t);
        status = t.status;
    }
    return status;
}

static dsv4_status time_rounds(batch *b, double until_s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    while (b->n_rounds < b->call->rounds && status == DSV4_OK && (b->n_rounds < LEAST_ROUNDS || clock_s() < until_s)) {
        status = time_round(b, b->n_rounds++, err);
        progress_report(b->call->bar, (clock_s() - b->call->begin_s) / b->call->budget_s);
    }
    return status;
}

static int count_changed(const tune_call *call, const tune_point *p)
{
    int n = 0;
    for (size_t i = 0; i < call->context.op->n_tiles; i++) {
        n += p->tile[i] != call->context.tile[i];
    }
    return n;
}

static void take_results(batch *b, tune_point *const *points)
{
    tune_time base[N_DEFAULTS];
    for (int i = 0; i < N_DEFAULTS; i++) {
        base[i] = tune_time_of(b->entrant[i].samples, b->n_rounds);
    }
    double default_s = (base[0].median_s + base[1].median_s) / 2, apart_s = fabs(base[0].median_s - base[1].median_s) / 2;
    for (int i = N_DEFAULTS; i < b->n; i++) {
        tune_point *p = points[i - N_DEFAULTS];
        tune_time t = tune_time_of(b->entrant[i].samples, b->n_rounds);
        p->median_s = t.median_s;
        p->result = (tune_result){.ratio = t.median_s / default_s,
                                  .error = fmax(t.error_s, apart_s) / default_s,
                                  .n_changed = count_changed(b->call, p),
                                  .n_blocks = dsv4_graph_get_info(b->entrant[i].launch[0].graph).n_blocks};
    }
}

/* The defaults, and points as long as there is time to build them. */
static dsv4_status open_entrants(batch *b, tune_point *const *points, int n, double until_s, dsv4_error *err)
{
    tune_point usual = {.median_s = 0};
    dsv4_status status = DSV4_OK;
    memcpy(usual.tile, b->call->context.tile, sizeof usual.tile);
    for (int i = 0; i < n + N_DEFAULTS && status == DSV4_OK && (i <= N_DEFAULTS || clock_s() < until_s); i++) {
        progress_report(b->call->bar, (clock_s() - b->call->begin_s) / b->call->budget_s);
        b->n++;
        status = open_entrant(b, &b->entrant[i], i < N_DEFAULTS ? &usual : points[i - N_DEFAULTS], err);
    }
    return status;
}

dsv4_status tune_measure(const tune_call *call, tune_point *const *points, int n, double until_s, int *n_measured, dsv4_error *err)
{
    batch *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tune: no memory for a batch");
    }
    int most = choose_size(call), size = n < most ? n : most;
    double begin_s = clock_s(), share_s = (until_s - begin_s) * size / n;
    *b = (batch){.call = call, .n_copies = choose_copies(call, size + N_DEFAULTS)};
    dsv4_status status = open_entrants(b, points, size, begin_s + share_s / 2, err);
    status = status == DSV4_OK ? time_rounds(b, begin_s + share_s, err) : status;
    if (status == DSV4_OK) {
        take_results(b, points);
        *n_measured = b->n - N_DEFAULTS;
    }
    close_entrants(b);
    free(b);
    return status;
}
