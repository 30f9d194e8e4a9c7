/* rt/seal.c - from edges to the sealed form: cycles found, priorities fixed, successors laid out for replay.
 *
 * PRIORITY  A task's remaining path is its own nominal cost plus the longest remaining path of its successors. Sealed numbers
 *           ascend with descending remaining path, equal ones in program order, so the smallest ready number is the block to start
 *           first.
 * JOINS     run nothing and so need no worker: they are numbered behind all blocks that run. One that waits for nothing is
 *           dropped. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rt/graph.h"
#include "rt/infer.h"
#include "rt/sort.h"

typedef struct sealing {
    dsv4_graph *g;
    rt_edges in;
    double *cost_ns;   /* [n_tasks] by task id */
    int32_t *stage;    /* [n_tasks] */
    int32_t *n_before; /* [n_tasks] */
    int64_t *first;    /* [n_tasks + 1] successor ranges by task id */
    int32_t *next;     /* [n_edges] successors */
    int32_t *order;    /* [n_tasks] topological */
    double *remaining; /* [n_tasks] */
    int32_t *rank;     /* [n_tasks] task id -> sealed number */
    uint8_t *dropped;  /* [n_tasks] joins that wait for nothing */
} sealing;

static dsv4_status no_memory(const dsv4_graph *g, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to seal %lld blocks", g->name, (long long)g->n_blocks);
}

/* Stage of every block; RT_NONE for the joins made by sealing. */
static bool find_stages(sealing *s)
{
    s->stage = memory_array((size_t)(s->in.n_tasks + 1), sizeof *s->stage);
    if (s->stage == NULL) {
        return false;
    }
    for (int64_t t = 0; t < s->in.n_tasks; t++) {
        s->stage[t] = RT_NONE;
    }
    for (int64_t i = 0; i < s->g->stages.n; i++) {
        const rt_stage *stage = &s->g->stages.items[i];
        for (int64_t b = 0; b < stage->n_blocks; b++) {
            s->stage[stage->first_block + b] = (int32_t)i;
        }
    }
    return true;
}

/* Groups edges by from: first[], next[] and n_before[]. */
static bool index_edges(sealing *s)
{
    int64_t n = s->in.n_tasks, n_edges = s->in.edges.n;
    s->n_before = memory_zeroed_array((size_t)n + 1, sizeof *s->n_before);
    s->first = memory_zeroed_array((size_t)n + 2, sizeof *s->first);
    s->next = memory_array((size_t)(n_edges + 1), sizeof *s->next);
    if (s->n_before == NULL || s->first == NULL || s->next == NULL) {
        return false;
    }
    for (int64_t e = 0; e < n_edges; e++) {
        s->first[s->in.edges.items[e].from + 2]++;
        s->n_before[s->in.edges.items[e].to]++;
    }
    for (int64_t t = 0; t < n; t++) {
        s->first[t + 2] += s->first[t + 1];
    }
    for (int64_t e = 0; e < n_edges; e++) {
        s->next[s->first[s->in.edges.items[e].from + 1]++] = s->in.edges.items[e].to;
    }
    return true;
}

/* Topological order; returns how many tasks it reached: fewer than all means a cycle. */
static int64_t sort_topologically(sealing *s, int32_t *waiting)
{
    int64_t n = s->in.n_tasks, n_done = 0, n_found = 0;
    memcpy(waiting, s->n_before, (size_t)n * sizeof *waiting);
    for (int64_t t = 0; t < n; t++) {
        if (waiting[t] == 0) {
            s->order[n_found++] = (int32_t)t;
        }
    }
    for (; n_done < n_found; n_done++) {
        int32_t t = s->order[n_done];
        for (int64_t i = s->first[t]; i < s->first[t + 1]; i++) {
            if (--waiting[s->next[i]] == 0) {
                s->order[n_found++] = s->next[i];
            }
        }
    }
    return n_found;
}

/* Names two blocks of a cycle: walks along tasks that still wait until one comes again. */
static dsv4_status fail_cycle(const sealing *s, const int32_t *waiting, dsv4_error *err)
{
    const dsv4_graph *g = s->g;
    int64_t n = s->in.n_tasks;
    int32_t *before = memory_array((size_t)n, sizeof *before); /* some waiting predecessor of each waiting task */
    if (before == NULL) {
        return no_memory(g, err);
    }
    for (int64_t e = 0; e < s->in.edges.n; e++) {
        rt_edge edge = s->in.edges.items[e];
        if (waiting[edge.from] > 0 && waiting[edge.to] > 0) {
            before[edge.to] = edge.from;
        }
    }
    int32_t task = 0, other;
    while (waiting[task] == 0) {
        task++;
    }
    for (int64_t step = 0; step < n || task >= g->n_blocks; step++) { /* n steps back lie on the cycle; then stop at a block */
        task = before[task];
    }
    for (other = before[task]; other >= g->n_blocks; other = before[other]) {
    }
    free(before);
    char one[192], two[192];
    int32_t stage = s->stage[task], other_stage = s->stage[other];
    return dsv4_fail(err, DSV4_E_GRAPH, "graph %s: cycle: %s waits for %s, which waits for it; remove a declared edge", g->name,
                     rt_block_text(g, stage, task - g->stages.items[stage].first_block, one, sizeof one),
                     rt_block_text(g, other_stage, other - g->stages.items[other_stage].first_block, two, sizeof two));
}

