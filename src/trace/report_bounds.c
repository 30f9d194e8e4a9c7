#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

/* For each set of kinds of stages: their busy time over the workers that run any of them. */
static bool find_cores_bound(const trace *t, trace_report *r)
{
    enum { N_SETS = 4 };
    double busy_s[N_SETS] = {0};
    int64_t n_workers[N_SETS] = {0};
    uint8_t *kinds = memory_array((size_t)t->run.n_workers, sizeof *kinds);
    bool ok = kinds != NULL && trace_worker_kinds(t, kinds);
    for (int set = 1; ok && set < N_SETS; set++) {
        for (int64_t w = 0; w < t->run.n_workers; w++) {
            n_workers[set] += (kinds[w] & set) != 0;
        }
        for (int64_t i = 0; i < t->run.n_events; i++) {
            const trace_event *e = &t->run.events[i];
            int kind = (int)t->graph.stages[t->graph.tasks[e->task].stage].kind;
            busy_s[set] += (set >> kind & 1) != 0 ? e->end_s - e->start_s : 0;
        }
        double bound_s = n_workers[set] > 0 ? busy_s[set] / (double)n_workers[set] : 0;
        r->cores_bound_s = bound_s > r->cores_bound_s ? bound_s : r->cores_bound_s;
    }
    free(kinds);
    return ok;
}

/* Seconds for an amount; *known turns false where there is some and its rate is not known. */
static double seconds(double amount, double per_s, bool *known)
{
    *known = *known && (amount <= 0 || per_s > 0);
    return amount > 0 && per_s > 0 ? amount / per_s : 0;
}

dsv4_status trace_report_bounds(const trace *t, const int32_t *row_of, trace_report *r, dsv4_error *err)
{
    double *bytes = memory_zeroed_array((size_t)r->n_stages, sizeof *bytes);
    bool known = true;
    if (bytes == NULL || !find_cores_bound(t, r)) {
        free(bytes);
        return trace_report_no_memory(t, err);
    }
    dsv4_status status = trace_outside_bytes(&t->graph, row_of, r->n_stages, bytes, &known, err);
    for (int64_t i = 0; i < r->n_stages && status == DSV4_OK; i++) {
        trace_stage_stats *s = &r->stages[i];
        double arithmetic_s = seconds(s->ops_i8, t->run.ops_i8_s, &known) + seconds(s->flops_bf16, t->run.flops_bf16_s, &known) +
                              seconds(s->vector_ops, t->run.vector_ops_s, &known);
        double transfer_s = seconds(bytes[i], t->run.read_bytes_s, &known);
        s->outside_bytes = bytes[i];
        s->bound_s = arithmetic_s > transfer_s ? arithmetic_s : transfer_s;
        r->machine_bound_s += s->bound_s;
    }
    for (int64_t i = 0; i < r->n_stages && !known; i++) {
        r->stages[i].bound_s = 0;
    }
    r->machine_bound_s = known ? r->machine_bound_s : 0;
    free(bytes);
    return status;
}
