/* cli/ablate/groups.c - study: the output projection of prefill_sparse_attn behind one barrier, or group by group (SEEDS 4).
 *
 * In front of it the attention of every token over its gathered keys, in key blocks: products, softmax, products, a merge of the
 * blocks, the inverse rotation. It is the same in all variants. */
#include <math.h>
#include <string.h>

#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"
#include "ops/rms.h"

typedef struct groups_choice {
    const char *output; /* the expected tensor */
    bool by_row;        /* one scale for a row of all groups: a barrier */
    int64_t k_tile;     /* of proj_a */
    bool is_operator;   /* the library's own, instead of this study's graph */
} groups_choice;

#define BY_ROW "attn_out, a scale for a row"
#define BY_GROUP "attn_out, a scale for a group"

static const groups_choice before = {BY_ROW, true, 128, false}, row_256 = {BY_ROW, true, 256, false},
                           k_128 = {BY_GROUP, false, 128, false}, after = {BY_GROUP, false, 256, false},
                           k_512 = {BY_GROUP, false, 512, false}, own_row = {BY_ROW, true, 0, true},
                           own_group = {BY_GROUP, false, 0, true};

enum { BEFORE, ROW_256, K_128, AFTER, K_512, OWN_ROW, OWN_GROUP, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "one amax for a row of all groups, K tile 128", &before, DSV4_DEPS_BLOCK},
    [ROW_256] = {"row", "one amax for a row of all groups, K tile 256", &row_256, DSV4_DEPS_BLOCK},
    [K_128] = {"k128", "an amax for each group, K tile 128", &k_128, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "an amax for each group, K tile 256: 512 bytes", &after, DSV4_DEPS_BLOCK},
    [K_512] = {"k512", "an amax for each group, K tile 512", &k_512, DSV4_DEPS_BLOCK},
    [OWN_ROW] = {"operator-row", "prefill_sparse_attn of this library, --act-scale row", &own_row, DSV4_DEPS_BLOCK},
    [OWN_GROUP] = {"operator-group", "prefill_sparse_attn of this library, --act-scale group", &own_group, DSV4_DEPS_BLOCK},
};

static const ablate_series series[] = {
    {"whole kernel", ABLATE_MAKESPAN, NULL, "us", true, 2, {{BEFORE, 903, 968}, {AFTER, 787, 0}}},
    {"barrier or groups, K tile 256: whole kernel", ABLATE_MAKESPAN, NULL, NULL, false, 2, {{ROW_256, 0, 0}, {AFTER, 0, 0}}},
    {"barrier or groups: window of the projection",
     ABLATE_WINDOW,
     "proj_a,quant,proj_b,proj_b_act,proj_a_amax,proj_b_dequant",
     NULL,
     false,
     2,
     {{ROW_256, 0, 0}, {AFTER, 0, 0}}},
    {"K tile of proj_a: a block", ABLATE_TASK, "proj_a", "us", false, 3, {{K_128, 29.06, 0}, {AFTER, 26.99, 0}, {K_512, 29.05, 0}}},
    {"the operator of this library: whole kernel", ABLATE_MAKESPAN, NULL, NULL, false, 2, {{OWN_ROW, 0, 0}, {OWN_GROUP, 0, 0}}},
};

/* ---- matrices ------------------------------------------------------------------------------------------------------------------ */

enum {
    GATHER_TOKENS = 4,
    ROPE_ROWS = 64,
    ROPE_HEADS = 4,
    A_N_TILE = 128,
    QUANT_ROWS = 8,
    QUANT_PARTS = 2,
    B_N_TILE_ROW = 128,
    B_N_TILE = 256,
    B_GROUP = 4,
    B_K_TILE = 256,
    QUANT_T = 32,
    ACT_ROWS = 32,
    ACT_COLS = 512
};

/* Pieces that vector stages load at a time. */
enum { MERGE_HEADS = 16, SOFTMAX_HEADS = 32, ROPE_PIECE = 32, POST_ROWS = 32, QUANT_PIECE = 512, ACT_PIECE_ROWS = 16 };

/* In memory of the graph. */
typedef struct groups {
    op_matrix q, lists, cos, sin, sink, wo_b, wo_b_scale; /* wo_b [D, G*OL] */
    const uint16_t *wo_a;                                 /* [G, OL, GI] */
    op_matrix ring, overlay, compressed;                  /* BF16 [rows, hd] */
    const int32_t *ring_table, *compressed_table, *lens;
    op_matrix keys;          /* BF16 [T, slots*hd]: gathered */
    op_matrix scores, p;     /* F32, BF16 [T, H*slots] */
    op_matrix m, l;          /* F32 [T, blocks*H]: largest score and sum of a key block */
    op_matrix o_blocks;      /* F32 [T, blocks*H*hd] */
    op_matrix o_rope, o;     /* F32 [T, H*R]; BF16 [T, H*hd] */
    op_matrix r, amax, r_i8; /* F32 [T, G*OL]; F32 [T, G*OL/A_N_TILE]; I8 [T, G*OL] */
    op_matrix r_scale;       /* F32 [T, 1] or [T, G] */
    op_matrix sums;          /* I32 [T, D] or [T, G*D] */
    op_matrix out;           /* BF16 [T, D] */
    int64_t T, H, hd, R, D, G, OL, GI, W, page, tile, blocks, slots;
} groups;

