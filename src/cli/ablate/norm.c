/* cli/ablate/norm.c - study: partial sums, folded amax, K tile and load-ahead of qkv_proj_rope with the norm in front.
 *
 * Every stage works on all rows and a range of columns, as the kernel did at that time: column chunks of 128 (hidden) and 32. */
#include "base/arena.h"
#include "cli/ablate/qkv.h"
#include "golden/golden.h"
#include "golden/primitives.h"
#include "ops/rms.h"

typedef struct norm_choice {
    int64_t parts; /* blocks that share a sum of squares */
    bool folds_amax;
    int64_t q_k_tile, ahead;
} norm_choice;

static const norm_choice before = {1, false, 256, 2}, after = {2, true, 512, 4};
static const norm_choice serial = {1, true, 512, 4}, four = {4, true, 512, 4};
static const norm_choice separate = {2, false, 512, 4}, k_256 = {2, true, 256, 4}, ahead_2 = {2, true, 512, 2};

enum { BEFORE, SERIAL, FOUR, SEPARATE, K_256, AHEAD_2, AFTER, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "serial sums of squares, amax by a stage of its own, K tile 256, 2 loads ahead", &before,
                DSV4_DEPS_BLOCK},
    [SERIAL] = {"serial", "as after, but serial sums of squares", &serial, DSV4_DEPS_BLOCK},
    [FOUR] = {"4-way", "as after, but 4-way sums of squares", &four, DSV4_DEPS_BLOCK},
    [SEPARATE] = {"separate", "as after, but amax by a stage of its own", &separate, DSV4_DEPS_BLOCK},
    [K_256] = {"k256", "as after, but K tile 256 of the q projection", &k_256, DSV4_DEPS_BLOCK},
    [AHEAD_2] = {"ahead2", "as after, but 2 loads ahead", &ahead_2, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "2-way sums of squares, amax folded into the norm, K tile 512, 4 loads ahead", &after, DSV4_DEPS_BLOCK},
};

#define RMS_STAGES "attn_norm_rms,attn_norm_rms_partial,attn_norm_rms_final"

static const ablate_series series[] = {
    {"whole kernel", ABLATE_MAKESPAN, NULL, "us", true, 2, {{BEFORE, 624, 0}, {AFTER, 545, 0}}},
    {"sums of squares of the hidden rows: window",
     ABLATE_WINDOW,
     RMS_STAGES,
     "us",
     false,
     3,
     {{SERIAL, 93, 0}, {AFTER, 0, 0}, {FOUR, 0, 0}}},
    {"sums of squares: whole kernel", ABLATE_MAKESPAN, NULL, NULL, false, 3, {{SERIAL, 0, 0}, {AFTER, 0, 0}, {FOUR, 0, 0}}},
    {"amax of the quantiser: its stage", ABLATE_TASK, "qr_quant_amax", "us", false, 2, {{SEPARATE, 30, 0}, {AFTER, 1.7, 0}}},
    {"K tile of the q projection: a block", ABLATE_TASK, "qproj_matmul", "us", false, 2, {{K_256, 74, 0}, {AFTER, 56, 0}}},
    {"loads ahead in qr_proj and kv_proj: a block",
     ABLATE_TASK,
     "qr_proj_matmul,kv_proj_matmul",
     NULL,
     false,
     2,
     {{AHEAD_2, 0, 0}, {AFTER, 0, 0}}},
};

/* ---- matrices -------------------------------------------------------------------------------------------------------------------- */

enum {
    D_CHUNK = 128,
    L_CHUNK = 32, /* of low-rank rows and key/value rows */
    APPLY_GROUP = 4,
    QR_NORM_GROUP = 8,
    QUANT_COLS = 256,
    Q_N_TILE = 128,
    Q_GROUP = 8,
    DEQUANT_COLS = 32 * Q_N_TILE,
    HEAD_GROUP = 8
};

