/* ops/gate.c - which experts a token goes to, and the quantised row that it sends them (SPEC 6.4).
 *
 * MATH      x_norm = bf((x * inv(x)) * norm_w);  (x_norm_i8, x_norm_scale) = Q8(x_norm)
 *           z = x_norm gate_w^T;  s = sqrt(max(z, 0) + log1p(exp(-|z|)))
 *           indices = tid2eid[input_ids[t]] in a layer < num_hash_layers, else the K largest of s + gate_bias, the first of equals
 *           weights = (s[indices] / sum of them) * routed_scaling_factor
 *           of tokens t >= num_tokens: x_norm_scale, indices and weights are 0
 * SHAPES    x_mixed bf16[T,D]  norm_w bf16[D]  gate_w f32[E,D]  gate_bias f32[E]  tid2eid i32[V,K]  input_ids i64[T]
 *           ->  x_norm bf16[T,D]  x_norm_i8 i8[T,D]  x_norm_scale f32[T,1]  indices i32[T,K]  weights f32[T,K]
 * STAGES    gate.plan     [1]                          num_tokens, input_ids, tid2eid -> valid tokens, experts by hash, verdict
 *           rmsnorm.*     [t_tile x part]              x -> x_norm
 *           gate.score    [p_t_tile x n_tile x k_split]  x_norm, gate_w -> partial sums of z
 *           gate.quant    [t_tile]                     x_norm -> x_norm_i8, x_norm_scale
 *           gate.choose   [t_tile]                     z, gate_bias -> indices, weights
 * NUMERICS  f32; z summed in chunks of 512 (ops/chunk.h), the weights of a token in double, rounded once; e^x and log1p in double,
 *           rounded to f32 each. */
#include "ops/gate.h"

#include "ops/chunk.h"
#include "ops/rms.h"
#include "ops/rmsnorm.h"
#include "ops/route.h"
#include "ops/table.h"
#include "ops/verdict.h"

static const op_tensor tensors[] = {
    ROW_IN("x_mixed", DSV4_BF16, "T,D", "rows", DRAW_NORMAL(0, 1)),
    ROW_IN("norm_w", DSV4_BF16, "D", "RMS weight in front of the experts", DRAW_CONSTANT(1)),
    ROW_IN("gate_w", DSV4_F32, "E,D", "router", DRAW_BY("router", 1, 0)),
    ROW_OPTIONAL("gate_bias", DSV4_F32, "E", "added to the scores that choose", DRAW_NORMAL(0, 0.1)),
    ROW_OPTIONAL("tid2eid", DSV4_I32, "V,K", "experts of a token id", DRAW_BY("hash_experts", 0, 0)),
    ROW_OPTIONAL("input_ids", DSV4_I64, "T", "token ids", DRAW_BY("token_ids", 0, 0)),
    ROW_DIM("layer_id", "layer: those below num_hash_layers route by hash", "layer"),
    ROW_IN("num_tokens", DSV4_I32, "", "valid tokens", DRAW_BY("tokens", 0, 0)),
    ROW_OUT("x_norm", DSV4_BF16, "T,D", "normalised rows", RULE_RATIO(1e-3, 1.0 / 128, 0.005)),
    ROW_OUT("x_norm_i8", DSV4_I8, "T,D", "quantised rows", RULE_RATIO(1, 0, 0.001)),
    ROW_OUT("x_norm_scale", DSV4_F32, "T,1", "their scales", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
    ROW_OUT("indices", DSV4_I32, "T,K", "experts of a token", OP_BRACED(CMP_EXACT, 0, 0, 0, 0)),
    ROW_OUT("weights", DSV4_F32, "T,K", "their weights", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
};

enum { P_T_TILE, N_TILE, K_SPLIT, T_TILE, NORM_PARTS };

static const op_tile tiles[] = {
    {"p_t_tile", "rows of a scoring block", 128, 128, 1, NULL, NULL},
    {"n_tile", "experts of a scoring block", 32, 64, UK_PANEL, NULL, NULL},
    {"k_split", "blocks that share the sums over D", 1, 1, 1, NULL, "D"},
    {"t_tile", "rows of the other blocks", 4, 16, 1, NULL, NULL},
    {"norm_parts", "parts of a row that are normalised by different blocks", 2, 2, 1, NULL, "D"},
};

typedef struct router {
    const uk_table *uk;
    op_router a;
    op_product z;
    op_matrix n_valid, hashed; /* I32 [1, 1]; I32 [T, K], by hash */
    op_verdict verdict;
    int64_t T, E, K;
    float factor;
} router;

/* ---- integers of the step -------------------------------------------------------------------------------------------------- */

static void describe_plan(const void *arg, int64_t block, dsv4_describe *d)
{
    const router *o = arg;
    (void)block;
    op_matrix_reads(d, &o->a.n_given);
    op_matrix_writes(d, &o->n_valid);
    op_verdict_writes(d, &o->verdict);
    if (o->a.by_hash) {
        op_matrix_reads(d, &o->a.ids);
        dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->a.table.view, (dsv4_box){0, o->a.table.rows, 0, o->K});
        op_matrix_writes(d, &o->hashed);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)o->T, .gathered_bytes = o->a.by_hash ? 4.0 * (double)(o->T * o->K) : 0});
}

