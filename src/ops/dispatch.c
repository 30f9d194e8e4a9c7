/* ops/dispatch.c - rows on their way to the experts and back (SPEC 6.6), on one rank.
 *
 * MATH      dispatch: for t, for k ascending, e = indices[t,k]: the next free row of e becomes x_norm_i8[t], with its scale,
 *           weights[t,k] and t; other rows are 0
 *           combine:  ffn_out[t] = bf((sh[t] + row of t at expert 0) + row at expert 1 + ...), f32; an expert that has a token twice
 *           counts with its last row
 * SHAPES    dispatch  x_norm_i8 i8[T,D]  x_norm_scale f32[T,1]  indices i32[T,K]  weights f32[T,K]
 *                     ->  recv_x i8[EL,RM,D]  recv_scale_dq, recv_weights f32[EL,RM]  recv_token i32[EL,RM]  recv_expert_count i32[EL,1]
 *           combine   recv_y bf16[EL,RM,D]  recv_token i32[EL,RM]  recv_expert_count i32[EL,1]  sh bf16[T,D]  ->  ffn_out bf16[T,D]
 * STAGES    dispatch.plan   [1]       indices -> everything but recv_x, verdict
 *           dispatch.copy   [expert]  x_norm_i8 -> recv_x
 *           combine.plan    [1]       tokens and counts -> rows of each token, verdict
 *           combine.sum     [t_tile x part]
 * NUMERICS  f32 sums. */
#include <string.h>

#include "ops/chunk.h"
#include "ops/matrix.h"
#include "ops/table.h"
#include "ops/verdict.h"

static dsv4_box all_of(const op_matrix *m)
{
    return (dsv4_box){0, m->rows, 0, m->cols};
}

/* ---- dispatch -------------------------------------------------------------------------------------------------------------- */

