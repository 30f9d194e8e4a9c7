#include "cli/ablate/norm.h"
#include "ops/rms.h"

enum { APPLY_GROUP = 4, QUANT_COLS = 256 };

/* ---- sums of squares -------------------------------------------------------------------------------------------------------- */

static float chunk_squares(const ablate_stage *s, const norm_rms *r, int64_t t, int64_t chunk, float *scratch)
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
    const norm_rms *r = s->arg;
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
    const norm_rms *r = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        *op_matrix_f32(&r->inverse, t, 0) = op_inverse_rms(op_matrix_f32(&r->sums, t, 0), r->sums.cols, r->x.cols, r->o->eps);
    }
}

static const ablate_axis index_of_cols = {.source = ABLATE_COL_INDEX};

void norm_add_rms(const op_context *ctx, const qkv *o, int64_t parts, norm_rms r, const char *const *names)
{
    norm_rms *arg = dsv4_graph_memory(ctx->g, sizeof *arg);
    if (arg == NULL) {
        return;
    }
    r.o = o;
    r.is_serial = parts == 1;
    *arg = r;
    int64_t chunks = tile_count(r.x.cols, r.chunk);
    ablate_stage_add(ctx, &(ablate_stage){.name = names[r.is_serial ? 0 : 1],
                                          .grid = {o->T, o->T, chunks, tile_count(chunks, parts), 0},
                                          .uses = {{DSV4_READ, &r.x, ablate_rows, {ABLATE_COLS, r.chunk, 0, r.chunk}},
                                                   {DSV4_WRITE, r.is_serial ? &r.inverse : &r.sums, ablate_rows, index_of_cols}},
                                          .run = run_sums,
                                          .arg = arg,
                                          .scratch_bytes = (size_t)r.chunk * sizeof(float),
                                          .vector_ops = (double)(r.chunk * (r.is_bf16 ? 3 : 2)),
                                          .loads = tile_count(chunks, parts)});
    if (!r.is_serial) {
        ablate_stage_add(ctx, &(ablate_stage){.name = names[2],
                                              .grid = {o->T, o->T, 1, 1, 0},
                                              .uses = {{DSV4_READ, &r.sums, ablate_rows, ablate_all},
                                                       {DSV4_WRITE, &r.inverse, ablate_rows, ablate_all}},
                                              .run = run_final,
                                              .arg = arg,
                                              .vector_ops = (double)parts + 3});
    }
}

/* ---- norms ------------------------------------------------------------------------------------------------------------------ */

static void run_apply(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const norm *n = s->arg;
    int64_t begin = tile->col.begin * NORM_D_CHUNK, end = tile_min(tile->col.end * NORM_D_CHUNK, n->o->D);
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->widen_bf16(end - begin, ablate_bf16(&n->raw, t, begin), scratch);
        s->uk->scale_gamma(end - begin, scratch, *op_matrix_f32(&n->x_inverse, t, 0), ablate_bf16(&n->norm_w, 0, begin), scratch);
        s->uk->narrow_bf16(end - begin, scratch, ablate_bf16(&n->o->x, t, begin));
    }
}

void norm_add_apply(const op_context *ctx, const norm *n)
{
    const ablate_axis chunks = {ABLATE_COLS, NORM_D_CHUNK, 0, NORM_D_CHUNK};
    ablate_stage_add(ctx, &(ablate_stage){.name = "attn_norm_apply",
                                          .grid = {n->o->T, n->o->T, tile_count(n->o->D, NORM_D_CHUNK), APPLY_GROUP, 0},
                                          .uses = {{DSV4_READ, &n->raw, ablate_rows, chunks},
                                                   {DSV4_READ, &n->x_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &n->norm_w, ablate_all, chunks},
                                                   {DSV4_WRITE, &n->o->x, ablate_rows, chunks}},
                                          .run = run_apply,
                                          .arg = n,
                                          .scratch_bytes = APPLY_GROUP * NORM_D_CHUNK * sizeof(float),
                                          .vector_ops = 4 * NORM_D_CHUNK,
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
    int64_t begin = tile->col.begin * NORM_L_CHUNK, end = tile_min(tile->col.end * NORM_L_CHUNK, n->o->QL);
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

void norm_add_low_rank(const op_context *ctx, const norm *n)
{
    const ablate_axis chunks = {ABLATE_COLS, NORM_L_CHUNK, 0, NORM_L_CHUNK};
    bool folds = n->amax.data != NULL;
    ablate_stage_add(ctx, &(ablate_stage){.name = "qr_norm_apply",
                                          .grid = {n->o->T, n->o->T, tile_count(n->o->QL, NORM_L_CHUNK), NORM_L_GROUP, 0},
                                          .uses = {{DSV4_READ, &n->o->a, ablate_rows, chunks},
                                                   {DSV4_READ, &n->qr_inverse, ablate_rows, ablate_all},
                                                   {DSV4_READ, &n->o->gamma_cq, ablate_all, chunks},
                                                   {DSV4_WRITE, &n->qr_bf16, ablate_rows, chunks},
                                                   {folds ? DSV4_WRITE : 0, &n->amax, ablate_rows, index_of_cols}},
                                          .run = run_qr_norm,
                                          .arg = n,
                                          .scratch_bytes = NORM_L_GROUP * NORM_L_CHUNK * sizeof(float),
                                          .vector_ops = (folds ? 7 : 3) * NORM_L_CHUNK,
                                          .loads = NORM_L_GROUP});
}

/* ---- quantising ------------------------------------------------------------------------------------------------------------- */

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

/* Without a fold one block reads all values once more, in chunks of NORM_L_CHUNK. */
void norm_add_quant(const op_context *ctx, const norm *n)
{
    int64_t T = n->o->T, QL = n->o->QL, chunks = tile_count(QL, NORM_L_CHUNK);
    bool folds = n->amax.data != NULL;
    const ablate_axis values = {ABLATE_COLS, NORM_L_CHUNK, 0, NORM_L_CHUNK};
    ablate_stage_add(ctx,
                     &(ablate_stage){.name = "qr_quant_amax",
                                     .grid = {T, T, chunks, chunks, 0},
                                     .uses = {{DSV4_READ, folds ? &n->amax : &n->qr_bf16, ablate_rows, folds ? ablate_all : values},
                                              {DSV4_WRITE, &n->multiplier, ablate_rows, ablate_all},
                                              {DSV4_WRITE, &n->o->qr_scale, ablate_rows, ablate_all}},
                                     .run = run_amax,
                                     .arg = n,
                                     .scratch_bytes = (size_t)QL * sizeof(float),
                                     .vector_ops = folds ? 1 : 4 * NORM_L_CHUNK,
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
                                          .loads = QUANT_COLS / NORM_L_CHUNK});
}
