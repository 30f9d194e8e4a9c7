#include "ops/project.h"

#include <string.h>

#include "ops/chunk.h"

/* ---- operands ---------------------------------------------------------------------------------------------------------- */

op_weight_source op_weight_of(const dsv4_tensor *w)
{
    return (op_weight_source){w->data, w->dtype, w->shape[0], w->shape[1], w->shape[1], 1};
}

op_weight_source op_weight_of_transposed(const dsv4_tensor *w)
{
    return (op_weight_source){w->data, w->dtype, w->shape[1], w->shape[0], 1, w->shape[1]};
}

static size_t packed_bytes(const op_weight_source *w)
{
    switch (w->dtype) {
    case DSV4_BF16:
        return uk_pack_bf16_bytes(w->k, w->n);
    case DSV4_F32:
        return uk_pack_f32_bytes(w->k, w->n);
    default:
        return uk_pack_i8_bytes(w->k, w->n);
    }
}

static uk_packed pack(const op_weight_source *w, void *memory)
{
    switch (w->dtype) {
    case DSV4_BF16:
        return uk_pack_bf16(w->data, w->k, w->n, w->stride_k, w->stride_n, memory);
    case DSV4_F32:
        return uk_pack_f32(w->data, w->k, w->n, w->stride_k, w->stride_n, memory);
    default:
        return uk_pack_i8(w->data, w->k, w->n, w->stride_k, w->stride_n, memory);
    }
}

op_weight op_weight_pack(const op_context *c, const char *name, op_weight_source w)
{
    void *memory = dsv4_graph_memory(c->g, packed_bytes(&w));
    if (memory == NULL) {
        return (op_weight){0};
    }
    op_weight packed = {pack(&w, memory), w.dtype, 0};
    packed.view = dsv4_graph_view(c->g, name, memory, packed.packed.n_panels, packed.packed.panel_bytes, 1,
                                  (size_t)packed.packed.panel_bytes);
    return packed;
}

/* ---- the grid of blocks ------------------------------------------------------------------------------------------------ */

typedef struct project {
    const uk_table *uk;
    op_matrix x;
    op_weight w;
    op_product y;
    op_project_tiles tiles;
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
    int64_t n_t = tile_count(p->x.rows, p->tiles.t_tile), split = block % p->tiles.k_split, rest = block / p->tiles.k_split;
    project_tile tile;
    tile.t = tile_at(rest % n_t, p->tiles.t_tile, p->x.rows);
    tile.panel = tile_at(rest / n_t, panels_per_tile(p), p->w.packed.n_panels);
    tile.chunk = tile_part(split, p->tiles.k_split, op_chunks(p->x.cols));
    tile.k = op_chunk_cols(tile.chunk, p->x.cols);
    return tile;
}

static int64_t block_count(const project *p)
{
    return tile_count(p->w.packed.n_panels, panels_per_tile(p)) * tile_count(p->x.rows, p->tiles.t_tile) * p->tiles.k_split;
}

static double multiply_adds(const project_tile *tile)
{
    return 2.0 * (double)(tile->t.end - tile->t.begin) * (double)(tile->k.end - tile->k.begin) *
           (double)((tile->panel.end - tile->panel.begin) * UK_PANEL);
}

/* Common to both products: x, the panels, and the sums of the block's columns. */
static void describe_operands(const project *p, const project_tile *tile, int64_t bytes_per_k, dsv4_describe *d)
{
    dsv4_reads(d, p->x.view, tile->t.begin, tile->t.end, tile->k.begin, tile->k.end);
    int64_t end = tile->k.end == p->x.cols ? p->w.packed.panel_bytes : tile->k.end * bytes_per_k;
    dsv4_reads(d, p->w.view, tile->panel.begin, tile->panel.end, tile->k.begin * bytes_per_k, end);
    int64_t first = p->y.n_partials == 1 ? 0 : tile->chunk.begin, last = p->y.n_partials == 1 ? 1 : tile->chunk.end;
    for (int64_t partial = first; partial < last; partial++) {
        int64_t row = partial * p->y.n_rows;
        dsv4_writes(d, p->y.sums.view, row + tile->t.begin, row + tile->t.end, tile->panel.begin * UK_PANEL,
                    tile->panel.end * UK_PANEL);
    }
}

static op_product add_stage(const op_context *c, project *p, dsv4_stage_desc desc)
{
    desc.n_blocks = block_count(p);
    desc.arg = p;
    desc.kind = DSV4_CUBE;
    dsv4_graph_stage(c->g, &desc);
    return p->y;
}

/* ---- BF16 -------------------------------------------------------------------------------------------------------------- */

static void describe_bf16(const void *arg, int64_t block, dsv4_describe *d)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    describe_operands(p, &tile, UK_PANEL * (int64_t)dsv4_dtype_bytes(p->w.dtype), d);
    dsv4_costs(d, (dsv4_work){.flops_bf16 = multiply_adds(&tile)});
}

