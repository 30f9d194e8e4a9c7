/* ops/sparse_attn_ops.c - sparse attention by itself: the operators decode_sparse_attn (CSA), decode_sparse_attn_hca,
 * decode_sparse_attn_swa and prefill_sparse_attn (SPEC 5, 8.4, 8.5).
 *
 * MATH      keys of a token: rows of the window ring, of the step and of the compressed cache that its index list names; attention
 *           over them with a sink in the denominator (attend.c); grouped projection to the hidden size (out_proj.c)
 * SHAPES    the tables below. decode: B requests of T/B tokens; prefill: one request, of whose T tokens num_tokens are valid
 * STAGES    attn.keys (key_lists.c)  attn.core  attn.merge (attend.c)  out.* (out_proj.c)
 * NUMERICS  those of the parts; numerics.act_scale chooses which values share an INT8 scale in front of wo_b. */
#include "ops/attend.h"
#include "ops/table.h"

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */

/* Of the decode forms. */
#define ROWS_WINDOW                                                                                      \
    ROW_IN("q", DSV4_BF16, "T,H,hd", "rotated queries", DRAW_UNIFORM(-0.5, 0.5)),                        \
        ROW_IN("ori_kv", DSV4_BF16, "WP,BS,1,hd", "pages of the window ring", DRAW_UNIFORM(-0.5, 0.5)),  \
        ROW_IN("ori_block_table", DSV4_I32, "B,WPR", "ring pages of a request", DRAW_BY("table", 0, 0)), \
        ROW_IN("mtp_kv_overlay", DSV4_BF16, "T,hd", "key/value rows of this step", DRAW_UNIFORM(-0.5, 0.5))

#define ROWS_COMPRESSED                                                                             \
    ROW_IN("cmp_kv", DSV4_BF16, "CP,BS,1,hd", "pages of compressed rows", DRAW_UNIFORM(-0.5, 0.5)), \
        ROW_IN("cmp_block_table", DSV4_I32, "B,CPR", "compressed pages of a request", DRAW_BY("table", 0, 0))

/* Of all. ratio: of the layer whose angles are undone. */
#define ROWS_OUTPUT(ratio)                                                                                         \
    ROW_IN("freqs_cos", DSV4_BF16, "T,R", "cosines of the inverse rotation", DRAW_BY("rope_first", ratio, 0)),     \
        ROW_IN("freqs_sin", DSV4_BF16, "T,R", "its sines", DRAW_BY("rope_first", ratio, 0)),                       \
        ROW_IN("wo_a", DSV4_BF16, "G,OL,H*hd/G", "first projection per group", DRAW_BY("uniform_fan_in", 0.5, 0)), \
        ROW_IN("wo_b", DSV4_I8, "D,G*OL", "second projection", DRAW_BY("wq:wo_b_scale", 0.5, 1)),                  \
        ROW_IN("wo_b_scale", DSV4_F32, "D", "its scale per row", DRAW_NONE),                                       \
        ROW_OUT("attn_out", DSV4_BF16, "T,D", "attention's part of the residual", RULE_BF16(0.005))

static const op_tensor csa_tensors[] = {
    ROWS_WINDOW,
    ROWS_COMPRESSED,
    ROW_IN("cmp_sparse_indices", DSV4_I32, "T,W+KT", "keys of a token", DRAW_BY("list_csa", 0, 0)),
    ROW_OPTIONAL("valid_block_mask", DSV4_I32, "T,KB", "hint: key blocks in use", DRAW_BY("block_mask", 0, 0)),
    ROW_IN("attn_sink", DSV4_F32, "H", "sink logit", DRAW_CONSTANT(0)),
    ROWS_OUTPUT(4),
};

static const op_tensor hca_tensors[] = {
    ROWS_WINDOW,
    ROWS_COMPRESSED,
    ROW_IN("cmp_sparse_indices", DSV4_I32, "T,KL", "keys of a token", DRAW_BY("list_hca", 0, 0)),
    ROW_IN("attn_sink", DSV4_F32, "H", "sink logit", DRAW_CONSTANT(0)),
    ROWS_OUTPUT(128),
};

static const op_tensor swa_tensors[] = {
    ROWS_WINDOW,
    ROW_IN("cmp_sparse_indices", DSV4_I32, "T,W", "keys of a token, a set", DRAW_BY("list_swa", 0, 0)),
    ROW_OPTIONAL("win_bias", DSV4_F32, "T,KL", "the set again: 0 or -1e20", DRAW_NONE),
    ROW_IN("attn_sink", DSV4_F32, "H", "sink logit", DRAW_CONSTANT(0)),
    ROWS_OUTPUT(0),
};