static dsv4_status find_order(sealing *s, dsv4_error *err)
{
    int64_t n = s->in.n_tasks;
    int32_t *waiting = memory_array((size_t)(n + 1), sizeof *waiting);
    s->order = memory_array((size_t)(n + 1), sizeof *s->order);
    dsv4_status status = DSV4_OK;
    if (waiting == NULL || s->order == NULL) {
        status = no_memory(s->g, err);
    } else if (sort_topologically(s, waiting) < n) {
        status = fail_cycle(s, waiting, err);
    }
    free(waiting);
    return status;
}

static bool runs_nothing(const sealing *s, int32_t task)
{
    return s->stage[task] == RT_NONE || s->g->stages.items[s->stage[task]].run == NULL;
}

/* A join without predecessors is done from the start: nobody needs to wait for it. */
static void drop_idle_joins(sealing *s)
{
    for (int64_t i = 0; i < s->in.n_tasks; i++) {
        int32_t t = s->order[i];
        s->dropped[t] = s->n_before[t] == 0 && runs_nothing(s, t);
        for (int64_t e = s->first[t]; s->dropped[t] && e < s->first[t + 1]; e++) {
            s->n_before[s->next[e]]--;
        }
    }
}

static bool find_remaining(sealing *s)
{
    int64_t n = s->in.n_tasks;
    int32_t *depth = memory_array((size_t)(n + 1), sizeof *depth); /* blocks on the longest chain that starts here */
    if (depth == NULL) {
        return false;
    }
    s->g->longest_path = 0;
    for (int64_t i = n - 1; i >= 0; i--) {
        int32_t t = s->order[i];
        s->remaining[t] = 0;
        depth[t] = 0;
        for (int64_t e = s->first[t]; e < s->first[t + 1]; e++) {
            int32_t next = s->next[e];
            s->remaining[t] = s->remaining[next] > s->remaining[t] ? s->remaining[next] : s->remaining[t];
            depth[t] = depth[next] > depth[t] ? depth[next] : depth[t];
        }
        s->remaining[t] += s->cost_ns[t];
        depth[t] += t < s->g->n_blocks;
        s->g->longest_path = depth[t] > s->g->longest_path ? depth[t] : s->g->longest_path;
    }
    free(depth);
    return true;
}

/* Sealed numbers: what runs by descending remaining path, then what runs nothing. */
static bool find_ranks(sealing *s)
{
    int64_t n = s->in.n_tasks;
    uint64_t *key = memory_array((size_t)(n + 1), sizeof *key);
    int32_t *by_rank = memory_array((size_t)(n + 1), sizeof *by_rank);
    bool ok = key != NULL && by_rank != NULL;
    for (int64_t t = 0; ok && t < n; t++) {
        uint64_t bits; /* non-negative doubles order as their bits do */
        memcpy(&bits, &s->remaining[t], sizeof bits);
        key[t] = runs_nothing(s, (int32_t)t) ? UINT64_MAX : UINT64_MAX / 2 - bits;
    }
    ok = ok && rt_sort_ids(key, n, by_rank);
    for (int64_t i = 0; ok && i < n; i++) {
        s->rank[by_rank[i]] = (int32_t)i;
    }
    free(key);
    free(by_rank);
    return ok;
}

static void fill_task(sealing *s, int32_t id)
{
    const dsv4_graph *g = s->g;
    rt_task *task = &g->tasks[s->rank[id]];
    int32_t stage = s->stage[id];
    *task = (rt_task){.stage = stage, .n_before = s->n_before[id], .spread = true};
    if (stage != RT_NONE) {
        const rt_stage *from = &g->stages.items[stage];
        task->run = from->run;
        task->arg = from->arg;
        task->block = id - from->first_block;
    }
}

/* Lays out successors by sealed number: edges dealt to their targets in ascending order, so every list ascends. */
static bool lay_out_successors(sealing *s)
{
    dsv4_graph *g = s->g;
    int64_t n = s->in.n_tasks, n_edges = s->in.edges.n;
    int64_t *place = memory_zeroed_array((size_t)n + 2, sizeof *place);
    rt_edge *by_target = memory_array((size_t)(n_edges + 1), sizeof *by_target);
    if (place == NULL || by_target == NULL) {
        free(place);
        free(by_target);
        return false;
    }
    for (int64_t e = 0; e < n_edges; e++) {
        place[s->rank[s->in.edges.items[e].to] + 1]++;
        g->n_edges += !s->dropped[s->in.edges.items[e].from];
        g->tasks[s->rank[s->in.edges.items[e].from]].after_end += !s->dropped[s->in.edges.items[e].from];
    }
    for (int64_t r = 0, begin = 0; r < n; r++) {
        place[r + 1] += place[r];
        g->tasks[r].after = begin;
        begin += g->tasks[r].after_end;
        g->tasks[r].after_end = g->tasks[r].after;
    }
    for (int64_t e = 0; e < n_edges; e++) {
        rt_edge edge = {s->rank[s->in.edges.items[e].from], s->rank[s->in.edges.items[e].to]};
        by_target[place[edge.to]++] = s->dropped[s->in.edges.items[e].from] ? (rt_edge){RT_NONE, edge.to} : edge;
    }
    for (int64_t e = 0; e < n_edges; e++) {
        if (by_target[e].from != RT_NONE) {
            rt_task *from = &g->tasks[by_target[e].from];
            g->after[from->after_end++] = by_target[e].to;
            g->tasks[by_target[e].to].spread &= from->run == NULL;
        }
    }
    free(place);
    free(by_target);
    return true;
}