static void set_inputs(groups *o, const ablate_case *c, const op_context *ctx)
{
    const dsv4_config *config = &c->config;
    o->q = ablate_input_matrix(c, ctx, "q", 2);
    o->lists = ablate_input_matrix(c, ctx, "cmp_sparse_indices", 1);
    o->cos = ablate_input_matrix(c, ctx, "freqs_cos", 1);
    o->sin = ablate_input_matrix(c, ctx, "freqs_sin", 1);
    o->sink = ablate_input_matrix(c, ctx, "attn_sink", 1);
    o->wo_b = ablate_input_matrix(c, ctx, "wo_b", 1);
    o->wo_b_scale = ablate_input_matrix(c, ctx, "wo_b_scale", 1);
    o->ring = ablate_input_matrix(c, ctx, "ori_kv", 1);
    o->overlay = ablate_input_matrix(c, ctx, "kv_overlay", 1);
    o->compressed = ablate_input_matrix(c, ctx, "cmp_kv", 1);
    o->wo_a = ablate_input(c, "wo_a")->data;
    o->ring_table = ablate_input(c, "ori_block_table")->data;
    o->compressed_table = ablate_input(c, "cmp_block_table")->data;
    o->lens = ablate_input(c, "cmp_sparse_lens")->data;
    o->T = o->q.rows;
    o->H = config->num_attention_heads;
    o->hd = config->head_dim;
    o->R = config->qk_rope_head_dim;
    o->D = config->hidden_size;
    o->G = config->o_groups;
    o->OL = config->o_lora_rank;
    o->GI = o->H * o->hd / o->G;
    o->W = config->sliding_window;
    o->page = ablate_input(c, "ori_kv")->shape[1];
    o->tile = config->attn_tile;
    o->blocks = 1;
    for (int64_t t = 0; t < o->T; t++) {
        o->blocks = tile_max(o->blocks, tile_count(o->lens[t], o->tile));
    }
    o->slots = o->blocks * o->tile;
}

static void make_matrices(groups *o, const op_context *ctx, bool by_row)
{
    o->keys = op_matrix_new(ctx, "sparse_kv", o->T, o->slots * o->hd, DSV4_BF16);
    o->scores = op_matrix_new(ctx, "qk_raw", o->T, o->H * o->slots, DSV4_F32);
    o->p = op_matrix_new(ctx, "qk_exp", o->T, o->H * o->slots, DSV4_BF16);
    o->m = op_matrix_new(ctx, "sparse_blk_mi", o->T, o->blocks * o->H, DSV4_F32);
    o->l = op_matrix_new(ctx, "sparse_blk_li", o->T, o->blocks * o->H, DSV4_F32);
    o->o_blocks = op_matrix_new(ctx, "sparse_blk_oi", o->T, o->blocks * o->H * o->hd, DSV4_F32);
    o->o_rope = op_matrix_new(ctx, "attn_rope_stage", o->T, o->H * o->R, DSV4_F32);
    o->o = op_matrix_new(ctx, "o_packed", o->T, o->H * o->hd, DSV4_BF16);
    o->r = op_matrix_new(ctx, "o_r", o->T, o->G * o->OL, DSV4_F32);
    o->r_i8 = op_matrix_new(ctx, "o_r_i8", o->T, o->G * o->OL, DSV4_I8);
    o->r_scale = op_matrix_new(ctx, "o_r_scale_dq", o->T, by_row ? QUANT_PARTS : o->G, DSV4_F32);
    o->sums = op_matrix_new(ctx, "partials", o->T, by_row ? o->D : o->G * o->D, DSV4_I32);
    if (by_row) {
        o->amax = op_matrix_new(ctx, "o_r_amax_parts", o->T, tile_count(o->G * o->OL, A_N_TILE), DSV4_F32);
    }
}

/* ---- attention ------------------------------------------------------------------------------------------------------------------ */

