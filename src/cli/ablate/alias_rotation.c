/* cli/ablate/alias_rotation.c - the loop over groups of tokens: heads rotated, multiplied by the Hadamard matrix, quantised.
 *
 * The rotation is four tasks: even and odd elements apart by a product, rotated, together by a product, written. A tracker of whole
 * tensors is played by one byte that stands for the tensor: who reads any part of the tensor reads it, who writes any part updates
 * it. */
#include <string.h>

#include "base/numbers.h"
#include "cli/ablate/alias.h"

enum { SELECT_K = 16, HEAD_PIECE = 32 };

/* ---- rotation --------------------------------------------------------------------------------------------------------------- */

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
static tile_range head_rows(const alias_indexer *o, const ablate_tile *tile)
{
    return (tile_range){tile->row.begin * o->IH, tile->row.end * o->IH};
}

static void run_slice(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        select_row(ablate_bf16(&o->heads, i, o->ID - o->R), o->R, &o->takes_apart, op_matrix_f32(&o->apart, i, 0));
    }
}

static void run_turn(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
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
    const alias_indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        select_row(ablate_bf16(&o->turned, i, 0), o->R, &o->puts_together, op_matrix_f32(&o->together, i, 0));
    }
}

/* Where the rotated elements of a row of heads go. */
static uint16_t *rotated(const alias_indexer *o, int64_t row)
{
    return o->choice.aliased ? ablate_bf16(&o->heads, row, o->ID - o->R) : ablate_bf16(&o->fresh, row, 0);
}

static void run_write(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        s->uk->narrow_bf16(o->R, op_matrix_f32(&o->together, i, 0), rotated(o, i));
    }
}

/* The stage for tokens [t, t + n), one block. */
static ablate_stage token_stage(const alias_indexer *o, const char *name, dsv4_core_kind kind, ablate_body *run, int64_t t,
                                int64_t n)
{
    int64_t group = tile_min(n, o->T - t);
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {group, group, 1, 1, t},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = (size_t)(o->R) * sizeof(float)};
}

static void add_rotation(const op_context *ctx, const alias_indexer *o, int64_t t, int64_t n)
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

/* ---- Hadamard --------------------------------------------------------------------------------------------------------------- */

/* product = the rows' first and last columns, each times their rows of the Hadamard matrix. */
static void run_hadamard(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
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
    const alias_indexer *o = s->arg;
    tile_range r = head_rows(o, tile);
    (void)scratch;
    for (int64_t i = r.begin; i < r.end; i++) {
        const float *row = op_matrix_f32(&o->product, i, 0);
        *op_matrix_f32(&o->q_scale, i, 0) = ablate_q8(s->uk, o->ID, row, ablate_i8(&o->q_i8, i, 0));
    }
}

static void add_hadamard(const op_context *ctx, const alias_indexer *o, int64_t t, int64_t n)
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

static void add_quant(const op_context *ctx, const alias_indexer *o, int64_t t, int64_t n)
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
void alias_add_heads(const op_context *ctx, const alias_indexer *o)
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
