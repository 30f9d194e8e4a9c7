#include "ops/project.h"

#include "ops/chunk.h"

/* ---- the grid of blocks ------------------------------------------------------------------------------------------------ */

typedef struct project {
    const uk_table *uk;
    op_acts x;        /* of BF16 and INT8 weights */
    op_matrix x_rows; /* of FP32 weights */
    op_weight w;
    op_product y;
    op_project_tiles tiles;
    int64_t T, K;
} project;

typedef struct project_tile {
    tile_range t, panel, chunk, k;
} project_tile;

static int64_t panels_per_tile(const project *p)
{
    return p->tiles.n_tile / UK_PANEL;
}

/* Blocks of one column tile are neighbours, so a worker's share of the stage is a range of panels. */
static project_tile tile_of(const project *p, int64_t block)
{
    int64_t n_t = tile_count(p->T, p->tiles.t_tile), split = block % p->tiles.k_split, rest = block / p->tiles.k_split;
    project_tile tile;
    tile.t = tile_at(rest % n_t, p->tiles.t_tile, p->T);
    tile.panel = tile_at(rest / n_t, panels_per_tile(p), p->w.packed.n_panels);
    tile.chunk = tile_part(split, p->tiles.k_split, op_chunks(p->K));
    tile.k = op_chunk_cols(tile.chunk, p->K);
    return tile;
}

static int64_t block_count(const project *p)
{
    return tile_count(p->w.packed.n_panels, panels_per_tile(p)) * tile_count(p->T, p->tiles.t_tile) * p->tiles.k_split;
}

static dsv4_product product_of(const project_tile *tile)
{
    return (dsv4_product){
        .m = tile->t.end - tile->t.begin, .n = (tile->panel.end - tile->panel.begin) * UK_PANEL, .k = tile->k.end - tile->k.begin};
}

static double multiply_adds(dsv4_product p)
{
    return 2.0 * (double)p.m * (double)p.n * (double)p.k;
}

/* Common to all products: the panels, and the sums of the block's columns. */
static void describe_operands(const project *p, const project_tile *tile, int64_t bytes_per_k, dsv4_describe *d)
{
    int64_t end = tile->k.end == p->K ? p->w.packed.panel_bytes : tile->k.end * bytes_per_k;
    dsv4_reads(d, p->w.view, tile->panel.begin, tile->panel.end, tile->k.begin * bytes_per_k, end);
    int64_t first = p->y.n_partials == 1 ? 0 : tile->chunk.begin, last = p->y.n_partials == 1 ? 1 : tile->chunk.end;
    for (int64_t partial = first; partial < last; partial++) {
        int64_t row = partial * p->y.n_rows;
        dsv4_writes(d, p->y.sums.view, row + tile->t.begin, row + tile->t.end, tile->panel.begin * UK_PANEL,
                    tile->panel.end * UK_PANEL);
    }
}

/* Partial p of a panel: row 0 of the block. */
static float *partial_at(const project *p, const project_tile *tile, int64_t panel, int64_t partial)
{
    return (float *)p->y.sums.data + (partial * p->y.n_rows + tile->t.begin) * p->y.sums.ld + panel * UK_PANEL;
}

static op_product add_stage(const op_context *c, project *p, dsv4_stage_desc desc)
{
    desc.n_blocks = block_count(p);
    desc.arg = p;
    desc.kind = DSV4_CUBE;
    dsv4_graph_stage(c->g, &desc);
    return p->y;
}

/* A product of T rows and K columns of x, or NULL. Its blocks own whole row groups. */
static project *new_product(const op_context *c, const char *stage, int64_t T, int64_t K, op_weight w, op_project_tiles tiles,
                            int64_t n_partials, dsv4_dtype sums)
{
    project *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    tiles.t_tile = tile_min(tile_count(tiles.t_tile, UK_ROWS) * UK_ROWS, T);
    *p = (project){.uk = c->uk, .w = w, .y = {{0}, n_partials, T}, .tiles = tiles, .T = T, .K = K};
    p->y.sums = op_sums_new(c, stage, p->y.n_partials * T, w.packed.n_panels * UK_PANEL, sums);
    return p;
}

