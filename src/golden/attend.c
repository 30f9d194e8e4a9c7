/* golden/attend.c - attention of every token over its own list of keys, block by block (SPEC 5.1).
 *
 * MATH      block i of a token and head:  s[k] = (q . kv[k]) hd^(-1/2);  m_i = max_k s[k];  e[k] = exp(s[k] - m_i)
 *           l_i = sum_k e[k];  o_i = sum_k bf(e[k]) kv[k]
 *           merge in block order:  m' = max(m, m_i), a = exp(m - m'), b = exp(m_i - m'), l = a l + b l_i, o = a o + b o_i, m = m'
 *           out = o / (l + exp(attn_sink - m)), 0 without any key; last R elements rotated back; o = bf(out)
 * SHAPES    q bf16[T,H,hd]  keys: lists of rows bf16[hd]  ->  o bf16[G,T,GI], heads g H/G ... of group g side by side
 * NUMERICS  l sums e before its rounding to BF16. A masked slot has e = 0, so a block without keys drops out of the merge. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "golden/attention.h"
#include "golden/operators.h"
#include "golden/primitives.h"

/* Unnormalised attention of all heads over some keys. */
typedef struct partial {
    float *m, *l; /* [H] */
    float *o;     /* [H, hd] */
} partial;

/* What a token needs; n is the number of keys in the block at hand. */
typedef struct scratch {
    uint16_t *kv;        /* [n, hd] */
    uint16_t *kv_t;      /* [hd, n] */
    float *s;            /* [H, n] */
    uint16_t *p;         /* [H, n] */
    partial all, block;  /* of the blocks so far, of the block at hand */
    uint16_t *minus_sin; /* [R/2] */
} scratch;

bool golden_keys_alloc(golden_keys *keys, arena *memory, int64_t T, int64_t width)
{
    keys->width = width;
    keys->rows = arena_alloc(memory, (size_t)T * (size_t)width * sizeof *keys->rows);
    keys->n_slots = arena_alloc(memory, (size_t)T * sizeof *keys->n_slots);
    return keys->rows != NULL && keys->n_slots != NULL;
}

dsv4_status golden_attention_init(golden_attention *a, const dsv4_config *config, const dsv4_numerics *numerics, dsv4_error *err)
{
    const int64_t H = config->num_attention_heads, G = config->o_groups;
    if (G < 1 || H % G != 0) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "config o_groups: got %" PRId64 ", expected a divisor of num_attention_heads = %" PRId64, G, H);
    }
    *a = (golden_attention){
        .H = H,
        .hd = config->head_dim,
        .R = config->qk_rope_head_dim,
        .D = config->hidden_size,
        .G = G,
        .OL = config->o_lora_rank,
        .GI = H / G * config->head_dim,
        .tile = config->attn_tile,
        .act_scale = numerics->act_scale,
    };
    return golden_check_rope_dim(config, "head_dim", config->head_dim, err);
}

dsv4_status golden_attention_bind(golden_attention *a, const dsv4_tensor_list *in, dsv4_error *err)
{
    enum { ATTN_SINK, WO_A, WO_B, WO_B_SCALE, N_IN };
    const golden_tensor want[N_IN] = {
        [ATTN_SINK] = {"attn_sink", DSV4_F32, 1, {a->H}},
        [WO_A] = {"wo_a", DSV4_BF16, 3, {a->G, a->OL, a->GI}},
        [WO_B] = {"wo_b", DSV4_I8, 2, {a->D, a->G * a->OL}},
        [WO_B_SCALE] = {"wo_b_scale", DSV4_F32, 1, {a->D}},
    };
    const void *data[N_IN];
    golden_extents none = {0};
    const dsv4_status status = golden_need(in, want, N_IN, data, &none, err);
    if (status == DSV4_OK) {
        a->attn_sink = data[ATTN_SINK];
        a->wo_a = data[WO_A];
        a->wo_b = data[WO_B];
        a->wo_b_scale = data[WO_B_SCALE];
    }
    return status;
}

static bool partial_alloc(partial *part, const golden_attention *a, arena *memory)
{
    part->m = arena_alloc(memory, (size_t)a->H * sizeof *part->m);
    part->l = arena_alloc(memory, (size_t)a->H * sizeof *part->l);
    part->o = arena_alloc(memory, (size_t)(a->H * a->hd) * sizeof *part->o);
    return part->m != NULL && part->l != NULL && part->o != NULL;
}

static bool scratch_alloc(scratch *w, const golden_attention *a, const golden_keys *keys, arena *memory)
{
    const int64_t most = keys->width < a->tile ? keys->width : a->tile;
    const size_t block_elements = (size_t)(most * a->hd), scores = (size_t)(a->H * most);
    w->kv = arena_alloc(memory, block_elements * sizeof *w->kv);
    w->kv_t = arena_alloc(memory, block_elements * sizeof *w->kv_t);
    w->s = arena_alloc(memory, scores * sizeof *w->s);
    w->p = arena_alloc(memory, scores * sizeof *w->p);
    w->minus_sin = arena_alloc(memory, (size_t)(a->R / 2) * sizeof *w->minus_sin);
    return w->kv != NULL && w->kv_t != NULL && w->s != NULL && w->p != NULL && w->minus_sin != NULL &&
           partial_alloc(&w->all, a, memory) && partial_alloc(&w->block, a, memory);
}