/* One chunk of k for all rows and panels of the block; x is the chunk widened, [rows][chunk]. */
static void chunk_bf16(const project *p, const project_tile *tile, int64_t chunk, tile_range k, const float *x)
{
    int64_t width = k.end - k.begin, ld = p->y.sums.cols, partial = p->y.n_partials == 1 ? 0 : chunk;
    bool add = p->y.n_partials == 1 && chunk > 0;
    float *sums = (float *)p->y.sums.data + partial * p->y.n_rows * ld;
    for (int64_t panel = tile->panel.begin; panel < tile->panel.end; panel++) {
        for (int64_t t = tile->t.begin; t < tile->t.end; t += UK_MAX_ROWS) {
            int m = (int)tile_min(tile->t.end - t, UK_MAX_ROWS);
            const float *a = x + (t - tile->t.begin) * width;
            float *y = sums + t * ld + panel * UK_PANEL;
            if (p->w.dtype == DSV4_BF16) {
                p->uk->gemm_bf16(m, width, a, width, uk_panel_bf16(&p->w.packed, panel, k.begin), y, ld, add);
            } else {
                p->uk->gemm_f32(m, width, a, width, uk_panel_f32(&p->w.packed, panel, k.begin), y, ld, add);
            }
        }
    }
}

static void run_bf16(const void *arg, int64_t block, void *scratch)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    float *x = scratch;
    for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
        tile_range k = tile_at(chunk, OP_SUM_CHUNK, p->x.cols);
        for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
            p->uk->widen_bf16(k.end - k.begin, (const uint16_t *)p->x.data + t * p->x.ld + k.begin,
                              x + (t - tile.t.begin) * (k.end - k.begin));
        }
        chunk_bf16(p, &tile, chunk, k, x);
    }
}

op_product op_project_bf16(const op_context *c, const char *stage, op_matrix x, op_weight w, op_project_tiles tiles)
{
    project *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return (op_product){0};
    }
    tiles.t_tile = tile_min(tiles.t_tile, x.rows);
    *p = (project){c->uk, x, w, {{0}, tiles.k_split == 1 ? 1 : op_chunks(x.cols), x.rows}, tiles};
    p->y.sums = op_matrix_new(c, stage, p->y.n_partials * x.rows, w.packed.n_panels * UK_PANEL, DSV4_F32);
    int64_t chunk = tile_min(x.cols, OP_SUM_CHUNK);
    return add_stage(c, p,
                     (dsv4_stage_desc){.name = stage,
                                       .run = run_bf16,
                                       .describe = describe_bf16,
                                       .scratch_bytes = (size_t)(tiles.t_tile * chunk) * sizeof(float)});
}

void op_product_row(const uk_table *uk, const op_product *y, int64_t t, int64_t begin, int64_t end, float *dst)
{
    const float *row = (const float *)y->sums.data + t * y->sums.cols + begin;
    memcpy(dst, row, (size_t)(end - begin) * sizeof *dst);
    for (int64_t p = 1; p < y->n_partials; p++) {
        uk->add(end - begin, row + p * y->n_rows * y->sums.cols, dst);
    }
}

void op_product_reads(dsv4_describe *d, const op_product *y, int64_t t0, int64_t t1, int64_t begin, int64_t end)
{
    for (int64_t p = 0; p < y->n_partials; p++) {
        dsv4_reads(d, y->sums.view, p * y->n_rows + t0, p * y->n_rows + t1, begin, end);
    }
}

/* ---- INT8 -------------------------------------------------------------------------------------------------------------- */

int64_t op_biased_row_bytes(int64_t k)
{
    return tile_count(k, 4) * 4;
}

void op_bias_rows(const uk_table *uk, const op_matrix *x, int64_t t0, int64_t t1, int64_t col, int64_t k, uint8_t *dst)
{
    int64_t row = op_biased_row_bytes(k);
    for (int64_t t = t0; t < t1; t++, dst += row) {
        uk->bias_i8(k, (const int8_t *)x->data + t * x->ld + col, dst);
        memset(dst + k, 0, (size_t)(row - k));
    }
}

static void describe_i8(const void *arg, int64_t block, dsv4_describe *d)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    describe_operands(p, &tile, UK_PANEL, d);
    dsv4_costs(d, (dsv4_work){.ops_i8 = multiply_adds(&tile)});
}

static void run_i8(const void *arg, int64_t block, void *scratch)
{
    const project *p = arg;
    project_tile tile = tile_of(p, block);
    uint8_t *x = scratch;
    int64_t row = op_biased_row_bytes(p->x.cols), ld = p->y.sums.cols;
    op_bias_rows(p->uk, &p->x, tile.t.begin, tile.t.end, 0, p->x.cols, x);
    for (int64_t panel = tile.panel.begin; panel < tile.panel.end; panel++) {
        for (int64_t t = tile.t.begin; t < tile.t.end; t += UK_MAX_ROWS) {
            int m = (int)tile_min(tile.t.end - t, UK_MAX_ROWS);
            p->uk->gemm_i8(m, row / 4, x + (t - tile.t.begin) * row, row, uk_panel_i8(&p->w.packed, panel, 0),
                           p->w.packed.correction + panel * UK_PANEL, (int32_t *)p->y.sums.data + t * ld + panel * UK_PANEL, ld);
        }
    }
}

op_product op_project_i8(const op_context *c, const char *stage, op_matrix x, op_weight w, int64_t t_tile, int64_t n_tile)
{
    project *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return (op_product){0};
    }
    t_tile = tile_min(t_tile, x.rows);
    *p = (project){c->uk, x, w, {{0}, 1, x.rows}, {t_tile, n_tile, 1}};
    p->y.sums = op_matrix_new(c, stage, x.rows, w.packed.n_panels * UK_PANEL, DSV4_I32);
    return add_stage(c, p,
                     (dsv4_stage_desc){.name = stage,
                                       .run = run_i8,
                                       .describe = describe_i8,
                                       .scratch_bytes = (size_t)(t_tile * op_biased_row_bytes(x.cols))});
}
