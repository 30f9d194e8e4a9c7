#include "model/step/experts.h"

#include "ops/chunk.h"
#include "ops/slots.h"
#include "ops/swiglu.h"

enum { ROW_TILE = 64 /* rows that pass a panel together, a multiple of UK_ROWS */ };

/* A product of the rows of slots: from packed rows to columns of a result. */
typedef struct slot_product {
    step_packing packing;
    op_matrix packed, scale; /* of places */
    int64_t row_bytes;       /* that a packed row takes at most, but for the last 7 rows of a slot */
    int64_t panel_tile, n_tiles, n_panels;
    op_matrix packed_ready; /* I8 [slots, 1] */
    op_matrix ready;        /* I8 [slots, n_tiles]: of the result */
} slot_product;

typedef struct experts {
    const uk_table *uk;
    const step_rows *rows;
    step_matrix x, hidden, y;
    op_matrix experts, weights; /* [T, K] */
    op_slots slots;
    slot_product up, down;
    model_expert_bank w1, w3, w2;
    dsv4_view w1_view, w3_view, w2_view; /* row e is expert e, columns are bytes */
    int64_t K, F, D;
    double rows_per_slot; /* in the middle, where all slots are in use */
    float limit;
    bool rounds;
} experts;

/* ---- slots ----------------------------------------------------------------------------------------------------------------- */

static void plan_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const experts *o = arg;
    (void)block;
    op_matrix_reads(d, &o->experts);
    op_slots_writes(d, &o->slots);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)(o->experts.rows * o->K + o->slots.n_experts)});
}

static void plan_run(const void *arg, int64_t block, void *scratch)
{
    const experts *o = arg;
    (void)block;
    op_slots_fill(&o->slots, op_matrix_ints(&o->experts), o->rows->n * o->K, scratch);
}

/* The packed rows of a slot begin behind room for 7 more in each slot before it: groups are padded to UK_ROWS rows. */
static step_acts acts_of(const slot_product *p, int64_t index, op_slot slot)
{
    char *at = (char *)p->packed.data + (slot.begin + (UK_ROWS - 1) * index) * p->row_bytes;
    return step_acts_in(&p->packing, slot.n, at);
}

static int64_t packed_bytes(const step_packing *p, int64_t n_routes, int64_t n_slots)
{
    return (n_routes + (UK_ROWS - 1) * n_slots) * step_acts_bytes(p, 1);
}

static double share_of_slot(const experts *o, int64_t index)
{
    return op_slot_at(&o->slots, index).n > 0 ? 1 : 0;
}

static dsv4_box all_of(const op_matrix *m)
{
    return (dsv4_box){0, m->rows, 0, m->cols};
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

/* What of p a block that packs rows touches. */
static void pack_touches(dsv4_describe *d, const slot_product *p, int64_t index)
{
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, p->packed.view, all_of(&p->packed));
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, p->scale.view, all_of(&p->scale));
    dsv4_writes(d, p->packed_ready.view, index, index + 1, 0, 1);
}

/* Packs the rows of a slot: its tokens' rows of `from`, or those at its places. */
static void pack_slot(const experts *o, const slot_product *p, const step_matrix *from, bool by_token, int64_t index,
                      float *scratch)
{
    op_slot slot = op_slot_at(&o->slots, index);
    step_acts acts = acts_of(p, index, slot);
    int64_t k = p->packing.k;
    const float *rows[UK_ROWS];
    for (int64_t r = 0; r < slot.n; r++) {
        int64_t i = r % UK_ROWS;
        rows[i] = scratch + i * k;
        step_load(o->uk, from, by_token ? slot.route[r] / o->K : slot.begin + r, 0, k, scratch + i * k);
        if (i == UK_ROWS - 1 || r == slot.n - 1) {
            step_pack_group(&p->packing, r / UK_ROWS, rows, &acts, op_matrix_f32(&p->scale, 0, slot.begin + r - i),
                            scratch + UK_ROWS * k);
        }
    }
    ((int8_t *)p->packed_ready.data)[index] = 1;
}

static void gather_describe(const void *arg, int64_t index, dsv4_describe *d)
{
    const experts *o = arg;
    double values = o->rows_per_slot * (double)o->D;
    op_slots_reads(d, &o->slots);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->x.m.view, all_of(&o->x.m));
    pack_touches(d, &o->up, index);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * values, .gathered_bytes = values * (double)dsv4_dtype_bytes(o->x.dtype)});
}

static void gather_run(const void *arg, int64_t index, void *scratch)
{
    const experts *o = arg;
    pack_slot(o, &o->up, &o->x, true, index, scratch);
}

