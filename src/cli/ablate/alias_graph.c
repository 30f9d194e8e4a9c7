#include <math.h>

#include "cli/ablate/alias.h"

enum { Q_TILE = 128, WEIGHTS_K = 32 };

/* ---- matrices --------------------------------------------------------------------------------------------------------------- */

void alias_set_inputs(alias_indexer *o, const ablate_case *c, const op_context *ctx)
{
    const dsv4_tensor *x = ablate_input(c, "x"), *cache = ablate_input(c, "idx_kv_cache"),
                      *table = ablate_input(c, "idx_block_table");
    o->x = ablate_input_matrix(c, ctx, "x", 1);
    o->qr = ablate_input_matrix(c, ctx, "qr", 1);
    o->qr_scale = ablate_input_matrix(c, ctx, "qr_scale", 1);
    o->wq_b = ablate_input_matrix(c, ctx, "wq_b", 1);
    o->wq_b_scale = ablate_input_matrix(c, ctx, "wq_b_scale", 1);
    o->weights_proj = ablate_input_matrix(c, ctx, "weights_proj", 1);
    o->cos = ablate_input_matrix(c, ctx, "cos", 1);
    o->sin = ablate_input_matrix(c, ctx, "sin", 1);
    o->hadamard = ablate_input_matrix(c, ctx, "hadamard", 1);
    o->cache = ablate_input_matrix(c, ctx, "idx_kv_cache", 1);
    o->table = table->data;
    o->B = x->shape[0];
    o->S = x->shape[1];
    o->T = o->B * o->S;
    o->IH = c->config.index_n_heads;
    o->ID = c->config.index_head_dim;
    o->R = c->config.qk_rope_head_dim;
    o->page = cache->shape[1];
    o->pages = table->shape[1];
    o->n_keys = *(const int32_t *)ablate_input(c, "kv_seq_lens")->data / ALIAS_RATIO;
    o->n_tiles = tile_count(o->n_keys, ALIAS_KEYS);
    o->offset = *(const int32_t *)ablate_input(c, "offset")->data;
    o->k = tile_min(c->config.index_topk, o->n_keys);
}

/* Row k, column n of `select`: 1 where element k of a rotary slice becomes element n of the even ones followed by the odd ones. */
static op_matrix new_select(const op_context *ctx, int64_t R, bool transposed)
{
    op_matrix m = op_matrix_new(ctx, "select", R, R, DSV4_F32);
    for (int64_t n = 0; n < R && m.data != NULL; n++) {
        int64_t k = ablate_interleaved(n, R);
        *op_matrix_f32(&m, transposed ? n : k, transposed ? k : n) = 1;
    }
    return m;
}

static void make_matrices(alias_indexer *o, const op_context *ctx)
{
    int64_t heads = o->T * o->IH;
    o->sums = op_matrix_new(ctx, "qr_acc", o->T, o->IH * o->ID, DSV4_I32);
    o->q = op_matrix_new(ctx, "qr_proj", o->T, o->IH * o->ID, DSV4_BF16);
    o->heads = (op_matrix){o->q.data, heads, o->ID, o->ID, 0};
    o->heads.view = dsv4_graph_view(ctx->g, "qr_proj_flat", o->q.data, heads, o->ID, 2, (size_t)o->ID * 2);
    o->apart = op_matrix_new(ctx, "even_odd_acc", heads, o->R, DSV4_F32);
    o->turned = op_matrix_new(ctx, "rope_even_odd", heads, o->R, DSV4_BF16);
    o->together = op_matrix_new(ctx, "rope_acc", heads, o->R, DSV4_F32);
    o->fresh = op_matrix_new(ctx, "qr_rope_out", heads, o->R, DSV4_BF16);
    o->takes_apart = new_select(ctx, o->R, false);
    o->puts_together = new_select(ctx, o->R, true);
    o->handle = op_matrix_new(ctx, "qr_proj as a whole", 1, 1, DSV4_I8);
    o->product = op_matrix_new(ctx, "qr_hadamard_acc", heads, o->ID, DSV4_F32);
    o->q_i8 = op_matrix_new(ctx, "qr_hadamard_i8", heads, o->ID, DSV4_I8);
    o->q_scale = op_matrix_new(ctx, "qr_hadamard_scale_dq", heads, 1, DSV4_F32);
    o->weights_sums = op_matrix_new(ctx, "weights_acc", o->T, o->IH, DSV4_F32);
    o->weights = op_matrix_new(ctx, "weights", o->T, o->IH, DSV4_F32);
    o->keys = op_matrix_new(ctx, "kv_tile_i8", o->B, o->n_tiles * ALIAS_KEYS * o->ID, DSV4_I8);
    o->key_scale = op_matrix_new(ctx, "score_kv_scale", o->B, o->n_tiles * ALIAS_KEYS, DSV4_F32);
    o->dots = op_matrix_new(ctx, "score_acc", o->B, o->n_tiles * ALIAS_KEYS * o->S * o->IH, DSV4_I32);
}

