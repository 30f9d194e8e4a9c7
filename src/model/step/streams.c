#include "model/step/streams.h"

#include <math.h>
#include <stdio.h>

#include "base/numbers.h"
#include "model/step/gates.h"
#include "ops/chunk.h"

enum { NAME_BYTES = 64, ROW_TILE = 8, SPREAD_COLUMNS = 1024, LANES = 8, COLUMNS_AT_ONCE = 64 };

/* 1/sqrt(sum/n + eps) of the squares of n values: sums of every LANES-th one, then these. */
static double inverse_rms(int64_t n, const float *x, double eps)
{
    double lanes[LANES] = {0}, sum = 0;
    for (int64_t i = 0; i + LANES <= n; i += LANES) {
        for (int64_t l = 0; l < LANES; l++) {
            lanes[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    for (int64_t i = n / LANES * LANES; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (int64_t l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return 1.0 / sqrt(sum / (double)n + eps);
}

void step_rms_norm(const step *s, int64_t n, const float *x, const uint16_t *norm, float *y)
{
    double inv = inverse_rms(n, x, s->config->dims.rms_norm_eps);
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)((double)x[i] * inv * (double)num_f32_from_bf16(norm[i]));
    }
    step_round(s, n, y);
}

/* ---- streams to a row -------------------------------------------------------------------------------------------------- */

typedef struct mix_stage {
    const step *s;
    step_matrix h;
    model_streams_weights w;
    const uint16_t *norm;
    op_matrix sums;    /* FP32 [chunks * rows, panels * UK_PANEL] */
    op_matrix squares; /* FP32 [rows, chunks] */
    dsv4_view panels;
    step_streams y;
    int64_t rows, M, n_mix, n_parts;
} mix_stage;

static op_part_grid grid_of(const mix_stage *o)
{
    return (op_part_grid){o->rows, o->h.m.cols, ROW_TILE, o->n_parts};
}

static void project_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const mix_stage *o = arg;
    op_part_grid grid = grid_of(o);
    op_part part = op_part_at(&grid, block);
    int64_t k_bytes = UK_PANEL * (int64_t)sizeof(float);
    dsv4_reads(d, o->h.m.view, part.t.begin, part.t.end, part.col.begin, part.col.end);
    dsv4_reads(d, o->panels, 0, o->w.fn.packed.n_panels, part.col.begin * k_bytes, part.col.end * k_bytes);
    dsv4_writes(d, o->squares.view, part.t.begin, part.t.end, part.chunk.begin, part.chunk.end);
    for (int64_t chunk = part.chunk.begin; chunk < part.chunk.end; chunk++) {
        dsv4_writes(d, o->sums.view, chunk * o->rows + part.t.begin, chunk * o->rows + part.t.end, 0, o->sums.cols);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)(o->sums.cols + 1) * op_part_elements(&part)});
}

static void project_run(const void *arg, int64_t block, void *scratch)
{
    const mix_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    op_part_grid grid = grid_of(o);
    op_part part = op_part_at(&grid, block);
    float *x = scratch;
    for (int64_t chunk = part.chunk.begin; chunk < part.chunk.end; chunk++) {
        tile_range k = tile_at(chunk, OP_SUM_CHUNK, o->h.m.cols);
        int64_t n = k.end - k.begin;
        for (int64_t t = part.t.begin; t < part.t.end; t++) {
            float *row = x + (t - part.t.begin) * OP_SUM_CHUNK;
            step_load(uk, &o->h, t, k.begin, n, row);
            *op_matrix_f32(&o->squares, t, chunk) = uk->sum_squares(n, row);
        }
        for (int64_t panel = 0; panel < o->w.fn.packed.n_panels; panel++) {
            uk->gemm_f32((int)(part.t.end - part.t.begin), n, x, OP_SUM_CHUNK, uk_panel_f32(&o->w.fn.packed, panel, k.begin),
                         op_matrix_f32(&o->sums, chunk * o->rows + part.t.begin, panel * UK_PANEL), o->sums.ld);
        }
    }
}

static void mix_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const mix_stage *o = arg;
    for (int64_t chunk = 0; chunk < o->squares.cols; chunk++) {
        dsv4_reads(d, o->sums.view, chunk * o->rows + t, chunk * o->rows + t + 1, 0, o->sums.cols);
    }
    dsv4_reads(d, o->squares.view, t, t + 1, 0, o->squares.cols);
    dsv4_reads(d, o->h.m.view, t, t + 1, 0, o->h.m.cols);
    dsv4_writes(d, o->y.x.m.view, t, t + 1, 0, o->y.x.m.cols);
    if (o->y.post.data != NULL) {
        dsv4_writes(d, o->y.post.view, t, t + 1, 0, o->M);
        dsv4_writes(d, o->y.comb.view, t, t + 1, 0, o->M * o->M);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = 3.0 * (double)o->h.m.cols});
}

