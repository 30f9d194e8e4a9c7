/* ops/attend.c - attention of every token over its own list of keys, block by block (SPEC 5.1).
 *
 * MATH      block i of a token and head:  s[k] = (q . kv[k]) hd^-1/2;  m_i = max_k s[k];  e[k] = exp(s[k] - m_i)
 *           l_i = sum_k e[k];  o_i = sum_k bf(e[k]) kv[k]
 *           merged in block order:  m' = max(m, m_i);  a = exp(m - m'), b = exp(m_i - m');  l = a l + b l_i;  o = a o + b o_i
 *           out = o / (l + exp(sink - m)), 0 without any key; its last R elements rotated back; bf
 *           A block without keys takes no part in the merge: l_i = o_i = 0 and an m_i far below would leave m, l and o alone.
 * SHAPES    q bf16[T,H*hd]  keys i32[T,slots]  ring, overlay, compressed bf16[rows,hd]  sink f32[1,H]  ->  o bf16[T,H*hd]
 *           scratch m, l f32[T*partials,2*H], o_i f32[T*partials,H*ld], where several blocks share a list
 *           o and o_i of a head group are panels, [hd/UK_PANEL][heads][UK_PANEL]: what a product adds to lies together
 * STAGES    attn.core   [1 x head_group x key_blocks]  q, keys, cache rows -> o, or m, l, o_i per key block
 *           attn.merge  [1 x head_group]               m, l, o_i -> o                                     where key_blocks < blocks
 *           A long list is attended to in rounds of both stages, of which each merges its key blocks behind those of the rounds
 *           before: the partials of two rounds are all there are, whatever the context.
 *           Which cache rows are read is known from the codes alone. Ring and compressed cache are read untracked, and ordered by
 *           fences: rows of `fresh` are written before, `ring_reads` is read beside the ring.
 * NUMERICS  f32; both products are paired sums (kernels.h), of the keys of a block in list order; P rounded to bf16 for the second
 *           one, l from unrounded e. key_blocks does not change a bit: blocks are merged one by one, always. */
#include "ops/attend.h"

#include <math.h>
#include <string.h>

#include "ops/out_proj.h"

/* Where the parts of a worker's scratch begin. */
typedef struct layout {
    size_t panels, rows, scores, weights, values, run, next, factors, turn, out, end;
} layout;

enum { ROUND_PARTS = 8, MAX_PARTS = 2 * ROUND_PARTS }; /* blocks that share a list in a round; in the only round */

typedef struct attention {
    const uk_table *uk;
    op_attend a;
    op_matrix o; /* BF16 [T, H*hd] */
    op_matrix stats,
        o_i; /* of key block i of token t in row t*n_partials + i % n_partials: m and l of all heads; no data: n_parts is 1 */
    op_matrix run_stats, run_o;      /* of the rounds so far of token t in row t; no data: there is one round */
    int64_t T, H, hd, R, ld;         /* ld: floats of a head of o_i, run_o and in scratch: whole panels */
    int64_t tile, n_blocks, n_parts; /* slots of a key block; key blocks of a list; blocks that share a list */
    int64_t n_rounds, n_partials;    /* of a list; key blocks of a token whose partials are kept */
    float scale;
    layout at;
} attention;

/* Unnormalised attention of a head group over some keys: m, l [heads], o [panels of hd][heads][UK_PANEL]. */
typedef struct partial {
    float *m, *l, *o;
} partial;

typedef struct workspace {
    uint16_t *panels;      /* the group's heads, packed [hd, heads] */
    const uint16_t **rows; /* [tile]: the keys of a block */
    float *scores;         /* [tile, score_cols] */
    void *weights;         /* bf(e) as activations: heads x keys of a block */
    uint16_t *values;      /* UK_PANEL columns of the keys of a block, as a panel */
    partial run, next;     /* of the blocks so far; of the block at hand: one panel of o */
    float *factors, *turn; /* [2, heads]; [R] */
    float *out;            /* [UK_ROWS, ld]: some heads of o, row by row */
} workspace;

