#include "ops/experts.h"

#include <string.h>

#include "kernels/pack_fp.h"
#include "ops/rms.h"
#include "ops/swiglu.h"
#include "ops/tile.h"

enum { ROW_TILE = 64 /* rows that pass a panel together, a multiple of UK_ROWS */ };

/* Rows of slots, packed for products with INT8 or FP4 weights: those of a slot begin behind room for 7 more in each slot before it. */
typedef struct packed_rows {
    op_matrix data, scale, ready; /* I8 [1, bytes]; FP32 [1, routes], of places; I8 [slots, 1] */
    int64_t k, row_bytes;
    bool is_fp4;
} packed_rows;

typedef struct stages {
    const uk_table *uk;
    op_experts a;
    packed_rows x, h8;
    op_weight_bank w1, w3, w2;
    op_matrix scale1, scale3, scale2;  /* FP32 [E, F], [E, F], [E, D]; no data: the weights are FP4 */
    op_matrix h, up_ready, down_ready; /* FP32 [routes, F], of places; I8 [slots, tiles] */
    int64_t f_tiles, d_tiles;
    double rows_per_slot; /* where all are in use */
    float limit;
} stages;

static dsv4_box all_of(const op_matrix *m)
{
    return (dsv4_box){0, m->rows, 0, m->cols};
}

static char *rows_at(const packed_rows *p, int64_t index, const op_slot *slot)
{
    return (char *)p->data.data + (slot->begin + (UK_ROWS - 1) * index) * p->row_bytes;
}

static uk_acts acts_of(const packed_rows *p, int64_t index, const op_slot *slot)
{
    int64_t group_rows = tile_min(slot->n, UK_ROWS);
    return (uk_acts){rows_at(p, index, slot), slot->n, group_rows, group_rows * p->row_bytes};
}

static void set_flag(const op_matrix *flags, int64_t i)
{
    ((int8_t *)flags->data)[i] = 1;
}

static double share_of(const stages *o, int64_t index)
{
    return op_slot_at(&o->a.slots, index).n > 0 ? 1 : 0;
}

static double share_of_rows(const void *arg, int64_t block)
{
    return share_of(arg, block);
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

static void packed_touches(dsv4_describe *d, int mode, const packed_rows *p, int64_t index)
{
    dsv4_touch(d, mode | DSV4_UNTRACKED, p->data.view, all_of(&p->data));
    dsv4_touch(d, mode | DSV4_UNTRACKED, p->scale.view, all_of(&p->scale));
    dsv4_touch(d, mode, p->ready.view, (dsv4_box){index, index + 1, 0, 1});
}

/* Packs n rows as the group of a slot that begins at its row r. */
static void pack_group(const stages *o, const packed_rows *p, int64_t index, const op_slot *slot, int64_t r, int64_t n,
                       const int8_t *rows)
{
    uk_acts acts = acts_of(p, index, slot);
    char *group = rows_at(p, index, slot) + r / UK_ROWS * acts.group_bytes;
    if (p->is_fp4) {
        o->uk->tile_fp4(n, acts.group_rows, p->k, rows, p->k, group);
    } else {
        o->uk->tile_i8(n, acts.group_rows, p->k, rows, p->k, group);
    }
}

static void gather_describe(const void *arg, int64_t index, dsv4_describe *d)
{
    const stages *o = arg;
    double values = o->rows_per_slot * (double)o->x.k;
    op_slots_reads(d, &o->a.slots);
    dsv4_touch(d, DSV4_READ, o->a.x.view, all_of(&o->a.x));
    dsv4_touch(d, DSV4_READ, o->a.x_scale.view, all_of(&o->a.x_scale));
    packed_touches(d, DSV4_WRITE, &o->x, index);
    dsv4_costs(d, (dsv4_work){.vector_ops = values});
}

static void gather_run(const void *arg, int64_t index, void *scratch)
{
    const stages *o = arg;
    op_slot slot = op_slot_at(&o->a.slots, index);
    int64_t k = o->x.k;
    int8_t *rows = scratch;
    for (int64_t r = 0; r < slot.n; r++) {
        int64_t i = r % UK_ROWS, row = slot.route[r] / o->a.routes_per_row;
        memcpy(rows + i * k, (const int8_t *)o->a.x.data + row * o->a.x.ld, (size_t)k);
        *op_matrix_f32(&o->x.scale, 0, slot.begin + r) = ((const float *)o->a.x_scale.data)[row];
        if (i == UK_ROWS - 1 || r == slot.n - 1) {
            pack_group(o, &o->x, index, &slot, r - i, i + 1, rows);
        }
    }
    set_flag(&o->x.ready, index);
}

static void pack_describe(const void *arg, int64_t index, dsv4_describe *d)
{
    const stages *o = arg;
    double values = o->rows_per_slot * (double)o->h8.k;
    op_slots_reads(d, &o->a.slots);
    dsv4_reads(d, o->up_ready.view, index, index + 1, 0, o->f_tiles);
    op_matrix_reads(d, &o->a.weights);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->h.view, all_of(&o->h));
    packed_touches(d, DSV4_WRITE, &o->h8, index);
    dsv4_costs(d, (dsv4_work){.vector_ops = OP_Q8_OPS * values, .gathered_bytes = (double)sizeof(float) * values});
}

