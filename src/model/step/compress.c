/* model/step/compress.c - a compressor: what tokens add to its state, and the rows of the windows that end in the step (SPEC 4).
 *
 * STAGES  .kv, .gate  products                 x -> kv, score of the step's tokens
 *         .rows       [row tile]               -> kv, score + ape, row by row
 *         .pool       [STEP_DONE_TOKENS rows]  rows of the step, state -> rows of the cache, done
 *         .store      [row tile]               rows of the step -> state, once all windows are pooled */
#include <stdio.h>
#include <string.h>

#include "model/step/attention.h"
#include "model/step/streams.h"

enum { ROW_TILE = 16, NAME_BYTES = 48, KEY_BLOCK = 64, MAX_WINDOW = 128 };

typedef struct compress_stage {
    const step *s;
    step_compress a;
    const model_kv_block *kv_block;
    size_t kv_at, score_at, entries_at; /* in a slot, in a page */
    int64_t width, out;                 /* of a cache row; of a state row */
    step_product kv_sums, score_sums;
    op_matrix kv, score, done; /* FP32 [T, out]; I8 */
} compress_stage;

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

static void rows_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const compress_stage *o = arg;
    tile_range t = tile_at(block, ROW_TILE, o->s->T);
    step_product_reads(d, &o->kv_sums, t.begin, t.end, 0, o->out);
    step_product_reads(d, &o->score_sums, t.begin, t.end, 0, o->out);
    dsv4_writes(d, o->kv.view, t.begin, t.end, 0, o->out);
    dsv4_writes(d, o->score.view, t.begin, t.end, 0, o->out);
    dsv4_costs(d, (dsv4_work){.vector_ops = 3.0 * (double)((t.end - t.begin) * o->out)});
}

static void rows_run(const void *arg, int64_t block, void *scratch)
{
    const compress_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    tile_range t = tile_at(block, ROW_TILE, o->s->rows->n);
    (void)scratch;
    for (int64_t row = t.begin; row < t.end; row++) {
        float *score = op_matrix_f32(&o->score, row, 0);
        step_product_row(uk, &o->kv_sums, row, 0, o->out, op_matrix_f32(&o->kv, row, 0));
        step_product_row(uk, &o->score_sums, row, 0, o->out, score);
        uk->add(o->out, o->a.w->ape + o->s->rows->position[row] % o->a.ratio * o->out, score);
    }
}

/* ---- windows ---------------------------------------------------------------------------------------------------------------- */

/* Tokens that a window takes: those of its own, and of the one before where windows overlap. */
static int64_t span_of(const compress_stage *o)
{
    return o->a.ratio == 4 ? 2 * o->a.ratio : o->a.ratio;
}

static void pool_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const compress_stage *o = arg;
    tile_range t = tile_at(block, STEP_DONE_TOKENS, o->s->T);
    int64_t first = tile_max(t.begin - span_of(o) + 1, 0);
    dsv4_reads(d, o->kv.view, first, t.end, 0, o->out);
    dsv4_reads(d, o->score.view, first, t.end, 0, o->out);
    dsv4_writes(d, o->done.view, block, block + 1, 0, 1);
    double windows = (double)STEP_DONE_TOKENS / (double)o->a.ratio;
    dsv4_costs(d, (dsv4_work){.vector_ops = windows * (double)(span_of(o) * o->width) * 20});
}

/* Columns of the window before come first; the own ones where windows overlap, behind them. */
static void gather(const compress_stage *o, int64_t row, int64_t first, const float **kv, const float **score)
{
    const step_rows *r = o->s->rows;
    int64_t position = r->position[row], start = step_start(r, row), slot = r->slot[row];
    for (int64_t p = first; p <= position; p++) {
        int64_t column = o->out > o->width && p / o->a.ratio == position / o->a.ratio ? o->width : 0;
        if (p >= start) {
            kv[p - first] = op_matrix_f32(&o->kv, r->first[row] + p - start, column);
            score[p - first] = op_matrix_f32(&o->score, r->first[row] + p - start, column);
        } else {
            kv[p - first] = model_kv_state(o->s->kv, o->a.block, (int)slot, o->kv_at, o->out, p) + column;
            score[p - first] = model_kv_state(o->s->kv, o->a.block, (int)slot, o->score_at, o->out, p) + column;
        }
    }
}

