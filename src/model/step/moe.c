#include "model/step/moe.h"

#include <string.h>

#include "model/step/experts.h"
#include "ops/route.h"
#include "ops/swiglu.h"

enum { BLOCK_VALUES = 8192 /* of a routing, activating or combining block: some microseconds' work */ };

static int64_t row_tile(int64_t rows, int64_t cols)
{
    return tile_min(tile_max(BLOCK_VALUES / cols, 1), rows);
}

/* ---- routes ---------------------------------------------------------------------------------------------------------------- */

typedef struct router {
    const uk_table *uk;
    const step_rows *rows;
    step_product z;
    const float *bias;
    const int32_t *routes; /* [V][K]; NULL: by score */
    op_matrix experts, weights;
    int64_t E, K, t_tile;
    float factor;
} router;

static void route_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const router *o = arg;
    tile_range t = tile_at(block, o->t_tile, o->experts.rows);
    step_product_reads(d, &o->z, t.begin, t.end, 0, o->E);
    dsv4_writes(d, o->experts.view, t.begin, t.end, 0, o->K);
    dsv4_writes(d, o->weights.view, t.begin, t.end, 0, o->K);
    dsv4_costs(d, (dsv4_work){.vector_ops = 100.0 * (double)((t.end - t.begin) * o->E)});
}

static void sort_ascending(int64_t n, int32_t *x)
{
    for (int64_t i = 1; i < n; i++) {
        int32_t value = x[i];
        int64_t j = i;
        for (; j > 0 && x[j - 1] > value; j--) {
            x[j] = x[j - 1];
        }
        x[j] = value;
    }
}

static void route_run(const void *arg, int64_t block, void *scratch)
{
    const router *o = arg;
    tile_range tile = tile_at(block, o->t_tile, o->experts.rows);
    uint64_t *keys = scratch;
    float *score = (float *)(void *)(keys + 2 * o->K), *biased = score + o->E;
    for (int64_t t = tile.begin; t < tile_min(tile.end, o->rows->n); t++) {
        int32_t *experts = (int32_t *)o->experts.data + t * o->K;
        step_product_row(o->uk, &o->z, t, 0, o->E, score);
        op_route_score(o->E, score);
        if (o->routes != NULL) {
            memcpy(experts, o->routes + o->rows->token[t] * o->K, (size_t)o->K * sizeof *experts);
        } else {
            op_route_choose(o->E, score, o->bias, o->K, biased, keys, experts);
        }
        sort_ascending(o->K, experts);
        op_route_weigh(o->K, score, experts, o->factor, op_matrix_f32(&o->weights, t, 0));
    }
}

static const router *router_add(const step *s, const model_block_weights *w, step_matrix x)
{
    router *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    int64_t E = w->gate.packed.n, K = s->config->num_experts_per_tok;
    step_operand operand = step_operand_add(s, "moe.gate.x", x, w->gate.form, 1);
    *o = (router){.uk = s->op.uk,
                  .rows = s->rows,
                  .z = step_linear_add(s, "moe.gate", &operand, &w->gate, false),
                  .bias = w->gate_bias,
                  .routes = w->routes,
                  .experts = op_matrix_new(&s->op, "moe.experts", s->T, K, DSV4_I32),
                  .weights = op_matrix_new(&s->op, "moe.weights", s->T, K, DSV4_F32),
                  .E = E,
                  .K = K,
                  .t_tile = row_tile(s->T, 8 * E),
                  .factor = (float)s->config->routed_scaling_factor};
    size_t scratch_bytes = (size_t)(2 * K) * sizeof(uint64_t) + (size_t)(2 * E) * sizeof(float);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"moe.route", tile_count(s->T, o->t_tile), route_run, route_describe, o,
                                                 scratch_bytes, DSV4_VECTOR});
    return o;
}

/* ---- the shared expert ------------------------------------------------------------------------------------------------------ */

typedef struct shared_act {
    const uk_table *uk;
    const step_rows *rows;
    step_product g, u;
    step_matrix hidden;
    int64_t t_tile, column_tile, n_columns;
    float limit;
} shared_act;

static void act_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const shared_act *o = arg;
    tile_range t = tile_at(block / o->n_columns, o->t_tile, o->hidden.m.rows);
    tile_range c = tile_at(block % o->n_columns, o->column_tile, o->hidden.m.cols);
    step_product_reads(d, &o->g, t.begin, t.end, c.begin, c.end);
    step_product_reads(d, &o->u, t.begin, t.end, c.begin, c.end);
    dsv4_writes(d, o->hidden.m.view, t.begin, t.end, c.begin, c.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * (c.end - c.begin) * OP_SWIGLU_OPS)});
}

