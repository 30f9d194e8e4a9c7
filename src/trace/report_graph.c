#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "trace/report_parts.h"

/* ---- order ------------------------------------------------------------------------------------------------------------------- */

/* Fills order; false where edges go in a circle. left is [n_tasks]. */
static bool sort_tasks(const trace_graph *g, int32_t *left, int32_t *order)
{
    int64_t n = 0;
    memset(left, 0, (size_t)g->n_tasks * sizeof *left);
    for (int64_t i = 0; i < g->n_edges; i++) {
        left[g->edges[i].to]++;
    }
    for (int32_t i = 0; i < g->n_tasks; i++) {
        if (left[i] == 0) {
            order[n++] = i;
        }
    }
    for (int64_t done = 0; done < n; done++) {
        const trace_task *task = &g->tasks[order[done]];
        for (int64_t i = task->edge; i < task->edge_end; i++) {
            if (--left[g->edges[i].to] == 0) {
                order[n++] = g->edges[i].to;
            }
        }
    }
    return n == g->n_tasks;
}

/* ---- events ------------------------------------------------------------------------------------------------------------------ */

static void index_events(const trace *t, trace_index *x)
{
    const trace_run *run = &t->run;
    for (int64_t i = 0; i < t->graph.n_tasks; i++) {
        x->event[i] = TRACE_NONE;
    }
    for (int64_t w = 0; w < run->n_workers; w++) {
        x->last[w] = TRACE_NONE;
    }
    for (int32_t i = 0; i < run->n_events; i++) {
        const trace_event *e = &run->events[i];
        double first_s = e->ready_s < e->start_s ? e->ready_s : e->start_s;
        x->event[e->task] = i;
        x->before[i] = x->last[e->worker];
        x->last[e->worker] = i;
        x->begin_s = i == 0 || first_s < x->begin_s ? first_s : x->begin_s;
        x->end_s = i == 0 || e->end_s > x->end_s ? e->end_s : x->end_s;
    }
}

dsv4_status trace_index_make(const trace *t, trace_index *out, dsv4_error *err)
{
    size_t n_tasks = (size_t)t->graph.n_tasks;
    trace_index x = {.order = memory_array(n_tasks, sizeof *x.order),
                     .event = memory_array(n_tasks, sizeof *x.event),
                     .before = memory_array((size_t)t->run.n_events, sizeof *x.before),
                     .last = memory_array((size_t)t->run.n_workers, sizeof *x.last)};
    dsv4_status status = DSV4_OK;
    if (x.order == NULL || x.event == NULL || x.before == NULL || x.last == NULL) {
        status = trace_report_no_memory(t, err);
    } else if (!sort_tasks(&t->graph, x.event, x.order)) {
        status = dsv4_fail(err, DSV4_E_GRAPH, "graph %s: its edges go in a circle", t->graph.name);
    }
    if (status != DSV4_OK) {
        trace_index_deinit(&x);
        return status;
    }
    index_events(t, &x);
    *out = x;
    return DSV4_OK;
}

void trace_index_deinit(trace_index *x)
{
    free(x->order);
    free(x->event);
    free(x->before);
    free(x->last);
    *x = (trace_index){0};
}

/* ---- kinds of workers -------------------------------------------------------------------------------------------------------- */

typedef struct named_worker {
    const char *name;
    size_t length; /* of the name without its number */
    int32_t worker;
} named_worker;

static int compare_names(const named_worker *x, const named_worker *y)
{
    size_t n = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->name, y->name, n);
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

static int compare_workers(const void *a, const void *b)
{
    const named_worker *x = a, *y = b;
    int order = compare_names(x, y);
    return order != 0 ? order : (x->worker > y->worker) - (x->worker < y->worker);
}

size_t trace_worker_name_length(const char *name)
{
    size_t n = strlen(name);
    while (n > 0 && isdigit((unsigned char)name[n - 1])) {
        n--;
    }
    return n;
}

bool trace_worker_kinds(const trace_run *run, int32_t *kind_of, int64_t *n_kinds)
{
    int64_t n = run->n_workers;
    named_worker *names = memory_array((size_t)n, sizeof *names);
    if (names == NULL) {
        return false;
    }
    for (int32_t w = 0; w < n; w++) {
        names[w] = (named_worker){run->workers[w].name, trace_worker_name_length(run->workers[w].name), w};
    }
    qsort(names, (size_t)n, sizeof *names, compare_workers);
    for (int64_t i = 0; i < n; i++) {
        bool is_first = i == 0 || compare_names(&names[i - 1], &names[i]) != 0;
        kind_of[names[i].worker] = is_first ? names[i].worker : kind_of[names[i - 1].worker];
    }
    *n_kinds = 0;
    for (int32_t w = 0; w < n; w++) {
        kind_of[w] = kind_of[w] == w ? (int32_t)(*n_kinds)++ : kind_of[kind_of[w]];
    }
    free(names);
    return true;
}

bool trace_worker_skills(const trace *t, uint8_t *out)
{
    const trace_run *run = &t->run;
    int64_t n_kinds = 0;
    int32_t *kind_of = memory_array((size_t)run->n_workers, sizeof *kind_of);
    uint8_t *skills = memory_zeroed_array((size_t)run->n_workers, sizeof *skills);
    bool ok = kind_of != NULL && skills != NULL && trace_worker_kinds(run, kind_of, &n_kinds);
    for (int64_t i = 0; ok && i < run->n_events; i++) {
        const trace_task *task = &t->graph.tasks[run->events[i].task];
        skills[kind_of[run->events[i].worker]] |= (uint8_t)(1 << t->graph.stages[task->stage].kind);
    }
    for (int64_t w = 0; ok && w < run->n_workers; w++) {
        out[w] = skills[kind_of[w]];
    }
    free(kind_of);
    free(skills);
    return ok;
}
