/* cli/ablate/norm_rotation.c - even and odd elements apart, rotated, then brought together by a product with a selection. */
#include "cli/ablate/norm.h"

enum { HEAD_GROUP = 8 };

/* ---- heads ------------------------------------------------------------------------------------------------------------------ */

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

void norm_add_head_rope(const op_context *ctx, const norm *n)
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

/* ---- the key/value row ------------------------------------------------------------------------------------------------------ */

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
    norm_add_rms(ctx, o, 1, (norm_rms){.x = o->kv_sums, .inverse = o->kv_inverse, .chunk = NORM_L_CHUNK},
                 (const char *const[]){"kv_rms", NULL, NULL});
    ablate_stage_add(ctx, &(ablate_stage){.name = "kv_norm_nope",
                                          .grid = {o->T, o->T, o->nope, NORM_L_CHUNK, 0},
                                          .uses = {{DSV4_READ, &o->kv_sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->kv_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->gamma_ckv, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->kv, ablate_rows, ablate_cols}},
                                          .run = run_kv_norm,
                                          .arg = n,
                                          .scratch_bytes = NORM_L_CHUNK * sizeof(float),
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

void norm_add_kv(const op_context *ctx, const norm *n)
{
    add_kv_norm(ctx, n);
    add_kv_rope(ctx, n);
}
