#include "cli/ablate/norm.h"

enum { Q_N_TILE = 128, Q_GROUP = 8, DEQUANT_COLS = 32 * Q_N_TILE };

/* ---- matrices --------------------------------------------------------------------------------------------------------------- */

static op_matrix new_select(const op_context *ctx, int64_t R)
{
    const uint16_t one = 0x3f80;
    op_matrix m = op_matrix_new(ctx, "select", R, R, DSV4_BF16);
    for (int64_t j = 0; j < R && m.data != NULL; j++) {
        *ablate_bf16(&m, j, ablate_interleaved(j, R)) = one;
    }
    return m;
}

static norm *new_norm(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const norm_choice *x)
{
    norm *n = dsv4_graph_memory(ctx->g, sizeof *n);
    qkv *o = qkv_new(c, ctx, io, 1, 1);
    if (n == NULL || o == NULL) {
        return NULL;
    }
    *n = (norm){.o = o, .norm_w = ablate_input_matrix(c, ctx, "norm_w", 1), .raw = ablate_input_matrix(c, ctx, "x", 1)};
    o->x = op_matrix_new(ctx, "token_x_bf16", o->T, o->D, DSV4_BF16);
    n->x_sums = op_matrix_new(ctx, "x_sq_partial", o->T, tile_min(x->parts, tile_count(o->D, NORM_D_CHUNK)), DSV4_F32);
    n->qr_sums = op_matrix_new(ctx, "qr_sq_partial", o->T, tile_min(x->parts, tile_count(o->QL, NORM_L_CHUNK)), DSV4_F32);
    n->x_inverse = op_matrix_new(ctx, "x_inv_rms", o->T, 1, DSV4_F32);
    n->qr_inverse = op_matrix_new(ctx, "qr_inv_rms", o->T, 1, DSV4_F32);
    n->qr_bf16 = op_matrix_new(ctx, "qr_bf16", o->T, o->QL, DSV4_BF16);
    n->multiplier = op_matrix_new(ctx, "qr_scale_quant", o->T, 1, DSV4_F32);
    n->pairs = op_matrix_new(ctx, "q_rope_pair_stage", o->H * o->T, o->R, DSV4_BF16);
    n->turned = op_matrix_new(ctx, "q_rope_grp_fp32", o->H * o->T, o->R, DSV4_F32);
    n->kv_pairs = op_matrix_new(ctx, "kv_rot", o->T, o->R, DSV4_BF16);
    n->kv_turned = op_matrix_new(ctx, "kv_rope_full", o->T, o->R, DSV4_F32);
    n->select = new_select(ctx, o->R);
    if (x->folds_amax) {
        n->amax = op_matrix_new(ctx, "qr_amax_partial", o->T, tile_count(o->QL, NORM_L_GROUP * NORM_L_CHUNK), DSV4_F32);
    }
    return n;
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------- */

void norm_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const norm_choice *x = choice;
    norm *n = new_norm(c, ctx, io, x);
    if (n == NULL) {
        return;
    }
    qkv *o = n->o;
    ablate_product low_rank = {.dtype = DSV4_BF16,
                               .t_tile = o->T,
                               .t_inner = o->T,
                               .n_tile = NORM_L_CHUNK,
                               .group = 1,
                               .k_tile = NORM_D_CHUNK,
                               .k_split = 1,
                               .ahead = x->ahead};
    ablate_product q = low_rank;
    q.dtype = DSV4_I8;
    q.n_tile = Q_N_TILE;
    q.group = Q_GROUP;
    q.k_tile = x->q_k_tile;
    q.ahead = 2;
    norm_add_rms(ctx, o, x->parts,
                 (norm_rms){.x = n->raw, .sums = n->x_sums, .inverse = n->x_inverse, .chunk = NORM_D_CHUNK, .is_bf16 = true},
                 (const char *const[]){"attn_norm_rms", "attn_norm_rms_partial", "attn_norm_rms_final"});
    norm_add_apply(ctx, n);
    qkv_add_product(ctx, "qr_proj_matmul", &o->x, &o->wq_a, &o->a, low_rank);
    norm_add_rms(ctx, o, x->parts, (norm_rms){.x = o->a, .sums = n->qr_sums, .inverse = n->qr_inverse, .chunk = NORM_L_CHUNK},
                 (const char *const[]){"qr_rms", "qr_rms_partial", "qr_rms_final"});
    norm_add_low_rank(ctx, n);
    norm_add_quant(ctx, n);
    qkv_add_product(ctx, "qproj_matmul", &o->qr, &o->wq_b, &o->sums, q);
    qkv_add_dequant(ctx, o, DEQUANT_COLS, DEQUANT_COLS / Q_N_TILE);
    qkv_add_head_norm(ctx, o, 1);
    norm_add_head_rope(ctx, n);
    qkv_add_product(ctx, "kv_proj_matmul", &o->x, &o->wkv, &o->kv_sums, low_rank);
    norm_add_kv(ctx, n);
}
