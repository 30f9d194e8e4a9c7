#include "model/step/linear.h"

#include "ops/chunk.h"

enum {
    BLOCKS_PER_THREAD = 4,
    NEAR_BYTES = 512 << 10, /* packed rows that stay near a core while panels pass by */
    MAX_ROW_TILE = 128,
    MAX_WEIGHT_BYTES = 4 << 20, /* of a block: none holds up the end of a stage for long */
    PACK_VALUES = 4096,         /* of a packing block at least: some microseconds' work */
    ALIGNED_FLOATS = 16         /* 64 bytes */
};

int64_t step_column_tile(const step *s, int64_t n, int64_t n_others)
{
    int64_t panels = tile_count(n, UK_PANEL), wanted = tile_count((int64_t)BLOCKS_PER_THREAD * s->n_threads, n_others);
    return tile_max(panels / wanted, 1) * UK_PANEL;
}

/* ---- packing a matrix -------------------------------------------------------------------------------------------------- */

typedef struct operand_stage {
    step_operand y;
    step_matrix x; /* without data: product */
    step_product product;
    int64_t groups_per_block;
} operand_stage;

static int64_t n_groups(const operand_stage *o)
{
    return tile_count(o->y.rows, UK_ROWS);
}

/* A block packs some groups of one piece. */
typedef struct operand_block {
    int64_t piece;
    tile_range group, t;
} operand_block;

static operand_block operand_block_at(const operand_stage *o, int64_t block)
{
    operand_block b = {.piece = block % o->y.n_pieces, .group = tile_at(block / o->y.n_pieces, o->groups_per_block, n_groups(o))};
    b.t = (tile_range){b.group.begin * UK_ROWS, tile_min(b.group.end * UK_ROWS, o->y.rows)};
    return b;
}

static step_acts acts_of(const step_operand *x, int64_t piece)
{
    return step_acts_in(&x->packing, x->rows, (char *)x->packed.data + piece * x->packed.ld);
}

/* Declares the packed rows of groups of a piece, all parts. */
static void touch_packed(dsv4_describe *d, int mode, const step_operand *x, int64_t piece, tile_range group)
{
    step_acts a = acts_of(x, piece);
    for (int64_t part = 0; part < a.parts; part++) {
        int64_t at = part * a.part_bytes;
        dsv4_touch(d, mode, x->packed.view,
                   (dsv4_box){piece, piece + 1, at + group.begin * a.group_bytes, at + group.end * a.group_bytes});
    }
}

static void operand_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const operand_stage *o = arg;
    operand_block b = operand_block_at(o, block);
    int64_t k = o->y.packing.k;
    if (o->x.m.data != NULL) {
        dsv4_reads(d, o->x.m.view, b.t.begin, b.t.end, b.piece * k, (b.piece + 1) * k);
    } else {
        step_product_reads(d, &o->product, b.t.begin, b.t.end, b.piece * k, (b.piece + 1) * k);
    }
    touch_packed(d, DSV4_WRITE, &o->y, b.piece, b.group);
    if (o->y.scale.data != NULL) {
        dsv4_writes(d, o->y.scale.view, b.t.begin, b.t.end, b.piece, b.piece + 1);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)((b.t.end - b.t.begin) * k)});
}

static void load_row(const operand_stage *o, int64_t t, int64_t piece, float *dst)
{
    const step_packing *p = &o->y.packing;
    if (o->x.m.data != NULL) {
        step_load(p->uk, &o->x, t, piece * p->k, p->k, dst);
    } else {
        step_product_row(p->uk, &o->product, t, piece * p->k, (piece + 1) * p->k, dst);
    }
}

/* Floats of UK_ROWS rows, such that what lies behind them in scratch is aligned. */
static int64_t group_floats(const step_packing *p)
{
    return tile_count(UK_ROWS * p->k, ALIGNED_FLOATS) * ALIGNED_FLOATS;
}

static void operand_run(const void *arg, int64_t block, void *scratch)
{
    const operand_stage *o = arg;
    operand_block b = operand_block_at(o, block);
    int64_t k = o->y.packing.k;
    step_acts a = acts_of(&o->y, b.piece);
    float *values = scratch, scales[UK_ROWS] = {0};
    const float *rows[UK_ROWS];
    for (int64_t group = b.group.begin; group < b.group.end; group++) {
        int64_t first = group * UK_ROWS, n = tile_min(o->y.rows - first, UK_ROWS);
        for (int64_t r = 0; r < n; r++) {
            rows[r] = values + r * k;
            load_row(o, first + r, b.piece, values + r * k);
        }
        step_pack_group(&o->y.packing, group, rows, &a, scales, values + group_floats(&o->y.packing));
        for (int64_t r = 0; o->y.scale.data != NULL && r < n; r++) {
            *op_matrix_f32(&o->y.scale, first + r, b.piece) = scales[r];
        }
    }
}

