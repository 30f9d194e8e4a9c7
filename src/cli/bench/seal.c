/* cli/bench/seal.c - how long sealing takes, and how it grows, on three shapes of graphs.
 *
 * A stage writes a matrix in tiles; each block reads, of the matrix that the stage before wrote, what lies under its own tile.
 * Plain tasks are stages of one block that share one tall matrix. */

#include "base/clock.h"
#include "cli/bench/bench.h"

typedef struct tiling {
    int64_t rows, cols;
} tiling;

typedef struct seal_stage {
    dsv4_view from, to;
    int64_t from_row, to_row; /* where the stage's matrices begin in the views */
    tiling size, tile;
} seal_stage;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void describe_tile(const void *arg, int64_t block, dsv4_describe *d)
{
    const seal_stage *s = arg;
    int64_t n_cols = (s->size.cols + s->tile.cols - 1) / s->tile.cols;
    int64_t row = block / n_cols * s->tile.rows, col = block % n_cols * s->tile.cols;
    int64_t row_end = smaller(row + s->tile.rows, s->size.rows), col_end = smaller(col + s->tile.cols, s->size.cols);
    dsv4_reads(d, s->from, s->from_row + row, s->from_row + row_end, col, col_end);
    dsv4_writes(d, s->to, s->to_row + row, s->to_row + row_end, col, col_end);
}

static void run_nothing(const void *arg, int64_t block, void *scratch)
{
    (void)arg, (void)block, (void)scratch;
}

static void add_stage(dsv4_graph *g, const char *name, const seal_stage *s)
{
    int64_t n_rows = (s->size.rows + s->tile.rows - 1) / s->tile.rows, n_cols = (s->size.cols + s->tile.cols - 1) / s->tile.cols;
    dsv4_graph_stage(
        g, &(dsv4_stage_desc){.name = name, .n_blocks = n_rows * n_cols, .run = run_nothing, .describe = describe_tile, .arg = s});
}

/* n_stages stages, each with a matrix of its own; tiles alternate. */
static void build_matrices(dsv4_graph *g, int64_t n_stages, tiling size, const tiling tiles[2])
{
    void *data;
    seal_stage *stages = dsv4_graph_memory(g, (size_t)n_stages * sizeof *stages);
    dsv4_view before = dsv4_graph_alloc(g, "matrix", size.rows, size.cols, 1, &data);
    for (int64_t i = 0; stages != NULL && i < n_stages; i++) {
        dsv4_view view = dsv4_graph_alloc(g, "matrix", size.rows, size.cols, 1, &data);
        stages[i] = (seal_stage){.from = before, .to = view, .size = size, .tile = tiles[i % 2]};
        add_stage(g, "tiles", &stages[i]);
        before = view;
    }
}

static void build_row_tiles(dsv4_graph *g, int64_t n_boxes)
{
    enum { N_STAGES = 100, BOXES = 2, COLS = 64 };
    build_matrices(g, N_STAGES, (tiling){n_boxes / (N_STAGES * BOXES), COLS}, (const tiling[]){{1, COLS}, {1, COLS}});
}

/* A square of side 12 n holds 9 n^2 tiles of 4 x 4 and 8 n^2 of 3 x 6. */
static void build_square_tiles(dsv4_graph *g, int64_t n_boxes)
{
    enum { N_STAGES = 10, BOXES = 2, TILES = 9 + 8, SIDE = 12 };
    int64_t n = 1;
    while (N_STAGES / 2 * BOXES * TILES * (n + 1) * (n + 1) <= n_boxes) {
        n++;
    }
    build_matrices(g, N_STAGES, (tiling){SIDE * n, SIDE * n}, (const tiling[]){{4, 4}, {3, 6}});
}

