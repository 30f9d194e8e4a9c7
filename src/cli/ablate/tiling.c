/* cli/ablate/tiling.c - study: retiled products and fused stages of qkv_proj_rope. */
#include "cli/ablate/qkv.h"
#include "ops/rms.h"

typedef struct tiling_choice {
    int64_t n_tile, group, t_inner, k_tile; /* of qr_proj and kv_proj */
    int64_t qr_splits, kv_splits;
    int64_t q_n_tile, q_group, q_t_inner; /* of the q projection */
    bool fused;
} tiling_choice;

#define Q_BEFORE .q_n_tile = 128, .q_group = 16, .q_t_inner = 16
#define Q_AFTER .q_n_tile = 256, .q_group = 8, .q_t_inner = 128

static const tiling_choice before = {32, 2, 16, 128, 1, 1, Q_BEFORE, .fused = false};
static const tiling_choice tall = {32, 2, 128, 128, 1, 1, Q_AFTER, .fused = true};
static const tiling_choice n_64 = {64, 1, 128, 256, 1, 1, Q_AFTER, .fused = true};
static const tiling_choice n_128 = {128, 1, 128, 256, 1, 1, Q_AFTER, .fused = true};
static const tiling_choice n_256 = {256, 1, 128, 256, 1, 1, Q_AFTER, .fused = true};
static const tiling_choice unfused = {256, 1, 128, 256, 2, 4, Q_AFTER, .fused = false};
static const tiling_choice after = {256, 1, 128, 256, 2, 4, Q_AFTER, .fused = true};

enum { BEFORE, TALL, N_64, N_128, N_256, UNFUSED, AFTER, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "N tile 32, 16 rows at a time, no split of K, RMS and RoPE in two stages each", &before, DSV4_DEPS_BLOCK},
    [TALL] = {"n32", "N tile 32, 128 rows at a time", &tall, DSV4_DEPS_BLOCK},
    [N_64] = {"n64", "N tile 64", &n_64, DSV4_DEPS_BLOCK},
    [N_128] = {"n128", "N tile 128", &n_128, DSV4_DEPS_BLOCK},
    [N_256] = {"n256", "N tile 256: 512 bytes a row", &n_256, DSV4_DEPS_BLOCK},
    [UNFUSED] = {"unfused", "as after, but RMS and RoPE in two stages each", &unfused, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "N tile 256, K split over 2 and 4 blocks, RMS and RoPE fused", &after, DSV4_DEPS_BLOCK},
};

static const ablate_series series[] = {
    {"whole kernel", ABLATE_MAKESPAN, NULL, "us", true, 2, {{BEFORE, 936, 0}, {AFTER, 407, 0}}},
    {"occupancy of qr_proj", ABLATE_BUSY, "qr_proj_matmul", "share", false, 2, {{BEFORE, 1, 0}, {AFTER, 0.16, 0}}},
    {"occupancy of kv_proj", ABLATE_BUSY, "kv_proj_matmul", "share", false, 2, {{BEFORE, 1, 0}, {AFTER, 0.25, 0}}},
    {"N tile of qr_proj and kv_proj: their occupancy",
     ABLATE_BUSY,
     "qr_proj_matmul,kv_proj_matmul",
     NULL,
     false,
     4,
     {{TALL, 0, 0}, {N_64, 0, 0}, {N_128, 0, 0}, {N_256, 0, 0}}},
    {"K of both split over blocks: window of both products",
     ABLATE_WINDOW,
     "qr_proj_matmul,kv_proj_matmul",
     NULL,
     false,
     2,
     {{N_256, 0, 0}, {AFTER, 0, 0}}},
    {"RMS and RoPE fused: whole kernel", ABLATE_MAKESPAN, NULL, NULL, false, 2, {{UNFUSED, 0, 0}, {AFTER, 0, 0}}},
};

static const char text[] =
    "The low-rank products of qkv_proj_rope read row-major weights. An N tile of 32 BF16 values is a run of 64 bytes of a line of "
    "512: of the weight the memory moves eight times what the product wants, and again for every 16 rows that a block takes at a "
    "time. An N tile of 256 fills the line, but leaves few tiles, so the sum over K is split over 2 blocks in qr_proj and 4 in "
    "kv_proj; the shares go to columns of their own, and their reader adds them in a fixed order. In the same step the q "
    "projection went from 128 to 256 columns and from 16 to 128 rows at a time, and RMS norm and rotation became one stage for "
    "the heads and one for the key/value row: two launches fewer, and the inverse RMS stays in registers.\n\n"
    "On this machine a block packs its tile of the weight into panels before it multiplies, which stands for an NPU's load into "
    "L1; narrow tiles and few rows repeat that work. A window goes from the first block of its stages to the last, so with few "
    "workers it also holds what they take in between: what splitting K brings shows on the device.\n\n"
    "On the device the gain is predicted larger than published: *after* moves little more than it must, at the bandwidth of the "
    "specification, and nothing else is in its way.";

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

