#include "trace/capture_counts.h"

#include <math.h>

#include "base/memory.h"
#include "rt/exec.h"

enum { N_TIMES = 1, N_DECLARED = 5 };
static const char *const software_names[N_TIMES + N_DECLARED] = {"tsc",        "read_bytes", "written_bytes",
                                                                 "flops_bf16", "ops_i8",     "vector_ops"};

static bool name_counters(const dsv4_exec *exec, trace *t)
{
    trace_run *run = &t->run;
    const char *names[RT_PMU_MAX_EVENTS + N_TIMES + N_DECLARED];
    int n = 0;
    for (int i = 0; exec->pmu.group->is_software && i < N_TIMES; i++) {
        names[n++] = software_names[i];
    }
    for (int i = 0; i < exec->pmu.n_events; i++) {
        names[n++] = exec->pmu.events[i]->name;
    }
    for (int i = 0; exec->pmu.group->is_software && i < N_DECLARED; i++) {
        names[n++] = software_names[N_TIMES + i];
    }
    run->counters = memory_zeroed_array((size_t)n, sizeof *run->counters);
    for (int i = 0; run->counters != NULL && i < n; i++) {
        run->counters[i] = arena_copy_text(&t->memory, names[i]);
        if (run->counters[i] == NULL) {
            return false;
        }
    }
    run->n_counters = n;
    return run->counters != NULL;
}

static double *put_declared(const trace_graph *g, const trace_task *task, double *to)
{
    trace_bytes bytes = trace_task_bytes(g, task);
    *to++ = bytes.read;
    *to++ = bytes.written;
    *to++ = task->work.flops_bf16;
    *to++ = task->work.ops_i8;
    *to++ = task->work.vector_ops;
    return to;
}

bool trace_capture_counts(const dsv4_exec *exec, trace *t)
{
    if (exec->level < RT_LEVEL_COUNTERS) {
        return true;
    }
    if (!name_counters(exec, t)) {
        return false;
    }
    t->run.counts = memory_array((size_t)t->run.n_events * (size_t)t->run.n_counters, sizeof *t->run.counts);
    double *to = t->run.counts;
    for (int w = 0; to != NULL && w < exec->n_workers; w++) {
        const rt_worker *worker = &exec->workers[w];
        for (int64_t i = 0; i < worker->n_records; i++) {
            const rt_record *r = &worker->records[i];
            const double *from = worker->counts + i * exec->pmu.n_events;
            if (exec->pmu.group->is_software) {
                *to++ = (double)(r->end - r->start);
            }
            for (int c = 0; c < exec->pmu.n_events; c++) {
                *to++ = isnan(from[c]) ? 0 : from[c];
            }
            if (exec->pmu.group->is_software) {
                to = put_declared(&t->graph, &t->graph.tasks[r->task], to);
            }
        }
    }
    return to != NULL;
}