static step_operand add_operand(const step *s, const char *stage, operand_stage *o, int64_t rows, int64_t k, model_form form,
                                int64_t n_pieces)
{
    o->y = (step_operand){.packing = step_packing_for(s, form, k), .rows = rows, .n_pieces = n_pieces};
    o->y.packed = op_matrix_new(&s->op, stage, n_pieces, step_acts_bytes(&o->y.packing, rows), DSV4_I8);
    if (o->y.packing.kind != STEP_PACK_BF16) {
        o->y.scale = op_matrix_new(&s->op, stage, rows, n_pieces, DSV4_F32);
    }
    o->groups_per_block = tile_max(PACK_VALUES / (UK_ROWS * k), 1);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){.name = stage,
                                                 .n_blocks = n_pieces * tile_count(n_groups(o), o->groups_per_block),
                                                 .run = operand_run,
                                                 .describe = operand_describe,
                                                 .arg = o,
                                                 .scratch_bytes = (size_t)group_floats(&o->y.packing) * sizeof(float) +
                                                                  step_pack_scratch(&o->y.packing),
                                                 .kind = DSV4_VECTOR});
    return o->y;
}

step_operand step_operand_add(const step *s, const char *stage, step_matrix x, model_form form, int64_t n_pieces)
{
    operand_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_operand){0};
    }
    o->x = x;
    return add_operand(s, stage, o, x.m.rows, x.m.cols / n_pieces, form, n_pieces);
}

step_operand step_operand_add_product(const step *s, const char *stage, const step_product *x, model_form form)
{
    operand_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_operand){0};
    }
    o->product = *x;
    return add_operand(s, stage, o, x->rows, x->cols, form, 1);
}

/* ---- multiplying ------------------------------------------------------------------------------------------------------- */

typedef struct linear_stage {
    step_operand x;
    model_weight w;
    step_product y;
    dsv4_view panels; /* row p is panel p, columns are bytes */
    int64_t t_tile, panel_tile, k_split;
} linear_stage;

typedef struct linear_block {
    tile_range t, panel, chunk;
    int64_t piece;
} linear_block;

static int64_t panels_per_piece(const linear_stage *l)
{
    return l->w.packed.n_panels / l->x.n_pieces;
}

/* Blocks of one column tile are neighbours, so a worker's share of the stage is a range of panels. */
static linear_block linear_block_at(const linear_stage *l, int64_t block)
{
    int64_t n_t = tile_count(l->y.rows, l->t_tile), tiles = tile_count(panels_per_piece(l), l->panel_tile);
    int64_t rest = block / l->k_split / n_t;
    linear_block b = {.piece = rest / tiles};
    b.t = tile_at(block / l->k_split % n_t, l->t_tile, l->y.rows);
    b.chunk = tile_part(block % l->k_split, l->k_split, op_chunks(l->x.packing.k));
    b.panel = tile_at(rest % tiles, l->panel_tile, panels_per_piece(l));
    b.panel.begin += b.piece * panels_per_piece(l);
    b.panel.end += b.piece * panels_per_piece(l);
    return b;
}

/* Columns of the view of the panels that hold the chunks of a block. */
static tile_range panel_bytes_of(const linear_stage *l, tile_range chunk)
{
    int64_t all = l->w.packed.panel_bytes, n = op_chunks(l->x.packing.k);
    return (tile_range){chunk.begin * all / n, chunk.end * all / n};
}

static void linear_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const linear_stage *l = arg;
    linear_block b = linear_block_at(l, block);
    tile_range bytes = panel_bytes_of(l, b.chunk), k = op_chunk_cols(b.chunk, l->x.packing.k);
    touch_packed(d, DSV4_READ, &l->x, b.piece, (tile_range){b.t.begin / UK_ROWS, tile_count(b.t.end, UK_ROWS)});
    dsv4_reads(d, l->panels, b.panel.begin, b.panel.end, bytes.begin, bytes.end);
    tile_range partial = l->y.n_partials == 1 ? (tile_range){0, 1} : b.chunk;
    for (int64_t p = partial.begin; p < partial.end; p++) {
        dsv4_writes(d, l->y.sums.view, p * l->y.rows + b.t.begin, p * l->y.rows + b.t.end, b.panel.begin * UK_PANEL,
                    b.panel.end * UK_PANEL);
    }
    dsv4_costs(d, step_product_work(&l->x.packing, b.t.end - b.t.begin, (b.panel.end - b.panel.begin) * UK_PANEL, k.end - k.begin));
}

static void linear_run(const void *arg, int64_t block, void *scratch)
{
    const linear_stage *l = arg;
    linear_block b = linear_block_at(l, block);
    step_acts a = acts_of(&l->x, b.piece);
    int64_t ld = l->y.sums.ld;
    for (int64_t panel = b.panel.begin; panel < b.panel.end; panel++) {
        if (l->w.form == MODEL_FORM_I8) {
            step_panel_i32(&l->x.packing, &l->w, &a, b.t.begin, b.t.end, panel,
                           op_matrix_i32(&l->y.sums, b.t.begin, panel * UK_PANEL), ld);
            continue;
        }
        float *c = op_matrix_f32(&l->y.sums, b.t.begin, panel * UK_PANEL);
        if (l->y.n_partials == 1) {
            step_panel(&l->x.packing, &l->w, &a, b.t.begin, b.t.end, panel, b.chunk.begin, b.chunk.end, c, ld, scratch);
            continue;
        }
        for (int64_t chunk = b.chunk.begin; chunk < b.chunk.end; chunk++) {
            step_panel(&l->x.packing, &l->w, &a, b.t.begin, b.t.end, panel, chunk, chunk + 1, c + chunk * l->y.rows * ld, ld,
                       scratch);
        }
    }
}

