/* packed_plan.c - the pieces of a model, block by block, and their places. */
#include "model/packed_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Being filled: the first failure stays, further pieces are dropped. */
typedef struct maker {
    const model_config *config;
    bool int8;
    packed_plan plan;
    char prefix[24]; /* "", "layers.7.", "mtp.0." */
    bool is_draft;
    dsv4_status status;
    dsv4_error *err;
} maker;

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

size_t packed_piece_bytes(const packed_piece *p)
{
    return p->stride * (size_t)p->count;
}

/* ---- adding -------------------------------------------------------------------------------------------------------------------- */

static bool reserve(packed_plan *plan)
{
    if (plan->n < plan->capacity) {
        return true;
    }
    const size_t capacity = plan->capacity == 0 ? 256 : 2 * plan->capacity;
    packed_piece *pieces = memory_zeroed_array(capacity, sizeof *pieces);
    if (pieces == NULL) {
        return false;
    }
    if (plan->n > 0) {
        memcpy(pieces, plan->pieces, plan->n * sizeof *pieces);
    }
    free(plan->pieces);
    plan->pieces = pieces;
    plan->capacity = capacity;
    return true;
}

static size_t vector_bytes(packed_kind kind, int64_t k, int64_t n)
{
    size_t bytes;
    return __builtin_mul_overflow((size_t)k, (size_t)n, &bytes) ||
                   __builtin_mul_overflow(bytes, (size_t)(kind == PACKED_BF16 ? 2 : 4), &bytes)
               ? 0
               : bytes;
}

/* Gives the piece its place, on pages of its own. false: beyond what a file may hold. */
static bool place(packed_plan *plan, packed_piece *p)
{
    size_t total, end;
    p->stride = round_up(p->bytes, 64);
    if (p->bytes == 0 || p->bytes > SIZE_MAX / 4 || __builtin_mul_overflow(p->stride, (size_t)p->count, &total)) {
        return false;
    }
    p->offset = round_up(plan->bytes, PACKED_PAGE);
    if (__builtin_add_overflow(p->offset, total, &end) || end > SIZE_MAX / 4) {
        return false;
    }
    plan->bytes = end;
    return true;
}

/* The piece "<prefix><name>"; its target is to be set. NULL: failed. */
static packed_piece *add(maker *m, const char *name, packed_kind kind, model_form form, int64_t k, int64_t n, int64_t count)
{
    if (m->status != DSV4_OK) {
        return NULL;
    }
    if (!reserve(&m->plan)) {
        m->status = dsv4_fail(m->err, DSV4_E_NO_MEMORY, "no memory for a plan of more than %zu weights", m->plan.n);
        return NULL;
    }
    packed_piece *p = &m->plan.pieces[m->plan.n];
    *p = (packed_piece){.kind = kind, .is_draft = m->is_draft, .form = form, .k = k, .n = n, .count = count};
    snprintf(p->name, sizeof p->name, "%s%s", m->prefix, name);
    p->bytes = kind == PACKED_WEIGHT || kind == PACKED_BANK ? packed_form_bytes(form, k, n) : vector_bytes(kind, k, n);
    if (!place(&m->plan, p)) {
        m->status = dsv4_fail(m->err, DSV4_E_VALUE, "%s: %" PRId64 " weights of %" PRId64 " x %" PRId64 " cannot be packed",
                              p->name, count, k, n);
        return NULL;
    }
    m->plan.n++;
    return p;
}

static void add_weight(maker *m, const char *name, model_form form, int64_t k, int64_t n, model_weight *w)
{
    packed_piece *p = add(m, name, PACKED_WEIGHT, form, k, n, 1);
    if (p != NULL) {
        p->target.weight = w;
    }
}

static void add_fp8(maker *m, const char *name, int64_t k, int64_t n, model_weight *w)
{
    add_weight(m, name, m->int8 ? MODEL_FORM_I8 : MODEL_FORM_FP8, k, n, w);
}

static void add_bank(maker *m, const char *name, int64_t k, int64_t n, model_expert_bank *bank)
{
    const model_form form = m->config->expert_dtype == MODEL_EXPERT_FP4 ? MODEL_FORM_FP4 : m->int8 ? MODEL_FORM_I8 : MODEL_FORM_FP8;
    packed_piece *p = add(m, name, PACKED_BANK, form, k, n, m->config->n_routed_experts);
    if (p != NULL) {
        p->target.bank = bank;
    }
}

static void add_bf16(maker *m, const char *name, int64_t rows, int64_t n, const uint16_t **values)
{
    packed_piece *p = add(m, name, PACKED_BF16, MODEL_FORM_NONE, rows, n, 1);
    if (p != NULL) {
        p->target.bf16 = values;
    }
}