typedef struct norm {
    qkv *o;
    op_matrix norm_w, raw;
    op_matrix x_sums, x_inverse, qr_sums, qr_inverse; /* F32 [T, parts], [T, 1] */
    op_matrix qr_bf16, amax, multiplier;              /* BF16 [T, QL]; F32 [T, norm blocks], [T, 1] */
    op_matrix pairs, turned, kv_pairs, kv_turned;     /* BF16, F32 [H*T, R]: rotated, even elements first; [T, R] */
    op_matrix select;                                 /* BF16 [R, R]: row j of the halved order -> its interleaved column */
    int64_t parts;
} norm;

/* ---- sums of squares --------------------------------------------------------------------------------------------------------------- */

/* One of the two rows that are normalised: hidden BF16, low-rank F32. */
typedef struct rms_stage {
    const qkv *o;
    op_matrix x, sums, inverse;
    int64_t chunk;
    bool is_bf16, is_serial;
} rms_stage;

static float chunk_squares(const ablate_stage *s, const rms_stage *r, int64_t t, int64_t chunk, float *scratch)
{
    int64_t col = chunk * r->chunk, n = tile_min(r->chunk, r->x.cols - col);
    if (!r->is_bf16) {
        return s->uk->sum_squares(n, op_matrix_f32(&r->x, t, col));
    }
    s->uk->widen_bf16(n, ablate_bf16(&r->x, t, col), scratch);
    return s->uk->sum_squares(n, scratch);
}

static void run_sums(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const rms_stage *r = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        double sum = 0;
        for (int64_t chunk = tile->col.begin; chunk < tile->col.end; chunk++) {
            sum += chunk_squares(s, r, t, chunk, scratch);
        }
        float rounded = (float)sum;
        if (r->is_serial) {
            *op_matrix_f32(&r->inverse, t, 0) = op_inverse_rms(&rounded, 1, r->x.cols, r->o->eps);
        } else {
            *op_matrix_f32(&r->sums, t, tile->col_index) = rounded;
        }
    }
}

static void run_final(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const rms_stage *r = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&r->inverse, t, 0) = op_inverse_rms(op_matrix_f32(&r->sums, t, 0), r->sums.cols, r->x.cols, r->o->eps);
    }
}

static const ablate_axis index_of_cols = {.source = ABLATE_COL_INDEX};

/* names: of the serial stage, of the partial one, of the final one. */
static void add_rms(const op_context *ctx, const norm *n, rms_stage r, const char *const *names)
{
    rms_stage *arg = dsv4_graph_memory(ctx->g, sizeof *arg);
    if (arg == NULL) {
        return;
    }
    r.o = n->o;
    r.is_serial = n->parts == 1;
    *arg = r;
    int64_t chunks = tile_count(r.x.cols, r.chunk);
    ablate_stage_add(ctx, &(ablate_stage){.name = names[r.is_serial ? 0 : 1],
                                          .grid = {n->o->T, n->o->T, chunks, tile_count(chunks, n->parts), 0},
                                          .uses = {{DSV4_READ, &r.x, ablate_rows, {ABLATE_COLS, r.chunk, 0, r.chunk}},
                                                   {DSV4_WRITE, r.is_serial ? &r.inverse : &r.sums, ablate_rows, index_of_cols}},
                                          .run = run_sums,
                                          .arg = arg,
                                          .scratch_bytes = (size_t)r.chunk * sizeof(float),
                                          .vector_ops = (double)(r.chunk * (r.is_bf16 ? 3 : 2)),
                                          .loads = tile_count(chunks, n->parts)});
    if (!r.is_serial) {
        ablate_stage_add(ctx, &(ablate_stage){.name = names[2],
                                              .grid = {n->o->T, n->o->T, 1, 1, 0},
                                              .uses = {{DSV4_READ, &r.sums, ablate_rows, ablate_all},
                                                       {DSV4_WRITE, &r.inverse, ablate_rows, ablate_all}},
                                              .run = run_final,
                                              .arg = arg,
                                              .vector_ops = (double)n->parts + 3});
    }
}

/* ---- norms ------------------------------------------------------------------------------------------------------------------------- */

static void run_apply(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    int64_t begin = tile->col.begin * D_CHUNK, end = tile_min(tile->col.end * D_CHUNK, n->o->D);
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->widen_bf16(end - begin, ablate_bf16(&n->raw, t, begin), scratch);
        s->uk->scale_gamma(end - begin, scratch, *op_matrix_f32(&n->x_inverse, t, 0), ablate_bf16(&n->norm_w, 0, begin), scratch);
        s->uk->narrow_bf16(end - begin, scratch, ablate_bf16(&n->o->x, t, begin));
    }
}