enum {
    NORM_ROWS = 8,
    K_TILE_Q = 512,
    DEQUANT_TILE = 128,
    DEQUANT_COLS = 16 * DEQUANT_TILE,
    NORM_PIECE = 32,
    HEADS = 2,
    KV_NORM_ROWS = 16,
    KV_ROPE_ROWS = 32
};

/* Sums of squares, norm with its largest value, norm again and quantised: three passes over rows of the sums. */
static void run_norm_quant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->sum_parts(o->QL, o->qr_splits, op_matrix_f32(&o->a, t, 0), o->QL, scratch);
        float inv = op_row_inverse_rms(s->uk, scratch, o->QL, o->eps);
        float multiplier = op_q8_multiplier(s->uk->scale_gamma(o->QL, scratch, inv, o->gamma_cq.data, scratch));
        s->uk->quantize_i8(o->QL, scratch, multiplier, ablate_i8(&o->qr, t, 0));
        *op_matrix_f32(&o->qr_scale, t, 0) = 1.0f / multiplier;
    }
}

static void add_norm_quant(const op_context *ctx, const qkv *o)
{
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_rms_norm_quant",
                                          .grid = {o->T, NORM_ROWS, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->a, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->a, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->a, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->gamma_cq, ablate_all, ablate_all},
                                                   {DSV4_WRITE, &o->qr, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->qr_scale, ablate_rows, ablate_all}},
                                          .run = run_norm_quant,
                                          .arg = o,
                                          .scratch_bytes = (size_t)o->QL * sizeof(float),
                                          .vector_ops = (double)(o->QL * (12 + o->qr_splits)),
                                          .loads = 3 * o->qr_splits * tile_count(o->QL, NORM_PIECE)});
}

static void build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const tiling_choice *x = choice;
    qkv *o = qkv_new(c, ctx, io, x->qr_splits, x->kv_splits);
    if (o == NULL) {
        return;
    }
    o->x = ablate_input_matrix(c, ctx, "x", 1);
    ablate_product low_rank = {.dtype = DSV4_BF16,
                               .t_tile = o->T,
                               .t_inner = x->t_inner,
                               .n_tile = x->n_tile,
                               .group = x->group,
                               .k_tile = x->k_tile,
                               .k_split = x->qr_splits,
                               .ahead = 2};
    qkv_add_product(ctx, "qr_proj_matmul", &o->x, &o->wq_a, &o->a, low_rank);
    add_norm_quant(ctx, o);
    qkv_add_product(ctx, "qproj_matmul", &o->qr, &o->wq_b, &o->sums,
                    (ablate_product){.dtype = DSV4_I8,
                                     .t_tile = o->T,
                                     .t_inner = x->q_t_inner,
                                     .n_tile = x->q_n_tile,
                                     .group = x->q_group,
                                     .k_tile = K_TILE_Q,
                                     .k_split = 1,
                                     .ahead = 2});
    qkv_add_dequant(ctx, o, DEQUANT_COLS, DEQUANT_COLS / DEQUANT_TILE * tile_count(o->T, x->q_t_inner));
    qkv_add_heads(ctx, o, x->fused, HEADS);
    low_rank.k_split = x->kv_splits;
    qkv_add_product(ctx, "kv_proj_matmul", &o->x, &o->wkv, &o->kv_sums, low_rank);
    qkv_add_kv(ctx, o, x->fused, KV_NORM_ROWS, KV_ROPE_ROWS);
}

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const dsv4_numerics numerics = {0};
    dsv4_status status = qkv_draw(c, err);
    return status == DSV4_OK ? ablate_run_reference(c, "qkv_proj_rope", &numerics, &c->expected, err) : status;
}

const ablate_study ablate_tiling = {
    .name = "tiling",
    .title = "Retiled products, fused RMS and RoPE",
    .kernel = "qkv_proj_rope, decode, 128 tokens",
    .text = text,
    .prepare = prepare,
    .build = build,
    .outputs = qkv_outputs,
    .n_outputs = QKV_N_OUTPUTS,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
