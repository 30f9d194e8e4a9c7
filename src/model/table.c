/* table.c - the tensors of a checkpoint, block by block. */
#include "model/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Being filled: the first failure stays, further tensors are dropped. */
typedef struct maker {
    const model_config *config;
    model_table table;
    int block;
    char prefix[24]; /* "", "layers.7.", "mtp.0." */
    bool failed;
} maker;

const char *model_group_name(model_group group)
{
    static const char *const names[] = {
#define GROUP_NAME(code, name) [code] = (name),
        MODEL_GROUP_LIST(GROUP_NAME)
#undef GROUP_NAME
    };
    assert(group < MODEL_N_GROUPS);
    return names[group];
}

static bool reserve(model_table *table)
{
    if (table->n < table->capacity) {
        return true;
    }
    const size_t capacity = table->capacity == 0 ? 256 : 2 * table->capacity;
    model_tensor *items = memory_array(capacity, sizeof *items);
    if (items == NULL) {
        return false;
    }
    if (table->n > 0) {
        memcpy(items, table->items, table->n * sizeof *items);
    }
    free(table->items);
    table->items = items;
    table->capacity = capacity;
    return true;
}

/* Adds "<prefix><name><end>"; columns 0: one dimension. */
static void add(maker *m, model_group group, const char *name, const char *end, dsv4_dtype dtype, int64_t rows, int64_t columns)
{
    if (m->failed || !reserve(&m->table)) {
        m->failed = true;
        return;
    }
    model_tensor *t = &m->table.items[m->table.n++];
    *t = (model_tensor){.group = group, .block = m->block, .dtype = dtype, .n_dims = columns > 0 ? 2 : 1, .shape = {rows, columns}};
    const int n = snprintf(t->name, sizeof t->name, "%s%s%s", m->prefix, name, end);
    assert(n > 0 && (size_t)n < sizeof t->name);
    (void)n;
}

static void add_bf16(maker *m, model_group group, const char *name, int64_t rows, int64_t columns)
{
    add(m, group, name, ".weight", DSV4_BF16, rows, columns);
}

static void add_f32(maker *m, model_group group, const char *name, int64_t rows, int64_t columns)
{
    add(m, group, name, "", DSV4_F32, rows, columns);
}

static int64_t blocks_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static void add_fp8(maker *m, model_group group, const char *name, int64_t rows, int64_t columns)
{
    add(m, group, name, ".weight", DSV4_F8_E4M3, rows, columns);
    add(m, group, name, ".scale", DSV4_F8_E8M0, blocks_of(rows, MODEL_FP8_BLOCK), blocks_of(columns, MODEL_FP8_BLOCK));
}

static void add_fp4(maker *m, model_group group, const char *name, int64_t rows, int64_t columns)
{
    add(m, group, name, ".weight", DSV4_I8, rows, columns / 2);
    add(m, group, name, ".scale", DSV4_F8_E8M0, rows, columns / MODEL_FP4_BLOCK);
}

/* ---- parts of a block ------------------------------------------------------------------------------------------------------ */

static void add_streams(maker *m)
{
    const int64_t hc = m->config->dims.hc_mult, mix = (2 + hc) * hc;
    static const char *const names[2][3] = {{"hc_attn_fn", "hc_attn_base", "hc_attn_scale"},
                                            {"hc_ffn_fn", "hc_ffn_base", "hc_ffn_scale"}};
    for (int i = 0; i < 2; i++) {
        add_f32(m, MODEL_STREAMS, names[i][0], mix, hc * m->config->dims.hidden_size);
        add_f32(m, MODEL_STREAMS, names[i][1], mix, 0);
        add_f32(m, MODEL_STREAMS, names[i][2], 3, 0);
    }
}

static void add_compressor(maker *m, model_group group, const char *path, int64_t ratio, int64_t dim)
{
    const int64_t width = (ratio == 4 ? 2 : 1) * dim; /* ratio 4: windows overlap, with channels for either half */
    const int64_t hidden = m->config->dims.hidden_size;
    char name[48];
    snprintf(name, sizeof name, "%s.ape", path);
    add_f32(m, group, name, ratio, width);
    snprintf(name, sizeof name, "%s.wkv", path);
    add_bf16(m, group, name, width, hidden);
    snprintf(name, sizeof name, "%s.wgate", path);
    add_bf16(m, group, name, width, hidden);
    snprintf(name, sizeof name, "%s.norm", path);
    add_bf16(m, group, name, dim, 0);
}

