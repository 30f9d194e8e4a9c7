/* Two kinds of intervals, swept over in the order of time:
 *
 *   FREE    of a worker: from the end of a block until the next one that it runs is ready (or the end of the run)
 *   QUEUED  of a block: from ready until its worker has ended the block before
 *
 * While q blocks are queued and f workers free that could run them, min(q, f) pairs are not brought together: a worker's time counts
 * as pick-up by min(1, q / f), a block's by min(1, f / q); the rest is for lack of work, or of cores. What lies between both intervals
 * and the start is the worker's own time to find and start the block. */
#include <stdlib.h>

#include "base/memory.h"
#include "trace/report_parts.h"

enum { N_KINDS = 2, N_SETS = 1 << N_KINDS }; /* of stages; sets of them */

const char *trace_reason_name(trace_reason reason)
{
    static const char *const names[TRACE_N_REASONS] = {"no ready work", "ready but no core", "pick-up", "steal"};
    return names[reason];
}

/* ---- points in time ---------------------------------------------------------------------------------------------------------- */

/* In the order in which points of one time count: a queued block sees who was free just before. */
typedef enum point_type { QUEUE_END, FREE_BEGIN, FREE_END, QUEUE_BEGIN } point_type;

typedef struct point {
    double at_s;
    point_type type;
    int32_t id; /* event; n_events + worker: behind the worker's last block */
} point;

typedef struct sweep {
    const trace *t;
    const trace_index *x;
    const uint8_t *skills; /* [n_workers] */
    trace_blame *blames;
    trace_tail *tails; /* may be NULL */
    point *points;     /* [n_points] */
    double *mark_s;    /* [n_events + n_workers]: at the interval's begin */
    int64_t n_points;
    uint8_t rivals[N_KINDS]; /* kinds that the workers of a kind run */
    /* at the time that the sweep has reached */
    double now_s;
    int64_t n_free[N_SETS];    /* workers that run any kind of the set */
    int64_t n_queued[N_SETS];  /* blocks of the set */
    double worker_s[N_SETS];   /* of a worker that runs the set, as far as it would count as pick-up */
    double block_s[N_KINDS];   /* of a block */
    double since_s[N_KINDS];   /* some worker has been free for it since */
    int32_t freed_by[N_KINDS]; /* event whose end began that; TRACE_NONE: the begin of the run */
} sweep;

static int compare_points(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->at_s != y->at_s) {
        return x->at_s < y->at_s ? -1 : 1;
    }
    return x->type != y->type ? (int)x->type - (int)y->type : (x->id > y->id) - (x->id < y->id);
}

static int kind_of(const trace *t, const trace_event *e)
{
    return t->graph.stages[t->graph.tasks[e->task].stage].kind == DSV4_CUBE ? DSV4_CUBE : DSV4_VECTOR;
}

/* When the worker was done with the block before; not later than the event's start. */
static double worker_ready_s(const sweep *s, int32_t event)
{
    int32_t before = s->x->before[event];
    double end_s = before == TRACE_NONE ? s->x->begin_s : s->t->run.events[before].end_s, start_s = s->t->run.events[event].start_s;
    return end_s < start_s ? end_s : start_s;
}

static double block_ready_s(const sweep *s, int32_t event)
{
    const trace_event *e = &s->t->run.events[event];
    return e->ready_s < e->start_s ? e->ready_s : e->start_s;
}

static void add_interval(sweep *s, int32_t id, double begin_s, point_type begin, double end_s, point_type end)
{
    s->points[s->n_points++] = (point){begin_s, begin, id};
    s->points[s->n_points++] = (point){end_s, end, id};
}

static void gather_points(sweep *s)
{
    for (int32_t i = 0; i < s->t->run.n_events; i++) {
        double worker_s = worker_ready_s(s, i), block_s = block_ready_s(s, i);
        if (worker_s < block_s) {
            add_interval(s, i, worker_s, FREE_BEGIN, block_s, FREE_END);
        } else if (block_s < worker_s) {
            add_interval(s, i, block_s, QUEUE_BEGIN, worker_s, QUEUE_END);
        }
    }
    for (int32_t w = 0; w < s->t->run.n_workers; w++) {
        int32_t last = s->x->last[w];
        double end_s = last == TRACE_NONE ? s->x->begin_s : s->t->run.events[last].end_s;
        if (end_s < s->x->end_s) {
            add_interval(s, (int32_t)s->t->run.n_events + w, end_s, FREE_BEGIN, s->x->end_s, FREE_END);
        }
    }
    qsort(s->points, (size_t)s->n_points, sizeof *s->points, compare_points);
}

