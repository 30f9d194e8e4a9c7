/* ops/out_proj.c - the output projection, group by group (SPEC 5.2).
 *
 * MATH      r[t,g] = o[t,g] wo_a[g]^T;  (ri, rs) = Q8(r) over the values that share a scale
 *           sums[t,d] += float(ri wo_b^T) rs over those values, groups ascending, and within a group its slices;  group 0 from 0
 *           attn_out[t,d] = bf(sums[t,d] wo_b_scale[d])
 *           a scale is shared by r[t,g] (GROUP), by r[t] (ROW) or by 128 neighbours within r[t,g] (BLOCK). A SLICE is what one INT8
 *           product sums over: values of one group under one scale.
 * SHAPES    o bf16[T,G*GI]  wo_a bf16[G,OL,GI]  wo_b i8[D,G*OL]  wo_b_scale f32[D]  ->  attn_out bf16[T,D]
 *           scratch r f32[T,OL] per group, ri i8[T,OL] per group, rs f32[T,slices], sums f32[T,D]
 * STAGES    out.o_tile[g]  [8 x 2048]                       o[g] as products take it
 *           out.proj_a[g]  [t_tile x a_n_tile x a_k_split]  o[g], wo_a[g] -> partial sums of r
 *           out.amax[g]    [quant_t_tile]                   partial sums -> largest |r[t,g]|   ROW alone
 *           out.quant[g]   [quant_t_tile]                   partial sums -> ri, rs
 *           out.proj_b[g]  [t_tile x b_n_tile]              ri, rs, wo_b[g] -> sums            INT32 stays in scratch
 *           out.sum        [t_tile x b_n_tile]              sums, wo_b_scale -> attn_out
 *           proj_b of a group waits for its own quant and its own tile of the sums: groups overlap, the order of addition stays.
 * NUMERICS  f32; products summed in chunks of 512 (ops/chunk.h); INT8 products exact; r is not rounded below f32. */
#include "ops/out_proj.h"

#include <string.h>

#include "ops/chunk.h"
#include "ops/rms.h"

/* Values that share a scale under DSV4_SCALE_BLOCK. */
enum { SCALE_BLOCK = 128 };

typedef struct out_proj {
    const uk_table *uk;
    op_out_proj a;
    op_matrix rs, amax, sums;       /* amax f32[T,G]: no data but under ROW */
    int64_t G, OL, slice, n_slices; /* values of a slice; slices of a group */
} out_proj;

typedef struct out_group {
    const out_proj *p;
    int64_t g;
    op_product r;
    op_acts *ri;     /* I8 [T, slice], [n_slices] */
    op_weight *wo_b; /* [n_slices] */
} out_group;

/* ---- quantising -------------------------------------------------------------------------------------------------------- */

static tile_range quant_rows(const out_proj *p, int64_t block)
{
    return tile_at(block, p->a.quant_t_tile, p->rs.rows);
}

static void describe_amax(const void *arg, int64_t block, dsv4_describe *d)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    tile_range t = quant_rows(p, block);
    op_product_reads(d, &group->r, t.begin, t.end, 0, p->OL);
    dsv4_writes(d, p->amax.view, t.begin, t.end, group->g, group->g + 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * p->OL * (group->r.n_partials + 1))});
}

static void run_amax(const void *arg, int64_t block, void *scratch)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    tile_range tile = quant_rows(p, block);
    for (int64_t t = tile.begin; t < tile.end; t++) {
        op_product_row(p->uk, &group->r, t, 0, p->OL, scratch);
        *op_matrix_f32(&p->amax, t, group->g) = p->uk->amax(p->OL, scratch);
    }
}

static tile_range slice_cols(const out_proj *p, int64_t slice)
{
    return tile_at(slice, p->slice, p->OL);
}

static void touch_ri(dsv4_describe *d, int mode, const out_group *group, tile_range t)
{
    for (int64_t i = 0; i < group->p->n_slices; i++) {
        op_acts_touch(d, mode, &group->ri[i], t, (tile_range){0, group->ri[i].cols});
    }
}