static float exp_f32(float x)
{
    return (float)exp((double)x);
}

/* Copies the keys of a block; returns their number. */
static int64_t gather_block(const golden_attention *a, const uint16_t *const *slots, int64_t n_slots, scratch *w)
{
    int64_t n = 0;
    for (int64_t i = 0; i < n_slots; i++) {
        if (slots[i] != NULL) {
            memcpy(w->kv + n * a->hd, slots[i], (size_t)a->hd * sizeof *w->kv);
            n++;
        }
    }
    for (int64_t k = 0; k < n; k++) {
        for (int64_t d = 0; d < a->hd; d++) {
            w->kv_t[d * n + k] = w->kv[k * a->hd + d];
        }
    }
    return n;
}

/* p = bf(e) of the scores s[n] of one head; their maximum and the sum of e go to *m and *l. */
static void softmax_head(float *s, int64_t n, float scale, uint16_t *p, float *m, float *l)
{
    double sum = 0.0;
    *m = -INFINITY;
    for (int64_t k = 0; k < n; k++) {
        s[k] = s[k] * scale;
        *m = fmaxf(*m, s[k]);
    }
    for (int64_t k = 0; k < n; k++) {
        const float e = exp_f32(s[k] - *m);
        p[k] = num_bf16_from_f32(e);
        sum += e;
    }
    *l = (float)sum;
}

/* The n >= 1 gathered keys as a block of their own. */
static void attend_block(const golden_attention *a, const uint16_t *q, int64_t n, scratch *w, partial *part)
{
    const float scale = (float)(1.0 / sqrt((double)a->hd));
    golden_matmul_bf16(q, w->kv_t, a->H, a->hd, n, w->s);
    for (int64_t h = 0; h < a->H; h++) {
        softmax_head(w->s + h * n, n, scale, w->p + h * n, &part->m[h], &part->l[h]);
    }
    golden_matmul_bf16(w->p, w->kv, a->H, n, a->hd, part->o);
}

static void merge_block(const golden_attention *a, partial *all, const partial *block)
{
    for (int64_t h = 0; h < a->H; h++) {
        const float m = fmaxf(all->m[h], block->m[h]);
        const float alpha = exp_f32(all->m[h] - m), beta = exp_f32(block->m[h] - m);
        all->m[h] = m;
        all->l[h] = alpha * all->l[h] + beta * block->l[h];
        for (int64_t i = h * a->hd; i < (h + 1) * a->hd; i++) {
            all->o[i] = alpha * all->o[i] + beta * block->o[i];
        }
    }
}

/* out of a token to all.o: the sink is a key of value 0 that takes no part in the maximum. */
static void attend_token(const golden_attention *a, const golden_keys *keys, int64_t t, scratch *w)
{
    const uint16_t *const *slots = keys->rows + t * keys->width;
    bool any = false;
    for (int64_t k = 0; k < keys->n_slots[t]; k += a->tile) {
        const int64_t left = keys->n_slots[t] - k;
        const int64_t n = gather_block(a, slots + k, left < a->tile ? left : a->tile, w);
        if (n > 0) {
            attend_block(a, a->q + t * a->H * a->hd, n, w, any ? &w->block : &w->all);
            if (any) {
                merge_block(a, &w->all, &w->block);
            }
            any = true;
        }
    }
    for (int64_t h = 0; h < a->H; h++) {
        const float denominator = any ? w->all.l[h] + exp_f32(a->attn_sink[h] - w->all.m[h]) : 1.0f;
        for (int64_t i = h * a->hd; i < (h + 1) * a->hd; i++) {
            w->all.o[i] = any ? w->all.o[i] / denominator : 0.0f;
        }
    }
}

/* all.o rotated back and rounded, to o[G, T, GI]. */
static void store_token(const golden_attention *a, int64_t t, const scratch *w, uint16_t *o)
{
    const int64_t heads = a->H / a->G;
    for (int64_t j = 0; j < a->R / 2; j++) {
        w->minus_sin[j] = a->freqs_sin[t * a->R + j] ^ 0x8000;
    }
    for (int64_t h = 0; h < a->H; h++) {
        float *head = w->all.o + h * a->hd;
        golden_rotate(head + a->hd - a->R, a->R, a->freqs_cos + t * a->R, w->minus_sin);
        golden_round(head, a->hd, o + ((h / heads) * a->T + t) * a->GI + (h % heads) * a->hd);
    }
}

dsv4_status golden_attention_run(const golden_attention *a, const golden_keys *keys, progress *p, dsv4_error *err)
{
    arena memory = {0};
    scratch w;
    dsv4_status status = DSV4_OK;
    uint16_t *o = arena_alloc(&memory, (size_t)a->T * (size_t)(a->H * a->hd) * sizeof *o);
    if (o == NULL || !scratch_alloc(&w, a, keys, &memory)) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " tokens", a->T);
    }
    for (int64_t t = 0; status == DSV4_OK && t < a->T; t++) {
        attend_token(a, keys, t, &w);
        store_token(a, t, &w, o);
        progress_report(p, 0.5 * (double)(t + 1) / (double)a->T);
    }
    if (status == DSV4_OK) {
        status = golden_out_proj(a, o, p, err);
    }
    arena_deinit(&memory);
    return status;
}