/* What the o of two partials are multiplied with to be added, [heads]. */
typedef struct blend_factors {
    const float *alpha, *beta;
} blend_factors;

/* A round: the argument of its stages. */
typedef struct attend_round {
    const attention *o;
    tile_range block; /* key blocks */
} attend_round;

/* What a block of attn.core owns. */
typedef struct attend_tile {
    int64_t t, head;
    tile_range block; /* key blocks */
} attend_tile;

static int64_t score_cols(const attention *o)
{
    return tile_count(o->a.tiles.head_group, UK_PANEL) * UK_PANEL;
}

static int64_t parts_of(const attend_round *r)
{
    return tile_count(r->block.end - r->block.begin, r->o->a.tiles.key_blocks);
}

static attend_tile tile_of(const attend_round *r, int64_t block)
{
    const attention *o = r->o;
    int64_t n_groups = o->H / o->a.tiles.head_group, rest = block / n_groups, n_parts = parts_of(r);
    tile_range part = tile_at(rest % n_parts, o->a.tiles.key_blocks, r->block.end - r->block.begin);
    return (attend_tile){
        rest / n_parts, block % n_groups * o->a.tiles.head_group, {r->block.begin + part.begin, r->block.begin + part.end}};
}

/* ---- scratch ------------------------------------------------------------------------------------------------------------ */

static size_t reserve(size_t *end, int64_t n, size_t size)
{
    size_t begin = *end;
    *end = (begin + (size_t)n * size + 63) / 64 * 64;
    return begin;
}

static layout lay_out(const attention *o)
{
    int64_t heads = o->a.tiles.head_group;
    layout at = {0};
    at.panels = reserve(&at.end, score_cols(o) * (o->hd + 1), sizeof(uint16_t));
    at.rows = reserve(&at.end, o->tile, sizeof(const uint16_t *));
    at.scores = reserve(&at.end, o->tile * score_cols(o), sizeof(float));
    at.weights = reserve(&at.end, tile_count(heads, UK_ROWS) * uk_acts_bytes_bf16(o->uk, UK_ROWS, o->tile), 1);
    at.values = reserve(&at.end, (o->tile + 1) * UK_PANEL, sizeof(uint16_t));
    at.run = reserve(&at.end, heads * (2 + o->ld), sizeof(float));
    at.next = reserve(&at.end, heads * (2 + UK_PANEL), sizeof(float));
    at.factors = reserve(&at.end, 2 * heads, sizeof(float));
    at.turn = reserve(&at.end, o->R, sizeof(float));
    at.out = reserve(&at.end, UK_ROWS * o->ld, sizeof(float));
    return at;
}

static partial partial_in(float *memory, int64_t heads)
{
    return (partial){memory, memory + heads, memory + 2 * heads};
}

static workspace workspace_in(const attention *o, void *scratch)
{
    char *memory = scratch;
    int64_t heads = o->a.tiles.head_group;
    return (workspace){.panels = (uint16_t *)(memory + o->at.panels),
                       .rows = (const uint16_t **)(memory + o->at.rows),
                       .scores = (float *)(memory + o->at.scores),
                       .weights = memory + o->at.weights,
                       .values = (uint16_t *)(memory + o->at.values),
                       .run = partial_in((float *)(memory + o->at.run), heads),
                       .next = partial_in((float *)(memory + o->at.next), heads),
                       .factors = (float *)(memory + o->at.factors),
                       .turn = (float *)(memory + o->at.turn),
                       .out = (float *)(memory + o->at.out)};
}

/* Where key block `block` of a token leaves its result for attn.merge. l of a block with keys is not 0: its largest e is 1. */
static partial partial_at(const attention *o, int64_t t, int64_t block, int64_t head)
{
    int64_t row = t * o->n_partials + block % o->n_partials;
    float *m = (float *)o->stats.data + row * 2 * o->H + head;
    return (partial){m, m + o->H, (float *)o->o_i.data + (row * o->H + head) * o->ld};
}