static void act_run(const void *arg, int64_t block, void *scratch)
{
    const shared_act *o = arg;
    tile_range tile = tile_at(block / o->n_columns, o->t_tile, o->hidden.m.rows);
    tile_range c = tile_at(block % o->n_columns, o->column_tile, o->hidden.m.cols);
    int64_t n = c.end - c.begin;
    float *g = scratch, *u = g + o->column_tile, *rest = u + o->column_tile;
    for (int64_t t = tile.begin; t < tile_min(tile.end, o->rows->n); t++) {
        step_product_row(o->uk, &o->g, t, c.begin, c.end, g);
        step_product_row(o->uk, &o->u, t, c.begin, c.end, u);
        op_swiglu(o->uk, n, o->limit, g, u, rest);
        step_store(o->uk, &o->hidden, t, c.begin, n, g);
    }
}

static step_product shared_add(const step *s, const model_expert_weights *w, step_matrix x)
{
    shared_act *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_product){0};
    }
    step_operand operand = step_operand_add(s, "moe.shared.x", x, w->w1.form, 1);
    *o = (shared_act){.uk = s->op.uk,
                      .rows = s->rows,
                      .g = step_linear_add(s, "moe.shared.gate", &operand, &w->w1, true),
                      .u = step_linear_add(s, "moe.shared.up", &operand, &w->w3, true),
                      .hidden = step_matrix_new(s, "moe.shared.hidden", s->T, w->w1.packed.n),
                      .column_tile = step_column_tile(s, w->w1.packed.n, s->T),
                      .limit = (float)s->config->swiglu_limit};
    o->t_tile = row_tile(s->T, o->column_tile);
    o->n_columns = tile_count(o->hidden.m.cols, o->column_tile);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"moe.shared.act", tile_count(s->T, o->t_tile) * o->n_columns, act_run,
                                                 act_describe, o, (size_t)(3 * o->column_tile) * sizeof(float), DSV4_VECTOR});
    step_operand hidden = step_operand_add(s, "moe.shared.pack", o->hidden, w->w2.form, 1);
    return step_linear_add(s, "moe.shared.down", &hidden, &w->w2, true);
}

/* ---- sum of the experts ------------------------------------------------------------------------------------------------------ */

typedef struct combiner {
    const uk_table *uk;
    const step_rows *rows;
    step_expert_rows routed;
    step_product shared;
    step_matrix out;
    int64_t K, t_tile, n_columns;
} combiner;

static void combine_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const combiner *o = arg;
    tile_range t = tile_at(block / o->n_columns, o->t_tile, o->out.m.rows);
    tile_range c = tile_at(block % o->n_columns, o->routed.column_tile, o->out.m.cols);
    double values = (double)((t.end - t.begin) * (c.end - c.begin));
    step_expert_rows_reads(d, &o->routed, c.begin, c.end);
    step_product_reads(d, &o->shared, t.begin, t.end, c.begin, c.end);
    dsv4_writes(d, o->out.m.view, t.begin, t.end, c.begin, c.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = values * (double)(o->K + 2),
                              .gathered_bytes = values * (double)(o->K * (int64_t)dsv4_dtype_bytes(o->routed.y.dtype))});
}

static void combine_run(const void *arg, int64_t block, void *scratch)
{
    const combiner *o = arg;
    tile_range tile = tile_at(block / o->n_columns, o->t_tile, o->out.m.rows);
    tile_range c = tile_at(block % o->n_columns, o->routed.column_tile, o->out.m.cols);
    int64_t n = c.end - c.begin;
    float *sum = scratch, *row = sum + o->routed.column_tile;
    for (int64_t t = tile.begin; t < tile_min(tile.end, o->rows->n); t++) {
        step_load(o->uk, &o->routed.y, t * o->K, c.begin, n, sum);
        for (int64_t k = 1; k < o->K; k++) {
            step_load(o->uk, &o->routed.y, t * o->K + k, c.begin, n, row);
            o->uk->add(n, row, sum);
        }
        step_product_row(o->uk, &o->shared, t, c.begin, c.end, row);
        o->uk->add(n, row, sum);
        step_store(o->uk, &o->out, t, c.begin, n, sum);
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

step_matrix step_moe_add(const step *s, const step_moe_room *room, const model_block_weights *w, step_matrix x)
{
    step_matrix out = step_matrix_new(s, "moe.out", s->T, x.m.cols);
    const router *r = router_add(s, w, x);
    combiner *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (r == NULL || o == NULL) {
        return out;
    }
    *o = (combiner){.uk = s->op.uk,
                    .rows = s->rows,
                    .routed = step_experts_add(s, room, w, x, r->experts, r->weights),
                    .shared = shared_add(s, &w->shared, x),
                    .out = out,
                    .K = r->K};
    o->t_tile = row_tile(s->T, o->routed.column_tile);
    o->n_columns = tile_count(x.m.cols, o->routed.column_tile);
    dsv4_graph_stage(s->op.g,
                     &(dsv4_stage_desc){"moe.combine", tile_count(s->T, o->t_tile) * o->n_columns, combine_run, combine_describe, o,
                                        (size_t)(2 * o->routed.column_tile) * sizeof(float), DSV4_VECTOR});
    return out;
}
