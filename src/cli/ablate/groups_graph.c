#include "cli/ablate/groups.h"

/* ---- matrices --------------------------------------------------------------------------------------------------------------- */

static void set_inputs(groups *o, const ablate_case *c, const op_context *ctx)
{
    const dsv4_config *config = &c->config;
    o->q = ablate_input_matrix(c, ctx, "q", 2);
    o->lists = ablate_input_matrix(c, ctx, "cmp_sparse_indices", 1);
    o->cos = ablate_input_matrix(c, ctx, "freqs_cos", 1);
    o->sin = ablate_input_matrix(c, ctx, "freqs_sin", 1);
    o->sink = ablate_input_matrix(c, ctx, "attn_sink", 1);
    o->wo_b = ablate_input_matrix(c, ctx, "wo_b", 1);
    o->wo_b_scale = ablate_input_matrix(c, ctx, "wo_b_scale", 1);
    o->ring = ablate_input_matrix(c, ctx, "ori_kv", 1);
    o->overlay = ablate_input_matrix(c, ctx, "kv_overlay", 1);
    o->compressed = ablate_input_matrix(c, ctx, "cmp_kv", 1);
    o->wo_a = ablate_input(c, "wo_a")->data;
    o->ring_table = ablate_input(c, "ori_block_table")->data;
    o->compressed_table = ablate_input(c, "cmp_block_table")->data;
    o->lens = ablate_input(c, "cmp_sparse_lens")->data;
    o->T = o->q.rows;
    o->H = config->num_attention_heads;
    o->hd = config->head_dim;
    o->R = config->qk_rope_head_dim;
    o->D = config->hidden_size;
    o->G = config->o_groups;
    o->OL = config->o_lora_rank;
    o->GI = o->H * o->hd / o->G;
    o->W = config->sliding_window;
    o->page = ablate_input(c, "ori_kv")->shape[1];
    o->tile = config->attn_tile;
    o->blocks = 1;
    for (int64_t t = 0; t < o->T; t++) {
        o->blocks = tile_max(o->blocks, tile_count(o->lens[t], o->tile));
    }
    o->slots = o->blocks * o->tile;
}

static void make_matrices(groups *o, const op_context *ctx, bool by_row)
{
    o->keys = op_matrix_new(ctx, "sparse_kv", o->T, o->slots * o->hd, DSV4_BF16);
    o->scores = op_matrix_new(ctx, "qk_raw", o->T, o->H * o->slots, DSV4_F32);
    o->p = op_matrix_new(ctx, "qk_exp", o->T, o->H * o->slots, DSV4_BF16);
    o->m = op_matrix_new(ctx, "sparse_blk_mi", o->T, o->blocks * o->H, DSV4_F32);
    o->l = op_matrix_new(ctx, "sparse_blk_li", o->T, o->blocks * o->H, DSV4_F32);
    o->o_blocks = op_matrix_new(ctx, "sparse_blk_oi", o->T, o->blocks * o->H * o->hd, DSV4_F32);
    o->o_rope = op_matrix_new(ctx, "attn_rope_stage", o->T, o->H * o->R, DSV4_F32);
    o->o = op_matrix_new(ctx, "o_packed", o->T, o->H * o->hd, DSV4_BF16);
    o->r = op_matrix_new(ctx, "o_r", o->T, o->G * o->OL, DSV4_F32);
    o->r_i8 = op_matrix_new(ctx, "o_r_i8", o->T, o->G * o->OL, DSV4_I8);
    o->r_scale = op_matrix_new(ctx, "o_r_scale_dq", o->T, by_row ? GROUPS_QUANT_PARTS : o->G, DSV4_F32);
    o->sums = op_matrix_new(ctx, "partials", o->T, by_row ? o->D : o->G * o->D, DSV4_I32);
    if (by_row) {
        o->amax = op_matrix_new(ctx, "o_r_amax_parts", o->T, tile_count(o->G * o->OL, GROUPS_A_TILE), DSV4_F32);
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------- */

groups *groups_add_front(const ablate_case *c, const op_context *ctx, const groups_choice *x)
{
    groups *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    set_inputs(o, c, ctx);
    make_matrices(o, ctx, x->by_row);
    groups_add_attention(ctx, o);
    for (int64_t g = 0; g < o->G; g++) {
        groups_add_proj_a(ctx, o, g, x->k_tile);
    }
    return o;
}

/* The library's operator over the same inputs; attn_out is the variant's output. */
static void build_operator(const ablate_case *c, const op_context *ctx, const dsv4_tensor *out, const groups_choice *x)
{
    dsv4_tensor_list io = {0};
    dsv4_error err = {0};
    const dsv4_op_options options = {
        .mode = DSV4_PREFILL, .numerics = {.act_scale = x->by_row ? DSV4_SCALE_ROW : DSV4_SCALE_GROUP}, .pool = ctx->pool};
    dsv4_status status = dsv4_tensor_list_put(&io, "attn_out", out, &err);
    for (size_t i = 0; i < c->inputs.n && status == DSV4_OK; i++) {
        status = dsv4_tensor_list_put(&io, c->inputs.items[i].name, &c->inputs.items[i].tensor, &err);
    }
    if (status == DSV4_OK) {
        status = dsv4_op_build(&op_prefill_sparse_attn, &c->config, &options, &io, ctx->g, &err);
    }
    if (status != DSV4_OK) {
        dsv4_graph_fail(ctx->g, &err);
    }
    dsv4_tensor_list_deinit(&io);
}

void groups_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const groups_choice *x = choice;
    const dsv4_tensor *out = dsv4_tensor_list_find(io, x->output);
    if (x->is_operator) {
        build_operator(c, ctx, out, x);
        return;
    }
    groups *o = groups_add_front(c, ctx, x);
    if (o == NULL) {
        return;
    }
    o->out = op_matrix_of(ctx, "attn_out", out, 1);
    if (x->by_row) {
        groups_add_by_row(ctx, o);
    } else {
        groups_add_by_group(ctx, o);
    }
}
