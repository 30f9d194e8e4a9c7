/* Two blocks: their boxes against each other. A join orders hundreds of blocks before it and behind it: the boxes of either side
 * are sorted by address, and those of the block at the other end of an edge look for a partner there, so that an edge costs about
 * the logarithm of the side. */
#include "trace/source.h"

#include <stdlib.h>

#include "base/memory.h"
#include "rt/sort.h"

/* Boxes that are read, or written, by the blocks of one side of a join. */
typedef struct side_index {
    int64_t *touch; /* [n] by start of its span */
    int64_t *reach; /* [n] largest end of a span so far */
    int64_t n;
} side_index;

/* The blocks and declared joins on one side of a join, through other joins made by sealing. */
typedef struct side {
    VEC(int32_t) tasks;
    VEC(int32_t) stages; /* of the tasks, each once */
    side_index reads, writes;
} side;

typedef struct sources {
    const dsv4_graph *g;
    trace_graph *out;
    rt_span *spans;                           /* [n_touches] */
    uint8_t *modes;                           /* [n_touches] DSV4_READ, DSV4_WRITE or both; 0: does not count */
    int64_t *first_before;                    /* [n_tasks + 1] ranges in before */
    int64_t *before;                          /* [n_edges] edges by the task that they lead to */
    rt_declared_edge *declared;               /* sorted */
    int64_t *task_mark, *stage_mark, n_marks; /* the last walk that met a task, a stage */
    side up, down, other;                     /* reused from join to join */
    bool no_memory;
} sources;

/* From strongest to weakest: what the block before does to the shared bytes, what the one behind does. */
static const struct {
    trace_source source;
    int from_mode, to_mode;
} kinds[] = {{TRACE_RAW, DSV4_WRITE, DSV4_READ}, {TRACE_WAW, DSV4_WRITE, DSV4_WRITE}, {TRACE_WAR, DSV4_READ, DSV4_WRITE}};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- declared edges -------------------------------------------------------------------------------------------------------- */

static int compare_int64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_declared(const void *a, const void *b)
{
    const rt_declared_edge *x = a, *y = b;
    int order = compare_int64(x->stage, y->stage);
    order = order != 0 ? order : compare_int64(x->before, y->before);
    order = order != 0 ? order : compare_int64(x->block, y->block);
    return order != 0 ? order : compare_int64(x->before_block, y->before_block);
}

static bool is_declared(const sources *s, rt_declared_edge key)
{
    size_t n = (size_t)s->g->declared.n;
    return n > 0 && bsearch(&key, s->declared, n, sizeof key, compare_declared) != NULL;
}

static bool stages_are_declared(const sources *s, int32_t before, int32_t stage)
{
    return is_declared(s, (rt_declared_edge){stage, before, RT_ALL_BLOCKS, RT_ALL_BLOCKS});
}

/* ---- pairs of boxes -------------------------------------------------------------------------------------------------------- */

static void set_pair(trace_edge *e, int kind, int64_t from_touch, int64_t to_touch)
{
    e->source = kinds[kind].source;
    e->from_touch = from_touch;
    e->to_touch = to_touch;
}

static bool find_pair_of_kind(const sources *s, int kind, const trace_task *a, const trace_task *b, trace_edge *e)
{
    for (int64_t i = a->touch; i < a->touch_end; i++) {
        for (int64_t j = b->touch; (s->modes[i] & kinds[kind].from_mode) != 0 && j < b->touch_end; j++) {
            if ((s->modes[j] & kinds[kind].to_mode) != 0 && rt_span_overlaps(&s->spans[i], &s->spans[j])) {
                set_pair(e, kind, i, j);
                return true;
            }
        }
    }
    return false;
}

static void find_direct(const sources *s, trace_edge *e)
{
    const trace_task *a = &s->out->tasks[e->from], *b = &s->out->tasks[e->to];
    bool found = false;
    for (int kind = 0; kind < N_KINDS && !found; kind++) {
        found = find_pair_of_kind(s, kind, a, b, e);
    }
    if (!found && (is_declared(s, (rt_declared_edge){b->stage, a->stage, b->block, a->block}) ||
                   stages_are_declared(s, a->stage, b->stage))) {
        e->source = TRACE_DECLARED;
    }
}

/* A box of the side that shares bytes with span; TRACE_NONE without one. */
static int64_t find_partner(const sources *s, const side_index *x, const rt_span *span)
{
    int64_t low = 0, high = x->n, end = rt_span_end(span);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (s->spans[x->touch[middle]].start < end) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (int64_t i = low - 1; i >= 0 && x->reach[i] > span->start; i--) {
        if (rt_span_overlaps(&s->spans[x->touch[i]], span)) {
            return x->touch[i];
        }
    }
    return TRACE_NONE;
}