static const op_tensor dispatch_tensors[] = {
    ROW_IN("x_norm_i8", DSV4_I8, "T,D", "quantised rows", DRAW_BY("rq:x_norm_scale", 1, 0)),
    ROW_IN("x_norm_scale", DSV4_F32, "T,1", "their scales", DRAW_NONE),
    ROW_IN("indices", DSV4_I32, "T,K", "experts of a token", DRAW_BY("hash_experts", 0, 0)),
    ROW_IN("weights", DSV4_F32, "T,K", "their weights", DRAW_UNIFORM(0.1, 1.1)),
    ROW_OUT("recv_x", DSV4_I8, "EL,RM,D", "rows that each expert receives", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
    ROW_OUT("recv_scale_dq", DSV4_F32, "EL,RM", "their scales", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
    ROW_OUT("recv_weights", DSV4_F32, "EL,RM", "their routing weights", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
    ROW_OUT("recv_token", DSV4_I32, "EL,RM", "their tokens", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
    ROW_OUT("recv_expert_count", DSV4_I32, "EL,1", "valid rows of each expert", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
};

typedef struct sender {
    op_matrix x, x_scale, indices, weights;              /* inputs */
    op_matrix recv_x, scale, recv_weights, token, count; /* outputs */
    op_verdict verdict;
    int64_t room;
} sender;

static void send_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const sender *o = arg;
    (void)block;
    op_matrix_reads(d, &o->indices);
    op_matrix_reads(d, &o->weights);
    op_matrix_reads(d, &o->x_scale);
    op_matrix_writes(d, &o->scale);
    op_matrix_writes(d, &o->recv_weights);
    op_matrix_writes(d, &o->token);
    op_matrix_writes(d, &o->count);
    op_verdict_writes(d, &o->verdict);
    dsv4_costs(d, (dsv4_work){.vector_ops = 8.0 * (double)(o->indices.rows * o->indices.cols)});
}

/* Route k of token t: the next row of its expert. */
static dsv4_status send_route(const sender *o, int64_t t, int64_t k)
{
    int64_t e = op_matrix_int(&o->indices, t, k);
    int32_t *count = o->count.data;
    if (e < 0 || e >= o->count.rows) {
        return dsv4_fail(o->verdict.own, DSV4_E_VALUE, "%s: indices[%lld, %lld] is %lld, expected an expert in [0, %lld)",
                         o->verdict.op, (long long)t, (long long)k, (long long)e, (long long)o->count.rows);
    }
    if (count[e] == o->room) {
        return dsv4_fail(o->verdict.own, DSV4_E_VALUE, "%s: expert %lld has more than the %lld rows that there is room for",
                         o->verdict.op, (long long)e, (long long)o->room);
    }
    int64_t row = e * o->room + count[e]++;
    ((float *)o->scale.data)[row] = ((const float *)o->x_scale.data)[t];
    ((float *)o->recv_weights.data)[row] = *op_matrix_f32(&o->weights, t, k);
    ((int32_t *)o->token.data)[row] = (int32_t)t;
    return DSV4_OK;
}

/* A refused step sends nothing. */
static void send_run(const void *arg, int64_t block, void *scratch)
{
    const sender *o = arg;
    size_t n_rows = (size_t)(o->count.rows * o->room);
    dsv4_status status = DSV4_OK;
    (void)block;
    (void)scratch;
    memset(o->verdict.own, 0, sizeof *o->verdict.own);
    memset(o->scale.data, 0, n_rows * sizeof(float));
    memset(o->recv_weights.data, 0, n_rows * sizeof(float));
    memset(o->token.data, 0, n_rows * sizeof(int32_t));
    memset(o->count.data, 0, (size_t)o->count.rows * sizeof(int32_t));
    for (int64_t i = 0; i < o->indices.rows * o->indices.cols && status == DSV4_OK; i++) {
        status = send_route(o, i / o->indices.cols, i % o->indices.cols);
    }
    if (status != DSV4_OK) {
        memset(o->count.data, 0, (size_t)o->count.rows * sizeof(int32_t));
    }
}

static void copy_describe(const void *arg, int64_t e, dsv4_describe *d)
{
    const sender *o = arg;
    dsv4_reads(d, o->token.view, e, e + 1, 0, o->room);
    dsv4_reads(d, o->count.view, e, e + 1, 0, 1);
    dsv4_touch(d, DSV4_READ, o->x.view, all_of(&o->x));
    dsv4_writes(d, o->recv_x.view, e * o->room, (e + 1) * o->room, 0, o->recv_x.cols);
}

static void copy_run(const void *arg, int64_t e, void *scratch)
{
    const sender *o = arg;
    int64_t D = o->x.cols, n = op_matrix_ints(&o->count)[e];
    int8_t *rows = (int8_t *)o->recv_x.data + e * o->room * D;
    (void)scratch;
    for (int64_t r = 0; r < n; r++) {
        memcpy(rows + r * D, (const int8_t *)o->x.data + op_matrix_int(&o->token, e, r) * D, (size_t)D);
    }
    memset(rows + n * D, 0, (size_t)((o->room - n) * D));
}

static dsv4_status check_dispatch(const op_context *c, dsv4_error *err)
{
    return c->dims.of[OP_K] != OP_UNKNOWN ? DSV4_OK
                                          : dsv4_fail(err, DSV4_E_VALUE, "%s: num_experts_per_tok is not known", c->op->name);
}

static void build_dispatch(const op_context *c)
{
    sender *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (sender){.x = op_matrix_named(c, "x_norm_i8", 1),
                  .x_scale = op_matrix_named(c, "x_norm_scale", 1),
                  .indices = op_matrix_named(c, "indices", 1),
                  .weights = op_matrix_named(c, "weights", 1),
                  .recv_x = op_matrix_named(c, "recv_x", 1),
                  .scale = op_matrix_named(c, "recv_scale_dq", 1),
                  .recv_weights = op_matrix_named(c, "recv_weights", 1),
                  .token = op_matrix_named(c, "recv_token", 1),
                  .count = op_matrix_named(c, "recv_expert_count", 1),
                  .verdict = op_verdict_new(c)};
    o->room = o->token.cols;
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"dispatch.plan", 1, send_run, send_describe, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"dispatch.copy", o->count.rows, copy_run, copy_describe, o, 0, DSV4_VECTOR});
}

const dsv4_op op_dispatch = {
    .name = "dispatch",
    .summary = "quantised rows, sorted by the experts that they go to",
    OP_TENSORS(dispatch_tensors),
    .check = check_dispatch,
    .build = build_dispatch,
};

/* ---- combine --------------------------------------------------------------------------------------------------------------- */

static const op_tensor combine_tensors[] = {
    ROW_IN("recv_y", DSV4_BF16, "EL,RM,D", "weighted results of each expert", DRAW_NORMAL(0, 1)),
    ROW_IN("recv_token", DSV4_I32, "EL,RM", "their tokens", DRAW_BY("expert_tokens", 0, 0)),
    ROW_IN("recv_expert_count", DSV4_I32, "EL,1", "valid rows of each expert", DRAW_BY("expert_counts", 0, 0)),
    ROW_IN("sh", DSV4_BF16, "T,D", "result of the shared expert", DRAW_NORMAL(0, 1)),
    ROW_OUT("ffn_out", DSV4_BF16, "T,D", "sum of a token's experts", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
};

enum { T_TILE, PARTS };

static const op_tile combine_tiles[] = {
    {"t_tile", "rows of a block", 4, 16, 1, NULL, NULL},
    {"parts", "parts of a row that are summed by different blocks", 2, 2, 1, NULL, "D"},
};

typedef struct combiner {
    const uk_table *uk;
    op_matrix recv_y, token, count, sh, out;
    op_matrix rows, n_rows; /* I32 [T, EL]: of a token, by ascending expert; [T, 1] */
    op_verdict verdict;
    op_part_grid grid; /* of ffn_out */
} combiner;

static void collect_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const combiner *o = arg;
    (void)block;
    op_matrix_reads(d, &o->token);
    op_matrix_reads(d, &o->count);
    dsv4_touch(d, DSV4_UPDATE, o->rows.view, all_of(&o->rows));
    op_matrix_writes(d, &o->n_rows);
    op_verdict_writes(d, &o->verdict);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)(o->token.rows * o->token.cols)});
}

