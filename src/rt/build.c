/* rt/build.c - the builder: views, stages, declared edges (see dsv4/graph.h). */
#include <stdlib.h>
#include <string.h>

#include "rt/graph.h"

dsv4_graph *dsv4_graph_create(const char *name)
{
    dsv4_graph *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->name = arena_copy_text(&g->memory, name);
    if (g->name == NULL) {
        dsv4_graph_destroy(g);
        return NULL;
    }
    return g;
}

void dsv4_graph_destroy(dsv4_graph *g)
{
    if (g == NULL) {
        return;
    }
    vec_free(&g->views);
    vec_free(&g->reusable);
    vec_free(&g->stages);
    vec_free(&g->declared);
    free(g->tasks);
    free(g->after);
    free(g->roots);
    arena_deinit(&g->memory);
    free(g);
}

void dsv4_graph_fail(dsv4_graph *g, const dsv4_error *err)
{
    if (g->error.status == DSV4_OK) {
        g->error = *err;
    }
}

/* True if the builder may go on; building after sealing is an error. */
static bool building(dsv4_graph *g)
{
    if (g->sealed && g->error.status == DSV4_OK) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: changed after it was sealed; build a new one", g->name);
    }
    return g->error.status == DSV4_OK;
}

static void fail_memory(dsv4_graph *g, const char *what)
{
    dsv4_fail(&g->error, DSV4_E_NO_MEMORY, "graph %s: no memory for %s", g->name, what);
}

void *dsv4_graph_memory(dsv4_graph *g, size_t n_bytes)
{
    if (!building(g)) {
        return NULL;
    }
    void *memory = arena_alloc(&g->memory, n_bytes);
    if (memory == NULL) {
        fail_memory(g, "a builder's data");
        return NULL;
    }
    g->memory_bytes += (int64_t)n_bytes;
    return memory;
}

enum { MAX_ELEM_BYTES = 64 };

static bool extents_are_valid(int64_t rows, int64_t cols, size_t elem_bytes)
{
    return rows >= 0 && cols >= 0 && elem_bytes >= 1 && elem_bytes <= MAX_ELEM_BYTES;
}

/* Valid extents, rows that do not overlap, and an end that is still an address. */
static bool view_is_valid(uintptr_t address, int64_t rows, int64_t cols, size_t elem_bytes, size_t row_bytes)
{
    if (!extents_are_valid(rows, cols, elem_bytes) || row_bytes > INT64_MAX / 4) {
        return false;
    }
    if (cols > INT64_MAX / 4 / (int64_t)elem_bytes || (rows > 1 && row_bytes < (size_t)cols * elem_bytes)) {
        return false;
    }
    int64_t end;
    return !__builtin_mul_overflow(rows, (int64_t)row_bytes, &end) &&
           !__builtin_add_overflow(end, cols * (int64_t)elem_bytes, &end) && !__builtin_add_overflow(end, (int64_t)address, &end);
}

static void fail_view(dsv4_graph *g, const char *name, int64_t rows, int64_t cols, size_t elem_bytes, size_t row_bytes)
{
    dsv4_fail(&g->error, DSV4_E_GRAPH,
              "graph %s: view %s has rows %lld, cols %lld, element bytes %zu, row bytes %zu; expected 1..%d element bytes and rows "
              "that do not overlap",
              g->name, name, (long long)rows, (long long)cols, elem_bytes, row_bytes, MAX_ELEM_BYTES);
}

dsv4_view dsv4_graph_view(dsv4_graph *g, const char *name, void *data, int64_t rows, int64_t cols, size_t elem_bytes,
                          size_t row_bytes)
{
    if (!building(g)) {
        return 0;
    }
    if (!view_is_valid((uintptr_t)data, rows, cols, elem_bytes, row_bytes)) {
        fail_view(g, name, rows, cols, elem_bytes, row_bytes);
        return 0;
    }
    char *copy = arena_copy_text(&g->memory, name);
    rt_view view = {copy, (int64_t)(uintptr_t)data, rows, cols, (int64_t)elem_bytes, (int64_t)row_bytes};
    if (copy == NULL || g->views.n == INT32_MAX || !vec_push(&g->views, view)) {
        fail_memory(g, "a view");
        return 0;
    }
    return (dsv4_view)(g->views.n - 1);
}

void dsv4_graph_reuse(dsv4_graph *g, int room)
{
    g->room = room + 1;
    for (size_t i = 0; i < (size_t)g->reusable.n; i++) {
        rt_reusable *r = &g->reusable.items[i];
        r->is_taken = r->is_taken && r->room != g->room;
    }
}