static void add_apply(const op_context *ctx, const norm *n)
{
    const ablate_axis chunks = {ABLATE_COLS, D_CHUNK, 0, D_CHUNK};
    ablate_stage_add(ctx, &(ablate_stage){.name = "attn_norm_apply",
                                          .grid = {n->o->T, n->o->T, tile_count(n->o->D, D_CHUNK), APPLY_GROUP, 0},
                                          .uses = {{DSV4_READ, &n->raw, ablate_rows, chunks},
                                                   {DSV4_READ, &n->x_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &n->norm_w, ablate_all, chunks},
                                                   {DSV4_WRITE, &n->o->x, ablate_rows, chunks}},
                                          .run = run_apply,
                                          .arg = n,
                                          .scratch_bytes = APPLY_GROUP * D_CHUNK * sizeof(float),
                                          .vector_ops = 4 * D_CHUNK,
                                          .loads = APPLY_GROUP});
}

/* The amax is that of the values as the quantiser reads them: rounded to BF16. */
static float amax_of_bf16(const ablate_stage *s, int64_t n, const uint16_t *x, float *scratch)
{
    s->uk->widen_bf16(n, x, scratch);
    return s->uk->amax(n, scratch);
}

static void run_qr_norm(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    int64_t begin = tile->col.begin * L_CHUNK, end = tile_min(tile->col.end * L_CHUNK, n->o->QL);
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        uint16_t *y = ablate_bf16(&n->qr_bf16, t, begin);
        s->uk->scale_gamma(end - begin, op_matrix_f32(&n->o->a, t, begin), *op_matrix_f32(&n->qr_inverse, t, 0),
                           ablate_bf16(&n->o->gamma_cq, 0, begin), scratch);
        s->uk->narrow_bf16(end - begin, scratch, y);
        if (n->amax.data != NULL) {
            *op_matrix_f32(&n->amax, t, tile->col_index) = amax_of_bf16(s, end - begin, y, scratch);
        }
    }
}

static void add_qr_norm(const op_context *ctx, const norm *n)
{
    const ablate_axis chunks = {ABLATE_COLS, L_CHUNK, 0, L_CHUNK};
    bool folds = n->amax.data != NULL;
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_norm_apply",
                                          .grid = {n->o->T, n->o->T, tile_count(n->o->QL, L_CHUNK), QR_NORM_GROUP, 0},
                                          .uses = {{DSV4_READ, &n->o->a, ablate_rows, chunks},
                                                   {DSV4_READ, &n->qr_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &n->o->gamma_cq, ablate_all, chunks},
                                                   {DSV4_WRITE, &n->qr_bf16, ablate_rows, chunks},
                                                   {folds ? DSV4_WRITE : 0, &n->amax, ablate_rows, index_of_cols}},
                                          .run = run_qr_norm,
                                          .arg = n,
                                          .scratch_bytes = QR_NORM_GROUP * L_CHUNK * sizeof(float),
                                          .vector_ops = (folds ? 7 : 3) * L_CHUNK,
                                          .loads = QR_NORM_GROUP});
}

/* ---- quantising ---------------------------------------------------------------------------------------------------------------------- */

static void run_amax(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        float amax = n->amax.data != NULL ? s->uk->amax(n->amax.cols, op_matrix_f32(&n->amax, t, 0))
                                          : amax_of_bf16(s, n->o->QL, ablate_bf16(&n->qr_bf16, t, 0), scratch);
        float multiplier = op_q8_multiplier(amax);
        *op_matrix_f32(&n->multiplier, t, 0) = multiplier;
        *op_matrix_f32(&n->o->qr_scale, t, 0) = 1.0f / multiplier;
    }
}

static void run_quantize(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    int64_t width = tile->col.end - tile->col.begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->widen_bf16(width, ablate_bf16(&n->qr_bf16, t, tile->col.begin), scratch);
        s->uk->quantize_i8(width, scratch, *op_matrix_f32(&n->multiplier, t, 0), ablate_i8(&n->o->qr, t, tile->col.begin));
    }
}