/* The row that a token's slot names; NULL: none. */
static const uint16_t *key_of(const groups *o, int64_t t, int64_t slot)
{
    int64_t raw = slot < o->lens[t] && slot < o->lists.cols ? *ablate_i32(&o->lists, t, slot) : -1, row = raw - o->W - o->T;
    if (raw < 0) {
        return NULL;
    }
    if (raw < o->W) {
        return ablate_bf16(&o->ring, o->ring_table[raw / o->page] * o->page + raw % o->page, 0);
    }
    return raw < o->W + o->T ? ablate_bf16(&o->overlay, raw - o->W, 0)
                             : ablate_bf16(&o->compressed, o->compressed_table[row / o->page] * o->page + row % o->page, 0);
}

static void run_gather(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t slot = tile->col.begin * o->tile; slot < tile->col.end * o->tile; slot++) {
            const uint16_t *key = key_of(o, t, slot);
            uint16_t *to = ablate_bf16(&o->keys, t, slot * o->hd);
            if (key != NULL) {
                memcpy(to, key, (size_t)o->hd * sizeof *to);
            } else {
                memset(to, 0, (size_t)o->hd * sizeof *to);
            }
        }
    }
}

static void run_qk(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t b = 0; b < o->blocks; b++) {
            ablate_matmul_run(s->uk,
                              &(ablate_matmul){.dtype = DSV4_BF16,
                                               .m = o->H,
                                               .k = o->hd,
                                               .n = o->tile,
                                               .x = ablate_bf16(&o->q, t, 0),
                                               .ldx = o->hd,
                                               .w = ablate_bf16(&o->keys, t, b * o->tile * o->hd),
                                               .stride_k = 1,
                                               .stride_n = o->hd,
                                               .y = op_matrix_f32(&o->scores, t, b * o->tile),
                                               .ldy = o->slots},
                              scratch);
        }
    }
}

/* One head's scores of a key block: weights, their largest score and their sum. */
static void softmax_block(const ablate_stage *s, const groups *o, int64_t t, int64_t h, int64_t b, float *e)
{
    const float *score = op_matrix_f32(&o->scores, t, h * o->slots + b * o->tile), scale = 1 / sqrtf((float)o->hd);
    float m = -INFINITY, l = 0;
    for (int64_t i = 0; i < o->tile; i++) {
        e[i] = key_of(o, t, b * o->tile + i) != NULL ? score[i] * scale : -INFINITY;
        m = fmaxf(m, e[i]);
    }
    for (int64_t i = 0; i < o->tile; i++) {
        e[i] = isinf(m) ? -INFINITY : e[i] - m;
    }
    s->uk->exp(o->tile, e, e);
    for (int64_t i = 0; i < o->tile; i++) {
        l += e[i];
    }
    s->uk->narrow_bf16(o->tile, e, ablate_bf16(&o->p, t, h * o->slots + b * o->tile));
    *op_matrix_f32(&o->m, t, b * o->H + h) = m;
    *op_matrix_f32(&o->l, t, b * o->H + h) = l;
}

static void run_softmax(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t i = 0; i < o->H * o->blocks; i++) {
            softmax_block(s, o, t, i / o->blocks, i % o->blocks, scratch);
        }
    }
}

static void run_pv(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t b = 0; b < o->blocks; b++) {
            ablate_matmul_run(s->uk,
                              &(ablate_matmul){.dtype = DSV4_BF16,
                                               .m = o->H,
                                               .k = o->tile,
                                               .n = o->hd,
                                               .x = ablate_bf16(&o->p, t, b * o->tile),
                                               .ldx = o->slots,
                                               .w = ablate_bf16(&o->keys, t, b * o->tile * o->hd),
                                               .stride_k = o->hd,
                                               .stride_n = 1,
                                               .y = op_matrix_f32(&o->o_blocks, t, b * o->H * o->hd),
                                               .ldy = o->hd},
                              scratch);
        }
    }
}

/* row = the head's key blocks merged, with the sink in the denominator. */
static void merge_head(const ablate_stage *s, const groups *o, int64_t t, int64_t h, float *row)
{
    float m = *op_matrix_f32(&o->m, t, h), l = *op_matrix_f32(&o->l, t, h);
    memcpy(row, op_matrix_f32(&o->o_blocks, t, h * o->hd), (size_t)o->hd * sizeof *row);
    for (int64_t b = 1; b < o->blocks; b++) {
        float m_b = *op_matrix_f32(&o->m, t, b * o->H + h), larger = fmaxf(m, m_b);
        float alpha = isinf(m) ? 0 : expf(m - larger), beta = isinf(m_b) ? 0 : expf(m_b - larger);
        l = alpha * l + beta * *op_matrix_f32(&o->l, t, b * o->H + h);
        s->uk->scale(o->hd, row, alpha, row);
        s->uk->add_scaled(o->hd, beta, op_matrix_f32(&o->o_blocks, t, (b * o->H + h) * o->hd), row);
        m = larger;
    }
    float denominator = l + expf(*op_matrix_f32(&o->sink, 0, h) - m);
    for (int64_t i = 0; i < o->hd; i++) {
        row[i] /= denominator;
    }
}

