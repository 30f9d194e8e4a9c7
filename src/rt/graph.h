/* rt/graph.h - what a graph holds: while building (views, stages, declared edges), and once sealed (tasks, edges, priorities).
 *
 * build.c      fills the first half                     describe.c   turns a block into spans
 * accesses.c   gathers the boxes of all blocks          infer.c      boxes -> edges
 * seal.c       edges -> tasks in priority order         exec.c       replays the second half (exec_create.c)
 * trace.c      sums up the last replay                  trace_stages.c  the same by stage
 * pmu.c        counts events around blocks              pmu_events.c    which events there are
 * verify_*.c   find wrong declarations
 *
 * TASK IDS   While sealing, blocks are numbered in program order and joins follow: the id of block b of stage s is
 *            stage[s].first_block + b. Sealed tasks are numbered by priority: 0 is the first to start. Joins come last. */
#ifndef RT_GRAPH_H
#define RT_GRAPH_H

#include "base/arena.h"
#include "dsv4/graph.h"
#include "rt/span.h"
#include "rt/vec.h"

enum { RT_NONE = -1, RT_MAX_TASKS = 1 << 30 };

typedef struct rt_view {
    const char *name;
    int64_t address, rows, cols, elem_bytes, row_bytes;
} rt_view;

typedef struct rt_stage {
    const char *name;
    int64_t n_blocks, first_block;
    dsv4_block_fn *run;
    dsv4_describe_fn *describe;
    const void *arg;
    size_t scratch_bytes;
    dsv4_core_kind kind;
    bool manual;          /* nothing is inferred from its boxes */
    dsv4_share_fn *share; /* NULL: all of the declared work is done */
} rt_stage;

enum { RT_ALL_BLOCKS = -1 };

typedef struct rt_declared_edge {
    dsv4_stage stage, before;
    int64_t block, before_block; /* RT_ALL_BLOCKS: the whole stage */
} rt_declared_edge;

/* One access of one block, as the block described it. */
typedef struct rt_touch {
    dsv4_view view;
    int mode;
    dsv4_box box;
    rt_span span;
} rt_touch;

/* Sealed form of a block or a join. */
typedef struct rt_task {
    dsv4_block_fn *run; /* NULL: a join, done as soon as it is ready */
    const void *arg;
    int64_t block;
    int32_t stage;            /* RT_NONE for a join made by sealing */
    int32_t n_before;         /* tasks that it waits for */
    int64_t after, after_end; /* range in dsv4_graph.after: the tasks that wait for it */
    bool spread;              /* nothing it needs was just made by one worker: place it by its block number */
} rt_task;

/* Memory that dsv4_graph_alloc may hand out again. */
typedef struct rt_reusable {
    rt_view view;
    int room;
    bool is_taken; /* since the room was entered */
} rt_reusable;

typedef VEC(rt_view) rt_view_vec;
typedef VEC(rt_reusable) rt_reusable_vec;
typedef VEC(rt_stage) rt_stage_vec;
typedef VEC(rt_declared_edge) rt_declared_vec;
typedef VEC(rt_touch) rt_touch_vec;

struct dsv4_graph {
    arena memory; /* names, intermediates, builders' arguments */
    const char *name;
    dsv4_error error; /* first error while building */
    bool manual, sealed;
    rt_view_vec views;
    rt_reusable_vec reusable;
    int room; /* 1 + that of dsv4_graph_reuse; 0: none */
    rt_stage_vec stages;
    rt_declared_vec declared;
    int64_t n_blocks;
    size_t scratch_bytes; /* largest of the stages */
    int64_t memory_bytes, between_bytes;
    char *lent; /* what is left of it */
    size_t lent_bytes;
    dsv4_error *verdicts; /* [DSV4_MAX_VERDICTS], NULL until asked for */
    dsv4_view verdict_view;
    int64_t n_verdicts;

    dsv4_deps deps; /* as sealed */
    rt_task *tasks; /* [n_tasks], blocks by priority, then joins */
    int32_t *after; /* [n_edges] successors, ascending task number within one task */
    int32_t *roots; /* [n_roots] tasks that wait for nothing, ascending */
    int64_t n_tasks, n_edges, n_roots, n_boxes, longest_path;
};

/* What one block touches and costs. Reused from block to block to save allocations; rt_describe_deinit frees. */
struct dsv4_describe {
    const dsv4_graph *graph;
    int32_t stage;
    int64_t block;
    rt_touch_vec touches; /* empty boxes left out */
    dsv4_work work;
    dsv4_error error;
};

/* Fills d for block `block` of stage `stage`: DSV4_E_GRAPH for a box outside its view. */
DSV4_MUST_CHECK dsv4_status rt_describe_block(dsv4_describe *d, const dsv4_graph *g, int32_t stage, int64_t block, dsv4_error *err);
void rt_describe_deinit(dsv4_describe *d);

/* The same with the work that the block had in the last run. */
DSV4_MUST_CHECK dsv4_status rt_describe_ran(dsv4_describe *d, const dsv4_graph *g, int32_t stage, int64_t block, dsv4_error *err);

/* DSV4_OK for a sealed graph that can be used, DSV4_E_GRAPH before the seal and after a change behind it. */
DSV4_MUST_CHECK dsv4_status rt_graph_check_sealed(const dsv4_graph *g, dsv4_error *err);

/* The first refusal among the verdicts of the last run, else DSV4_OK. */
DSV4_MUST_CHECK dsv4_status rt_graph_find_refusal(const dsv4_graph *g, dsv4_error *err);

/* "qkv.q_proj block 3" - for messages. Returns text. */
char *rt_block_text(const dsv4_graph *g, int32_t stage, int64_t block, char *text, size_t size);

/* "writes q[0:8, 128:256]" - for messages. Returns text. */
char *rt_touch_text(const dsv4_graph *g, const rt_touch *touch, char *text, size_t size);

#endif
