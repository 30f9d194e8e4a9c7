#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

static double clip(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static void reverse(trace_path *p)
{
    for (int64_t i = 0, j = p->n_steps - 1; i < j; i++, j--) {
        trace_step step = p->steps[i];
        p->steps[i] = p->steps[j];
        p->steps[j] = step;
    }
}

/* ---- the longest path of the graph ------------------------------------------------------------------------------------------- */

static double duration_s(const trace *t, const trace_index *x, int32_t task)
{
    int32_t event = x->event[task];
    if (event == TRACE_NONE || t->run.events[event].end_s < t->run.events[event].start_s) {
        return 0;
    }
    return t->run.events[event].end_s - t->run.events[event].start_s;
}

/* from[n_tasks]: the task before on the longest path to each; length_s[n_tasks]: of that path with the task itself. Returns the last
 * task of the longest one. */
static int32_t find_longest(const trace *t, const trace_index *x, int32_t *from, double *length_s)
{
    const trace_graph *g = &t->graph;
    int32_t last = TRACE_NONE;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        from[i] = TRACE_NONE;
        length_s[i] = 0;
    }
    for (int64_t n = 0; n < g->n_tasks; n++) {
        int32_t id = x->order[n];
        length_s[id] += duration_s(t, x, id);
        last = last == TRACE_NONE || length_s[id] > length_s[last] ? id : last;
        for (int64_t i = g->tasks[id].edge; i < g->tasks[id].edge_end; i++) {
            int32_t to = g->edges[i].to;
            if (from[to] == TRACE_NONE || length_s[id] > length_s[to]) {
                from[to] = id;
                length_s[to] = length_s[id];
            }
        }
    }
    return last;
}

static bool make_longest(const trace *t, const trace_index *x, trace_path *out)
{
    size_t n = (size_t)t->graph.n_tasks;
    int32_t *from = memory_array(n, sizeof *from);
    double *length_s = memory_array(n, sizeof *length_s);
    out->steps = memory_zeroed_array((size_t)t->run.n_events, sizeof *out->steps);
    bool ok = from != NULL && length_s != NULL && out->steps != NULL;
    int32_t task = ok ? find_longest(t, x, from, length_s) : TRACE_NONE;
    out->blocks_s = task != TRACE_NONE ? length_s[task] : 0;
    for (; task != TRACE_NONE; task = from[task]) {
        if (x->event[task] != TRACE_NONE) {
            out->steps[out->n_steps++].event = x->event[task];
        }
    }
    reverse(out);
    free(from);
    free(length_s);
    return ok;
}

/* ---- paths as executed ------------------------------------------------------------------------------------------------------- */

/* Divides the time in front of a block, from the end of the step before to its start. */
static void divide_gap(const trace_event *e, const trace_blame *b, bool by_need, double from_s, double start_s, double *gap_s)
{
    double since_s = clip(by_need ? e->ready_s : b->since_s, from_s, start_s), left_s = start_s - since_s;
    gap_s[TRACE_NO_WORK] = since_s - from_s;
    gap_s[TRACE_STEAL] = clip(b->delay_s[TRACE_STEAL], 0, left_s);
    left_s -= gap_s[TRACE_STEAL];
    gap_s[TRACE_NO_CORE] = by_need ? clip(b->delay_s[TRACE_NO_CORE], 0, left_s) : 0;
    gap_s[TRACE_PICKUP] = left_s - gap_s[TRACE_NO_CORE];
}

static int32_t find_last(const trace_run *run)
{
    int32_t last = run->n_events > 0 ? 0 : TRACE_NONE;
    for (int32_t i = 1; i < run->n_events; i++) {
        last = run->events[i].end_s > run->events[last].end_s ? i : last;
    }
    return last;
}

/* From the end back; each step begins where the time accounted for so far does. */
static void walk_back(const trace *t, const trace_index *x, const trace_blame *blames, bool by_need, trace_path *out)
{
    double until_s = x->end_s;
    int32_t at = find_last(&t->run);
    bool for_core = false;
    while (at != TRACE_NONE && out->n_steps < t->run.n_events) {
        const trace_event *e = &t->run.events[at];
        const trace_blame *b = &blames[at];
        trace_step *step = &out->steps[out->n_steps++];
        int32_t before = by_need ? b->made_ready : b->explained;
        double start_s = clip(e->start_s, x->begin_s, until_s);
        double from_s = before == TRACE_NONE ? x->begin_s : clip(t->run.events[before].end_s, x->begin_s, start_s);
        *step = (trace_step){.event = at, .by_core = before != b->made_ready};
        divide_gap(e, b, by_need, from_s, start_s, step->gap_s);
        for (int r = 0; r < TRACE_N_REASONS; r++) {
            out->gap_s[r] += step->gap_s[r];
        }
        out->blocks_s += until_s - start_s;
        out->for_core_s += for_core ? until_s - start_s : 0;
        out->n_by_core += step->by_core;
        for_core = step->by_core;
        until_s = from_s;
        at = before;
    }
    out->gap_s[TRACE_NO_WORK] += until_s - x->begin_s;
    reverse(out);
}

static bool make_executed(const trace *t, const trace_index *x, const trace_blame *blames, bool by_need, trace_path *out)
{
    out->steps = memory_array((size_t)t->run.n_events, sizeof *out->steps);
    if (out->steps != NULL) {
        walk_back(t, x, blames, by_need, out);
    }
    return out->steps != NULL;
}

/* ---- both -------------------------------------------------------------------------------------------------------------------- */

static trace_stage_stats *row_of_step(const trace *t, const int32_t *row_of, trace_report *r, const trace_step *step)
{
    return &r->stages[row_of[t->graph.tasks[t->run.events[step->event].task].stage]];
}

static void share_among_stages(const trace *t, const trace_index *x, const int32_t *row_of, trace_report *r)
{
    for (int64_t i = 0; i < r->longest.n_steps; i++) {
        const trace_step *step = &r->longest.steps[i];
        row_of_step(t, row_of, r, step)->longest_path_s += duration_s(t, x, t->run.events[step->event].task);
    }
    for (int64_t i = 0; i < r->executed.n_steps; i++) {
        const trace_step *step = &r->executed.steps[i];
        row_of_step(t, row_of, r, step)->executed_path_s += duration_s(t, x, t->run.events[step->event].task);
    }
}

dsv4_status trace_report_paths(const trace *t, const trace_index *x, const trace_blame *blames, const int32_t *row_of,
                               trace_report *r, dsv4_error *err)
{
    if (!make_longest(t, x, &r->longest) || !make_executed(t, x, blames, false, &r->executed) ||
        !make_executed(t, x, blames, true, &r->needs)) {
        return trace_report_no_memory(t, err);
    }
    share_among_stages(t, x, row_of, r);
    return DSV4_OK;
}