static void build_tasks(dsv4_graph *g, int64_t n_boxes)
{
    enum { BOXES = 2, COLS = 8 };
    void *data;
    int64_t n_tasks = n_boxes / BOXES;
    seal_stage *stages = dsv4_graph_memory(g, (size_t)n_tasks * sizeof *stages);
    dsv4_view view = dsv4_graph_alloc(g, "rows", n_tasks + 1, COLS, 1, &data);
    for (int64_t i = 0; stages != NULL && i < n_tasks; i++) {
        stages[i] = (seal_stage){view, view, i, i + 1, {1, COLS}, {1, COLS}};
        add_stage(g, "task", &stages[i]);
    }
}

typedef struct seal_shape {
    const char *name;
    void (*build)(dsv4_graph *g, int64_t n_boxes);
} seal_shape;

static const seal_shape shapes[] = {
    {"row tiles", build_row_tiles},
    {"2-D tiles", build_square_tiles},
    {"plain tasks", build_tasks},
};

static const int64_t sizes[] = {100000, 1000000};

enum { N_SHAPES = sizeof shapes / sizeof *shapes, N_SIZES = sizeof sizes / sizeof *sizes, MAX_ROUNDS = 5 };

typedef struct seal_result {
    dsv4_graph_info info;
    double seconds[MAX_ROUNDS];
} seal_result;

static dsv4_status seal_once(const seal_shape *shape, int64_t n_boxes, seal_result *result, int round, dsv4_error *err)
{
    dsv4_graph *g = dsv4_graph_create(shape->name);
    if (g == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench %s: no memory for a graph", shape->name);
    }
    shape->build(g, n_boxes);
    double begin_s = clock_s();
    dsv4_status status = dsv4_graph_seal(g, DSV4_DEPS_BLOCK, err);
    result->seconds[round] = clock_s() - begin_s;
    result->info = dsv4_graph_get_info(g);
    dsv4_graph_destroy(g);
    return status;
}

static void report_shape(const seal_shape *shape, seal_result results[N_SIZES], int rounds, json_t *rows)
{
    double first_s = 0;
    for (int i = 0; i < N_SIZES; i++) {
        const dsv4_graph_info *info = &results[i].info;
        double seconds = bench_times_of(results[i].seconds, rounds).median_s, boxes = (double)info->n_boxes;
        cli_print("%-14s %12lld %12lld %12.4f %12.2f", shape->name, (long long)info->n_boxes, (long long)info->n_edges, seconds,
                  boxes / seconds * 1e-6);
        if (i > 0) {
            cli_print("   time x%.1f for boxes x%.1f", seconds / first_s, boxes / (double)results[0].info.n_boxes);
        }
        cli_print("\n");
        first_s = i == 0 ? seconds : first_s;
        json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "shape", shape->name, "boxes",
                                              (json_int_t)info->n_boxes, "blocks", (json_int_t)info->n_blocks, "edges",
                                              (json_int_t)info->n_edges, "time_s", seconds, "boxes_per_s", boxes / seconds,
                                              "growth", seconds / first_s));
    }
}

dsv4_status bench_seal(int rounds, json_t *rows, dsv4_error *err)
{
    int n = rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;
    progress bar = progress_begin("sealing");
    cli_print("\nsealing: all edges from the boxes that blocks read and write, median of %d\n%-14s %12s %12s %12s %12s\n", n,
              "shape", "boxes", "edges", "seconds", "Mboxes/s");
    for (int s = 0; s < N_SHAPES; s++) {
        seal_result results[N_SIZES] = {0};
        for (int i = 0; i < n * N_SIZES; i++) {
            dsv4_status status = seal_once(&shapes[s], sizes[i % N_SIZES], &results[i % N_SIZES], i / N_SIZES, err);
            if (status != DSV4_OK) {
                progress_end(&bar);
                return status;
            }
            progress_report(&bar, (double)(s * n * N_SIZES + i + 1) / (N_SHAPES * n * N_SIZES));
        }
        progress_end(&bar);
        report_shape(&shapes[s], results, n, rows);
    }
    return DSV4_OK;
}
