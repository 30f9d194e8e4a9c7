/* model/step/attend.c - a token's sums over its keys: its window, then compressed rows (SPEC 5, 9.2).
 *
 * MATH    s = q . keys hd^-1/2;  e = exp(s - max s);  o = sum e keys / (sum e + exp(sink - max s)), rounded, rotated back, rounded
 * STAGES  attn.core  [row x head tile]   q, kv of the step, rings, caches -> o
 *         attn.store [1]                 kv of the step -> ring, behind all that read it
 * NUMERICS BF16 rows: paired sums, e rounded to BF16 for the second product, not in the sum of the denominator; FP32 rows: FP32. The
 *         second product is summed over CHUNK keys at a time, in list order: which tokens share a step changes nothing. */
#include <math.h>
#include <string.h>

#include "model/step/attention.h"

enum { CHUNK = 512 };

typedef struct attend_stage {
    const step *s;
    int block, ratio;
    const float *sink;
    step_matrix q, kv, o;
    step_chosen chosen;
    op_matrix done, ring_reads;
    int64_t H, hd, heads, max_keys; /* heads of a block */
    float scale;
    bool is_bf16;
} attend_stage;

typedef struct attend_scratch {
    const void **keys;    /* [max_keys] */
    void *panels;         /* the heads, packed [hd, heads] */
    float *scores;        /* [max_keys][padded heads] */
    float *m, *l;         /* [padded heads] */
    void *weights;        /* e: BF16 as activations; FP32 [heads][max_keys] */
    void *values;         /* UK_PANEL columns of CHUNK keys, as a panel */
    float *part, *gather; /* [heads][UK_PANEL]; FP32: [CHUNK][UK_PANEL] */
    float *out;           /* [heads][hd padded] */
} attend_scratch;

static int64_t padded_heads(const attend_stage *o)
{
    return tile_count(o->heads, UK_PANEL) * UK_PANEL;
}

static int64_t padded_dims(const attend_stage *o)
{
    return tile_count(o->hd, UK_PANEL) * UK_PANEL;
}

static void *take(char **at, size_t n)
{
    void *begin = *at;
    *at += (n + 63) / 64 * 64;
    return begin;
}