/* Memory of the room for such a view, or NULL. */
static void *take_again(dsv4_graph *g, const char *name, int64_t rows, int64_t cols, size_t elem_bytes)
{
    for (size_t i = 0; i < (size_t)g->reusable.n; i++) {
        rt_reusable *r = &g->reusable.items[i];
        if (r->room == g->room && !r->is_taken && r->view.rows == rows && r->view.cols == cols &&
            r->view.elem_bytes == (int64_t)elem_bytes && strcmp(r->view.name, name) == 0) {
            r->is_taken = true;
            return (void *)(uintptr_t)r->view.address;
        }
    }
    return NULL;
}

void dsv4_graph_lend(dsv4_graph *g, void *memory, size_t n_bytes)
{
    g->lent = memory;
    g->lent_bytes = n_bytes;
}

/* Of what is lent, or the graph's own. */
static void *take_new(dsv4_graph *g, int64_t n_bytes)
{
    enum { ALIGNMENT = 64 };
    const size_t size = ((size_t)n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *memory = g->lent;
    if (g->lent == NULL || size > g->lent_bytes) {
        memory = dsv4_graph_memory(g, size);
    } else {
        g->lent += size;
        g->lent_bytes -= size;
        g->memory_bytes += (int64_t)size;
    }
    g->between_bytes += memory == NULL ? 0 : (int64_t)size;
    return memory;
}

dsv4_view dsv4_graph_alloc(dsv4_graph *g, const char *name, int64_t rows, int64_t cols, size_t elem_bytes, void **data)
{
    int64_t row_bytes, n_bytes;
    *data = NULL;
    if (!building(g)) {
        return 0;
    }
    if (!extents_are_valid(rows, cols, elem_bytes)) {
        fail_view(g, name, rows, cols, elem_bytes, 0);
        return 0;
    }
    if (__builtin_mul_overflow(cols, (int64_t)elem_bytes, &row_bytes) || __builtin_mul_overflow(rows, row_bytes, &n_bytes)) {
        fail_memory(g, name);
        return 0;
    }
    *data = g->room > 0 ? take_again(g, name, rows, cols, elem_bytes) : NULL;
    const bool is_new = *data == NULL;
    if (is_new) {
        *data = take_new(g, n_bytes);
    }
    const dsv4_view view = *data == NULL ? 0 : dsv4_graph_view(g, name, *data, rows, cols, elem_bytes, (size_t)row_bytes);
    if (g->room > 0 && is_new && building(g) && !vec_push(&g->reusable, ((rt_reusable){g->views.items[view], g->room, true}))) {
        fail_memory(g, name);
    }
    return view;
}

/* ---- verdicts -------------------------------------------------------------------------------------------------------- */

dsv4_view dsv4_graph_verdict_view(dsv4_graph *g, const dsv4_error **verdicts)
{
    if (g->verdicts == NULL) {
        const size_t bytes = sizeof *g->verdicts;
        g->verdicts = dsv4_graph_memory(g, DSV4_MAX_VERDICTS * bytes);
        g->verdict_view = dsv4_graph_view(g, "verdicts", g->verdicts, DSV4_MAX_VERDICTS, (int64_t)bytes, 1, bytes);
    }
    *verdicts = g->verdicts;
    return g->verdict_view;
}

dsv4_verdict_slot dsv4_graph_verdict(dsv4_graph *g)
{
    const dsv4_error *all;
    dsv4_graph_verdict_view(g, &all);
    if (g->n_verdicts == DSV4_MAX_VERDICTS && building(g)) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: more than %d verdicts", g->name, DSV4_MAX_VERDICTS);
    }
    if (!building(g)) {
        return (dsv4_verdict_slot){0};
    }
    g->n_verdicts++;
    return (dsv4_verdict_slot){&g->verdicts[g->n_verdicts - 1], g->n_verdicts - 1};
}

int64_t dsv4_graph_n_verdicts(const dsv4_graph *g)
{
    return g->n_verdicts;
}

dsv4_status rt_graph_find_refusal(const dsv4_graph *g, dsv4_error *err)
{
    for (int64_t i = 0; i < g->n_verdicts; i++) {
        if (g->verdicts[i].status != DSV4_OK) {
            return dsv4_fail(err, g->verdicts[i].status, "%s", g->verdicts[i].text);
        }
    }
    return DSV4_OK;
}

