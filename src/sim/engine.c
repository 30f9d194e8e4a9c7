#include "sim/engine.h"

#include <math.h>

bool sim_engine_no_memory(sim_engine *e)
{
    e->status =
        dsv4_fail(e->err, DSV4_E_NO_MEMORY, "graph %s: no memory to simulate %lld blocks", e->g->name, (long long)e->g->n_blocks);
    return false;
}

bool sim_engine_ask(sim_engine *e, double after_s, int32_t what, int core, int32_t task)
{
    return sim_heap_push(&e->events, (sim_item){e->now + after_s, e->n_asked++, what, core, task}) || sim_engine_no_memory(e);
}

double sim_edges_s(const sim_engine *e, int32_t task)
{
    const trace_task *t = &e->g->tasks[task];
    return (double)(t->edge_end - t->edge) * e->d->schedule.edge_s;
}

/* ---- releasing --------------------------------------------------------------------------------------------------------------- */

static void append(sim_engine *e, sim_list *list, int32_t task)
{
    e->next[task] = SIM_NONE;
    *(list->last == SIM_NONE ? &list->first : &e->next[list->last]) = task;
    list->last = task;
}

static bool is_join(const sim_engine *e, int32_t task)
{
    return task >= e->g->n_blocks;
}

/* Counts down the tasks behind one; joins that become ready are put before *joins. */
static void count_down(sim_engine *e, int32_t task, sim_list *released, int32_t *joins)
{
    const trace_task *t = &e->g->tasks[task];
    double done_s = is_join(e, task) ? e->ready_s[task] : e->record[task].end_s;
    for (int64_t i = t->edge; i < t->edge_end; i++) {
        int32_t next = e->g->edges[i].to;
        e->ready_s[next] = fmax(e->ready_s[next], done_s);
        e->path_s[next] = fmax(e->path_s[next], e->path_s[task]);
        if (--e->waits[next] != 0) {
            continue;
        }
        if (is_join(e, next)) {
            e->next[next] = *joins;
            *joins = next;
        } else {
            append(e, released, next);
        }
    }
}

