#include "cli/detail.h"

#include <string.h>

#include "cli/counters.h"
#include "rt/exec.h"

enum { REASON_BYTES = 160 };

/* ---- options --------------------------------------------------------------------------------------------------------------------- */

dsv4_status detail_settle(const detail_options *o, detail *out, dsv4_error *err)
{
    detail d = {.trace = o->trace, .deps = o->deps, .csv = o->csv, .ceilings = o->ceilings};
    d.is_asked = o->trace != NULL || o->deps != NULL || o->csv != NULL || o->pmu != NULL || o->level != 0 || o->ceilings;
    d.level = o->level != 0 ? (int)o->level : o->pmu != NULL ? RT_LEVEL_COUNTERS : RT_LEVEL_TIMES;
    if (o->pmu != NULL && d.level < RT_LEVEL_COUNTERS) {
        return dsv4_fail(err, DSV4_E_USAGE, "--pmu: counters need level %d or %d, got --level %d", RT_LEVEL_COUNTERS,
                         RT_LEVEL_WAITS, d.level);
    }
    if (d.level >= RT_LEVEL_COUNTERS) {
        dsv4_status status = rt_pmu_choose(o->pmu != NULL ? o->pmu : "software", &d.pmu, err);
        if (status != DSV4_OK) {
            return status;
        }
    }
    *out = d;
    return DSV4_OK;
}

static void list_event(const rt_pmu_event *e, int reason, json_t *events)
{
    char text[REASON_BYTES] = "";
    if (reason != 0) {
        rt_pmu_reason_text(reason, text, sizeof text);
    }
    cli_print("  %-24s %s%s\n", e->name, reason == 0 ? "yes" : "no: ", text);
    json_array_append_new(events, json_pack("{s:s, s:b, s:s}", "name", e->name, "available", reason == 0, "reason", text));
}

/* In the order of the group, which both lists of a choice keep. */
static json_t *list_group(const rt_pmu_group *g)
{
    rt_pmu_choice c = rt_pmu_look(g);
    json_t *events = json_array();
    int n_missing = 0;
    cli_print("%s: %s\n", g->name, g->what);
    for (const rt_pmu_event *e = g->events; e->name != NULL; e++) {
        bool is_missing = n_missing < c.n_missing && c.missing[n_missing] == e;
        list_event(e, is_missing ? c.reasons[n_missing] : 0, events);
        n_missing += is_missing;
    }
    return json_pack("{s:s, s:s, s:o}", "name", g->name, "what", g->what, "events", events);
}

int detail_list_counters(void)
{
    json_t *groups = json_array();
    dsv4_error err = {0};
    for (const rt_pmu_group *g = rt_pmu_groups; g->name != NULL; g++) {
        json_array_append_new(groups, list_group(g));
    }
    return cli_write_json(json_pack("{s:o}", "groups", groups), &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
}

/* ---- reports -------------------------------------------------------------------------------------------------------------------- */

static void report_found(const trace_run *run, json_t *results)
{
    int64_t kept = 0, own = 0;
    for (int64_t i = 0; i < run->n_events; i++) {
        kept += run->events[i].found == TRACE_KEPT;
        own += run->events[i].found == run->events[i].worker;
    }
    int64_t stolen = run->n_events - kept - own;
    cli_print("  blocks found: %lld kept by the worker that released them, %lld in its own ready set, %lld in another's\n",
              (long long)kept, (long long)own, (long long)stolen);
    json_object_set_new(
        results, "found",
        json_pack("{s:I, s:I, s:I}", "kept", (json_int_t)kept, "own", (json_int_t)own, "stolen", (json_int_t)stolen));
}

static void report_waits(const trace_run *run, json_t *results)
{
    double awake_s = 0, asleep_s = 0;
    for (int64_t i = 0; i < run->n_waits; i++) {
        double s = run->waits[i].end_s - run->waits[i].begin_s;
        *(run->waits[i].slept ? &asleep_s : &awake_s) += s;
    }
    cli_print("  waits: %lld; %.3f ms in those spent awake, %.3f ms in those with sleep, of all workers\n", (long long)run->n_waits,
              awake_s * 1e3, asleep_s * 1e3);
    json_object_set_new(results, "waits",
                        json_pack("{s:I, s:f, s:f}", "count", (json_int_t)run->n_waits, "awake_s", awake_s, "asleep_s", asleep_s));
}

static json_t *report_missing(const rt_pmu_choice *c)
{
    json_t *missing = json_array();
    for (int i = 0; i < c->n_missing; i++) {
        char reason[REASON_BYTES];
        rt_pmu_reason_text(c->reasons[i], reason, sizeof reason);
        cli_print("  counters %s: no %s: %s\n", c->group->name, c->missing[i]->name, reason);
        json_array_append_new(missing, json_pack("{s:s, s:s}", "name", c->missing[i]->name, "reason", reason));
    }
    return missing;
}

static void report_counters(const detail *d, const trace *t, int64_t n_uncounted, json_t *results)
{
    json_t *missing = report_missing(&d->pmu);
    if (n_uncounted > 0) {
        cli_print("  counters %s: %lld of %lld blocks count as 0: the counters were in use otherwise\n", d->pmu.group->name,
                  (long long)n_uncounted, (long long)t->run.n_events);
    }
    json_t *stages = counters_report(t);
    json_object_set_new(results, "counters",
                        json_pack("{s:s, s:o, s:I, s:o}", "group", d->pmu.group->name, "missing", missing, "uncounted_blocks",
                                  (json_int_t)n_uncounted, "stages", stages));
}

static dsv4_status write_files(const detail *d, const trace *t, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    if (d->trace != NULL) {
        status = trace_write(t, d->trace, err);
        if (status == DSV4_OK) {
            cli_print("  trace %s (dsv4 trace %s --html run.html; dsv4 trace report %s; ui.perfetto.dev)\n", d->trace, d->trace,
                      d->trace);
        }
    }
    if (status == DSV4_OK && d->deps != NULL) {
        status = trace_write_deps(t, d->deps, err);
        if (status == DSV4_OK) {
            cli_print("  graph %s (edges, what they come from, boxes)\n", d->deps);
        }
    }
    if (status == DSV4_OK && d->csv != NULL) {
        status = trace_write_csv(t, d->csv, err);
        if (status == DSV4_OK) {
            cli_print("  blocks %s\n", d->csv);
        }
    }
    return status;
}

dsv4_status detail_report(const detail *d, const launch *l, dsv4_exec *exec, json_t *results, dsv4_error *err)
{
    trace t = {0};
    dsv4_status status = trace_capture(exec, &t, err);
    if (status == DSV4_OK) {
        report_found(&t.run, results);
        if (d->level >= RT_LEVEL_WAITS) {
            report_waits(&t.run, results);
        }
        if (d->level >= RT_LEVEL_COUNTERS) {
            report_counters(d, &t, rt_exec_n_uncounted(exec), results);
        }
        status = d->ceilings ? detail_measure_ceilings(l->pool, &t.run, results, err) : DSV4_OK;
    }
    if (status == DSV4_OK) {
        status = write_files(d, &t, err);
    }
    trace_deinit(&t);
    return status == DSV4_OK ? detail_measure_cost(l, exec, d->level, results, err) : status;
}
