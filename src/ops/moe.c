/* ops/moe.c - the feed-forward half of a layer: the mixture of experts between hyper-connections (SPEC 6.7), INT8, on one rank.
 *
 * MATH      (x_mixed, post, comb) = hc_pre(x_hc);  gate of x_mixed;  y = shared expert, y_k = the k-th expert of the token (SPEC 6.5)
 *           ffn_out = bf((y + y_0) + y_1 + ...), f32, 0 from num_tokens on;  x_next = hc_post(ffn_out, x_hc, post, comb)
 * SHAPES    x_hc bf16[T,M,D] and the weights of hc_pre, gate, expert_shared, expert_routed  ->  x_next bf16[T,M,D]
 * STAGES    hc.*, gate.*, expert.* of the shared and of the routed experts
 *           moe.plan     [1]              indices -> slots (ops/slots.h)
 *           moe.combine  [t_tile x d_tile]
 *           hc.post
 * NUMERICS  those of the parts. Rows of the experts do not go through receive buffers: a slot reads its tokens' rows. */
#include "ops/experts.h"
#include "ops/gate.h"
#include "ops/hc.h"
#include "ops/table.h"

#define WEIGHT(name, shape, meaning) ROW_IN(name, DSV4_I8, shape, meaning, DRAW_BY("wq:" name "_scale", -1, 1))
#define ROUTED_WEIGHT(name, shape, meaning, sd) ROW_IN(name, DSV4_I8, shape, meaning, DRAW_BY("mx4:" name "_scale", sd, 0))

static const op_tensor tensors[] = {
    ROW_IN("x_hc", DSV4_BF16, "T,M,D", "streams", DRAW_NORMAL(0, 1)),
    ROW_IN("hc_ffn_fn", DSV4_F32, "2*M+M*M,M*D", "mixing weights: rows pre | post | comb", DRAW_BY("hc:csa", 0, 0)),
    ROW_IN("hc_ffn_scale", DSV4_F32, "3", "scale of each kind", DRAW_BY("hc:csa", 0, 0)),
    ROW_IN("hc_ffn_base", DSV4_F32, "2*M+M*M", "offset of each row", DRAW_BY("hc:csa", 0, 0)),
    ROW_IN("norm_w", DSV4_BF16, "D", "RMS weight in front of the experts", DRAW_CONSTANT(1)),
    ROW_IN("gate_w", DSV4_F32, "E,D", "router", DRAW_BY("router", 1, 0)),
    ROW_OPTIONAL("gate_bias", DSV4_F32, "E", "added to the scores that choose", DRAW_NORMAL(0, 0.1)),
    ROW_OPTIONAL("tid2eid", DSV4_I32, "V,K", "experts of a token id", DRAW_BY("hash_experts", 0, 0)),
    ROW_OPTIONAL("input_ids", DSV4_I64, "T", "token ids", DRAW_BY("token_ids", 0, 0)),
    ROUTED_WEIGHT("routed_w1", "E,F,D", "gate of the routed experts", 0.0108),
    ROW_IN("routed_w1_scale", DSV4_F32, "E,F", "its scale per output", DRAW_NONE),
    ROUTED_WEIGHT("routed_w3", "E,F,D", "up", 0.0110),
    ROW_IN("routed_w3_scale", DSV4_F32, "E,F", "its scale per output", DRAW_NONE),
    ROUTED_WEIGHT("routed_w2", "E,D,F", "down", 0.0254),
    ROW_IN("routed_w2_scale", DSV4_F32, "E,D", "its scale per output", DRAW_NONE),
    WEIGHT("shared_w1", "F,D", "gate of the shared expert"),
    ROW_IN("shared_w1_scale", DSV4_F32, "F", "its scale per output", DRAW_NONE),
    WEIGHT("shared_w3", "F,D", "up"),
    ROW_IN("shared_w3_scale", DSV4_F32, "F", "its scale per output", DRAW_NONE),
    WEIGHT("shared_w2", "D,F", "down"),
    ROW_IN("shared_w2_scale", DSV4_F32, "D", "its scale per output", DRAW_NONE),
    ROW_DIM("layer_id", "layer: those below num_hash_layers route by hash", "layer"),
    ROW_IN("num_tokens", DSV4_I32, "", "valid tokens", DRAW_BY("tokens", 0, 0)),
    ROW_OUT("x_next", DSV4_BF16, "T,M,D", "new streams", RULE_RELDIFF(3e-3, 0.05, 0)),
};

