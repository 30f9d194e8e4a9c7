/* ops/index_score.c - scores of cache rows, and the best of them (see index.c). */
#include <float.h>

#include "ops/index_stages.h"
#include "ops/rms.h"
#include "ops/topk.h"

/* ---- the grid of blocks ------------------------------------------------------------------------------------------------------ */

/* Part p of a request's rows is key tiles p, p + parts, p + 2*parts, ...: even shares at any context length. */
typedef struct score_tile {
    tile_range t; /* tokens of one request */
    int64_t request, part;
} score_tile;

static int64_t t_tiles_of_request(const index_stages *o)
{
    return tile_count(o->a.tokens_per_request, o->t_tile);
}

static int64_t score_blocks(const index_stages *o)
{
    return o->a.n_requests * t_tiles_of_request(o) * o->parts;
}

static score_tile score_tile_of(const index_stages *o, int64_t block)
{
    int64_t rest = block / o->parts, n_t = t_tiles_of_request(o), request = rest / n_t, t0 = request * o->a.tokens_per_request;
    tile_range t = tile_at(rest % n_t, o->t_tile, o->a.tokens_per_request);
    return (score_tile){{t0 + t.begin, t0 + t.end}, request, block % o->parts};
}

/* Rows of `fresh` that the block waits for: all windows that its tokens see. */
static tile_range fresh_rows(const index_stages *o, const score_tile *tile)
{
    if (o->a.is_decode) {
        return (tile_range){tile->request, tile->request + 1};
    }
    return (tile_range){0, tile_min(tile_count(tile->t.end, OP_INDEX_RATIO), o->a.fresh.rows)};
}

static int64_t padded_heads(const index_stages *o)
{
    return tile_count(o->IH, UK_PANEL) * UK_PANEL;
}

static void describe_score(const void *arg, int64_t block, dsv4_describe *d)
{
    const index_stages *o = arg;
    const op_index *a = &o->a;
    score_tile tile = score_tile_of(o, block);
    tile_range t = tile.t, fresh = fresh_rows(o, &tile);
    dsv4_reads(d, o->q_panels.view, t.begin, t.end, 0, o->q_panels.cols);
    dsv4_reads(d, o->q_packed.view, t.begin, t.end, 0, 1);
    dsv4_reads(d, o->q_scale.view, t.begin, t.end, 0, o->IH);
    op_product_reads(d, &o->w, t.begin, t.end, 0, o->IH);
    dsv4_reads(d, a->n_visible.view, 0, 1, t.begin, t.end);
    dsv4_reads(d, a->table.view, tile.request, tile.request + 1, 0, a->table.cols);
    dsv4_reads(d, a->fresh.view, fresh.begin, fresh.end, 0, 1);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, a->cache.view, (dsv4_box){0, a->cache.rows, 0, o->ID});
    if (a->cache_scale.data != NULL) {
        dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, a->cache_scale.view, (dsv4_box){0, a->cache.rows, 0, 1});
    }
    dsv4_writes(d, o->best.view, t.begin, t.end, tile.part * o->topk, (tile.part + 1) * o->topk);
    dsv4_writes(d, o->n_best.view, t.begin, t.end, tile.part, tile.part + 1);
    for (int64_t i = tile.part; a->score.data != NULL && i * o->key_tile < o->columns; i += o->parts) {
        tile_range rows = tile_at(i, o->key_tile, o->columns);
        dsv4_writes(d, a->score.view, t.begin, t.end, rows.begin, rows.end);
    }
    double pairs = (double)o->columns / (double)o->parts * (double)((t.end - t.begin) * o->IH);
    double keys = (double)o->columns / (double)o->parts, row_bytes = (double)o->ID * (a->cache_scale.data != NULL ? 1 : 2);
    dsv4_costs(d, (dsv4_work){.ops_i8 = 2 * pairs * (double)o->ID,
                              .vector_ops = 5 * pairs + (a->cache_scale.data != NULL ? 1 : OP_Q8_OPS) * keys * (double)o->ID,
                              .gathered_bytes = keys * row_bytes,
                              .product = {.m = o->key_tile, .n = padded_heads(o), .k = o->ID}});
}

/* ---- keys: cache rows, quantised and packed ---------------------------------------------------------------------------------- */

/* What a block has in scratch. */
typedef struct score_scratch {
    topk_list *best; /* [tokens] */
    int32_t *acc;    /* [key_tile][padded heads] */
    float *w;        /* [tokens][IH] */
    float *scores;   /* [key_tile] */
    float *k_scale;  /* [key_tile] */
    char *keys;      /* [key_tile] rows, as the product takes them */
    int8_t *q8;      /* [UK_ROWS][ID] */
} score_scratch;

/* Bytes of UK_ROWS keys. */
static int64_t group_bytes(const index_stages *o)
{
    return uk_acts_bytes_i8(o->uk, UK_ROWS, o->ID);
}