static void add_attention(maker *m, int64_t ratio)
{
    const dsv4_config *d = &m->config->dims;
    const int64_t width = d->num_attention_heads * d->head_dim;
    add_f32(m, MODEL_ATTENTION, "attn.attn_sink", d->num_attention_heads, 0);
    add_fp8(m, MODEL_ATTENTION, "attn.wq_a", d->q_lora_rank, d->hidden_size);
    add_bf16(m, MODEL_ATTENTION, "attn.q_norm", d->q_lora_rank, 0);
    add_fp8(m, MODEL_ATTENTION, "attn.wq_b", width, d->q_lora_rank);
    add_fp8(m, MODEL_ATTENTION, "attn.wkv", d->head_dim, d->hidden_size);
    add_bf16(m, MODEL_ATTENTION, "attn.kv_norm", d->head_dim, 0);
    add_fp8(m, MODEL_ATTENTION, "attn.wo_a", d->o_groups * d->o_lora_rank, width / d->o_groups);
    add_fp8(m, MODEL_ATTENTION, "attn.wo_b", d->hidden_size, d->o_groups * d->o_lora_rank);
    if (ratio > 0) {
        add_compressor(m, MODEL_COMPRESSOR, "attn.compressor", ratio, d->head_dim);
    }
    if (ratio == 4) {
        add_fp8(m, MODEL_INDEXER, "attn.indexer.wq_b", d->index_n_heads * d->index_head_dim, d->q_lora_rank);
        add_bf16(m, MODEL_INDEXER, "attn.indexer.weights_proj", d->index_n_heads, d->hidden_size);
        add_compressor(m, MODEL_INDEXER, "attn.indexer.compressor", ratio, d->index_head_dim);
    }
}

static void add_experts(maker *m)
{
    const model_config *c = m->config;
    const int64_t hidden = c->dims.hidden_size, inner = c->moe_intermediate_size;
    void (*const add_routed)(maker *, model_group, const char *, int64_t, int64_t) =
        c->expert_dtype == MODEL_EXPERT_FP4 ? add_fp4 : add_fp8;
    for (int64_t e = 0; e < c->n_routed_experts; e++) {
        char name[48];
        snprintf(name, sizeof name, "ffn.experts.%" PRId64 ".w1", e);
        add_routed(m, MODEL_ROUTED_EXPERTS, name, inner, hidden);
        snprintf(name, sizeof name, "ffn.experts.%" PRId64 ".w2", e);
        add_routed(m, MODEL_ROUTED_EXPERTS, name, hidden, inner);
        snprintf(name, sizeof name, "ffn.experts.%" PRId64 ".w3", e);
        add_routed(m, MODEL_ROUTED_EXPERTS, name, inner, hidden);
    }
    add_fp8(m, MODEL_SHARED_EXPERT, "ffn.shared_experts.w1", inner, hidden);
    add_fp8(m, MODEL_SHARED_EXPERT, "ffn.shared_experts.w2", hidden, inner);
    add_fp8(m, MODEL_SHARED_EXPERT, "ffn.shared_experts.w3", inner, hidden);
}

static void add_block(maker *m, int block)
{
    const model_config *c = m->config;
    add_streams(m);
    add_bf16(m, MODEL_NORMS, "attn_norm", c->dims.hidden_size, 0);
    add_bf16(m, MODEL_NORMS, "ffn_norm", c->dims.hidden_size, 0);
    add_attention(m, c->compress_ratio[block]);
    add_bf16(m, MODEL_ROUTER, "ffn.gate", c->n_routed_experts, c->dims.hidden_size);
    if (model_config_is_hashed(c, block)) {
        add(m, MODEL_ROUTER, "ffn.gate.tid2eid", "", DSV4_I64, c->vocab_size, c->num_experts_per_tok);
    } else {
        add_f32(m, MODEL_ROUTER, "ffn.gate.bias", c->n_routed_experts, 0);
    }
    add_experts(m);
}

/* ---- draft blocks and ends ---------------------------------------------------------------------------------------------------- */

static void add_end(maker *m)
{
    const int64_t hc = m->config->dims.hc_mult, hidden = m->config->dims.hidden_size;
    add_bf16(m, MODEL_NORMS, "norm", hidden, 0);
    add_f32(m, MODEL_STREAMS, "hc_head_fn", hc, hc * hidden);
    add_f32(m, MODEL_STREAMS, "hc_head_base", hc, 0);
    add_f32(m, MODEL_STREAMS, "hc_head_scale", 1, 0);
}

