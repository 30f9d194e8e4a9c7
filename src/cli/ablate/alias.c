/* cli/ablate/alias.c - study: the rotation of decode_indexer in place or into a tensor of its own, and groups of tokens (SEEDS 1).
 *
 * The kernel is that of decode_indexer without its compressor: the index cache stands. A loop over groups of tokens rotates their
 * heads by four tasks (even and odd elements apart by a product, rotated, together by a product, written), multiplies them by the
 * Hadamard matrix and quantises them. A tracker of whole tensors is played by one byte that stands for the tensor: who reads any part
 * of the tensor reads it, who writes any part updates it. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/numbers.h"
#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"
#include "golden/parts.h"
#include "golden/primitives.h"

typedef struct alias_choice {
    bool aliased, by_tensor;
    int64_t rope_group, quant_group; /* tokens of a task */
    int64_t score_group;             /* requests of a task */
} alias_choice;

static const alias_choice before = {true, true, 1, 1, 1}, by_block = {true, false, 1, 1, 1}, apart = {false, true, 1, 1, 1},
                          grouped = {true, true, 4, 2, 8}, grouped_block = {true, false, 4, 2, 8}, after = {false, true, 4, 2, 8};

enum { BEFORE, BY_BLOCK, APART, GROUPED, GROUPED_BLOCK, AFTER, ALL_BY_TENSOR, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "in place, the tensor tracked as a whole, a token a task", &before, DSV4_DEPS_BLOCK},
    [BY_BLOCK] = {"block", "in place, tracked block by block, a token a task", &by_block, DSV4_DEPS_BLOCK},
    [APART] = {"apart", "into a tensor of its own, a token a task", &apart, DSV4_DEPS_BLOCK},
    [GROUPED] = {"grouped", "in place, tracked as a whole, 4 tokens a task", &grouped, DSV4_DEPS_BLOCK},
    [GROUPED_BLOCK] = {"grouped-block", "in place, tracked block by block, 4 tokens a task", &grouped_block, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "into a tensor of its own, 4 tokens a task", &after, DSV4_DEPS_BLOCK},
    [ALL_BY_TENSOR] = {"all-tensor", "as after, every tensor of the kernel tracked as a whole", &after, DSV4_DEPS_TENSOR},
};

#define ROPE_STAGES "rope_slice,rope_apply,rope_assemble,rope_write"

static const ablate_series series[] = {
    {"rotation: window",
     ABLATE_WINDOW,
     ROPE_STAGES,
     "us",
     true,
     6,
     {{BEFORE, 863, 1357}, {BY_BLOCK, 0, 0}, {APART, 0, 0}, {GROUPED, 0, 0}, {GROUPED_BLOCK, 0, 0}, {AFTER, 128, 0}}},
    {"whole kernel",
     ABLATE_MAKESPAN,
     NULL,
     "us",
     false,
     6,
     {{BEFORE, 1293, 1808}, {BY_BLOCK, 0, 0}, {APART, 0, 0}, {GROUPED, 0, 0}, {GROUPED_BLOCK, 0, 0}, {AFTER, 880, 0}}},
    {"every tensor tracked as a whole: whole kernel",
     ABLATE_MAKESPAN,
     NULL,
     NULL,
     false,
     2,
     {{AFTER, 0, 0}, {ALL_BY_TENSOR, 0, 0}}},
};

/* ---- matrices ------------------------------------------------------------------------------------------------------------------ */

enum { KEYS = 32 /* of a tile of the cache */, Q_TILE = 128, SELECT_K = 16, SCORE_K = 32, HEAD_PIECE = 32, RATIO = 4 };

/* Heads are rows: token t, head h is row t*IH + h. In memory of the graph. */
typedef struct indexer {
    op_matrix x, qr, qr_scale, wq_b, wq_b_scale, weights_proj, cos, sin, hadamard, cache;
    op_matrix score, topk;                    /* outputs [T, SL] */
    op_matrix sums, q, heads;                 /* I32 [T, IH*ID]; BF16 the same, and as rows of heads [T*IH, ID] */
    op_matrix apart, turned, together, fresh; /* F32, BF16 [T*IH, R], even elements first; F32, BF16 [T*IH, R] in order */
    op_matrix takes_apart, puts_together;     /* F32 [R, R] */
    op_matrix handle;                         /* [1, 1]: stands for heads */
    op_matrix product, q_i8, q_scale;         /* F32, I8 [T*IH, ID]; F32 [T*IH, 1] */
    op_matrix weights_sums, weights;          /* F32 [T, IH] */
    op_matrix keys, key_scale, dots;          /* I8 [B, tiles*KEYS*ID]; F32 [B, tiles*KEYS]; I32 [B, tiles*KEYS*S*IH] */
    const int32_t *table;                     /* [B, pages] */
    int64_t B, S, T, IH, ID, R, page, pages, n_keys, n_tiles, k, offset;
    alias_choice choice;
} indexer;

