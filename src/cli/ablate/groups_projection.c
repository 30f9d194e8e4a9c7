#include <string.h>

#include "cli/ablate/groups.h"
#include "ops/rms.h"

enum {
    B_N_TILE_ROW = 128,
    B_N_TILE = 256,
    B_GROUP = 4,
    B_K_TILE = 256,
    QUANT_ROWS = 8,
    QUANT_T = 32,
    ACT_ROWS = 32,
    ACT_COLS = 512
};

/* Pieces that vector stages load at a time. */
enum { POST_ROWS = 32, QUANT_PIECE = 512 };

void groups_add_proj_a(const op_context *ctx, const groups *o, int64_t g, int64_t k_tile)
{
    op_matrix w = {(void *)(uintptr_t)(o->wo_a + g * o->OL * o->GI), o->OL, o->GI, o->GI, 0};
    w.view = dsv4_graph_view(ctx->g, "wo_a", w.data, o->OL, o->GI, sizeof(uint16_t), (size_t)o->GI * sizeof(uint16_t));
    ablate_product_add(ctx, &(ablate_product){.name = "proj_a",
                                              .x = op_matrix_cols(ctx, "o_packed", o->o, sizeof(uint16_t), g * o->GI, o->GI),
                                              .w = w,
                                              .y = op_matrix_cols(ctx, "o_r", o->r, sizeof(float), g * o->OL, o->OL),
                                              .dtype = DSV4_BF16,
                                              .transposed = true,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = GROUPS_A_TILE,
                                              .group = 1,
                                              .k_tile = k_tile,
                                              .k_split = 1,
                                              .ahead = 2});
}

static void add_proj_b(const op_context *ctx, const op_matrix *x, const op_matrix *w, const op_matrix *y, int64_t n_tile,
                       int64_t group)
{
    ablate_product_add(ctx, &(ablate_product){.name = "proj_b",
                                              .x = *x,
                                              .w = *w,
                                              .y = *y,
                                              .dtype = DSV4_I8,
                                              .transposed = true,
                                              .t_tile = x->rows,
                                              .t_inner = x->rows,
                                              .n_tile = n_tile,
                                              .group = group,
                                              .k_tile = B_K_TILE,
                                              .k_split = 1,
                                              .ahead = 2});
}

/* ---- a scale for a row ------------------------------------------------------------------------------------------------------ */

static void run_amax(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&o->amax, t, tile->col_index) =
            s->uk->amax(tile->col.end - tile->col.begin, op_matrix_f32(&o->r, t, tile->col.begin));
    }
}

static void run_quant_row(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        float multiplier = op_q8_multiplier(s->uk->amax(o->amax.cols, op_matrix_f32(&o->amax, t, 0)));
        s->uk->quantize_i8(tile->col.end - tile->col.begin, op_matrix_f32(&o->r, t, tile->col.begin), multiplier,
                           ablate_i8(&o->r_i8, t, tile->col.begin));
        *op_matrix_f32(&o->r_scale, t, tile->col_index) = 1.0f / multiplier;
    }
}

static void run_dequant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t begin = tile->col.begin, n = tile->col.end - begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->dequant_i32(n, ablate_i32(&o->sums, t, begin), *op_matrix_f32(&o->r_scale, t, 0),
                           op_matrix_f32(&o->wo_b_scale, 0, begin), scratch);
        s->uk->narrow_bf16(n, scratch, ablate_bf16(&o->out, t, begin));
    }
}

void groups_add_by_row(const op_context *ctx, const groups *o)
{
    const int64_t width = o->G * o->OL;
    const ablate_axis col_index = {.source = ABLATE_COL_INDEX};
    ablate_stage_add(
        ctx, &(ablate_stage){.name = "proj_a_amax",
                             .grid = {o->T, o->T, width, GROUPS_A_TILE, 0},
                             .uses = {{DSV4_READ, &o->r, ablate_rows, ablate_cols}, {DSV4_WRITE, &o->amax, ablate_rows, col_index}},
                             .run = run_amax,
                             .arg = o,
                             .vector_ops = 3,
                             .loads = tile_count(o->T, POST_ROWS)});
    ablate_stage_add(ctx, &(ablate_stage){.name = "quant",
                                          .grid = {o->T, QUANT_ROWS, width, tile_count(width, GROUPS_QUANT_PARTS), 0},
                                          .uses = {{DSV4_READ, &o->r, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->amax, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->r_i8, ablate_rows, ablate_cols},
                                                   {DSV4_WRITE, &o->r_scale, ablate_rows, col_index}},
                                          .run = run_quant_row,
                                          .arg = o,
                                          .vector_ops = 4,
                                          .loads = o->amax.cols + tile_count(width / GROUPS_QUANT_PARTS, QUANT_PIECE)});
    add_proj_b(ctx, &o->r_i8, &o->wo_b, &o->sums, B_N_TILE_ROW, 1);
    ablate_stage_add(ctx, &(ablate_stage){.name = "proj_b_dequant",
                                          .grid = {o->T, o->T, o->D, B_N_TILE_ROW, 0},
                                          .uses = {{DSV4_READ, &o->sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->r_scale, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->wo_b_scale, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->out, ablate_rows, ablate_cols}},
                                          .run = run_dequant,
                                          .arg = o,
                                          .scratch_bytes = B_N_TILE_ROW * sizeof(float),
                                          .vector_ops = 4,
                                          .loads = 2 * tile_count(o->T, POST_ROWS)});
}

