#include "cli/ablate/qkv.h"

#include <string.h>

#include "ops/rms.h"

const ablate_output qkv_outputs[QKV_N_OUTPUTS] = {
    {"q", {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
    {"kv", {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
    {"qr", {CMP_RATIO, 1, 0, 0, 0}, NULL},
    {"qr_scale", {CMP_RATIO, 2.5e-5, 5e-3, 0.005, 0}, NULL},
};

/* ---- inputs ----------------------------------------------------------------------------------------------------------------- */

dsv4_status qkv_draw(ablate_case *c, dsv4_error *err)
{
    op_call call = {.mode = DSV4_DECODE, .n_requests = c->tiny ? 8 : 64, .n_tokens = 2, .start_pos = 64, .seed = c->seed};
    return op_draw_inputs(&op_qkv_proj_rope, &c->config, &call, &c->inputs, err);
}

/* ---- matrices --------------------------------------------------------------------------------------------------------------- */

static op_matrix output(const op_context *ctx, const dsv4_tensor_list *io, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(io, name);
    return op_matrix_of(ctx, name, t, t->n_dims - 1);
}

static void set_dimensions(qkv *o, const dsv4_config *config)
{
    o->T = o->q.rows;
    o->D = config->hidden_size;
    o->QL = config->q_lora_rank;
    o->H = config->num_attention_heads;
    o->hd = config->head_dim;
    o->R = config->qk_rope_head_dim;
    o->nope = o->hd - o->R;
    o->eps = (float)config->rms_norm_eps;
}

qkv *qkv_new(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, int64_t qr_splits, int64_t kv_splits)
{
    qkv *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    *o = (qkv){.wq_a = ablate_input_matrix(c, ctx, "wq_a", 1),
               .wq_b = ablate_input_matrix(c, ctx, "wq_b", 1),
               .wq_b_scale = ablate_input_matrix(c, ctx, "wq_b_scale", 1),
               .wkv = ablate_input_matrix(c, ctx, "wkv", 1),
               .cos = ablate_input_matrix(c, ctx, "rope_cos", 1),
               .sin = ablate_input_matrix(c, ctx, "rope_sin", 1),
               .gamma_cq = ablate_input_matrix(c, ctx, "gamma_cq", 1),
               .gamma_ckv = ablate_input_matrix(c, ctx, "gamma_ckv", 1),
               .q = output(ctx, io, "q"),
               .kv = output(ctx, io, "kv"),
               .qr = output(ctx, io, "qr"),
               .qr_scale = output(ctx, io, "qr_scale"),
               .qr_splits = qr_splits,
               .kv_splits = kv_splits};
    set_dimensions(o, &c->config);
    o->a = op_matrix_new(ctx, "qr_fp32", o->T, qr_splits * o->QL, DSV4_F32);
    o->kv_sums = op_matrix_new(ctx, "kv_fp32", o->T, kv_splits * o->hd, DSV4_F32);
    o->sums = op_matrix_new(ctx, "q_proj_i32", o->T, o->H * o->hd, DSV4_I32);
    o->heads = op_matrix_new(ctx, "q_proj_fp32", o->T, o->H * o->hd, DSV4_F32);
    o->head_inverse = op_matrix_new(ctx, "q_head_inv_rms", o->T, o->H, DSV4_F32);
    o->kv_inverse = op_matrix_new(ctx, "kv_inv_rms", o->T, 1, DSV4_F32);
    return o;
}

/* ---- products --------------------------------------------------------------------------------------------------------------- */

void qkv_add_product(const op_context *ctx, const char *name, const op_matrix *x, const op_matrix *w, const op_matrix *y,
                     ablate_product tiles)
{
    tiles.name = name;
    tiles.x = *x;
    tiles.w = *w;
    tiles.y = *y;
    ablate_product_add(ctx, &tiles);
}

static void run_dequant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->dequant_i32(tile->col.end - tile->col.begin, ablate_i32(&o->sums, t, tile->col.begin),
                           *op_matrix_f32(&o->qr_scale, t, 0), op_matrix_f32(&o->wq_b_scale, 0, tile->col.begin),
                           op_matrix_f32(&o->heads, t, tile->col.begin));
    }
}

void qkv_add_dequant(const op_context *ctx, const qkv *o, int64_t cols, int64_t loads)
{
    ablate_stage_add(ctx, &(ablate_stage){.name = "qproj_dequant",
                                          .grid = {o->T, o->T, o->H * o->hd, cols, 0},
                                          .uses = {{DSV4_READ, &o->sums, ablate_rows, ablate_cols},
                                                   {DSV4_READ, &o->qr_scale, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->wq_b_scale, ablate_all, ablate_cols},
                                                   {DSV4_WRITE, &o->heads, ablate_rows, ablate_cols}},
                                          .run = run_dequant,
                                          .arg = o,
                                          .vector_ops = 3,
                                          .loads = loads});
}

/* ---- heads ------------------------------------------------------------------------------------------------------------------ */

void qkv_rotate(const uk_table *uk, const qkv *o, int64_t t, const float *x, float inv, float *y)
{
    uk->scale(o->R, x, inv, y);
    ablate_rotate(uk, o->R / 2, ablate_bf16(&o->cos, t, 0), ablate_bf16(&o->sin, t, 0), y + o->R, y);
}

/* dst = the last R of a row of hd values, times inv, rotated by token t's angles. */
static void rotate_to(const ablate_stage *s, const qkv *o, int64_t t, const float *row, float inv, float *work, uint16_t *dst)
{
    qkv_rotate(s->uk, o, t, row, inv, work);
    s->uk->narrow_bf16(o->R, work, dst);
}

static void run_head_norm(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
        for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
            const float *head = op_matrix_f32(&o->heads, t, h * o->hd);
            float inv = op_row_inverse_rms(s->uk, head, o->hd, o->eps);
            *op_matrix_f32(&o->head_inverse, t, h) = inv;
            s->uk->scale(o->nope, head, inv, scratch);
            s->uk->narrow_bf16(o->nope, scratch, ablate_bf16(&o->q, t, h * o->hd));
        }
    }
}