/* y[0..n) = sum of rows times factors, ascending, rounded once; rows lie n apart. Some columns at a time, row after row, which
 * compilers make vectors of. */
static void weigh_rows(int64_t n, int64_t n_rows, const float *rows, const double *factors, float *y)
{
    for (int64_t first = 0; first < n; first += COLUMNS_AT_ONCE) {
        double sums[COLUMNS_AT_ONCE] = {0};
        int64_t n_columns = tile_min(n - first, COLUMNS_AT_ONCE);
        for (int64_t r = 0; r < n_rows; r++) {
            for (int64_t i = 0; i < n_columns; i++) {
                sums[i] += factors[r] * (double)rows[r * n + first + i];
            }
        }
        for (int64_t i = 0; i < n_columns; i++) {
            y[first + i] = (float)sums[i];
        }
    }
}

/* Gates before the streams; those behind the branch go to their matrices. */
static void make_gates(const mix_stage *o, int64_t t, double *pre)
{
    const model_config *config = o->s->config;
    step_gate_rule rule = {o->M, config->dims.hc_sinkhorn_iters, config->dims.hc_eps};
    double mix[(2 + STEP_MAX_STREAMS) * STEP_MAX_STREAMS] = {0}, squares = 0;
    for (int64_t chunk = 0; chunk < o->squares.cols; chunk++) {
        const float *sums = op_matrix_f32(&o->sums, chunk * o->rows + t, 0);
        squares += (double)*op_matrix_f32(&o->squares, t, chunk);
        for (int64_t i = 0; i < o->n_mix; i++) {
            mix[i] += (double)sums[i];
        }
    }
    double inv = 1.0 / sqrt(squares / (double)o->h.m.cols + config->dims.rms_norm_eps);
    for (int64_t i = 0; i < o->n_mix; i++) {
        mix[i] *= inv;
    }
    bool is_head = o->y.post.data == NULL;
    step_gates(&rule, o->w.scale, o->w.base, mix, pre, is_head ? NULL : step_gate_row(&o->y.post, t),
               is_head ? NULL : step_gate_row(&o->y.comb, t));
}

/* Scratch of a mixing block: the row that it makes, and a stream. */
static void mix_run(const void *arg, int64_t t, void *scratch)
{
    const mix_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    int64_t D = o->y.x.m.cols;
    float *row = scratch, *streams = row + D;
    double pre[STEP_MAX_STREAMS];
    make_gates(o, t, pre);
    for (int64_t i = 0; i < o->M; i++) {
        step_load(uk, &o->h, t, i * D, D, streams + i * D);
    }
    weigh_rows(D, o->M, streams, pre, row);
    step_round(o->s, D, row);
    step_rms_norm(o->s, D, row, o->norm, row);
    step_store(uk, &o->y.x, t, 0, D, row);
}

static op_matrix gates_new(const step *s, const char *name, int64_t rows, int64_t cols)
{
    op_matrix m = {.rows = rows, .cols = cols, .ld = cols};
    m.view = dsv4_graph_alloc(s->op.g, name, rows, cols, sizeof(double), &m.data);
    return m;
}

step_streams step_streams_mix(const step *s, const char *name, step_matrix h, const model_streams_weights *w, const uint16_t *norm)
{
    mix_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_streams){0};
    }
    int64_t M = s->config->dims.hc_mult, D = h.m.cols / M, n_chunks = op_chunks(h.m.cols), rows = h.m.rows;
    char stage[NAME_BYTES];
    *o = (mix_stage){.s = s, .h = h, .w = *w, .norm = norm, .rows = rows, .M = M, .n_mix = w->fn.packed.n};
    o->n_parts = tile_min(n_chunks, tile_count(2 * s->n_threads, tile_count(rows, ROW_TILE)));
    o->sums = op_matrix_new(&s->op, name, n_chunks * rows, w->fn.packed.n_panels * UK_PANEL, DSV4_F32);
    o->squares = op_matrix_new(&s->op, name, rows, n_chunks, DSV4_F32);
    o->panels = dsv4_graph_view(s->op.g, name, w->fn.packed.panels, w->fn.packed.n_panels, w->fn.packed.panel_bytes, 1,
                                (size_t)w->fn.packed.panel_bytes);
    o->y.x = step_matrix_new(s, name, rows, D);
    if (o->n_mix > M) {
        o->y.post = gates_new(s, name, rows, M);
        o->y.comb = gates_new(s, name, rows, M * M);
    }
    op_part_grid grid = grid_of(o);
    snprintf(stage, sizeof stage, "%s.project", name);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){stage, op_part_blocks(&grid), project_run, project_describe, o,
                                                 ROW_TILE * OP_SUM_CHUNK * sizeof(float), DSV4_CUBE});
    snprintf(stage, sizeof stage, "%s.mix", name);
    dsv4_graph_stage(s->op.g,
                     &(dsv4_stage_desc){stage, rows, mix_run, mix_describe, o, (size_t)((1 + M) * D) * sizeof(float), DSV4_VECTOR});
    return o->y;
}