enum { P_T_TILE, N_TILE, K_SPLIT, HC_SPLIT, T_TILE, PARTS, F_TILE, D_TILE };

static const op_tile tiles[] = {
    {"p_t_tile", "rows of a mixing or scoring product block", 128, 128, 1, NULL, NULL},
    {"n_tile", "experts of a scoring block", 32, 64, UK_PANEL, NULL, NULL},
    {"k_split", "blocks that share the sums over D of the scores", 1, 1, 1, NULL, "D"},
    {"hc_split", "blocks that share the sums over a stream's values", 8, 8, 1, NULL, "D"},
    {"t_tile", "rows of the other blocks", 4, 16, 1, NULL, NULL},
    {"parts", "parts of a row that are mixed, normalised or spread by different blocks", 2, 2, 1, NULL, "D"},
    {"f_tile", "hidden values of an expert block", 64, 64, UK_PANEL, NULL, NULL},
    {"d_tile", "outputs of an expert block", 128, 128, UK_PANEL, NULL, NULL},
};

typedef struct mixture {
    const uk_table *uk;
    op_matrix indices, n_valid; /* I32 [T, K]; [1, 1] */
    op_slots slots;
    op_expert_rows shared, routed;
    op_matrix out; /* BF16 [T, D] */
    int64_t t_tile, n_columns;
} mixture;

static void plan_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const mixture *o = arg;
    (void)block;
    op_matrix_reads(d, &o->indices);
    op_matrix_reads(d, &o->n_valid);
    op_slots_writes(d, &o->slots);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)(o->slots.route.cols + o->slots.n_experts)});
}

static void plan_run(const void *arg, int64_t block, void *scratch)
{
    const mixture *o = arg;
    (void)block;
    op_slots_fill(&o->slots, op_matrix_ints(&o->indices), op_matrix_ints(&o->n_valid)[0] * o->indices.cols, scratch);
}

static void combine_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const mixture *o = arg;
    tile_range t = tile_at(block / o->n_columns, o->t_tile, o->out.rows);
    tile_range c = tile_at(block % o->n_columns, o->routed.d_tile, o->out.cols);
    double values = (double)((t.end - t.begin) * (c.end - c.begin)), rows = (double)(o->indices.cols + 1);
    op_matrix_reads(d, &o->n_valid);
    op_expert_rows_reads(d, &o->shared, c.begin, c.end);
    op_expert_rows_reads(d, &o->routed, c.begin, c.end);
    dsv4_writes(d, o->out.view, t.begin, t.end, c.begin, c.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = values * rows, .gathered_bytes = values * rows * (double)sizeof(uint16_t)});
}

