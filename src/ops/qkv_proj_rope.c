/* ops/qkv_proj_rope.c - low-rank queries and the shared key/value row, normalised and rotated (SPEC 2.2).
 *
 * MATH      a = x wq_a;  a = (a * inv(a)) * gamma_cq;  (qr, qr_scale) = Q8(a)
 *           q = (float(qr wq_b) * qr_scale) * wq_b_scale;  per head: q = bf(rotate(q * inv(q)))
 *           kv = x wkv;  kv = bf(rotate((kv * inv(kv)) * gamma_ckv))
 *           inv(v) = 1/sqrt(sum v^2 / m + eps);  rotate turns the interleaved pairs of the last R elements
 * SHAPES    x bf16[T,D]  wq_a bf16[D,QL]  wkv bf16[D,hd]  wq_b i8[QL,H*hd]  wq_b_scale f32[H*hd]  gamma_cq bf16[QL]
 *           gamma_ckv bf16[hd]  rope_cos, rope_sin bf16[T,R]  ->  q bf16[T,H,hd]  kv bf16[T,hd]  qr i8[T,QL]  qr_scale f32[T,1]
 *           scratch a f32[T,QL], sums and amax f32[T, chunks of QL]
 * STAGES    qkv.qr_proj   [t_tile x n_tile x k_split]  x, wq_a -> partial sums of a
 *           qkv.kv_proj   [t_tile x n_tile x k_split]  x, wkv -> partial sums of kv
 *           qkv.qr_sum    [norm_t_tile x part]         partial sums -> a, sums       split-K reduced in order, squares summed
 *           qkv.qr_norm   [norm_t_tile x part]         a, sums, gamma_cq -> a, amax  norm and amax in one pass
 *           qkv.qr_quant  [norm_t_tile x part]         a, amax -> qr, qr_scale
 *           qkv.q_proj    [t_tile x head_group]        qr, wq_b, scales, rope -> q   multiplied; dequantised, normalised, rotated
 *                                                                                     while the INT32 sums are near (ops/heads.h)
 *           qkv.kv_head   [norm_t_tile]                partial sums, gamma_ckv, rope -> kv
 *           Blocks wait for blocks: q_proj starts on rows that are quantised while others are not.
 * NUMERICS  f32; products and squares summed in chunks of 512 (ops/chunk.h), so no tile changes a bit; INT8 product exact; rounded
 *           to bf16 once, last. */
#include "ops/chunk.h"
#include "ops/heads.h"
#include "ops/qkv.h"
#include "ops/rms.h"
#include "ops/table.h"

static const op_tensor tensors[] = {
    ROW_IN("x", DSV4_BF16, "T,D", "normalised hidden", DRAW_UNIFORM(-1, 1)),
    ROW_IN("wq_a", DSV4_BF16, "D,QL", "q down-projection", DRAW_UNIFORM(-0.1, 0.1)),
    ROW_IN("wq_b", DSV4_I8, "QL,H*hd", "q up-projection", {FIX_WQ_UNIFORM, -0.1, 0.1, "wq_b_scale"}),
    ROW_IN("wq_b_scale", DSV4_F32, "H*hd", "its scale per column", DRAW_NONE),
    ROW_IN("wkv", DSV4_BF16, "D,hd", "key/value projection", DRAW_UNIFORM(-0.1, 0.1)),
    ROW_IN("rope_cos", DSV4_BF16, "T,R", "cosines per token; columns < R/2 are read", DRAW_UNIFORM(-1, 1)),
    ROW_IN("rope_sin", DSV4_BF16, "T,R", "sines per token; columns < R/2 are read", DRAW_UNIFORM(-1, 1)),
    ROW_IN("gamma_cq", DSV4_BF16, "QL", "RMS weight of the low-rank q", DRAW_UNIFORM(-1, 1)),
    ROW_IN("gamma_ckv", DSV4_BF16, "hd", "RMS weight of kv", DRAW_UNIFORM(-1, 1)),
    ROW_OUT("q", DSV4_BF16, "T,H,hd", "rotated queries", RULE_BF16(0.005)),
    ROW_OUT("kv", DSV4_BF16, "T,hd", "rotated key/value row", RULE_BF16(0.005)),
    ROW_OUT("qr", DSV4_I8, "T,QL", "quantised low-rank q", RULE_RATIO(1, 0, 0)),
    ROW_OUT("qr_scale", DSV4_F32, "T,1", "its scale per token", RULE_SCALE),
};