static void describe_quant(const void *arg, int64_t block, dsv4_describe *d)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    tile_range t = quant_rows(p, block);
    op_product_reads(d, &group->r, t.begin, t.end, 0, p->OL);
    if (p->amax.data != NULL) {
        dsv4_reads(d, p->amax.view, t.begin, t.end, 0, p->G);
    }
    touch_ri(d, DSV4_WRITE, group, t);
    dsv4_writes(d, p->rs.view, t.begin, t.end, group->g * p->n_slices, (group->g + 1) * p->n_slices);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * p->OL * (group->r.n_partials + OP_Q8_OPS))});
}

/* ri = row t of r, quantised a slice at a time; its scales go to rs. */
static void quantize_row(const out_group *group, int64_t t, const float *r, int8_t *ri)
{
    const out_proj *p = group->p;
    for (int64_t i = 0; i < p->n_slices; i++) {
        tile_range col = slice_cols(p, i);
        bool by_row = p->amax.data != NULL;
        float amax = by_row ? p->uk->amax(p->G, op_matrix_f32(&p->amax, t, 0)) : p->uk->amax(col.end - col.begin, r + col.begin);
        float multiplier = op_q8_multiplier(amax);
        p->uk->quantize_i8(col.end - col.begin, r + col.begin, multiplier, ri + col.begin);
        *op_matrix_f32(&p->rs, t, group->g * p->n_slices + i) = 1.0f / multiplier;
    }
}

/* One row group after the other: quantised as rows in scratch, then packed. */
static void run_quant(const void *arg, int64_t block, void *scratch)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    tile_range tile = quant_rows(p, block);
    float *r = scratch;
    int8_t *ri = (int8_t *)(r + p->OL);
    for (int64_t first = tile.begin; first < tile.end; first += UK_ROWS) {
        int64_t n = tile_min(tile.end - first, UK_ROWS);
        for (int64_t t = first; t < first + n; t++) {
            op_product_row(p->uk, &group->r, t, 0, p->OL, r);
            quantize_row(group, t, r, ri + (t - first) * p->OL);
        }
        for (int64_t i = 0; i < p->n_slices; i++) {
            const op_acts *x = &group->ri[i];
            p->uk->tile_i8(n, x->group_rows, x->cols, ri + slice_cols(p, i).begin, p->OL, op_acts_group(x, first, 0));
        }
    }
}

/* ---- the second product ------------------------------------------------------------------------------------------------- */

typedef struct sums_tile {
    tile_range t, panel;
} sums_tile;

static int64_t sums_blocks(const out_proj *p)
{
    return tile_count(p->sums.cols, p->a.b_n_tile) * tile_count(p->sums.rows, p->a.t_tile);
}

/* Blocks of one column tile are neighbours, so a worker's share of the stage is a range of panels. */
static sums_tile sums_at(const out_proj *p, int64_t block)
{
    int64_t n_t = tile_count(p->sums.rows, p->a.t_tile);
    return (sums_tile){tile_at(block % n_t, p->a.t_tile, p->sums.rows),
                       tile_at(block / n_t, p->a.b_n_tile / UK_PANEL, p->sums.cols / UK_PANEL)};
}

static void describe_proj_b(const void *arg, int64_t block, dsv4_describe *d)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    sums_tile tile = sums_at(p, block);
    touch_ri(d, DSV4_READ, group, tile.t);
    dsv4_reads(d, p->rs.view, tile.t.begin, tile.t.end, group->g * p->n_slices, (group->g + 1) * p->n_slices);
    for (int64_t i = 0; i < p->n_slices; i++) {
        dsv4_reads(d, group->wo_b[i].view, tile.panel.begin, tile.panel.end, 0, group->wo_b[i].packed.panel_bytes);
    }
    dsv4_box box = {tile.t.begin, tile.t.end, tile.panel.begin * UK_PANEL, tile.panel.end * UK_PANEL};
    dsv4_touch(d, group->g == 0 ? DSV4_WRITE : DSV4_UPDATE, p->sums.view, box);
    double elements = (double)((box.row1 - box.row0) * (box.col1 - box.col0));
    dsv4_costs(d, (dsv4_work){.ops_i8 = 2 * elements * (double)p->OL,
                              .vector_ops = 3 * elements * (double)p->n_slices,
                              .product = {.m = box.row1 - box.row0, .n = box.col1 - box.col0, .k = p->OL}});
}

