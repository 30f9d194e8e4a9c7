/* trace/read_run.c - the section "run" of a trace file; data.c lists its tables. */
#include <stdlib.h>

#include "base/memory.h"
#include "trace/reading.h"

enum { MAX_WORKERS = 1 << 16, MAX_COUNTERS = 32, MAX_WAITS = 1 << 30, MAX_LEVEL = 3 };

static const double max_number = 1e300, max_time_s = 1e9;

static void read_workers(reading *r, const json_t *root)
{
    trace_run *run = &r->t->run;
    const json_t *rows = reading_table(r, root, "workers", MAX_WORKERS, &run->n_workers);
    run->workers = reading_array(r, run->n_workers, sizeof *run->workers);
    for (int64_t i = 0; rows != NULL && i < run->n_workers && reading_row(r, rows, i, 1); i++) {
        run->workers[i].name = reading_text(r, 0, "name");
    }
}

static void read_counters(reading *r, const json_t *root)
{
    trace_run *run = &r->t->run;
    const json_t *rows = reading_table(r, root, "counters", MAX_COUNTERS, &run->n_counters);
    run->counters = reading_array(r, run->n_counters, sizeof *run->counters);
    for (int64_t i = 0; rows != NULL && i < run->n_counters && reading_row(r, rows, i, 1); i++) {
        run->counters[i] = reading_text(r, 0, "name");
    }
}

static void read_event(reading *r, trace_event *e)
{
    const trace *t = r->t;
    e->task = (int32_t)reading_integer(r, 0, "task", 0, t->graph.n_blocks - 1);
    e->worker = (int32_t)reading_integer(r, 1, "worker", 0, t->run.n_workers - 1);
    e->found = (int32_t)reading_integer(r, 2, "found", TRACE_KEPT, t->run.n_workers - 1);
    e->ready_s = reading_number(r, 3, "ready_s", 0, max_time_s);
    e->dispatch_s = reading_number(r, 4, "dispatch_s", e->ready_s, max_time_s);
    e->start_s = reading_number(r, 5, "start_s", e->dispatch_s, max_time_s);
    e->end_s = reading_number(r, 6, "end_s", e->start_s, max_time_s);
}

/* Each block once, workers ascending, by start within one. */
static void check_order(reading *r, const trace_event *e, uint8_t *seen)
{
    if (r->status == DSV4_OK && seen[e->task]) {
        reading_fail(r, "got task %d twice", e->task);
    } else if (r->status == DSV4_OK && r->row > 0 &&
               (e->worker < e[-1].worker || (e->worker == e[-1].worker && e->start_s < e[-1].start_s))) {
        reading_fail(r, "got worker %d at %g s behind worker %d at %g s, expected workers ascending, each by start", e->worker,
                     e->start_s, e[-1].worker, e[-1].start_s);
    }
    seen[e->task] = 1;
}

static void read_events(reading *r, const json_t *root)
{
    const trace_graph *g = &r->t->graph;
    trace_run *run = &r->t->run;
    const json_t *rows = reading_table(r, root, "events", g->n_blocks, &run->n_events);
    if (rows != NULL && run->n_events != (run->level == 0 ? 0 : g->n_blocks)) {
        reading_fail(r, "got %lld rows, expected %lld: one for each block, none at level 0", (long long)run->n_events,
                     (long long)(run->level == 0 ? 0 : g->n_blocks));
    }
    run->events = reading_array(r, run->n_events, sizeof *run->events);
    run->counts = reading_array(r, run->n_events * run->n_counters, sizeof *run->counts);
    uint8_t *seen = reading_array(r, g->n_blocks, 1);
    for (int64_t i = 0; r->status == DSV4_OK && i < run->n_events && reading_row(r, rows, i, 7 + run->n_counters); i++) {
        read_event(r, &run->events[i]);
        check_order(r, &run->events[i], seen);
        for (int64_t c = 0; c < run->n_counters; c++) {
            run->counts[i * run->n_counters + c] = reading_number(r, (int)(7 + c), run->counters[c], 0, max_number);
        }
    }
    free(seen);
}

static void read_waits(reading *r, const json_t *root)
{
    trace_run *run = &r->t->run;
    const json_t *rows = reading_table(r, root, "waits", MAX_WAITS, &run->n_waits);
    run->waits = reading_array(r, run->n_waits, sizeof *run->waits);
    for (int64_t i = 0; rows != NULL && i < run->n_waits && reading_row(r, rows, i, 4); i++) {
        trace_wait *w = &run->waits[i];
        w->worker = (int32_t)reading_integer(r, 0, "worker", 0, run->n_workers - 1);
        w->slept = reading_bool(r, 1, "slept");
        w->begin_s = reading_number(r, 2, "begin_s", 0, max_time_s);
        w->end_s = reading_number(r, 3, "end_s", w->begin_s, max_time_s);
    }
}

void reading_run(reading *r, const json_t *root)
{
    trace_run *run = &r->t->run;
    if (!reading_section(r, root, "run")) {
        return;
    }
    run->device = reading_text(r, 0, "device");
    run->is_simulated = reading_bool(r, 0, "is_simulated");
    run->level = (int)reading_integer(r, 0, "level", 0, MAX_LEVEL);
    run->read_bytes_s = reading_number(r, 0, "read_bytes_s", 0, max_number);
    run->ops_i8_s = reading_number(r, 0, "ops_i8_s", 0, max_number);
    run->flops_bf16_s = reading_number(r, 0, "flops_bf16_s", 0, max_number);
    run->vector_ops_s = reading_number(r, 0, "vector_ops_s", 0, max_number);
    read_workers(r, root);
    read_counters(r, root);
    read_events(r, root);
    read_waits(r, root);
}