enum { T_TILE, N_TILE, K_SPLIT, NORM_T_TILE, NORM_PARTS, HEAD_GROUP };

static const op_tile tiles[] = {
    {"t_tile", "rows of a product block", 128, 64, 1, NULL, NULL},
    {"n_tile", "columns of a qr_proj or kv_proj block", 32, 64, UK_PANEL, NULL, NULL},
    {"k_split", "blocks that share the sum over D", 1, 1, 1, NULL, "D"},
    {"norm_t_tile", "rows of a normalising block", 4, 16, 1, NULL, NULL},
    {"norm_parts", "parts of a low-rank row that are normalised by different blocks", 2, 2, 1, NULL, "QL"},
    {"head_group", "heads of a q_proj block", 1, 1, 1, "H", NULL},
};

typedef struct qkv {
    const uk_table *uk;
    op_matrix kv, qr, qr_scale;  /* outputs besides q */
    op_matrix gamma_q, gamma_kv; /* inputs besides x, the weights and their scale */
    op_turns turns;
    op_matrix turn_rows;
    op_product qr_sums, kv_sums;
    op_matrix a, sums, amax;
    op_part_grid a_grid;
    int64_t hd, R;
    float eps;
    int64_t norm_t_tile;
} qkv;

/* ---- low-rank q: sum, normalise, quantise ---------------------------------------------------------------------------------- */

static void describe_qr_sum(const void *arg, int64_t block, dsv4_describe *d)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    op_product_reads(d, &o->qr_sums, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_writes(d, o->a.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_writes(d, o->sums.view, tile.t.begin, tile.t.end, tile.chunk.begin, tile.chunk.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = op_part_elements(&tile) * (double)(o->qr_sums.n_partials + 1)});
}

static void run_qr_sum(const void *arg, int64_t block, void *scratch)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    (void)scratch;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        op_product_row(o->uk, &o->qr_sums, t, tile.col.begin, tile.col.end, op_matrix_f32(&o->a, t, tile.col.begin));
        for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
            tile_range col = tile_at(chunk, OP_SUM_CHUNK, o->a.cols);
            *op_matrix_f32(&o->sums, t, chunk) = o->uk->sum_squares(col.end - col.begin, op_matrix_f32(&o->a, t, col.begin));
        }
    }
}

static void describe_qr_norm(const void *arg, int64_t block, dsv4_describe *d)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    dsv4_reads(d, o->sums.view, tile.t.begin, tile.t.end, 0, o->sums.cols);
    dsv4_reads(d, o->gamma_q.view, 0, 1, tile.col.begin, tile.col.end);
    dsv4_updates(d, o->a.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_writes(d, o->amax.view, tile.t.begin, tile.t.end, tile.chunk.begin, tile.chunk.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 3 * op_part_elements(&tile)});
}

static void run_qr_norm(const void *arg, int64_t block, void *scratch)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    const uint16_t *gamma = o->gamma_q.data;
    (void)scratch;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        float inv = op_inverse_rms(op_matrix_f32(&o->sums, t, 0), o->sums.cols, o->a.cols, o->eps);
        for (int64_t chunk = tile.chunk.begin; chunk < tile.chunk.end; chunk++) {
            tile_range col = tile_at(chunk, OP_SUM_CHUNK, o->a.cols);
            float *a = op_matrix_f32(&o->a, t, col.begin);
            *op_matrix_f32(&o->amax, t, chunk) = o->uk->scale_gamma(col.end - col.begin, a, inv, gamma + col.begin, a);
        }
    }
}

