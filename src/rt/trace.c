/* rt/trace.c - the last run summed up. */
#include <math.h>

#include "base/clock.h"
#include "rt/exec.h"
#include "rt/ticks.h"

double rt_exec_tick_ns(const dsv4_exec *exec)
{
    double seconds;
    do {
        seconds = clock_s() - exec->ticks_clock_s;
    } while (seconds < 0.01);
    return seconds * 1e9 / (double)(rt_ticks() - exec->ticks_origin);
}

dsv4_exec_summary dsv4_exec_get_summary(const dsv4_exec *exec)
{
    uint64_t first = UINT64_MAX, last = 0, busy = 0;
    dsv4_exec_summary s = {0};
    for (int w = 0; w < exec->n_workers; w++) {
        const rt_worker *worker = &exec->workers[w];
        for (int64_t i = 0; i < worker->n_records; i++) {
            const rt_record *r = &worker->records[i];
            first = r->dispatch < first ? r->dispatch : first;
            last = r->end > last ? r->end : last;
            busy += r->end - r->start;
        }
        s.n_blocks += worker->n_records;
    }
    if (s.n_blocks > 0) {
        s.n_workers = exec->n_workers;
        s.makespan_s = (double)(last - first) * rt_exec_tick_ns(exec) / 1e9;
        s.busy_share = last > first ? (double)busy / ((double)(last - first) * exec->n_workers) : 1;
    }
    return s;
}

int64_t rt_exec_n_uncounted(const dsv4_exec *exec)
{
    int64_t n = 0;
    for (int w = 0; w < exec->n_workers; w++) {
        const rt_worker *worker = &exec->workers[w];
        for (int64_t i = 0; worker->counts != NULL && i < worker->n_records; i++) {
            bool lacks = false;
            for (int c = 0; c < exec->pmu.n_events; c++) {
                lacks |= isnan(worker->counts[i * exec->pmu.n_events + c]);
            }
            n += lacks;
        }
    }
    return n;
}