static size_t scratch_bytes(const index_stages *o)
{
    int64_t words = o->key_tile * (padded_heads(o) + 2) + o->t_tile * o->IH;
    size_t list_bytes = sizeof(topk_list) + 2 * (size_t)o->topk * sizeof(uint64_t);
    return (size_t)o->t_tile * list_bytes + (size_t)words * sizeof(float) +
           (size_t)(tile_count(o->key_tile, UK_ROWS) * group_bytes(o) + UK_ROWS * o->ID);
}

static score_scratch lay_out(const index_stages *o, void *scratch)
{
    score_scratch s = {.best = scratch};
    uint64_t *best_keys = (uint64_t *)(s.best + o->t_tile);
    for (int64_t i = 0; i < o->t_tile; i++) {
        s.best[i] = (topk_list){best_keys + 2 * i * o->topk, 0, o->topk, UINT64_MAX};
    }
    s.acc = (int32_t *)(best_keys + 2 * o->t_tile * o->topk);
    s.w = (float *)(s.acc + o->key_tile * padded_heads(o));
    s.scores = s.w + o->t_tile * o->IH;
    s.k_scale = s.scores + o->key_tile;
    s.keys = (char *)(s.k_scale + o->key_tile);
    s.q8 = (int8_t *)(s.keys + tile_count(o->key_tile, UK_ROWS) * group_bytes(o));
    return s;
}

/* q8 = row `row` of the cache, which is key i of the tile. */
static void load_key(const index_stages *o, int64_t row, int64_t i, const score_scratch *s, int8_t *q8)
{
    if (o->a.cache_scale.data != NULL) {
        memcpy(q8, (const int8_t *)o->a.cache.data + row * o->a.cache.ld, (size_t)o->ID);
        s->k_scale[i] = ((const float *)o->a.cache_scale.data)[row * o->a.cache_scale.ld];
    } else {
        s->k_scale[i] = 1.0f / o->uk->q8_bf16(o->ID, (const uint16_t *)o->a.cache.data + row * o->a.cache.ld, q8);
    }
}

/* Keys [begin, end) of a request, one row group after the other. */
static void load_keys(const index_stages *o, int64_t request, int64_t begin, int64_t end, const score_scratch *s)
{
    const int32_t *table = (const int32_t *)o->a.table.data + request * o->a.table.ld;
    for (int64_t first = begin; first < end; first += UK_ROWS) {
        int64_t n = tile_min(end - first, UK_ROWS);
        for (int64_t c = first; c < first + n; c++) {
            int64_t row = table[c / o->a.page] * o->a.page + c % o->a.page;
            load_key(o, row, c - begin, s, s->q8 + (c - first) * o->ID);
        }
        o->uk->tile_i8(n, UK_ROWS, o->ID, s->q8, o->ID, s->keys + (first - begin) / UK_ROWS * group_bytes(o));
    }
}

/* ---- scores ------------------------------------------------------------------------------------------------------------------ */

static int64_t visible_rows(const index_stages *o, int64_t t)
{
    return ((const int32_t *)o->a.n_visible.data)[t];
}

/* Where the best keys of a token and part lie for the merge, and how many they are. */
static uint64_t *best_of(const index_stages *o, int64_t t, int64_t part)
{
    return (uint64_t *)o->best.data + t * o->best.ld + part * o->topk;
}

static int32_t *n_best_of(const index_stages *o, int64_t t, int64_t part)
{
    return (int32_t *)o->n_best.data + t * o->n_best.ld + part;
}

/* y[0..n) = the scores of the tile's keys for token t, whose head weights are w. */
static void score_keys(const index_stages *o, int64_t t, int64_t n, const float *w, const score_scratch *s, float *y)
{
    const uk_packed *q = (const uk_packed *)o->q_packed.data + t;
    int64_t ld = padded_heads(o);
    uk_acts keys = {s->keys, n, UK_ROWS, group_bytes(o)};
    for (int64_t p = 0; p < q->n_panels; p++) {
        o->uk->gemm_i8(keys, tile_count(o->ID, 4), uk_panel_i8(q, p, 0), q->correction + p * UK_PANEL, s->acc + p * UK_PANEL, ld);
    }
    o->uk->index_score(n, o->IH, s->acc, ld, (const float *)o->q_scale.data + t * o->IH, s->k_scale, w, y);
}

/* Scores the loaded key tile `rows` for token t, and keeps the best of it. */
static void score_token(const index_stages *o, int64_t t, tile_range rows, const float *w, const score_scratch *s, topk_list *best)
{
    bool wanted = o->a.score.data != NULL;
    int64_t n_rows = rows.end - rows.begin, n = tile_min(visible_rows(o, t) - rows.begin, n_rows);
    n = n > 0 ? n : 0;
    float *y = wanted ? (float *)o->a.score.data + t * o->a.score.ld + rows.begin : s->scores;
    score_keys(o, t, n, w, s, y);
    for (int64_t i = n; wanted && i < n_rows; i++) {
        y[i] = -FLT_MAX;
    }
    topk_add_scores(best, y, n, (int32_t)rows.begin);
}

