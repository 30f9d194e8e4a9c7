#include "cli/trace_report.h"

static json_t *reasons_json(const double *seconds)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "no_work", seconds[TRACE_NO_WORK], "no_core", seconds[TRACE_NO_CORE], "pickup",
                     seconds[TRACE_PICKUP], "steal", seconds[TRACE_STEAL]);
}

static json_t *numbers_json(const double *values, int64_t n)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < n; i++) {
        json_array_append_new(array, json_real(values[i]));
    }
    return array;
}

static json_t *workers_json(const trace *t, const trace_report *r)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < t->run.n_workers; i++) {
        const trace_worker_stats *w = &r->workers[i];
        json_array_append_new(array, json_pack("{s:o, s:I, s:f, s:o}", "name", cli_json_text(t->run.workers[i].name), "blocks",
                                               (json_int_t)w->n_blocks, "busy_s", w->busy_s, "idle_s", reasons_json(w->idle_s)));
    }
    return array;
}

static json_t *kinds_json(const trace_report *r)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < r->n_kinds; i++) {
        const trace_kind_stats *k = &r->kinds[i];
        double whole_s = r->makespan_s * (double)k->n_workers;
        json_array_append_new(array, json_pack("{s:o, s:I, s:I, s:f, s:f, s:o}", "first", cli_json_text(k->name), "workers",
                                               (json_int_t)k->n_workers, "blocks", (json_int_t)k->sum.n_blocks, "busy_s",
                                               k->sum.busy_s, "busy_share", whole_s > 0 ? k->sum.busy_s / whole_s : 0, "idle_s",
                                               reasons_json(k->sum.idle_s)));
    }
    return array;
}

static json_t *stage_json(const trace_report *r, const trace_stage_stats *s)
{
    return json_pack("{s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "name",
                     cli_json_text(s->name), "blocks", (json_int_t)s->n_blocks, "total_s", s->total_s, "mean_s",
                     s->total_s / (double)s->n_blocks, "p95_s", s->p95_s, "busy_share", r->busy_s > 0 ? s->total_s / r->busy_s : 0,
                     "read_bytes", s->bytes.read, "written_bytes", s->bytes.written, "flops_bf16", s->flops_bf16, "ops_i8",
                     s->ops_i8, "vector_ops", s->vector_ops, "outside_bytes", s->outside_bytes, "bound_s", s->bound_s,
                     "longest_path_s", s->longest_path_s, "executed_path_s", s->executed_path_s, "delay_s",
                     reasons_json(s->delay_s));
}

static json_t *stages_json(const trace_report *r)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < r->n_stages; i++) {
        if (r->stages[i].n_blocks > 0) {
            json_array_append_new(array, stage_json(r, &r->stages[i]));
        }
    }
    return array;
}

static json_t *path_json(const trace *t, const trace_path *p)
{
    json_t *steps = json_array();
    for (int64_t i = 0; i < p->n_steps; i++) {
        const trace_event *e = &t->run.events[p->steps[i].event];
        const trace_task *task = &t->graph.tasks[e->task];
        json_array_append_new(steps,
                              json_pack("{s:i, s:o, s:I, s:i, s:f, s:f, s:b, s:o}", "task", (int)e->task, "stage",
                                        cli_json_text(t->graph.stages[task->stage].name), "block", (json_int_t)task->block,
                                        "worker", (int)e->worker, "start_s", e->start_s, "end_s", e->end_s, "waited_for_core",
                                        (int)p->steps[i].by_core, "gap_s", reasons_json(p->steps[i].gap_s)));
    }
    return json_pack("{s:f, s:o, s:I, s:f, s:o}", "blocks_s", p->blocks_s, "gap_s", reasons_json(p->gap_s), "waited_for_core",
                     (json_int_t)p->n_by_core, "for_core_s", p->for_core_s, "steps", steps);
}

static json_t *bound_json(double seconds)
{
    return seconds > 0 ? json_real(seconds) : json_null();
}

json_t *trace_report_json(const trace *t, const trace_report *r)
{
    json_t *parallel = json_pack(
        "{s:f, s:o, s:o, s:o}", "mean", r->parallel.mean, "share", numbers_json(r->parallel.share, t->run.n_workers + 1), "running",
        numbers_json(r->parallel.running, r->parallel.n_buckets), "ready", numbers_json(r->parallel.ready, r->parallel.n_buckets));
    return json_pack("{s:o, s:o, s:b, s:I, s:I, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "graph",
                     cli_json_text(t->graph.name), "device", cli_json_text(t->run.device), "simulated", (int)t->run.is_simulated,
                     "blocks", (json_int_t)t->graph.n_blocks, "edges", (json_int_t)t->graph.n_edges, "makespan_s", r->makespan_s,
                     "busy_s", r->busy_s, "longest_path_s", r->longest.blocks_s, "cores_bound_s", r->cores_bound_s,
                     "arithmetic_bound_s", bound_json(r->arithmetic_bound_s), "transfer_bound_s", bound_json(r->transfer_bound_s),
                     "machine_bound_s", bound_json(r->machine_bound_s), "kinds", kinds_json(r), "workers", workers_json(t, r),
                     "stages", stages_json(r), "longest_path", path_json(t, &r->longest), "executed_path",
                     path_json(t, &r->executed), "needs_path", path_json(t, &r->needs), "parallelism", parallel);
}