/* Without a fold one block reads all values once more, in chunks of L_CHUNK. */
static void add_quant(const op_context *ctx, const norm *n)
{
    int64_t T = n->o->T, QL = n->o->QL, chunks = tile_count(QL, L_CHUNK);
    bool folds = n->amax.data != NULL;
    const ablate_axis values = {ABLATE_COLS, L_CHUNK, 0, L_CHUNK};
    ablate_stage_add(ctx,
                     &(ablate_stage){.name = "qr_quant_amax",
                                     .grid = {T, T, chunks, chunks, 0},
                                     .uses = {{DSV4_READ, folds ? &n->amax : &n->qr_bf16, ablate_rows, folds ? ablate_all : values},
                                              {DSV4_WRITE, &n->multiplier, ablate_rows, ablate_all},
                                              {DSV4_WRITE, &n->o->qr_scale, ablate_rows, ablate_all}},
                                     .run = run_amax,
                                     .arg = n,
                                     .scratch_bytes = (size_t)QL * sizeof(float),
                                     .vector_ops = folds ? 1 : 4 * L_CHUNK,
                                     .loads = folds ? 1 : chunks});
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_quant_apply",
                                          .grid = {T, T, QL, QUANT_COLS, 0},
                                          .uses = {{DSV4_READ, &n->qr_bf16, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &n->multiplier, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &n->o->qr, ablate_rows, ablate_cols}},
                                          .run = run_quantize,
                                          .arg = n,
                                          .scratch_bytes = QUANT_COLS * sizeof(float),
                                          .vector_ops = 5,
                                          .loads = QUANT_COLS / L_CHUNK});
}

/* ---- rotation: even and odd elements apart, then brought together by a product with a selection -------------------------------------- */

/* y = the R rotated elements of x, the even ones first. */
static void rotate_apart(const ablate_stage *s, const qkv *o, int64_t t, const float *x, float inv, float *work, uint16_t *y)
{
    float *apart = work + 2 * o->R;
    qkv_rotate(s->uk, o, t, x, inv, work);
    for (int64_t j = 0; j < o->R; j++) {
        apart[j] = work[ablate_interleaved(j, o->R)];
    }
    s->uk->narrow_bf16(o->R, apart, y);
}

static void run_head_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    const qkv *o = n->o;
    for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
        for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
            rotate_apart(s, o, t, op_matrix_f32(&o->heads, t, h * o->hd + o->nope), *op_matrix_f32(&o->head_inverse, t, h), scratch,
                         ablate_bf16(&n->pairs, h * o->T + t, 0));
        }
    }
}

static void run_head_write(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    const qkv *o = n->o;
    (void)scratch;
    for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
        for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
            s->uk->narrow_bf16(o->R, op_matrix_f32(&n->turned, h * o->T + t, 0), ablate_bf16(&o->q, t, h * o->hd + o->nope));
        }
    }
}

/* turned = pairs, brought together. */
static void add_reassemble(const op_context *ctx, const norm *n, const char *name, const op_matrix *pairs, const op_matrix *turned)
{
    const qkv *o = n->o;
    qkv_add_product(ctx, name, pairs, &n->select, turned,
                    (ablate_product){.dtype = DSV4_BF16,
                                     .t_tile = HEAD_GROUP * o->T,
                                     .t_inner = o->T,
                                     .n_tile = o->R,
                                     .group = 1,
                                     .k_tile = o->R / 2,
                                     .k_split = 1,
                                     .ahead = 2});
}

