/* sim/run.c - a simulation from its arguments to the trace of its run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "sim/engine.h"
#include "sim/misfit.h"

/* A graph that touches more pages takes minutes. */
#define MOST_PAGES 67108864.0
#define MOST_SECONDS 1e9 /* that a trace may hold */

static int n_cores_of(const sim_device *d, const sim_options *o, int kind)
{
    int count = d->cores[kind].count;
    return o->cores > 0 && o->cores < count ? o->cores : count;
}

/* ---- what can be simulated --------------------------------------------------------------------------------------------------- */

/* Whether every kind of core that runs the stage of a block has rates for what the block does. */
static dsv4_status check_block(const sim_device *d, const trace_graph *g, const trace_task *task, dsv4_error *err)
{
    const trace_stage *stage = &g->stages[task->stage];
    const dsv4_work *w = &task->work;
    if (sim_kind_for(d, stage->kind) == NULL) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "stage %s: no cores of device %s run %s stages", stage->name, d->name,
                         stage->kind == DSV4_CUBE ? "cube" : "vector");
    }
    for (int i = 0; i < d->n_core_kinds; i++) {
        const sim_core_kind *k = &d->cores[i];
        if ((stage->kind == DSV4_CUBE ? k->runs_cube : k->runs_vector) && sim_arithmetic_s(k, w) < 0) {
            return dsv4_fail(err, DSV4_E_UNSUPPORTED, "stage %s: cores \"%s\" of device %s have no rate for %s operations",
                             stage->name, k->name, d->name,
                             w->flops_bf16 > 0 && k->bf16.ops_s == 0 ? "bf16"
                             : w->ops_i8 > 0 && k->i8.ops_s == 0     ? "i8"
                                                                     : "vector");
        }
    }
    return DSV4_OK;
}

static dsv4_status check(const sim_device *d, const trace_graph *g, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t t = 0; t < g->n_blocks && status == DSV4_OK; t++) {
        status = check_block(d, g, &g->tasks[t], err);
    }
    double pages = sim_count_pages(g);
    if (status == DSV4_OK && !(pages <= MOST_PAGES)) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "graph %s: its blocks touch %.3g pages, too many to simulate (at most %.3g)",
                         g->name, pages, MOST_PAGES);
    }
    return status;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------------------ */

static void close_engine(sim_engine *e)
{
    sim_caches_destroy(e->caches);
    for (int i = 0; e->ready != NULL && i <= e->n_cores; i++) {
        sim_heap_deinit(&e->ready[i]);
    }
    sim_heap_deinit(&e->events);
    sim_heap_deinit(&e->ended);
    free(e->cores);
    free(e->running);
    free(e->ready);
    free(e->waits);
    free(e->next);
    free(e->first_of);
    free(e->next_of);
    free(e->ready_s);
    free(e->path_s);
    free(e->record);
    free(e->started);
}

static void link_stages(sim_engine *e)
{
    for (int64_t s = 0; s < e->g->n_stages; s++) {
        e->first_of[s] = SIM_NONE;
    }
    for (int64_t t = e->g->n_blocks - 1; t >= 0; t--) {
        int32_t stage = e->g->tasks[t].stage;
        e->next_of[t] = e->first_of[stage];
        e->first_of[stage] = (int32_t)t;
    }
}

static bool open_engine(sim_engine *e, const sim_options *o)
{
    size_t n_tasks = (size_t)e->g->n_tasks, n_blocks = (size_t)e->g->n_blocks;
    for (int k = 0; k < e->d->n_core_kinds; k++) {
        e->n_cores += n_cores_of(e->d, o, k);
    }
    e->caches = sim_caches_create(e->d, e->n_cores);
    e->cores = memory_zeroed_array((size_t)e->n_cores, sizeof *e->cores);
    e->running = memory_zeroed_array((size_t)e->n_cores, sizeof *e->running);
    e->ready = memory_zeroed_array((size_t)e->n_cores + 1, sizeof *e->ready); /* two sets at least, for threads */
    e->waits = memory_zeroed_array(n_tasks, sizeof *e->waits);
    e->next = memory_zeroed_array(n_tasks, sizeof *e->next);
    e->first_of = memory_zeroed_array((size_t)e->g->n_stages, sizeof *e->first_of);
    e->next_of = memory_zeroed_array(n_blocks, sizeof *e->next_of);
    e->ready_s = memory_zeroed_array(n_tasks, sizeof *e->ready_s);
    e->path_s = memory_zeroed_array(n_tasks, sizeof *e->path_s);
    e->record = memory_zeroed_array(n_blocks, sizeof *e->record);
    e->started = memory_zeroed_array(n_blocks, sizeof *e->started);
    if (e->caches == NULL || e->cores == NULL || e->running == NULL || e->ready == NULL || e->waits == NULL || e->next == NULL ||
        e->first_of == NULL || e->next_of == NULL || e->ready_s == NULL || e->path_s == NULL || e->record == NULL ||
        e->started == NULL) {
        return false;
    }
    for (int k = 0, core = 0; k < e->d->n_core_kinds; k++) {
        for (int i = 0; i < n_cores_of(e->d, o, k); i++) {
            e->cores[core++].kind = k;
        }
    }
    link_stages(e);
    e->core_bandwidth = sim_core_bandwidth(e->d);
    e->total_bandwidth = sim_total_bandwidth(e->d);
    e->policy = e->d->schedule.n_threads > 0 ? &sim_threads : &sim_workers;
    return true;
}