/* ---- the sweep --------------------------------------------------------------------------------------------------------------- */

static double share(int64_t n, int64_t of)
{
    return n >= of ? 1 : (double)n / (double)of;
}

static void advance(sweep *s, double to_s)
{
    double passed_s = to_s - s->now_s;
    for (int set = 1; set < N_SETS; set++) {
        s->worker_s[set] += s->n_free[set] > 0 ? passed_s * share(s->n_queued[set], s->n_free[set]) : 0;
    }
    for (int k = 0; k < N_KINDS; k++) {
        int64_t n_queued = s->n_queued[s->rivals[k]];
        s->block_s[k] += n_queued > 0 ? passed_s * share(s->n_free[1 << k], n_queued) : 0;
    }
    s->now_s = to_s;
}

/* Adds to the sets that have any of the kinds. */
static void count(int64_t *n_of_set, int kinds, int64_t n)
{
    for (int set = 1; set < N_SETS; set++) {
        n_of_set[set] += (set & kinds) != 0 ? n : 0;
    }
}

static int32_t worker_of(const sweep *s, int32_t id)
{
    int64_t n = s->t->run.n_events;
    return id < n ? s->t->run.events[id].worker : (int32_t)(id - n);
}

static void begin_free(sweep *s, int32_t id)
{
    int32_t worker = worker_of(s, id);
    s->mark_s[id] = s->worker_s[s->skills[worker]];
    for (int k = 0; k < N_KINDS; k++) {
        if ((s->skills[worker] >> k & 1) != 0 && s->n_free[1 << k] == 0) {
            s->since_s[k] = s->now_s;
            s->freed_by[k] = id < s->t->run.n_events ? s->x->before[id] : s->x->last[worker];
        }
    }
    count(s->n_free, s->skills[worker], 1);
}

static void end_free(sweep *s, int32_t id, double begin_s)
{
    int32_t worker = worker_of(s, id);
    double missed_s = s->worker_s[s->skills[worker]] - s->mark_s[id];
    double *idle_s = id < s->t->run.n_events ? s->blames[id].idle_s : s->tails != NULL ? s->tails[worker].idle_s : NULL;
    if (idle_s != NULL) {
        idle_s[TRACE_PICKUP] += missed_s;
        idle_s[TRACE_NO_WORK] += s->now_s - begin_s - missed_s;
    }
    count(s->n_free, s->skills[worker], -1);
}

static void end_queue(sweep *s, int32_t id, double ready_s)
{
    trace_blame *b = &s->blames[id];
    int kind = kind_of(s->t, &s->t->run.events[id]);
    double missed_s = s->block_s[kind] - s->mark_s[id];
    b->delay_s[TRACE_PICKUP] += missed_s;
    b->delay_s[TRACE_NO_CORE] += s->now_s - ready_s - missed_s;
    count(s->n_queued, 1 << kind, -1);
    if (s->n_free[1 << kind] == 0) {
        b->since_s = s->now_s;
        b->explained = s->x->before[id];
    } else if (s->since_s[kind] > ready_s) {
        b->since_s = s->since_s[kind];
        b->explained = s->freed_by[kind];
    }
}

static void pass(sweep *s, const point *p)
{
    advance(s, p->at_s);
    switch (p->type) {
    case QUEUE_BEGIN: {
        int kind = kind_of(s->t, &s->t->run.events[p->id]);
        s->mark_s[p->id] = s->block_s[kind];
        count(s->n_queued, 1 << kind, 1);
        break;
    }
    case QUEUE_END:
        end_queue(s, p->id, block_ready_s(s, p->id));
        break;
    case FREE_BEGIN:
        begin_free(s, p->id);
        break;
    case FREE_END: {
        int32_t worker = worker_of(s, p->id), before = p->id < s->t->run.n_events ? s->x->before[p->id] : s->x->last[worker];
        end_free(s, p->id, before == TRACE_NONE ? s->x->begin_s : s->t->run.events[before].end_s);
        break;
    }
    }
}