/* What attn.merge leaves to the next round; l is 0 without any key so far. */
static partial run_at(const attention *o, int64_t t, int64_t head)
{
    float *m = (float *)o->run_stats.data + t * 2 * o->H + head;
    return (partial){m, m + o->H, (float *)o->run_o.data + (t * o->H + head) * o->ld};
}

static int64_t n_panels(const attention *o)
{
    return o->ld / UK_PANEL;
}

static float *panel_of(const attention *o, const partial *x, int64_t p)
{
    return x->o + p * o->a.tiles.head_group * UK_PANEL;
}

/* ---- one key block ------------------------------------------------------------------------------------------------------ */

static const uint16_t *row_of(const op_matrix *m, int64_t row)
{
    return (const uint16_t *)m->data + row * m->ld;
}

static const uint16_t *key_row(const op_attend *a, int64_t code)
{
    if (code < a->ring.rows) {
        return row_of(&a->ring, code);
    }
    code -= a->ring.rows;
    return code < a->overlay.rows ? row_of(&a->overlay, code) : row_of(&a->compressed, code - a->overlay.rows);
}

/* rows = the keys of a block in list order; returns their number. */
static int64_t gather_rows(const attention *o, int64_t t, int64_t block, const uint16_t **rows)
{
    const int32_t *codes = (const int32_t *)o->a.keys.data + t * o->a.keys.ld + block * o->tile;
    int64_t n = 0;
    for (int64_t slot = 0; slot < o->tile; slot++) {
        if (codes[slot] >= 0) {
            rows[n++] = key_row(&o->a, codes[slot]);
        }
    }
    return n;
}

static uk_packed pack_heads(const attention *o, const workspace *w, const attend_tile *tile)
{
    const uint16_t *q = row_of(&o->a.q, tile->t) + tile->head * o->hd;
    return uk_pack_bf16(o->uk, q, o->hd, o->a.tiles.head_group, 1, o->hd, w->panels);
}

/* The weights of one key block, m and l; returns its number of keys. If that is 0 nothing is written. The first block with keys
 * packs q. */
static int64_t weigh_block(const attention *o, const workspace *w, uk_packed *q, const attend_tile *tile, int64_t block,
                           const partial *out)
{
    int64_t ld = score_cols(o), n = gather_rows(o, tile->t, block, w->rows);
    if (n == 0) {
        return 0;
    }
    *q = q->n_panels == 0 ? pack_heads(o, w, tile) : *q;
    o->uk->gemm_keys(n, o->hd, w->rows, q->n_panels, q->panels, w->scores, ld);
    o->uk->softmax(n, o->a.tiles.head_group, o->scale, w->scores, ld, out->m, out->l, w->weights);
    return n;
}

/* sums = panel p of o_i of a block of n weighted keys. */
static void sum_values(const attention *o, const workspace *w, int64_t n, int64_t p, float *sums)
{
    uk_acts weights = {w->weights, o->a.tiles.head_group, UK_ROWS, uk_acts_bytes_bf16(o->uk, UK_ROWS, n)};
    o->uk->panel_keys(n, tile_min(o->hd - p * UK_PANEL, UK_PANEL), w->rows, p * UK_PANEL, w->values);
    o->uk->gemm_bf16(weights, n, w->values, sums, UK_PANEL);
}

/* out = attention over one key block; false, and out untouched, if it has no key. */
static bool attend_block(const attention *o, const workspace *w, uk_packed *q, const attend_tile *tile, int64_t block,
                         const partial *out)
{
    int64_t n = weigh_block(o, w, q, tile, block, out);
    for (int64_t p = 0; n > 0 && p < n_panels(o); p++) {
        sum_values(o, w, n, p, panel_of(o, out, p));
    }
    return n > 0;
}