static dsv4_status collect_expert(const combiner *o, int64_t e)
{
    int64_t n = op_matrix_ints(&o->count)[e], room = o->token.cols;
    int32_t *n_rows = o->n_rows.data, *rows = o->rows.data;
    if (n < 0 || n > room) {
        return dsv4_fail(o->verdict.own, DSV4_E_VALUE, "%s: recv_expert_count of expert %lld is %lld, expected 0 to %lld",
                         o->verdict.op, (long long)e, (long long)n, (long long)room);
    }
    for (int64_t r = 0; r < n; r++) {
        int64_t t = op_matrix_int(&o->token, e, r);
        if (t < 0 || t >= o->sh.rows) {
            return dsv4_fail(o->verdict.own, DSV4_E_VALUE, "%s: recv_token[%lld, %lld] is %lld, expected a token in [0, %lld)",
                             o->verdict.op, (long long)e, (long long)r, (long long)t, (long long)o->sh.rows);
        }
        int32_t *of_token = rows + t * o->rows.cols;
        bool is_again = n_rows[t] > 0 && of_token[n_rows[t] - 1] / room == e;
        n_rows[t] += is_again ? 0 : 1;
        of_token[n_rows[t] - 1] = (int32_t)(e * room + r);
    }
    return DSV4_OK;
}

/* In a refused step tokens have no rows. */
static void collect_run(const void *arg, int64_t block, void *scratch)
{
    const combiner *o = arg;
    dsv4_status status = DSV4_OK;
    (void)block;
    (void)scratch;
    memset(o->verdict.own, 0, sizeof *o->verdict.own);
    memset(o->n_rows.data, 0, (size_t)o->n_rows.rows * sizeof(int32_t));
    for (int64_t e = 0; e < o->count.rows && status == DSV4_OK; e++) {
        status = collect_expert(o, e);
    }
    if (status != DSV4_OK) {
        memset(o->n_rows.data, 0, (size_t)o->n_rows.rows * sizeof(int32_t));
    }
}

static void sum_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const combiner *o = arg;
    op_part part = op_part_at(&o->grid, block);
    dsv4_reads(d, o->rows.view, part.t.begin, part.t.end, 0, o->rows.cols);
    dsv4_reads(d, o->n_rows.view, part.t.begin, part.t.end, 0, 1);
    dsv4_reads(d, o->sh.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->recv_y.view, (dsv4_box){0, o->recv_y.rows, part.col.begin, part.col.end});
    dsv4_writes(d, o->out.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    double experts = (double)o->token.rows;
    dsv4_costs(d, (dsv4_work){.vector_ops = op_part_elements(&part) * (experts + 1),
                              .gathered_bytes = op_part_elements(&part) * experts * (double)sizeof(uint16_t)});
}

static void sum_run(const void *arg, int64_t block, void *scratch)
{
    const combiner *o = arg;
    op_part part = op_part_at(&o->grid, block);
    int64_t n = part.col.end - part.col.begin, D = o->out.cols;
    float *sum = scratch, *row = sum + n;
    for (int64_t t = part.t.begin; t < part.t.end; t++) {
        o->uk->widen_bf16(n, (const uint16_t *)o->sh.data + t * D + part.col.begin, sum);
        for (int64_t i = 0; i < op_matrix_ints(&o->n_rows)[t]; i++) {
            o->uk->widen_bf16(n, (const uint16_t *)o->recv_y.data + op_matrix_int(&o->rows, t, i) * D + part.col.begin, row);
            o->uk->add(n, row, sum);
        }
        o->uk->narrow_bf16(n, sum, (uint16_t *)o->out.data + t * D + part.col.begin);
    }
}

static void build_combine(const op_context *c)
{
    combiner *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (combiner){.uk = c->uk,
                    .recv_y = op_matrix_named(c, "recv_y", 1),
                    .token = op_matrix_named(c, "recv_token", 1),
                    .count = op_matrix_named(c, "recv_expert_count", 1),
                    .sh = op_matrix_named(c, "sh", 1),
                    .out = op_matrix_named(c, "ffn_out", 1),
                    .verdict = op_verdict_new(c)};
    o->rows = op_matrix_new(c, "combine.rows", o->sh.rows, o->count.rows, DSV4_I32);
    o->n_rows = op_matrix_new(c, "combine.n_rows", o->sh.rows, 1, DSV4_I32);
    o->grid = (op_part_grid){o->out.rows, o->out.cols, c->tile[T_TILE], c->tile[PARTS]};
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"combine.plan", 1, collect_run, collect_describe, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"combine.sum", op_part_blocks(&o->grid), sum_run, sum_describe, o,
                                              (size_t)(2 * o->out.cols) * sizeof(float), DSV4_VECTOR});
}

const dsv4_op op_combine = {
    .name = "combine",
    .summary = "sum of a token's experts, the shared one first",
    OP_TENSORS(combine_tensors),
    OP_TILES(combine_tiles),
    .build = build_combine,
};
