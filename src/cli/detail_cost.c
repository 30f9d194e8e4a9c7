/* cli/detail_cost.c - what it costs to record a run.
 *
 * PAIRS  A turn of each exec, in alternating order; a turn replays for 5 ms or more. The median of the pairs' ratios is the cost, and
 *        what lies between the lowest and the highest tenth of them says how sure that is. On a busy machine the fastest turns say more. */
#include <math.h>

#include "base/clock.h"
#include "cli/bench/bench.h"
#include "cli/detail.h"

enum { MAX_PAIRS = 61, MIN_PAIRS = 3, MAX_REPLAYS = 1000 };
static const double turn_s = 5e-3, budget_s = 3;

typedef struct contender {
    dsv4_exec *exec;
    int n_replays; /* of a turn */
    double fastest_s;
    dsv4_status status;
    dsv4_error err;
} contender;

static double take_turn(void *context)
{
    contender *c = context;
    double begin_s = clock_s();
    for (int i = 0; i < c->n_replays && c->status == DSV4_OK; i++) {
        c->status = dsv4_exec_run(c->exec, 0, &c->err);
    }
    double seconds = (clock_s() - begin_s) / c->n_replays;
    c->fastest_s = seconds < c->fastest_s ? seconds : c->fastest_s;
    return seconds;
}

/* Fills ratios[0 .. return value). */
static int measure_pairs(contender *traced, contender *untraced, double *ratios)
{
    take_turn(untraced); /* warm, as the other one is */
    double once_s = take_turn(untraced);
    double n_replays = once_s * MAX_REPLAYS > turn_s ? turn_s / once_s : MAX_REPLAYS;
    traced->n_replays = untraced->n_replays = n_replays > 1 ? (int)n_replays : 1;
    traced->fastest_s = untraced->fastest_s = INFINITY;
    double end_s = clock_s() + budget_s;
    int n_pairs = 0;
    for (; n_pairs < MAX_PAIRS && (n_pairs < MIN_PAIRS || clock_s() < end_s); n_pairs++) {
        bool traced_first = n_pairs % 2 == 0;
        double first_s = bench_quiet_turn(take_turn, traced_first ? traced : untraced);
        double second_s = bench_quiet_turn(take_turn, traced_first ? untraced : traced);
        ratios[n_pairs] = traced_first ? first_s / second_s : second_s / first_s;
    }
    return n_pairs;
}

dsv4_status detail_measure_cost(const launch *l, dsv4_exec *exec, int level, json_t *results, dsv4_error *err)
{
    contender traced = {.exec = exec, .n_replays = 1}, untraced = {.n_replays = 1};
    double ratios[MAX_PAIRS];
    dsv4_status status = dsv4_exec_create(l->graph, l->pool, 0, &untraced.exec, err);
    if (status != DSV4_OK) {
        return status;
    }
    int n_pairs = measure_pairs(&traced, &untraced, ratios);
    dsv4_exec_destroy(untraced.exec);
    if (traced.status != DSV4_OK || untraced.status != DSV4_OK) {
        const dsv4_error *refusal = traced.status != DSV4_OK ? &traced.err : &untraced.err;
        return dsv4_fail(err, refusal->status, "%s", refusal->text);
    }
    bench_times r = bench_times_of(ratios, n_pairs);
    cli_print("  tracing at level %d costs %.1f %% (median of %d pairs with untraced replays, 80 %% of them between %.1f and %.1f "
              "%%; fastest turns: %.1f %%)\n",
              level, (r.median_s - 1) * 100, n_pairs, (r.p10_s - 1) * 100, (r.p90_s - 1) * 100,
              (traced.fastest_s / untraced.fastest_s - 1) * 100);
    json_object_set_new(results, "tracing",
                        json_pack("{s:i, s:f, s:f, s:f, s:f, s:i}", "level", level, "cost", r.median_s - 1, "cost_p10", r.p10_s - 1,
                                  "cost_p90", r.p90_s - 1, "cost_fastest", traced.fastest_s / untraced.fastest_s - 1, "pairs",
                                  n_pairs));
    return DSV4_OK;
}