/* A pair of the task and a task of the side, which is behind it or before it. */
static bool find_beside(const sources *s, int kind, const trace_task *task, const side *beside, bool is_behind, trace_edge *e)
{
    int own_mode = is_behind ? kinds[kind].from_mode : kinds[kind].to_mode;
    int mode = is_behind ? kinds[kind].to_mode : kinds[kind].from_mode;
    for (int64_t i = task->touch; i < task->touch_end; i++) {
        if ((s->modes[i] & own_mode) == 0) {
            continue;
        }
        int64_t partner = find_partner(s, mode == DSV4_READ ? &beside->reads : &beside->writes, &s->spans[i]);
        if (partner != TRACE_NONE) {
            set_pair(e, kind, is_behind ? i : partner, is_behind ? partner : i);
            return true;
        }
    }
    return false;
}

/* ---- sides of a join ------------------------------------------------------------------------------------------------------- */

static bool is_made_by_sealing(const sources *s, int32_t task)
{
    return s->out->tasks[task].stage == TRACE_NONE;
}

static void add_to_side(sources *s, side *to, int32_t task)
{
    if (s->task_mark[task] == s->n_marks) {
        return;
    }
    s->task_mark[task] = s->n_marks;
    s->no_memory |= !vec_push(&to->tasks, task);
}

/* Gathers all tasks on the side; a join among them gives way to those behind or before it. */
static void walk_side(sources *s, int32_t join, bool is_behind, side *to)
{
    const trace_graph *g = s->out;
    int64_t n_kept = 0;
    to->tasks.n = to->stages.n = 0;
    s->n_marks++;
    add_to_side(s, to, join);
    for (int64_t i = 0; i < to->tasks.n && !s->no_memory; i++) {
        int32_t task = to->tasks.items[i];
        if (!is_made_by_sealing(s, task)) {
            int32_t stage = g->tasks[task].stage;
            to->tasks.items[n_kept++] = task;
            s->no_memory |= s->stage_mark[stage] != s->n_marks && !vec_push(&to->stages, stage);
            s->stage_mark[stage] = s->n_marks;
            continue;
        }
        int64_t begin = is_behind ? g->tasks[task].edge : s->first_before[task];
        int64_t end = is_behind ? g->tasks[task].edge_end : s->first_before[task + 1];
        for (int64_t e = begin; e < end; e++) {
            add_to_side(s, to, is_behind ? g->edges[e].to : g->edges[s->before[e]].from);
        }
    }
    to->tasks.n = n_kept;
}

static bool sort_index(const sources *s, side_index *x)
{
    uint64_t *key = memory_array((size_t)x->n, sizeof *key);
    int32_t *order = memory_array((size_t)x->n, sizeof *order);
    int64_t *sorted = memory_array((size_t)x->n, sizeof *sorted);
    x->reach = memory_array((size_t)x->n, sizeof *x->reach);
    for (int64_t i = 0; key != NULL && i < x->n; i++) {
        key[i] = (uint64_t)s->spans[x->touch[i]].start;
    }
    bool ok = key != NULL && order != NULL && sorted != NULL && x->reach != NULL && rt_sort_ids(key, x->n, order);
    for (int64_t i = 0; ok && i < x->n; i++) {
        sorted[i] = x->touch[order[i]];
        int64_t end = rt_span_end(&s->spans[sorted[i]]);
        x->reach[i] = i > 0 && x->reach[i - 1] > end ? x->reach[i - 1] : end;
    }
    free(key);
    free(order);
    free(x->touch);
    x->touch = sorted;
    return ok;
}

static bool index_mode(const sources *s, const side *from, int mode, side_index *x)
{
    VEC(int64_t) found = {0};
    bool ok = true;
    for (int64_t i = 0; i < from->tasks.n; i++) {
        const trace_task *task = &s->out->tasks[from->tasks.items[i]];
        for (int64_t t = task->touch; t < task->touch_end && ok; t++) {
            ok = (s->modes[t] & mode) == 0 || vec_push(&found, t);
        }
    }
    free(x->touch);
    free(x->reach);
    *x = (side_index){found.items, NULL, found.n};
    return ok && sort_index(s, x);
}

static void index_side(sources *s, side *x)
{
    s->no_memory |= !index_mode(s, x, DSV4_READ, &x->reads) || !index_mode(s, x, DSV4_WRITE, &x->writes);
}

static void side_deinit(side *x)
{
    vec_free(&x->tasks);
    vec_free(&x->stages);
    free(x->reads.touch);
    free(x->reads.reach);
    free(x->writes.touch);
    free(x->writes.reach);
}

/* ---- edges of a join ------------------------------------------------------------------------------------------------------- */

/* An edge between the tasks of `own` and those of `beside`, through the join. */
static void find_through(const sources *s, const int32_t *own, int64_t n_own, const side *beside, bool is_behind, trace_edge *e)
{
    for (int kind = 0; kind < N_KINDS; kind++) {
        for (int64_t i = 0; i < n_own; i++) {
            if (find_beside(s, kind, &s->out->tasks[own[i]], beside, is_behind, e)) {
                return;
            }
        }
    }
    for (int64_t i = 0; i < n_own && e->source != TRACE_DECLARED; i++) {
        int32_t stage = s->out->tasks[own[i]].stage;
        for (int64_t k = 0; k < beside->stages.n; k++) {
            int32_t other = beside->stages.items[k];
            if (is_behind ? stages_are_declared(s, stage, other) : stages_are_declared(s, other, stage)) {
                e->source = TRACE_DECLARED;
            }
        }
    }
}

