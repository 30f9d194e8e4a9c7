/* ops/hc.c - hyper-connections: mixing M streams into one row, and spreading a row over them (SPEC 6.1 - 6.3).
 *
 * MATH      pre:   mix = (f fn^T) * inv(f), f the M*D values of a token;  pre = sigmoid(mix*scale0 + base) + eps,
 *                  post = 2*sigmoid(mix*scale1 + base),  comb = sinkhorn(softmax_rows(mix*scale2 + base) + eps);
 *                  x_mixed = bf(sum over k ascending of x_k * pre_k)
 *           head:  only pre;  x_mixed = bf((x0*p0 + x1*p1) + (x2*p2 + x3*p3) + ...)
 *           post:  y_j = bf(((x*post_j + r_0*comb_0j) + r_1*comb_1j) + ...)
 * SHAPES    x, residual, y bf16[T,M*D]  fn f32[(2+M)*M,M*D]  ->  x_mixed bf16[T,D]  post f32[T,M]  comb f32[T,M*M]
 *           scratch pre f32[T,M], squares f32[T, chunks of M*D]
 * STAGES    hc.project  [t_tile x n_tile x k_split]  x, fn -> partial sums of mix
 *           hc.squares  [t_tile x part of M*D]       x -> squares
 *           hc.gates    [1 token]                    partial sums, squares, scale, base -> pre, post, comb
 *           hc.mix      [t_tile x part of D]         x, pre -> x_mixed
 *           hc.post     [t_tile x part of D]         x, residual, post, comb -> y
 * NUMERICS  f32; products and squares summed in chunks of 512 (ops/chunk.h); each product of a mix rounded, then added; rounded to
 *           bf16 once, ties to even. */
#include "ops/hc.h"

#include "ops/chunk.h"
#include "ops/hc_gates.h"
#include "ops/rms.h"

/* ---- from streams to gates ------------------------------------------------------------------------------------------------ */

typedef struct gates {
    const uk_table *uk;
    op_matrix x, scale, base, squares, pre, post, comb;
    op_product mix;
    op_part_grid grid; /* of x, for the squares */
    int64_t M, n_mix;
    float rms_eps;
    op_hc_rule rule;
} gates;

static void describe_squares(const void *arg, int64_t block, dsv4_describe *d)
{
    const gates *o = arg;
    op_part part = op_part_at(&o->grid, block);
    dsv4_reads(d, o->x.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    dsv4_writes(d, o->squares.view, part.t.begin, part.t.end, part.chunk.begin, part.chunk.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * op_part_elements(&part)});
}

static void run_squares(const void *arg, int64_t block, void *scratch)
{
    const gates *o = arg;
    op_part part = op_part_at(&o->grid, block);
    for (int64_t t = part.t.begin; t < part.t.end; t++) {
        for (int64_t chunk = part.chunk.begin; chunk < part.chunk.end; chunk++) {
            tile_range col = tile_at(chunk, OP_SUM_CHUNK, o->x.cols);
            o->uk->widen_bf16(col.end - col.begin, (const uint16_t *)o->x.data + t * o->x.ld + col.begin, scratch);
            ((float *)o->squares.data)[t * o->squares.ld + chunk] = o->uk->sum_squares(col.end - col.begin, scratch);
        }
    }
}

static void describe_gates(const void *arg, int64_t t, dsv4_describe *d)
{
    const gates *o = arg;
    op_product_reads(d, &o->mix, t, t + 1, 0, o->n_mix);
    dsv4_reads(d, o->squares.view, t, t + 1, 0, o->squares.cols);
    dsv4_reads(d, o->scale.view, 0, 1, 0, o->scale.cols);
    dsv4_reads(d, o->base.view, 0, 1, 0, o->base.cols);
    dsv4_writes(d, o->pre.view, t, t + 1, 0, o->M);
    if (o->post.data != NULL) {
        dsv4_writes(d, o->post.view, t, t + 1, 0, o->M);
        dsv4_writes(d, o->comb.view, t, t + 1, 0, o->M * o->M);
    }
    dsv4_costs(d,
               (dsv4_work){.vector_ops = (double)(o->n_mix * (o->mix.n_partials + 20) + o->rule.n_iterations * o->M * o->M * 4)});
}