static void set_inputs(indexer *o, const ablate_case *c, const op_context *ctx)
{
    const dsv4_tensor *x = ablate_input(c, "x"), *cache = ablate_input(c, "idx_kv_cache"),
                      *table = ablate_input(c, "idx_block_table");
    o->x = ablate_input_matrix(c, ctx, "x", 1);
    o->qr = ablate_input_matrix(c, ctx, "qr", 1);
    o->qr_scale = ablate_input_matrix(c, ctx, "qr_scale", 1);
    o->wq_b = ablate_input_matrix(c, ctx, "wq_b", 1);
    o->wq_b_scale = ablate_input_matrix(c, ctx, "wq_b_scale", 1);
    o->weights_proj = ablate_input_matrix(c, ctx, "weights_proj", 1);
    o->cos = ablate_input_matrix(c, ctx, "cos", 1);
    o->sin = ablate_input_matrix(c, ctx, "sin", 1);
    o->hadamard = ablate_input_matrix(c, ctx, "hadamard", 1);
    o->cache = ablate_input_matrix(c, ctx, "idx_kv_cache", 1);
    o->table = table->data;
    o->B = x->shape[0];
    o->S = x->shape[1];
    o->T = o->B * o->S;
    o->IH = c->config.index_n_heads;
    o->ID = c->config.index_head_dim;
    o->R = c->config.qk_rope_head_dim;
    o->page = cache->shape[1];
    o->pages = table->shape[1];
    o->n_keys = *(const int32_t *)ablate_input(c, "kv_seq_lens")->data / RATIO;
    o->n_tiles = tile_count(o->n_keys, KEYS);
    o->offset = *(const int32_t *)ablate_input(c, "offset")->data;
    o->k = tile_min(c->config.index_topk, o->n_keys);
}

/* Row k, column n of `select`: 1 where element k of a rotary slice becomes element n of the even ones followed by the odd ones. */
static op_matrix new_select(const op_context *ctx, int64_t R, bool transposed)
{
    op_matrix m = op_matrix_new(ctx, "select", R, R, DSV4_F32);
    for (int64_t n = 0; n < R && m.data != NULL; n++) {
        int64_t k = ablate_interleaved(n, R);
        *op_matrix_f32(&m, transposed ? n : k, transposed ? k : n) = 1;
    }
    return m;
}

static void make_matrices(indexer *o, const op_context *ctx)
{
    int64_t heads = o->T * o->IH;
    o->sums = op_matrix_new(ctx, "qr_acc", o->T, o->IH * o->ID, DSV4_I32);
    o->q = op_matrix_new(ctx, "qr_proj", o->T, o->IH * o->ID, DSV4_BF16);
    o->heads = (op_matrix){o->q.data, heads, o->ID, o->ID, 0};
    o->heads.view = dsv4_graph_view(ctx->g, "qr_proj_flat", o->q.data, heads, o->ID, 2, (size_t)o->ID * 2);
    o->apart = op_matrix_new(ctx, "even_odd_acc", heads, o->R, DSV4_F32);
    o->turned = op_matrix_new(ctx, "rope_even_odd", heads, o->R, DSV4_BF16);
    o->together = op_matrix_new(ctx, "rope_acc", heads, o->R, DSV4_F32);
    o->fresh = op_matrix_new(ctx, "qr_rope_out", heads, o->R, DSV4_BF16);
    o->takes_apart = new_select(ctx, o->R, false);
    o->puts_together = new_select(ctx, o->R, true);
    o->handle = op_matrix_new(ctx, "qr_proj as a whole", 1, 1, DSV4_I8);
    o->product = op_matrix_new(ctx, "qr_hadamard_acc", heads, o->ID, DSV4_F32);
    o->q_i8 = op_matrix_new(ctx, "qr_hadamard_i8", heads, o->ID, DSV4_I8);
    o->q_scale = op_matrix_new(ctx, "qr_hadamard_scale_dq", heads, 1, DSV4_F32);
    o->weights_sums = op_matrix_new(ctx, "weights_acc", o->T, o->IH, DSV4_F32);
    o->weights = op_matrix_new(ctx, "weights", o->T, o->IH, DSV4_F32);
    o->keys = op_matrix_new(ctx, "kv_tile_i8", o->B, o->n_tiles * KEYS * o->ID, DSV4_I8);
    o->key_scale = op_matrix_new(ctx, "score_kv_scale", o->B, o->n_tiles * KEYS, DSV4_F32);
    o->dots = op_matrix_new(ctx, "score_acc", o->B, o->n_tiles * KEYS * o->S * o->IH, DSV4_I32);
}

/* ---- queries ------------------------------------------------------------------------------------------------------------------- */

