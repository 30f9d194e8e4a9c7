/* model/step/index.c - the indexer: which compressed rows a token attends to (SPEC 3.2, 9.2).
 *
 * MATH    q = round(hadamard(rotate(qr wq_b))) per head;  w = (x weights) ID^-1/2 IH^-1/2
 *         score[c] = sum over heads of relu(q_h . k_c) w_h;  chosen are the index_topk best of the (p+1)/4 visible rows, of equal
 *         scores the smaller row; listed by ascending row. Where no more are visible than chosen, nothing is scored
 * STAGES  index.q [row x head tile], index.w [row tile], index.score [row x share of the rows], index.choose [row] */
#include <stdlib.h>
#include <string.h>

#include "model/step/attention.h"
#include "ops/topk.h"

enum { ROW_TILE = 16, KEY_TILE = 128, RATIO = 4, SHARE_ROWS = 512, MAX_SHARES = 32 };

typedef struct index_stage {
    const step *s;
    int block;
    step_product q_sums, w_sums;
    step_matrix q, w; /* [T, IH*ID], [T, IH] */
    op_matrix done, best, n_best;
    step_chosen y;
    int64_t IH, ID, head_tile, parts, topk;
} index_stage;

void step_index_round(const step *s, int64_t n, float *x)
{
    s->op.uk->hadamard(n, x);
    step_round(s, n, x);
    if (s->numerics->rounds_index) {
        s->op.uk->round_e2m1(n, x, x);
    }
}

/* ---- queries ------------------------------------------------------------------------------------------------------------------ */

static tile_range heads_at(const index_stage *o, int64_t block, int64_t *t)
{
    int64_t n = tile_count(o->IH, o->head_tile);
    *t = block / n;
    return tile_at(block % n, o->head_tile, o->IH);
}

static void q_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const index_stage *o = arg;
    int64_t t;
    tile_range head = heads_at(o, block, &t);
    step_product_reads(d, &o->q_sums, t, t + 1, head.begin * o->ID, head.end * o->ID);
    step_rope_reads(d, o->s->rope, RATIO, t, t + 1);
    dsv4_writes(d, o->q.m.view, t, t + 1, head.begin * o->ID, head.end * o->ID);
    dsv4_costs(d, (dsv4_work){.vector_ops = 16.0 * (double)((head.end - head.begin) * o->ID)});
}

static void q_run(const void *arg, int64_t block, void *scratch)
{
    const index_stage *o = arg;
    const step *s = o->s;
    int64_t t;
    tile_range head = heads_at(o, block, &t);
    float *x = scratch;
    for (int64_t h = head.begin; t < s->rows->n && h < head.end; h++) {
        step_product_row(s->op.uk, &o->q_sums, t, h * o->ID, (h + 1) * o->ID, x);
        step_rotate(s, step_rope_turn(s->rope, RATIO, t), o->ID, x);
        step_index_round(s, o->ID, x);
        step_store(s->op.uk, &o->q, t, h * o->ID, o->ID, x);
    }
}

static void w_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const index_stage *o = arg;
    tile_range t = tile_at(block, ROW_TILE, o->s->T);
    step_product_reads(d, &o->w_sums, t.begin, t.end, 0, o->IH);
    dsv4_writes(d, o->w.m.view, t.begin, t.end, 0, o->IH);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)((t.end - t.begin) * o->IH)});
}

static void w_run(const void *arg, int64_t block, void *scratch)
{
    const index_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    tile_range t = tile_at(block, ROW_TILE, o->s->rows->n);
    float factor = (float)(1.0 / sqrt((double)o->ID * (double)o->IH)), *w = scratch;
    for (int64_t row = t.begin; row < t.end; row++) {
        step_product_row(uk, &o->w_sums, row, 0, o->IH, w);
        uk->scale(o->IH, w, factor, w);
        step_store(uk, &o->w, row, 0, o->IH, w);
    }
}

/* ---- scores --------------------------------------------------------------------------------------------------------------------- */

static int64_t padded_heads(const index_stage *o)
{
    return tile_count(o->IH, UK_PANEL) * UK_PANEL;
}

typedef struct score_scratch {
    void *panels; /* the heads of a token, packed [ID, IH] */
    const uint16_t *keys[KEY_TILE];
    float *scores, *w, *totals; /* [KEY_TILE][padded heads], [IH], [KEY_TILE] */
    uint64_t *best;             /* [2 * topk] */
} score_scratch;

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

static size_t panels_bytes(const index_stage *o)
{
    return aligned(o->s->kv->dtype == DSV4_BF16 ? uk_pack_bf16_bytes(o->ID, o->IH) : uk_pack_f32_bytes(o->ID, o->IH));
}

static size_t score_scratch_bytes(const index_stage *o)
{
    int64_t floats = KEY_TILE * padded_heads(o) + padded_heads(o) + KEY_TILE;
    return panels_bytes(o) + aligned((size_t)floats * sizeof(float)) + 2 * (size_t)o->topk * sizeof(uint64_t);
}