static void run_gates(const void *arg, int64_t t, void *scratch)
{
    const gates *o = arg;
    float *mix = scratch;
    op_product_row(o->uk, &o->mix, t, 0, o->n_mix, mix);
    float inv = op_inverse_rms((const float *)o->squares.data + t * o->squares.ld, o->squares.cols, o->x.cols, o->rms_eps);
    o->uk->scale(o->n_mix, mix, inv, mix);
    bool is_head = o->post.data == NULL;
    op_hc_gates(o->uk, &o->rule, (const float *)o->scale.data, (const float *)o->base.data, mix, (float *)o->pre.data + t * o->M,
                is_head ? NULL : (float *)o->post.data + t * o->M, is_head ? NULL : (float *)o->comb.data + t * o->M * o->M);
}

/* ---- streams mixed into a row, and a row spread over them ---------------------------------------------------------------- */

typedef struct streams {
    const uk_table *uk;
    op_matrix row, many;  /* BF16 [T, D], [T, M*D] */
    op_matrix pre;        /* mixing */
    op_matrix post, comb; /* spreading */
    op_matrix residual;
    op_part_grid grid; /* of row */
    int64_t M;
    bool in_pairs;
} streams;

static void describe_mix(const void *arg, int64_t block, dsv4_describe *d)
{
    const streams *o = arg;
    op_part part = op_part_at(&o->grid, block);
    for (int64_t k = 0; k < o->M; k++) {
        dsv4_reads(d, o->many.view, part.t.begin, part.t.end, k * o->row.cols + part.col.begin, k * o->row.cols + part.col.end);
    }
    dsv4_reads(d, o->pre.view, part.t.begin, part.t.end, 0, o->M);
    dsv4_writes(d, o->row.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2 * (double)o->M * op_part_elements(&part)});
}

static const uint16_t *stream_at(const op_matrix *many, int64_t t, int64_t k, int64_t D, int64_t col)
{
    return (const uint16_t *)many->data + t * many->ld + k * D + col;
}

/* One chunk of a row as a sum of pairs: each pair of streams is summed by itself first. scratch: two chunks and a stream. */
static void mix_in_pairs(const streams *o, int64_t t, tile_range col, float *scratch)
{
    int64_t width = col.end - col.begin;
    const float *pre = (const float *)o->pre.data + t * o->pre.ld;
    float *sum = scratch, *pair = sum + OP_SUM_CHUNK, *x = pair + OP_SUM_CHUNK;
    for (int64_t k = 0; k < o->M; k++) {
        o->uk->widen_bf16(width, stream_at(&o->many, t, k, o->row.cols, col.begin), x);
        if (k % 2 == 0) {
            o->uk->scale(width, x, pre[k], k == 0 ? sum : pair);
        } else {
            o->uk->add_scaled(width, pre[k], x, k > 1 ? pair : sum);
        }
        if (k > 1 && (k % 2 == 1 || k == o->M - 1)) {
            o->uk->add(width, pair, sum);
        }
    }
    o->uk->narrow_bf16(width, sum, (uint16_t *)o->row.data + t * o->row.ld + col.begin);
}

/* Columns of a row as a sum over ascending streams. rows: [M]. */
static void mix_ascending(const streams *o, int64_t t, tile_range col, const uint16_t **rows)
{
    for (int64_t k = 0; k < o->M; k++) {
        rows[k] = stream_at(&o->many, t, k, o->row.cols, col.begin);
    }
    o->uk->weigh_rows(col.end - col.begin, o->M, rows, (const float *)o->pre.data + t * o->pre.ld,
                      (uint16_t *)o->row.data + t * o->row.ld + col.begin);
}

static void run_mix(const void *arg, int64_t block, void *scratch)
{
    const streams *o = arg;
    op_part part = op_part_at(&o->grid, block);
    for (int64_t t = part.t.begin; t < part.t.end; t++) {
        for (int64_t chunk = part.chunk.begin; o->in_pairs && chunk < part.chunk.end; chunk++) {
            mix_in_pairs(o, t, tile_at(chunk, OP_SUM_CHUNK, o->row.cols), scratch);
        }
        if (!o->in_pairs) {
            mix_ascending(o, t, part.col, scratch);
        }
    }
}

static void describe_post(const void *arg, int64_t block, dsv4_describe *d)
{
    const streams *o = arg;
    op_part part = op_part_at(&o->grid, block);
    dsv4_reads(d, o->row.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    dsv4_reads(d, o->post.view, part.t.begin, part.t.end, 0, o->M);
    dsv4_reads(d, o->comb.view, part.t.begin, part.t.end, 0, o->M * o->M);
    for (int64_t k = 0; k < o->M; k++) {
        int64_t begin = k * o->row.cols + part.col.begin, end = k * o->row.cols + part.col.end;
        dsv4_reads(d, o->residual.view, part.t.begin, part.t.end, begin, end);
        dsv4_writes(d, o->many.view, part.t.begin, part.t.end, begin, end);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)(o->M * (o->M + 1)) * op_part_elements(&part)});
}