static void add_head_rope(const op_context *ctx, const norm *n)
{
    const qkv *o = n->o;
    const ablate_axis rope = {ABLATE_COLS, o->hd, o->nope, o->R}, of_heads = {.source = ABLATE_COLS, .scale = o->T};
    const ablate_grid grid = {o->T, o->T, o->H, HEAD_GROUP, 0};
    ablate_stage_add(ctx, &(ablate_stage){.name = "q_head_rope",
                                          .grid = grid,
                                          .uses = {{DSV4_READ, &o->heads, ablate_rows, rope},
                                                   {DSV4_READ, &o->head_inverse, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->cos, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->sin, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &n->pairs, of_heads, ablate_all}},
                                          .run = run_head_rope,
                                          .arg = n,
                                          .scratch_bytes = (size_t)(3 * o->R) * sizeof(float),
                                          .vector_ops = (double)(7 * o->R),
                                          .loads = 2 + HEAD_GROUP});
    add_reassemble(ctx, n, "q_rope_reassemble", &n->pairs, &n->turned);
    ablate_stage_add(
        ctx, &(ablate_stage){.name = "q_rope_write",
                             .grid = grid,
                             .uses = {{DSV4_READ, &n->turned, of_heads, ablate_all}, {DSV4_WRITE, &o->q, ablate_rows, rope}},
                             .run = run_head_write,
                             .arg = n,
                             .vector_ops = (double)o->R,
                             .loads = HEAD_GROUP});
}

/* ---- the key/value row ------------------------------------------------------------------------------------------------------------------ */

static void run_kv_norm(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = ((const norm *)s->arg)->o;
    int64_t begin = tile->col.begin, n = tile->col.end - begin;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->scale_gamma(n, op_matrix_f32(&o->kv_sums, t, begin), *op_matrix_f32(&o->kv_inverse, t, 0),
                           ablate_bf16(&o->gamma_ckv, 0, begin), scratch);
        s->uk->narrow_bf16(n, scratch, ablate_bf16(&o->kv, t, begin));
    }
}

static void run_kv_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    const qkv *o = n->o;
    float *row = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->scale_gamma(o->R, op_matrix_f32(&o->kv_sums, t, o->nope), *op_matrix_f32(&o->kv_inverse, t, 0),
                           ablate_bf16(&o->gamma_ckv, 0, o->nope), row);
        rotate_apart(s, o, t, row, 1.0f, row + o->R, ablate_bf16(&n->kv_pairs, t, 0));
    }
}

static void run_kv_write(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->narrow_bf16(n->o->R, op_matrix_f32(&n->kv_turned, t, 0), ablate_bf16(&n->o->kv, t, n->o->nope));
    }
}

static void add_kv_norm(const op_context *ctx, const norm *n)
{
    const qkv *o = n->o;
    norm serial_norm = *n;
    serial_norm.parts = 1;
    add_rms(ctx, &serial_norm, (rms_stage){.x = o->kv_sums, .inverse = o->kv_inverse, .chunk = L_CHUNK},
            (const char *const[]){"kv_rms", NULL, NULL});
    ablate_stage_add(ctx, &(ablate_stage){.name = "kv_norm_nope",
                                          .grid = {o->T, o->T, o->nope, L_CHUNK, 0},
                                          .uses = {{DSV4_READ, &o->kv_sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->kv_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->gamma_ckv, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->kv, ablate_rows, ablate_cols}},
                                          .run = run_kv_norm,
                                          .arg = n,
                                          .scratch_bytes = L_CHUNK * sizeof(float),
                                          .vector_ops = 3});
}

static void add_kv_rope(const op_context *ctx, const norm *n)
{
    const qkv *o = n->o;
    const ablate_axis rope = {ABLATE_FIXED, 1, o->nope, o->R};
    const ablate_grid grid = {o->T, o->T, 1, 1, 0};
    ablate_stage_add(ctx, &(ablate_stage){.name = "kv_rope_apply",
                                          .grid = grid,
                                          .uses = {{DSV4_READ, &o->kv_sums, ablate_rows, rope},
                                                   {DSV4_READ, &o->kv_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->gamma_ckv, ablate_all, rope},
                                                   {DSV4_READ, &o->cos, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->sin, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &n->kv_pairs, ablate_rows, ablate_all}},
                                          .run = run_kv_rope,
                                          .arg = n,
                                          .scratch_bytes = (size_t)(4 * o->R) * sizeof(float),
                                          .vector_ops = (double)(8 * o->R)});
    add_reassemble(ctx, n, "kv_rope_reassemble", &n->kv_pairs, &n->kv_turned);
    ablate_stage_add(
        ctx, &(ablate_stage){.name = "kv_rope_write",
                             .grid = grid,
                             .uses = {{DSV4_READ, &n->kv_turned, ablate_rows, ablate_all}, {DSV4_WRITE, &o->kv, ablate_rows, rope}},
                             .run = run_kv_write,
                             .arg = n,
                             .vector_ops = (double)o->R});
}