static void describe_qr_quant(const void *arg, int64_t block, dsv4_describe *d)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    dsv4_reads(d, o->a.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_reads(d, o->amax.view, tile.t.begin, tile.t.end, 0, o->amax.cols);
    dsv4_writes(d, o->qr.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_writes(d, o->qr_scale.view, tile.t.begin, tile.t.end, 0, tile.chunk.begin == 0);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * op_part_elements(&tile)});
}

/* The part that holds a row's first chunk also writes its scale. */
static void run_qr_quant(const void *arg, int64_t block, void *scratch)
{
    const qkv *o = arg;
    op_part tile = op_part_at(&o->a_grid, block);
    (void)scratch;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        float multiplier = op_q8_multiplier(o->uk->amax(o->amax.cols, op_matrix_f32(&o->amax, t, 0)));
        o->uk->quantize_i8(tile.col.end - tile.col.begin, op_matrix_f32(&o->a, t, tile.col.begin), multiplier,
                           (int8_t *)o->qr.data + t * o->qr.cols + tile.col.begin);
        if (tile.chunk.begin == 0) {
            *op_matrix_f32(&o->qr_scale, t, 0) = 1.0f / multiplier;
        }
    }
}

/* ---- the key/value row
 * --------------------------------------------------------------------------------------------------------------- */

static void describe_kv_head(const void *arg, int64_t block, dsv4_describe *d)
{
    const qkv *o = arg;
    tile_range t = tile_at(block, o->norm_t_tile, o->kv.rows);
    op_product_reads(d, &o->kv_sums, t.begin, t.end, 0, o->hd);
    dsv4_reads(d, o->gamma_kv.view, 0, 1, 0, o->hd);
    op_turns_reads_by(d, &o->turns, &o->turn_rows, t.begin, t.end, o->R);
    dsv4_writes(d, o->kv.view, t.begin, t.end, 0, o->hd);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * o->hd * (o->kv_sums.n_partials + 5))});
}

static void run_kv_head(const void *arg, int64_t block, void *scratch)
{
    const qkv *o = arg;
    tile_range tile = tile_at(block, o->norm_t_tile, o->kv.rows);
    float *turn = scratch, *row = turn + o->R;
    for (int64_t t = tile.begin; t < tile.end; t++) {
        op_turns_load(o->uk, &o->turns, op_turns_row(&o->turn_rows, t), o->R, turn);
        op_product_row(o->uk, &o->kv_sums, t, 0, o->hd, row);
        o->uk->scale_gamma(o->hd, row, op_row_inverse_rms(o->uk, row, o->hd, o->eps), o->gamma_kv.data, row);
        op_turn_row(o->uk, turn, o->R, o->hd, row);
        o->uk->narrow_bf16(o->hd, row, (uint16_t *)o->kv.data + t * o->hd);
    }
}

/* ---- graph --------------------------------------------------------------------------------------------------------------- */

dsv4_status op_qkv_check(const op_context *c, dsv4_error *err)
{
    int64_t R = c->dims.of[OP_R], hd = c->dims.of[OP_hd];
    if (R % 2 != 0 || R > hd) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: qk_rope_head_dim=%lld, rule: even and at most head_dim=%lld", c->op->name,
                         (long long)R, (long long)hd);
    }
    if (c->dims.of[OP_QL] > UK_MAX_K_I8) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: q_lora_rank=%lld, rule q_lora_rank <= %d: INT32 sums must be exact", c->op->name,
                         (long long)c->dims.of[OP_QL], UK_MAX_K_I8);
    }
    return DSV4_OK;
}

static void init(qkv *o, const op_context *c, const op_qkv_args *a)
{
    int64_t T = a->x.rows, QL = a->qr.cols, chunks = op_chunks(QL);
    *o = (qkv){.uk = c->uk,
               .kv = a->kv,
               .qr = a->qr,
               .qr_scale = a->qr_scale,
               .gamma_q = a->gamma_cq,
               .gamma_kv = a->gamma_ckv,
               .turns = a->turns,
               .turn_rows = a->turn_rows,
               .a_grid = {T, QL, a->tiles.norm_t_tile, a->tiles.norm_parts},
               .hd = c->dims.of[OP_hd],
               .R = c->dims.of[OP_R],
               .eps = (float)c->config->rms_norm_eps,
               .norm_t_tile = a->tiles.norm_t_tile};
    o->a = op_matrix_new(c, "qkv.a", T, QL, DSV4_F32);
    o->sums = op_matrix_new(c, "qkv.sums", T, chunks, DSV4_F32);
    o->amax = op_matrix_new(c, "qkv.amax", T, chunks, DSV4_F32);
}

