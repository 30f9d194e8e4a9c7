/* ops/compress.c - the stages of a compressor behind its plan (SPEC 4; what they do: compress.h).
 *
 * MATH      state[row(t)] = [x wkv^T | x wgate^T + ape[pos % ratio]]
 *           window that ends at position e: per channel p_i = exp(s_i - max s) / sum exp(s - max s), pooled = sum_i k_i p_i over
 *             ratio 128  positions e-127..e
 *             ratio 4    positions e-7..e-4, first half of the columns, and e-3..e, second half
 *           y = rotate((pooled * inv(pooled)) * gamma);  [y = float(bf(y)) hadamard];  cache row = bf(y), or Q8 of the rounded row
 * SHAPES    x bf16[T,D]  wkv, wgate bf16[OUT,D]  ape f32[ratio,OUT]  gamma bf16[width]  hadamard bf16[width,width]
 *           state f32[rows,OUT] twice  ->  cache bf16 or i8[rows,width], pooled rows; scratch: the plan, pooled f32[windows,width]
 * STAGES    .plan     [1]                          integers of the step -> plan, verdict (compress_plan.c)
 *           .kv       [t_tile x n_tile x k_split]  x, wkv -> partial sums of kv
 *           .gate     [t_tile x n_tile x k_split]  x, wgate -> partial sums of the scores
 *           .scatter  [t_tile x n_tile]            partial sums, ape, plan -> state rows, written
 *           .pool     [window x channel tile]      state rows, plan -> pooled; ratio 4: all channels of 8 rows are one tile
 *           .finish   [window]                     pooled, gamma, turns, hadamard -> cache row, pooled row, done
 *           Which rows of state and cache a block touches is known only when the step runs, so these accesses are not tracked.
 *           Their order comes from two tracked matrices of a byte: written[token, column tile], which .pool of a window reads for
 *           the tokens and columns that the window may have, and done[window]. The plan refuses a step in which other rows meet.
 * NUMERICS  f32; products summed in chunks of 512, partials in ascending order, then ape; windows pooled by ascending position; one
 *           rounding to bf16 (two with a Hadamard product). So decode and any cut of prefill leave the same bits. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "ops/chunk.h"
#include "ops/compress_plan.h"
#include "ops/rms.h"

/* Channels of a .pool block where a window has many rows: 128 rows of 128 channels are 128 KB of state. */
enum { POOL_CHANNELS = 128 };

typedef struct compress {
    const uk_table *uk;
    const op_compress *a;
    const op_compress_plan *plan;
    op_gate gate;
    op_product kv, gate_sums;
    op_matrix written;  /* I8 [T, column tiles] */
    op_matrix pooled;   /* FP32 [windows, width] */
    op_matrix done;     /* I8 [windows, 1] */
    op_matrix absent;   /* FP32 [2, width]: kv and score of a position without a row */
    op_weight hadamard; /* packed; without data none */
    int64_t t_tile, n_tile, channels, R;
    float eps;
} compress;

/* ---- scatter --------------------------------------------------------------------------------------------------------------- */

typedef struct scatter_tile {
    tile_range t, col;
    int64_t col_tile;
} scatter_tile;

static scatter_tile scatter_at(const compress *o, int64_t block)
{
    int64_t n_t = tile_count(o->plan->T, o->t_tile), col_tile = block / n_t;
    return (scatter_tile){tile_at(block % n_t, o->t_tile, o->plan->T), tile_at(col_tile, o->n_tile, o->plan->out), col_tile};
}