static void run_head_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
        for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
            int64_t col = h * o->hd + o->nope;
            rotate_to(s, o, t, op_matrix_f32(&o->heads, t, col), *op_matrix_f32(&o->head_inverse, t, h), scratch,
                      ablate_bf16(&o->q, t, col));
        }
    }
}

static void run_head_fused(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
        for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
            const float *head = op_matrix_f32(&o->heads, t, h * o->hd);
            float inv = op_row_inverse_rms(s->uk, head, o->hd, o->eps);
            s->uk->scale(o->nope, head, inv, scratch);
            s->uk->narrow_bf16(o->nope, scratch, ablate_bf16(&o->q, t, h * o->hd));
            rotate_to(s, o, t, head + o->nope, inv, scratch, ablate_bf16(&o->q, t, h * o->hd + o->nope));
        }
    }
}

/* Vector operations for a token: norm of a row of hd with `factors` multiplications; rotation. */
static double norm_ops(const qkv *o, int factors)
{
    return 2.0 * (double)o->hd + (1.0 + factors) * (double)o->nope;
}

static double rope_ops(const qkv *o, int factors)
{
    return (6.0 + factors) * (double)o->R;
}

enum { NORM_USES = 4, ROPE_USES = 5, INVERSE = 1 /* their last use: between two stages alone */ };

static ablate_stage head_stage(const qkv *o, int64_t head_group)
{
    return (ablate_stage){
        .grid = {o->T, o->T, o->H, head_group, 0}, .arg = o, .scratch_bytes = (size_t)(o->hd + 2 * o->R) * sizeof(float)};
}

/* Pieces of HEAD_PIECE columns of HEAD_ROWS rows: a head twice, its rotary part, cosines and sines once. */
enum { HEAD_ROWS = 32, HEAD_PIECE = 64, KV_PIECE = 32 };

static int64_t norm_loads(const qkv *o, int64_t heads)
{
    return tile_count(o->T, HEAD_ROWS) * heads * (tile_count(o->hd, HEAD_PIECE) + tile_count(o->nope, HEAD_PIECE));
}

static int64_t rope_loads(const qkv *o, int64_t heads)
{
    return tile_count(o->T, HEAD_ROWS) * (2 + heads);
}