/* Adds the dequantised product of one slice to the block's tile of the sums. */
static void add_slice(const out_group *group, int64_t slice, const sums_tile *tile, int32_t *acc)
{
    const out_proj *p = group->p;
    const uk_packed *w = &group->wo_b[slice].packed;
    int64_t scale = group->g * p->n_slices + slice;
    for (int64_t panel = tile->panel.begin; panel < tile->panel.end; panel++) {
        p->uk->gemm_i8(op_acts_at(&group->ri[slice], tile->t, 0), tile_count(w->k, 4), uk_panel_i8(w, panel, 0),
                       w->correction + panel * UK_PANEL, acc, UK_PANEL);
        for (int64_t t = tile->t.begin; t < tile->t.end; t++) {
            p->uk->add_dequant(UK_PANEL, acc + (t - tile->t.begin) * UK_PANEL, *op_matrix_f32(&p->rs, t, scale),
                               op_matrix_f32(&p->sums, t, panel * UK_PANEL));
        }
    }
}

static void run_proj_b(const void *arg, int64_t block, void *scratch)
{
    const out_group *group = arg;
    const out_proj *p = group->p;
    sums_tile tile = sums_at(p, block);
    for (int64_t t = tile.t.begin; group->g == 0 && t < tile.t.end; t++) {
        memset(op_matrix_f32(&p->sums, t, tile.panel.begin * UK_PANEL), 0,
               (size_t)((tile.panel.end - tile.panel.begin) * UK_PANEL) * sizeof(float));
    }
    for (int64_t i = 0; i < p->n_slices; i++) {
        add_slice(group, i, &tile, scratch);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------------------ */

/* Columns of attn_out that a block owns; padding has none. */
static tile_range out_cols(const out_proj *p, const sums_tile *tile)
{
    return (tile_range){tile->panel.begin * UK_PANEL, tile_min(tile->panel.end * UK_PANEL, p->a.attn_out.cols)};
}

static void describe_sum(const void *arg, int64_t block, dsv4_describe *d)
{
    const out_proj *p = arg;
    sums_tile tile = sums_at(p, block);
    tile_range col = out_cols(p, &tile);
    dsv4_reads(d, p->sums.view, tile.t.begin, tile.t.end, col.begin, col.end);
    dsv4_reads(d, p->a.scale.view, 0, 1, col.begin, col.end);
    dsv4_writes(d, p->a.attn_out.view, tile.t.begin, tile.t.end, col.begin, col.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)((tile.t.end - tile.t.begin) * (col.end - col.begin))});
}

static void run_sum(const void *arg, int64_t block, void *scratch)
{
    const out_proj *p = arg;
    sums_tile tile = sums_at(p, block);
    tile_range col = out_cols(p, &tile);
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        p->uk->scale_cols(col.end - col.begin, op_matrix_f32(&p->sums, t, col.begin), op_matrix_f32(&p->a.scale, 0, col.begin),
                          scratch);
        p->uk->narrow_bf16(col.end - col.begin, scratch, (uint16_t *)p->a.attn_out.data + t * p->a.attn_out.ld + col.begin);
    }
}

/* ---- graph -------------------------------------------------------------------------------------------------------------- */

/* Group g of wo_a, [OL, GI], and columns [col, col + k) of wo_b. */
static op_weight_source group_of_wo_a(const out_proj *p, int64_t g)
{
    int64_t GI = p->a.o.cols / p->G;
    return (op_weight_source){(const uint16_t *)p->a.wo_a.data + g * p->OL * GI, DSV4_BF16, GI, p->OL, 1, GI};
}

static op_weight_source cols_of_wo_b(const out_proj *p, int64_t col, int64_t k)
{
    return (op_weight_source){(const int8_t *)p->a.wo_b.data + col, DSV4_I8, k, p->a.attn_out.cols, 1, p->G * p->OL};
}

static op_project_tiles proj_a_tiles(const out_proj *p)
{
    return (op_project_tiles){p->a.t_tile, p->a.a_n_tile, tile_min(p->a.a_k_split, op_chunks(p->a.o.cols / p->G))};
}