/* m and l of run = those of run and next, merged; returns the factors alpha and beta of their o. */
static blend_factors merge_stats(const attention *o, const partial *next, const workspace *w)
{
    int64_t heads = o->a.tiles.head_group;
    const partial *run = &w->run;
    float *alpha = w->factors, *beta = alpha + heads;
    for (int64_t h = 0; h < heads; h++) {
        float m = run->m[h] > next->m[h] ? run->m[h] : next->m[h];
        alpha[h] = run->m[h] - m;
        beta[h] = next->m[h] - m;
        run->m[h] = m;
    }
    o->uk->exp(2 * heads, w->factors, w->factors);
    for (int64_t h = 0; h < heads; h++) {
        run->l[h] = alpha[h] * run->l[h] + beta[h] * next->l[h];
    }
    return (blend_factors){alpha, beta};
}

/* run = run and next, merged. */
static void merge(const attention *o, const partial *next, const workspace *w)
{
    blend_factors f = merge_stats(o, next, w);
    for (int64_t p = 0; p < n_panels(o); p++) {
        o->uk->blend(o->a.tiles.head_group, f.alpha, f.beta, panel_of(o, next, p), panel_of(o, &w->run, p));
    }
}

/* run = run and a block, merged panel by panel: what a product has left is still near. */
static void merge_block(const attention *o, const workspace *w, uk_packed *q, const attend_tile *tile, int64_t block)
{
    int64_t n = weigh_block(o, w, q, tile, block, &w->next);
    if (n == 0) {
        return;
    }
    blend_factors f = merge_stats(o, &w->next, w);
    for (int64_t p = 0; p < n_panels(o); p++) {
        sum_values(o, w, n, p, w->next.o);
        o->uk->blend(o->a.tiles.head_group, f.alpha, f.beta, w->next.o, panel_of(o, &w->run, p));
    }
}

/* ---- a finished head group ---------------------------------------------------------------------------------------------- */

static void describe_finish(const attention *o, const attend_tile *tile, dsv4_describe *d)
{
    const op_attend *a = &o->a;
    int64_t end = tile->head + a->tiles.head_group;
    dsv4_reads(d, a->sink.view, 0, 1, tile->head, end);
    op_turns_reads_by(d, &a->turns, &a->turn_rows, tile->t, tile->t + 1, o->R);
    dsv4_writes(d, o->o.view, tile->t, tile->t + 1, tile->head * o->hd, end * o->hd);
}

/* Divides heads of run by their denominators, rotates them back and stores them, hd apart. */
static void finish_heads(const attention *o, const workspace *w, tile_range heads, uint16_t *out)
{
    int64_t n = heads.end - heads.begin;
    for (int64_t p = 0; p < n_panels(o); p++) {
        const float *panel = panel_of(o, &w->run, p) + heads.begin * UK_PANEL;
        o->uk->divide(n, w->factors + heads.begin, panel, w->out + p * UK_PANEL, o->ld);
    }
    for (int64_t h = 0; h < n; h++) {
        op_turn_row(o->uk, w->turn, o->R, o->hd, w->out + h * o->ld);
        o->uk->narrow_bf16(o->hd, w->out + h * o->ld, out + h * o->hd);
    }
}

