/* ops/hc_ops.c - the operators hc_pre, hc_post and hc_head: tables and bindings of ops/hc.h. */
#include <stdio.h>

#include "ops/hc.h"
#include "ops/table.h"

/* ---- hc_pre ------------------------------------------------------------------------------------------------------------- */

static const op_tensor pre_tensors[] = {
    ROW_IN("x", DSV4_BF16, "T,M,D", "streams", DRAW_NORMAL(0, 0.05)),
    ROW_IN("hc_fn", DSV4_F32, "2*M+M*M,M*D", "mixing weights: rows pre | post | comb", DRAW_BY("hc:csa", 0, 0)),
    ROW_IN("hc_scale", DSV4_F32, "3", "scale of each kind", DRAW_BY("hc:csa", 0, 0)),
    ROW_IN("hc_base", DSV4_F32, "2*M+M*M", "offset of each row", DRAW_BY("hc:csa", 0, 0)),
    ROW_OUT("x_mixed", DSV4_BF16, "T,D", "mixed row", RULE_BF16(0.005)),
    ROW_OUT("post", DSV4_F32, "T,M", "weight of the block's output in each stream", RULE_SCALE),
    ROW_OUT("comb", DSV4_F32, "T,M*M", "mixing of the streams, source row, destination column", RULE_SCALE),
};

enum { T_TILE, K_SPLIT, MIX_T_TILE, D_PARTS };

static const op_tile pre_tiles[] = {
    {"t_tile", "rows of a product block", 128, 128, 1, NULL, NULL},
    {"k_split", "blocks that share the sums over a stream's values", 8, 8, 1, NULL, "D"},
    {"mix_t_tile", "rows of a mixing block", 4, 16, 1, NULL, NULL},
    {"d_parts", "parts of a row that are mixed by different blocks", 2, 2, 1, NULL, "D"},
};

static op_matrix matrix_if(const op_context *c, bool wanted, const char *name)
{
    return wanted ? op_matrix_named(c, name, 1) : op_no_matrix;
}

static void build_mixing(const op_context *c, const char *x, const char *prefix, const char *out)
{
    char fn[32], scale[32], base[32];
    snprintf(fn, sizeof fn, "%s_fn", prefix);
    snprintf(scale, sizeof scale, "%s_scale", prefix);
    snprintf(base, sizeof base, "%s_base", prefix);
    bool has_gates = c->op == &op_hc_pre;
    op_hc_pre_add(c, &(op_hc_pre_args){.x = op_matrix_named(c, x, 2),
                                       .fn = op_tensor_named(c, fn),
                                       .scale = op_matrix_named(c, scale, 1),
                                       .base = op_matrix_named(c, base, 1),
                                       .x_mixed = op_matrix_named(c, out, 1),
                                       .post = matrix_if(c, has_gates, "post"),
                                       .comb = matrix_if(c, has_gates, "comb"),
                                       .tiles = {c->tile[T_TILE], UK_PANEL, c->tile[K_SPLIT]},
                                       .t_tile = c->tile[MIX_T_TILE],
                                       .d_parts = c->tile[D_PARTS]});
}

static void build_pre(const op_context *c)
{
    build_mixing(c, "x", "hc", "x_mixed");
}

const dsv4_op op_hc_pre = {
    .name = "hc_pre",
    .summary = "mixes the residual streams into one row, and the gates for spreading it again",
    OP_TENSORS(pre_tensors),
    OP_TILES(pre_tiles),
    .build = build_pre,
};

/* ---- hc_head ------------------------------------------------------------------------------------------------------------ */

static const op_tensor head_tensors[] = {
    ROW_IN("x_hc", DSV4_BF16, "T,M,D", "streams", DRAW_NORMAL(0, 0.05)),
    ROW_IN("hc_head_fn", DSV4_F32, "M,M*D", "mixing weights", DRAW_BY("hc:head", 0, 0)),
    ROW_IN("hc_head_scale", DSV4_F32, "1", "their scale", DRAW_BY("hc:head", 0, 0)),
    ROW_IN("hc_head_base", DSV4_F32, "M", "offset of each row", DRAW_BY("hc:head", 0, 0)),
    ROW_OUT("y", DSV4_BF16, "T,D", "mixed row", RULE_BF16(0.005)),
};

static void build_head(const op_context *c)
{
    build_mixing(c, "x_hc", "hc_head", "y");
}

const dsv4_op op_hc_head = {
    .name = "hc_head",
    .summary = "mixes the residual streams into the row in front of the head",
    OP_TENSORS(head_tensors),
    OP_TILES(pre_tiles),
    .build = build_head,
};

/* ---- hc_post ------------------------------------------------------------------------------------------------------------ */

static const op_tensor post_tensors[] = {
    ROW_IN("x", DSV4_BF16, "T,D", "the block's output", DRAW_NORMAL(0, 0.05)),
    ROW_IN("residual", DSV4_BF16, "T,M,D", "streams", DRAW_NORMAL(0, 0.05)),
    ROW_IN("post", DSV4_F32, "T,M", "weight of the output in each stream", DRAW_BY("hc_post", 0, 0)),
    ROW_IN("comb", DSV4_F32, "T,M*M", "mixing of the streams", DRAW_BY("hc_comb", 0, 0)),
    ROW_OUT("y", DSV4_BF16, "T,M,D", "new streams", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
};

enum { POST_T_TILE, POST_D_PARTS };

static const op_tile post_tiles[] = {
    {"t_tile", "rows of a block", 4, 16, 1, NULL, NULL},
    {"d_parts", "parts of a row that are spread by different blocks", 2, 2, 1, NULL, "D"},
};

static void build_post(const op_context *c)
{
    op_hc_post_add(c, &(op_hc_post_args){.x = op_matrix_named(c, "x", 1),
                                         .residual = op_matrix_named(c, "residual", 2),
                                         .y = op_matrix_named(c, "y", 2),
                                         .post = op_matrix_named(c, "post", 1),
                                         .comb = op_matrix_named(c, "comb", 1),
                                         .t_tile = c->tile[POST_T_TILE],
                                         .d_parts = c->tile[POST_D_PARTS]});
}

const dsv4_op op_hc_post = {
    .name = "hc_post",
    .summary = "spreads a block's output over the residual streams",
    OP_TENSORS(post_tensors),
    OP_TILES(post_tiles),
    .build = build_post,
};