static void describe_scatter(const void *arg, int64_t block, dsv4_describe *d)
{
    const compress *o = arg;
    const op_compress *a = o->a;
    scatter_tile tile = scatter_at(o, block);
    tile_range t = tile.t, col = tile.col;
    op_product_reads(d, &o->kv, t.begin, t.end, col.begin, col.end);
    op_product_reads(d, &o->gate_sums, t.begin, t.end, col.begin, col.end);
    dsv4_reads(d, a->ape.view, 0, a->ratio, col.begin, col.end);
    dsv4_reads(d, o->plan->token_rows.view, 0, 1, t.begin, t.end);
    dsv4_reads(d, o->plan->ape_rows.view, 0, 1, t.begin, t.end);
    op_gate_reads(d, &o->gate);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, a->kv_state.view, (dsv4_box){0, a->kv_state.rows, col.begin, col.end});
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, a->score_state.view, (dsv4_box){0, a->score_state.rows, col.begin, col.end});
    dsv4_writes(d, o->written.view, t.begin, t.end, tile.col_tile, tile.col_tile + 1);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * (col.end - col.begin) * (2 * o->kv.n_partials + 1))});
}

static void scatter_token(const compress *o, int64_t t, tile_range col)
{
    const op_compress *a = o->a;
    int64_t row = ((const int64_t *)o->plan->token_rows.data)[t], ape_row = ((const int32_t *)o->plan->ape_rows.data)[t];
    if (row < 0) {
        return;
    }
    float *score = (float *)a->score_state.data + row * a->score_state.ld + col.begin;
    op_product_row(o->uk, &o->kv, t, col.begin, col.end, (float *)a->kv_state.data + row * a->kv_state.ld + col.begin);
    op_product_row(o->uk, &o->gate_sums, t, col.begin, col.end, score);
    o->uk->add(col.end - col.begin, (const float *)a->ape.data + ape_row * a->ape.ld + col.begin, score);
}

static void run_scatter(const void *arg, int64_t block, void *scratch)
{
    const compress *o = arg;
    scatter_tile tile = scatter_at(o, block);
    bool open = op_gate_is_open(&o->gate);
    (void)scratch;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        if (open) {
            scatter_token(o, t, tile.col);
        }
        ((int8_t *)o->written.data)[t * o->written.ld + tile.col_tile] = 1;
    }
}

/* ---- pool ------------------------------------------------------------------------------------------------------------------ */

static int64_t channel_tiles(const compress *o)
{
    return tile_count(o->a->width, o->channels);
}

/* Tokens of the step that window i may have: it ends at one of ratio tokens. */
static tile_range tokens_of_window(const compress *o, int64_t window)
{
    int64_t S = o->a->tokens_per_request, b = window / o->plan->windows_per_request;
    int64_t first = window % o->plan->windows_per_request * o->a->ratio, begin = first + 1 - o->plan->span;
    return (tile_range){b * S + (begin > 0 ? begin : 0), b * S + tile_min(first + o->a->ratio, S)};
}

/* Columns [begin, end) of the state of those tokens. */
static void reads_written(const compress *o, tile_range t, int64_t begin, int64_t end, dsv4_describe *d)
{
    dsv4_reads(d, o->written.view, t.begin, t.end, begin / o->n_tile, tile_count(end, o->n_tile));
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->a->kv_state.view, (dsv4_box){0, o->a->kv_state.rows, begin, end});
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, o->a->score_state.view, (dsv4_box){0, o->a->score_state.rows, begin, end});
}

static void describe_pool(const void *arg, int64_t block, dsv4_describe *d)
{
    const compress *o = arg;
    int64_t window = block / channel_tiles(o), width = o->a->width;
    tile_range channel = tile_at(block % channel_tiles(o), o->channels, width), t = tokens_of_window(o, window);
    dsv4_reads(d, o->plan->windows.view, window, window + 1, 0, 1);
    dsv4_reads(d, o->plan->entries.view, window, window + 1, 0, o->plan->span);
    dsv4_reads(d, o->absent.view, 0, 2, channel.begin, channel.end);
    reads_written(o, t, channel.begin, channel.end, d);
    if (op_compress_overlaps(o->a)) {
        reads_written(o, t, width + channel.begin, width + channel.end, d);
    }
    dsv4_writes(d, o->pooled.view, window, window + 1, channel.begin, channel.end);
    double values = (double)(o->plan->span * (channel.end - channel.begin));
    dsv4_costs(d, (dsv4_work){.vector_ops = 30 * values, .gathered_bytes = 2 * values * sizeof(float)});
}