/* ---- the run as data ----------------------------------------------------------------------------------------------------------- */

static bool name_workers(const sim_engine *e, trace *t)
{
    int first_of_kind = 0;
    bool ok = true;
    for (int i = 0; i < e->n_cores && ok; i++) {
        char name[64];
        first_of_kind = i > 0 && e->cores[i].kind != e->cores[i - 1].kind ? i : first_of_kind;
        snprintf(name, sizeof name, "%s %d", e->d->cores[e->cores[i].kind].name, i - first_of_kind);
        t->run.workers[i].name = arena_copy_text(&t->memory, name);
        ok = t->run.workers[i].name != NULL;
    }
    return ok;
}

/* Events of a worker after those of the worker before it, each in order of start. */
static void place_events(const sim_engine *e, trace_run *run)
{
    int64_t at = 0;
    for (int32_t worker = 0; worker < e->n_cores; worker++) {
        for (int64_t i = 0; i < e->n_started; i++) {
            const trace_event *event = &e->record[e->started[i]];
            if (event->worker == worker) {
                run->events[at] = *event;
                run->events[at++].task = e->started[i];
            }
        }
    }
    run->n_events = at;
}

static void set_ceilings(const sim_engine *e, trace_run *run)
{
    const sim_level *memory = &e->d->levels[0];
    double of_cores = memory->core_read_bytes_s * e->n_cores;
    run->read_bytes_s = of_cores > 0 && of_cores < memory->read_bytes_s ? of_cores : memory->read_bytes_s;
    for (int i = 0; i < e->n_cores; i++) {
        const sim_core_kind *k = &e->d->cores[e->cores[i].kind];
        run->ops_i8_s += k->i8.ops_s;
        run->flops_bf16_s += k->bf16.ops_s;
        run->vector_ops_s += k->vector.ops_s;
    }
}

static dsv4_status fill_run(const sim_engine *e, trace *t, dsv4_error *err)
{
    trace_run *run = &t->run;
    run->workers = memory_zeroed_array((size_t)e->n_cores, sizeof *run->workers);
    run->events = memory_zeroed_array((size_t)e->n_started, sizeof *run->events);
    run->device = arena_copy_text(&t->memory, e->d->name);
    if (run->workers == NULL || run->events == NULL || run->device == NULL || !name_workers(e, t)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory for the run", t->graph.name);
    }
    run->n_workers = e->n_cores;
    run->is_simulated = true;
    run->level = 1;
    place_events(e, run);
    set_ceilings(e, run);
    return DSV4_OK;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------------------- */

static dsv4_status replay(sim_engine *e, const sim_options *o, trace *t, sim_result *out, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < o->warm && status == DSV4_OK; i++) {
        status = sim_engine_run(e);
    }
    e->result = out;
    if (status == DSV4_OK) {
        status = sim_engine_run(e);
    }
    if (status == DSV4_OK && !(out->makespan_s <= MOST_SECONDS)) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "graph %s: takes %g s on device %s, expected at most %g s", t->graph.name,
                         out->makespan_s, e->d->name, MOST_SECONDS);
    }
    return status == DSV4_OK ? fill_run(e, t, err) : status;
}

dsv4_status sim_run(const sim_device *d, const sim_options *o, trace *t, sim_result *out, dsv4_error *err)
{
    dsv4_status status = check(d, &t->graph, err);
    if (status != DSV4_OK) {
        return status;
    }
    sim_engine e = {.d = d, .g = &t->graph, .err = err};
    out->stages = memory_zeroed_array((size_t)t->graph.n_stages, sizeof *out->stages);
    for (int k = 0; k < d->n_core_kinds; k++) {
        out->n_cores[k] = n_cores_of(d, o, k);
    }
    if (!open_engine(&e, o) || out->stages == NULL) {
        sim_engine_no_memory(&e);
        status = e.status;
    }
    if (status == DSV4_OK) {
        status = replay(&e, o, t, out, err);
    }
    if (status == DSV4_OK) {
        status = sim_find_misfits(d, &t->graph, out, err);
    }
    close_engine(&e);
    return status;
}

void sim_result_deinit(sim_result *r)
{
    free(r->stages);
    free(r->misfits);
    *r = (sim_result){0};
}
