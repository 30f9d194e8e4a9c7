#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

/* For each set of kinds of stages: their busy time over the workers that run any of them. */
static bool find_cores_bound(const trace *t, trace_report *r)
{
    enum { N_SETS = 4 };
    double busy_s[N_SETS] = {0};
    int64_t n_workers[N_SETS] = {0};
    uint8_t *skills = memory_array((size_t)t->run.n_workers, sizeof *skills);
    bool ok = skills != NULL && trace_worker_skills(t, skills);
    for (int set = 1; ok && set < N_SETS; set++) {
        for (int64_t w = 0; w < t->run.n_workers; w++) {
            n_workers[set] += (skills[w] & set) != 0;
        }
        for (int64_t i = 0; i < t->run.n_events; i++) {
            const trace_event *e = &t->run.events[i];
            int kind = (int)t->graph.stages[t->graph.tasks[e->task].stage].kind;
            busy_s[set] += (set >> kind & 1) != 0 ? e->end_s - e->start_s : 0;
        }
        double bound_s = n_workers[set] > 0 ? busy_s[set] / (double)n_workers[set] : 0;
        r->cores_bound_s = bound_s > r->cores_bound_s ? bound_s : r->cores_bound_s;
    }
    free(skills);
    return ok;
}

/* A rate of the machine, and whether all amounts so far could be divided by it. */
typedef struct ceiling {
    double per_s;
    bool known;
} ceiling;

static double seconds(double amount, ceiling *c)
{
    c->known = c->known && (amount <= 0 || c->per_s > 0);
    return amount > 0 && c->per_s > 0 ? amount / c->per_s : 0;
}

static void bound_stages(const trace_run *run, const double *bytes, bool bytes_known, trace_report *r)
{
    ceiling read = {run->read_bytes_s, bytes_known}, i8 = {run->ops_i8_s, true}, bf16 = {run->flops_bf16_s, true},
            vector = {run->vector_ops_s, true};
    for (int64_t i = 0; i < r->n_stages; i++) {
        trace_stage_stats *s = &r->stages[i];
        double arithmetic_s = seconds(s->ops_i8, &i8) + seconds(s->flops_bf16, &bf16) + seconds(s->vector_ops, &vector);
        double transfer_s = seconds(bytes[i], &read);
        s->outside_bytes = bytes[i];
        s->bound_s = arithmetic_s > transfer_s ? arithmetic_s : transfer_s;
        r->arithmetic_bound_s += arithmetic_s;
        r->transfer_bound_s += transfer_s;
        r->machine_bound_s += s->bound_s;
    }
    bool arithmetic_known = i8.known && bf16.known && vector.known, known = arithmetic_known && read.known;
    r->arithmetic_bound_s = arithmetic_known ? r->arithmetic_bound_s : 0;
    r->transfer_bound_s = read.known ? r->transfer_bound_s : 0;
    r->machine_bound_s = known ? r->machine_bound_s : 0;
    for (int64_t i = 0; i < r->n_stages && !known; i++) {
        r->stages[i].bound_s = 0;
    }
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
    if (status == DSV4_OK) {
        bound_stages(&t->run, bytes, known, r);
    }
    free(bytes);
    return status;
}