static void pack_run(const void *arg, int64_t index, void *scratch)
{
    const stages *o = arg;
    op_slot slot = op_slot_at(&o->a.slots, index);
    int64_t k = o->h8.k;
    int8_t *rows = scratch;
    for (int64_t r = 0; r < slot.n; r++) {
        int64_t i = r % UK_ROWS;
        const float *h = op_matrix_f32(&o->h, slot.begin + r, 0);
        float multiplier = op_q8_multiplier(o->uk->amax(k, h)), scale = 1.0f / multiplier;
        o->uk->quantize_i8(k, h, multiplier, rows + i * k);
        if (o->a.weights.data != NULL) {
            scale *= ((const float *)o->a.weights.data)[slot.route[r]];
        }
        *op_matrix_f32(&o->h8.scale, 0, slot.begin + r) = scale;
        if (i == UK_ROWS - 1 || r == slot.n - 1) {
            pack_group(o, &o->h8, index, &slot, r - i, i + 1, rows);
        }
    }
    set_flag(&o->h8.ready, index);
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* What a block of a product touches of the slots, its rows and n_weights weights, and its work. */
static void product_describe(const stages *o, const packed_rows *p, int64_t index, tile_range panel,
                             const op_weight_bank *const *banks, int64_t n_weights, double vector_ops, dsv4_describe *d)
{
    int64_t bytes = banks[0]->first.panel_bytes, n = (panel.end - panel.begin) * UK_PANEL * n_weights;
    int64_t m = tile_max((int64_t)(o->rows_per_slot + 0.5), 1);
    op_slots_reads(d, &o->a.slots);
    packed_touches(d, DSV4_READ, p, index);
    for (int64_t i = 0; i < n_weights; i++) {
        dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, banks[i]->view,
                   (dsv4_box){0, banks[i]->n, panel.begin * bytes, panel.end * bytes});
    }
    double gathered = (double)((panel.end - panel.begin) * bytes * n_weights) + o->rows_per_slot * (double)p->row_bytes;
    dsv4_costs(d, (dsv4_work){.ops_i8 = 2.0 * (double)(m * n) * (double)p->k,
                              .vector_ops = vector_ops * (double)(m * n),
                              .gathered_bytes = gathered,
                              .product = {.m = m, .n = n, .k = p->k}});
}

/* Sums of products, [ROW_TILE][UK_PANEL]. */
typedef union sums {
    int32_t i8[ROW_TILE * UK_PANEL];
    float fp4[ROW_TILE * UK_PANEL];
} sums;