/* ---- a row over the streams -------------------------------------------------------------------------------------------- */

typedef struct spread_stage {
    const step *s;
    step_matrix h, out;
    op_matrix post, comb;
    step_branch y;
    int64_t M, D, n_parts;
} spread_stage;

typedef struct spread_block {
    int64_t t;
    tile_range col;
} spread_block;

static spread_block spread_at(const spread_stage *o, int64_t block)
{
    return (spread_block){block / o->n_parts, tile_part(block % o->n_parts, o->n_parts, o->D)};
}

static void spread_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const spread_stage *o = arg;
    spread_block b = spread_at(o, block);
    if (o->y.product.sums.data != NULL) {
        step_product_reads(d, &o->y.product, b.t, b.t + 1, b.col.begin, b.col.end);
    } else {
        dsv4_reads(d, o->y.matrix.m.view, b.t, b.t + 1, b.col.begin, b.col.end);
    }
    dsv4_reads(d, o->post.view, b.t, b.t + 1, 0, o->M);
    dsv4_reads(d, o->comb.view, b.t, b.t + 1, 0, o->M * o->M);
    for (int64_t i = 0; i < o->M; i++) {
        dsv4_reads(d, o->h.m.view, b.t, b.t + 1, i * o->D + b.col.begin, i * o->D + b.col.end);
        dsv4_writes(d, o->out.m.view, b.t, b.t + 1, i * o->D + b.col.begin, i * o->D + b.col.end);
    }
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)(2 * o->M * (o->M + 1) * (b.col.end - b.col.begin))});
}

/* Scratch: M + 2 rows of the block's columns: the sum, the branch's row and the streams. */
static void spread_run(const void *arg, int64_t block, void *scratch)
{
    const spread_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    spread_block b = spread_at(o, block);
    int64_t n = b.col.end - b.col.begin;
    float *sum = scratch, *rows = sum + n;
    const double *post = step_gate_row(&o->post, b.t), *comb = step_gate_row(&o->comb, b.t);
    double factors[1 + STEP_MAX_STREAMS];
    if (o->y.product.sums.data != NULL) {
        step_product_row(uk, &o->y.product, b.t, b.col.begin, b.col.end, rows);
    } else {
        step_load(uk, &o->y.matrix, b.t, b.col.begin, n, rows);
    }
    for (int64_t i = 0; i < o->M; i++) {
        step_load(uk, &o->h, b.t, i * o->D + b.col.begin, n, rows + (1 + i) * n);
    }
    for (int64_t j = 0; j < o->M; j++) {
        factors[0] = post[j];
        for (int64_t i = 0; i < o->M; i++) {
            factors[1 + i] = comb[i * o->M + j];
        }
        weigh_rows(n, 1 + o->M, rows, factors, sum);
        step_store(uk, &o->out, b.t, j * o->D + b.col.begin, n, sum);
    }
}

step_matrix step_streams_spread(const step *s, const char *name, step_matrix h, const step_streams *mixed, const step_branch *y)
{
    spread_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return (step_matrix){0};
    }
    int64_t rows = h.m.rows, M = s->config->dims.hc_mult, D = h.m.cols / M;
    char stage[NAME_BYTES];
    *o = (spread_stage){.s = s, .h = h, .post = mixed->post, .comb = mixed->comb, .y = *y, .M = M, .D = D};
    o->n_parts = tile_max(D / SPREAD_COLUMNS, 1);
    o->out = step_matrix_new(s, name, rows, h.m.cols);
    snprintf(stage, sizeof stage, "%s.spread", name);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){stage, rows * o->n_parts, spread_run, spread_describe, o,
                                                 (size_t)((M + 2) * tile_count(D, o->n_parts)) * sizeof(float), DSV4_VECTOR});
    return o->out;
}