static void pack_describe(const void *arg, int64_t index, dsv4_describe *d)
{
    const experts *o = arg;
    double values = o->rows_per_slot * (double)o->F;
    op_slots_reads(d, &o->slots);
    dsv4_reads(d, o->up.ready.view, index, index + 1, 0, o->up.n_tiles);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->hidden.m.view, all_of(&o->hidden.m));
    pack_touches(d, &o->down, index);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * values, .gathered_bytes = values * (double)dsv4_dtype_bytes(o->hidden.dtype)});
}

static void pack_run(const void *arg, int64_t index, void *scratch)
{
    const experts *o = arg;
    pack_slot(o, &o->down, &o->hidden, false, index, scratch);
}

static double share_of_pack(const void *arg, int64_t block)
{
    return share_of_slot(arg, block);
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* Declares what a block of a product reads of slots, packed rows and n_weights weights, and its work. */
static void product_describe(dsv4_describe *d, const experts *o, const slot_product *p, int64_t block, const dsv4_view *views,
                             const model_expert_bank *const *banks, int64_t n_weights, double vector_ops)
{
    int64_t index = block / p->n_tiles;
    tile_range panel = tile_at(block % p->n_tiles, p->panel_tile, p->n_panels);
    double gathered = o->rows_per_slot * (double)p->row_bytes;
    op_slots_reads(d, &o->slots);
    dsv4_reads(d, p->packed_ready.view, index, index + 1, 0, 1);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, p->packed.view, all_of(&p->packed));
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, p->scale.view, all_of(&p->scale));
    for (int64_t i = 0; i < n_weights; i++) {
        int64_t bytes = banks[i]->first.packed.panel_bytes;
        dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, views[i],
                   (dsv4_box){0, banks[i]->n_experts, panel.begin * bytes, panel.end * bytes});
        gathered += (double)((panel.end - panel.begin) * bytes);
    }
    dsv4_writes(d, p->ready.view, index, index + 1, block % p->n_tiles, block % p->n_tiles + 1);
    int64_t m = tile_max((int64_t)(o->rows_per_slot + 0.5), 1), n = (panel.end - panel.begin) * UK_PANEL;
    dsv4_work work = step_product_work(&p->packing, m, n * n_weights, p->packing.k);
    work.vector_ops = vector_ops * (double)(m * n);
    work.gathered_bytes = gathered;
    dsv4_costs(d, work);
}

/* Row r of a product with a panel of w, what is left to do with it done: scales, rounding. */
static void finish_row(const experts *o, const slot_product *p, const model_weight *w, int64_t place, int64_t panel, float *row)
{
    if (p->packing.kind != STEP_PACK_BF16) {
        o->uk->scale(UK_PANEL, row, *op_matrix_f32(&p->scale, 0, place), row);
    }
    if (w->form == MODEL_FORM_I8) {
        o->uk->scale_cols(UK_PANEL, row, w->scales + panel * UK_PANEL, row);
    }
    if (o->rounds) {
        step_round_bf16(o->uk, UK_PANEL, row);
    }
}

static void up_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const experts *o = arg;
    product_describe(d, o, &o->up, block, (dsv4_view[]){o->w1_view, o->w3_view}, (const model_expert_bank *[]){&o->w1, &o->w3}, 2,
                     OP_SWIGLU_OPS);
    op_matrix_reads(d, &o->weights);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, o->hidden.m.view, all_of(&o->hidden.m));
}

/* Rows t of a slot, and a panel. */
typedef struct slot_tile {
    op_slot slot;
    step_acts acts;
    tile_range t;
    int64_t panel;
} slot_tile;

typedef void tile_fn(const experts *o, const slot_tile *tile, float *scratch);

/* All tiles of a block. */
static void product_run(const experts *o, const slot_product *p, int64_t block, tile_fn *run_tile, float *scratch)
{
    int64_t index = block / p->n_tiles;
    slot_tile tile = {.slot = op_slot_at(&o->slots, index)};
    ((int8_t *)p->ready.data)[block] = 1;
    if (tile.slot.n == 0) {
        return;
    }
    tile_range panels = tile_at(block % p->n_tiles, p->panel_tile, p->n_panels);
    tile.acts = acts_of(p, index, tile.slot);
    for (tile.panel = panels.begin; tile.panel < panels.end; tile.panel++) {
        for (int64_t t = 0; t < tile.slot.n; t += ROW_TILE) {
            tile.t = (tile_range){t, tile_min(t + ROW_TILE, tile.slot.n)};
            run_tile(o, &tile, scratch);
        }
    }
}

/* The tile's rows through its panel of w. */
static void multiply(const slot_product *p, const model_weight *w, const slot_tile *tile, float *y, float *rest)
{
    step_panel(&p->packing, w, &tile->acts, tile->t.begin, tile->t.end, tile->panel, 0, op_chunks(p->packing.k), y, UK_PANEL, rest);
}