/* Stream j of a token is post_j times the block's output, then each residual stream k by comb_kj, ascending. */
static void run_post(const void *arg, int64_t block, void *scratch)
{
    const streams *o = arg;
    op_part part = op_part_at(&o->grid, block);
    const uint16_t **rows = scratch;
    float *factors = (float *)(rows + o->M + 1);
    for (int64_t t = part.t.begin; t < part.t.end; t++) {
        const float *post = (const float *)o->post.data + t * o->post.ld, *comb = (const float *)o->comb.data + t * o->comb.ld;
        rows[0] = stream_at(&o->row, t, 0, o->row.cols, part.col.begin);
        for (int64_t k = 0; k < o->M; k++) {
            rows[k + 1] = stream_at(&o->residual, t, k, o->row.cols, part.col.begin);
        }
        for (int64_t j = 0; j < o->M; j++) {
            factors[0] = post[j];
            for (int64_t k = 0; k < o->M; k++) {
                factors[k + 1] = comb[k * o->M + j];
            }
            o->uk->weigh_rows(part.col.end - part.col.begin, o->M + 1, rows, factors,
                              (uint16_t *)o->many.data + t * o->many.ld + j * o->row.cols + part.col.begin);
        }
    }
}

/* ---- graph --------------------------------------------------------------------------------------------------------------- */

static gates *add_gates(const op_context *c, const op_hc_pre_args *a)
{
    gates *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    int64_t T = a->x.rows, n_chunks = op_chunks(a->x.cols);
    *o = (gates){.uk = c->uk,
                 .x = a->x,
                 .scale = a->scale,
                 .base = a->base,
                 .post = a->post,
                 .comb = a->comb,
                 .M = c->dims.of[OP_M],
                 .n_mix = a->fn.shape[0],
                 .rms_eps = (float)c->config->rms_norm_eps};
    o->rule = (op_hc_rule){o->M, c->config->hc_sinkhorn_iters, (float)c->config->hc_eps};
    o->squares = op_matrix_new(c, "hc.squares", T, n_chunks, DSV4_F32);
    o->pre = op_matrix_new(c, "hc.pre", T, o->M, DSV4_F32);
    o->grid = (op_part_grid){T, a->x.cols, a->t_tile, a->tiles.k_split};
    op_weight fn = op_weight_pack(c, "hc_fn", op_weight_of_transposed(&a->fn));
    o->mix = op_project_f32(c, "hc.project", a->x, fn, a->tiles);
    size_t chunk_bytes = OP_SUM_CHUNK * sizeof(float), mix_bytes = (size_t)o->n_mix * sizeof(float);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"hc.squares", op_part_blocks(&o->grid), run_squares, describe_squares, o, chunk_bytes,
                                              DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"hc.gates", T, run_gates, describe_gates, o, mix_bytes, DSV4_VECTOR});
    return o;
}

void op_hc_pre_add(const op_context *c, const op_hc_pre_args *a)
{
    gates *g = add_gates(c, a);
    streams *o = dsv4_graph_memory(c->g, sizeof *o);
    if (g == NULL || o == NULL) {
        return;
    }
    *o = (streams){.uk = c->uk,
                   .row = a->x_mixed,
                   .many = a->x,
                   .pre = g->pre,
                   .grid = {a->x.rows, a->x_mixed.cols, a->t_tile, a->d_parts},
                   .M = g->M,
                   .in_pairs = a->post.data == NULL};
    size_t mix_bytes = o->in_pairs ? 3 * OP_SUM_CHUNK * sizeof(float) : (size_t)o->M * sizeof(uint16_t *);
    dsv4_graph_stage(c->g,
                     &(dsv4_stage_desc){"hc.mix", op_part_blocks(&o->grid), run_mix, describe_mix, o, mix_bytes, DSV4_VECTOR});
}

void op_hc_post_add(const op_context *c, const op_hc_post_args *a)
{
    streams *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (streams){.uk = c->uk,
                   .row = a->x,
                   .many = a->y,
                   .post = a->post,
                   .comb = a->comb,
                   .residual = a->residual,
                   .grid = {a->x.rows, a->x.cols, a->t_tile, a->d_parts},
                   .M = c->dims.of[OP_M]};
    size_t scratch_bytes = (size_t)(o->M + 1) * (sizeof(uint16_t *) + sizeof(float));
    dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"hc.post", op_part_blocks(&o->grid), run_post, describe_post, o, scratch_bytes, DSV4_VECTOR});
}