static void add_mtp_parts(maker *m)
{
    const int64_t hidden = m->config->dims.hidden_size;
    add_fp8(m, MODEL_DRAFT_PARTS, "e_proj", hidden, hidden);
    add_fp8(m, MODEL_DRAFT_PARTS, "h_proj", hidden, hidden);
    add_bf16(m, MODEL_DRAFT_PARTS, "enorm", hidden, 0);
    add_bf16(m, MODEL_DRAFT_PARTS, "hnorm", hidden, 0);
    add_end(m);
}

static void add_dspark_parts(maker *m, int stage)
{
    const model_config *c = m->config;
    const int64_t hidden = c->dims.hidden_size, rank = c->dspark_markov_rank;
    if (stage == 0) {
        add_fp8(m, MODEL_DRAFT_PARTS, "main_proj", hidden, 3 * hidden); /* of three trunk layers */
        add_bf16(m, MODEL_DRAFT_PARTS, "main_norm", hidden, 0);
    }
    if (stage == c->n_draft_blocks - 1) {
        add_end(m);
        add_bf16(m, MODEL_DRAFT_PARTS, "markov_head.markov_w1", c->vocab_size, rank);
        add_bf16(m, MODEL_DRAFT_PARTS, "markov_head.markov_w2", c->vocab_size, rank);
        add_bf16(m, MODEL_DRAFT_PARTS, "confidence_head.proj", 1, hidden + rank);
    }
}

static void add_blocks(maker *m)
{
    const int n_layers = (int)m->config->num_hidden_layers;
    for (int b = 0; b < model_config_n_blocks(m->config); b++) {
        m->block = b;
        snprintf(m->prefix, sizeof m->prefix, "%s.%d.", b < n_layers ? "layers" : "mtp", b < n_layers ? b : b - n_layers);
        add_block(m, b);
        if (b >= n_layers && m->config->draft == MODEL_DRAFT_MTP) {
            add_mtp_parts(m);
        } else if (b >= n_layers) {
            add_dspark_parts(m, b - n_layers);
        }
    }
    m->block = MODEL_OUTSIDE_BLOCKS;
    m->prefix[0] = '\0';
}

dsv4_status model_table_make(const model_config *config, model_table *out, dsv4_error *err)
{
    assert(config->expert_dtype != MODEL_EXPERT_UNKNOWN);
    maker m = {.config = config, .block = MODEL_OUTSIDE_BLOCKS};
    add_bf16(&m, MODEL_EMBEDDING, "embed", config->vocab_size, config->dims.hidden_size);
    add_blocks(&m);
    add_end(&m);
    add_bf16(&m, MODEL_HEAD, "head", config->vocab_size, config->dims.hidden_size);
    if (m.failed) {
        const size_t n = m.table.n;
        model_table_deinit(&m.table);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for a table of more than %zu tensors", n);
    }
    *out = m.table;
    return DSV4_OK;
}

void model_table_deinit(model_table *table)
{
    free(table->items);
    *table = (model_table){0};
}

/* ---- a tensor ------------------------------------------------------------------------------------------------------------------ */

size_t model_tensor_bytes(const model_tensor *t)
{
    return (size_t)t->shape[0] * (size_t)(t->n_dims == 2 ? t->shape[1] : 1) * dsv4_dtype_bytes(t->dtype);
}

double model_tensor_active_bytes(const model_config *config, const model_tensor *t)
{
    const double bytes = (double)model_tensor_bytes(t);
    if (t->group == MODEL_EMBEDDING || t->dtype == DSV4_I64) {
        return bytes / (double)config->vocab_size;
    }
    if (t->group == MODEL_ROUTED_EXPERTS) {
        return bytes * (double)config->num_experts_per_tok / (double)config->n_routed_experts;
    }
    return bytes;
}

char *model_tensor_shape_text(const model_tensor *t, char *text, size_t size)
{
    if (t->n_dims == 2) {
        snprintf(text, size, "[%" PRId64 ", %" PRId64 "]", t->shape[0], t->shape[1]);
    } else {
        snprintf(text, size, "[%" PRId64 "]", t->shape[0]);
    }
    return text;
}