static void up_tile(const experts *o, const slot_tile *tile, float *scratch)
{
    const slot_product *p = &o->up;
    const op_slot *slot = &tile->slot;
    model_weight w1 = model_expert_weight(&o->w1, slot->expert), w3 = model_expert_weight(&o->w3, slot->expert);
    float *g = scratch, *u = g + ROW_TILE * UK_PANEL, *rest = u + ROW_TILE * UK_PANEL;
    int64_t col = tile->panel * UK_PANEL, n_cols = tile_min(UK_PANEL, o->F - col);
    multiply(p, &w1, tile, g, rest);
    multiply(p, &w3, tile, u, rest);
    for (int64_t r = tile->t.begin; r < tile->t.end; r++, g += UK_PANEL, u += UK_PANEL) {
        finish_row(o, p, &w1, slot->begin + r, tile->panel, g);
        finish_row(o, p, &w3, slot->begin + r, tile->panel, u);
        op_swiglu(o->uk, n_cols, o->limit, g, u, rest);
        o->uk->scale(n_cols, g, ((const float *)o->weights.data)[slot->route[r]], g);
        step_store(o->uk, &o->hidden, slot->begin + r, col, n_cols, g);
    }
}

static void up_run(const void *arg, int64_t block, void *scratch)
{
    const experts *o = arg;
    product_run(o, &o->up, block, up_tile, scratch);
}

static double share_of_up(const void *arg, int64_t block)
{
    const experts *o = arg;
    return share_of_slot(o, block / o->up.n_tiles);
}

static void down_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const experts *o = arg;
    product_describe(d, o, &o->down, block, &o->w2_view, (const model_expert_bank *[]){&o->w2}, 1, 1);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, o->y.m.view, all_of(&o->y.m));
}

static void down_tile(const experts *o, const slot_tile *tile, float *scratch)
{
    const slot_product *p = &o->down;
    const op_slot *slot = &tile->slot;
    model_weight w2 = model_expert_weight(&o->w2, slot->expert);
    float *y = scratch;
    int64_t col = tile->panel * UK_PANEL, n_cols = tile_min(UK_PANEL, o->D - col);
    multiply(p, &w2, tile, y, y + ROW_TILE * UK_PANEL);
    for (int64_t r = tile->t.begin; r < tile->t.end; r++, y += UK_PANEL) {
        finish_row(o, p, &w2, slot->begin + r, tile->panel, y);
        step_store(o->uk, &o->y, slot->route[r], col, n_cols, y);
    }
}

static void down_run(const void *arg, int64_t block, void *scratch)
{
    const experts *o = arg;
    product_run(o, &o->down, block, down_tile, scratch);
}

static double share_of_down(const void *arg, int64_t block)
{
    const experts *o = arg;
    return share_of_slot(o, block / o->down.n_tiles);
}

/* ---- graph ----------------------------------------------------------------------------------------------------------------- */

static slot_product product_new(const step *s, const char *name, const model_expert_bank *bank, op_matrix packed, op_matrix scale,
                                int64_t n_slots, int64_t n_busy)
{
    const uk_packed *w = &bank->first.packed;
    slot_product p = {.packing = step_packing_for(s, bank->first.form, w->k), .packed = packed, .scale = scale};
    p.row_bytes = step_acts_bytes(&p.packing, 1);
    p.n_panels = w->n_panels;
    p.panel_tile = tile_min(step_column_tile(s, w->n, n_busy) / UK_PANEL, w->n_panels);
    p.n_tiles = tile_count(p.n_panels, p.panel_tile);
    p.packed_ready = op_matrix_new(&s->op, name, n_slots, 1, DSV4_I8);
    p.ready = op_matrix_new(&s->op, name, n_slots, p.n_tiles, DSV4_I8);
    return p;
}

static dsv4_view bank_view(const step *s, const char *name, const model_expert_bank *bank)
{
    const uk_packed *w = &bank->first.packed;
    return dsv4_graph_view(s->op.g, name, w->panels, bank->n_experts, w->n_panels * w->panel_bytes, 1, bank->stride);
}