op_acts op_qkv_add(const op_context *c, const op_qkv_args *a)
{
    qkv *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return (op_acts){0};
    }
    init(o, c, a);
    op_weight wq_a = op_weight_pack(c, "wq_a", op_weight_of(&a->wq_a)), wkv = op_weight_pack(c, "wkv", op_weight_of(&a->wkv));
    op_weight wq_b = op_weight_pack(c, "wq_b", op_weight_of(&a->wq_b));
    int64_t T = a->x.rows, norm_blocks = op_part_blocks(&o->a_grid), kv_blocks = tile_count(T, o->norm_t_tile);
    size_t row_bytes = (size_t)(o->R + o->hd) * sizeof(float);

    o->qr_sums = op_project_bf16(c, "qkv.qr_proj", a->x, wq_a, a->tiles.low_rank);
    o->kv_sums = op_project_bf16(c, "qkv.kv_proj", a->x, wkv, a->tiles.low_rank);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"qkv.qr_sum", norm_blocks, run_qr_sum, describe_qr_sum, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"qkv.qr_norm", norm_blocks, run_qr_norm, describe_qr_norm, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"qkv.qr_quant", norm_blocks, run_qr_quant, describe_qr_quant, o, 0, DSV4_VECTOR});
    op_acts qr = op_acts_tile(c, "qkv.qr_tile", o->qr, DSV4_I8);
    op_heads_add(c, "qkv.q_proj",
                 &(op_heads){.x = qr,
                             .w = wq_b,
                             .row_scale = o->qr_scale,
                             .col_scale = a->wq_b_scale,
                             .turns = a->turns,
                             .turn_rows = a->turn_rows,
                             .normalises = true,
                             .eps = o->eps,
                             .y = a->q,
                             .n_heads = c->dims.of[OP_H],
                             .t_tile = a->tiles.low_rank.t_tile,
                             .head_group = a->tiles.head_group});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"qkv.kv_head", kv_blocks, run_kv_head, describe_kv_head, o, row_bytes, DSV4_VECTOR});
    return qr;
}

static void build(const op_context *c)
{
    op_qkv_add(c, &(op_qkv_args){.x = op_acts_tile(c, "qkv.x_tile", op_matrix_named(c, "x", 1), DSV4_BF16),
                                 .wq_a = op_tensor_named(c, "wq_a"),
                                 .wq_b = op_tensor_named(c, "wq_b"),
                                 .wkv = op_tensor_named(c, "wkv"),
                                 .wq_b_scale = op_matrix_named(c, "wq_b_scale", 1),
                                 .gamma_cq = op_matrix_named(c, "gamma_cq", 1),
                                 .gamma_ckv = op_matrix_named(c, "gamma_ckv", 1),
                                 .turns = op_turns_named(c, "rope_cos", "rope_sin"),
                                 .q = op_matrix_named(c, "q", 2),
                                 .kv = op_matrix_named(c, "kv", 1),
                                 .qr = op_matrix_named(c, "qr", 1),
                                 .qr_scale = op_matrix_named(c, "qr_scale", 1),
                                 .tiles = {.low_rank = {c->tile[T_TILE], c->tile[N_TILE], c->tile[K_SPLIT]},
                                           .norm_t_tile = c->tile[NORM_T_TILE],
                                           .norm_parts = c->tile[NORM_PARTS],
                                           .head_group = c->tile[HEAD_GROUP]}});
}

const dsv4_op op_qkv_proj_rope = {
    .name = "qkv_proj_rope",
    .summary = "low-rank queries and the shared key/value row, normalised and rotated",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = op_qkv_check,
    .build = build,
};
