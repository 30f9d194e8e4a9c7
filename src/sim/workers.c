/* sim/workers.c - workers take blocks themselves, as rt/exec.c does: first what the block they have just ended released, then the
 * most urgent of their own ready set, then of the sets of the workers behind them. */
#include "sim/engine.h"

enum { RELEASE, LOOK, START };

/* Partner of home_of in rt/exec.c. */
static int home_of(const sim_engine *e, int32_t task)
{
    const trace_task *t = &e->g->tasks[task];
    return (int)(t->block * e->n_cores / e->g->stages[t->stage].n_blocks);
}

static bool put(sim_engine *e, int set, int32_t task)
{
    return sim_heap_push(&e->ready[set], (sim_item){.at = task, .task = task}) || sim_engine_no_memory(e);
}

static bool take(sim_engine *e, int core, int32_t task, int32_t found)
{
    const sim_schedule *s = &e->d->schedule;
    trace_event *event = &e->record[task];
    event->dispatch_s = e->now;
    event->found = found;
    e->cores[core].busy = true;
    return sim_engine_ask(e, s->dispatch_s + (found != TRACE_KEPT && found != core ? s->steal_s : 0), START, core, task);
}

/* Takes a block from a ready set; a worker that finds none waits. */
static bool look(sim_engine *e, int core)
{
    e->cores[core].busy = false;
    for (int i = 0; i < e->n_cores; i++) {
        int set = (core + i) % e->n_cores;
        if (e->ready[set].n > 0) {
            return take(e, core, sim_heap_pop(&e->ready[set]).task, set);
        }
    }
    return true;
}

/* Workers that wait notice what has become ready. */
static bool wake(sim_engine *e)
{
    bool ok = true;
    for (int i = 0; i < e->n_cores && ok; i++) {
        if (!e->cores[i].busy && !e->cores[i].looks) {
            e->cores[i].looks = true;
            ok = sim_engine_ask(e, e->d->schedule.pickup_s, LOOK, i, SIM_NONE);
        }
    }
    return ok;
}

static bool begin(sim_engine *e, sim_list roots)
{
    bool ok = true;
    for (int32_t t = roots.first; t != SIM_NONE && ok; t = e->next[t]) {
        ok = put(e, home_of(e, t), t);
    }
    return ok && look(e, 0) && wake(e);
}

static bool ended(sim_engine *e, int core, int32_t task)
{
    e->cores[core].released = sim_engine_release(e, task);
    return sim_engine_ask(e, sim_edges_s(e, task), RELEASE, core, task);
}

static bool release(sim_engine *e, int core)
{
    int32_t keep = SIM_NONE;
    bool ok = true, sent = false;
    for (int32_t t = e->cores[core].released.first; t != SIM_NONE && ok; t = e->next[t]) {
        if (!e->g->tasks[t].spread && keep == SIM_NONE) {
            keep = t;
        } else {
            ok = put(e, e->g->tasks[t].spread ? home_of(e, t) : core, t);
            sent = true;
        }
    }
    ok = ok && (keep != SIM_NONE ? take(e, core, keep, TRACE_KEPT) : look(e, core));
    return ok && (!sent || wake(e));
}

static bool due(sim_engine *e, sim_item event)
{
    if (event.what == START) {
        return sim_engine_start(e, event.core, event.task);
    }
    if (event.what == RELEASE) {
        return release(e, event.core);
    }
    e->cores[event.core].looks = false;
    return look(e, event.core);
}

const sim_policy sim_workers = {begin, ended, due};