/* Rows t of a slot times a panel of w. */
static void multiply(const stages *o, const packed_rows *p, const uk_acts *acts, tile_range t, const uk_packed *w, int64_t panel,
                     sums *s)
{
    uk_acts rows = {(const char *)acts->data + t.begin / UK_ROWS * acts->group_bytes, t.end - t.begin, acts->group_rows,
                    acts->group_bytes};
    if (p->is_fp4) {
        o->uk->gemm_fp4(rows, tile_count(p->k, UK_BLOCK_FP4), uk_panel_fp4(w, panel, 0), s->fp4, UK_PANEL);
    } else {
        o->uk->gemm_i8(rows, tile_count(p->k, 4), uk_panel_i8(w, panel, 0), w->correction + panel * UK_PANEL, s->i8, UK_PANEL);
    }
}

/* y[n] = (row r of the sums * row_scale) * col_scale[n], without the latter for FP4 weights. */
static void dequantise(const stages *o, int64_t n, const sums *s, int64_t r, float row_scale, const float *col_scale, float *y)
{
    if (col_scale == NULL) {
        o->uk->scale(n, s->fp4 + r * UK_PANEL, row_scale, y);
    } else {
        o->uk->dequant_i32(n, s->i8 + r * UK_PANEL, row_scale, col_scale, y);
    }
}

/* Scales of an expert's columns from col on; NULL: there are none. */
static const float *column_scales(const op_matrix *scale, int64_t expert, int64_t col)
{
    return scale->data != NULL ? op_matrix_f32(scale, expert, col) : NULL;
}

static void up_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const stages *o = arg;
    int64_t index = block / o->f_tiles, tile = block % o->f_tiles;
    tile_range panel = tile_at(tile, o->a.f_tile / UK_PANEL, o->w1.first.n_panels);
    product_describe(o, &o->x, index, panel, (const op_weight_bank *const[]){&o->w1, &o->w3}, 2, OP_SWIGLU_OPS, d);
    op_matrix_reads(d, &o->scale1);
    op_matrix_reads(d, &o->scale3);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, o->h.view, all_of(&o->h));
    dsv4_writes(d, o->up_ready.view, index, index + 1, tile, tile + 1);
}

typedef struct up_scratch {
    sums g, u;
    float up[UK_PANEL], rest[UK_PANEL];
} up_scratch;

static void up_panel(const stages *o, int64_t index, const op_slot *slot, int64_t panel, up_scratch *s)
{
    uk_acts acts = acts_of(&o->x, index, slot);
    uk_packed w1 = op_weight_bank_at(&o->w1, slot->expert), w3 = op_weight_bank_at(&o->w3, slot->expert);
    int64_t col = panel * UK_PANEL, n_cols = tile_min(UK_PANEL, o->h.cols - col);
    const float *scale1 = column_scales(&o->scale1, slot->expert, col), *scale3 = column_scales(&o->scale3, slot->expert, col);
    for (int64_t t = 0; t < slot->n; t += ROW_TILE) {
        tile_range rows = {t, tile_min(t + ROW_TILE, slot->n)};
        multiply(o, &o->x, &acts, rows, &w1, panel, &s->g);
        multiply(o, &o->x, &acts, rows, &w3, panel, &s->u);
        for (int64_t r = rows.begin; r < rows.end; r++) {
            float scale = *op_matrix_f32(&o->x.scale, 0, slot->begin + r), *h = op_matrix_f32(&o->h, slot->begin + r, col);
            dequantise(o, n_cols, &s->g, r - t, scale, scale1, h);
            dequantise(o, n_cols, &s->u, r - t, scale, scale3, s->up);
            op_swiglu(o->uk, n_cols, o->limit, h, s->up, s->rest);
        }
    }
}

static void up_run(const void *arg, int64_t block, void *scratch)
{
    const stages *o = arg;
    int64_t index = block / o->f_tiles;
    tile_range panels = tile_at(block % o->f_tiles, o->a.f_tile / UK_PANEL, o->w1.first.n_panels);
    op_slot slot = op_slot_at(&o->a.slots, index);
    for (int64_t panel = panels.begin; slot.n > 0 && panel < panels.end; panel++) {
        up_panel(o, index, &slot, panel, scratch);
    }
    set_flag(&o->up_ready, block);
}