/* ---- graph --------------------------------------------------------------------------------------------------------------------------- */

/* Row j < R/2 selects column 2j, row R/2 + j column 2j + 1. */
static op_matrix new_select(const op_context *ctx, int64_t R)
{
    const uint16_t one = 0x3f80;
    op_matrix m = op_matrix_new(ctx, "select", R, R, DSV4_BF16);
    for (int64_t j = 0; j < R && m.data != NULL; j++) {
        *ablate_bf16(&m, j, ablate_interleaved(j, R)) = one;
    }
    return m;
}

static norm *new_norm(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const norm_choice *x)
{
    norm *n = dsv4_graph_memory(ctx->g, sizeof *n);
    qkv *o = qkv_new(c, ctx, io, 1, 1);
    if (n == NULL || o == NULL) {
        return NULL;
    }
    *n = (norm){
        .o = o, .norm_w = ablate_input_matrix(c, ctx, "norm_w", 1), .raw = ablate_input_matrix(c, ctx, "x", 1), .parts = x->parts};
    o->x = op_matrix_new(ctx, "token_x_bf16", o->T, o->D, DSV4_BF16);
    n->x_sums = op_matrix_new(ctx, "x_sq_partial", o->T, tile_min(x->parts, tile_count(o->D, D_CHUNK)), DSV4_F32);
    n->qr_sums = op_matrix_new(ctx, "qr_sq_partial", o->T, tile_min(x->parts, tile_count(o->QL, L_CHUNK)), DSV4_F32);
    n->x_inverse = op_matrix_new(ctx, "x_inv_rms", o->T, 1, DSV4_F32);
    n->qr_inverse = op_matrix_new(ctx, "qr_inv_rms", o->T, 1, DSV4_F32);
    n->qr_bf16 = op_matrix_new(ctx, "qr_bf16", o->T, o->QL, DSV4_BF16);
    n->multiplier = op_matrix_new(ctx, "qr_scale_quant", o->T, 1, DSV4_F32);
    n->pairs = op_matrix_new(ctx, "q_rope_pair_stage", o->H * o->T, o->R, DSV4_BF16);
    n->turned = op_matrix_new(ctx, "q_rope_grp_fp32", o->H * o->T, o->R, DSV4_F32);
    n->kv_pairs = op_matrix_new(ctx, "kv_rot", o->T, o->R, DSV4_BF16);
    n->kv_turned = op_matrix_new(ctx, "kv_rope_full", o->T, o->R, DSV4_F32);
    n->select = new_select(ctx, o->R);
    if (x->folds_amax) {
        n->amax = op_matrix_new(ctx, "qr_amax_partial", o->T, tile_count(o->QL, QR_NORM_GROUP * L_CHUNK), DSV4_F32);
    }
    return n;
}

static void build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const norm_choice *x = choice;
    norm *n = new_norm(c, ctx, io, x);
    if (n == NULL) {
        return;
    }
    qkv *o = n->o;
    ablate_product low_rank = {.dtype = DSV4_BF16,
                               .t_tile = o->T,
                               .t_inner = o->T,
                               .n_tile = L_CHUNK,
                               .group = 1,
                               .k_tile = D_CHUNK,
                               .k_split = 1,
                               .ahead = x->ahead};
    ablate_product q = low_rank;
    q.dtype = DSV4_I8;
    q.n_tile = Q_N_TILE;
    q.group = Q_GROUP;
    q.k_tile = x->q_k_tile;
    q.ahead = 2;
    add_rms(ctx, n, (rms_stage){.x = n->raw, .sums = n->x_sums, .inverse = n->x_inverse, .chunk = D_CHUNK, .is_bf16 = true},
            (const char *const[]){"attn_norm_rms", "attn_norm_rms_partial", "attn_norm_rms_final"});
    add_apply(ctx, n);
    qkv_add_product(ctx, "qr_proj_matmul", &o->x, &o->wq_a, &o->a, low_rank);
    add_rms(ctx, n, (rms_stage){.x = o->a, .sums = n->qr_sums, .inverse = n->qr_inverse, .chunk = L_CHUNK},
            (const char *const[]){"qr_rms", "qr_rms_partial", "qr_rms_final"});
    add_qr_norm(ctx, n);
    add_quant(ctx, n);
    qkv_add_product(ctx, "qproj_matmul", &o->qr, &o->wq_b, &o->sums, q);
    qkv_add_dequant(ctx, o, DEQUANT_COLS, DEQUANT_COLS / Q_N_TILE);
    qkv_add_head_norm(ctx, o, 1);
    add_head_rope(ctx, n);
    qkv_add_product(ctx, "kv_proj_matmul", &o->x, &o->wkv, &o->kv_sums, low_rank);
    add_kv_norm(ctx, n);
    add_kv_rope(ctx, n);
}

