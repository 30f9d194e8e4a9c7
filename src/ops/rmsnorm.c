/* ops/rmsnorm.c - RMS normalisation of rows (SPEC 2.1).
 *
 * MATH      y[t,:] = bf((x[t,:] * inv) * w),  inv = 1/sqrt(sum_d x[t,d]^2 / D + eps)
 * SHAPES    x bf16[T,D]  w bf16[D]  ->  y bf16[T,D]; scratch sums f32[T, chunks of D]
 * STAGES    rmsnorm.sum    [t_tile x part]  x          -> sums   blocks: T/t_tile * parts
 *           rmsnorm.apply  [t_tile x part]  x, sums, w -> y      blocks: T/t_tile * parts
 * NUMERICS  f32; sum of squares by chunks of 512 (ops/chunk.h), one rounding to bf16 at the end. */
#include "ops/rmsnorm.h"

#include "ops/chunk.h"
#include "ops/rms.h"
#include "ops/table.h"

static const op_tensor tensors[] = {
    ROW_IN("x", DSV4_BF16, "T,D", "rows", DRAW_NORMAL(-0.5, 1)),
    ROW_IN("norm_w", DSV4_BF16, "D", "gamma", DRAW_NORMAL(1, 0.1)),
    ROW_OUT("x_normed", DSV4_BF16, "T,D", "normalised rows", RULE_BF16(0.005)),
};

enum { T_TILE, NORM_PARTS };

static const op_tile tiles[] = {
    {"t_tile", "rows of a block", 4, 16, 1, NULL, NULL},
    {"norm_parts", "parts of a row that are summed and scaled by different blocks", 2, 2, 1, NULL, "D"},
};

typedef struct norm {
    const uk_table *uk;
    op_matrix x, w, y, sums;
    op_part_grid grid; /* of x and y */
    float eps;
} norm;

static void describe_sum(const void *arg, int64_t block, dsv4_describe *d)
{
    const norm *n = arg;
    op_part tile = op_part_at(&n->grid, block);
    dsv4_reads(d, n->x.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_writes(d, n->sums.view, tile.t.begin, tile.t.end, tile.chunk.begin, tile.chunk.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * op_part_elements(&tile)});
}

static void run_sum(const void *arg, int64_t block, void *scratch)
{
    const norm *n = arg;
    op_part tile = op_part_at(&n->grid, block);
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
            tile_range col = tile_at(chunk, OP_SUM_CHUNK, n->x.cols);
            n->uk->widen_bf16(col.end - col.begin, (const uint16_t *)n->x.data + t * n->x.cols + col.begin, scratch);
            ((float *)n->sums.data)[t * n->sums.cols + chunk] = n->uk->sum_squares(col.end - col.begin, scratch);
        }
    }
}

static void describe_apply(const void *arg, int64_t block, dsv4_describe *d)
{
    const norm *n = arg;
    op_part tile = op_part_at(&n->grid, block);
    dsv4_reads(d, n->x.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_reads(d, n->sums.view, tile.t.begin, tile.t.end, 0, n->sums.cols);
    dsv4_reads(d, n->w.view, 0, 1, tile.col.begin, tile.col.end);
    dsv4_writes(d, n->y.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * op_part_elements(&tile)});
}

static void run_apply(const void *arg, int64_t block, void *scratch)
{
    const norm *n = arg;
    op_part tile = op_part_at(&n->grid, block);
    int64_t width = tile.col.end - tile.col.begin;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        float inv = op_inverse_rms((const float *)n->sums.data + t * n->sums.cols, n->sums.cols, n->x.cols, n->eps);
        int64_t at = t * n->x.cols + tile.col.begin;
        n->uk->widen_bf16(width, (const uint16_t *)n->x.data + at, scratch);
        n->uk->scale_gamma(width, scratch, inv, (const uint16_t *)n->w.data + tile.col.begin, scratch);
        n->uk->narrow_bf16(width, scratch, (uint16_t *)n->y.data + at);
    }
}

void op_rmsnorm_add(const op_context *c, const op_rmsnorm_args *a)
{
    norm *n = dsv4_graph_memory(c->g, sizeof *n);
    if (n == NULL) {
        return;
    }
    int64_t T = a->x.rows, D = a->x.cols;
    *n = (norm){.uk = c->uk, .x = a->x, .w = a->w, .y = a->y, .eps = (float)c->config->rms_norm_eps};
    n->sums = op_matrix_new(c, "rmsnorm.sums", T, op_chunks(D), DSV4_F32);
    n->grid = (op_part_grid){T, D, a->t_tile, a->parts};
    int64_t n_blocks = op_part_blocks(&n->grid);
    size_t row_bytes = (size_t)D * sizeof(float);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"rmsnorm.sum", n_blocks, run_sum, describe_sum, n, row_bytes, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"rmsnorm.apply", n_blocks, run_apply, describe_apply, n, row_bytes, DSV4_VECTOR});
}

static void build(const op_context *c)
{
    op_rmsnorm_add(c, &(op_rmsnorm_args){.x = op_matrix_named(c, "x", 1),
                                         .w = op_matrix_named(c, "norm_w", 1),
                                         .y = op_matrix_named(c, "x_normed", 1),
                                         .t_tile = c->tile[T_TILE],
                                         .parts = c->tile[NORM_PARTS]});
}

const dsv4_op op_rmsnorm = {
    .name = "rmsnorm",
    .summary = "RMS normalisation of rows",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .build = build,
};