/* Lays scratch out; returns its size. */
static size_t scratch_in(const attend_stage *o, void *scratch, attend_scratch *w)
{
    char *at = scratch;
    size_t value = o->is_bf16 ? sizeof(uint16_t) : sizeof(float), f = sizeof(float), heads = (size_t)padded_heads(o);
    size_t groups = (size_t)tile_count(o->heads, UK_ROWS), keys = (size_t)o->max_keys;
    w->keys = take(&at, keys * sizeof *w->keys);
    w->panels = take(&at, heads * (size_t)(o->hd + 1) * value);
    w->scores = take(&at, keys * heads * f);
    w->m = take(&at, heads * f);
    w->l = take(&at, heads * f);
    w->weights = take(&at, o->is_bf16 ? groups * (size_t)uk_acts_bytes_bf16(o->s->op.uk, UK_ROWS, o->max_keys) : heads * keys * f);
    w->values = take(&at, (CHUNK + 1) * UK_PANEL * value);
    w->part = take(&at, groups * UK_ROWS * UK_PANEL * f);
    w->gather = take(&at, o->is_bf16 ? 0 : CHUNK * UK_PANEL * f);
    w->out = take(&at, heads * (size_t)padded_dims(o) * f);
    return (size_t)(at - (char *)scratch);
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------- */

static int64_t n_entries(const attend_stage *o, int64_t t)
{
    return o->ratio == 0   ? 0
           : o->ratio == 4 ? ((const int32_t *)o->chosen.count.data)[t]
                           : (o->s->rows->position[t] + 1) / o->ratio;
}

/* The keys of a row of the step: window rows by position, then compressed rows by number. */
static int64_t list_keys(const attend_stage *o, int64_t t, const void **keys)
{
    const step_rows *r = o->s->rows;
    const model_kv *kv = o->s->kv;
    int64_t p = r->position[t], start = step_start(r, t), n = 0, entries = n_entries(o, t);
    for (int64_t at = tile_max(p - o->s->config->dims.sliding_window + 1, 0); at <= p; at++) {
        keys[n++] = at >= start ? (const char *)o->kv.m.data + (size_t)((r->first[t] + at - start) * o->kv.m.ld) * kv->elem
                                : model_kv_window(kv, o->block, r->slot[t], at);
    }
    for (int64_t i = 0; i < entries; i++) {
        int64_t entry = o->ratio == 4 ? ((const int32_t *)o->chosen.rows.data)[t * o->chosen.rows.ld + i] : i;
        keys[n++] = model_kv_entry(kv, o->block, r->slot[t], kv->blocks[o->block].entries, o->hd, entry);
    }
    return n;
}

/* ---- BF16 ------------------------------------------------------------------------------------------------------------------- */

static void weigh_bf16(const attend_stage *o, int64_t t, int64_t head, int64_t n, attend_scratch *w)
{
    const uk_table *uk = o->s->op.uk;
    const uint16_t *q = (const uint16_t *)o->q.m.data + t * o->q.m.ld + head * o->hd;
    uk_packed packed = uk_pack_bf16(uk, q, o->hd, o->heads, 1, o->hd, w->panels);
    uk->gemm_keys(n, o->hd, (const uint16_t *const *)(const void *)w->keys, packed.n_panels, packed.panels, w->scores,
                  padded_heads(o));
    uk->softmax(n, o->heads, o->scale, w->scores, padded_heads(o), w->m, w->l, w->weights);
}

/* sums [heads][UK_PANEL] = e times columns [col, col + cols) of keys [first, first + count). */
static void sum_bf16(const attend_stage *o, int64_t n, int64_t first, int64_t count, int64_t col, int64_t cols, attend_scratch *w,
                     float *sums)
{
    const uk_table *uk = o->s->op.uk;
    uk_acts e = {(char *)w->weights + first * UK_ROWS * uk->act_bytes_bf16, o->heads, UK_ROWS, uk_acts_bytes_bf16(uk, UK_ROWS, n)};
    uk->panel_keys(count, cols, (const uint16_t *const *)(const void *)(w->keys + first), col, w->values);
    uk->gemm_bf16(e, count, w->values, sums, UK_PANEL);
}

/* ---- FP32 ------------------------------------------------------------------------------------------------------------------- */

static void weigh_f32(const attend_stage *o, int64_t t, int64_t head, int64_t n, attend_scratch *w)
{
    const uk_table *uk = o->s->op.uk;
    int64_t ld = padded_heads(o);
    float *e = w->weights;
    uk_packed q = uk_pack_f32(uk, op_matrix_f32(&o->q.m, t, head * o->hd), o->hd, o->heads, 1, o->hd, w->panels);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t p = 0; p < q.n_panels; p++) {
            uk->gemm_f32(1, o->hd, w->keys[i], o->hd, uk_panel_f32(&q, p, 0), w->scores + i * ld + p * UK_PANEL, ld);
        }
    }
    for (int64_t h = 0; h < o->heads; h++) {
        float m = -INFINITY, *row = e + h * n;
        double l = 0;
        for (int64_t i = 0; i < n; i++) {
            row[i] = w->scores[i * ld + h] * o->scale;
            m = row[i] > m ? row[i] : m;
        }
        for (int64_t i = 0; i < n; i++) {
            row[i] -= m;
        }
        uk->exp(n, row, row);
        for (int64_t i = 0; i < n; i++) {
            l += (double)row[i];
        }
        w->m[h] = m;
        w->l[h] = (float)l;
    }
}