/* ---- inputs and reference --------------------------------------------------------------------------------------------------------------- */

/* Plain loops over the reference's primitives: SPEC 2.2, but for the low-rank row, which is rounded to BF16 before it is quantised. */
typedef struct reference {
    int64_t T, D, QL, H, hd, R;
    const uint16_t *x, *wq_a, *wkv, *cos, *sin, *gamma_cq, *gamma_ckv; /* x: normalised */
    const int8_t *wq_b;
    const float *wq_b_scale;
    float eps;
    uint16_t *q, *kv;
    int8_t *qr;
    float *qr_scale;
    float *row; /* scratch [hd or QL, whichever is longer] */
    uint16_t *rounded;
    int32_t *sums;
} reference;

static void expect_low_rank(const reference *r, int64_t t)
{
    golden_matmul_bf16(r->x + t * r->D, r->wq_a, 1, r->D, r->QL, r->row);
    golden_rms_gamma(r->row, r->gamma_cq, r->QL, r->eps);
    golden_round(r->row, r->QL, r->rounded);
    golden_widen(r->rounded, r->QL, r->row);
    r->qr_scale[t] = golden_q8(r->row, r->QL, r->qr + t * r->QL);
}

static void expect_kv(const reference *r, int64_t t)
{
    golden_matmul_bf16(r->x + t * r->D, r->wkv, 1, r->D, r->hd, r->row);
    golden_rms_gamma(r->row, r->gamma_ckv, r->hd, r->eps);
    golden_rotate(r->row + r->hd - r->R, r->R, r->cos + t * r->R, r->sin + t * r->R);
    golden_round(r->row, r->hd, r->kv + t * r->hd);
}

static void expect_head(const reference *r, int64_t h)
{
    int64_t first = h * r->hd, width = r->H * r->hd;
    golden_matmul_i8(r->qr, r->wq_b + first, width, r->T, r->QL, r->hd, r->sums);
    for (int64_t t = 0; t < r->T; t++) {
        for (int64_t i = 0; i < r->hd; i++) {
            r->row[i] = ((float)r->sums[t * r->hd + i] * r->qr_scale[t]) * r->wq_b_scale[first + i];
        }
        golden_rms(r->row, r->hd, r->eps);
        golden_rotate(r->row + r->hd - r->R, r->R, r->cos + t * r->R, r->sin + t * r->R);
        golden_round(r->row, r->hd, r->q + t * width + first);
    }
}

static dsv4_status make_outputs(ablate_case *c, reference *r, dsv4_error *err)
{
    dsv4_status status = ablate_expect_matrix(c, "q", DSV4_BF16, r->T, r->H * r->hd, &r->q, err);
    if (status == DSV4_OK) {
        status = ablate_expect_matrix(c, "kv", DSV4_BF16, r->T, r->hd, &r->kv, err);
    }
    if (status == DSV4_OK) {
        status = ablate_expect_matrix(c, "qr", DSV4_I8, r->T, r->QL, &r->qr, err);
    }
    return status == DSV4_OK ? ablate_expect_matrix(c, "qr_scale", DSV4_F32, r->T, 1, &r->qr_scale, err) : status;
}