static void add_stages(const step *s, const experts *o)
{
    int64_t n = o->slots.n_slots;
    size_t tile_bytes = (size_t)(ROW_TILE * UK_PANEL) * sizeof(float);
    size_t up_bytes = 2 * tile_bytes + step_panel_scratch(&o->up.packing, ROW_TILE);
    size_t down_bytes = tile_bytes + step_panel_scratch(&o->down.packing, ROW_TILE);
    size_t gather_bytes = (size_t)(UK_ROWS * o->D) * sizeof(float) + step_pack_scratch(&o->up.packing);
    size_t pack_bytes = (size_t)(UK_ROWS * o->F) * sizeof(float) + step_pack_scratch(&o->down.packing);
    dsv4_graph_stage(s->op.g,
                     &(dsv4_stage_desc){"moe.plan", 1, plan_run, plan_describe, o, op_slots_scratch(&o->slots), DSV4_VECTOR});
    dsv4_stage gather =
        dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"moe.gather", n, gather_run, gather_describe, o, gather_bytes, DSV4_VECTOR});
    dsv4_stage up =
        dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"moe.up", n * o->up.n_tiles, up_run, up_describe, o, up_bytes, DSV4_CUBE});
    dsv4_stage pack =
        dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"moe.pack", n, pack_run, pack_describe, o, pack_bytes, DSV4_VECTOR});
    dsv4_stage down = dsv4_graph_stage(
        s->op.g, &(dsv4_stage_desc){"moe.down", n * o->down.n_tiles, down_run, down_describe, o, down_bytes, DSV4_CUBE});
    dsv4_graph_share(s->op.g, gather, share_of_pack);
    dsv4_graph_share(s->op.g, up, share_of_up);
    dsv4_graph_share(s->op.g, pack, share_of_pack);
    dsv4_graph_share(s->op.g, down, share_of_down);
}

/* Slots that a step fills likely at least: its tokens share experts. */
static int64_t busy_slots(int64_t n_slots, int64_t K)
{
    return tile_max(tile_min(K, n_slots), n_slots / 4);
}

step_expert_rows step_experts_add(const step *s, const step_moe_room *room, const model_block_weights *w, step_matrix x,
                                  op_matrix routed, op_matrix weights)
{
    experts *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_expert_rows){0};
    }
    *o = (experts){.uk = s->op.uk,
                   .rows = s->rows,
                   .x = x,
                   .hidden = room->hidden,
                   .y = room->y,
                   .experts = routed,
                   .weights = weights,
                   .w1 = w->w1,
                   .w3 = w->w3,
                   .w2 = w->w2,
                   .K = routed.cols,
                   .F = w->w1.first.packed.n,
                   .D = x.m.cols,
                   .limit = (float)s->config->swiglu_limit,
                   .rounds = s->numerics->dtype == DSV4_BF16};
    int64_t n_routes = routed.rows * routed.cols;
    o->slots = op_slots_new(&s->op, "moe.slots", w->w1.n_experts, n_routes);
    o->rows_per_slot = (double)n_routes / (double)o->slots.n_slots;
    int64_t n_busy = busy_slots(o->slots.n_slots, o->K);
    o->up = product_new(s, "moe.up.ready", &o->w1, room->x, room->x_scale, o->slots.n_slots, n_busy);
    o->down = product_new(s, "moe.down.ready", &o->w2, room->h, room->h_scale, o->slots.n_slots, n_busy);
    o->w1_view = bank_view(s, "w1", &o->w1);
    o->w3_view = bank_view(s, "w3", &o->w3);
    o->w2_view = bank_view(s, "w2", &o->w2);
    add_stages(s, o);
    return (step_expert_rows){o->y, o->down.ready, o->down.panel_tile * UK_PANEL};
}

void step_expert_rows_reads(dsv4_describe *d, const step_expert_rows *r, int64_t c0, int64_t c1)
{
    dsv4_reads(d, r->ready.view, 0, r->ready.rows, c0 / r->column_tile, tile_count(c1, r->column_tile));
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, r->y.m.view, (dsv4_box){0, r->y.m.rows, c0, c1});
}

step_moe_room step_moe_room_new(const step *s, const model_weights *w)
{
    int64_t n_routes = s->T * s->config->num_experts_per_tok, n_slots = tile_min(s->config->n_routed_experts, n_routes),
            x_bytes = 0, h_bytes = 0;
    for (int i = 0; i < w->n_blocks; i++) {
        const model_weight *up = &w->blocks[i].w1.first, *down = &w->blocks[i].w2.first;
        step_packing x = step_packing_for(s, up->form, up->packed.k), h = step_packing_for(s, down->form, down->packed.k);
        x_bytes = tile_max(x_bytes, packed_bytes(&x, n_routes, n_slots));
        h_bytes = tile_max(h_bytes, packed_bytes(&h, n_routes, n_slots));
    }
    return (step_moe_room){.x = op_matrix_new(&s->op, "moe.x", 1, x_bytes, DSV4_I8),
                           .h = op_matrix_new(&s->op, "moe.h", 1, h_bytes, DSV4_I8),
                           .x_scale = op_matrix_new(&s->op, "moe.x_scale", 1, n_routes, DSV4_F32),
                           .h_scale = op_matrix_new(&s->op, "moe.h_scale", 1, n_routes, DSV4_F32),
                           .hidden = step_matrix_new(s, "moe.hidden", n_routes, s->config->moe_intermediate_size),
                           .y = step_matrix_new(s, "moe.y", n_routes, s->config->dims.hidden_size)};
}