static void run_merge(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t nope = o->hd - o->R;
    float *row = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t h = 0; h < o->H; h++) {
            merge_head(s, o, t, h, row);
            s->uk->narrow_bf16(nope, row, ablate_bf16(&o->o, t, h * o->hd));
            memcpy(op_matrix_f32(&o->o_rope, t, h * o->R), row + nope, (size_t)o->R * sizeof *row);
        }
    }
}

/* The rotation undone: by the negative sine. */
static void run_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    float *cos = scratch, *sin = cos + o->R / 2, *row = sin + o->R / 2;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->widen_bf16(o->R / 2, ablate_bf16(&o->cos, t, 0), cos);
        s->uk->widen_bf16(o->R / 2, ablate_bf16(&o->sin, t, 0), sin);
        s->uk->scale(o->R / 2, sin, -1.0f, sin);
        for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
            memcpy(row, op_matrix_f32(&o->o_rope, t, h * o->R), (size_t)o->R * sizeof *row);
            s->uk->rotate(o->R / 2, cos, sin, row);
            s->uk->narrow_bf16(o->R, row, ablate_bf16(&o->o, t, h * o->hd + o->hd - o->R));
        }
    }
}

static ablate_stage token_stage(const groups *o, const char *name, dsv4_core_kind kind, ablate_body *run)
{
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {o->T, 1, 1, 1, 0},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = (size_t)(tile_max(o->hd, o->tile) + o->R) * sizeof(float)};
}

static void add_products(const op_context *ctx, const groups *o)
{
    double products = 2.0 * (double)(o->H * o->slots * o->hd);
    ablate_stage qk = token_stage(o, "qk", DSV4_CUBE, run_qk);
    qk.uses[0] = (ablate_use){DSV4_READ, &o->q, ablate_rows, ablate_all};
    qk.uses[1] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, ablate_all};
    qk.uses[2] = (ablate_use){DSV4_WRITE, &o->scores, ablate_rows, ablate_all};
    qk.flops_bf16 = products;
    qk.product = (dsv4_product){o->H, o->tile, o->hd * o->blocks, o->hd / 2, 2};
    qk.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_BF16, o->H, o->hd, o->tile);
    ablate_stage_add(ctx, &qk);

    ablate_stage softmax = token_stage(o, "softmax", DSV4_VECTOR, run_softmax);
    softmax.uses[0] = (ablate_use){DSV4_READ, &o->scores, ablate_rows, ablate_all};
    softmax.uses[1] = (ablate_use){DSV4_READ, &o->lists, ablate_rows, ablate_all};
    softmax.uses[2] = (ablate_use){DSV4_WRITE, &o->p, ablate_rows, ablate_all};
    softmax.uses[3] = (ablate_use){DSV4_WRITE, &o->m, ablate_rows, ablate_all};
    softmax.uses[4] = (ablate_use){DSV4_WRITE, &o->l, ablate_rows, ablate_all};
    softmax.vector_ops = 7.0 * (double)(o->H * o->slots);
    softmax.loads = tile_count(o->H, SOFTMAX_HEADS) * o->blocks;
    ablate_stage_add(ctx, &softmax);

    ablate_stage pv = token_stage(o, "pv", DSV4_CUBE, run_pv);
    pv.uses[0] = (ablate_use){DSV4_READ, &o->p, ablate_rows, ablate_all};
    pv.uses[1] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, ablate_all};
    pv.uses[2] = (ablate_use){DSV4_WRITE, &o->o_blocks, ablate_rows, ablate_all};
    pv.flops_bf16 = products;
    pv.product = (dsv4_product){o->H, o->hd, o->tile * o->blocks, o->tile, 2};
    pv.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_BF16, o->H, o->tile, o->hd);
    ablate_stage_add(ctx, &pv);
}