static void gather(out_proj *p, const op_context *c, const op_out_proj *a)
{
    int64_t T = a->o.rows;
    p->uk = c->uk;
    p->a = *a;
    p->a.t_tile = tile_min(tile_count(a->t_tile, UK_ROWS) * UK_ROWS, T);
    p->a.quant_t_tile = tile_count(a->quant_t_tile, UK_ROWS) * UK_ROWS;
    p->G = a->wo_a.shape[0];
    p->OL = a->wo_a.shape[1];
    p->slice = c->numerics.act_scale == DSV4_SCALE_BLOCK ? SCALE_BLOCK : p->OL;
    p->n_slices = tile_count(p->OL, p->slice);
    int64_t padded_D = tile_count(a->attn_out.cols, UK_PANEL) * UK_PANEL;
    p->a.b_n_tile = tile_min(a->b_n_tile, padded_D);
    p->rs = op_matrix_new(c, "out.rs", T, p->G * p->n_slices, DSV4_F32);
    p->sums = op_matrix_new(c, "out.sums", T, padded_D, DSV4_F32);
    if (c->numerics.act_scale == DSV4_SCALE_ROW) {
        p->amax = op_matrix_new(c, "out.row_amax", T, p->G, DSV4_F32);
    }
}

/* r of the group; under ROW what its quantisation needs of every group. */
static void add_first_product(const op_context *c, const out_proj *p, out_group *group, int64_t g)
{
    int64_t GI = p->a.o.cols / p->G, n_quant = tile_count(p->rs.rows, p->a.quant_t_tile);
    op_matrix o = op_matrix_cols(c, "attn.o[g]", p->a.o, sizeof(uint16_t), g * GI, GI);
    *group = (out_group){.p = p, .g = g};
    group->r = op_project_bf16(c, "out.proj_a", op_acts_tile(c, "out.o_tile", o, DSV4_BF16),
                               op_weight_pack(c, "wo_a[g]", group_of_wo_a(p, g)), proj_a_tiles(p));
    if (p->amax.data != NULL) {
        dsv4_graph_stage(c->g, &(dsv4_stage_desc){"out.amax", n_quant, run_amax, describe_amax, group,
                                                  (size_t)p->OL * sizeof(float), DSV4_VECTOR});
    }
}

static void add_second_product(const op_context *c, const out_proj *p, out_group *group)
{
    int64_t n_quant = tile_count(p->rs.rows, p->a.quant_t_tile);
    size_t quant_bytes = (size_t)p->OL * (sizeof(float) + UK_ROWS),
           proj_b_bytes = (size_t)(p->a.t_tile * UK_PANEL) * sizeof(int32_t);
    group->wo_b = dsv4_graph_memory(c->g, (size_t)p->n_slices * sizeof *group->wo_b);
    group->ri = dsv4_graph_memory(c->g, (size_t)p->n_slices * sizeof *group->ri);
    for (int64_t i = 0; group->wo_b != NULL && group->ri != NULL && i < p->n_slices; i++) {
        tile_range col = slice_cols(p, i);
        group->ri[i] = op_acts_new(c, "out.ri", p->rs.rows, col.end - col.begin, DSV4_I8);
        group->wo_b[i] = op_weight_pack(c, "wo_b[g]", cols_of_wo_b(p, group->g * p->OL + col.begin, col.end - col.begin));
    }
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"out.quant", n_quant, run_quant, describe_quant, group, quant_bytes, DSV4_VECTOR});
    dsv4_graph_stage(c->g,
                     &(dsv4_stage_desc){"out.proj_b", sums_blocks(p), run_proj_b, describe_proj_b, group, proj_b_bytes, DSV4_CUBE});
}

void op_out_proj_add(const op_context *c, const op_out_proj *a)
{
    out_proj *p = dsv4_graph_memory(c->g, sizeof *p);
    out_group *groups = dsv4_graph_memory(c->g, (size_t)a->wo_a.shape[0] * sizeof *groups);
    if (p == NULL || groups == NULL) {
        return;
    }
    gather(p, c, a);
    for (int64_t g = 0; g < p->G; g++) {
        add_first_product(c, p, &groups[g], g);
    }
    for (int64_t g = 0; g < p->G; g++) {
        add_second_product(c, p, &groups[g]);
    }
    size_t row_bytes = (size_t)p->a.b_n_tile * sizeof(float);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"out.sum", sums_blocks(p), run_sum, describe_sum, p, row_bytes, DSV4_VECTOR});
}