static double share_of_up(const void *arg, int64_t block)
{
    const stages *o = arg;
    return share_of(o, block / o->f_tiles);
}

static void down_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const stages *o = arg;
    int64_t index = block / o->d_tiles, tile = block % o->d_tiles;
    tile_range panel = tile_at(tile, o->a.d_tile / UK_PANEL, o->w2.first.n_panels);
    product_describe(o, &o->h8, index, panel, (const op_weight_bank *const[]){&o->w2}, 1, 3, d);
    op_matrix_reads(d, &o->scale2);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, o->a.y.view, all_of(&o->a.y));
    dsv4_writes(d, o->down_ready.view, index, index + 1, tile, tile + 1);
}

typedef struct down_scratch {
    sums sums;
    float y[UK_PANEL];
} down_scratch;

static void down_panel(const stages *o, int64_t index, const op_slot *slot, int64_t panel, down_scratch *s)
{
    uk_acts acts = acts_of(&o->h8, index, slot);
    uk_packed w2 = op_weight_bank_at(&o->w2, slot->expert);
    int64_t col = panel * UK_PANEL, n_cols = tile_min(UK_PANEL, o->a.y.cols - col);
    const float *scale2 = column_scales(&o->scale2, slot->expert, col);
    for (int64_t t = 0; t < slot->n; t += ROW_TILE) {
        tile_range rows = {t, tile_min(t + ROW_TILE, slot->n)};
        multiply(o, &o->h8, &acts, rows, &w2, panel, &s->sums);
        for (int64_t r = rows.begin; r < rows.end; r++) {
            dequantise(o, n_cols, &s->sums, r - t, *op_matrix_f32(&o->h8.scale, 0, slot->begin + r), scale2, s->y);
            o->uk->narrow_bf16(n_cols, s->y, (uint16_t *)o->a.y.data + slot->route[r] * o->a.y.ld + col);
        }
    }
}

static void down_run(const void *arg, int64_t block, void *scratch)
{
    const stages *o = arg;
    int64_t index = block / o->d_tiles;
    tile_range panels = tile_at(block % o->d_tiles, o->a.d_tile / UK_PANEL, o->w2.first.n_panels);
    op_slot slot = op_slot_at(&o->a.slots, index);
    for (int64_t panel = panels.begin; slot.n > 0 && panel < panels.end; panel++) {
        down_panel(o, index, &slot, panel, scratch);
    }
    set_flag(&o->down_ready, block);
}

static double share_of_down(const void *arg, int64_t block)
{
    const stages *o = arg;
    return share_of(o, block / o->d_tiles);
}

/* ---- graph ----------------------------------------------------------------------------------------------------------------- */

dsv4_status op_experts_check(const op_context *c, dsv4_error *err)
{
    int64_t D = c->dims.of[OP_D], F = c->dims.of[OP_F];
    if (F == OP_UNKNOWN || F > UK_MAX_K_I8 || D > UK_MAX_K_I8) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: hidden_size=%lld, moe_intermediate_size=%lld, rule: from 1 to %d, INT32 sums must be exact",
                         c->op->name, (long long)D, (long long)(F == OP_UNKNOWN ? 0 : F), UK_MAX_K_I8);
    }
    return DSV4_OK;
}

dsv4_status op_experts_check_fp4(const op_context *c, dsv4_error *err)
{
    int64_t D = c->dims.of[OP_D], F = c->dims.of[OP_F] == OP_UNKNOWN ? 0 : c->dims.of[OP_F];
    if (F < 1 || F % UK_GROUP_FP4 != 0 || D % UK_GROUP_FP4 != 0) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: hidden_size=%lld, moe_intermediate_size=%lld, rule: multiples of %d, the inputs of an FP4 scale",
                         c->op->name, (long long)D, (long long)F, UK_GROUP_FP4);
    }
    return DSV4_OK;
}