static void add_attention(const op_context *ctx, const groups *o)
{
    const ablate_axis block = {.source = ABLATE_COLS, .scale = o->tile * o->hd};
    ablate_stage gather = token_stage(o, "gather_kv", DSV4_VECTOR, run_gather);
    gather.grid = (ablate_grid){o->T, GATHER_TOKENS, o->blocks, 1, 0};
    gather.uses[0] = (ablate_use){DSV4_READ, &o->lists, ablate_rows, ablate_all};
    gather.uses[1] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->ring, ablate_all, ablate_all};
    gather.uses[2] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->overlay, ablate_all, ablate_all};
    gather.uses[3] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->compressed, ablate_all, ablate_all};
    gather.uses[4] = (ablate_use){DSV4_WRITE, &o->keys, ablate_rows, block};
    gather.gathered_bytes = (double)(o->tile * o->hd) * sizeof(uint16_t);
    gather.loads = GATHER_TOKENS * o->tile; /* a row each */
    ablate_stage_add(ctx, &gather);
    add_products(ctx, o);

    const ablate_axis heads_rope = {.source = ABLATE_COLS, .scale = o->R}, to_rope = {ABLATE_COLS, o->hd, o->hd - o->R, o->R};
    ablate_stage merge = token_stage(o, "merge_norm", DSV4_VECTOR, run_merge);
    merge.grid = (ablate_grid){o->T, 1, o->H, o->H, 0};
    merge.uses[0] = (ablate_use){DSV4_READ, &o->o_blocks, ablate_rows, ablate_all};
    merge.uses[1] = (ablate_use){DSV4_READ, &o->m, ablate_rows, ablate_all};
    merge.uses[2] = (ablate_use){DSV4_READ, &o->l, ablate_rows, ablate_all};
    merge.uses[3] = (ablate_use){DSV4_READ, &o->sink, ablate_all, ablate_all};
    merge.uses[4] = (ablate_use){DSV4_WRITE, &o->o_rope, ablate_rows, ablate_all};
    merge.uses[5] = (ablate_use){DSV4_WRITE, &o->o, ablate_rows, {ABLATE_COLS, o->hd, 0, o->hd - o->R}};
    merge.vector_ops = 3.0 * (double)(o->blocks * o->hd);
    merge.loads = tile_count(o->H, MERGE_HEADS) * 3 * o->blocks;
    ablate_stage_add(ctx, &merge);

    ablate_stage rope = token_stage(o, "rope", DSV4_VECTOR, run_rope);
    rope.grid = (ablate_grid){o->T, ROPE_ROWS, o->H, ROPE_HEADS, 0};
    rope.uses[0] = (ablate_use){DSV4_READ, &o->o_rope, ablate_rows, heads_rope};
    rope.uses[1] = (ablate_use){DSV4_READ, &o->cos, ablate_rows, ablate_all};
    rope.uses[2] = (ablate_use){DSV4_READ, &o->sin, ablate_rows, ablate_all};
    rope.uses[3] = (ablate_use){DSV4_WRITE, &o->o, ablate_rows, to_rope};
    rope.vector_ops = 5.0 * (double)o->R;
    rope.loads = ROPE_HEADS * 3 * tile_count(o->R, ROPE_PIECE);
    ablate_stage_add(ctx, &rope);
}

/* ---- output projection ------------------------------------------------------------------------------------------------------------ */

static void add_proj_a(const op_context *ctx, const groups *o, int64_t g, int64_t k_tile)
{
    op_matrix w = {(void *)(uintptr_t)(o->wo_a + g * o->OL * o->GI), o->OL, o->GI, o->GI, 0};
    w.view = dsv4_graph_view(ctx->g, "wo_a", w.data, o->OL, o->GI, sizeof(uint16_t), (size_t)o->GI * sizeof(uint16_t));
    ablate_product_add(ctx, &(ablate_product){.name = "proj_a",
                                              .x = op_matrix_cols(ctx, "o_packed", o->o, sizeof(uint16_t), g * o->GI, o->GI),
                                              .w = w,
                                              .y = op_matrix_cols(ctx, "o_r", o->r, sizeof(float), g * o->OL, o->OL),
                                              .dtype = DSV4_BF16,
                                              .transposed = true,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = A_N_TILE,
                                              .group = 1,
                                              .k_tile = k_tile,
                                              .k_split = 1,
                                              .ahead = 2});
}

static void add_proj_b(const op_context *ctx, const op_matrix *x, const op_matrix *w, const op_matrix *y, int64_t n_tile,
                       int64_t group)
{
    ablate_product_add(ctx, &(ablate_product){.name = "proj_b",
                                              .x = *x,
                                              .w = *w,
                                              .y = *y,
                                              .dtype = DSV4_I8,
                                              .transposed = true,
                                              .t_tile = x->rows,
                                              .t_inner = x->rows,
                                              .n_tile = n_tile,
                                              .group = group,
                                              .k_tile = B_K_TILE,
                                              .k_split = 1,
                                              .ahead = 2});
}

static void run_amax(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&o->amax, t, tile->col_index) =
            s->uk->amax(tile->col.end - tile->col.begin, op_matrix_f32(&o->r, t, tile->col.begin));
    }
}

static void run_quant_row(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        float multiplier = op_q8_multiplier(s->uk->amax(o->amax.cols, op_matrix_f32(&o->amax, t, 0)));
        s->uk->quantize_i8(tile->col.end - tile->col.begin, op_matrix_f32(&o->r, t, tile->col.begin), multiplier,
                           ablate_i8(&o->r_i8, t, tile->col.begin));
        *op_matrix_f32(&o->r_scale, t, tile->col_index) = 1.0f / multiplier;
    }
}