static void score_scratch_in(const index_stage *o, void *scratch, score_scratch *s)
{
    int64_t floats = KEY_TILE * padded_heads(o) + padded_heads(o) + KEY_TILE;
    s->panels = scratch;
    s->scores = (float *)(void *)((char *)scratch + panels_bytes(o));
    s->w = s->scores + KEY_TILE * padded_heads(o);
    s->totals = s->w + padded_heads(o);
    s->best = (uint64_t *)(void *)((char *)s->scores + aligned((size_t)floats * sizeof(float)));
}

static uk_packed pack_query(const index_stage *o, int64_t t, void *panels)
{
    const uk_table *uk = o->s->op.uk;
    if (o->q.dtype == DSV4_BF16) {
        return uk_pack_bf16(uk, (const uint16_t *)o->q.m.data + t * o->q.m.ld, o->ID, o->IH, 1, o->ID, panels);
    }
    return uk_pack_f32(uk, op_matrix_f32(&o->q.m, t, 0), o->ID, o->IH, 1, o->ID, panels);
}

static const void *key_at(const index_stage *o, int64_t t, int64_t entry)
{
    const model_kv *kv = o->s->kv;
    return model_kv_entry(kv, o->block, o->s->rows->slot[t], kv->blocks[o->block].index_entries, o->ID, entry);
}

/* scores[i][h] = q_h . key first + i. */
static void multiply_keys(const index_stage *o, int64_t t, int64_t first, int64_t n, uk_packed q, score_scratch *s)
{
    const uk_table *uk = o->s->op.uk;
    int64_t ld = padded_heads(o);
    if (o->q.dtype == DSV4_BF16) {
        for (int64_t i = 0; i < n; i++) {
            s->keys[i] = key_at(o, t, first + i);
        }
        uk->gemm_keys(n, o->ID, s->keys, q.n_panels, q.panels, s->scores, ld);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t p = 0; p < q.n_panels; p++) {
            uk->gemm_f32(1, o->ID, key_at(o, t, first + i), o->ID, uk_panel_f32(&q, p, 0), s->scores + i * ld + p * UK_PANEL, ld);
        }
    }
}

/* totals[i] = sum over heads, each step rounded where the numerics have BF16. */
static void add_heads(const index_stage *o, int64_t n, score_scratch *s)
{
    int64_t ld = padded_heads(o);
    step_round(o->s, n * ld, s->scores);
    for (int64_t i = 0; i < n; i++) {
        float *row = s->scores + i * ld;
        for (int64_t h = 0; h < o->IH; h++) {
            row[h] = (row[h] > 0 ? row[h] : 0) * s->w[h];
        }
    }
    step_round(o->s, n * ld, s->scores);
    for (int64_t i = 0; i < n; i++) {
        s->totals[i] = step_sum(o->IH, s->scores + i * ld);
    }
    step_round(o->s, n, s->totals);
}

static void score_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const index_stage *o = arg;
    int64_t t = block / o->parts, part = block % o->parts, n = step_max_entries(o->s, RATIO) / o->parts;
    dsv4_reads(d, o->q.m.view, t, t + 1, 0, o->q.m.cols);
    dsv4_reads(d, o->w.m.view, t, t + 1, 0, o->IH);
    step_done_reads(d, &o->done, t);
    dsv4_writes(d, o->best.view, t, t + 1, part * o->topk, (part + 1) * o->topk);
    dsv4_writes(d, o->n_best.view, t, t + 1, part, part + 1);
    dsv4_costs(d, (dsv4_work){.flops_bf16 = 2.0 * (double)(n * o->IH * o->ID), .vector_ops = 6.0 * (double)(n * o->IH)});
}

static int64_t visible(const index_stage *o, int64_t t)
{
    return (o->s->rows->position[t] + 1) / RATIO;
}

/* Whether a row of the step has to choose. */
static bool chooses(const index_stage *o, int64_t t)
{
    return t < o->s->rows->n && visible(o, t) > o->topk;
}

static double score_share(const void *arg, int64_t block)
{
    const index_stage *o = arg;
    int64_t t = block / o->parts;
    return chooses(o, t) ? (double)visible(o, t) / (double)step_max_entries(o->s, RATIO) : 0;
}

static void score_run(const void *arg, int64_t block, void *scratch)
{
    const index_stage *o = arg;
    int64_t t = block / o->parts, part = block % o->parts;
    score_scratch s;
    if (!chooses(o, t)) {
        return;
    }
    score_scratch_in(o, scratch, &s);
    topk_list best = {s.best, 0, o->topk, UINT64_MAX};
    uk_packed q = pack_query(o, t, s.panels);
    step_load(o->s->op.uk, &o->w, t, 0, o->IH, s.w);
    for (int64_t first = part * KEY_TILE; first < visible(o, t); first += o->parts * KEY_TILE) {
        int64_t n = tile_min(visible(o, t) - first, KEY_TILE);
        multiply_keys(o, t, first, n, q, &s);
        add_heads(o, n, &s);
        topk_add_scores(&best, s.totals, n, (int32_t)first);
    }
    topk_cut(&best);
    memcpy((uint64_t *)o->best.data + t * o->best.ld + part * o->topk, best.keys, (size_t)best.n * sizeof *best.keys);
    ((int32_t *)o->n_best.data)[t * o->parts + part] = (int32_t)best.n;
}

