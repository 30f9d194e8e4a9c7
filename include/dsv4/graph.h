/* dsv4/graph.h - the tile-task runtime: build a graph once, seal it, replay it many times.
 *
 * A STAGE is a launch of n_blocks calls of one function (a stage of one block is a plain task). A BLOCK says, through the stage's
 * describe function, which BOXES (row and column ranges) of which VIEWS it reads, writes or updates. Views are 2-D windows on
 * memory; two views that share bytes are known to share them, whatever their shapes.
 *
 * The meaning of a graph is the sequential one: stages in the order they were added, blocks in ascending order. Sealing finds the
 * edges that keep this meaning (read after write, write after write, write after read), block to block and exactly: two blocks are
 * ordered only if some byte is touched by both and written by one. Replaying calls each block once, as soon as the blocks before it
 * are done, on any worker. Blocks cannot fail: everything is validated while building.
 *
 * Building and sealing: one thread. Replaying: one thread calls dsv4_exec_run, the workers of the pool run the blocks. */
#ifndef DSV4_GRAPH_H
#define DSV4_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dsv4_graph dsv4_graph;
typedef int32_t dsv4_view;  /* id within its graph */
typedef int32_t dsv4_stage; /* id within its graph, ascending in program order */

/* ---- describing a block ---------------------------------------------------------------------------------------------- */

typedef enum dsv4_access { DSV4_READ = 1, DSV4_WRITE = 2, DSV4_UPDATE = 3, DSV4_UNTRACKED = 4 } dsv4_access;

/* Rows [row0, row1) and columns [col0, col1) of a view. */
typedef struct dsv4_box {
    int64_t row0, row1, col0, col1;
} dsv4_box;

/* The product of a block, where it has one: m x n outputs, each a sum over k. For the efficiency and the buffers of a simulated tile.
 * m and n 0: no product, but a block that loads its operands in k pieces, one behind the other. */
typedef struct dsv4_product {
    int64_t m, n, k;
    int64_t k_tile; /* of k, loaded at a time; 0: operands are streamed */
    int64_t ahead;  /* tiles of k in flight at most; 0 counts as 2 */
} dsv4_product;

/* What one block costs, for priorities, reports and simulation. Bytes follow from the tracked boxes. */
typedef struct dsv4_work {
    double flops_bf16; /* multiply and add counted as two, operands BF16 */
    double ops_i8;     /* likewise, operands INT8 */
    double vector_ops; /* FP32 operations, elementwise or in products: an addition, a multiplication, or both at once in an fma */
    double gathered_bytes; /* read within untracked boxes, at most */
    dsv4_product product;
} dsv4_work;

typedef struct dsv4_describe dsv4_describe; /* receives the boxes and the work of one block */

/* Declares one box. An empty box declares nothing; a box outside its view makes the seal fail. mode is DSV4_READ, DSV4_WRITE or
 * DSV4_UPDATE (read and write), or-ed with DSV4_UNTRACKED for an access from which no edge is inferred (`no_dep`): one whose order
 * the author gives otherwise, such as rows that are known only when the block runs, within a box that holds all they may be. */
void dsv4_touch(dsv4_describe *d, int mode, dsv4_view view, dsv4_box box);
void dsv4_reads(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1);
void dsv4_writes(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1);
void dsv4_updates(dsv4_describe *d, dsv4_view view, int64_t row0, int64_t row1, int64_t col0, int64_t col1);
void dsv4_costs(dsv4_describe *d, dsv4_work work);

/* ---- building -------------------------------------------------------------------------------------------------------- */

/* Runs block `block` of a stage. arg is the stage's; scratch is the worker's own, 64-byte aligned, of the stage's scratch_bytes,
 * contents undefined. Touches only what describe declared. Called from any worker, many blocks at once. */
typedef void dsv4_block_fn(const void *arg, int64_t block, void *scratch);

/* Declares the boxes and work of block `block`. Pure: called any number of times while sealing, verifying and reporting. */
typedef void dsv4_describe_fn(const void *arg, int64_t block, dsv4_describe *d);

typedef enum dsv4_core_kind { DSV4_VECTOR, DSV4_CUBE } dsv4_core_kind; /* elementwise work, or products */

typedef struct dsv4_stage_desc {
    const char *name;           /* "op.stage", UTF-8; copied */
    int64_t n_blocks;           /* >= 0; 0 adds a stage that does nothing */
    dsv4_block_fn *run;         /* NULL only in a join */
    dsv4_describe_fn *describe; /* NULL: touches nothing tracked */
    const void *arg;            /* borrowed until the graph is destroyed; see dsv4_graph_memory */
    size_t scratch_bytes;
    dsv4_core_kind kind;
} dsv4_stage_desc;

/* A new empty graph, its name UTF-8 and copied; the caller destroys it (NULL allowed there). NULL without memory. */
dsv4_graph *dsv4_graph_create(const char *name);
void dsv4_graph_destroy(dsv4_graph *g);

/* The builder functions below keep the first error in the graph instead of returning it (the seal reports it), so that a builder
 * reads like the schedule. After an error they return id 0 or NULL and do nothing. */

