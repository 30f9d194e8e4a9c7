/* model/step/qkv.c - queries, and the row that a token adds to the window. */
#include <math.h>

#include "model/step/attention.h"
#include "model/step/streams.h"

enum { KEY_BLOCK = 64 }; /* values of a window row that share a scale */

typedef struct qkv_stage {
    const step *s;
    step_product a, kv_sums, q_sums; /* x wq_a, x wkv, qr wq_b */
    const uint16_t *q_norm, *kv_norm;
    step_matrix qr, q, kv;
    int64_t H, hd, head_tile;
    int ratio;
} qkv_stage;

/* ---- rows that are normalised whole ----------------------------------------------------------------------------------------- */

static void qr_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const qkv_stage *o = arg;
    step_product_reads(d, &o->a, t, t + 1, 0, o->a.cols);
    dsv4_writes(d, o->qr.m.view, t, t + 1, 0, o->qr.m.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)o->a.cols});
}

static void qr_run(const void *arg, int64_t t, void *scratch)
{
    const qkv_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    step_product_row(uk, &o->a, t, 0, o->a.cols, scratch);
    step_rms_norm(o->s, o->a.cols, scratch, o->q_norm, scratch);
    step_store(uk, &o->qr, t, 0, o->a.cols, scratch);
}

static void kv_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const qkv_stage *o = arg;
    step_product_reads(d, &o->kv_sums, t, t + 1, 0, o->hd);
    step_rope_reads(d, o->s->rope, o->ratio, t, t + 1);
    dsv4_writes(d, o->kv.m.view, t, t + 1, 0, o->hd);
    dsv4_costs(d, (dsv4_work){.vector_ops = 8.0 * (double)o->hd});
}

static void kv_run(const void *arg, int64_t t, void *scratch)
{
    const qkv_stage *o = arg;
    const step *s = o->s;
    float *row = scratch;
    if (t >= s->rows->n) {
        return;
    }
    step_product_row(s->op.uk, &o->kv_sums, t, 0, o->hd, row);
    step_rms_norm(s, o->hd, row, o->kv_norm, row);
    step_rotate(s, step_rope_turn(s->rope, o->ratio, t), o->hd, row);
    if (s->numerics->rounds_keys) {
        s->op.uk->round_e4m3(o->hd - s->rope->R, KEY_BLOCK, row, row);
    }
    step_store(s->op.uk, &o->kv, t, 0, o->hd, row);
}

/* ---- heads ------------------------------------------------------------------------------------------------------------------ */

typedef struct head_block {
    int64_t t;
    tile_range head;
} head_block;

static head_block head_block_at(const qkv_stage *o, int64_t block)
{
    int64_t n = tile_count(o->H, o->head_tile);
    return (head_block){block / n, tile_at(block % n, o->head_tile, o->H)};
}

static void q_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const qkv_stage *o = arg;
    head_block b = head_block_at(o, block);
    step_product_reads(d, &o->q_sums, b.t, b.t + 1, b.head.begin * o->hd, b.head.end * o->hd);
    step_rope_reads(d, o->s->rope, o->ratio, b.t, b.t + 1);
    dsv4_writes(d, o->q.m.view, b.t, b.t + 1, b.head.begin * o->hd, b.head.end * o->hd);
    dsv4_costs(d, (dsv4_work){.vector_ops = 6.0 * (double)((b.head.end - b.head.begin) * o->hd)});
}

/* x / RMS(x); the published code does each step on BF16 values. scratch: n floats. */
static void normalise_head(const step *s, int64_t n, float *x, float *scratch)
{
    const uk_table *uk = s->op.uk;
    for (int64_t i = 0; i < n; i++) {
        scratch[i] = x[i] * x[i];
    }
    step_round(s, n, scratch);
    float inv = step_sum(n, scratch) / (float)n;
    step_round(s, 1, &inv);
    inv += (float)s->config->dims.rms_norm_eps;
    step_round(s, 1, &inv);
    inv = 1.0f / sqrtf(inv);
    step_round(s, 1, &inv);
    uk->scale(n, x, inv, x);
    step_round(s, n, x);
}

static void q_run(const void *arg, int64_t block, void *scratch)
{
    const qkv_stage *o = arg;
    const step *s = o->s;
    head_block b = head_block_at(o, block);
    float *x = scratch;
    for (int64_t head = b.head.begin; b.t < s->rows->n && head < b.head.end; head++) {
        step_product_row(s->op.uk, &o->q_sums, b.t, head * o->hd, (head + 1) * o->hd, x);
        normalise_head(s, o->hd, x, x + o->hd);
        step_rotate(s, step_rope_turn(s->rope, o->ratio, b.t), o->hd, x);
        step_store(s->op.uk, &o->q, b.t, head * o->hd, o->hd, x);
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

step_qkv step_qkv_add(const step *s, int ratio, const model_block_weights *w, step_matrix x)
{
    const dsv4_config *d = &s->config->dims;
    qkv_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    step_qkv y = {0};
    if (o == NULL) {
        return y;
    }
    *o = (qkv_stage){.s = s, .q_norm = w->q_norm, .kv_norm = w->kv_norm, .ratio = ratio};
    o->H = d->num_attention_heads;
    o->hd = d->head_dim;
    o->head_tile = tile_max(tile_min(o->H, o->H * s->T / (4 * s->n_threads)), tile_min(o->H, 4));
    size_t float_bytes = sizeof(float);
    y.x = step_operand_add(s, "attn.x_pack", x, w->wq_a.form, 1);
    o->a = step_linear_add(s, "attn.q_a", &y.x, &w->wq_a, true);
    o->kv_sums = step_linear_add(s, "attn.kv", &y.x, &w->wkv, true);
    if (ratio > 0) {
        y.x_plain = step_operand_add(s, "attn.x_plain", x, MODEL_FORM_BF16, 1);
    }
    o->qr = step_matrix_new(s, "attn.qr", s->T, d->q_lora_rank);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"attn.q_norm", s->T, qr_run, qr_describe, o, (size_t)d->q_lora_rank * float_bytes,
                                                 DSV4_VECTOR});
    y.qr = step_operand_add(s, "attn.qr_pack", o->qr, w->wq_b.form, 1);
    o->kv = step_matrix_new(s, "attn.kv_row", s->T, o->hd);
    dsv4_graph_stage(s->op.g,
                     &(dsv4_stage_desc){"attn.kv_row", s->T, kv_run, kv_describe, o, (size_t)o->hd * float_bytes, DSV4_VECTOR});
    o->q_sums = step_linear_add(s, "attn.q_b", &y.qr, &w->wq_b, true);
    o->q = step_matrix_new(s, "attn.q", s->T, o->H * o->hd);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"attn.q", s->T * tile_count(o->H, o->head_tile), q_run, q_describe, o,
                                                 2 * (size_t)o->hd * float_bytes, DSV4_VECTOR});
    y.q = o->q;
    y.kv = o->kv;
    return y;
}