/* The cache row of the window that ends at a row of the step. y: [width], then a turn. */
static void pool_window(const compress_stage *o, int64_t row, float *y)
{
    const step *s = o->s;
    const uk_table *uk = s->op.uk;
    const float *kv[MAX_WINDOW], *score[MAX_WINDOW];
    int64_t position = s->rows->position[row], entry = position / o->a.ratio, begin = entry * o->a.ratio;
    int64_t first = o->a.ratio == 4 && entry > 0 ? begin - o->a.ratio : begin;
    float *turn = y + o->width;
    gather(o, row, first, kv, score);
    uk->pool(o->width, position + 1 - first, kv, score, y);
    step_round(s, o->width, y);
    step_rms_norm(s, o->width, y, o->a.w->norm, y);
    step_rope_make(s->rope, o->a.ratio, begin, turn);
    step_rotate(s, turn, o->width, y);
    if (o->a.is_index) {
        step_index_round(s, o->width, y);
    } else if (s->numerics->rounds_keys) {
        uk->round_e4m3(o->width - s->rope->R, KEY_BLOCK, y, y);
    }
    step_matrix cache = {.m = {.data = model_kv_entry(s->kv, o->a.block, s->rows->slot[row], o->entries_at, o->width, entry)},
                         .dtype = s->kv->dtype};
    step_store(uk, &cache, 0, 0, o->width, y);
}

static void pool_run(const void *arg, int64_t block, void *scratch)
{
    const compress_stage *o = arg;
    tile_range t = tile_at(block, STEP_DONE_TOKENS, o->s->rows->n);
    for (int64_t row = t.begin; row < t.end; row++) {
        if ((o->s->rows->position[row] + 1) % o->a.ratio == 0) {
            pool_window(o, row, scratch);
        }
    }
    ((int8_t *)o->done.data)[block] = 1;
}

/* ---- state ------------------------------------------------------------------------------------------------------------------ */

static void store_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const compress_stage *o = arg;
    tile_range t = tile_at(block, ROW_TILE, o->s->T);
    dsv4_reads(d, o->kv.view, t.begin, t.end, 0, o->out);
    dsv4_reads(d, o->score.view, t.begin, t.end, 0, o->out);
    dsv4_reads(d, o->done.view, 0, o->done.rows, 0, 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)((t.end - t.begin) * o->out)});
}

static void store_run(const void *arg, int64_t block, void *scratch)
{
    const compress_stage *o = arg;
    const step_rows *r = o->s->rows;
    tile_range t = tile_at(block, ROW_TILE, r->n);
    size_t n_bytes = (size_t)o->out * sizeof(float);
    (void)scratch;
    for (int64_t row = t.begin; row < t.end; row++) {
        int64_t p = r->position[row];
        if (p + o->kv_block->state_rows >= r->end[row]) {
            memcpy(model_kv_state(o->s->kv, o->a.block, r->slot[row], o->kv_at, o->out, p), op_matrix_f32(&o->kv, row, 0), n_bytes);
            memcpy(model_kv_state(o->s->kv, o->a.block, r->slot[row], o->score_at, o->out, p), op_matrix_f32(&o->score, row, 0),
                   n_bytes);
        }
    }
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

static void add_stage(const step *s, const compress_stage *o, const char *part, int64_t n_blocks, dsv4_block_fn *run,
                      dsv4_describe_fn *describe, size_t scratch_bytes)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.%s", o->a.name, part);
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){name, n_blocks, run, describe, o, scratch_bytes, DSV4_VECTOR});
}

op_matrix step_compress_add(const step *s, const step_compress *a, const step_operand *x)
{
    compress_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o == NULL) {
        return op_no_matrix;
    }
    const model_kv_block *b = &s->kv->blocks[a->block];
    char name[NAME_BYTES];
    *o = (compress_stage){.s = s, .a = *a, .kv_block = b};
    o->width = a->is_index ? s->config->dims.index_head_dim : s->config->dims.head_dim;
    o->out = a->is_index ? b->index_out : b->out;
    o->kv_at = a->is_index ? b->index_kv : b->kv;
    o->score_at = a->is_index ? b->index_score : b->score;
    o->entries_at = a->is_index ? b->index_entries : b->entries;
    snprintf(name, sizeof name, "%s.kv", a->name);
    o->kv_sums = step_linear_add(s, name, x, &a->w->wkv, false);
    snprintf(name, sizeof name, "%s.gate", a->name);
    o->score_sums = step_linear_add(s, name, x, &a->w->wgate, false);
    o->kv = op_matrix_new(&s->op, a->name, s->T, o->out, DSV4_F32);
    o->score = op_matrix_new(&s->op, a->name, s->T, o->out, DSV4_F32);
    o->done = op_matrix_new(&s->op, a->name, tile_count(s->T, STEP_DONE_TOKENS), 1, DSV4_I8);
    add_stage(s, o, "rows", tile_count(s->T, ROW_TILE), rows_run, rows_describe, 0);
    add_stage(s, o, "pool", o->done.rows, pool_run, pool_describe, (size_t)(o->width + s->rope->R) * sizeof(float));
    add_stage(s, o, "store", tile_count(s->T, ROW_TILE), store_run, store_describe, 0);
    return o->done;
}