/* Memory that lives as long as the graph, zeroed and 64-byte aligned; where it is large, the thread that first touches a page has
 * it near its core. NULL without memory. */
void *dsv4_graph_memory(dsv4_graph *g, size_t n_bytes);

/* A view of caller's memory: rows x cols elements of elem_bytes (1..64), rows row_bytes apart (>= cols * elem_bytes unless
 * rows <= 1). The memory is borrowed until the graph is destroyed. Any number of views may share bytes. */
dsv4_view dsv4_graph_view(dsv4_graph *g, const char *name, void *data, int64_t rows, int64_t cols, size_t elem_bytes,
                          size_t row_bytes);

/* A view of new zeroed memory of the graph, rows without gaps; *data is its first element. For what passes between stages. */
dsv4_view dsv4_graph_alloc(dsv4_graph *g, const char *name, int64_t rows, int64_t cols, size_t elem_bytes, void **data);

/* From now on dsv4_graph_alloc may hand out memory of room `room` (0, 1, ...) again: what it handed out there before this call, to a
 * view of the same name and extents, with whatever it holds. -1, as at first: new memory alone. For parts of a graph that are alike
 * and follow each other: with two rooms in turn a part waits for the one before the last, if at all. */
void dsv4_graph_reuse(dsv4_graph *g, int room);

/* Lends 64-byte aligned memory until the graph is destroyed: dsv4_graph_alloc takes what it hands out from there, with whatever it
 * holds, and new memory where that has no room. Graphs that run one at a time may have the same: nothing stays there between runs.
 * For builders whose stages write all that they read. */
void dsv4_graph_lend(dsv4_graph *g, void *memory, size_t n_bytes);

/* Appends a stage. */
dsv4_stage dsv4_graph_stage(dsv4_graph *g, const dsv4_stage_desc *desc);

/* The share of the declared work and gathered bytes, 0..1, that block `block` had in the last run: where the data of a step decide,
 * such as keys that a list has. */
typedef double dsv4_share_fn(const void *arg, int64_t block);

/* Tells how much of what its blocks declare a stage did in the last run, for reports and simulation; without it: all. */
void dsv4_graph_share(dsv4_graph *g, dsv4_stage stage, dsv4_share_fn *share);

/* Declares that every block of `stage` waits for every block of `before`. dsv4_graph_after_block does so for one block each.
 * A stage without blocks passes no order on; a join does. */
void dsv4_graph_after(dsv4_graph *g, dsv4_stage stage, dsv4_stage before);
void dsv4_graph_after_block(dsv4_graph *g, dsv4_stage stage, int64_t block, dsv4_stage before, int64_t before_block);

/* An empty task: give it edges with dsv4_graph_after, and let others wait for it. */
dsv4_stage dsv4_graph_join(dsv4_graph *g, const char *name);

/* Between these calls nothing is inferred: stages added here are ordered by declared edges alone, among each other and with all
 * others. Regions do not nest. */
void dsv4_graph_manual_begin(dsv4_graph *g);
void dsv4_graph_manual_end(dsv4_graph *g);

/* A VERDICT is what a block says about the data of a step (page tables, positions), which is known only when it runs. The block
 * sets its verdict's status to DSV4_OK or fills it with dsv4_fail; blocks behind it that would write what outlives the step read
 * the verdicts handed out before and write nothing if one is a refusal. A graph has DSV4_MAX_VERDICTS of them, all DSV4_OK at
 * first: row i, one column of one byte or more each, of the view dsv4_graph_verdict_view. dsv4_graph_verdict hands out the next
 * one. */
#define DSV4_MAX_VERDICTS 8
typedef struct dsv4_verdict_slot {
    dsv4_error *verdict;
    int64_t row;
} dsv4_verdict_slot;
dsv4_verdict_slot dsv4_graph_verdict(dsv4_graph *g);
dsv4_view dsv4_graph_verdict_view(dsv4_graph *g, const dsv4_error **verdicts);
int64_t dsv4_graph_n_verdicts(const dsv4_graph *g); /* handed out so far */

/* Records a builder's own error in the graph, for builders above this layer. The first one stays. */
void dsv4_graph_fail(dsv4_graph *g, const dsv4_error *err);

/* ---- sealing --------------------------------------------------------------------------------------------------------- */

/* How fine a dependency is (for study): blocks whose boxes overlap; whole stages that have such blocks; or whole memory regions, as
 * a tracker does that cannot tell boxes apart. Results are the same, the waiting differs. */
typedef enum dsv4_deps { DSV4_DEPS_BLOCK, DSV4_DEPS_STAGE, DSV4_DEPS_TENSOR } dsv4_deps;

DSV4_MUST_CHECK dsv4_status dsv4_deps_parse(const char *text, dsv4_deps *out, dsv4_error *err);

/* Ends building: infers the edges, checks every box and edge, finds cycles, fixes priorities. Fails with the first builder's error,
 * or with DSV4_E_GRAPH and a line naming stage, block and box. A graph is sealed once. */
