/* ops/mtp_projection.c - the input of the draft block: the next token's embedding and the previous hidden row (SPEC 6.9).
 *
 * MATH      leg(x, w, smooth, p, s) = (float(q p^T) qs) s,  y = bf(((x * inv(x)) * w) * smooth),  (q, qs) = Q8(y)
 *           hidden_states_out = bf(leg(hidden_states, enorm_w, e_proj_*) + leg(prev_hidden_states, hnorm_w, h_proj_*))
 * SHAPES    hidden_states, prev_hidden_states bf16[B,S,D]  enorm_w, hnorm_w, *_smooth f32[D]  *_proj_w i8[D,D] with f32[D]
 *           ->  hidden_states_out bf16[B,S,D]
 * STAGES    mtp.quant    [t_tile], of each leg            x -> q, qs
 *           mtp.tile     [8 x 2048], of each leg          q as products take it
 *           mtp.project  [p_t_tile x n_tile], of each leg  -> INT32 sums
 *           mtp.add      [t_tile x n_tile]                -> hidden_states_out
 * NUMERICS  f32; squares summed in chunks of 512 (ops/chunk.h); INT8 products exact. */
#include "ops/chunk.h"
#include "ops/project.h"
#include "ops/rms.h"
#include "ops/table.h"

#define PROJECTION(name, scale) ROW_IN(name, DSV4_I8, "D,D", "its projection", DRAW_BY("wq:" scale, 1, 1))

static const op_tensor tensors[] = {
    ROW_IN("hidden_states", DSV4_BF16, "B,S,D", "embedding of the next token", DRAW_NORMAL(0, 1)),
    ROW_IN("prev_hidden_states", DSV4_BF16, "B,S,D", "hidden row before", DRAW_NORMAL(0, 1)),
    ROW_IN("enorm_w", DSV4_F32, "D", "RMS weight of the embedding", DRAW_CONSTANT(1)),
    ROW_IN("hnorm_w", DSV4_F32, "D", "RMS weight of the hidden row", DRAW_CONSTANT(1)),
    PROJECTION("e_proj_w", "e_proj_w_scale"),
    ROW_IN("e_proj_w_scale", DSV4_F32, "D", "its scale per output", DRAW_NONE),
    ROW_IN("e_proj_smooth", DSV4_F32, "D", "factors in front of it", DRAW_CONSTANT(1)),
    PROJECTION("h_proj_w", "h_proj_w_scale"),
    ROW_IN("h_proj_w_scale", DSV4_F32, "D", "its scale per output", DRAW_NONE),
    ROW_IN("h_proj_smooth", DSV4_F32, "D", "factors in front of it", DRAW_CONSTANT(1)),
    ROW_OUT("hidden_states_out", DSV4_BF16, "B,S,D", "input of the block", RULE_RATIO(1e-2, 1e-2, 0.02)),
};

enum { P_T_TILE, N_TILE, T_TILE };

static const op_tile tiles[] = {
    {"p_t_tile", "rows of a product block", 128, 128, 1, NULL, NULL},
    {"n_tile", "columns of a product block", 64, 64, UK_PANEL, NULL, NULL},
    {"t_tile", "rows of the other blocks", 4, 16, 1, NULL, NULL},
};

typedef struct leg {
    const uk_table *uk;
    op_matrix x, norm_w, smooth, q, q_scale, w_scale;
    op_product sums; /* INT32 */
    int64_t t_tile;
    float eps;
} leg;

typedef struct adder {
    const leg *legs; /* [2] */
    op_matrix y;
    int64_t t_tile, n_tile;
} adder;

/* ---- quantising a leg ------------------------------------------------------------------------------------------------------ */

static void describe_quant(const void *arg, int64_t block, dsv4_describe *d)
{
    const leg *l = arg;
    tile_range t = tile_at(block, l->t_tile, l->x.rows);
    dsv4_reads(d, l->x.view, t.begin, t.end, 0, l->x.cols);
    op_matrix_reads(d, &l->norm_w);
    op_matrix_reads(d, &l->smooth);
    dsv4_writes(d, l->q.view, t.begin, t.end, 0, l->q.cols);
    dsv4_writes(d, l->q_scale.view, t.begin, t.end, 0, 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * l->x.cols * (5 + OP_Q8_OPS))});
}

static void run_quant(const void *arg, int64_t block, void *scratch)
{
    const leg *l = arg;
    tile_range tile = tile_at(block, l->t_tile, l->x.rows);
    int64_t D = l->x.cols;
    float *row = scratch;
    uint16_t *y = (uint16_t *)(row + D);
    for (int64_t t = tile.begin; t < tile.end; t++) {
        l->uk->widen_bf16(D, (const uint16_t *)l->x.data + t * D, row);
        l->uk->scale(D, row, op_row_inverse_rms(l->uk, row, D, l->eps), row);
        l->uk->scale_cols(D, row, l->norm_w.data, row);
        l->uk->scale_cols(D, row, l->smooth.data, row);
        l->uk->narrow_bf16(D, row, y);
        *op_matrix_f32(&l->q_scale, t, 0) = 1.0f / l->uk->q8_bf16(D, y, (int8_t *)l->q.data + t * D);
    }
}