/* ---- stages and declared edges ---------------------------------------------------------------------------------------- */

static dsv4_stage add_stage(dsv4_graph *g, const dsv4_stage_desc *desc)
{
    if (!building(g)) {
        return 0;
    }
    if (desc->n_blocks < 0 || desc->n_blocks > RT_MAX_TASKS - g->n_blocks) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: stage %s has %lld blocks; a graph has 0..%d", g->name, desc->name,
                  (long long)desc->n_blocks, RT_MAX_TASKS);
        return 0;
    }
    rt_stage stage = {arena_copy_text(&g->memory, desc->name),
                      desc->n_blocks,
                      g->n_blocks,
                      desc->run,
                      desc->describe,
                      desc->arg,
                      desc->scratch_bytes,
                      desc->kind,
                      g->manual,
                      NULL};
    if (stage.name == NULL || g->stages.n == INT32_MAX || !vec_push(&g->stages, stage)) {
        fail_memory(g, "a stage");
        return 0;
    }
    g->n_blocks += desc->n_blocks;
    if (desc->scratch_bytes > g->scratch_bytes) {
        g->scratch_bytes = desc->scratch_bytes;
    }
    return (dsv4_stage)(g->stages.n - 1);
}

dsv4_stage dsv4_graph_stage(dsv4_graph *g, const dsv4_stage_desc *desc)
{
    if (building(g) && desc->run == NULL && desc->n_blocks != 0) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: stage %s has no function to run", g->name, desc->name);
    }
    return add_stage(g, desc);
}

dsv4_stage dsv4_graph_join(dsv4_graph *g, const char *name)
{
    return add_stage(g, &(dsv4_stage_desc){.name = name, .n_blocks = 1});
}

static bool has_block(const dsv4_graph *g, dsv4_stage stage, int64_t block)
{
    return stage >= 0 && stage < g->stages.n && (block == RT_ALL_BLOCKS || (block >= 0 && block < g->stages.items[stage].n_blocks));
}

static void declare(dsv4_graph *g, rt_declared_edge edge)
{
    if (!building(g)) {
        return;
    }
    if (!has_block(g, edge.stage, edge.block) || !has_block(g, edge.before, edge.before_block)) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: declared edge from stage %d block %lld to stage %d block %lld: no such block",
                  g->name, edge.before, (long long)edge.before_block, edge.stage, (long long)edge.block);
        return;
    }
    if (edge.stage == edge.before && edge.block == edge.before_block) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: cycle: stage %s is declared to wait for itself", g->name,
                  g->stages.items[edge.stage].name);
        return;
    }
    if (!vec_push(&g->declared, edge)) {
        fail_memory(g, "a declared edge");
    }
}

void dsv4_graph_share(dsv4_graph *g, dsv4_stage stage, dsv4_share_fn *share)
{
    if (!building(g)) {
        return;
    }
    if (stage < 0 || stage >= g->stages.n) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: share of stage %d: no such stage", g->name, stage);
        return;
    }
    g->stages.items[stage].share = share;
}

void dsv4_graph_after(dsv4_graph *g, dsv4_stage stage, dsv4_stage before)
{
    declare(g, (rt_declared_edge){stage, before, RT_ALL_BLOCKS, RT_ALL_BLOCKS});
}

void dsv4_graph_after_block(dsv4_graph *g, dsv4_stage stage, int64_t block, dsv4_stage before, int64_t before_block)
{
    if (block < 0 || before_block < 0) {
        block = before_block = INT64_MAX; /* refused by declare */
    }
    declare(g, (rt_declared_edge){stage, before, block, before_block});
}

void dsv4_graph_manual_begin(dsv4_graph *g)
{
    if (building(g) && g->manual) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: a manual region begins inside another; end the first", g->name);
    }
    g->manual = true;
}

void dsv4_graph_manual_end(dsv4_graph *g)
{
    if (building(g) && !g->manual) {
        dsv4_fail(&g->error, DSV4_E_GRAPH, "graph %s: a manual region ends that was not begun", g->name);
    }
    g->manual = false;
}

dsv4_graph_info dsv4_graph_get_info(const dsv4_graph *g)
{
    int64_t n_joins = g->sealed ? g->n_tasks - g->n_blocks : 0;
    return (dsv4_graph_info){g->stages.n, g->n_blocks,     n_joins,         g->n_edges,
                             g->n_boxes,  g->longest_path, g->memory_bytes, g->between_bytes};
}
