/* rt/infer.c - read-after-write, write-after-write and write-after-read, block to block.
 *
 * Blocks are walked in program order. Each distinct box keeps what still matters of its past: the last block that wrote exactly
 * this box, and the blocks that read it since. An access finds the active boxes that share a byte with its own:
 *
 *   read   waits for their writers                       then joins the readers of its box
 *   write  waits for their writers and their readers     then wipes the past of every box that it covers, and is its box's writer
 *
 * Wiping is what keeps the walk near-linear: whoever meets a wiped box meets the write that covers it, and that write waits for the
 * wiped past. Likewise a read that finds its box written since it was last read, even in part, replaces the box's readers: it waits
 * for that write, and that write waits for them.
 *
 * JOINS  Many blocks wait for the same blocks: readers of one box for its writers, writers of its parts for its readers, row tiles
 *        for all column tiles. What an access waits for is grouped by stage. From three tasks on, a group that another block waited
 *        for becomes one join task, so that P producers and C consumers cost P + C edges, not P * C:
 *
 *        w0 w1 w2 ... wP          The second block makes the join; the first one keeps its own edges.
 *          \ | | /                A box remembers what its readers wait for (`known`) until a write touches it.
 *           join
 *          / | | \
 *        r0 r1 r2 ... rC
 *
 * With DSV4_DEPS_STAGE a producer in another stage is replaced by the join of its whole stage; with DSV4_DEPS_TENSOR every box is
 * widened to its memory region. */
#include "rt/infer.h"

#include <stdlib.h>

#include "base/memory.h"
#include "rt/accesses.h"
#include "rt/taskset.h"

enum { JOIN_FROM = 3 };

typedef struct reader {
    int32_t task, next;
} reader;

/* The past of one distinct box. */
typedef struct past {
    int32_t writer;  /* task or RT_NONE */
    int32_t readers; /* newest in inference.readers, or RT_NONE */
    int32_t n_readers;
    bool known;                   /* sources is what a read of this box waits for now */
    bool stale;                   /* written, at least in part, since the readers read it */
    int64_t sources, sources_end; /* range in inference.sources */
} past;

typedef struct inference {
    const dsv4_graph *g;
    dsv4_deps deps;
    rt_accesses accesses;
    past *pasts; /* [boxes] */
    VEC(reader) readers;
    VEC(int32_t) gathered; /* tasks that the access at hand waits for */
    VEC(int32_t) sources;  /* what accesses wait for: a task, or ~id of a set of tasks */
    rt_tasksets sets;
    int32_t *stage_join;  /* [stages]: the join of all its blocks, or RT_NONE */
    int32_t *block_stage; /* [n_blocks] */
    VEC(int32_t) last_to; /* [tasks]: newest successor, to leave out repeated edges */
    rt_edges *out;
    bool no_memory;
} inference;

/* ---- edges and joins --------------------------------------------------------------------------------------------------- */

static int32_t new_task(inference *f)
{
    if (f->out->n_tasks >= INT32_MAX || !vec_push(&f->last_to, RT_NONE)) {
        f->no_memory = true;
        return 0;
    }
    return (int32_t)f->out->n_tasks++;
}

static void add_edge(inference *f, int32_t from, int32_t to)
{
    if (from == to || f->no_memory || f->last_to.items[from] == to) {
        return;
    }
    f->last_to.items[from] = to;
    f->no_memory = !vec_push(&f->out->edges, ((rt_edge){from, to}));
}

/* The join that every block of a stage leads to. */
static int32_t stage_join(inference *f, int32_t stage)
{
    if (f->stage_join[stage] == RT_NONE) {
        const rt_stage *s = &f->g->stages.items[stage];
        f->stage_join[stage] = new_task(f);
        for (int64_t b = 0; b < s->n_blocks; b++) {
            add_edge(f, (int32_t)(s->first_block + b), f->stage_join[stage]);
        }
    }
    return f->stage_join[stage];
}