/* A head is read twice: for its sum, then again where it is scaled. */
static void set_norm_uses(const qkv *o, ablate_use *uses)
{
    const ablate_axis head = {ABLATE_COLS, o->hd, 0, o->hd}, nope = {ABLATE_COLS, o->hd, 0, o->nope};
    uses[0] = (ablate_use){DSV4_READ, &o->heads, ablate_rows, head};
    uses[1] = (ablate_use){DSV4_READ, &o->heads, ablate_rows, nope};
    uses[2] = (ablate_use){DSV4_WRITE, &o->q, ablate_rows, nope};
    uses[3] = (ablate_use){DSV4_WRITE, &o->head_inverse, ablate_rows, ablate_cols};
}

static void set_rope_uses(const qkv *o, ablate_use *uses)
{
    const ablate_axis rope = {ABLATE_COLS, o->hd, o->nope, o->R};
    uses[0] = (ablate_use){DSV4_READ, &o->heads, ablate_rows, rope};
    uses[1] = (ablate_use){DSV4_READ, &o->cos, ablate_rows, ablate_all};
    uses[2] = (ablate_use){DSV4_READ, &o->sin, ablate_rows, ablate_all};
    uses[3] = (ablate_use){DSV4_WRITE, &o->q, ablate_rows, rope};
    uses[4] = (ablate_use){DSV4_READ, &o->head_inverse, ablate_rows, ablate_cols};
}

void qkv_add_head_norm(const op_context *ctx, const qkv *o, int64_t head_group)
{
    ablate_stage stage = head_stage(o, head_group);
    set_norm_uses(o, stage.uses);
    stage.name = "q_head_rms_nope";
    stage.run = run_head_norm;
    stage.vector_ops = norm_ops(o, 1);
    stage.loads = norm_loads(o, head_group);
    ablate_stage_add(ctx, &stage);
}

static void add_head_rope(const op_context *ctx, const qkv *o, int64_t head_group)
{
    ablate_stage stage = head_stage(o, head_group);
    set_rope_uses(o, stage.uses);
    stage.name = "q_head_rope";
    stage.run = run_head_rope;
    stage.vector_ops = rope_ops(o, 1);
    stage.loads = rope_loads(o, head_group);
    ablate_stage_add(ctx, &stage);
}

void qkv_add_heads(const op_context *ctx, const qkv *o, bool fused, int64_t head_group)
{
    if (!fused) {
        qkv_add_head_norm(ctx, o, head_group);
        add_head_rope(ctx, o, head_group);
        return;
    }
    ablate_stage stage = head_stage(o, head_group);
    set_norm_uses(o, stage.uses);
    set_rope_uses(o, stage.uses + NORM_USES - INVERSE);
    stage.uses[NORM_USES - INVERSE + ROPE_USES - INVERSE].mode = 0;
    stage.name = "q_head_rms_nope_rope";
    stage.run = run_head_fused;
    stage.vector_ops = norm_ops(o, 1) + rope_ops(o, 1);
    stage.loads = norm_loads(o, head_group) + rope_loads(o, head_group);
    ablate_stage_add(ctx, &stage);
}

/* ---- the key/value row ------------------------------------------------------------------------------------------------------ */

/* row = the sums of token t, its splits added. */
static void kv_row(const ablate_stage *s, const qkv *o, int64_t t, float *row)
{
    s->uk->sum_parts(o->hd, o->kv_splits, op_matrix_f32(&o->kv_sums, t, 0), o->hd, row);
}

/* Normalised columns but the last R to kv. */
static void kv_write_nope(const ablate_stage *s, const qkv *o, int64_t t, float *row, float inv)
{
    s->uk->scale_gamma(o->hd, row, inv, o->gamma_ckv.data, row);
    s->uk->narrow_bf16(o->nope, row, ablate_bf16(&o->kv, t, 0));
}

static void run_kv_norm(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        kv_row(s, o, t, scratch);
        float inv = op_row_inverse_rms(s->uk, scratch, o->hd, o->eps);
        *op_matrix_f32(&o->kv_inverse, t, 0) = inv;
        kv_write_nope(s, o, t, scratch, inv);
    }
}