static void run_dequant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t begin = tile->col.begin, n = tile->col.end - begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->dequant_i32(n, ablate_i32(&o->sums, t, begin), *op_matrix_f32(&o->r_scale, t, 0),
                           op_matrix_f32(&o->wo_b_scale, 0, begin), scratch);
        s->uk->narrow_bf16(n, scratch, ablate_bf16(&o->out, t, begin));
    }
}

/* All groups, then their amax, then all quantised, then multiplied. Every part of a row writes its scale. */
static void add_by_row(const op_context *ctx, const groups *o)
{
    const int64_t width = o->G * o->OL;
    const ablate_axis col_index = {.source = ABLATE_COL_INDEX};
    ablate_stage_add(
        ctx, &(ablate_stage){.name = "proj_a_amax",
                             .grid = {o->T, o->T, width, A_N_TILE, 0},
                             .uses = {{DSV4_READ, &o->r, ablate_rows, ablate_cols}, {DSV4_WRITE, &o->amax, ablate_rows, col_index}},
                             .run = run_amax,
                             .arg = o,
                             .vector_ops = 3,
                             .loads = tile_count(o->T, POST_ROWS)});
    ablate_stage_add(ctx, &(ablate_stage){.name = "quant",
                                          .grid = {o->T, QUANT_ROWS, width, tile_count(width, QUANT_PARTS), 0},
                                          .uses = {{DSV4_READ, &o->r, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->amax, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->r_i8, ablate_rows, ablate_cols},
                                                   {DSV4_WRITE, &o->r_scale, ablate_rows, col_index}},
                                          .run = run_quant_row,
                                          .arg = o,
                                          .vector_ops = 4,
                                          .loads = o->amax.cols + tile_count(width / QUANT_PARTS, QUANT_PIECE)});
    add_proj_b(ctx, &o->r_i8, &o->wo_b, &o->sums, B_N_TILE_ROW, 1);
    ablate_stage_add(ctx, &(ablate_stage){.name = "proj_b_dequant",
                                          .grid = {o->T, o->T, o->D, B_N_TILE_ROW, 0},
                                          .uses = {{DSV4_READ, &o->sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->r_scale, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->wo_b_scale, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->out, ablate_rows, ablate_cols}},
                                          .run = run_dequant,
                                          .arg = o,
                                          .scratch_bytes = B_N_TILE_ROW * sizeof(float),
                                          .vector_ops = 4,
                                          .loads = 2 * tile_count(o->T, POST_ROWS)});
}

/* The grid is one column: the group. */
static void run_quant_group(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t g = s->uses[0].cols.offset / o->OL;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&o->r_scale, t, g) =
            ablate_q8(s->uk, o->OL, op_matrix_f32(&o->r, t, g * o->OL), ablate_i8(&o->r_i8, t, g * o->OL));
    }
}

static void run_act(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t begin = tile->col.begin, n = tile->col.end - begin;
    float *y = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        memset(y, 0, (size_t)n * sizeof *y);
        for (int64_t g = 0; g < o->G; g++) {
            s->uk->add_dequant(n, ablate_i32(&o->sums, t, g * o->D + begin), *op_matrix_f32(&o->r_scale, t, g), y);
        }
        s->uk->scale_cols(n, y, op_matrix_f32(&o->wo_b_scale, 0, begin), y);
        s->uk->narrow_bf16(n, y, ablate_bf16(&o->out, t, begin));
    }
}