/* ---- queries ---------------------------------------------------------------------------------------------------------------- */

static void run_dequant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    int64_t n = tile->col.end - tile->col.begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->dequant_i32(n, ablate_i32(&o->sums, t, tile->col.begin), *op_matrix_f32(&o->qr_scale, t, 0),
                           op_matrix_f32(&o->wq_b_scale, 0, tile->col.begin), scratch);
        s->uk->narrow_bf16(n, scratch, ablate_bf16(&o->q, t, tile->col.begin));
    }
}

static void add_queries(const op_context *ctx, const alias_indexer *o)
{
    ablate_product_add(ctx, &(ablate_product){.name = "qr_proj",
                                              .x = o->qr,
                                              .w = o->wq_b,
                                              .y = o->sums,
                                              .dtype = DSV4_I8,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = Q_TILE,
                                              .group = 1,
                                              .k_tile = Q_TILE,
                                              .k_split = 1,
                                              .ahead = 2});
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_proj_write",
                                          .grid = {o->T, o->T, o->IH * o->ID, Q_TILE, 0},
                                          .uses = {{DSV4_READ, &o->sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->qr_scale, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->wq_b_scale, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->q, ablate_rows, ablate_cols}},
                                          .run = run_dequant,
                                          .arg = o,
                                          .scratch_bytes = Q_TILE * sizeof(float),
                                          .vector_ops = 4});
}

/* ---- weights of heads ------------------------------------------------------------------------------------------------------- */

static void run_weights(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    float scale = (float)((1 / sqrt((double)o->ID)) * (1 / sqrt((double)o->IH)));
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->scale(o->IH, op_matrix_f32(&o->weights_sums, t, 0), scale, op_matrix_f32(&o->weights, t, 0));
    }
}

static void add_weights(const op_context *ctx, const alias_indexer *o)
{
    ablate_product_add(ctx, &(ablate_product){.name = "weights_proj",
                                              .x = o->x,
                                              .w = o->weights_proj,
                                              .y = o->weights_sums,
                                              .dtype = DSV4_BF16,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = o->IH,
                                              .group = 1,
                                              .k_tile = WEIGHTS_K,
                                              .k_split = 1,
                                              .ahead = 2});
    ablate_stage_add(ctx, &(ablate_stage){.name = "weights_write",
                                          .grid = {o->T, o->T, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->weights_sums, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->weights, ablate_rows, ablate_all}},
                                          .run = run_weights,
                                          .arg = o,
                                          .vector_ops = (double)o->IH});
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

void alias_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const alias_choice *x = choice;
    alias_indexer *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (alias_indexer){.choice = *x};
    alias_set_inputs(o, c, ctx);
    o->score = op_matrix_of(ctx, "score", dsv4_tensor_list_find(io, "score"), 1);
    o->topk = op_matrix_of(ctx, "topk_idxs", dsv4_tensor_list_find(io, "topk_idxs"), 1);
    make_matrices(o, ctx);
    add_queries(ctx, o);
    alias_add_heads(ctx, o);
    add_weights(ctx, o);
    alias_add_scores(ctx, o);
    alias_add_topk(ctx, o);
}