static void combine_run(const void *arg, int64_t block, void *scratch)
{
    const mixture *o = arg;
    tile_range tile = tile_at(block / o->n_columns, o->t_tile, o->out.rows);
    tile_range c = tile_at(block % o->n_columns, o->routed.d_tile, o->out.cols);
    int64_t n = c.end - c.begin, K = o->indices.cols, D = o->out.cols, n_valid = op_matrix_ints(&o->n_valid)[0];
    float *sum = scratch, *row = sum + o->routed.d_tile;
    for (int64_t t = tile.begin; t < tile.end; t++) {
        uint16_t *out = (uint16_t *)o->out.data + t * D + c.begin;
        if (t >= n_valid) {
            memset(out, 0, (size_t)n * sizeof *out);
            continue;
        }
        o->uk->widen_bf16(n, (const uint16_t *)o->shared.y.data + t * D + c.begin, sum);
        for (int64_t k = 0; k < K; k++) {
            o->uk->widen_bf16(n, (const uint16_t *)o->routed.y.data + (t * K + k) * D + c.begin, row);
            o->uk->add(n, row, sum);
        }
        o->uk->narrow_bf16(n, sum, out);
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    dsv4_status status = op_router_check(c, err);
    return status == DSV4_OK ? op_experts_check(c, err) : status;
}

/* Everything up to the routes: x_norm's quantised rows and their scales, indices and weights. */
static op_router add_router(const op_context *c, mixture *o, op_matrix x_mixed)
{
    int64_t T = x_mixed.rows, D = x_mixed.cols, K = c->dims.of[OP_K];
    op_router router = {.x = x_mixed,
                        .norm_w = op_matrix_named(c, "norm_w", 1),
                        .w = op_tensor_named(c, "gate_w"),
                        .bias = op_matrix_named(c, "gate_bias", 1),
                        .n_given = op_matrix_named(c, "num_tokens", 0),
                        .by_hash = op_routes_by_hash(c),
                        .table = op_matrix_named(c, "tid2eid", 1),
                        .ids = op_matrix_named(c, "input_ids", 1),
                        .x_norm = op_matrix_new(c, "moe.x_norm", T, D, DSV4_BF16),
                        .x_q = op_matrix_new(c, "moe.x_q", T, D, DSV4_I8),
                        .x_scale = op_matrix_new(c, "moe.x_scale", T, 1, DSV4_F32),
                        .indices = op_matrix_new(c, "moe.indices", T, K, DSV4_I32),
                        .weights = op_matrix_new(c, "moe.weights", T, K, DSV4_F32),
                        .tiles = {c->tile[P_T_TILE], c->tile[N_TILE], c->tile[K_SPLIT]},
                        .t_tile = c->tile[T_TILE],
                        .norm_parts = c->tile[PARTS]};
    o->n_valid = op_router_add(c, &router);
    o->indices = router.indices;
    return router;
}

static void add_experts(const op_context *c, mixture *o, const op_router *r)
{
    int64_t T = r->x.rows, D = r->x.cols, n_routes = T * r->indices.cols;
    o->slots = op_slots_new(c, "moe.slots", c->dims.of[OP_E], n_routes);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"moe.plan", 1, plan_run, plan_describe, o, op_slots_scratch(&o->slots), DSV4_VECTOR});
    o->routed = op_experts_add(c, &(op_experts){.slots = o->slots,
                                                .x = r->x_q,
                                                .x_scale = r->x_scale,
                                                .routes_per_row = r->indices.cols,
                                                .weights = r->weights,
                                                .w1 = "routed_w1",
                                                .w3 = "routed_w3",
                                                .w2 = "routed_w2",
                                                .scale1 = "routed_w1_scale",
                                                .scale3 = "routed_w3_scale",
                                                .scale2 = "routed_w2_scale",
                                                .y = op_matrix_new(c, "moe.routed", n_routes, D, DSV4_BF16),
                                                .f_tile = c->tile[F_TILE],
                                                .d_tile = c->tile[D_TILE]});
    o->shared = op_shared_expert_add(c, r->x_q, r->x_scale, op_matrix_new(c, "moe.shared", T, D, DSV4_BF16), c->tile[F_TILE],
                                     c->tile[D_TILE]);
}

static void build(const op_context *c)
{
    mixture *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    int64_t T = c->dims.of[OP_T], D = c->dims.of[OP_D], M = c->dims.of[OP_M];
    op_matrix x = op_matrix_named(c, "x_hc", 2), x_mixed = op_matrix_new(c, "moe.x_mixed", T, D, DSV4_BF16);
    op_matrix post = op_matrix_new(c, "moe.post", T, M, DSV4_F32), comb = op_matrix_new(c, "moe.comb", T, M * M, DSV4_F32);
    *o = (mixture){.uk = c->uk, .out = op_matrix_new(c, "moe.out", T, D, DSV4_BF16), .t_tile = c->tile[T_TILE]};
    op_hc_pre_add(c, &(op_hc_pre_args){.x = x,
                                       .fn = op_tensor_named(c, "hc_ffn_fn"),
                                       .scale = op_matrix_named(c, "hc_ffn_scale", 1),
                                       .base = op_matrix_named(c, "hc_ffn_base", 1),
                                       .x_mixed = x_mixed,
                                       .post = post,
                                       .comb = comb,
                                       .tiles = {c->tile[P_T_TILE], UK_PANEL, c->tile[HC_SPLIT]},
                                       .t_tile = c->tile[T_TILE],
                                       .d_parts = c->tile[PARTS]});
    op_router router = add_router(c, o, x_mixed);
    add_experts(c, o, &router);
    o->n_columns = tile_count(D, o->routed.d_tile);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"moe.combine", tile_count(T, o->t_tile) * o->n_columns, combine_run, combine_describe,
                                              o, (size_t)(2 * c->tile[D_TILE]) * sizeof(float), DSV4_VECTOR});
    op_hc_post_add(c, &(op_hc_post_args){.x = o->out,
                                         .residual = x,
                                         .y = op_matrix_named(c, "x_next", 2),
                                         .post = post,
                                         .comb = comb,
                                         .t_tile = c->tile[T_TILE],
                                         .d_parts = c->tile[PARTS]});
}

const dsv4_op op_moe = {
    .name = "moe",
    .summary = "the mixture of experts between hyper-connections, INT8",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = check,
    .build = build,
};
