/* cli/tune/search.c - which points are measured, and in what order: single axes, pairs, finalists. */
#include <string.h>

#include "base/clock.h"
#include "cli/bench/bench.h"
#include "cli/tune/tune.h"
#include "ops/names.h"

static const double sweeps_share = 0.5, pairs_share = 0.8; /* of the budget, when each part ends */
enum { TOP_AXES = 3 };

/* ---- planning ------------------------------------------------------------------------------------------------------------ */

/* Whether a list "n_tile,t_tile" has the name. */
static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static int find_tile(const dsv4_op *op, const char *name, size_t n)
{
    int i = 0;
    while (i < (int)op->n_tiles && (strlen(op->tiles[i].name) != n || memcmp(op->tiles[i].name, name, n) != 0)) {
        i++;
    }
    return i;
}

static dsv4_status check_list(const dsv4_op *op, const char *list, dsv4_error *err)
{
    char known[256] = "";
    for (size_t i = 0; i < op->n_tiles; i++) {
        op_append_name(known, sizeof known, op->tiles[i].name);
    }
    for (const char *at = list; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        size_t n = strcspn(at, ",");
        if (find_tile(op, at, n) == (int)op->n_tiles) {
            return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: tile \"%.*s\" is unknown, expected some of %s", op->name, (int)n, at,
                             known);
        }
    }
    return DSV4_OK;
}

static tune_point usual_point(const op_context *c)
{
    tune_point p = {.result = {.ratio = 1}};
    memcpy(p.tile, c->tile, sizeof p.tile);
    return p;
}

dsv4_status tune_plan(const op_context *c, const char *wanted, tune_search *s, dsv4_error *err)
{
    dsv4_status status = check_list(c->op, wanted, err);
    for (size_t i = 0; i < c->op->n_tiles && status == DSV4_OK; i++) {
        tune_axis axis = tune_axis_of(c, i);
        if ((wanted != NULL && !is_listed(wanted, c->op->tiles[i].name)) || axis.n < 2) {
            continue;
        }
        tune_sweep *sweep = &s->sweep[s->n_sweeps++];
        sweep->axis = axis;
        for (int v = 0; v < axis.n; v++) {
            sweep->point[v] = usual_point(c);
            sweep->point[v].tile[i] = axis.value[v];
            sweep->point[v].result.ratio = v == axis.start;
        }
    }
    return status;
}

/* ---- measuring ----------------------------------------------------------------------------------------------------------- */

/* Measures points in as many batches as they need; those behind until_s are left out. */
static dsv4_status measure(const tune_call *call, tune_search *s, tune_point *const *points, int n, double until_s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int at = 0, size = 0; at < n && status == DSV4_OK; at += size) {
        if (at > 0 && clock_s() > until_s) {
            s->cut = true;
            break;
        }
        status = tune_measure(call, points + at, n - at, until_s, &size, err);
        s->n_measured += size;
    }
    return status;
}

/* ---- single axes ---------------------------------------------------------------------------------------------------------- */

/* The values of all axes but the defaults, those next to a default first: a budget that ends early leaves out far values. */
static int list_swept(tune_search *s, tune_point **out)
{
    int n = 0;
    for (int distance = 1; distance < TUNE_MAX_VALUES; distance++) {
        for (int i = 0; i < s->n_sweeps; i++) {
            tune_sweep *sweep = &s->sweep[i];
            int below = sweep->axis.start - distance, above = sweep->axis.start + distance;
            if (below >= 0) {
                out[n++] = &sweep->point[below];
            }
            if (above < sweep->axis.n) {
                out[n++] = &sweep->point[above];
            }
        }
    }
    return n;
}

static dsv4_status sweep_axes(const tune_call *call, tune_search *s, double end_s, dsv4_error *err)
{
    tune_point *points[OP_MAX_TILES * TUNE_MAX_VALUES];
    int n = list_swept(s, points);
    dsv4_status status = measure(call, s, points, n, end_s, err);
    for (int i = 0; i < s->n_sweeps && status == DSV4_OK; i++) {
        tune_sweep *sweep = &s->sweep[i];
        tune_result results[TUNE_MAX_VALUES];
        sweep->point[sweep->axis.start].result.n_blocks = call->n_blocks;
        for (int v = 0; v < sweep->axis.n; v++) {
            results[v] = sweep->point[v].result;
        }
        sweep->weight = tune_weigh(results, sweep->axis.n, sweep->axis.start, TUNE_FLOOR);
    }
    return status;
}