static void run_kv_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    float *row = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->sum_parts(o->R, o->kv_splits, op_matrix_f32(&o->kv_sums, t, o->nope), o->hd, row);
        s->uk->scale_gamma(o->R, row, *op_matrix_f32(&o->kv_inverse, t, 0), ablate_bf16(&o->gamma_ckv, 0, o->nope), row);
        rotate_to(s, o, t, row, 1.0f, row + o->hd, ablate_bf16(&o->kv, t, o->nope));
    }
}

static void run_kv_fused(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const qkv *o = s->arg;
    float *row = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        kv_row(s, o, t, row);
        kv_write_nope(s, o, t, row, op_row_inverse_rms(s->uk, row, o->hd, o->eps));
        rotate_to(s, o, t, row + o->nope, 1.0f, row + o->hd, ablate_bf16(&o->kv, t, o->nope));
    }
}

/* Columns of the grid are the shares of the sums. ops: for a token. */
static void add_kv_stage(const op_context *ctx, const qkv *o, const char *name, ablate_body *run, int64_t t_tile, double ops,
                         int64_t loads, const ablate_use *uses, size_t n_uses)
{
    ablate_stage stage = {.name = name,
                          .grid = {o->T, t_tile, o->kv_splits, o->kv_splits, 0},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = (size_t)(o->hd + 2 * o->R) * sizeof(float),
                          .vector_ops = ops / (double)o->kv_splits + (double)o->hd,
                          .loads = loads};
    memcpy(stage.uses, uses, n_uses * sizeof *uses);
    ablate_stage_add(ctx, &stage);
}

void qkv_add_kv(const op_context *ctx, const qkv *o, bool fused, int64_t norm_rows, int64_t rope_rows)
{
    const ablate_axis nope = {ABLATE_FIXED, 1, 0, o->nope}, rope = {ABLATE_FIXED, 1, o->nope, o->R},
                      shares = {ABLATE_COLS, o->hd, o->nope, o->R};
    const ablate_use uses[] = {
        {DSV4_READ, &o->kv_sums, ablate_rows, ablate_all},  {DSV4_READ, &o->kv_sums, ablate_rows, ablate_all},
        {DSV4_READ, &o->gamma_ckv, ablate_all, ablate_all}, {DSV4_READ, &o->cos, ablate_rows, ablate_all},
        {DSV4_READ, &o->sin, ablate_rows, ablate_all},      {DSV4_WRITE, &o->kv, ablate_rows, ablate_all}};
    const ablate_use norm_uses[] = {{DSV4_READ, &o->kv_sums, ablate_rows, ablate_all},
                                    {DSV4_READ, &o->kv_sums, ablate_rows, ablate_all},
                                    {DSV4_READ, &o->gamma_ckv, ablate_all, ablate_all},
                                    {DSV4_WRITE, &o->kv, ablate_rows, nope},
                                    {DSV4_WRITE, &o->kv_inverse, ablate_rows, ablate_all}};
    const ablate_use rope_uses[] = {
        {DSV4_READ, &o->kv_inverse, ablate_rows, ablate_all}, {DSV4_READ, &o->kv_sums, ablate_rows, shares},
        {DSV4_READ, &o->gamma_ckv, ablate_all, rope},         {DSV4_READ, &o->cos, ablate_rows, ablate_all},
        {DSV4_READ, &o->sin, ablate_rows, ablate_all},        {DSV4_WRITE, &o->kv, ablate_rows, rope}};
    const int64_t n_norm = o->kv_splits * (tile_count(o->hd, KV_PIECE) + tile_count(o->nope, KV_PIECE)), n_rope = 2 + o->kv_splits;
    if (fused) {
        add_kv_stage(ctx, o, "kv_rms_norm_rope", run_kv_fused, norm_rows, norm_ops(o, 2) + rope_ops(o, 2), n_norm + n_rope, uses,
                     6);
    } else {
        add_kv_stage(ctx, o, "kv_rms_norm", run_kv_norm, norm_rows, norm_ops(o, 2), n_norm, norm_uses, 5);
        add_kv_stage(ctx, o, "kv_rope", run_kv_rope, rope_rows, rope_ops(o, 2), n_rope, rope_uses, 6);
    }
}