/* ---- what made a block ready ------------------------------------------------------------------------------------------------- */

/* The block that ended last of those before each task, through joins: made_ready[n_tasks], events. */
static void find_made_ready(const trace *t, const trace_index *x, int32_t *made_ready)
{
    const trace_graph *g = &t->graph;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        made_ready[i] = TRACE_NONE;
    }
    for (int64_t n = 0; n < g->n_tasks; n++) {
        const trace_task *task = &g->tasks[x->order[n]];
        int32_t ended = task->is_join ? made_ready[x->order[n]] : x->event[x->order[n]];
        for (int64_t i = task->edge; ended != TRACE_NONE && i < task->edge_end; i++) {
            int32_t *known = &made_ready[g->edges[i].to];
            if (*known == TRACE_NONE || t->run.events[ended].end_s > t->run.events[*known].end_s) {
                *known = ended;
            }
        }
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------------------- */

static void begin_blame(sweep *s, const int32_t *made_ready)
{
    for (int32_t i = 0; i < s->t->run.n_events; i++) {
        int32_t maker = made_ready[s->t->run.events[i].task];
        s->blames[i] = (trace_blame){.made_ready = maker, .explained = maker, .since_s = block_ready_s(s, i)};
    }
    for (int64_t w = 0; w < s->t->run.n_workers; w++) {
        for (int k = 0; k < N_KINDS; k++) {
            s->rivals[k] |= (s->skills[w] >> k & 1) != 0 ? s->skills[w] : 0;
        }
        if (s->tails != NULL) {
            s->tails[w] = (trace_tail){{0}};
        }
    }
}

/* Adds what lies between block and worker being there and the start; sums up. */
static void end_blame(sweep *s)
{
    for (int32_t i = 0; i < s->t->run.n_events; i++) {
        const trace_event *e = &s->t->run.events[i];
        trace_blame *b = &s->blames[i];
        double worker_s = worker_ready_s(s, i), block_s = block_ready_s(s, i);
        double found_s = e->start_s - (worker_s > block_s ? worker_s : block_s);
        trace_reason finding = e->found != TRACE_KEPT && e->found != e->worker ? TRACE_STEAL : TRACE_PICKUP;
        b->idle_s[finding] += found_s;
        b->delay_s[finding] += found_s;
        for (int r = 0; r < TRACE_N_REASONS; r++) {
            b->gap_s += b->idle_s[r];
            b->reason = b->idle_s[r] > b->idle_s[b->reason] ? (trace_reason)r : b->reason;
        }
    }
}

dsv4_status trace_blame_indexed(const trace *t, const trace_index *x, trace_blame *out, trace_tail *tails, dsv4_error *err)
{
    size_t n_ids = (size_t)(t->run.n_events + t->run.n_workers);
    uint8_t *skills = memory_array((size_t)t->run.n_workers, sizeof *skills);
    int32_t *made_ready = memory_array((size_t)t->graph.n_tasks, sizeof *made_ready);
    sweep s = {.t = t, .x = x, .skills = skills, .blames = out, .tails = tails, .now_s = x->begin_s};
    s.points = memory_array(2 * n_ids, sizeof *s.points);
    s.mark_s = memory_array(n_ids, sizeof *s.mark_s);
    bool ok = skills != NULL && made_ready != NULL && s.points != NULL && s.mark_s != NULL && trace_worker_skills(t, skills);
    if (ok) {
        find_made_ready(t, x, made_ready);
        begin_blame(&s, made_ready);
        gather_points(&s);
        for (int64_t i = 0; i < s.n_points; i++) {
            pass(&s, &s.points[i]);
        }
        end_blame(&s);
    }
    free(skills);
    free(made_ready);
    free(s.points);
    free(s.mark_s);
    return ok ? DSV4_OK : trace_report_no_memory(t, err);
}

dsv4_status trace_blame_find(const trace *t, trace_blame *out, trace_tail *tails, dsv4_error *err)
{
    trace_index x = {0};
    dsv4_status status = trace_index_make(t, &x, err);
    if (status == DSV4_OK) {
        status = trace_blame_indexed(t, &x, out, tails, err);
    }
    trace_index_deinit(&x);
    return status;
}