/* ---- pairs ----------------------------------------------------------------------------------------------------------------- */

/* The default and the fastest others of an axis, ascending. */
static int choose_grid(const tune_sweep *sweep, int64_t *values)
{
    bool taken[TUNE_MAX_VALUES] = {[0] = false};
    int n = 0;
    taken[sweep->axis.start] = true;
    for (int k = 1; k < TUNE_GRID && k < sweep->axis.n; k++) {
        int best = -1;
        for (int v = 0; v < sweep->axis.n; v++) {
            double ratio = sweep->point[v].result.ratio;
            if (!taken[v] && ratio > 0 && (best < 0 || ratio < sweep->point[best].result.ratio)) {
                best = v;
            }
        }
        if (best >= 0) {
            taken[best] = true;
        }
    }
    for (int v = 0; v < sweep->axis.n; v++) {
        if (taken[v]) {
            values[n++] = sweep->axis.value[v];
        }
    }
    return n;
}

static const tune_point *find_swept(const tune_sweep *sweep, int64_t value)
{
    int v = 0;
    while (sweep->axis.value[v] != value) {
        v++;
    }
    return &sweep->point[v];
}

/* Where one of the two has its default, the sweep of the other has measured it. */
static dsv4_status measure_pair(const tune_call *call, tune_search *s, const tune_sweep *down, const tune_sweep *across,
                                double until_s, dsv4_error *err)
{
    tune_pair *p = &s->pair[s->n_pairs++];
    const tune_sweep *sweep[2] = {down, across};
    tune_point *fresh[TUNE_GRID * TUNE_GRID];
    int n = 0;
    for (int k = 0; k < 2; k++) {
        p->axis[k] = &sweep[k]->axis;
        p->n[k] = choose_grid(sweep[k], p->value[k]);
    }
    for (int i = 0; i < p->n[0]; i++) {
        for (int j = 0; j < p->n[1]; j++) {
            const tune_axis *a = p->axis[0], *b = p->axis[1];
            tune_point *cell = &p->point[i][j];
            bool usual_down = p->value[0][i] == a->value[a->start], usual_across = p->value[1][j] == b->value[b->start];
            *cell = *find_swept(usual_down ? across : down, p->value[usual_down ? 1 : 0][usual_down ? j : i]);
            if (!usual_down && !usual_across) {
                cell->tile[b->tile] = p->value[1][j];
                cell->result = (tune_result){.ratio = 0};
                fresh[n++] = cell;
            }
        }
    }
    return measure(call, s, fresh, n, until_s, err);
}

/* The third axis only where it gains something. The first pair always, so that there is a map. */
static dsv4_status measure_pairs(const tune_call *call, tune_search *s, const int *rank, double end_s, dsv4_error *err)
{
    static const int pairs[TUNE_MAX_PAIRS][2] = {{0, 1}, {0, 2}, {1, 2}};
    bool has_third = s->n_sweeps >= TOP_AXES && s->sweep[rank[2]].weight.gain > 0;
    int n = has_third ? TUNE_MAX_PAIRS : s->n_sweeps >= 2 ? 1 : 0;
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < n && status == DSV4_OK; i++) {
        double now_s = clock_s();
        if (i > 0 && now_s > end_s) {
            s->cut = true;
            break;
        }
        status = measure_pair(call, s, &s->sweep[rank[pairs[i][0]]], &s->sweep[rank[pairs[i][1]]],
                              now_s + (end_s - now_s) / (n - i), err);
    }
    return status;
}

/* ---- finalists ------------------------------------------------------------------------------------------------------------- */

static bool is_same(const tune_point *a, const tune_point *b)
{
    return memcmp(a->tile, b->tile, sizeof a->tile) == 0;
}

static void add_finalist(tune_search *s, const tune_point *p)
{
    for (int i = 0; i < s->n_finalists; i++) {
        if (is_same(&s->finalist[i], p)) {
            return;
        }
    }
    if (s->n_finalists < TUNE_MAX_FINALISTS) {
        s->finalist[s->n_finalists++] = *p;
    }
}