/* ---- the sum --------------------------------------------------------------------------------------------------------------- */

static void describe_add(const void *arg, int64_t block, dsv4_describe *d)
{
    const adder *a = arg;
    int64_t n_columns = tile_count(a->y.cols, a->n_tile);
    tile_range t = tile_at(block / n_columns, a->t_tile, a->y.rows), c = tile_at(block % n_columns, a->n_tile, a->y.cols);
    for (int i = 0; i < 2; i++) {
        const leg *l = &a->legs[i];
        op_product_reads(d, &l->sums, t.begin, t.end, c.begin, c.end);
        dsv4_reads(d, l->q_scale.view, t.begin, t.end, 0, 1);
        dsv4_reads(d, l->w_scale.view, 0, 1, c.begin, c.end);
    }
    dsv4_writes(d, a->y.view, t.begin, t.end, c.begin, c.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 8.0 * (double)((t.end - t.begin) * (c.end - c.begin))});
}

static void run_add(const void *arg, int64_t block, void *scratch)
{
    const adder *a = arg;
    int64_t n_columns = tile_count(a->y.cols, a->n_tile);
    tile_range tile = tile_at(block / n_columns, a->t_tile, a->y.rows), c = tile_at(block % n_columns, a->n_tile, a->y.cols);
    int64_t n = c.end - c.begin;
    float *rows[2] = {scratch, (float *)scratch + a->n_tile};
    for (int64_t t = tile.begin; t < tile.end; t++) {
        for (int i = 0; i < 2; i++) {
            const leg *l = &a->legs[i];
            l->uk->dequant_i32(n, op_matrix_i32(&l->sums.sums, t, c.begin), *op_matrix_f32(&l->q_scale, t, 0),
                               op_matrix_f32(&l->w_scale, 0, c.begin), rows[i]);
        }
        a->legs->uk->add(n, rows[1], rows[0]);
        a->legs->uk->narrow_bf16(n, rows[0], (uint16_t *)a->y.data + t * a->y.ld + c.begin);
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    int64_t D = c->dims.of[OP_D];
    return D <= UK_MAX_K_I8 ? DSV4_OK
                            : dsv4_fail(err, DSV4_E_VALUE, "%s: hidden_size=%lld, rule hidden_size <= %d: INT32 sums must be exact",
                                        c->op->name, (long long)D, UK_MAX_K_I8);
}

static void add_leg(const op_context *c, leg *l, const char *x, const char *norm_w, const char *const w[3])
{
    dsv4_tensor weight = op_tensor_named(c, w[0]);
    *l = (leg){.uk = c->uk,
               .x = op_matrix_named(c, x, 1),
               .norm_w = op_matrix_named(c, norm_w, 1),
               .w_scale = op_matrix_named(c, w[1], 1),
               .smooth = op_matrix_named(c, w[2], 1),
               .t_tile = c->tile[T_TILE],
               .eps = (float)c->config->rms_norm_eps};
    int64_t T = l->x.rows, D = l->x.cols;
    l->q = op_matrix_new(c, "mtp.q", T, D, DSV4_I8);
    l->q_scale = op_matrix_new(c, "mtp.q_scale", T, 1, DSV4_F32);
    size_t scratch_bytes = (size_t)D * (sizeof(float) + sizeof(uint16_t));
    dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"mtp.quant", tile_count(T, l->t_tile), run_quant, describe_quant, l, scratch_bytes, DSV4_VECTOR});
    op_acts q = op_acts_tile(c, "mtp.tile", l->q, DSV4_I8);
    l->sums = op_project_i8(c, "mtp.project", q, op_weight_pack(c, w[0], op_weight_of_transposed(&weight)), c->tile[P_T_TILE],
                            c->tile[N_TILE]);
}

static void build(const op_context *c)
{
    leg *legs = dsv4_graph_memory(c->g, 2 * sizeof *legs);
    adder *a = dsv4_graph_memory(c->g, sizeof *a);
    if (legs == NULL || a == NULL) {
        return;
    }
    add_leg(c, &legs[0], "hidden_states", "enorm_w", (const char *const[]){"e_proj_w", "e_proj_w_scale", "e_proj_smooth"});
    add_leg(c, &legs[1], "prev_hidden_states", "hnorm_w", (const char *const[]){"h_proj_w", "h_proj_w_scale", "h_proj_smooth"});
    *a = (adder){legs, op_matrix_named(c, "hidden_states_out", 1), c->tile[T_TILE], c->tile[N_TILE]};
    int64_t n_blocks = tile_count(a->y.rows, a->t_tile) * tile_count(a->y.cols, a->n_tile);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"mtp.add", n_blocks, run_add, describe_add, a,
                                              (size_t)(2 * a->n_tile) * sizeof(float), DSV4_VECTOR});
}

const dsv4_op op_mtp_projection = {
    .name = "mtp_projection",
    .summary = "the input of the draft block, of the next token's embedding and the previous hidden row",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = check,
    .build = build,
};