static void keep_best(const index_stages *o, int64_t t, int64_t part, topk_list *best)
{
    topk_cut(best);
    memcpy(best_of(o, t, part), best->keys, (size_t)best->n * sizeof *best->keys);
    *n_best_of(o, t, part) = (int32_t)best->n;
}

static void run_score(const void *arg, int64_t block, void *scratch)
{
    const index_stages *o = arg;
    score_tile tile = score_tile_of(o, block);
    score_scratch s = lay_out(o, scratch);
    int64_t n_seen = 0;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        float *w = s.w + (t - tile.t.begin) * o->IH;
        op_product_row(o->uk, &o->w, t, 0, o->IH, w);
        o->uk->scale(o->IH, w, o->w_scale, w);
        n_seen = visible_rows(o, t) > n_seen ? visible_rows(o, t) : n_seen;
    }
    int64_t end = o->a.score.data != NULL ? o->columns : n_seen;
    for (int64_t row = tile.part * o->key_tile; row < end; row += o->parts * o->key_tile) {
        tile_range rows = {row, tile_min(row + o->key_tile, end)};
        load_keys(o, tile.request, rows.begin, tile_min(rows.end, n_seen), &s);
        for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
            score_token(o, t, rows, s.w + (t - tile.t.begin) * o->IH, &s, &s.best[t - tile.t.begin]);
        }
    }
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        keep_best(o, t, tile.part, &s.best[t - tile.t.begin]);
    }
}

/* Of the columns that a block declares, those that its tokens see. */
static double share_of_score(const void *arg, int64_t block)
{
    const index_stages *o = arg;
    score_tile tile = score_tile_of(o, block);
    int64_t n_seen = 0;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        n_seen += visible_rows(o, t);
    }
    return (double)n_seen / (double)(o->columns * (tile.t.end - tile.t.begin));
}

/* ---- merge: a block is a token ----------------------------------------------------------------------------------------------- */

static void describe_topk(const void *arg, int64_t t, dsv4_describe *d)
{
    const index_stages *o = arg;
    dsv4_reads(d, o->best.view, t, t + 1, 0, o->best.cols);
    dsv4_reads(d, o->n_best.view, t, t + 1, 0, o->parts);
    dsv4_reads(d, o->a.offset.view, 0, 1, 0, 1);
    dsv4_writes(d, o->a.topk.view, t, t + 1, 0, o->a.topk.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = topk_cost(o->best.cols, o->topk)});
}

/* Row t of topk: the chosen rows, then -1. */
static void write_rows(const index_stages *o, int64_t t, const topk_list *chosen)
{
    int32_t *row = (int32_t *)o->a.topk.data + t * o->a.topk.ld, offset = *(const int32_t *)o->a.offset.data;
    for (int64_t i = 0; i < o->a.topk.cols; i++) {
        row[i] = i < chosen->n ? topk_row(chosen->keys[i]) + offset : -1;
    }
}

static void run_topk(const void *arg, int64_t t, void *scratch)
{
    const index_stages *o = arg;
    topk_list chosen = {scratch, 0, o->topk, UINT64_MAX};
    for (int64_t part = 0; part < o->parts; part++) {
        topk_add_keys(&chosen, best_of(o, t, part), *n_best_of(o, t, part));
    }
    topk_sort(&chosen);
    write_rows(o, t, &chosen);
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------- */

void index_add_score(const op_context *c, index_stages *o)
{
    int64_t rows = o->a.table.cols * o->a.page;
    o->topk = tile_min(c->config->index_topk, o->a.topk.cols);
    o->columns = o->a.score.data != NULL ? o->a.score.cols : rows;
    o->key_tile = tile_min(o->a.key_tile, o->columns);
    o->t_tile = tile_min(o->a.t_tile, o->a.tokens_per_request);
    o->parts = tile_min(o->a.key_parts, tile_count(o->columns, o->key_tile));
    o->best = op_matrix_new(c, "index.best", o->T, o->parts * o->topk, DSV4_I64);
    o->n_best = op_matrix_new(c, "index.n_best", o->T, o->parts, DSV4_I32);
    dsv4_stage score = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"index.score", score_blocks(o), run_score, describe_score, o, scratch_bytes(o), DSV4_CUBE});
    dsv4_graph_share(c->g, score, share_of_score);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"index.topk", o->T, run_topk, describe_topk, o,
                                              2 * (size_t)o->topk * sizeof(uint64_t), DSV4_VECTOR});
}