static void run_dequant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    int64_t n = tile->col.end - tile->col.begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->dequant_i32(n, ablate_i32(&o->sums, t, tile->col.begin), *op_matrix_f32(&o->qr_scale, t, 0),
                           op_matrix_f32(&o->wq_b_scale, 0, tile->col.begin), scratch);
        s->uk->narrow_bf16(n, scratch, ablate_bf16(&o->q, t, tile->col.begin));
    }
}

static void add_queries(const op_context *ctx, const indexer *o)
{
    ablate_product_add(ctx, &(ablate_product){.name = "qr_proj",
                                              .x = o->qr,
                                              .w = o->wq_b,
                                              .y = o->sums,
                                              .dtype = DSV4_I8,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = Q_TILE,
                                              .group = 1,
                                              .k_tile = Q_TILE,
                                              .k_split = 1,
                                              .ahead = 2});
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_proj_write",
                                          .grid = {o->T, o->T, o->IH * o->ID, Q_TILE, 0},
                                          .uses = {{DSV4_READ, &o->sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->qr_scale, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->wq_b_scale, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->q, ablate_rows, ablate_cols}},
                                          .run = run_dequant,
                                          .arg = o,
                                          .scratch_bytes = Q_TILE * sizeof(float),
                                          .vector_ops = 4});
}

/* ---- rotation ------------------------------------------------------------------------------------------------------------------ */

/* y[R] = x[R] w: a product, as the kernel selects by one. */
static void select_row(const uint16_t *x, int64_t R, const op_matrix *w, float *y)
{
    memset(y, 0, (size_t)R * sizeof *y);
    for (int64_t k = 0; k < R; k++) {
        const float *row = op_matrix_f32(w, k, 0), value = num_f32_from_bf16(x[k]);
        for (int64_t n = 0; n < R; n++) {
            y[n] += value * row[n];
        }
    }
}

/* Rows of heads of the tile's tokens. */
static tile_range head_rows(const indexer *o, const ablate_tile *tile)
{
    return (tile_range){tile->row.begin * o->IH, tile->row.end * o->IH};
}

static void run_slice(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        select_row(ablate_bf16(&o->heads, i, o->ID - o->R), o->R, &o->takes_apart, op_matrix_f32(&o->apart, i, 0));
    }
}

static void run_turn(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    int64_t half = o->R / 2;
    float *y = scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        int64_t request = i / o->IH / o->S;
        const float *x = op_matrix_f32(&o->apart, i, 0), *cos = op_matrix_f32(&o->cos, request, 0),
                    *sin = op_matrix_f32(&o->sin, request, 0);
        for (int64_t j = 0; j < half; j++) {
            y[j] = x[j] * cos[j] - x[half + j] * sin[j];
            y[half + j] = x[j] * sin[j] + x[half + j] * cos[j];
        }
        s->uk->narrow_bf16(o->R, y, ablate_bf16(&o->turned, i, 0));
    }
}

static void run_assemble(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        select_row(ablate_bf16(&o->turned, i, 0), o->R, &o->puts_together, op_matrix_f32(&o->together, i, 0));
    }
}

/* Where the rotated elements of a row of heads go. */
static uint16_t *rotated(const indexer *o, int64_t row)
{
    return o->choice.aliased ? ablate_bf16(&o->heads, row, o->ID - o->R) : ablate_bf16(&o->fresh, row, 0);
}

static void run_write(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        s->uk->narrow_bf16(o->R, op_matrix_f32(&o->together, i, 0), rotated(o, i));
    }
}

/* The stage for tokens [t, t + n), one block. */
static ablate_stage token_stage(const indexer *o, const char *name, dsv4_core_kind kind, ablate_body *run, int64_t t, int64_t n)
{
    int64_t group = tile_min(n, o->T - t);
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {group, group, 1, 1, t},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = (size_t)(o->R) * sizeof(float)};
}