/* Divides run by its denominators, rotates it back and stores it. Without a key the heads are 0. */
static void finish(const attention *o, const workspace *w, const attend_tile *tile, bool has_keys)
{
    int64_t heads = o->a.tiles.head_group, half = o->R / 2;
    uint16_t *out = (uint16_t *)o->o.data + tile->t * o->o.ld + tile->head * o->hd;
    if (!has_keys) {
        memset(out, 0, (size_t)(heads * o->hd) * sizeof *out);
        return;
    }
    const float *sink = (const float *)o->a.sink.data + tile->head;
    for (int64_t h = 0; h < heads; h++) {
        w->factors[h] = sink[h] - w->run.m[h];
    }
    o->uk->exp(heads, w->factors, w->factors);
    op_turns_load(o->uk, &o->a.turns, op_turns_row(&o->a.turn_rows, tile->t), o->R, w->turn);
    o->uk->scale(half, w->turn + half, -1.0f, w->turn + half);
    o->uk->add(heads, w->run.l, w->factors);
    for (int64_t h = 0; h < heads; h += UK_ROWS) {
        finish_heads(o, w, (tile_range){h, tile_min(h + UK_ROWS, heads)}, out + h * o->hd);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------- */

/* Rows of `fresh` that a token may need: all of its request, or the windows that end at the token or before. */
static void describe_fresh(const op_attend *a, int64_t t, dsv4_describe *d)
{
    if (a->fresh.data == NULL) {
        return;
    }
    int64_t b = t / a->tokens_per_request, of_request = a->fresh.rows / (a->q.rows / a->tokens_per_request);
    if (a->fresh_ratio == 0) {
        dsv4_reads(d, a->fresh.view, b * of_request, (b + 1) * of_request, 0, 1);
    } else {
        dsv4_reads(d, a->fresh.view, 0, tile_min(t / a->fresh_ratio + 1, a->fresh.rows), 0, 1);
    }
}

/* The caches, and what orders the block against their writers. */
static void describe_keys(const attention *o, const attend_tile *tile, dsv4_describe *d)
{
    const op_attend *a = &o->a;
    int64_t b = tile->t / a->tokens_per_request, S = a->tokens_per_request;
    int64_t last_slot = tile->block.end * o->tile;
    dsv4_reads(d, a->keys.view, tile->t, tile->t + 1, tile->block.begin * o->tile, last_slot);
    dsv4_reads(d, a->overlay.view, b * S, (b + 1) * S, 0, o->hd);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, a->ring.view, (dsv4_box){0, a->ring.rows, 0, o->hd});
    if (a->compressed.rows > 0) {
        dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, a->compressed.view, (dsv4_box){0, a->compressed.rows, 0, o->hd});
    }
    if (a->ring_reads.data != NULL) {
        dsv4_reads(d, a->ring_reads.view, b, b + 1, 0, 1);
    }
    describe_fresh(a, tile->t, d);
}

/* The partials of a tile's key blocks. */
static void describe_partials(const attention *o, const attend_tile *tile, int mode, dsv4_describe *d)
{
    int64_t heads = o->a.tiles.head_group, begin = tile->head, end = begin + heads;
    int64_t row0 = tile->t * o->n_partials + tile->block.begin % o->n_partials, row1 = row0 + tile->block.end - tile->block.begin;
    dsv4_touch(d, mode, o->stats.view, (dsv4_box){row0, row1, begin, end});
    dsv4_touch(d, mode, o->stats.view, (dsv4_box){row0, row1, o->H + begin, o->H + end});
    dsv4_touch(d, mode, o->o_i.view, (dsv4_box){row0, row1, begin * o->ld, end * o->ld});
}

static void describe_core(const void *arg, int64_t block, dsv4_describe *d)
{
    const attend_round *r = arg;
    const attention *o = r->o;
    attend_tile tile = tile_of(r, block);
    int64_t heads = o->a.tiles.head_group, begin = tile.head * o->hd, end = begin + heads * o->hd;
    dsv4_reads(d, o->a.q.view, tile.t, tile.t + 1, begin, end);
    describe_keys(o, &tile, d);
    if (o->n_parts == 1) {
        describe_finish(o, &tile, d);
    } else {
        describe_partials(o, &tile, DSV4_WRITE, d);
    }
    double n_keys = (double)((tile.block.end - tile.block.begin) * o->tile);
    dsv4_costs(d, (dsv4_work){.flops_bf16 = 4 * n_keys * (double)(heads * o->hd),
                              .vector_ops = n_keys * (double)(16 * heads + o->hd) + 6.0 * (double)(heads * o->hd),
                              .gathered_bytes = n_keys * (double)o->hd * sizeof(uint16_t),
                              .product = {.m = heads, .n = o->tile, .k = o->hd}});
}