/* All edges to the join, and those from it to other tasks than joins made by sealing. */
static void find_of_join(sources *s, int32_t join)
{
    const trace_graph *g = s->out;
    walk_side(s, join, false, &s->up);
    walk_side(s, join, true, &s->down);
    index_side(s, &s->up);
    index_side(s, &s->down);
    for (int64_t i = s->first_before[join]; i < s->first_before[join + 1] && !s->no_memory; i++) {
        trace_edge *e = &g->edges[s->before[i]];
        if (!is_made_by_sealing(s, e->from)) {
            find_through(s, &e->from, 1, &s->down, true, e);
        } else {
            walk_side(s, e->from, false, &s->other);
            find_through(s, s->other.tasks.items, s->other.tasks.n, &s->down, true, e);
        }
    }
    for (int64_t i = g->tasks[join].edge; i < g->tasks[join].edge_end && !s->no_memory; i++) {
        trace_edge *e = &g->edges[i];
        if (!is_made_by_sealing(s, e->to)) {
            find_through(s, &e->to, 1, &s->up, false, e);
        }
    }
}

/* ---- preparation ----------------------------------------------------------------------------------------------------------- */

static rt_span span_of(const trace_graph *g, const trace_touch *t)
{
    const trace_view *v = &g->views[t->view];
    const dsv4_box *b = &t->box;
    return rt_span_make(v->address + b->row0 * v->row_bytes + b->col0 * v->elem_bytes, b->row1 - b->row0, v->row_bytes,
                        (b->col1 - b->col0) * v->elem_bytes);
}

static void prepare_touches(sources *s)
{
    const trace_graph *g = s->out;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        bool manual = g->tasks[i].stage != TRACE_NONE && s->g->stages.items[g->tasks[i].stage].manual;
        for (int64_t t = g->tasks[i].touch; t < g->tasks[i].touch_end; t++) {
            bool counts = !manual && (g->touches[t].mode & DSV4_UNTRACKED) == 0;
            s->spans[t] = span_of(g, &g->touches[t]);
            s->modes[t] = (uint8_t)(counts ? g->touches[t].mode & DSV4_UPDATE : 0);
        }
    }
}

static void prepare_before(sources *s)
{
    const trace_graph *g = s->out;
    for (int64_t e = 0; e < g->n_edges; e++) {
        s->first_before[g->edges[e].to + 2]++;
    }
    for (int64_t i = 0; i < g->n_tasks; i++) {
        s->first_before[i + 2] += s->first_before[i + 1];
    }
    for (int64_t e = 0; e < g->n_edges; e++) {
        s->before[s->first_before[g->edges[e].to + 1]++] = e;
    }
}

static bool prepare(sources *s)
{
    const trace_graph *g = s->out;
    size_t n_declared = (size_t)s->g->declared.n;
    s->spans = memory_array((size_t)g->n_touches, sizeof *s->spans);
    s->modes = memory_array((size_t)g->n_touches, sizeof *s->modes);
    s->first_before = memory_zeroed_array((size_t)g->n_tasks + 2, sizeof *s->first_before);
    s->before = memory_array((size_t)g->n_edges, sizeof *s->before);
    s->declared = memory_array(n_declared, sizeof *s->declared);
    s->task_mark = memory_zeroed_array((size_t)g->n_tasks, sizeof *s->task_mark);
    s->stage_mark = memory_zeroed_array((size_t)g->n_stages, sizeof *s->stage_mark);
    if (s->spans == NULL || s->modes == NULL || s->first_before == NULL || s->before == NULL || s->declared == NULL ||
        s->task_mark == NULL || s->stage_mark == NULL) {
        return false;
    }
    for (size_t i = 0; i < n_declared; i++) {
        s->declared[i] = s->g->declared.items[i];
    }
    qsort(s->declared, n_declared, sizeof *s->declared, compare_declared);
    prepare_touches(s);
    prepare_before(s);
    return true;
}

static void deinit(sources *s)
{
    free(s->spans);
    free(s->modes);
    free(s->first_before);
    free(s->before);
    free(s->declared);
    free(s->task_mark);
    free(s->stage_mark);
    side_deinit(&s->up);
    side_deinit(&s->down);
    side_deinit(&s->other);
}

bool trace_find_sources(const dsv4_graph *g, trace_graph *out)
{
    sources s = {.g = g, .out = out};
    s.no_memory = !prepare(&s);
    for (int64_t i = 0; i < out->n_edges && !s.no_memory; i++) {
        if (!is_made_by_sealing(&s, out->edges[i].from) && !is_made_by_sealing(&s, out->edges[i].to)) {
            find_direct(&s, &out->edges[i]);
        }
    }
    for (int64_t i = out->n_blocks; i < out->n_tasks && !s.no_memory; i++) {
        if (is_made_by_sealing(&s, (int32_t)i)) {
            find_of_join(&s, (int32_t)i);
        }
    }
    deinit(&s);
    return !s.no_memory;
}