static packed_rows packed_new(const op_context *c, const char *name, const op_slots *slots, int64_t k, bool is_fp4)
{
    packed_rows p = {.k = k, .row_bytes = is_fp4 ? uk_acts_bytes_fp4(1, k) : uk_acts_bytes_i8(c->uk, 1, k), .is_fp4 = is_fp4};
    p.data = op_matrix_new(c, name, 1, (slots->route.cols + (UK_ROWS - 1) * slots->n_slots) * p.row_bytes, DSV4_I8);
    p.scale = op_matrix_new(c, name, 1, slots->route.cols, DSV4_F32);
    p.ready = op_matrix_new(c, name, slots->n_slots, 1, DSV4_I8);
    return p;
}

static void add_stages(const op_context *c, const stages *o)
{
    int64_t n = o->a.slots.n_slots;
    dsv4_stage gather = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"expert.gather", n, gather_run, gather_describe, o, (size_t)(UK_ROWS * o->x.k), DSV4_VECTOR});
    dsv4_stage up = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"expert.up", n * o->f_tiles, up_run, up_describe, o, sizeof(up_scratch), DSV4_CUBE});
    dsv4_stage pack = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"expert.pack", n, pack_run, pack_describe, o, (size_t)(UK_ROWS * o->h8.k), DSV4_VECTOR});
    dsv4_stage down = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"expert.down", n * o->d_tiles, down_run, down_describe, o, sizeof(down_scratch), DSV4_CUBE});
    dsv4_graph_share(c->g, gather, share_of_rows);
    dsv4_graph_share(c->g, up, share_of_up);
    dsv4_graph_share(c->g, pack, share_of_rows);
    dsv4_graph_share(c->g, down, share_of_down);
}

/* The weights of a product; *scale stays without data where they are FP4, which are packed with their scales. */
static op_weight_bank pack_weights(const op_context *c, const op_experts *a, const char *name, const char *scale_name,
                                   op_matrix *scale)
{
    dsv4_tensor w = op_tensor_named(c, name), its_scale = op_tensor_named(c, scale_name);
    if (a->is_fp4) {
        return op_weight_bank_pack_fp4(c, name, &w, &its_scale);
    }
    *scale = op_matrix_of(c, scale_name, &its_scale, 1);
    return op_weight_bank_pack(c, name, &w);
}

op_expert_rows op_experts_add(const op_context *c, const op_experts *a)
{
    stages *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return (op_expert_rows){0};
    }
    *o = (stages){.uk = c->uk, .a = *a, .limit = (float)c->config->swiglu_limit};
    o->w1 = pack_weights(c, a, a->w1, a->scale1, &o->scale1);
    o->w3 = pack_weights(c, a, a->w3, a->scale3, &o->scale3);
    o->w2 = pack_weights(c, a, a->w2, a->scale2, &o->scale2);
    int64_t n_routes = a->slots.route.cols, n_slots = a->slots.n_slots, F = o->w1.first.n;
    o->rows_per_slot = (double)n_routes / (double)n_slots;
    o->f_tiles = tile_count(F, a->f_tile);
    o->d_tiles = tile_count(a->y.cols, a->d_tile);
    o->x = packed_new(c, "expert.x", &a->slots, a->x.cols, a->is_fp4);
    o->h8 = packed_new(c, "expert.h8", &a->slots, F, a->is_fp4);
    o->h = op_matrix_new(c, "expert.h", n_routes, F, DSV4_F32);
    o->up_ready = op_matrix_new(c, "expert.up_ready", n_slots, o->f_tiles, DSV4_I8);
    o->down_ready = op_matrix_new(c, "expert.down_ready", n_slots, o->d_tiles, DSV4_I8);
    add_stages(c, o);
    return (op_expert_rows){a->y, o->down_ready, a->d_tile};
}

void op_expert_rows_reads(dsv4_describe *d, const op_expert_rows *r, int64_t c0, int64_t c1)
{
    dsv4_reads(d, r->ready.view, 0, r->ready.rows, c0 / r->d_tile, tile_count(c1, r->d_tile));
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, r->y.view, (dsv4_box){0, r->y.rows, c0, c1});
}