/* Of the slots that a block declares, those with keys. */
static double share_of_core(const void *arg, int64_t block)
{
    const attend_round *r = arg;
    const attention *o = r->o;
    attend_tile tile = tile_of(r, block);
    int64_t begin = tile.block.begin * o->tile, end = tile.block.end * o->tile, n_keys = 0;
    for (int64_t slot = begin; slot < end; slot++) {
        n_keys += op_matrix_int(&o->a.keys, tile.t, slot) >= 0;
    }
    return (double)n_keys / (double)(end - begin);
}

/* One block owns the whole list. */
static void attend_whole(const attention *o, const workspace *w, const attend_tile *tile)
{
    uk_packed q = {0};
    bool any = false;
    for (int64_t i = 0; i < o->n_blocks; i++) {
        if (any) {
            merge_block(o, w, &q, tile, i);
        } else {
            any = attend_block(o, w, &q, tile, i, &w->run);
        }
    }
    finish(o, w, tile, any);
}

static void run_core(const void *arg, int64_t block, void *scratch)
{
    const attend_round *r = arg;
    const attention *o = r->o;
    attend_tile tile = tile_of(r, block);
    workspace w = workspace_in(o, scratch);
    uk_packed q = {0};
    if (o->n_parts == 1) {
        attend_whole(o, &w, &tile);
        return;
    }
    for (int64_t i = tile.block.begin; i < tile.block.end; i++) {
        partial out = partial_at(o, tile.t, i, tile.head);
        if (!attend_block(o, &w, &q, &tile, i, &out)) {
            memset(out.l, 0, (size_t)o->a.tiles.head_group * sizeof *out.l);
        }
    }
}

/* Blocks of attn.merge are tokens and head groups. */
static attend_tile merge_tile_of(const attend_round *r, int64_t block)
{
    int64_t n_groups = r->o->H / r->o->a.tiles.head_group;
    return (attend_tile){block / n_groups, block % n_groups * r->o->a.tiles.head_group, r->block};
}

static void describe_merge(const void *arg, int64_t block, dsv4_describe *d)
{
    const attend_round *r = arg;
    const attention *o = r->o;
    attend_tile tile = merge_tile_of(r, block);
    int64_t heads = o->a.tiles.head_group, begin = tile.head, end = begin + heads;
    int mode = r->block.begin == 0 ? DSV4_WRITE : DSV4_UPDATE;
    describe_partials(o, &tile, DSV4_READ, d);
    if (o->n_rounds > 1) {
        dsv4_touch(d, mode, o->run_stats.view, (dsv4_box){tile.t, tile.t + 1, begin, end});
        dsv4_touch(d, mode, o->run_stats.view, (dsv4_box){tile.t, tile.t + 1, o->H + begin, o->H + end});
        dsv4_touch(d, mode, o->run_o.view, (dsv4_box){tile.t, tile.t + 1, begin * o->ld, end * o->ld});
    }
    if (r->block.end == o->n_blocks) {
        describe_finish(o, &tile, d);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = 3.0 * (double)(heads * o->hd * (r->block.end - r->block.begin))});
}

static void run_merge(const void *arg, int64_t block, void *scratch)
{
    const attend_round *r = arg;
    const attention *o = r->o;
    attend_tile tile = merge_tile_of(r, block);
    workspace w = workspace_in(o, scratch);
    size_t heads = (size_t)o->a.tiles.head_group;
    w.run = o->n_rounds > 1 ? run_at(o, tile.t, tile.head) : w.run;
    w.run.l[0] = r->block.begin == 0 ? 0.0f : w.run.l[0];
    for (int64_t i = r->block.begin; i < r->block.end; i++) {
        partial next = partial_at(o, tile.t, i, tile.head);
        if (next.l[0] == 0.0f) {
            continue;
        }
        if (w.run.l[0] != 0.0f) {
            merge(o, &next, &w);
        } else {
            memcpy(w.run.m, next.m, heads * sizeof *next.m);
            memcpy(w.run.l, next.l, heads * sizeof *next.l);
            memcpy(w.run.o, next.o, heads * (size_t)o->ld * sizeof *next.o);
        }
    }
    if (r->block.end == o->n_blocks) {
        finish(o, &w, &tile, w.run.l[0] != 0.0f);
    }
}