static dsv4_status hash_token(const router *o, int64_t t, dsv4_error *err)
{
    int64_t id = ((const int64_t *)o->a.ids.data)[t];
    if (id < 0 || id >= o->a.table.rows) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: input_ids of token %lld is %lld, expected an id in [0, %lld)", o->verdict.op,
                         (long long)t, (long long)id, (long long)o->a.table.rows);
    }
    for (int64_t k = 0; k < o->K; k++) {
        int64_t expert = op_matrix_int(&o->a.table, id, k);
        if (expert < 0 || expert >= o->E) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: tid2eid[%lld, %lld] is %lld, expected an expert in [0, %lld)", o->verdict.op,
                             (long long)id, (long long)k, (long long)expert, (long long)o->E);
        }
        ((int32_t *)o->hashed.data)[t * o->K + k] = (int32_t)expert;
    }
    return DSV4_OK;
}

static void run_plan(const void *arg, int64_t block, void *scratch)
{
    const router *o = arg;
    int64_t n = op_matrix_ints(&o->a.n_given)[0];
    dsv4_error *err = o->verdict.own;
    (void)block;
    (void)scratch;
    memset(err, 0, sizeof *err);
    dsv4_status status = DSV4_OK;
    if (n < 0 || n > o->T) {
        status = dsv4_fail(err, DSV4_E_VALUE, "%s: num_tokens is %lld, expected 0 to %lld, the tokens of the call", o->verdict.op,
                           (long long)n, (long long)o->T);
    }
    if (o->a.by_hash) {
        memset(o->hashed.data, 0, (size_t)(o->T * o->K) * sizeof(int32_t));
    }
    for (int64_t t = 0; o->a.by_hash && t < n && status == DSV4_OK; t++) {
        status = hash_token(o, t, err);
    }
    *(int32_t *)o->n_valid.data = status == DSV4_OK ? (int32_t)n : 0;
}

/* ---- quantised rows -------------------------------------------------------------------------------------------------------- */

static void describe_quant(const void *arg, int64_t block, dsv4_describe *d)
{
    const router *o = arg;
    tile_range t = tile_at(block, o->a.t_tile, o->T);
    int64_t D = o->a.x.cols;
    op_matrix_reads(d, &o->n_valid);
    dsv4_reads(d, o->a.x_norm.view, t.begin, t.end, 0, D);
    dsv4_writes(d, o->a.x_q.view, t.begin, t.end, 0, D);
    dsv4_writes(d, o->a.x_scale.view, t.begin, t.end, 0, 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * D * OP_Q8_OPS)});
}

static void run_quant(const void *arg, int64_t block, void *scratch)
{
    const router *o = arg;
    tile_range tile = tile_at(block, o->a.t_tile, o->T);
    int64_t D = o->a.x.cols, n_valid = op_matrix_ints(&o->n_valid)[0];
    (void)scratch;
    for (int64_t t = tile.begin; t < tile.end; t++) {
        float multiplier = o->uk->q8_bf16(D, (const uint16_t *)o->a.x_norm.data + t * D, (int8_t *)o->a.x_q.data + t * D);
        *op_matrix_f32(&o->a.x_scale, t, 0) = t < n_valid ? 1.0f / multiplier : 0.0f;
    }
}

/* ---- choice ---------------------------------------------------------------------------------------------------------------- */

static void describe_choose(const void *arg, int64_t block, dsv4_describe *d)
{
    const router *o = arg;
    tile_range t = tile_at(block, o->a.t_tile, o->T);
    double scores = (double)((t.end - t.begin) * o->E);
    op_matrix_reads(d, &o->n_valid);
    op_product_reads(d, &o->z, t.begin, t.end, 0, o->E);
    if (o->a.by_hash) {
        dsv4_reads(d, o->hashed.view, t.begin, t.end, 0, o->K);
    } else {
        op_matrix_reads(d, &o->a.bias);
    }
    dsv4_writes(d, o->a.indices.view, t.begin, t.end, 0, o->K);
    dsv4_writes(d, o->a.weights.view, t.begin, t.end, 0, o->K);
    dsv4_costs(d, (dsv4_work){.vector_ops = 100 * scores});
}