static double share_of_pool(const void *arg, int64_t block)
{
    const compress *o = arg;
    return op_window_at(o->plan, block / channel_tiles(o))->token < 0 ? 0 : 1;
}

static void run_pool(const void *arg, int64_t block, void *scratch)
{
    const compress *o = arg;
    const op_compress *a = o->a;
    int64_t window = block / channel_tiles(o), span = o->plan->span;
    tile_range channel = tile_at(block % channel_tiles(o), o->channels, a->width);
    const int64_t *rows = (const int64_t *)o->plan->entries.data + window * span;
    const float **k = scratch, **s = k + span, *absent = (const float *)o->absent.data + channel.begin;
    if (op_window_at(o->plan, window)->token < 0) {
        return;
    }
    for (int64_t i = 0; i < span; i++) {
        int64_t col = channel.begin + (op_compress_overlaps(a) && i >= a->ratio ? a->width : 0);
        k[i] = rows[i] < 0 ? absent : (const float *)a->kv_state.data + rows[i] * a->kv_state.ld + col;
        s[i] = rows[i] < 0 ? absent + o->absent.ld : (const float *)a->score_state.data + rows[i] * a->score_state.ld + col;
    }
    o->uk->pool(channel.end - channel.begin, span, k, s, (float *)o->pooled.data + window * o->pooled.ld + channel.begin);
}

/* ---- finish ---------------------------------------------------------------------------------------------------------------- */

/* Scratch of a .finish block. */
typedef struct finish_rows {
    float *turn, *y, *product; /* [R], [width], [columns of the packed Hadamard matrix] */
    uint16_t *rounded;         /* [width] */
    char *acts;                /* rounded, as the Hadamard product takes it */
} finish_rows;

static int64_t product_cols(const compress *o)
{
    return o->hadamard.packed.n_panels * UK_PANEL;
}

static size_t acts_bytes(const compress *o)
{
    return o->hadamard.packed.panels == NULL ? 0 : (size_t)uk_acts_bytes_bf16(o->uk, 1, o->a->width);
}

static size_t finish_scratch(const compress *o)
{
    return (size_t)(o->R + o->a->width + product_cols(o)) * sizeof(float) + acts_bytes(o) + (size_t)o->a->width * sizeof(uint16_t);
}

static finish_rows finish_rows_in(const compress *o, void *scratch)
{
    float *turn = scratch, *y = turn + o->R, *product = y + o->a->width;
    char *acts = (char *)(product + product_cols(o));
    return (finish_rows){turn, y, product, (uint16_t *)(acts + acts_bytes(o)), acts};
}

/* What the step persists: the cache row, its scale, the pooled row. */
static void describe_kept(const compress *o, int64_t window, dsv4_describe *d)
{
    const op_compress *a = o->a;
    const op_matrix *const kept[] = {&a->cache, &a->cache_scale, &a->pooled};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (kept[i]->data != NULL) {
            dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, kept[i]->view, (dsv4_box){0, kept[i]->rows, 0, kept[i]->cols});
        }
    }
    dsv4_writes(d, o->done.view, window, window + 1, 0, 1);
}

static void describe_turns(const compress *o, int64_t window, dsv4_describe *d)
{
    const op_turns *turns = &o->a->turns;
    if (o->a->turn_rule == OP_TURN_OF_REQUEST) {
        op_turns_reads(d, turns, window, window + 1, o->R);
        return;
    }
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, turns->cos.view, (dsv4_box){0, turns->cos.rows, 0, o->R / 2});
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, turns->sin.view, (dsv4_box){0, turns->sin.rows, 0, o->R / 2});
}