/* ---- graph -------------------------------------------------------------------------------------------------------------- */

static void init(attention *o, const op_context *c, const op_attend *a)
{
    o->uk = c->uk;
    o->a = *a;
    o->T = a->q.rows;
    o->H = c->dims.of[OP_H];
    o->hd = c->dims.of[OP_hd];
    o->R = c->dims.of[OP_R];
    o->ld = tile_count(o->hd, UK_PANEL) * UK_PANEL;
    o->tile = c->config->attn_tile;
    o->n_blocks = a->keys.cols / o->tile;
    o->n_parts = tile_count(o->n_blocks, a->tiles.key_blocks);
    o->n_rounds = o->n_parts > MAX_PARTS ? tile_count(o->n_parts, ROUND_PARTS) : 1;
    o->n_partials = o->n_rounds > 1 ? MAX_PARTS * a->tiles.key_blocks : o->n_blocks;
    o->scale = (float)(1.0 / sqrt((double)o->hd));
    o->at = lay_out(o);
    o->o = op_matrix_new(c, "attn.o", o->T, o->H * o->hd, DSV4_BF16);
    if (o->n_parts > 1) {
        o->stats = op_matrix_new(c, "attn.stats", o->T * o->n_partials, 2 * o->H, DSV4_F32);
        o->o_i = op_matrix_new(c, "attn.o_i", o->T * o->n_partials, o->H * o->ld, DSV4_F32);
    }
    if (o->n_rounds > 1) {
        o->run_stats = op_matrix_new(c, "attn.run_stats", o->T, 2 * o->H, DSV4_F32);
        o->run_o = op_matrix_new(c, "attn.run_o", o->T, o->H * o->ld, DSV4_F32);
    }
}

static void add_round(const op_context *c, const attend_round *r)
{
    const attention *o = r->o;
    int64_t n_merge = o->T * (o->H / o->a.tiles.head_group);
    dsv4_stage core = dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"attn.core", n_merge * parts_of(r), run_core, describe_core, r, o->at.end, DSV4_CUBE});
    dsv4_graph_share(c->g, core, share_of_core);
    if (o->n_parts > 1) {
        dsv4_graph_stage(c->g, &(dsv4_stage_desc){"attn.merge", n_merge, run_merge, describe_merge, r, o->at.end, DSV4_VECTOR});
    }
}

void op_attend_add(const op_context *c, const op_attend *a)
{
    attention *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    init(o, c, a);
    attend_round *rounds = dsv4_graph_memory(c->g, (size_t)o->n_rounds * sizeof *rounds);
    for (int64_t i = 0; i < o->n_rounds && rounds != NULL; i++) {
        int64_t n = o->n_rounds > 1 ? ROUND_PARTS * a->tiles.key_blocks : o->n_blocks;
        rounds[i] = (attend_round){o, tile_at(i, n, o->n_blocks)};
        add_round(c, &rounds[i]);
    }
    op_out_proj_add(c, &(op_out_proj){.o = o->o,
                                      .wo_a = a->wo_a,
                                      .wo_b = a->wo_b,
                                      .scale = a->wo_b_scale,
                                      .attn_out = a->attn_out,
                                      .t_tile = a->tiles.t_tile,
                                      .a_n_tile = a->tiles.a_n_tile,
                                      .a_k_split = a->tiles.a_k_split,
                                      .b_n_tile = a->tiles.b_n_tile,
                                      .quant_t_tile = a->tiles.norm_t_tile});
}