static void add_rotation(const op_context *ctx, const indexer *o, int64_t t, int64_t n)
{
    const ablate_axis heads = {.source = ABLATE_ROWS, .scale = o->IH}, rope = {ABLATE_FIXED, 1, o->ID - o->R, o->R},
                      requests = {.source = ABLATE_ALL};
    double elements = (double)(o->IH * o->R), select_flops = 2.0 * elements * (double)o->R;
    int touches = o->choice.by_tensor ? DSV4_READ : 0, changes = o->choice.by_tensor && o->choice.aliased ? DSV4_UPDATE : 0;

    ablate_stage slice = token_stage(o, "rope_slice", DSV4_CUBE, run_slice, t, n);
    slice.uses[0] = (ablate_use){DSV4_READ, &o->heads, heads, rope};
    slice.uses[1] = (ablate_use){DSV4_WRITE, &o->apart, heads, ablate_all};
    slice.uses[2] = (ablate_use){touches, &o->handle, ablate_all, ablate_all};
    slice.flops_bf16 = select_flops;
    slice.product = (dsv4_product){slice.grid.rows * o->IH, o->R, o->R, SELECT_K, 2};
    ablate_stage_add(ctx, &slice);

    ablate_stage apply = token_stage(o, "rope_apply", DSV4_VECTOR, run_turn, t, n);
    apply.uses[0] = (ablate_use){DSV4_READ, &o->apart, heads, ablate_all};
    apply.uses[1] = (ablate_use){DSV4_READ, &o->cos, requests, ablate_all};
    apply.uses[2] = (ablate_use){DSV4_READ, &o->sin, requests, ablate_all};
    apply.uses[3] = (ablate_use){DSV4_WRITE, &o->turned, heads, ablate_all};
    apply.vector_ops = 4 * elements;
    ablate_stage_add(ctx, &apply);

    ablate_stage assemble = token_stage(o, "rope_assemble", DSV4_CUBE, run_assemble, t, n);
    assemble.uses[0] = (ablate_use){DSV4_READ, &o->turned, heads, ablate_all};
    assemble.uses[1] = (ablate_use){DSV4_WRITE, &o->together, heads, ablate_all};
    assemble.flops_bf16 = select_flops;
    assemble.product = slice.product;
    ablate_stage_add(ctx, &assemble);

    ablate_stage write = token_stage(o, "rope_write", DSV4_VECTOR, run_write, t, n);
    write.uses[0] = (ablate_use){DSV4_READ, &o->together, heads, ablate_all};
    write.uses[1] = o->choice.aliased ? (ablate_use){DSV4_WRITE, &o->heads, heads, rope}
                                      : (ablate_use){DSV4_WRITE, &o->fresh, heads, ablate_all};
    write.uses[2] = (ablate_use){changes, &o->handle, ablate_all, ablate_all};
    write.vector_ops = elements;
    ablate_stage_add(ctx, &write);
}

/* ---- Hadamard ------------------------------------------------------------------------------------------------------------------ */

/* product = the rows' first and last columns, each times their rows of the Hadamard matrix. */
static void run_hadamard(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    int64_t nope = o->ID - o->R, n = (r.end - r.begin) * o->ID;
    float *y = op_matrix_f32(&o->product, r.begin, 0), *part = scratch;
    ablate_matmul p = {.dtype = DSV4_BF16,
                       .m = r.end - r.begin,
                       .k = nope,
                       .n = o->ID,
                       .x = ablate_bf16(&o->heads, r.begin, 0),
                       .ldx = o->ID,
                       .w = o->hadamard.data,
                       .stride_k = o->ID,
                       .stride_n = 1,
                       .y = y,
                       .ldy = o->ID};
    ablate_matmul_run(s->uk, &p, part + n);
    p.k = o->R;
    p.x = rotated(o, r.begin);
    p.ldx = o->choice.aliased ? o->ID : o->R;
    p.w = ablate_bf16(&o->hadamard, nope, 0);
    p.y = part;
    ablate_matmul_run(s->uk, &p, part + n);
    s->uk->add(n, part, y);
}

static void run_quant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        const float *row = op_matrix_f32(&o->product, i, 0);
        *op_matrix_f32(&o->q_scale, i, 0) = ablate_q8(s->uk, o->ID, row, ablate_i8(&o->q_i8, i, 0));
    }
}

static void add_hadamard(const op_context *ctx, const indexer *o, int64_t t, int64_t n)
{
    const ablate_axis heads = {.source = ABLATE_ROWS, .scale = o->IH}, nope = {ABLATE_FIXED, 1, 0, o->ID - o->R};
    ablate_stage stage = token_stage(o, "qr_hadamard", DSV4_CUBE, run_hadamard, t, n);
    stage.uses[0] = (ablate_use){DSV4_READ, &o->heads, heads, o->choice.aliased ? ablate_all : nope};
    stage.uses[1] = (ablate_use){DSV4_READ, &o->hadamard, ablate_all, ablate_all};
    stage.uses[2] = (ablate_use){DSV4_WRITE, &o->product, heads, ablate_all};
    if (o->choice.aliased) {
        stage.uses[3] = (ablate_use){o->choice.by_tensor ? DSV4_READ : 0, &o->handle, ablate_all, ablate_all};
    } else {
        stage.uses[3] = (ablate_use){DSV4_READ, &o->fresh, heads, ablate_all};
    }
    int64_t n_rows = stage.grid.rows * o->IH;
    stage.scratch_bytes = (size_t)(n_rows * o->ID) * sizeof(float) + ablate_matmul_bytes(ctx->uk, DSV4_BF16, n_rows, o->ID, o->ID);
    stage.flops_bf16 = 2.0 * (double)(o->IH * o->ID * o->ID);
    stage.product = (dsv4_product){n_rows, o->ID, o->ID, o->choice.aliased ? o->ID : o->R, 2};
    ablate_stage_add(ctx, &stage);
}

