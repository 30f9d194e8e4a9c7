#include "ops/acts.h"

enum { TILE_COLS = 2048 }; /* BF16 columns of a block; of narrower rows it takes more row groups: some microseconds' work */

typedef struct acts_stage {
    const uk_table *uk;
    op_matrix x;
    op_acts y;
} acts_stage;

op_acts op_acts_new(const op_context *c, const char *name, int64_t T, int64_t K, dsv4_dtype dtype)
{
    op_acts y = {.dtype = dtype, .rows = T, .cols = K, .group_rows = tile_min(T, UK_ROWS)};
    y.value_bytes = dtype == DSV4_BF16 ? c->uk->act_bytes_bf16 : 0;
    y.group_bytes = dtype == DSV4_BF16 ? uk_acts_bytes_bf16(c->uk, y.group_rows, K) : uk_acts_bytes_i8(c->uk, y.group_rows, K);
    op_matrix m = op_matrix_new(c, name, tile_count(T, UK_ROWS), y.group_bytes, DSV4_I8);
    y.data = m.data;
    y.view = m.view;
    return y;
}

void op_acts_touch(dsv4_describe *d, int mode, const op_acts *x, tile_range t, tile_range k)
{
    int64_t begin = k.begin * x->group_rows * x->value_bytes;
    int64_t end = k.end == x->cols ? x->group_bytes : k.end * x->group_rows * x->value_bytes;
    dsv4_touch(d, mode, x->view, (dsv4_box){t.begin / UK_ROWS, tile_count(t.end, UK_ROWS), begin, end});
}

/* ---- the stage that packs a matrix ---------------------------------------------------------------------------------------------
 * */

typedef struct acts_tile {
    tile_range t, k;
} acts_tile;

/* Rows of a block. */
static int64_t tile_rows(const acts_stage *s)
{
    return tile_max(TILE_COLS / s->x.cols, 1) * UK_ROWS;
}

/* Columns of a block: INT8 rows are packed as a whole. */
static int64_t tile_cols(const acts_stage *s)
{
    return s->y.dtype == DSV4_I8 ? s->x.cols : TILE_COLS;
}

static acts_tile tile_of(const acts_stage *s, int64_t block)
{
    int64_t n_k = tile_count(s->x.cols, tile_cols(s));
    return (acts_tile){tile_at(block / n_k, tile_rows(s), s->x.rows), tile_at(block % n_k, tile_cols(s), s->x.cols)};
}

static void describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const acts_stage *s = arg;
    acts_tile tile = tile_of(s, block);
    dsv4_reads(d, s->x.view, tile.t.begin, tile.t.end, tile.k.begin, tile.k.end);
    op_acts_touch(d, DSV4_WRITE, &s->y, tile.t, tile.k);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((tile.t.end - tile.t.begin) * (tile.k.end - tile.k.begin))});
}

static void tile_group(const acts_stage *s, int64_t t, tile_range k)
{
    int64_t rows = tile_min(s->x.rows - t, UK_ROWS), first = t * s->x.ld + k.begin;
    void *dst = op_acts_group(&s->y, t, k.begin);
    if (s->y.dtype == DSV4_BF16) {
        s->uk->tile_bf16(rows, s->y.group_rows, k.end - k.begin, (const uint16_t *)s->x.data + first, s->x.ld, dst);
    } else {
        s->uk->tile_i8(rows, s->y.group_rows, k.end - k.begin, (const int8_t *)s->x.data + first, s->x.ld, dst);
    }
}

static void run(const void *arg, int64_t block, void *scratch)
{
    (void)scratch;
    const acts_stage *s = arg;
    acts_tile tile = tile_of(s, block);
    for (int64_t t = tile.t.begin; t < tile.t.end; t += UK_ROWS) {
        tile_group(s, t, tile.k);
    }
}

void op_acts_add_tile(const op_context *c, const char *stage, op_matrix x, op_acts y)
{
    acts_stage *s = dsv4_graph_memory(c->g, sizeof *s);
    if (s == NULL) {
        return;
    }
    *s = (acts_stage){c->uk, x, y};
    int64_t n_blocks = tile_count(x.rows, tile_rows(s)) * tile_count(x.cols, tile_cols(s));
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){stage, n_blocks, run, describe, s, 0, DSV4_VECTOR});
}

op_acts op_acts_tile(const op_context *c, const char *stage, op_matrix x, dsv4_dtype dtype)
{
    op_acts y = op_acts_new(c, stage, x.rows, x.cols, dtype);
    op_acts_add_tile(c, stage, x, y);
    return y;
}
