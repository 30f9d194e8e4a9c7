#include "cli/ablate/tiles.h"

#include "cli/ablate/pieces.h"

/* ---- grids ------------------------------------------------------------------------------------------------------------------ */

int64_t ablate_grid_blocks(const ablate_grid *g)
{
    return tile_count(g->rows, g->row_tile) * tile_count(g->cols, g->col_tile);
}

ablate_tile ablate_tile_at(const ablate_grid *g, int64_t block)
{
    int64_t n_cols = tile_count(g->cols, g->col_tile), r = block / n_cols, c = block % n_cols;
    tile_range row = tile_at(r, g->row_tile, g->rows);
    return (ablate_tile){{g->first_row + row.begin, g->first_row + row.end}, tile_at(c, g->col_tile, g->cols), r, c};
}

/* ---- boxes ------------------------------------------------------------------------------------------------------------------ */

const ablate_axis ablate_all = {.source = ABLATE_ALL}, ablate_rows = {.source = ABLATE_ROWS}, ablate_cols = {.source = ABLATE_COLS};

/* A range in units of a matrix, as `n` pieces `step` apart. */
typedef struct pieces {
    tile_range first;
    int64_t n, step;
} pieces;

static pieces pieces_of(const ablate_axis *axis, const ablate_tile *tile, int64_t extent)
{
    tile_range units[] = {[ABLATE_ALL] = {0, extent},
                          [ABLATE_ROWS] = tile->row,
                          [ABLATE_COLS] = tile->col,
                          [ABLATE_ROW_INDEX] = {tile->row_index, tile->row_index + 1},
                          [ABLATE_COL_INDEX] = {tile->col_index, tile->col_index + 1},
                          [ABLATE_FIXED] = {0, 1}};
    tile_range u = units[axis->source];
    int64_t scale = axis->scale > 0 ? axis->scale : 1, begin = u.begin * scale + axis->offset;
    if (axis->width > 0) {
        return (pieces){{begin, begin + axis->width}, u.end - u.begin, scale};
    }
    return (pieces){{begin, tile_min(u.end * scale + axis->offset, extent)}, 1, 0};
}

static void describe_use(dsv4_describe *d, const ablate_use *use, const ablate_tile *tile)
{
    pieces rows = pieces_of(&use->rows, tile, use->m->rows), cols = pieces_of(&use->cols, tile, use->m->cols);
    for (int64_t r = 0; r < rows.n; r++) {
        for (int64_t c = 0; c < cols.n; c++) {
            dsv4_touch(d, use->mode, use->m->view,
                       (dsv4_box){rows.first.begin + r * rows.step, rows.first.end + r * rows.step,
                                  cols.first.begin + c * cols.step, cols.first.end + c * cols.step});
        }
    }
}

/* ---- stages ----------------------------------------------------------------------------------------------------------------- */

static void describe_stage(const void *arg, int64_t block, dsv4_describe *d)
{
    const ablate_stage *s = arg;
    ablate_tile tile = ablate_tile_at(&s->grid, block);
    double units = (double)((tile.row.end - tile.row.begin) * (tile.col.end - tile.col.begin));
    for (int i = 0; i < ABLATE_MAX_USES && s->uses[i].mode != 0; i++) {
        describe_use(d, &s->uses[i], &tile);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = s->vector_ops * units,
                              .flops_bf16 = s->flops_bf16 * units,
                              .ops_i8 = s->ops_i8 * units,
                              .gathered_bytes = s->gathered_bytes * units,
                              .product = s->loads > 0 ? (dsv4_product){0, 0, s->loads, 1, 2} : s->product});
}

static void run_stage(const void *arg, int64_t block, void *scratch)
{
    const ablate_stage *s = arg;
    ablate_tile tile = ablate_tile_at(&s->grid, block);
    s->run(s, &tile, scratch);
}

/* The stage and the matrices that its uses point to. */
typedef struct kept_stage {
    ablate_stage stage;
    op_matrix matrices[ABLATE_MAX_USES];
} kept_stage;