static const op_tensor prefill_tensors[] = {
    ROW_IN("q", DSV4_BF16, "T,H,hd", "rotated queries", DRAW_UNIFORM(-0.025, 0.025)),
    ROW_IN("ori_kv", DSV4_BF16, "WP,BS,1,hd", "pages of the window ring", DRAW_UNIFORM(-0.025, 0.025)),
    ROW_IN("ori_block_table", DSV4_I32, "WPR", "ring pages of the request", DRAW_BY("table", 0, 0)),
    ROW_IN("kv_overlay", DSV4_BF16, "T,hd", "key/value rows of this chunk", DRAW_UNIFORM(-0.025, 0.025)),
    ROW_IN("cmp_kv", DSV4_BF16, "CP,BS,1,hd", "pages of compressed rows", DRAW_UNIFORM(-0.025, 0.025)),
    ROW_IN("cmp_block_table", DSV4_I32, "CPR", "compressed pages of the request", DRAW_BY("table", 0, 0)),
    ROW_IN("cmp_sparse_indices", DSV4_I32, "T,W+KT", "keys of a token", DRAW_BY("list_prefill", OP_ANY, 0)),
    ROW_IN("cmp_sparse_lens", DSV4_I32, "T", "slots of a list that count", DRAW_BY("list_prefill", OP_ANY, 0)),
    ROW_IN("attn_sink", DSV4_F32, "H", "sink logit", DRAW_CONSTANT(0)),
    ROW_IN("num_tokens", DSV4_I32, "", "valid tokens of the chunk", DRAW_BY("tokens", 0, 0)),
    ROWS_OUTPUT(OP_ANY),
};

/* ---- tiles -------------------------------------------------------------------------------------------------------------- */

enum { HEAD_GROUP, KEY_BLOCKS, T_TILE, A_N_TILE, A_K_SPLIT, B_N_TILE, NORM_T_TILE };

static const op_tile tiles[] = {
    {"head_group", "heads of an attention block", 32, 32, 1, "H", NULL},
    {"key_blocks", "key blocks of an attention block", 1, INT32_MAX, 1, NULL, NULL},
    {"t_tile", "rows of a projecting block", 128, 64, 1, NULL, NULL},
    {"a_n_tile", "columns of a proj_a block", 64, 64, UK_PANEL, NULL, NULL},
    {"a_k_split", "blocks that share a sum of proj_a, at most its chunks", 1, 1, 1, NULL, NULL},
    {"b_n_tile", "columns of a proj_b block", 256, 128, UK_PANEL, NULL, NULL},
    {"norm_t_tile", "rows of a quantising block", 4, 16, 1, NULL, NULL},
};

/* ---- graph -------------------------------------------------------------------------------------------------------------- */

static bool is_prefill(const op_context *c)
{
    return c->op->mode == DSV4_PREFILL;
}

static bool is_swa(const op_context *c)
{
    return c->op == &op_decode_sparse_attn_swa;
}

static int64_t request_count(const op_context *c)
{
    return is_prefill(c) ? 1 : c->dims.of[OP_B];
}

static dsv4_status check_bias_cols(const op_context *c, dsv4_error *err)
{
    int64_t wanted = op_win_bias_cols(c->dims.of[OP_W], c->dims.of[OP_T], c->config->attn_tile), got = c->dims.of[OP_KL];
    if (is_swa(c) && got != OP_UNKNOWN && got != wanted) {
        return dsv4_fail(err, DSV4_E_SHAPE,
                         "tensor win_bias: got %lld columns, expected %lld: W and T, each rounded up to whole blocks of %lld",
                         (long long)got, (long long)wanted, (long long)c->config->attn_tile);
    }
    return DSV4_OK;
}

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    int64_t R = c->dims.of[OP_R], hd = c->dims.of[OP_hd], H = c->dims.of[OP_H], G = c->dims.of[OP_G];
    if (R % 2 != 0 || R > hd) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: qk_rope_head_dim=%lld, rule: even and at most head_dim=%lld", c->op->name,
                         (long long)R, (long long)hd);
    }
    if (H % G != 0) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: o_groups=%lld, rule num_attention_heads %% o_groups == 0: expected a divisor of %lld", c->op->name,
                         (long long)G, (long long)H);
    }
    if (c->dims.of[OP_T] % request_count(c) != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE,
                         "tensor q: got %lld tokens, expected a multiple of the %lld requests of ori_block_table",
                         (long long)c->dims.of[OP_T], (long long)request_count(c));
    }
    return check_bias_cols(c, err);
}