static void add_quant(const op_context *ctx, const indexer *o, int64_t t, int64_t n)
{
    const ablate_axis heads = {.source = ABLATE_ROWS, .scale = o->IH};
    ablate_stage stage = token_stage(o, "qr_hadamard_quant", DSV4_VECTOR, run_quant, t, n);
    stage.uses[0] = (ablate_use){DSV4_READ, &o->product, heads, ablate_all};
    stage.uses[1] = (ablate_use){DSV4_WRITE, &o->q_i8, heads, ablate_all};
    stage.uses[2] = (ablate_use){DSV4_WRITE, &o->q_scale, heads, ablate_all};
    stage.vector_ops = 7.0 * (double)(o->IH * o->ID);
    stage.loads = 2 * tile_count(o->ID, HEAD_PIECE);
    ablate_stage_add(ctx, &stage);
}

/* In place: one loop over all. Apart: a loop each, the quantising one in smaller groups. */
static void add_heads(const op_context *ctx, const indexer *o)
{
    int64_t group = o->choice.rope_group, quant = o->choice.quant_group;
    for (int64_t t = 0; t < o->T; t += group) {
        add_rotation(ctx, o, t, group);
        if (o->choice.aliased) {
            add_hadamard(ctx, o, t, group);
        }
    }
    for (int64_t t = 0; t < o->T && !o->choice.aliased; t += group) {
        add_hadamard(ctx, o, t, group);
    }
    for (int64_t t = 0; t < o->T; t += quant) {
        add_quant(ctx, o, t, quant);
    }
}

/* ---- weights of heads ------------------------------------------------------------------------------------------------------------ */

static void run_weights(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    float scale = (float)((1 / sqrt((double)o->ID)) * (1 / sqrt((double)o->IH)));
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->scale(o->IH, op_matrix_f32(&o->weights_sums, t, 0), scale, op_matrix_f32(&o->weights, t, 0));
    }
}

static void add_weights(const op_context *ctx, const indexer *o)
{
    ablate_product_add(ctx, &(ablate_product){.name = "weights_proj",
                                              .x = o->x,
                                              .w = o->weights_proj,
                                              .y = o->weights_sums,
                                              .dtype = DSV4_BF16,
                                              .t_tile = o->T,
                                              .t_inner = o->T,
                                              .n_tile = o->IH,
                                              .group = 1,
                                              .k_tile = SCORE_K,
                                              .k_split = 1,
                                              .ahead = 2});
    ablate_stage_add(ctx, &(ablate_stage){.name = "weights_write",
                                          .grid = {o->T, o->T, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->weights_sums, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->weights, ablate_rows, ablate_all}},
                                          .run = run_weights,
                                          .arg = o,
                                          .vector_ops = (double)o->IH});
}

/* ---- scores ---------------------------------------------------------------------------------------------------------------------- */

static const float no_score = -3.4028234663852886e38f;

static void run_init(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin * o->S; t < tile->row.end * o->S; t++) {
        for (int64_t i = 0; i < o->score.cols; i++) {
            *op_matrix_f32(&o->score, t, i) = no_score;
        }
    }
}

/* Key i of a request; NULL behind the last. */
static const uint16_t *key_at(const indexer *o, int64_t request, int64_t i)
{
    return i >= o->n_keys ? NULL : ablate_bf16(&o->cache, o->table[request * o->pages + i / o->page] * o->page + i % o->page, 0);
}

static void run_key_quant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    (void)scratch;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        for (int64_t i = tile->col.begin * KEYS; i < tile->col.end * KEYS; i++) {
            const uint16_t *key = key_at(o, b, i);
            int8_t *out = ablate_i8(&o->keys, b, i * o->ID);
            memset(out, 0, (size_t)o->ID);
            *op_matrix_f32(&o->key_scale, b, i) = key == NULL ? 0 : 1.0f / s->uk->q8_bf16(o->ID, key, out);
        }
    }
}

static void run_dots(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    int64_t heads = o->S * o->IH;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        ablate_matmul_run(s->uk,
                          &(ablate_matmul){.dtype = DSV4_I8,
                                           .m = KEYS,
                                           .k = o->ID,
                                           .n = heads,
                                           .x = ablate_i8(&o->keys, b, tile->col.begin * KEYS * o->ID),
                                           .ldx = o->ID,
                                           .w = ablate_i8(&o->q_i8, b * heads, 0),
                                           .stride_k = 1,
                                           .stride_n = o->ID,
                                           .y = ablate_i32(&o->dots, b, tile->col.begin * KEYS * heads),
                                           .ldy = heads},
                          scratch);
    }
}