/* ---- BF16 -------------------------------------------------------------------------------------------------------------- */

static void describe_bf16(const void *arg, int64_t block, dsv4_describe *d)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    op_acts_touch(d, DSV4_READ, &p->x, tile.t, tile.k);
    describe_operands(p, &tile, UK_PANEL * (int64_t)sizeof(uint16_t), d);
    dsv4_product product = product_of(&tile);
    dsv4_costs(d, (dsv4_work){.flops_bf16 = multiply_adds(product), .product = product});
}

/* One chunk of a panel for all rows of the block. */
static void chunk_bf16(const project *p, const project_tile *tile, int64_t panel, int64_t chunk, float *y, int64_t ld)
{
    tile_range k = tile_at(chunk, OP_SUM_CHUNK, p->K);
    p->uk->gemm_bf16(op_acts_at(&p->x, tile->t, k.begin), k.end - k.begin, uk_panel_bf16(&p->w.packed, panel, k.begin), y, ld);
}

/* A panel is read as it lies in memory, chunk after chunk. Where one partial is wanted of several chunks, these wait in scratch,
 * [chunks][rows][UK_PANEL]. */
static void run_bf16(const void *arg, int64_t block, void *scratch)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    bool sums_up = p->y.n_partials < op_chunks(p->K);
    int64_t ld = p->y.sums.ld, part = (tile.t.end - tile.t.begin) * UK_PANEL;
    for (int64_t panel = tile.panel.begin; panel < tile.panel.end; panel++) {
        for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
            if (sums_up) {
                chunk_bf16(p, &tile, panel, chunk, (float *)scratch + chunk * part, UK_PANEL);
            } else {
                chunk_bf16(p, &tile, panel, chunk, partial_at(p, &tile, panel, chunk), ld);
            }
        }
        for (int64_t t = 0; sums_up && t < tile.t.end - tile.t.begin; t++) {
            p->uk->sum_parts(UK_PANEL, op_chunks(p->K), (float *)scratch + t * UK_PANEL, part,
                             partial_at(p, &tile, panel, 0) + t * ld);
        }
    }
}

op_product op_project_bf16(const op_context *c, const char *stage, op_acts x, op_weight w, op_project_tiles tiles)
{
    project *p = new_product(c, stage, x.rows, x.cols, w, tiles, tiles.k_split == 1 ? 1 : op_chunks(x.cols), DSV4_F32);
    if (p == NULL) {
        return (op_product){0};
    }
    p->x = x;
    int64_t waiting = p->y.n_partials < op_chunks(p->K) ? op_chunks(p->K) * p->tiles.t_tile * UK_PANEL : 0;
    return add_stage(
        c, p,
        (dsv4_stage_desc){
            .name = stage, .run = run_bf16, .describe = describe_bf16, .scratch_bytes = (size_t)waiting * sizeof(float)});
}

/* ---- FP32 -------------------------------------------------------------------------------------------------------------- */

static void describe_f32(const void *arg, int64_t block, dsv4_describe *d)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    dsv4_reads(d, p->x_rows.view, tile.t.begin, tile.t.end, tile.k.begin, tile.k.end);
    describe_operands(p, &tile, UK_PANEL * (int64_t)sizeof(float), d);
    dsv4_product product = product_of(&tile);
    dsv4_costs(d, (dsv4_work){.vector_ops = multiply_adds(product) / 2, .product = product});
}