static dsv4_status expect(ablate_case *c, const dsv4_tensor *x, dsv4_error *err)
{
    arena memory = {0};
    reference r = {.T = x->shape[0],
                   .D = c->config.hidden_size,
                   .QL = c->config.q_lora_rank,
                   .H = c->config.num_attention_heads,
                   .hd = c->config.head_dim,
                   .R = c->config.qk_rope_head_dim,
                   .x = x->data,
                   .wq_a = ablate_input(c, "wq_a")->data,
                   .wkv = ablate_input(c, "wkv")->data,
                   .cos = ablate_input(c, "rope_cos")->data,
                   .sin = ablate_input(c, "rope_sin")->data,
                   .gamma_cq = ablate_input(c, "gamma_cq")->data,
                   .gamma_ckv = ablate_input(c, "gamma_ckv")->data,
                   .wq_b = ablate_input(c, "wq_b")->data,
                   .wq_b_scale = ablate_input(c, "wq_b_scale")->data,
                   .eps = (float)c->config.rms_norm_eps};
    size_t width = (size_t)tile_max(r.QL, r.hd);
    r.row = arena_alloc(&memory, width * sizeof(float));
    r.rounded = arena_alloc(&memory, width * sizeof(uint16_t));
    r.sums = arena_alloc(&memory, (size_t)(r.T * r.hd) * sizeof(int32_t));
    dsv4_status status = r.row == NULL || r.rounded == NULL || r.sums == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate norm: no memory for the reference")
                             : make_outputs(c, &r, err);
    for (int64_t t = 0; t < r.T && status == DSV4_OK; t++) {
        expect_low_rank(&r, t);
        expect_kv(&r, t);
    }
    for (int64_t h = 0; h < r.H && status == DSV4_OK; h++) {
        expect_head(&r, h);
    }
    arena_deinit(&memory);
    return status;
}

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const fix_rule gamma = {FIX_NORMAL, 1, 0.1, NULL};
    const dsv4_numerics numerics = {0};
    dsv4_tensor_list normed = {0};
    dsv4_tensor norm_w;
    dsv4_status status = qkv_draw(c, err);
    if (status == DSV4_OK) {
        status = dsv4_tensor_list_alloc(&c->inputs, "norm_w", DSV4_BF16, 1, &c->config.hidden_size, &norm_w, err);
    }
    if (status == DSV4_OK) {
        status = fix_fill("norm_w", &gamma, c->seed, &norm_w, NULL, err);
    }
    if (status == DSV4_OK) {
        status = golden_find("rmsnorm")->run(&c->config, &numerics, &c->inputs, &normed, NULL, err);
    }
    if (status == DSV4_OK) {
        status = expect(c, dsv4_tensor_list_find(&normed, "x_normed"), err);
    }
    dsv4_tensor_list_deinit(&normed);
    return status;
}

const ablate_study ablate_norm = {
    .name = "norm",
    .title = "Partial sums, folded amax, deeper tiles",
    .kernel = "the norm and qkv_proj_rope, decode, 128 tokens",
    .text = "The norm in front of qkv_proj_rope and the kernel itself, as stages over all rows and a range of "
            "columns. Sums of squares are made by one block, or in parts that another stage adds: two parts, as "
            "their sum has one order on every device, or four. The scale of the INT8 quantiser needs the largest "
            "value of a row: a stage of its own reads all values again, or each block of the norm leaves the "
            "largest of its own (of the values rounded to BF16, as the quantiser reads them, so the scale keeps "
            "every bit) and a tiny stage takes the largest of these. The q projection loads K tiles of 256 or 512 "
            "values, and the low-rank products keep 2 or 4 loads in flight.\n\nThe low-rank row is rounded to BF16 "
            "before it is quantised, as the kernel of that time did; the reference of this study does so, "
            "too.\n\nMore than two parts shorten the sums further and the kernel hardly: what is left is no longer "
            "them. Loads in flight make no difference on the device where a K step waits for bandwidth; they hide "
            "latency, and a step of 128 values of 32 columns is mostly wasted lines.",
    .prepare = prepare,
    .build = build,
    .outputs = qkv_outputs,
    .n_outputs = QKV_N_OUTPUTS,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