static void add_f32(maker *m, const char *name, int64_t rows, int64_t n, const float **values)
{
    packed_piece *p = add(m, name, PACKED_F32, MODEL_FORM_NONE, rows, n, 1);
    if (p != NULL) {
        p->target.f32 = values;
    }
}

/* ---- parts of a block ------------------------------------------------------------------------------------------------------------ */

/* "<path>_fn", "<path>_base", "<path>_scale" */
static void add_streams(maker *m, const char *path, int64_t mix, int64_t n_scales, model_streams_weights *w)
{
    const int64_t hc = m->config->dims.hc_mult;
    char name[48];
    snprintf(name, sizeof name, "%s_fn", path);
    add_weight(m, name, MODEL_FORM_F32, hc * m->config->dims.hidden_size, mix, &w->fn);
    snprintf(name, sizeof name, "%s_base", path);
    add_f32(m, name, 1, mix, &w->base);
    snprintf(name, sizeof name, "%s_scale", path);
    add_f32(m, name, 1, n_scales, &w->scale);
}

static void add_compressor(maker *m, const char *path, int64_t ratio, int64_t dim, model_compressor_weights *w)
{
    const int64_t hidden = m->config->dims.hidden_size, width = (ratio == 4 ? 2 : 1) * dim;
    char name[48];
    snprintf(name, sizeof name, "%s.wkv", path);
    add_weight(m, name, MODEL_FORM_BF16, hidden, width, &w->wkv);
    snprintf(name, sizeof name, "%s.wgate", path);
    add_weight(m, name, MODEL_FORM_BF16, hidden, width, &w->wgate);
    snprintf(name, sizeof name, "%s.ape", path);
    add_f32(m, name, ratio, width, &w->ape);
    snprintf(name, sizeof name, "%s.norm", path);
    add_bf16(m, name, 1, dim, &w->norm);
}

static void add_attention(maker *m, model_block_weights *b)
{
    const dsv4_config *d = &m->config->dims;
    const int64_t width = d->num_attention_heads * d->head_dim, out = d->o_groups * d->o_lora_rank;
    add_fp8(m, "attn.wq_a", d->hidden_size, d->q_lora_rank, &b->wq_a);
    add_fp8(m, "attn.wq_b", d->q_lora_rank, width, &b->wq_b);
    add_fp8(m, "attn.wkv", d->hidden_size, d->head_dim, &b->wkv);
    add_fp8(m, "attn.wo_a", width / d->o_groups, out, &b->wo_a);
    add_fp8(m, "attn.wo_b", out, d->hidden_size, &b->wo_b);
    add_bf16(m, "attn.q_norm", 1, d->q_lora_rank, &b->q_norm);
    add_bf16(m, "attn.kv_norm", 1, d->head_dim, &b->kv_norm);
    add_f32(m, "attn.attn_sink", 1, d->num_attention_heads, &b->sink);
    if (b->ratio > 0) {
        add_compressor(m, "attn.compressor", b->ratio, d->head_dim, &b->compress);
    }
    if (b->ratio == 4) {
        add_fp8(m, "attn.indexer.wq_b", d->q_lora_rank, d->index_n_heads * d->index_head_dim, &b->index_wq_b);
        add_weight(m, "attn.indexer.weights_proj", MODEL_FORM_BF16, d->hidden_size, d->index_n_heads, &b->index_weights);
        add_compressor(m, "attn.indexer.compressor", b->ratio, d->index_head_dim, &b->index_compress);
    }
}

static void add_experts(maker *m, model_block_weights *b, bool is_hashed)
{
    const model_config *c = m->config;
    const int64_t hidden = c->dims.hidden_size, inner = c->moe_intermediate_size;
    add_weight(m, "ffn.gate", MODEL_FORM_BF16, hidden, c->n_routed_experts, &b->gate);
    if (is_hashed) {
        packed_piece *p = add(m, "ffn.gate.tid2eid", PACKED_ROUTES, MODEL_FORM_NONE, c->vocab_size, c->num_experts_per_tok, 1);
        if (p != NULL) {
            p->target.routes = &b->routes;
        }
    } else {
        add_f32(m, "ffn.gate.bias", 1, c->n_routed_experts, &b->gate_bias);
    }
    add_fp8(m, "ffn.shared_experts.w1", hidden, inner, &b->shared.w1);
    add_fp8(m, "ffn.shared_experts.w3", hidden, inner, &b->shared.w3);
    add_fp8(m, "ffn.shared_experts.w2", inner, hidden, &b->shared.w2);
    add_bank(m, "ffn.experts.*.w1", hidden, inner, &b->w1);
    add_bank(m, "ffn.experts.*.w3", hidden, inner, &b->w3);
    add_bank(m, "ffn.experts.*.w2", inner, hidden, &b->w2);
}