/* ---- choice --------------------------------------------------------------------------------------------------------------------- */

static void choose_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const index_stage *o = arg;
    dsv4_reads(d, o->best.view, t, t + 1, 0, o->best.cols);
    dsv4_reads(d, o->n_best.view, t, t + 1, 0, o->parts);
    dsv4_writes(d, o->y.rows.view, t, t + 1, 0, o->topk);
    dsv4_writes(d, o->y.count.view, t, t + 1, 0, 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = topk_cost(o->best.cols, o->topk)});
}

static int by_row(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* The best of all shares; returns how many they are. */
static int64_t choose_rows(const index_stage *o, int64_t t, int32_t *rows, void *scratch)
{
    topk_list chosen = {scratch, 0, o->topk, UINT64_MAX};
    for (int64_t part = 0; part < o->parts; part++) {
        const uint64_t *keys = (const uint64_t *)o->best.data + t * o->best.ld + part * o->topk;
        topk_add_keys(&chosen, keys, ((const int32_t *)o->n_best.data)[t * o->parts + part]);
    }
    topk_cut(&chosen);
    for (int64_t i = 0; i < chosen.n; i++) {
        rows[i] = topk_row(chosen.keys[i]);
    }
    qsort(rows, (size_t)chosen.n, sizeof *rows, by_row);
    return chosen.n;
}

static void choose_run(const void *arg, int64_t t, void *scratch)
{
    const index_stage *o = arg;
    int32_t *rows = (int32_t *)o->y.rows.data + t * o->topk;
    if (t >= o->s->rows->n) {
        return;
    }
    int64_t n = chooses(o, t) ? choose_rows(o, t, rows, scratch) : visible(o, t);
    for (int64_t i = 0; !chooses(o, t) && i < n; i++) {
        rows[i] = (int32_t)i;
    }
    ((int32_t *)o->y.count.data)[t] = (int32_t)n;
}

/* ---- graph ---------------------------------------------------------------------------------------------------------------------- */

static void add_stages(const step *s, const index_stage *o)
{
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"index.q", s->T * tile_count(o->IH, o->head_tile), q_run, q_describe, o,
                                                 (size_t)o->ID * sizeof(float), DSV4_VECTOR});
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"index.w", tile_count(s->T, ROW_TILE), w_run, w_describe, o,
                                                 (size_t)o->IH * sizeof(float), DSV4_VECTOR});
    dsv4_stage score = dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"index.score", s->T * o->parts, score_run, score_describe, o,
                                                                    score_scratch_bytes(o), DSV4_CUBE});
    dsv4_graph_share(s->op.g, score, score_share);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"index.choose", s->T, choose_run, choose_describe, o,
                                                 2 * (size_t)o->topk * sizeof(uint64_t), DSV4_VECTOR});
}

step_chosen step_index_add(const step *s, int block, const model_block_weights *w, const step_qkv *qkv, op_matrix done)
{
    const dsv4_config *d = &s->config->dims;
    index_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_chosen){0};
    }
    int64_t entries = step_max_entries(s, RATIO);
    *o = (index_stage){.s = s, .block = block, .done = done, .IH = d->index_n_heads, .ID = d->index_head_dim};
    o->topk = tile_max(tile_min(d->index_topk, entries), 1);
    o->parts = tile_max(tile_min(tile_count(entries, SHARE_ROWS), tile_min(tile_count(2 * s->n_threads, s->T), MAX_SHARES)), 1);
    o->head_tile = tile_max(tile_min(o->IH, o->IH * s->T / (2 * s->n_threads)), tile_min(o->IH, 8));
    o->q_sums = step_linear_add(s, "index.q_b", &qkv->qr, &w->index_wq_b, true);
    o->w_sums = step_linear_add(s, "index.weights", &qkv->x_plain, &w->index_weights, true);
    o->q = step_matrix_new(s, "index.q", s->T, o->IH * o->ID);
    o->w = step_matrix_new(s, "index.w", s->T, o->IH);
    o->best = op_matrix_new(&s->op, "index.best", s->T, o->parts * o->topk, DSV4_I64);
    o->n_best = op_matrix_new(&s->op, "index.n_best", s->T, o->parts, DSV4_I32);
    o->y.rows = op_matrix_new(&s->op, "index.chosen", s->T, o->topk, DSV4_I32);
    o->y.count = op_matrix_new(&s->op, "index.count", s->T, 1, DSV4_I32);
    add_stages(s, o);
    return o->y;
}