static void sum_f32(const attend_stage *o, int64_t n, int64_t first, int64_t count, int64_t col, int64_t cols, attend_scratch *w,
                    float *sums)
{
    const uk_table *uk = o->s->op.uk;
    for (int64_t i = 0; i < count; i++) {
        memcpy(w->gather + i * UK_PANEL, (const float *)w->keys[first + i] + col, (size_t)cols * sizeof(float));
    }
    uk->pack((uk_source){w->gather, sizeof(float), count, cols, UK_PANEL, 1}, w->values);
    for (int64_t h = 0; h < o->heads; h += UK_ROWS) {
        uk->gemm_f32((int)tile_min(o->heads - h, UK_ROWS), count, (const float *)w->weights + h * n + first, n, w->values,
                     sums + h * UK_PANEL, UK_PANEL);
    }
}

/* ---- a block ---------------------------------------------------------------------------------------------------------------- */

static void core_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const attend_stage *o = arg;
    int64_t tiles = o->H / o->heads, t = block / tiles, head = block % tiles * o->heads;
    int64_t window = tile_max(t - o->s->config->dims.sliding_window + 1, 0);
    dsv4_reads(d, o->q.m.view, t, t + 1, head * o->hd, (head + o->heads) * o->hd);
    dsv4_reads(d, o->kv.m.view, window, t + 1, 0, o->hd);
    dsv4_reads(d, o->ring_reads.view, 0, 1, 0, 1);
    step_rope_reads(d, o->s->rope, o->ratio, t, t + 1);
    step_done_reads(d, &o->done, t);
    if (o->ratio == 4) {
        dsv4_reads(d, o->chosen.rows.view, t, t + 1, 0, o->chosen.rows.cols);
        dsv4_reads(d, o->chosen.count.view, t, t + 1, 0, 1);
    }
    dsv4_writes(d, o->o.m.view, t, t + 1, head * o->hd, (head + o->heads) * o->hd);
    double n = (double)o->max_keys;
    dsv4_costs(d, (dsv4_work){.flops_bf16 = 4 * n * (double)(o->heads * o->hd),
                              .vector_ops = n * (double)(16 * o->heads + o->hd),
                              .product = {.m = o->heads, .n = o->max_keys, .k = o->hd}});
}

static double core_share(const void *arg, int64_t block)
{
    const attend_stage *o = arg;
    int64_t t = block / (o->H / o->heads);
    if (t >= o->s->rows->n) {
        return 0;
    }
    int64_t window = tile_min(o->s->rows->position[t] + 1, o->s->config->dims.sliding_window);
    return (double)(window + n_entries(o, t)) / (double)o->max_keys;
}

/* out [heads][padded dims] = the sums over n keys, not yet divided. */
static void sum_values(const attend_stage *o, int64_t n, attend_scratch *w)
{
    const uk_table *uk = o->s->op.uk;
    int64_t ld = padded_dims(o);
    for (int64_t col = 0; col < o->hd; col += UK_PANEL) {
        int64_t cols = tile_min(o->hd - col, UK_PANEL);
        for (int64_t h = 0; h < o->heads; h++) {
            memset(w->out + h * ld + col, 0, UK_PANEL * sizeof(float));
        }
        for (int64_t first = 0; first < n; first += CHUNK) {
            int64_t count = tile_min(n - first, CHUNK);
            if (o->is_bf16) {
                sum_bf16(o, n, first, count, col, cols, w, w->part);
            } else {
                sum_f32(o, n, first, count, col, cols, w, w->part);
            }
            for (int64_t h = 0; h < o->heads; h++) {
                uk->add(UK_PANEL, w->part + h * UK_PANEL, w->out + h * ld + col);
            }
        }
    }
}