void ablate_stage_add(const op_context *c, const ablate_stage *s)
{
    kept_stage *kept = dsv4_graph_memory(c->g, sizeof *kept);
    if (kept == NULL) {
        return;
    }
    kept->stage = *s;
    kept->stage.uk = c->uk;
    for (int i = 0; i < ABLATE_MAX_USES && s->uses[i].mode != 0; i++) {
        kept->matrices[i] = *s->uses[i].m;
        kept->stage.uses[i].m = &kept->matrices[i];
    }
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){s->name, ablate_grid_blocks(&s->grid), run_stage, describe_stage, &kept->stage,
                                              s->scratch_bytes, s->kind});
}

/* ---- products --------------------------------------------------------------------------------------------------------------- */

typedef struct product {
    const uk_table *uk;
    ablate_product p;
    int64_t T, K, N, k_share;
    int64_t a_bytes, b_bytes, sums; /* of scratch: a row group's K tile; a packed K tile; elements of t_inner x n_tile sums */
} product;

typedef struct product_block {
    tile_range t, n, k;
    int64_t share;
} product_block;

static product_block product_at(const product *p, int64_t block)
{
    int64_t n_t = tile_count(p->T, p->p.t_tile), rest = block / p->p.k_split, share = block % p->p.k_split;
    return (product_block){tile_at(rest % n_t, p->p.t_tile, p->T), tile_at(rest / n_t, p->p.n_tile * p->p.group, p->N),
                           tile_at(share, p->k_share, p->K), share};
}

static int64_t product_blocks(const product *p)
{
    return tile_count(p->N, p->p.n_tile * p->p.group) * tile_count(p->T, p->p.t_tile) * p->p.k_split;
}

/* One N tile of one inner row tile: its boxes are read again for each. */
static void describe_part(dsv4_describe *d, const product *p, const product_block *b, tile_range t, tile_range n)
{
    for (int64_t k = b->k.begin; k < b->k.end; k += p->p.k_tile) {
        tile_range tile = {k, tile_min(k + p->p.k_tile, b->k.end)};
        dsv4_reads(d, p->p.x.view, t.begin, t.end, tile.begin, tile.end);
        if (p->p.transposed) {
            dsv4_reads(d, p->p.w.view, n.begin, n.end, tile.begin, tile.end);
        } else {
            dsv4_reads(d, p->p.w.view, tile.begin, tile.end, n.begin, n.end);
        }
    }
    dsv4_writes(d, p->p.y.view, t.begin, t.end, b->share * p->N + n.begin, b->share * p->N + n.end);
}

static void describe_product(const void *arg, int64_t block, dsv4_describe *d)
{
    const product *p = arg;
    product_block b = product_at(p, block);
    int64_t parts = 0;
    for (int64_t n = b.n.begin; n < b.n.end; n += p->p.n_tile) {
        for (int64_t t = b.t.begin; t < b.t.end; t += p->p.t_inner, parts++) {
            describe_part(d, p, &b, (tile_range){t, tile_min(t + p->p.t_inner, b.t.end)},
                          (tile_range){n, tile_min(n + p->p.n_tile, b.n.end)});
        }
    }
    double ops = 2.0 * (double)(b.t.end - b.t.begin) * (double)(b.n.end - b.n.begin) * (double)(b.k.end - b.k.begin);
    dsv4_work work = {.product = {p->p.t_inner, p->p.n_tile, (b.k.end - b.k.begin) * parts, p->p.k_tile, p->p.ahead}};
    *(p->p.dtype == DSV4_I8 ? &work.ops_i8 : &work.flops_bf16) = ops;
    dsv4_costs(d, work);
}

/* The parts of a worker's scratch. */
typedef struct product_scratch {
    char *a, *b;
    void *sums, *part; /* F32 or I32 [t_inner, n_tile]: of all K tiles, of one */
} product_scratch;

static product_scratch cut_scratch(const product *p, void *scratch)
{
    char *a = scratch, *b = a + tile_count(p->p.t_inner, UK_ROWS) * p->a_bytes, *sums = b + p->b_bytes;
    return (product_scratch){a, b, sums, sums + p->sums * 4};
}

/* Loads a tile of x. */
static uk_acts load_x(const product *p, tile_range t, tile_range k, char *a)
{
    const op_matrix *x = &p->p.x;
    const void *first = p->p.dtype == DSV4_I8 ? (const void *)ablate_i8(x, t.begin, k.begin) : ablate_bf16(x, t.begin, k.begin);
    return ablate_pack_rows(p->uk, p->p.dtype, first, x->ld, t.end - t.begin, k.end - k.begin, a);
}