static void describe_finish(const void *arg, int64_t window, dsv4_describe *d)
{
    const compress *o = arg;
    const uk_packed *w = &o->hadamard.packed;
    dsv4_reads(d, o->plan->windows.view, window, window + 1, 0, 1);
    dsv4_reads(d, o->pooled.view, window, window + 1, 0, o->a->width);
    dsv4_reads(d, o->a->norm_w.view, 0, 1, 0, o->a->width);
    describe_turns(o, window, d);
    if (w->panels != NULL) {
        dsv4_reads(d, o->hadamard.view, 0, w->n_panels, 0, w->panel_bytes);
    }
    op_gate_reads(d, &o->gate);
    describe_kept(o, window, d);
    dsv4_costs(d, (dsv4_work){.vector_ops = 8.0 * (double)o->a->width,
                              .flops_bf16 = 2.0 * (double)(w->k * w->n),
                              .product = {.m = 1, .n = w->n, .k = w->k}});
}

/* y = float(bf(y)) hadamard. */
static void multiply_hadamard(const compress *o, const finish_rows *r)
{
    const uk_packed *w = &o->hadamard.packed;
    o->uk->narrow_bf16(w->k, r->y, r->rounded);
    o->uk->tile_bf16(1, 1, w->k, r->rounded, w->k, r->acts);
    for (int64_t panel = 0; panel < w->n_panels; panel++) {
        o->uk->gemm_bf16((uk_acts){r->acts, 1, 1, 0}, w->k, uk_panel_bf16(w, panel, 0), r->product + panel * UK_PANEL, UK_PANEL);
    }
    memcpy(r->y, r->product, (size_t)w->n * sizeof *r->y);
}

/* r->y = the row of a window. */
static void finish_row(const compress *o, int64_t window, const finish_rows *r)
{
    int64_t width = o->a->width;
    const float *pooled = (const float *)o->pooled.data + window * o->pooled.ld;
    op_turns_load(o->uk, &o->a->turns, op_window_at(o->plan, window)->turn_row, o->R, r->turn);
    o->uk->scale_gamma(width, pooled, op_row_inverse_rms(o->uk, pooled, width, o->eps), o->a->norm_w.data, r->y);
    op_turn_row(o->uk, r->turn, o->R, width, r->y);
    if (o->hadamard.packed.panels != NULL) {
        multiply_hadamard(o, r);
    }
}

/* r->rounded = bf(y), and a row of an INT8 cache its Q8. */
static void write_cache(const compress *o, int64_t row, const finish_rows *r)
{
    const op_matrix *cache = &o->a->cache, *scale = &o->a->cache_scale;
    if (scale->data == NULL) {
        memcpy((uint16_t *)cache->data + row * cache->ld, r->rounded, (size_t)o->a->width * sizeof *r->rounded);
        return;
    }
    o->uk->widen_bf16(o->a->width, r->rounded, r->y);
    float multiplier = op_q8_multiplier(o->uk->amax(o->a->width, r->y));
    o->uk->quantize_i8(o->a->width, r->y, multiplier, (int8_t *)cache->data + row * cache->ld);
    ((float *)scale->data)[row * scale->ld] = 1.0f / multiplier;
}

static void write_pooled(const compress *o, int64_t row, const finish_rows *r)
{
    const op_matrix *pooled = &o->a->pooled;
    if (o->a->is_decode) {
        memcpy((float *)pooled->data + row * pooled->ld, r->y, (size_t)o->a->width * sizeof *r->y);
    } else {
        memcpy((uint16_t *)pooled->data + row * pooled->ld, r->rounded, (size_t)o->a->width * sizeof *r->rounded);
    }
}

static double share_of_finish(const void *arg, int64_t window)
{
    const compress *o = arg;
    return op_window_at(o->plan, window)->token < 0 ? 0 : 1;
}

static void run_finish(const void *arg, int64_t window, void *scratch)
{
    const compress *o = arg;
    const op_window *w = op_window_at(o->plan, window);
    finish_rows r = finish_rows_in(o, scratch);
    bool is_open = op_gate_is_open(&o->gate);
    if (w->token < 0 && w->pooled_row >= 0 && is_open) {
        memset((uint16_t *)o->a->pooled.data + w->pooled_row * o->a->pooled.ld, 0, (size_t)o->a->width * sizeof(uint16_t));
    }
    if (w->token >= 0 && is_open) {
        finish_row(o, window, &r);
        o->uk->narrow_bf16(o->a->width, r.y, r.rounded);
        if (w->pooled_row >= 0) {
            write_pooled(o, w->pooled_row, &r);
        }
        if (w->cache_row >= 0) {
            write_cache(o, w->cache_row, &r);
        }
    }
    ((int8_t *)o->done.data)[window] = 1;
}