DSV4_MUST_CHECK dsv4_status dsv4_graph_seal(dsv4_graph *g, dsv4_deps deps, dsv4_error *err);

typedef struct dsv4_graph_info {
    int64_t n_stages, n_blocks;        /* a declared join is a stage of one block */
    int64_t n_joins, n_edges, n_boxes; /* joins made by sealing; edges with theirs; boxes declared by all blocks */
    int64_t longest_path;              /* blocks on the longest chain */
    int64_t memory_bytes;              /* that builders took: packed weights and what passes between stages */
    int64_t between_bytes;             /* of these, what passes between stages (dsv4_graph_alloc) */
} dsv4_graph_info;

/* Before the seal only stages, blocks and memory are counted. */
dsv4_graph_info dsv4_graph_get_info(const dsv4_graph *g);

/* Finds wrong declarations in a sealed graph by running it once, one block at a time, in a random ready order drawn from seed:
 *   - two blocks that touch the same byte, one writing, with no path of edges between them, unless both accesses are untracked;
 *   - a block that writes bytes it did not declare, or whose declared output depends on bytes it did not declare as read.
 * The second is found by running each block twice, the second time with everything undeclared in writable views replaced by noise,
 * so a block must not follow undeclared data to wild places. Buffers end as after a normal run. DSV4_E_GRAPH and a line with stage,
 * block, view and box on a finding; *n_findings (may be NULL) counts them all. Without a finding returns like dsv4_exec_run. Slow:
 * for tests. */
DSV4_MUST_CHECK dsv4_status dsv4_graph_verify(dsv4_graph *g, uint64_t seed, int64_t *n_findings, dsv4_error *err);

/* ---- replaying ------------------------------------------------------------------------------------------------------- */

typedef struct dsv4_pool dsv4_pool;
typedef struct dsv4_exec dsv4_exec;

/* Number of physical cores that the calling thread may use. */
int dsv4_pool_default_threads(void);

/* n_threads workers (0: one per physical core), at most 1024. The calling thread is worker 0: it alone may run graphs on this pool,
 * and it works during a run. Workers are pinned, one per core, when the calling thread may use enough cores; its own affinity is
 * restored when the last pool that it created is destroyed, which it does itself. */
DSV4_MUST_CHECK dsv4_status dsv4_pool_create(int n_threads, dsv4_pool **out, dsv4_error *err);
void dsv4_pool_destroy(dsv4_pool *pool);
int dsv4_pool_n_threads(const dsv4_pool *pool);

/* Everything a replay needs, allocated once: counters, ready sets, scratch, trace buffers. Graph and pool must outlive it. For the
 * thread that owns the pool. level is what each run records, for the calls under "trace" below:
 *   0  nothing
 *   1  of each block: when it was ready, dispatched, started and done, and in whose ready set it was found
 *   2  and counters of the system (page faults, context switches), which are read around each block
 *   3  and when workers wait for work
 * DSV4_E_VALUE for another level. */
DSV4_MUST_CHECK dsv4_status dsv4_exec_create(const dsv4_graph *g, dsv4_pool *pool, int level, dsv4_exec **out, dsv4_error *err);
void dsv4_exec_destroy(dsv4_exec *exec);

/* Replays the graph; returns when every block is done. Allocates nothing, takes no lock. Same input, same bits: for any number of
 * threads and any order. shuffle != 0 draws the order of ready blocks at random from it (for tests). Returns the first refusal
 * among the graph's verdicts, DSV4_OK where no block refused the step. */
DSV4_MUST_CHECK dsv4_status dsv4_exec_run(dsv4_exec *exec, uint64_t shuffle, dsv4_error *err);

/* ---- trace ----------------------------------------------------------------------------------------------------------- */

typedef struct dsv4_exec_summary {
    double makespan_s; /* first dispatch to last end */
    double busy_share; /* time inside blocks / (makespan * workers) */
    int64_t n_workers, n_blocks;
} dsv4_exec_summary;

/* Of the last run of an exec created with level >= 1; zeros otherwise. */
dsv4_exec_summary dsv4_exec_get_summary(const dsv4_exec *exec);

/* A stage in the last run of an exec created with level >= 1: the time inside its blocks, and what they declare. */
typedef struct dsv4_stage_time {
    const char *name;                 /* the graph's */
    int64_t n_blocks;                 /* 0 for a join */
    double total_s;                   /* of all blocks, whichever worker ran them */
    dsv4_work work;                   /* of all blocks, as far as the run had it to do; without a product */
    double read_bytes, written_bytes; /* in the tracked boxes of all blocks; an update counts in both */
} dsv4_stage_time;

/* Fills out[0 .. n), n = dsv4_graph_info.n_stages, in program order; times are 0 without a traced run. Describes every block again:
 * not for measured code. Fails with DSV4_E_NO_MEMORY only. */
DSV4_MUST_CHECK dsv4_status dsv4_exec_stage_times(const dsv4_exec *exec, dsv4_stage_time *out, dsv4_error *err);

#ifdef __cplusplus
}
#endif
#endif