static const tune_point *faster(const tune_point *a, const tune_point *b)
{
    return a == NULL || (b->result.ratio > 0 && b->result.ratio < a->result.ratio) ? b : a;
}

static const tune_point *fastest_of_sweep(const tune_sweep *sweep)
{
    const tune_point *best = &sweep->point[sweep->axis.start];
    for (int v = 0; v < sweep->axis.n; v++) {
        best = faster(best, &sweep->point[v]);
    }
    return best;
}

/* The default; the fastest single change; the fastest of each pair; what gains alone on the axes that matter most, together. */
static void choose_finalists(const op_context *c, tune_search *s, const int *rank)
{
    tune_point together = usual_point(c);
    const tune_point *single = NULL;
    add_finalist(s, &together);
    for (int i = 0; i < s->n_sweeps; i++) {
        const tune_sweep *sweep = &s->sweep[rank[i]];
        const tune_point *best = fastest_of_sweep(sweep);
        single = faster(single, best);
        if (i < TOP_AXES && sweep->weight.gain > 0) {
            together.tile[sweep->axis.tile] = best->tile[sweep->axis.tile];
        }
    }
    if (single != NULL) {
        add_finalist(s, single);
    }
    for (int i = 0; i < s->n_pairs; i++) {
        const tune_pair *p = &s->pair[i];
        const tune_point *best = NULL;
        for (int k = 0; k < p->n[0] * p->n[1]; k++) {
            const tune_point *cell = &p->point[k / p->n[1]][k % p->n[1]];
            best = cell->result.ratio > 0 ? faster(best, cell) : best;
        }
        add_finalist(s, best);
    }
    add_finalist(s, &together);
}

/* Several times, each with graphs built anew: where the system puts packed weights makes a difference too, which no number of
 * replays shows. Stops behind the second when the time is up. */
static dsv4_status repeat_finalists(const tune_call *call, tune_search *s, double end_s, dsv4_error *err)
{
    tune_result results[TUNE_MAX_FINALISTS][TUNE_MAX_REPEATS];
    double median_s[TUNE_MAX_FINALISTS][TUNE_MAX_REPEATS];
    tune_point *points[TUNE_MAX_FINALISTS];
    dsv4_status status = DSV4_OK;
    int n = 0;
    for (int i = 0; i < s->n_finalists; i++) {
        points[i] = &s->finalist[i];
    }
    while (n < TUNE_MAX_REPEATS && status == DSV4_OK && (n < 2 || clock_s() < end_s)) {
        double now_s = clock_s();
        status = measure(call, s, points, s->n_finalists, now_s + (end_s - now_s) / (TUNE_MAX_REPEATS - n), err);
        for (int i = 0; i < s->n_finalists; i++) {
            results[i][n] = s->finalist[i].result;
            median_s[i][n] = s->finalist[i].median_s;
        }
        n++;
    }
    for (int i = 0; i < s->n_finalists && status == DSV4_OK; i++) {
        s->finalist[i].result = tune_combine(results[i], n);
        s->finalist[i].median_s = bench_times_of(median_s[i], n).median_s;
    }
    return status;
}

dsv4_status tune_run(const tune_call *call, double budget_s, tune_search *s, dsv4_error *err)
{
    int rank[OP_MAX_TILES];
    tune_weight weights[OP_MAX_TILES];
    tune_result results[TUNE_MAX_FINALISTS];
    double begin_s = clock_s();
    dsv4_status status = sweep_axes(call, s, begin_s + sweeps_share * budget_s, err);
    for (int i = 0; i < s->n_sweeps; i++) {
        weights[i] = s->sweep[i].weight;
    }
    tune_rank(weights, s->n_sweeps, rank);
    status = status == DSV4_OK ? measure_pairs(call, s, rank, begin_s + pairs_share * budget_s, err) : status;
    if (status != DSV4_OK) {
        return status;
    }
    choose_finalists(&call->context, s, rank);
    status = repeat_finalists(call, s, begin_s + budget_s, err);
    for (int i = 0; i < s->n_finalists; i++) {
        results[i] = s->finalist[i].result;
    }
    int chosen = tune_choose(results, s->n_finalists, TUNE_FLOOR);
    s->chosen = chosen < 0 ? 0 : chosen;
    return status;
}