/* What `to` waits for when it needs block `from`. */
static int32_t producer(inference *f, int32_t from, int32_t to)
{
    if (f->deps != DSV4_DEPS_STAGE || f->block_stage[from] == f->block_stage[to]) {
        return from;
    }
    return stage_join(f, f->block_stage[from]);
}

static bool joins_pay(const inference *f, int64_t n_tasks)
{
    return f->deps != DSV4_DEPS_STAGE && n_tasks >= JOIN_FROM;
}

/* ---- waiting for sets of tasks ------------------------------------------------------------------------------------------- */

static void gather(inference *f, int32_t from, int32_t to)
{
    if (from == RT_NONE || from == to) {
        return;
    }
    int32_t task = from < f->g->n_blocks ? producer(f, from, to) : from;
    if (f->gathered.n == 0 || f->gathered.items[f->gathered.n - 1] != task) {
        f->no_memory |= !vec_push(&f->gathered, task);
    }
}

static int compare_tasks(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts what was gathered and leaves out repetitions. Boxes are mostly found in the order of their blocks. */
static void sort_gathered(inference *f)
{
    int32_t *tasks = f->gathered.items;
    int64_t n = 1;
    while (n < f->gathered.n && tasks[n - 1] < tasks[n]) {
        n++;
    }
    if (n >= f->gathered.n) {
        return;
    }
    qsort(tasks, (size_t)f->gathered.n, sizeof *tasks, compare_tasks);
    n = 1;
    for (int64_t i = 1; i < f->gathered.n; i++) {
        if (tasks[i] != tasks[n - 1]) {
            tasks[n++] = tasks[i];
        }
    }
    f->gathered.n = n;
}

static int32_t stage_of(const inference *f, int32_t task)
{
    return task < f->g->n_blocks ? f->block_stage[task] : RT_NONE;
}

/* Appends what was gathered to the sources, the tasks of a stage as one set where that pays, and empties it. */
static void add_sources(inference *f)
{
    sort_gathered(f);
    const int32_t *tasks = f->gathered.items;
    for (int64_t i = 0, end; i < f->gathered.n && !f->no_memory; i = end) {
        end = i + 1;
        while (end < f->gathered.n && stage_of(f, tasks[end]) == stage_of(f, tasks[i])) {
            end++;
        }
        bool joined = joins_pay(f, end - i);
        int32_t set = joined ? rt_tasksets_add(&f->sets, tasks + i, end - i) : RT_NONE;
        f->no_memory |= joined && set == RT_NONE;
        for (int64_t k = i; k < (joined ? i + 1 : end); k++) {
            f->no_memory |= !vec_push(&f->sources, joined ? ~set : tasks[k]);
        }
    }
    f->gathered.n = 0;
}

static void add_edges_from(inference *f, const rt_taskset *set, int32_t to)
{
    for (int64_t i = set->begin; i < set->end; i++) {
        add_edge(f, f->sets.tasks.items[i], to);
    }
}

static int32_t join_of(inference *f, rt_taskset *set)
{
    if (set->join == RT_NONE) {
        set->join = new_task(f);
        add_edges_from(f, set, set->join);
    }
    return set->join;
}

static void wait_for_set(inference *f, rt_taskset *set, int32_t task)
{
    if (set->user == RT_NONE && set->join == RT_NONE) {
        set->user = task;
        add_edges_from(f, set, task);
    } else if (set->user != task) {
        add_edge(f, join_of(f, set), task);
    }
}

static void wait_for_sources(inference *f, int64_t begin, int64_t end, int32_t task)
{
    for (int64_t i = begin; i < end && !f->no_memory; i++) {
        int32_t source = f->sources.items[i];
        if (source < 0) {
            wait_for_set(f, &f->sets.sets.items[~source], task);
        } else {
            add_edge(f, source, task);
        }
    }
}

/* ---- reads ------------------------------------------------------------------------------------------------------------- */

/* Finds what a read of the box waits for and remembers it. */
static void find_writers(inference *f, int32_t box, int32_t task)
{
    const int32_t *overlapping;
    int64_t n = rt_boxset_overlaps(&f->accesses.boxes, box, &overlapping);
    past *p = &f->pasts[box];
    for (int64_t i = 0; i < n; i++) {
        gather(f, f->pasts[overlapping[i]].writer, task);
    }
    p->sources = f->sources.n;
    add_sources(f);
    p->sources_end = f->sources.n;
}

static void wait_for_writers(inference *f, int32_t box, int32_t task)
{
    if (!f->pasts[box].known) {
        find_writers(f, box, task);
    }
    wait_for_sources(f, f->pasts[box].sources, f->pasts[box].sources_end, task);
}

static void add_reader(inference *f, past *p, int32_t task)
{
    f->no_memory |= f->readers.n == INT32_MAX || !vec_push(&f->readers, ((reader){task, p->readers}));
    p->readers = (int32_t)(f->readers.n - 1);
    p->n_readers++;
}

static void forget_readers(past *p)
{
    p->readers = RT_NONE;
    p->n_readers = 0;
    p->stale = false;
}

static void record_read(inference *f, int32_t box, int32_t task)
{
    past *p = &f->pasts[box];
    if (p->stale) {
        forget_readers(p);
    }
    add_reader(f, p, task);
    p->known = f->deps != DSV4_DEPS_STAGE; /* there, what a block waits for depends on its own stage */
    rt_boxset_activate(&f->accesses.boxes, box);
}

/* ---- writes ------------------------------------------------------------------------------------------------------------ */

/* Replaces the readers of a box, other than `task`, by one join: parts of the box are about to be written one by one. */
static void join_readers(inference *f, past *p, int32_t task)
{
    bool reads_too = false;
    for (int32_t i = p->readers; i != RT_NONE; i = f->readers.items[i].next) {
        reads_too |= f->readers.items[i].task == task;
        gather(f, f->readers.items[i].task, task);
    }
    sort_gathered(f);
    int32_t set = rt_tasksets_add(&f->sets, f->gathered.items, f->gathered.n);
    f->gathered.n = 0;
    f->no_memory |= set == RT_NONE;
    if (!f->no_memory) {
        forget_readers(p);
        add_reader(f, p, join_of(f, &f->sets.sets.items[set]));
    }
    if (reads_too) {
        add_reader(f, p, task);
    }
}

static void gather_past(inference *f, past *p, int32_t task)
{
    gather(f, p->writer, task);
    for (int32_t i = p->readers; i != RT_NONE; i = f->readers.items[i].next) {
        gather(f, f->readers.items[i].task, task);
    }
}

static bool covers(const inference *f, int32_t box, int32_t other)
{
    return rt_span_contains(&f->accesses.boxes.boxes.items[box].span, &f->accesses.boxes.boxes.items[other].span);
}

/* A write covers the box: its past ends. */
static void wipe(inference *f, int32_t box)
{
    f->pasts[box].writer = RT_NONE;
    forget_readers(&f->pasts[box]);
    rt_boxset_deactivate(&f->accesses.boxes, box);
}

static void write_box(inference *f, int32_t box, int32_t task)
{
    const int32_t *overlapping;
    int64_t n = rt_boxset_overlaps(&f->accesses.boxes, box, &overlapping), begin = f->sources.n;
    for (int64_t i = 0; i < n && !f->no_memory; i++) {
        past *p = &f->pasts[overlapping[i]];
        if (joins_pay(f, p->n_readers - 1) && !covers(f, box, overlapping[i])) {
            join_readers(f, p, task);
        }
    }
    for (int64_t i = 0; i < n && !f->no_memory; i++) {
        past *p = &f->pasts[overlapping[i]];
        gather_past(f, p, task);
        p->known = false;
        p->stale = true;
        if (covers(f, box, overlapping[i])) {
            wipe(f, overlapping[i]);
        }
    }
    add_sources(f);
    wait_for_sources(f, begin, f->sources.n, task);
    f->sources.n = begin;
    f->pasts[box].writer = task;
    rt_boxset_activate(&f->accesses.boxes, box);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------------- */

static void infer_block(inference *f, int32_t task)
{
    int64_t first = f->accesses.first[task], end = f->accesses.first[task + 1], first_write = first;
    for (; first_write < end && !f->accesses.list.items[first_write].is_write; first_write++) {
        wait_for_writers(f, f->accesses.list.items[first_write].box, task);
    }
    for (int64_t i = first; i < first_write; i++) {
        record_read(f, f->accesses.list.items[i].box, task);
    }
    for (int64_t i = first_write; i < end; i++) {
        write_box(f, f->accesses.list.items[i].box, task);
    }
}

static void add_declared(inference *f)
{
    for (int64_t i = 0; i < f->g->declared.n; i++) {
        const rt_declared_edge *e = &f->g->declared.items[i];
        const rt_stage *stage = &f->g->stages.items[e->stage], *before = &f->g->stages.items[e->before];
        if (e->block != RT_ALL_BLOCKS) {
            add_edge(f, (int32_t)(before->first_block + e->before_block), (int32_t)(stage->first_block + e->block));
            continue;
        }
        for (int64_t b = 0; b < stage->n_blocks && before->n_blocks > 0; b++) {
            add_edge(f, before->n_blocks == 1 ? (int32_t)before->first_block : stage_join(f, e->before),
                     (int32_t)(stage->first_block + b));
        }
    }
}

/* Room for what a graph usually has, so that large arrays are not moved while they grow. */
static bool reserve(inference *f)
{
    int64_t n = f->g->n_blocks;
    return vec_reserve(&f->last_to, n) && vec_reserve(&f->readers, n) && vec_reserve(&f->sources, n) &&
           vec_reserve(&f->out->edges, 2 * n);
}

static bool allocate(inference *f)
{
    const dsv4_graph *g = f->g;
    f->stage_join = memory_array((size_t)(g->stages.n + 1), sizeof *f->stage_join);
    f->block_stage = memory_array((size_t)(g->n_blocks + 1), sizeof *f->block_stage);
    if (f->stage_join == NULL || f->block_stage == NULL || !reserve(f)) {
        return false;
    }
    for (int64_t s = 0; s < g->stages.n; s++) {
        f->stage_join[s] = RT_NONE;
        for (int64_t b = 0; b < g->stages.items[s].n_blocks; b++) {
            f->block_stage[g->stages.items[s].first_block + b] = (int32_t)s;
        }
    }
    for (int64_t t = 0; t < g->n_blocks; t++) {
        new_task(f);
    }
    return !f->no_memory;
}

static bool allocate_pasts(inference *f)
{
    f->pasts = memory_array((size_t)(f->accesses.boxes.boxes.n + 1), sizeof *f->pasts);
    for (int64_t i = 0; f->pasts != NULL && i < f->accesses.boxes.boxes.n; i++) {
        f->pasts[i] = (past){.writer = RT_NONE, .readers = RT_NONE};
    }
    return f->pasts != NULL;
}

static void deinit(inference *f)
{
    rt_accesses_deinit(&f->accesses);
    free(f->pasts);
    vec_free(&f->readers);
    vec_free(&f->gathered);
    vec_free(&f->sources);
    rt_tasksets_deinit(&f->sets);
    free(f->stage_join);
    free(f->block_stage);
    vec_free(&f->last_to);
}

dsv4_status rt_infer_edges(const dsv4_graph *g, dsv4_deps deps, rt_edges *out, double *cost_ns, dsv4_error *err)
{
    inference f = {.g = g, .deps = deps, .out = out};
    dsv4_status status = rt_accesses_collect(g, deps, &f.accesses, cost_ns, err);
    if (status == DSV4_OK) {
        out->n_boxes = f.accesses.n_described;
        f.no_memory = !allocate(&f) || !allocate_pasts(&f);
        for (int64_t task = 0; task < g->n_blocks && !f.no_memory; task++) {
            infer_block(&f, (int32_t)task);
        }
        if (!f.no_memory) {
            add_declared(&f);
        }
    }
    deinit(&f);
    return f.no_memory ? dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to infer dependencies", g->name) : status;
}