static void add_draft_parts(maker *m, model_block_weights *b)
{
    const int64_t hidden = m->config->dims.hidden_size, hc = m->config->dims.hc_mult;
    add_fp8(m, "e_proj", hidden, hidden, &b->e_proj);
    add_fp8(m, "h_proj", hidden, hidden, &b->h_proj);
    add_bf16(m, "enorm", 1, hidden, &b->enorm);
    add_bf16(m, "hnorm", 1, hidden, &b->hnorm);
    add_bf16(m, "norm", 1, hidden, &b->norm);
    add_streams(m, "hc_head", hc, 1, &b->head_streams);
}

static void add_block(maker *m, int block, model_block_weights *b)
{
    const model_config *c = m->config;
    const int n_layers = (int)c->num_hidden_layers;
    const int64_t hc = c->dims.hc_mult, mix = (2 + hc) * hc;
    m->is_draft = block >= n_layers;
    snprintf(m->prefix, sizeof m->prefix, "%s.%d.", m->is_draft ? "mtp" : "layers", m->is_draft ? block - n_layers : block);
    b->ratio = c->compress_ratio[block];
    add_streams(m, "hc_attn", mix, 3, &b->attn_streams);
    add_streams(m, "hc_ffn", mix, 3, &b->ffn_streams);
    add_bf16(m, "attn_norm", 1, c->dims.hidden_size, &b->attn_norm);
    add_bf16(m, "ffn_norm", 1, c->dims.hidden_size, &b->ffn_norm);
    add_attention(m, b);
    add_experts(m, b, model_config_is_hashed(c, block));
    if (m->is_draft) {
        add_draft_parts(m, b);
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------- */

static void add_all(maker *m, model_weights *w)
{
    const model_config *c = m->config;
    for (int b = 0; b < w->n_blocks; b++) {
        add_block(m, b, &w->blocks[b]);
    }
    m->prefix[0] = '\0';
    m->is_draft = false;
    add_bf16(m, "embed", c->vocab_size, c->dims.hidden_size, &w->embedding);
    add_bf16(m, "norm", 1, c->dims.hidden_size, &w->norm);
    add_streams(m, "hc_head", c->dims.hc_mult, 1, &w->head_streams);
    add_weight(m, "head", MODEL_FORM_BF16, c->dims.hidden_size, c->vocab_size, &w->head);
}

dsv4_status packed_plan_make(const model_config *config, bool int8, model_weights **weights, packed_plan *plan, dsv4_error *err)
{
    model_weights *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the weights of a model");
    }
    w->config = *config;
    w->int8 = int8;
    if (config->draft == MODEL_DRAFT_DSPARK) {
        w->config.draft = MODEL_DRAFT_NONE;
        w->config.n_draft_blocks = 0;
    }
    w->n_blocks = model_config_n_blocks(&w->config);
    w->blocks = memory_zeroed_array((size_t)w->n_blocks, sizeof *w->blocks);
    maker m = {.config = &w->config, .int8 = int8, .err = err};
    if (w->blocks == NULL) {
        m.status = dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %d blocks", w->n_blocks);
    }
    add_all(&m, w);
    if (m.status != DSV4_OK) {
        packed_plan_deinit(&m.plan);
        model_weights_free(w);
        return m.status;
    }
    w->bytes = m.plan.bytes;
    *weights = w;
    *plan = m.plan;
    return DSV4_OK;
}

void packed_plan_deinit(packed_plan *plan)
{
    free(plan->pieces);
    *plan = (packed_plan){0};
}

void packed_plan_bind(const packed_plan *plan, void *data)
{
    for (size_t i = 0; i < plan->n; i++) {
        const packed_piece *p = &plan->pieces[i];
        void *at = (char *)data + p->offset;
        switch (p->kind) {
        case PACKED_WEIGHT:
            *p->target.weight = packed_form_in(p->form, p->k, p->n, at);
            break;
        case PACKED_BANK:
            *p->target.bank = (model_expert_bank){packed_form_in(p->form, p->k, p->n, at), p->stride, p->count};
            break;
        case PACKED_BF16:
            *p->target.bf16 = at;
            break;
        case PACKED_F32:
            *p->target.f32 = at;
            break;
        case PACKED_ROUTES:
            *p->target.routes = at;
            break;
        }
    }
}