static op_matrix paged_cache(const op_context *c, const char *name)
{
    return op_matrix_named(c, name, 2);
}

static op_key_lists lists_of(const op_context *c, op_list_form form)
{
    op_key_lists lists = {
        .form = form,
        .tokens_per_request = c->dims.of[OP_T] / request_count(c),
        .raw = op_matrix_named(c, "cmp_sparse_indices", 1),
        .max_len = op_prefill_max_len(c->config),
        .ring_table = op_matrix_named(c, "ori_block_table", 1),
        .ring_table_name = "ori_block_table",
        .page = c->dims.of[OP_BS],
        .ring = paged_cache(c, "ori_kv"),
        .overlay = op_matrix_named(c, is_prefill(c) ? "kv_overlay" : "mtp_kv_overlay", 1),
    };
    if (is_swa(c)) {
        lists.win_bias = op_matrix_named(c, "win_bias", 1);
    } else {
        lists.compressed_table = op_matrix_named(c, "cmp_block_table", 1);
        lists.compressed = paged_cache(c, "cmp_kv");
    }
    if (is_prefill(c)) {
        lists.lens = op_matrix_named(c, "cmp_sparse_lens", 1);
        lists.n_tokens = op_matrix_named(c, "num_tokens", 1);
    }
    return lists;
}

static void build(const op_context *c, op_list_form form)
{
    op_key_lists lists = lists_of(c, form);
    op_attend attend = {
        .tokens_per_request = lists.tokens_per_request,
        .q = op_matrix_named(c, "q", 2),
        .ring = lists.ring,
        .overlay = lists.overlay,
        .compressed = lists.compressed,
        .keys = op_key_lists_add(c, &lists),
        .sink = op_matrix_named(c, "attn_sink", 1),
        .turns = op_turns_named(c, "freqs_cos", "freqs_sin"),
        .wo_a = op_tensor_named(c, "wo_a"),
        .wo_b = op_tensor_named(c, "wo_b"),
        .wo_b_scale = op_matrix_named(c, "wo_b_scale", 1),
        .attn_out = op_matrix_named(c, "attn_out", 1),
        .tiles = {c->tile[HEAD_GROUP], c->tile[KEY_BLOCKS], c->tile[T_TILE], c->tile[A_N_TILE], c->tile[A_K_SPLIT],
                  c->tile[B_N_TILE], c->tile[NORM_T_TILE]},
    };
    op_attend_add(c, &attend);
}

static void build_csa(const op_context *c)
{
    build(c, OP_LIST_CSA);
}

static void build_hca(const op_context *c)
{
    build(c, OP_LIST_HCA);
}

static void build_swa(const op_context *c)
{
    build(c, OP_LIST_SWA);
}

static void build_prefill(const op_context *c)
{
    build(c, OP_LIST_PREFILL);
}

#define COMMON .family = "sparse_attn", OP_TILES(tiles), .check = check

const dsv4_op op_decode_sparse_attn = {
    .name = "decode_sparse_attn",
    .summary = "attention over the window and selected compressed rows (CSA), with its output projection",
    .mode = DSV4_DECODE,
    .ratio = 4,
    .build = build_csa,
    OP_TENSORS(csa_tensors),
    COMMON,
};

const dsv4_op op_decode_sparse_attn_hca = {
    .name = "decode_sparse_attn_hca",
    .summary = "attention over the window and all compressed rows (HCA), with its output projection",
    .mode = DSV4_DECODE,
    .ratio = 128,
    .build = build_hca,
    OP_TENSORS(hca_tensors),
    COMMON,
};

const dsv4_op op_decode_sparse_attn_swa = {
    .name = "decode_sparse_attn_swa",
    .summary = "attention over the sliding window, with its output projection",
    .mode = DSV4_DECODE,
    .ratio = 0,
    .build = build_swa,
    OP_TENSORS(swa_tensors),
    COMMON,
};

const dsv4_op op_prefill_sparse_attn = {
    .name = "prefill_sparse_attn",
    .summary = "attention of a prefill chunk over listed keys, with its output projection",
    .mode = DSV4_PREFILL,
    .ratio = OP_ANY,
    .build = build_prefill,
    OP_TENSORS(prefill_tensors),
    COMMON,
};