sim_list sim_engine_release(sim_engine *e, int32_t task)
{
    sim_list released = {SIM_NONE, SIM_NONE};
    int32_t joins = SIM_NONE;
    count_down(e, task, &released, &joins);
    while (joins != SIM_NONE) {
        int32_t join = joins;
        joins = e->next[join];
        count_down(e, join, &released, &joins);
    }
    return released;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------------------- */

static const sim_core_kind *kind_of(const sim_engine *e, int core)
{
    return &e->d->cores[e->cores[core].kind];
}

bool sim_engine_start(sim_engine *e, int core, int32_t task)
{
    sim_core *c = &e->cores[core];
    const trace_task *t = &e->g->tasks[task];
    if (!sim_cost_of_block(e->d, e->g, t, kind_of(e, core), core, e->caches, &c->cost)) {
        return sim_engine_no_memory(e);
    }
    c->task = task;
    c->left = 1;
    e->running[core].cost = &c->cost;
    e->record[task].worker = core;
    e->record[task].ready_s = e->ready_s[task];
    e->record[task].start_s = e->now;
    e->started[e->n_started++] = task;
    e->changed = true;
    return true;
}

static void add_to_stage(const sim_engine *e, int core, int32_t task, double seconds)
{
    const sim_cost *c = &e->cores[core].cost;
    sim_stage *stage = &e->result->stages[e->g->tasks[task].stage];
    stage->total_s += seconds;
    stage->arithmetic_s += c->arithmetic_s;
    stage->transfer_s += sim_cost_transfer_s(c, &e->core_bandwidth);
    stage->wanted_bytes += c->wanted_bytes;
    for (int l = 0; l < e->d->n_levels; l++) {
        stage->level_bytes[l] += c->bytes[sim_read_flow(l)] + c->bytes[sim_write_flow(l)];
    }
    e->result->busy_s[e->cores[core].kind] += seconds;
}

static bool end_block(sim_engine *e, int core)
{
    sim_core *c = &e->cores[core];
    int32_t task = c->task;
    trace_event *event = &e->record[task];
    event->end_s = e->now;
    e->path_s[task] += event->end_s - event->start_s;
    if (e->result != NULL) {
        add_to_stage(e, core, task, event->end_s - event->start_s);
        e->result->makespan_s = e->now;
        e->result->path_s = fmax(e->result->path_s, e->path_s[task]);
    }
    e->n_ended++;
    e->running[core].cost = NULL;
    c->task = SIM_NONE;
    e->changed = true;
    return e->policy->ended(e, core, task);
}

/* ---- the clock ----------------------------------------------------------------------------------------------------------------- */

/* The core whose block ends first at the present rates, and when; SIM_NONE where none runs. */
static int first_to_end(const sim_engine *e, double *at)
{
    int first = SIM_NONE;
    *at = INFINITY;
    for (int i = 0; i < e->n_cores; i++) {
        if (e->cores[i].task != SIM_NONE) {
            double end = e->now + e->cores[i].left / e->running[i].rate;
            if (first == SIM_NONE || end < *at) {
                first = i;
                *at = end;
            }
        }
    }
    return first;
}

static void advance(sim_engine *e, double to)
{
    double passed = to - e->now;
    for (int i = 0; i < e->n_cores && passed > 0; i++) {
        if (e->cores[i].task != SIM_NONE) {
            e->cores[i].left = fmax(0, e->cores[i].left - passed * e->running[i].rate);
        }
    }
    e->now = to;
}

/* Goes to the next end of a block or event. False where nothing is left to happen, or after a failure. */
static bool step(sim_engine *e)
{
    if (e->changed) {
        sim_share(e->d, &e->core_bandwidth, &e->total_bandwidth, e->running, e->n_cores);
        e->changed = false;
    }
    double end;
    int core = first_to_end(e, &end);
    if (core != SIM_NONE && (e->events.n == 0 || end <= e->events.items[0].at)) {
        advance(e, end);
        return end_block(e, core);
    }
    if (e->events.n == 0) {
        return false;
    }
    sim_item event = sim_heap_pop(&e->events);
    advance(e, event.at);
    return e->policy->due(e, event);
}

/* Tasks that wait for nothing, and what waits for joins among them alone. */
static sim_list find_roots(sim_engine *e)
{
    sim_list roots = {SIM_NONE, SIM_NONE};
    for (int32_t t = 0; t < e->g->n_blocks; t++) {
        if (e->waits[t] == 0) {
            append(e, &roots, t);
        }
    }
    for (int32_t t = (int32_t)e->g->n_blocks; t < e->g->n_tasks; t++) {
        if (e->g->tasks[t].n_before == 0) {
            sim_list more = sim_engine_release(e, t);
            for (int32_t m = more.first, after; m != SIM_NONE; m = after) {
                after = e->next[m];
                append(e, &roots, m);
            }
        }
    }
    return roots;
}

dsv4_status sim_engine_run(sim_engine *e)
{
    e->now = 0;
    e->n_asked = e->n_started = e->n_ended = 0;
    e->events.n = 0;
    for (int64_t t = 0; t < e->g->n_tasks; t++) {
        e->waits[t] = e->g->tasks[t].n_before + (sim_submits(e->d) && t < e->g->n_blocks);
        e->ready_s[t] = e->path_s[t] = 0;
    }
    for (int i = 0; i < e->n_cores; i++) {
        e->cores[i].task = SIM_NONE;
        e->cores[i].busy = e->cores[i].looks = false;
    }
    bool goes_on = e->policy->begin(e, find_roots(e));
    while (goes_on) {
        goes_on = step(e);
    }
    if (e->status == DSV4_OK && e->n_ended != e->g->n_blocks) {
        return dsv4_fail(e->err, DSV4_E_GRAPH, "graph %s: %lld of %lld blocks wait for each other", e->g->name,
                         (long long)(e->g->n_blocks - e->n_ended), (long long)e->g->n_blocks);
    }
    return e->status;
}