/* Loads a tile of w. */
static uk_packed load_w(const product *p, tile_range k, tile_range n, char *b)
{
    const op_matrix *w = &p->p.w;
    int64_t stride_k = p->p.transposed ? 1 : w->ld, stride_n = p->p.transposed ? w->ld : 1;
    int64_t first = k.begin * stride_k + n.begin * stride_n, nk = k.end - k.begin, nn = n.end - n.begin;
    return p->p.dtype == DSV4_I8 ? uk_pack_i8(p->uk, (const int8_t *)w->data + first, nk, nn, stride_k, stride_n, b)
                                 : uk_pack_bf16(p->uk, (const uint16_t *)w->data + first, nk, nn, stride_k, stride_n, b);
}

static void add_i32(int64_t n, const int32_t *x, int32_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

/* sums += or, for the first K tile, = the product of one tile of x and one of w. */
static void multiply(const product *p, uk_acts x, const uk_packed *w, bool first, const product_scratch *s)
{
    int64_t ld = p->p.n_tile, n = x.rows * ld;
    ablate_multiply(p->uk, p->p.dtype, x, w, first ? s->sums : s->part, ld);
    if (!first && p->p.dtype == DSV4_I8) {
        add_i32(n, s->part, s->sums);
    } else if (!first) {
        p->uk->add(n, s->part, s->sums);
    }
}

static void run_part(const product *p, const product_block *b, tile_range t, tile_range n, const product_scratch *s)
{
    for (int64_t k = b->k.begin; k < b->k.end; k += p->p.k_tile) {
        tile_range tile = {k, tile_min(k + p->p.k_tile, b->k.end)};
        uk_acts x = load_x(p, t, tile, s->a);
        uk_packed w = load_w(p, tile, n, s->b);
        multiply(p, x, &w, k == b->k.begin, s);
    }
    ablate_copy_sums(t.end - t.begin, n.end - n.begin, s->sums, p->p.n_tile,
                     ablate_i32(&p->p.y, t.begin, b->share * p->N + n.begin), p->p.y.ld);
}

static void run_product(const void *arg, int64_t block, void *scratch)
{
    const product *p = arg;
    product_block b = product_at(p, block);
    product_scratch s = cut_scratch(p, scratch);
    for (int64_t n = b.n.begin; n < b.n.end; n += p->p.n_tile) {
        for (int64_t t = b.t.begin; t < b.t.end; t += p->p.t_inner) {
            run_part(p, &b, (tile_range){t, tile_min(t + p->p.t_inner, b.t.end)},
                     (tile_range){n, tile_min(n + p->p.n_tile, b.n.end)}, &s);
        }
    }
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return tile_count(n, unit) * unit;
}

void ablate_product_add(const op_context *c, const ablate_product *add)
{
    product *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return;
    }
    bool is_i8 = add->dtype == DSV4_I8;
    *p = (product){.uk = c->uk, .p = *add, .T = add->x.rows, .K = add->x.cols};
    p->N = add->transposed ? add->w.rows : add->w.cols;
    p->p.t_tile = tile_min(add->t_tile, p->T);
    p->p.t_inner = tile_min(add->t_inner, p->p.t_tile);
    p->p.n_tile = round_up(tile_min(add->n_tile, p->N), UK_PANEL);
    p->k_share = round_up(tile_count(p->K, add->k_split), UK_ROWS);
    p->p.k_tile = tile_min(add->k_tile, p->k_share);
    p->a_bytes = ablate_group_bytes(c->uk, add->dtype, p->p.k_tile);
    size_t packed = is_i8 ? uk_pack_i8_bytes(p->p.k_tile, p->p.n_tile) : uk_pack_bf16_bytes(p->p.k_tile, p->p.n_tile);
    p->b_bytes = round_up((int64_t)packed, 64);
    p->sums = round_up(p->p.t_inner, UK_ROWS) * p->p.n_tile;
    int64_t scratch = tile_count(p->p.t_inner, UK_ROWS) * p->a_bytes + p->b_bytes + 2 * p->sums * 4;
    dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){add->name, product_blocks(p), run_product, describe_product, p, (size_t)scratch, DSV4_CUBE});
}