static void run_choose(const void *arg, int64_t block, void *scratch)
{
    const router *o = arg;
    tile_range tile = tile_at(block, o->a.t_tile, o->T);
    uint64_t *keys = scratch;
    float *score = (float *)(keys + 2 * o->K), *biased = score + o->E;
    int64_t n_valid = op_matrix_ints(&o->n_valid)[0];
    for (int64_t t = tile.begin; t < tile.end; t++) {
        int32_t *indices = (int32_t *)o->a.indices.data + t * o->K;
        float *weights = op_matrix_f32(&o->a.weights, t, 0);
        if (t >= n_valid) {
            memset(indices, 0, (size_t)o->K * sizeof *indices);
            memset(weights, 0, (size_t)o->K * sizeof *weights);
            continue;
        }
        op_product_row(o->uk, &o->z, t, 0, o->E, score);
        op_route_score(o->E, score);
        if (o->a.by_hash) {
            memcpy(indices, (const int32_t *)o->hashed.data + t * o->K, (size_t)o->K * sizeof *indices);
        } else {
            op_route_choose(o->E, score, o->a.bias.data, o->K, biased, keys, indices);
        }
        op_route_weigh(o->K, score, indices, o->factor, weights);
    }
}

/* ---- graph --------------------------------------------------------------------------------------------------------------- */

bool op_routes_by_hash(const op_context *c)
{
    return c->dims.of[OP_layer] < c->config->num_hash_layers;
}

dsv4_status op_router_check(const op_context *c, dsv4_error *err)
{
    int64_t E = c->dims.of[OP_E], K = c->dims.of[OP_K];
    if (K == OP_UNKNOWN || K > E) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: num_experts_per_tok=%lld, rule: from 1 to n_routed_experts=%lld", c->op->name,
                         (long long)(K == OP_UNKNOWN ? 0 : K), (long long)E);
    }
    if (op_routes_by_hash(c) && !(op_has_tensor(c, "tid2eid") && op_has_tensor(c, "input_ids"))) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: input %s is missing, layer %lld routes by hash (num_hash_layers=%lld)",
                         c->op->name, op_has_tensor(c, "tid2eid") ? "input_ids" : "tid2eid", (long long)c->dims.of[OP_layer],
                         (long long)c->config->num_hash_layers);
    }
    return DSV4_OK;
}

op_matrix op_router_add(const op_context *c, const op_router *a)
{
    router *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return op_no_matrix;
    }
    *o = (router){.uk = c->uk,
                  .a = *a,
                  .T = a->x.rows,
                  .E = a->w.shape[0],
                  .K = a->indices.cols,
                  .factor = (float)c->config->routed_scaling_factor};
    o->n_valid = op_matrix_new(c, "gate.n_valid", 1, 1, DSV4_I32);
    o->hashed = a->by_hash ? op_matrix_new(c, "gate.hashed", o->T, o->K, DSV4_I32) : op_no_matrix;
    o->verdict = op_verdict_new(c);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"gate.plan", 1, run_plan, describe_plan, o, 0, DSV4_VECTOR});
    op_rmsnorm_add(c, &(op_rmsnorm_args){a->x, a->x_norm, a->norm_w, a->t_tile, a->norm_parts});
    o->z = op_project_f32(c, "gate.score", a->x_norm, op_weight_pack(c, "gate_w", op_weight_of_transposed(&a->w)), a->tiles);
    int64_t n_blocks = tile_count(o->T, a->t_tile);
    size_t scratch_bytes = (size_t)(2 * o->K) * sizeof(uint64_t) + (size_t)(2 * o->E) * sizeof(float);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"gate.quant", n_blocks, run_quant, describe_quant, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"gate.choose", n_blocks, run_choose, describe_choose, o, scratch_bytes, DSV4_VECTOR});
    return o->n_valid;
}

static void build(const op_context *c)
{
    op_router_add(c, &(op_router){.x = op_matrix_named(c, "x_mixed", 1),
                                  .norm_w = op_matrix_named(c, "norm_w", 1),
                                  .w = op_tensor_named(c, "gate_w"),
                                  .bias = op_matrix_named(c, "gate_bias", 1),
                                  .n_given = op_matrix_named(c, "num_tokens", 0),
                                  .by_hash = op_routes_by_hash(c),
                                  .table = op_matrix_named(c, "tid2eid", 1),
                                  .ids = op_matrix_named(c, "input_ids", 1),
                                  .x_norm = op_matrix_named(c, "x_norm", 1),
                                  .x_q = op_matrix_named(c, "x_norm_i8", 1),
                                  .x_scale = op_matrix_named(c, "x_norm_scale", 1),
                                  .indices = op_matrix_named(c, "indices", 1),
                                  .weights = op_matrix_named(c, "weights", 1),
                                  .tiles = {c->tile[P_T_TILE], c->tile[N_TILE], c->tile[K_SPLIT]},
                                  .t_tile = c->tile[T_TILE],
                                  .norm_parts = c->tile[NORM_PARTS]});
}

const dsv4_op op_moe_gate = {
    .name = "gate",
    .summary = "the experts of a token, by score or by hash, and its normalised, quantised row",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = op_router_check,
    .build = build,
};