static void core_run(const void *arg, int64_t block, void *scratch)
{
    const attend_stage *o = arg;
    const step *s = o->s;
    const uk_table *uk = s->op.uk;
    int64_t tiles = o->H / o->heads, t = block / tiles, head = block % tiles * o->heads, ld = padded_dims(o);
    attend_scratch w;
    if (t >= s->rows->n) {
        return;
    }
    (void)scratch_in(o, scratch, &w);
    int64_t n = list_keys(o, t, w.keys);
    if (o->is_bf16) {
        weigh_bf16(o, t, head, n, &w);
    } else {
        weigh_f32(o, t, head, n, &w);
    }
    sum_values(o, n, &w);
    for (int64_t h = 0; h < o->heads; h++) {
        float sink = o->sink[head + h] - w.m[h], *row = w.out + h * ld;
        uk->exp(1, &sink, &sink);
        float denominator = w.l[h] + sink;
        for (int64_t i = 0; i < o->hd; i++) {
            row[i] /= denominator;
        }
        step_round(s, o->hd, row);
        step_rotate_back(s, step_rope_turn(s->rope, o->ratio, t), o->hd, row);
        step_store(uk, &o->o, t, (head + h) * o->hd, o->hd, row);
    }
}

/* ---- the ring --------------------------------------------------------------------------------------------------------------- */

static void store_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const attend_stage *o = arg;
    (void)block;
    dsv4_reads(d, o->kv.m.view, 0, o->s->T, 0, o->hd);
    dsv4_writes(d, o->ring_reads.view, 0, 1, 0, 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)(o->s->T * o->hd)});
}

/* A stage of one block: its write of ring_reads waits for all readers. */
static void store_run(const void *arg, int64_t block, void *scratch)
{
    const attend_stage *o = arg;
    const step_rows *r = o->s->rows;
    const model_kv *kv = o->s->kv;
    (void)block;
    (void)scratch;
    for (int64_t t = 0; t < r->n; t++) {
        if (r->position[t] + kv->window_rows >= r->end[t]) {
            memcpy(model_kv_window(kv, o->block, r->slot[t], r->position[t]),
                   (const char *)o->kv.m.data + (size_t)(t * o->kv.m.ld) * kv->elem, (size_t)o->hd * kv->elem);
        }
    }
    *(int8_t *)o->ring_reads.data = 1;
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

/* Heads of a block: all of them where rows alone keep the threads busy. A divisor of H. */
static int64_t head_tile(const step *s, int64_t H)
{
    int64_t tile = tile_max(tile_min(H, H * s->T / s->n_threads), tile_min(H, UK_ROWS));
    while (H % tile != 0) {
        tile--;
    }
    return tile;
}

step_matrix step_attend_add(const step *s, int block, const model_block_weights *w, const step_qkv *qkv, const step_chosen *chosen,
                            op_matrix done)
{
    const dsv4_config *d = &s->config->dims;
    attend_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_matrix){0};
    }
    *o = (attend_stage){.s = s, .block = block, .ratio = w->ratio, .sink = w->sink, .q = qkv->q, .kv = qkv->kv, .chosen = *chosen};
    o->done = done;
    o->H = d->num_attention_heads;
    o->hd = d->head_dim;
    o->heads = head_tile(s, o->H);
    o->max_keys = d->sliding_window + (w->ratio == 4 ? chosen->rows.cols : step_max_entries(s, w->ratio));
    o->scale = (float)(1.0 / sqrt((double)o->hd));
    o->is_bf16 = qkv->q.dtype == DSV4_BF16;
    o->ring_reads = op_matrix_new(&s->op, "attn.ring_reads", 1, 1, DSV4_I8);
    o->o = step_matrix_new(s, "attn.o", s->T, o->H * o->hd);
    attend_scratch unused;
    dsv4_stage core = dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"attn.core", s->T * (o->H / o->heads), core_run, core_describe,
                                                                   o, scratch_in(o, NULL, &unused), DSV4_CUBE});
    dsv4_graph_share(s->op.g, core, core_share);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"attn.store", 1, store_run, store_describe, o, 0, DSV4_VECTOR});
    return o->o;
}