static void collect_roots(dsv4_graph *g)
{
    for (int64_t t = 0; t < g->n_tasks; t++) {
        if (g->tasks[t].n_before == 0 && g->tasks[t].run != NULL) {
            g->roots[g->n_roots++] = (int32_t)t;
        }
    }
}

static bool build_tasks(sealing *s)
{
    dsv4_graph *g = s->g;
    int64_t n = s->in.n_tasks;
    s->remaining = memory_array((size_t)(n + 1), sizeof *s->remaining);
    s->rank = memory_array((size_t)(n + 1), sizeof *s->rank);
    s->dropped = memory_zeroed_array((size_t)n + 1, 1);
    g->tasks = memory_zeroed_array((size_t)n + 1, sizeof *g->tasks);
    g->after = memory_array((size_t)(s->in.edges.n + 1), sizeof *g->after);
    g->roots = memory_array((size_t)(n + 1), sizeof *g->roots);
    if (s->remaining == NULL || s->rank == NULL || s->dropped == NULL || g->tasks == NULL || g->after == NULL || g->roots == NULL) {
        return false;
    }
    drop_idle_joins(s);
    if (!find_remaining(s) || !find_ranks(s)) {
        return false;
    }
    for (int64_t id = 0; id < n; id++) {
        fill_task(s, (int32_t)id);
    }
    g->n_tasks = n;
    g->n_boxes = s->in.n_boxes;
    if (!lay_out_successors(s)) {
        return false;
    }
    collect_roots(g);
    return true;
}

/* Joins cost nothing; their costs follow those of the blocks. */
static bool extend_costs(sealing *s)
{
    double *grown = realloc(s->cost_ns, (size_t)(s->in.n_tasks + 1) * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    s->cost_ns = grown;
    for (int64_t t = s->g->n_blocks; t < s->in.n_tasks; t++) {
        grown[t] = 0;
    }
    return true;
}

static dsv4_status seal(sealing *s, dsv4_deps deps, dsv4_error *err)
{
    s->cost_ns = memory_array((size_t)(s->g->n_blocks + 1), sizeof *s->cost_ns);
    if (s->cost_ns == NULL) {
        return no_memory(s->g, err);
    }
    dsv4_status status = rt_infer_edges(s->g, deps, &s->in, s->cost_ns, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (!extend_costs(s) || !find_stages(s) || !index_edges(s)) {
        return no_memory(s->g, err);
    }
    status = find_order(s, err);
    if (status != DSV4_OK) {
        return status;
    }
    return build_tasks(s) ? DSV4_OK : no_memory(s->g, err);
}

dsv4_status dsv4_graph_seal(dsv4_graph *g, dsv4_deps deps, dsv4_error *err)
{
    if (g->sealed) {
        return dsv4_fail(err, DSV4_E_GRAPH, "graph %s: sealed twice", g->name);
    }
    if (g->error.status == DSV4_OK && g->manual) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: a manual region does not end", g->name);
    }
    if (g->error.status != DSV4_OK) {
        return dsv4_fail(err, g->error.status, "%s", g->error.text);
    }
    sealing s = {.g = g};
    g->deps = deps;
    dsv4_status status = seal(&s, deps, &g->error);
    vec_free(&s.in.edges);
    free(s.cost_ns);
    free(s.stage);
    free(s.n_before);
    free(s.first);
    free(s.next);
    free(s.order);
    free(s.remaining);
    free(s.rank);
    free(s.dropped);
    g->sealed = status == DSV4_OK;
    return g->sealed ? DSV4_OK : dsv4_fail(err, status, "%s", g->error.text);
}

dsv4_status rt_graph_check_sealed(const dsv4_graph *g, dsv4_error *err)
{
    if (!g->sealed) {
        return dsv4_fail(err, DSV4_E_GRAPH, "graph %s: used before it was sealed", g->name);
    }
    return g->error.status == DSV4_OK ? DSV4_OK : dsv4_fail(err, DSV4_E_GRAPH, "%s", g->error.text);
}

dsv4_status dsv4_deps_parse(const char *text, dsv4_deps *out, dsv4_error *err)
{
    static const char *const names[] = {"block", "stage", "tensor"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (dsv4_deps)i;
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "deps: got \"%s\", expected block, stage or tensor", text);
}