static void choose_tiles(const step *s, linear_stage *l)
{
    const step_packing *p = &l->x.packing;
    int64_t wanted = (int64_t)BLOCKS_PER_THREAD * s->n_threads, near_rows = NEAR_BYTES / step_acts_bytes(p, UK_ROWS) * UK_ROWS;
    l->t_tile = tile_min(tile_max(tile_min(near_rows, MAX_ROW_TILE), UK_ROWS), l->x.rows);
    int64_t n_t = tile_count(l->x.rows, l->t_tile) * l->x.n_pieces, panels = panels_per_piece(l);
    l->panel_tile = tile_min(step_column_tile(s, panels * UK_PANEL, n_t) / UK_PANEL, panels);
    l->panel_tile = tile_min(l->panel_tile, tile_max(MAX_WEIGHT_BYTES / l->w.packed.panel_bytes, 1));
    bool splits = n_t * panels < wanted && p->kind != STEP_PACK_I8 && p->parts == 1;
    l->k_split = splits ? tile_min(op_chunks(p->k), tile_count(wanted, n_t * panels)) : 1;
}

step_product step_linear_add(const step *s, const char *stage, const step_operand *x, const model_weight *w, bool rounds)
{
    linear_stage *l = dsv4_graph_memory(s->op.g, sizeof *l);
    if (l == NULL) {
        return (step_product){0};
    }
    *l = (linear_stage){.x = *x, .w = *w};
    choose_tiles(s, l);
    l->y = (step_product){.rows = x->rows, .n_partials = l->k_split == 1 ? 1 : op_chunks(x->packing.k), .cols = w->packed.n};
    l->y.row_scale = x->scale;
    l->y.piece_cols = w->packed.n / x->n_pieces;
    l->y.col_scale = w->form == MODEL_FORM_I8 ? w->scales : NULL;
    l->y.rounds = rounds && s->numerics->dtype == DSV4_BF16;
    l->y.sums = op_sums_new(&s->op, stage, l->y.n_partials * x->rows, w->packed.n_panels * UK_PANEL,
                            w->form == MODEL_FORM_I8 ? DSV4_I32 : DSV4_F32);
    l->panels = dsv4_graph_view(s->op.g, stage, w->packed.panels, w->packed.n_panels, w->packed.panel_bytes, 1,
                                (size_t)w->packed.panel_bytes);
    int64_t n_blocks = tile_count(x->rows, l->t_tile) * x->n_pieces * tile_count(panels_per_piece(l), l->panel_tile) * l->k_split;
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){.name = stage,
                                                 .n_blocks = n_blocks,
                                                 .run = linear_run,
                                                 .describe = linear_describe,
                                                 .arg = l,
                                                 .scratch_bytes = step_panel_scratch(&l->x.packing, l->t_tile),
                                                 .kind = DSV4_CUBE});
    return l->y;
}

/* ---- reading a product --------------------------------------------------------------------------------------------------- */

void step_product_reads(dsv4_describe *d, const step_product *y, int64_t t0, int64_t t1, int64_t c0, int64_t c1)
{
    for (int64_t p = 0; p < y->n_partials; p++) {
        dsv4_reads(d, y->sums.view, p * y->rows + t0, p * y->rows + t1, c0, c1);
    }
    if (y->row_scale.data != NULL) {
        dsv4_reads(d, y->row_scale.view, t0, t1, c0 / y->piece_cols, (c1 - 1) / y->piece_cols + 1);
    }
}

void step_product_row(const uk_table *uk, const step_product *y, int64_t t, int64_t c0, int64_t c1, float *dst)
{
    if (y->col_scale == NULL) {
        uk->sum_parts(c1 - c0, y->n_partials, op_matrix_f32(&y->sums, t, c0), y->rows * y->sums.ld, dst);
    }
    for (int64_t c = c0; y->row_scale.data != NULL && c < c1;) {
        int64_t piece = c / y->piece_cols, end = tile_min((piece + 1) * y->piece_cols, c1);
        float scale = *op_matrix_f32(&y->row_scale, t, piece), *x = dst + (c - c0);
        if (y->col_scale == NULL) {
            uk->scale(end - c, x, scale, x);
        } else {
            uk->dequant_i32(end - c, op_matrix_i32(&y->sums, t, c), scale, y->col_scale + c, x);
        }
        c = end;
    }
    if (y->rounds) {
        step_round_bf16(uk, c1 - c0, dst);
    }
}