static void run_store(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    int64_t heads = o->S * o->IH, first = tile->col.begin * KEYS, n = tile_min(o->n_keys - first, KEYS);
    float *y = scratch;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        for (int64_t i = 0; i < o->S; i++) {
            int64_t t = b * o->S + i;
            s->uk->index_score(n, o->IH, ablate_i32(&o->dots, b, first * heads + i * o->IH), heads,
                               op_matrix_f32(&o->q_scale, t * o->IH, 0), op_matrix_f32(&o->key_scale, b, first),
                               op_matrix_f32(&o->weights, t, 0), y);
            memcpy(op_matrix_f32(&o->score, t, first), y, (size_t)n * sizeof *y);
        }
    }
}

static ablate_stage score_stage(const indexer *o, const char *name, dsv4_core_kind kind, ablate_body *run)
{
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {o->B, tile_min(o->choice.score_group, o->B), o->n_tiles, 1, 0},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = KEYS * sizeof(float)};
}

static void add_scores(const op_context *ctx, const indexer *o)
{
    int64_t heads = o->S * o->IH, group = tile_min(o->choice.score_group, o->B);
    const ablate_axis keys = {.source = ABLATE_COLS, .scale = KEYS}, values = {.source = ABLATE_COLS, .scale = KEYS * o->ID},
                      products = {.source = ABLATE_COLS, .scale = KEYS * heads}, tokens = {.source = ABLATE_ROWS, .scale = o->S},
                      queries = {.source = ABLATE_ROWS, .scale = heads},
                      columns = {ABLATE_COLS, KEYS, 0, tile_min(KEYS, o->n_keys)};

    ablate_stage init = score_stage(o, "score_init", DSV4_VECTOR, run_init);
    init.grid.cols = 1;
    init.uses[0] = (ablate_use){DSV4_WRITE, &o->score, tokens, ablate_all};
    init.vector_ops = (double)(o->S * o->score.cols);
    ablate_stage_add(ctx, &init);

    ablate_stage quant = score_stage(o, "score_quant", DSV4_VECTOR, run_key_quant);
    quant.uses[0] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->cache, ablate_all, ablate_all};
    quant.uses[1] = (ablate_use){DSV4_WRITE, &o->keys, ablate_rows, values};
    quant.uses[2] = (ablate_use){DSV4_WRITE, &o->key_scale, ablate_rows, keys};
    quant.gathered_bytes = (double)(KEYS * o->ID) * sizeof(uint16_t);
    quant.vector_ops = 8.0 * (double)(KEYS * o->ID);
    quant.loads = 2 * group * tile_count(o->ID, HEAD_PIECE);
    ablate_stage_add(ctx, &quant);

    ablate_stage dots = score_stage(o, "score_accum", DSV4_CUBE, run_dots);
    dots.uses[0] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, values};
    dots.uses[1] = (ablate_use){DSV4_READ, &o->q_i8, queries, ablate_all};
    dots.uses[2] = (ablate_use){DSV4_WRITE, &o->dots, ablate_rows, products};
    dots.ops_i8 = 2.0 * (double)(KEYS * heads * o->ID);
    dots.product = (dsv4_product){KEYS, heads, o->ID * group, o->ID, 2};
    dots.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_I8, KEYS, o->ID, heads);
    ablate_stage_add(ctx, &dots);

    ablate_stage store = score_stage(o, "score_store", DSV4_VECTOR, run_store);
    store.uses[0] = (ablate_use){DSV4_READ, &o->dots, ablate_rows, products};
    store.uses[1] = (ablate_use){DSV4_READ, &o->key_scale, ablate_rows, keys};
    store.uses[2] = (ablate_use){DSV4_READ, &o->q_scale, queries, ablate_all};
    store.uses[3] = (ablate_use){DSV4_READ, &o->weights, tokens, ablate_all};
    store.uses[4] = (ablate_use){DSV4_WRITE, &o->score, tokens, columns};
    store.vector_ops = 7.0 * (double)(KEYS * heads);
    store.loads = group * (3 + o->S);
    ablate_stage_add(ctx, &store);
}

/* ---- choice ---------------------------------------------------------------------------------------------------------------------- */

/* Larger scores first, of equal ones the earlier: every candidate is put into its place. */
static void run_topk(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const indexer *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        const float *score = op_matrix_f32(&o->score, t, 0);
        int32_t *out = ablate_i32(&o->topk, t, 0);
        for (int64_t i = 0; i < o->topk.cols; i++) {
            out[i] = -1;
        }
        for (int64_t i = 0, n = 0; i < o->n_keys; i++) {
            int64_t at = n < o->k ? n++ : o->k;
            for (; at > 0 && score[i] > score[out[at - 1] - o->offset]; at--) {
                if (at < o->k) {
                    out[at] = out[at - 1];
                }
            }
            if (at < o->k) {
                out[at] = (int32_t)(i + o->offset);
            }
        }
    }
}

