#include "ops/heads.h"

#include "ops/rms.h"

typedef struct heads {
    const uk_table *uk;
    op_heads a;
    int64_t T, hd, R;
} heads;

typedef struct heads_tile {
    tile_range t, col, panel; /* panels that hold the columns of the block's heads */
} heads_tile;

/* Blocks of one head group are neighbours, so a worker's share of the stage is a range of panels. */
static heads_tile tile_of(const heads *o, int64_t block)
{
    int64_t n_t = tile_count(o->T, o->a.t_tile);
    tile_range head = tile_at(block / n_t, o->a.head_group, o->a.n_heads), col = {head.begin * o->hd, head.end * o->hd};
    return (heads_tile){tile_at(block % n_t, o->a.t_tile, o->T), col, {col.begin / UK_PANEL, tile_count(col.end, UK_PANEL)}};
}

static void describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const heads *o = arg;
    heads_tile tile = tile_of(o, block);
    dsv4_product product = {tile.t.end - tile.t.begin, (tile.panel.end - tile.panel.begin) * UK_PANEL, o->a.x.cols, 0, 0};
    double rows = (double)product.m;
    op_acts_touch(d, DSV4_READ, &o->a.x, tile.t, (tile_range){0, o->a.x.cols});
    dsv4_reads(d, o->a.w.view, tile.panel.begin, tile.panel.end, 0, o->a.w.packed.panel_bytes);
    dsv4_reads(d, o->a.row_scale.view, tile.t.begin, tile.t.end, 0, 1);
    dsv4_reads(d, o->a.col_scale.view, 0, 1, tile.col.begin, tile.col.end);
    op_turns_reads_by(d, &o->a.turns, &o->a.turn_rows, tile.t.begin, tile.t.end, o->R);
    dsv4_writes(d, o->a.y.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_costs(d, (dsv4_work){.ops_i8 = 2 * rows * (double)(product.n * product.k),
                              .vector_ops = (o->a.normalises ? 6.0 : 4.0) * rows * (double)(tile.col.end - tile.col.begin),
                              .product = product});
}

/* sums [rows][ld]: columns of the tile's panels. */
static void multiply(const heads *o, const heads_tile *tile, int32_t *sums, int64_t ld)
{
    const uk_packed *w = &o->a.w.packed;
    for (int64_t panel = tile->panel.begin; panel < tile->panel.end; panel++) {
        o->uk->gemm_i8(op_acts_at(&o->a.x, tile->t, 0), tile_count(o->a.x.cols, 4), uk_panel_i8(w, panel, 0),
                       w->correction + panel * UK_PANEL, sums + (panel - tile->panel.begin) * UK_PANEL, ld);
    }
}

/* y of one token and head, whose first column is col. row: [hd]. */
static void finish_head(const heads *o, int64_t t, int64_t col, const int32_t *sums, const float *turn, float *row)
{
    o->uk->dequant_i32(o->hd, sums, *op_matrix_f32(&o->a.row_scale, t, 0), op_matrix_f32(&o->a.col_scale, 0, col), row);
    if (o->a.normalises) {
        o->uk->scale(o->hd, row, op_row_inverse_rms(o->uk, row, o->hd, o->a.eps), row);
    }
    op_turn_row(o->uk, turn, o->R, o->hd, row);
    o->uk->narrow_bf16(o->hd, row, (uint16_t *)o->a.y.data + t * o->a.y.ld + col);
}

static void run(const void *arg, int64_t block, void *scratch)
{
    const heads *o = arg;
    heads_tile tile = tile_of(o, block);
    int64_t ld = op_sums_ld((tile.panel.end - tile.panel.begin) * UK_PANEL), first = tile.panel.begin * UK_PANEL;
    float *turn = scratch, *row = turn + o->R;
    int32_t *sums = (int32_t *)(row + o->hd);
    multiply(o, &tile, sums, ld);
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        op_turns_load(o->uk, &o->a.turns, op_turns_row(&o->a.turn_rows, t), o->R, turn);
        for (int64_t col = tile.col.begin; col < tile.col.end; col += o->hd) {
            finish_head(o, t, col, sums + (t - tile.t.begin) * ld + col - first, turn, row);
        }
    }
}

void op_heads_add(const op_context *c, const char *stage, const op_heads *a)
{
    heads *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (heads){.uk = c->uk, .a = *a, .T = a->x.rows, .hd = a->y.cols / a->n_heads, .R = c->config->qk_rope_head_dim};
    o->a.t_tile = tile_min(tile_count(a->t_tile, UK_ROWS) * UK_ROWS, o->T);
    int64_t n_blocks = tile_count(o->T, o->a.t_tile) * tile_count(a->n_heads, a->head_group);
    int64_t columns = (tile_count(a->head_group * o->hd, UK_PANEL) + 1) * UK_PANEL; /* heads may begin and end within panels */
    size_t words = (size_t)(o->R + o->hd + o->a.t_tile * op_sums_ld(columns));
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){stage, n_blocks, run, describe, o, words * sizeof(int32_t), DSV4_CUBE});
}