/* One chunk of k for all rows and panels of the block; x is the chunk widened, [rows][chunk]. */
static void chunk_f32(const project *p, const project_tile *tile, int64_t chunk, tile_range k, const float *x)
{
    int64_t width = k.end - k.begin, ld = p->y.sums.ld, rows = tile->t.end - tile->t.begin;
    for (int64_t panel = tile->panel.begin; panel < tile->panel.end; panel++) {
        for (int64_t t = 0; t < rows; t += UK_ROWS) {
            p->uk->gemm_f32((int)tile_min(rows - t, UK_ROWS), width, x + t * width, width,
                            uk_panel_f32(&p->w.packed, panel, k.begin), partial_at(p, tile, panel, chunk) + t * ld, ld);
        }
    }
}

static void run_f32(const void *arg, int64_t block, void *scratch)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    float *x = scratch;
    for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
        tile_range k = tile_at(chunk, OP_SUM_CHUNK, p->K);
        for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
            p->uk->widen_bf16(k.end - k.begin, (const uint16_t *)p->x_rows.data + t * p->x_rows.ld + k.begin,
                              x + (t - tile.t.begin) * (k.end - k.begin));
        }
        chunk_f32(p, &tile, chunk, k, x);
    }
}

op_product op_project_f32(const op_context *c, const char *stage, op_matrix x, op_weight w, op_project_tiles tiles)
{
    project *p = new_product(c, stage, x.rows, x.cols, w, tiles, op_chunks(x.cols), DSV4_F32);
    if (p == NULL) {
        return (op_product){0};
    }
    p->x_rows = x;
    return add_stage(c, p,
                     (dsv4_stage_desc){.name = stage,
                                       .run = run_f32,
                                       .describe = describe_f32,
                                       .scratch_bytes = (size_t)(p->tiles.t_tile * tile_min(p->K, OP_SUM_CHUNK)) * sizeof(float)});
}

/* ---- INT8 -------------------------------------------------------------------------------------------------------------- */

static void describe_i8(const void *arg, int64_t block, dsv4_describe *d)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    op_acts_touch(d, DSV4_READ, &p->x, tile.t, tile.k);
    describe_operands(p, &tile, UK_PANEL, d);
    dsv4_product product = product_of(&tile);
    dsv4_costs(d, (dsv4_work){.ops_i8 = multiply_adds(product), .product = product});
}

static void run_i8(const void *arg, int64_t block, void *scratch)
{
    (void)scratch;
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    int64_t ld = p->y.sums.ld;
    for (int64_t panel = tile.panel.begin; panel < tile.panel.end; panel++) {
        p->uk->gemm_i8(op_acts_at(&p->x, tile.t, 0), tile_count(p->K, 4), uk_panel_i8(&p->w.packed, panel, 0),
                       p->w.packed.correction + panel * UK_PANEL, op_matrix_i32(&p->y.sums, tile.t.begin, panel * UK_PANEL), ld);
    }
}

op_product op_project_i8(const op_context *c, const char *stage, op_acts x, op_weight w, int64_t t_tile, int64_t n_tile)
{
    project *p = new_product(c, stage, x.rows, x.cols, w, (op_project_tiles){t_tile, n_tile, 1}, 1, DSV4_I32);
    if (p == NULL) {
        return (op_product){0};
    }
    p->x = x;
    return add_stage(c, p, (dsv4_stage_desc){.name = stage, .run = run_i8, .describe = describe_i8});
}

/* ---- reading a product ----------------------------------------------------------------------------------------------------- */

void op_product_row(const uk_table *uk, const op_product *y, int64_t t, int64_t begin, int64_t end, float *dst)
{
    uk->sum_parts(end - begin, y->n_partials, op_matrix_f32(&y->sums, t, begin), y->n_rows * y->sums.ld, dst);
}

void op_product_reads(dsv4_describe *d, const op_product *y, int64_t t0, int64_t t1, int64_t begin, int64_t end)
{
    for (int64_t p = 0; p < y->n_partials; p++) {
        dsv4_reads(d, y->sums.view, p * y->n_rows + t0, p * y->n_rows + t1, begin, end);
    }
}