/* ---- graph ----------------------------------------------------------------------------------------------------------------- */

static void gather(compress *o, const op_context *c, const op_compress_plan *p)
{
    const op_compress *a = &p->a;
    o->uk = c->uk;
    o->a = a;
    o->plan = p;
    o->gate = op_gate_of(c);
    o->t_tile = tile_min(a->tiles.t_tile, p->T);
    o->n_tile = a->tiles.n_tile;
    o->channels = op_compress_overlaps(a) ? a->width : tile_min(a->width, POOL_CHANNELS);
    o->R = c->config->qk_rope_head_dim;
    o->eps = (float)c->config->rms_norm_eps;
    o->written = op_matrix_new(c, "compress.written", p->T, tile_count(p->out, o->n_tile), DSV4_I8);
    o->pooled = op_matrix_new(c, "compress.pooled", p->windows.rows, a->width, DSV4_F32);
    o->done = op_matrix_new(c, "compress.done", p->windows.rows, 1, DSV4_I8);
    o->absent = op_matrix_new(c, "compress.absent", 2, a->width, DSV4_F32);
    if (a->hadamard.data != NULL) {
        o->hadamard = op_weight_pack(c, "hadamard", op_weight_of(&a->hadamard));
    }
    for (int64_t i = 0; i < a->width && o->absent.data != NULL; i++) {
        ((float *)o->absent.data)[a->width + i] = op_compress_overlaps(a) ? -FLT_MAX : 0.0f;
    }
}

static dsv4_stage add_stage(const op_context *c, const compress *o, const char *name, dsv4_stage_desc desc)
{
    char stage[64];
    snprintf(stage, sizeof stage, "%s%s", o->a->name, name);
    desc.name = stage;
    desc.arg = o;
    desc.kind = DSV4_VECTOR;
    return dsv4_graph_stage(c->g, &desc);
}

static op_product add_projection(const op_context *c, const compress *o, const char *name, const char *weight, const dsv4_tensor *w)
{
    char stage[64];
    snprintf(stage, sizeof stage, "%s%s", o->a->name, name);
    return op_project_bf16(c, stage, o->a->x, op_weight_pack(c, weight, op_weight_of_transposed(w)), o->a->tiles);
}

op_compressed op_compress_run_add(const op_context *c, const op_compress_plan *p)
{
    compress *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL || p == NULL) {
        return (op_compressed){0};
    }
    gather(o, c, p);
    int64_t scatter_blocks = tile_count(p->T, o->t_tile) * o->written.cols, windows = p->windows.rows;
    size_t pointers = 2 * (size_t)p->span * sizeof(float *);
    o->kv = add_projection(c, o, ".kv", "wkv", &p->a.wkv);
    o->gate_sums = add_projection(c, o, ".gate", "wgate", &p->a.wgate);
    add_stage(c, o, ".scatter", (dsv4_stage_desc){.n_blocks = scatter_blocks, .run = run_scatter, .describe = describe_scatter});
    dsv4_stage pool = add_stage(
        c, o, ".pool",
        (dsv4_stage_desc){
            .n_blocks = windows * channel_tiles(o), .run = run_pool, .describe = describe_pool, .scratch_bytes = pointers});
    dsv4_stage finish = add_stage(
        c, o, ".finish",
        (dsv4_stage_desc){.n_blocks = windows, .run = run_finish, .describe = describe_finish, .scratch_bytes = finish_scratch(o)});
    dsv4_graph_share(c->g, pool, share_of_pool);
    dsv4_graph_share(c->g, finish, share_of_finish);
    return (op_compressed){o->done};
}

op_compressed op_compress_add(const op_context *c, const op_compress *a)
{
    return op_compress_run_add(c, op_compress_plan_add(c, a));
}