static void add_topk(const op_context *ctx, const indexer *o)
{
    double n = (double)o->score.cols; /* sorted whole: blocks of 32, then merges of four */
    ablate_stage_add(ctx, &(ablate_stage){.name = "topk",
                                          .grid = {o->T, 1, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->score, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->topk, ablate_rows, ablate_all}},
                                          .run = run_topk,
                                          .arg = o,
                                          .vector_ops = 2 * n * log2(n)});
}

/* ---- graph, inputs and reference ---------------------------------------------------------------------------------------------------- */

static void build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    indexer *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (indexer){.choice = *(const alias_choice *)choice};
    set_inputs(o, c, ctx);
    o->score = op_matrix_of(ctx, "score", dsv4_tensor_list_find(io, "score"), 1);
    o->topk = op_matrix_of(ctx, "topk_idxs", dsv4_tensor_list_find(io, "topk_idxs"), 1);
    make_matrices(o, ctx);
    add_queries(ctx, o);
    add_heads(ctx, o);
    add_weights(ctx, o);
    add_scores(ctx, o);
    add_topk(ctx, o);
}

/* Plain loops over the reference's primitives: SPEC 3.2, but for the queries, which are rounded to BF16 before they are rotated, too. */
typedef struct reference {
    const indexer *o; /* inputs and dimensions */
    int8_t *q, *key;  /* [S*IH, ID] of a request, [ID] */
    float *q_scale, *weights, *head, *score;
    uint16_t *rounded;
    int32_t *sums, *topk;
} reference;

static void expect_query(const reference *r, int64_t t, int64_t h)
{
    const indexer *o = r->o;
    int64_t col = h * o->ID, request = t / o->S, row = t % o->S * o->IH + h;
    golden_matmul_i8(ablate_i8(&o->qr, t, 0), ablate_i8(&o->wq_b, 0, col), o->wq_b.ld, 1, o->qr.cols, o->ID, r->sums);
    for (int64_t i = 0; i < o->ID; i++) {
        r->head[i] = ((float)r->sums[i] * *op_matrix_f32(&o->qr_scale, t, 0)) * *op_matrix_f32(&o->wq_b_scale, 0, col + i);
    }
    golden_round(r->head, o->ID, r->rounded);
    golden_widen(r->rounded, o->ID, r->head);
    golden_rotate_f32(r->head + o->ID - o->R, o->R, op_matrix_f32(&o->cos, request, 0), op_matrix_f32(&o->sin, request, 0));
    golden_round(r->head, o->ID, r->rounded);
    golden_matmul_bf16(r->rounded, o->hadamard.data, 1, o->ID, o->ID, r->head);
    r->q_scale[row] = golden_q8(r->head, o->ID, r->q + row * o->ID);
}

/* Score of a key, quantised, for token s of the request. */
static float expect_score(const reference *r, int64_t s, float key_scale)
{
    const indexer *o = r->o;
    double sum = 0;
    for (int64_t h = 0; h < o->IH; h++) {
        int64_t row = s * o->IH + h;
        int32_t dot = 0;
        for (int64_t i = 0; i < o->ID; i++) {
            dot += r->q[row * o->ID + i] * r->key[i];
        }
        float scaled = ((float)dot * r->q_scale[row]) * key_scale;
        sum += (scaled < 0 ? 0 : scaled) * r->weights[row];
    }
    return (float)sum;
}

static void expect_keys(const reference *r, int64_t request)
{
    const indexer *o = r->o;
    for (int64_t i = 0; i < o->score.cols; i++) {
        const uint16_t *key = key_at(o, request, i);
        float scale = 0;
        if (key != NULL) {
            golden_widen(key, o->ID, r->head);
            scale = golden_q8(r->head, o->ID, r->key);
        }
        for (int64_t s = 0; s < o->S; s++) {
            r->score[(request * o->S + s) * o->score.cols + i] = key == NULL ? no_score : expect_score(r, s, scale);
        }
    }
}

static dsv4_status expect_request(const reference *r, int64_t request, dsv4_error *err)
{
    const indexer *o = r->o;
    float scale = (float)((1 / sqrt((double)o->ID)) * (1 / sqrt((double)o->IH)));
    dsv4_status status = DSV4_OK;
    for (int64_t s = 0; s < o->S; s++) {
        for (int64_t h = 0; h < o->IH; h++) {
            expect_query(r, request * o->S + s, h);
        }
    }
    golden_matmul_bf16(ablate_bf16(&o->x, request * o->S, 0), o->weights_proj.data, o->S, o->x.cols, o->IH, r->weights);
    for (int64_t i = 0; i < o->S * o->IH; i++) {
        r->weights[i] *= scale;
    }
    expect_keys(r, request);
    for (int64_t t = request * o->S; t < (request + 1) * o->S && status == DSV4_OK; t++) {
        int32_t *out = r->topk + t * o->score.cols;
        status = golden_topk(r->score + t * o->score.cols, o->n_keys, o->k, out, err);
        for (int64_t i = 0; i < o->score.cols; i++) {
            out[i] = i < o->k ? out[i] + (int32_t)o->offset : -1;
        }
    }
    return status;
}