/* ---- a scale for a group ---------------------------------------------------------------------------------------------------- */

/* The grid is one column: the group. */
static void run_quant_group(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t g = s->uses[0].cols.offset / o->OL;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&o->r_scale, t, g) =
            ablate_q8(s->uk, o->OL, op_matrix_f32(&o->r, t, g * o->OL), ablate_i8(&o->r_i8, t, g * o->OL));
    }
}

static void run_act(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t begin = tile->col.begin, n = tile->col.end - begin;
    float *y = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        memset(y, 0, (size_t)n * sizeof *y);
        for (int64_t g = 0; g < o->G; g++) {
            s->uk->add_dequant(n, ablate_i32(&o->sums, t, g * o->D + begin), *op_matrix_f32(&o->r_scale, t, g), y);
        }
        s->uk->scale_cols(n, y, op_matrix_f32(&o->wo_b_scale, 0, begin), y);
        s->uk->narrow_bf16(n, y, ablate_bf16(&o->out, t, begin));
    }
}

void groups_add_by_group(const op_context *ctx, const groups *o)
{
    for (int64_t g = 0; g < o->G; g++) {
        const ablate_axis group = {ABLATE_FIXED, 1, g * o->OL, o->OL}, scale = {ABLATE_FIXED, 1, g, 1};
        ablate_stage_add(ctx, &(ablate_stage){.name = "quant",
                                              .grid = {o->T, QUANT_T, 1, 1, 0},
                                              .uses = {{DSV4_READ, &o->r, ablate_rows, group},
                                                       {DSV4_READ, &o->r, ablate_rows, group},
                                                       {DSV4_WRITE, &o->r_i8, ablate_rows, group},
                                                       {DSV4_WRITE, &o->r_scale, ablate_rows, scale}},
                                              .run = run_quant_group,
                                              .arg = o,
                                              .vector_ops = 7.0 * (double)o->OL,
                                              .loads = 2 * QUANT_T / QUANT_ROWS * tile_count(o->OL, QUANT_PIECE)});
    }
    for (int64_t g = 0; g < o->G; g++) {
        op_matrix x = op_matrix_cols(ctx, "o_r_i8", o->r_i8, 1, g * o->OL, o->OL),
                  w = op_matrix_cols(ctx, "wo_b", o->wo_b, 1, g * o->OL, o->OL),
                  y = op_matrix_cols(ctx, "partials", o->sums, sizeof(int32_t), g * o->D, o->D);
        add_proj_b(ctx, &x, &w, &y, B_N_TILE, B_GROUP);
    }
    ablate_stage act = {.name = "proj_b_act",
                        .grid = {o->T, ACT_ROWS, o->D, ACT_COLS, 0},
                        .uses = {{DSV4_READ, &o->wo_b_scale, ablate_all, ablate_cols},
                                 {DSV4_READ, &o->r_scale, ablate_rows, ablate_all},
                                 {DSV4_WRITE, &o->out, ablate_rows, ablate_cols}},
                        .run = run_act,
                        .arg = o,
                        .scratch_bytes = ACT_COLS * sizeof(float),
                        .vector_ops = 3.0 * (double)o->G + 2};
    op_matrix by_group = o->sums; /* row t*G + g */
    by_group.rows = o->T * o->G;
    by_group.cols = by_group.ld = o->D;
    by_group.view =
        dsv4_graph_view(ctx->g, "partials", o->sums.data, by_group.rows, o->D, sizeof(int32_t), (size_t)o->D * sizeof(int32_t));
    act.uses[3] = (ablate_use){DSV4_READ, &by_group, {.source = ABLATE_ROWS, .scale = o->G}, ablate_cols};
    ablate_stage_add(ctx, &act);
}
