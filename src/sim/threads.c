/* sim/threads.c - scheduler threads hand the most urgent ready blocks to free cores of a kind that runs them, and handle the ends of
 * blocks, which releases others. Any thread serves any core; ends come first. One more thread may submit the stages one by one. */
#include "sim/engine.h"

enum { HANDLED, DISPATCHED, START, SUBMITTED };

static bool runs(const sim_engine *e, int core, dsv4_core_kind stage)
{
    const sim_core_kind *k = &e->d->cores[e->cores[core].kind];
    return stage == DSV4_CUBE ? k->runs_cube : k->runs_vector;
}

static int find_core(const sim_engine *e, dsv4_core_kind stage)
{
    for (int i = 0; i < e->n_cores; i++) {
        if (!e->cores[i].busy && runs(e, i, stage)) {
            return i;
        }
    }
    return SIM_NONE;
}

static bool put(sim_engine *e, int32_t task)
{
    sim_heap *set = &e->ready[e->g->stages[e->g->tasks[task].stage].kind];
    return sim_heap_push(set, (sim_item){.at = task, .task = task}) || sim_engine_no_memory(e);
}

static bool dispatch(sim_engine *e, int core, int32_t task)
{
    e->n_free--;
    e->cores[core].busy = true;
    e->record[task].dispatch_s = e->now;
    e->record[task].found = core;
    return sim_engine_ask(e, e->d->schedule.dispatch_s, DISPATCHED, core, task);
}

/* The most urgent block that a free core can run. */
static bool dispatch_next(sim_engine *e, bool *dispatched)
{
    int best = SIM_NONE, best_core = SIM_NONE;
    for (int kind = DSV4_VECTOR; kind <= DSV4_CUBE; kind++) {
        int core = e->ready[kind].n > 0 ? find_core(e, (dsv4_core_kind)kind) : SIM_NONE;
        if (core != SIM_NONE && (best == SIM_NONE || e->ready[kind].items[0].task < e->ready[best].items[0].task)) {
            best = kind;
            best_core = core;
        }
    }
    *dispatched = best != SIM_NONE;
    return best == SIM_NONE || dispatch(e, best_core, sim_heap_pop(&e->ready[best]).task);
}

/* Gives free threads something to do while there is something. */
static bool work(sim_engine *e)
{
    bool ok = true, found = true;
    while (ok && found && e->n_free > 0) {
        if (e->ended.n > 0) {
            int32_t task = sim_heap_pop(&e->ended).task;
            e->n_free--;
            ok = sim_engine_ask(e, sim_edges_s(e, task), HANDLED, SIM_NONE, task);
        } else {
            ok = dispatch_next(e, &found);
        }
    }
    return ok;
}

static bool put_all(sim_engine *e, sim_list list)
{
    bool ok = true;
    for (int32_t t = list.first; t != SIM_NONE && ok; t = e->next[t]) {
        ok = put(e, t);
    }
    return ok;
}

/* The next stage that has blocks, from one on, takes its time. */
static bool submit_from(sim_engine *e, int64_t stage)
{
    while (stage < e->g->n_stages && e->g->stages[stage].n_blocks == 0) {
        stage++;
    }
    return stage == e->g->n_stages || sim_engine_ask(e, e->d->schedule.submit_s, SUBMITTED, SIM_NONE, (int32_t)stage);
}

static bool submitted(sim_engine *e, int32_t stage)
{
    bool ok = submit_from(e, stage + 1);
    for (int32_t t = e->first_of[stage]; t != SIM_NONE && ok; t = e->next_of[t]) {
        e->ready_s[t] = e->now > e->ready_s[t] ? e->now : e->ready_s[t];
        ok = --e->waits[t] > 0 || put(e, t);
    }
    return ok && work(e);
}

static bool begin(sim_engine *e, sim_list roots)
{
    e->n_free = e->d->schedule.n_threads;
    return put_all(e, roots) && work(e) && (!sim_submits(e->d) || submit_from(e, 0));
}

static bool ended(sim_engine *e, int core, int32_t task)
{
    e->cores[core].busy = false;
    return (sim_heap_push(&e->ended, (sim_item){e->now, e->n_ended, 0, core, task}) || sim_engine_no_memory(e)) && work(e);
}

static bool due(sim_engine *e, sim_item event)
{
    switch (event.what) {
    case START:
        return sim_engine_start(e, event.core, event.task);
    case SUBMITTED:
        return submitted(e, event.task);
    case HANDLED:
        e->n_free++;
        return put_all(e, sim_engine_release(e, event.task)) && work(e);
    default:
        e->n_free++;
        return sim_engine_ask(e, e->d->schedule.pickup_s, START, event.core, event.task) && work(e);
    }
}

const sim_policy sim_threads = {begin, ended, due};