static bool cut_scratch(reference *r, arena *memory)
{
    size_t ID = (size_t)r->o->ID, heads = (size_t)(r->o->S * r->o->IH);
    r->q = arena_alloc(memory, heads * ID);
    r->key = arena_alloc(memory, ID);
    r->q_scale = arena_alloc(memory, heads * sizeof(float));
    r->weights = arena_alloc(memory, heads * sizeof(float));
    r->head = arena_alloc(memory, ID * sizeof(float));
    r->rounded = arena_alloc(memory, ID * sizeof(uint16_t));
    r->sums = arena_alloc(memory, ID * sizeof(int32_t));
    return r->q != NULL && r->key != NULL && r->q_scale != NULL && r->weights != NULL && r->head != NULL && r->rounded != NULL &&
           r->sums != NULL;
}

static dsv4_status expect(ablate_case *c, const indexer *o, dsv4_error *err)
{
    arena memory = {0};
    reference r = {.o = o};
    dsv4_tensor score = {0}, topk = {0};
    const int64_t shape[] = {o->T, o->score.cols};
    dsv4_status status = dsv4_tensor_list_alloc(&c->expected, "score", DSV4_F32, 2, shape, &score, err);
    if (status == DSV4_OK) {
        status = dsv4_tensor_list_alloc(&c->expected, "topk_idxs", DSV4_I32, 2, shape, &topk, err);
    }
    if (status == DSV4_OK && !cut_scratch(&r, &memory)) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate alias: no memory for the reference");
    }
    r.score = score.data;
    r.topk = topk.data;
    for (int64_t b = 0; b < o->B && status == DSV4_OK; b++) {
        status = expect_request(&r, b, err);
    }
    arena_deinit(&memory);
    return status;
}

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const op_call call = {.mode = DSV4_DECODE,
                          .n_requests = c->tiny ? 8 : 64,
                          .n_tokens = 2,
                          .start_pos = c->tiny ? 62 : 254,
                          .ratio = RATIO,
                          .seed = c->seed};
    dsv4_graph *views = dsv4_graph_create("inputs");
    if (views == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate alias: no memory for its inputs");
    }
    const op_context ctx = {.g = views};
    indexer o = {.score = {.cols = c->config.max_position_embeddings / RATIO}};
    dsv4_status status = op_draw_inputs(&op_decode_indexer, &c->config, &call, &c->inputs, err);
    if (status == DSV4_OK) {
        set_inputs(&o, c, &ctx);
        status = expect(c, &o, err);
    }
    dsv4_graph_destroy(views);
    return status;
}

static const ablate_output outputs[] = {
    {"score", {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
    {"topk_idxs", {CMP_TOPK, 1e-4, 1.0 / 128, 0, 0}, "score"},
};

const ablate_study ablate_alias = {
    .name = "alias",
    .title = "A loop that writes into what it reads",
    .kernel = "decode_indexer without its compressor, 64 requests of 2 tokens",
    .text = "The indexer rotates the last elements of every query head in a loop over groups of tokens: even and "
            "odd elements are taken apart by a product with a selection, rotated, put together by another product "
            "and written. Written back into the tensor that the loop reads, the iterations touch disjoint rows, "
            "but a tracker that knows tensors and no boxes sees each iteration read what the one before wrote. It "
            "runs them one after another, each a chain of four tasks.\n\n*before* and *grouped* play such a "
            "tracker for this one tensor: a byte stands for it, who reads any part reads the byte, who writes any "
            "part updates it. *block* and *grouped-block* run the same loop in place with the exact boxes that "
            "this runtime tracks: no iteration waits for another, and nothing has to be rewritten. *apart* and "
            "*after* are the fix by hand: the rotated elements go to a tensor of their own, and the Hadamard "
            "product that follows splits its K between the two tensors. In *all-tensor* every tensor of the kernel "
            "is tracked as a whole (`--deps tensor`): then column tiles of one product wait for each other, "
            "too.\n\nGroups of tokens make fewer, taller tasks (4 tokens for the rotation, 2 for the quantiser, 8 "
            "requests for the scores) with the same results. They pay where a launch costs microseconds.\n\nThe "
            "compressor of the kernel is left out: the cache stands. On the device a thread submits one launch "
            "after the other, and each pass of the loop is four launches: that bounds the window of *after*, "
            "whatever the cores could do, and of *block* and *apart*, which launch as much as *before*. The whole "
            "kernel comes out shorter than published after the fix, since the authors' ran the compressor, too, "
            "and submitted every block of every stage by itself, where this graph launches the stages outside of "
            "the loop whole.",
    .prepare = prepare,
    .build = build,
    .outputs = outputs,
    .n_outputs = sizeof outputs / sizeof *outputs,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