/* A group is quantised as soon as it is there, and multiplied while others are not. */
static void add_by_group(const op_context *ctx, const groups *o)
{
    for (int64_t g = 0; g < o->G; g++) {
        const ablate_axis group = {ABLATE_FIXED, 1, g * o->OL, o->OL}, scale = {ABLATE_FIXED, 1, g, 1};
        ablate_stage_add(ctx, &(ablate_stage){.name = "quant",
                                              .grid = {o->T, QUANT_T, 1, 1, 0},
                                              .uses = {{DSV4_READ, &o->r, ablate_rows, group},
                                                       {DSV4_READ, &o->r, ablate_rows, group},
                                                       {DSV4_WRITE, &o->r_i8, ablate_rows, group},
                                                       {DSV4_WRITE, &o->r_scale, ablate_rows, scale}},
                                              .run = run_quant_group,
                                              .arg = o,
                                              .vector_ops = 7.0 * (double)o->OL,
                                              .loads = 2 * QUANT_T / QUANT_ROWS * tile_count(o->OL, QUANT_PIECE)});
    }
    for (int64_t g = 0; g < o->G; g++) {
        op_matrix x = op_matrix_cols(ctx, "o_r_i8", o->r_i8, 1, g * o->OL, o->OL),
                  w = op_matrix_cols(ctx, "wo_b", o->wo_b, 1, g * o->OL, o->OL),
                  y = op_matrix_cols(ctx, "partials", o->sums, sizeof(int32_t), g * o->D, o->D);
        add_proj_b(ctx, &x, &w, &y, B_N_TILE, B_GROUP);
    }
    ablate_stage act = {.name = "proj_b_act",
                        .grid = {o->T, ACT_ROWS, o->D, ACT_COLS, 0},
                        .uses = {{DSV4_READ, &o->wo_b_scale, ablate_all, ablate_cols},
                                 {DSV4_READ, &o->r_scale, ablate_rows, ablate_all},
                                 {DSV4_WRITE, &o->out, ablate_rows, ablate_cols}},
                        .run = run_act,
                        .arg = o,
                        .scratch_bytes = ACT_COLS * sizeof(float),
                        .vector_ops = 3.0 * (double)o->G + 2};
    op_matrix by_group = o->sums; /* row t*G + g */
    by_group.rows = o->T * o->G;
    by_group.cols = by_group.ld = o->D;
    by_group.view =
        dsv4_graph_view(ctx->g, "partials", o->sums.data, by_group.rows, o->D, sizeof(int32_t), (size_t)o->D * sizeof(int32_t));
    act.uses[3] = (ablate_use){DSV4_READ, &by_group, {.source = ABLATE_ROWS, .scale = o->G}, ablate_cols};
    ablate_stage_add(ctx, &act);
}

/* ---- graph --------------------------------------------------------------------------------------------------------------------------- */

/* Everything but the output projection's second half; NULL without memory. */
static groups *add_front(const ablate_case *c, const op_context *ctx, const groups_choice *x)
{
    groups *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    set_inputs(o, c, ctx);
    make_matrices(o, ctx, x->by_row);
    add_attention(ctx, o);
    for (int64_t g = 0; g < o->G; g++) {
        add_proj_a(ctx, o, g, x->k_tile);
    }
    return o;
}

/* The library's operator over the same inputs; attn_out is the variant's output. */
static void build_operator(const ablate_case *c, const op_context *ctx, const dsv4_tensor *out, const groups_choice *x)
{
    dsv4_tensor_list io = {0};
    dsv4_error err = {0};
    const dsv4_op_options options = {
        .mode = DSV4_PREFILL, .numerics = {.act_scale = x->by_row ? DSV4_SCALE_ROW : DSV4_SCALE_GROUP}, .pool = ctx->pool};
    dsv4_status status = dsv4_tensor_list_put(&io, "attn_out", out, &err);
    for (size_t i = 0; i < c->inputs.n && status == DSV4_OK; i++) {
        status = dsv4_tensor_list_put(&io, c->inputs.items[i].name, &c->inputs.items[i].tensor, &err);
    }
    if (status == DSV4_OK) {
        status = dsv4_op_build(&op_prefill_sparse_attn, &c->config, &options, &io, ctx->g, &err);
    }
    if (status != DSV4_OK) {
        dsv4_graph_fail(ctx->g, &err);
    }
    dsv4_tensor_list_deinit(&io);
}

static void build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const groups_choice *x = choice;
    const dsv4_tensor *out = dsv4_tensor_list_find(io, x->output);
    if (x->is_operator) {
        build_operator(c, ctx, out, x);
        return;
    }
    groups *o = add_front(c, ctx, x);
    if (o == NULL) {
        return;
    }
    o->out = op_matrix_of(ctx, "attn_out", out, 1);
    if (x->by_row) {
        add_by_row(ctx, o);
    } else {
        add_by_group(ctx, o);
    }
}

/* ---- inputs and reference --------------------------------------------------------------------------------------------------------------- */

/* Moves the reference's attn_out under the name of its scales. */
static dsv4_status expect(ablate_case *c, dsv4_act_scale scale, const char *name, dsv4_error *err)
{
    const dsv4_numerics numerics = {.act_scale = scale};
    dsv4_tensor_list out = {0};
    dsv4_tensor copy;
    dsv4_status status = ablate_run_reference(c, "prefill_sparse_attn", &numerics, &out, err);
    const dsv4_tensor *t = dsv4_tensor_list_find(&out, "attn_out");
    if (status == DSV4_OK) {
        status = dsv4_tensor_list_alloc(&c->expected, name, t->dtype, t->n_dims, t->shape, &copy, err);
    }
    if (status == DSV4_OK) {
        memcpy(copy.data, t->data, dsv4_tensor_bytes(t));
    }
    dsv4_tensor_list_deinit(&out);
    return status;
}

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const op_call call = {.mode = DSV4_PREFILL,
                          .n_requests = 1,
                          .n_tokens = c->config.sliding_window,
                          .start_pos = OP_UNKNOWN,
                          .ratio = 4,
                          .seed = c->seed};
    dsv4_status status = op_draw_inputs(&op_prefill_sparse_attn, &c->config, &call, &c->inputs, err);
    if (status == DSV4_OK) {
        status = expect(c, DSV4_SCALE_ROW, BY_ROW, err);
    }
    return status == DSV4_OK ? expect(c, DSV4_SCALE_GROUP, BY_GROUP, err) : status;
}

/* ---- errors of the scales ----------------------------------------------------------------------------------------------------------------- */

/* RMS of what Q8 over `n` values at a time changes, relative to the RMS of the values. */
static double q8_error(const uk_table *uk, const op_matrix *r, int64_t n)
{
    double changed = 0, size = 0;
    for (int64_t t = 0; t < r->rows; t++) {
        for (int64_t begin = 0; begin < r->cols; begin += n) {
            const float *x = op_matrix_f32(r, t, begin);
            float multiplier = op_q8_multiplier(uk->amax(tile_min(n, r->cols - begin), x));
            for (int64_t i = 0; i < tile_min(n, r->cols - begin); i++) {
                double d = (double)rintf(x[i] * multiplier) / multiplier - x[i];
                changed += d * d;
                size += (double)x[i] * x[i];
            }
        }
    }
    return size > 0 ? sqrt(changed / size) : 0;
}

/* Runs all up to r and sees what its scales cost. */
static dsv4_status measure_errors(const ablate_case *c, dsv4_graph *g, dsv4_pool *pool, ablate_figures *out, dsv4_error *err)
{
    op_context ctx = {.config = &c->config, .uk = c->uk, .g = g};
    const groups *o = add_front(c, &ctx, &after);
    dsv4_exec *exec = NULL;
    dsv4_status status = dsv4_graph_seal(g, DSV4_DEPS_BLOCK, err);
    if (status == DSV4_OK) {
        status = dsv4_exec_create(g, pool, 0, &exec, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_exec_run(exec, 0, err);
    }
    if (status == DSV4_OK) {
        enum { BLOCK = 128 };
        out->at[out->n++] =
            (ablate_figure){"INT8 error, a scale for a row", "%", 100 * q8_error(c->uk, &o->r, o->r.cols), 0.9, 1.2};
        out->at[out->n++] = (ablate_figure){"INT8 error, a scale for a group", "%", 100 * q8_error(c->uk, &o->r, o->OL), 0.78, 0};
        out->at[out->n++] = (ablate_figure){"INT8 error, a scale for 128 values", "%",
                                            100 * q8_error(c->uk, &o->r, tile_min(BLOCK, o->OL)), 0.64, 0};
    }
    dsv4_exec_destroy(exec);
    return status;
}

static dsv4_status figures(const ablate_case *c, ablate_figures *out, dsv4_error *err)
{
    dsv4_graph *g = dsv4_graph_create("errors of scales");
    dsv4_pool *pool = NULL;
    dsv4_status status =
        g == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate groups: no memory for a graph") : dsv4_pool_create(1, &pool, err);
    if (status == DSV4_OK) {
        status = measure_errors(c, g, pool, out, err);
    }
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(g);
    return status;
}

static const ablate_output outputs[] = {
    {BY_ROW, {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
    {BY_GROUP, {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
};

static const char *output_of(const void *choice)
{
    return ((const groups_choice *)choice)->output;
}

const ablate_study ablate_groups = {
    .name = "groups",
    .title = "The output projection group by group",
    .kernel = "prefill_sparse_attn, a chunk of 128 tokens, compress ratio 4",
    .text = "The output projection multiplies attention outputs by wo_a, quantises the result to INT8 and "
            "multiplies by wo_b. With one scale for a row, the largest value over all groups is a barrier: no row "
            "is quantised before the last group's product is done, and the cube cores stand while the vector cores "
            "quantise. With a scale for each group, group g is quantised when its own product is there, and its "
            "second product runs beside the first products of later groups; the price is INT32 partials of T x G x "
            "D, which the last stage adds, each by its own scale. The attention in front is the same in all "
            "variants.\n\nwo_a is contiguous along K: a K tile of 128 BF16 values is half a line, 256 are one. At "
            "512 the authors lost again what they had won at 256; the cost model has no reason for that (a tile "
            "pair of 512 still fits the staging buffer), so it predicts no loss there; and a block that waits for "
            "memory alone gains more from whole lines than theirs did.\n\nThe finer a scale, the smaller the error "
            "of the INT8 activations: RMS of what quantising changes, relative to the RMS of the values, over the "
            "drawn inputs of the operator. The library's own prefill_sparse_attn stands beside the study with its "
            "two settings of `--act-scale`.",
    .prepare = prepare,
    .build = build,
    .figures = figures,
    .output_of = output_of,
    .outputs = outputs,
    .n_outputs = sizeof outputs / sizeof *outputs,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
