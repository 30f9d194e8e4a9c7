/* cli/ablate/compressor.c - stages of prefill_indexer_compressor. Which rows of the state a block touches is known from the inputs
 * of the study, so boxes name them. */
#include "cli/ablate/compressor.h"

#include <float.h>
#include <string.h>

#include "ops/rms.h"

enum { K_TILE = 512, FINISH_ROWS = 16 };

/* ---- matrices --------------------------------------------------------------------------------------------------------------- */

/* In memory of the graph. */
typedef struct compressor {
    const uk_table *uk;
    compressor_chunk k;
    compressor_choice x;
    op_matrix positions, cache_slots, state_slots, table, ape, norm_w, cos, sin;
    op_matrix kv_state, score_state, cache, kv; /* outputs */
    op_matrix kv_sums, score_sums;              /* F32 [T, 2*width] */
    op_matrix ends, slots;                      /* I32 [1, windows]: last position of a window, its cache row or -1 */
    op_matrix pooled, normed, product;          /* F32, BF16, F32 [windows, width] */
    int64_t R;
    float eps;
} compressor;

/* The output of that name, which starts as the input is. */
static op_matrix updated_matrix(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(io, name), *from = ablate_input(c, name);
    memcpy(t->data, from->data, dsv4_tensor_bytes(from));
    return op_matrix_of(ctx, name, t, 1);
}

static void make_matrices(compressor *o, const op_context *ctx)
{
    int64_t windows = compressor_n_windows(&o->k);
    o->kv_sums = op_matrix_new(ctx, "kv_proj_scratch", o->k.T, 2 * o->k.width, DSV4_F32);
    o->score_sums = op_matrix_new(ctx, "score_proj_scratch", o->k.T, 2 * o->k.width, DSV4_F32);
    o->ends = op_matrix_new(ctx, "write_pos_map", 1, windows, DSV4_I32);
    o->slots = op_matrix_new(ctx, "write_dst_map", 1, windows, DSV4_I32);
    o->pooled = op_matrix_new(ctx, "pooled_kv", windows, o->k.width, DSV4_F32);
    o->normed = op_matrix_new(ctx, "normed_kv", windows, o->k.width, DSV4_BF16);
    o->product = op_matrix_new(ctx, "final_kv", windows, o->k.width, DSV4_F32);
}

static compressor *new_compressor(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io,
                                  const compressor_choice *x)
{
    compressor *o = dsv4_graph_memory(ctx->g, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    *o = (compressor){.uk = ctx->uk,
                      .k = compressor_chunk_of(c),
                      .x = *x,
                      .positions = ablate_input_matrix(c, ctx, "position_ids", 1),
                      .cache_slots = ablate_input_matrix(c, ctx, "idx_slot_mapping", 1),
                      .state_slots = ablate_input_matrix(c, ctx, "inner_state_slot_mapping", 1),
                      .table = ablate_input_matrix(c, ctx, "inner_compress_state_block_table", 1),
                      .ape = ablate_input_matrix(c, ctx, "ape", 1),
                      .norm_w = ablate_input_matrix(c, ctx, "norm_w", 1),
                      .cos = ablate_input_matrix(c, ctx, "freqs_cos", 1),
                      .sin = ablate_input_matrix(c, ctx, "freqs_sin", 1),
                      .kv_state = updated_matrix(c, ctx, io, "kv_state"),
                      .score_state = updated_matrix(c, ctx, io, "score_state"),
                      .cache = updated_matrix(c, ctx, io, "idx_kv_cache"),
                      .kv = op_matrix_of(ctx, "kv", dsv4_tensor_list_find(io, "kv"), 1),
                      .R = c->config.qk_rope_head_dim,
                      .eps = (float)c->config.rms_norm_eps};
    make_matrices(o, ctx);
    return o;
}

/* Loads come one behind the other, two in flight. */
static dsv4_work declared(compressor_work w)
{
    return (dsv4_work){.vector_ops = (double)w.vector_ops, .product = {0, 0, w.loads, 1, 2}};
}

/* ---- projections, and where the windows end --------------------------------------------------------------------------------- */

static void add_projection(const ablate_case *c, const op_context *ctx, const char *name, const char *weight, const op_matrix *y)
{
    int64_t T = y->rows;
    ablate_product_add(ctx, &(ablate_product){.name = name,
                                              .x = ablate_input_matrix(c, ctx, "x", 1),
                                              .w = ablate_input_matrix(c, ctx, weight, 1),
                                              .y = *y,
                                              .dtype = DSV4_BF16,
                                              .transposed = true,
                                              .t_tile = T,
                                              .t_inner = T,
                                              .n_tile = COMPRESSOR_OUT_TILE,
                                              .group = 1,
                                              .k_tile = K_TILE,
                                              .k_split = 1,
                                              .ahead = 2});
}

static void run_map(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const compressor *o = s->arg;
    int64_t n = 0;
    (void)tile, (void)scratch;
    for (int64_t t = 0; t < o->k.n; t++) {
        int64_t slot = ((const int64_t *)o->cache_slots.data)[t];
        if (slot >= 0 && n < o->slots.cols) {
            *ablate_i32(&o->ends, 0, n) = *ablate_i32(&o->positions, 0, t);
            *ablate_i32(&o->slots, 0, n++) = (int32_t)slot;
        }
    }
    while (n < o->slots.cols) {
        *ablate_i32(&o->ends, 0, n) = 0;
        *ablate_i32(&o->slots, 0, n++) = -1;
    }
}

static void add_map(const op_context *ctx, const compressor *o)
{
    ablate_stage_add(ctx, &(ablate_stage){.name = "write_map",
                                          .grid = {1, 1, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->cache_slots, ablate_all, ablate_all},
                                                   {DSV4_READ, &o->positions, ablate_all, ablate_all},
                                                   {DSV4_WRITE, &o->ends, ablate_all, ablate_all},
                                                   {DSV4_WRITE, &o->slots, ablate_all, ablate_all}},
                                          .run = run_map,
                                          .arg = o,
                                          .vector_ops = (double)(COMPRESSOR_SCAN_OPS * o->k.T)});
}

/* ---- pool ------------------------------------------------------------------------------------------------------------------- */

/* Scratch of a block. */
typedef struct window_rows {
    float kv[COMPRESSOR_SPAN][COMPRESSOR_CHANNELS], score[COMPRESSOR_SPAN][COMPRESSOR_CHANNELS];
} window_rows;

static tile_range pool_channels(const compressor *o, int64_t block)
{
    return tile_at(block % tile_count(o->k.width, COMPRESSOR_CHANNELS), COMPRESSOR_CHANNELS, o->k.width);
}

static int64_t pool_window(const compressor *o, int64_t block)
{
    return block / tile_count(o->k.width, COMPRESSOR_CHANNELS);
}

static void reads_row(dsv4_describe *d, const op_matrix *m, int64_t row, int64_t col, tile_range channel)
{
    dsv4_reads(d, m->view, row, row + 1, col + channel.begin, col + channel.end);
}

static void describe_entry(const compressor *o, int64_t end, int64_t e, tile_range channel, dsv4_describe *d)
{
    compressor_entry at = compressor_entry_at(&o->k, end, e);
    int64_t position = end + 1 - COMPRESSOR_SPAN + e;
    if (at.row >= 0) {
        dsv4_reads(d, o->table.view, 0, 1, position / o->k.page, position / o->k.page + 1);
        reads_row(d, &o->kv_state, at.row, at.col, channel);
        reads_row(d, &o->score_state, at.row, at.col, channel);
    }
    if (o->x.scans && at.token >= 0) {
        reads_row(d, &o->kv_sums, at.token, at.col, channel);
        reads_row(d, &o->score_sums, at.token, at.col, channel);
        reads_row(d, &o->ape, position % COMPRESSOR_RATIO, at.col, channel);
    }
}

static void describe_pool(const void *arg, int64_t block, dsv4_describe *d)
{
    const compressor *o = arg;
    int64_t window = pool_window(o, block), token = compressor_window_token(&o->k, window);
    tile_range channel = pool_channels(o, block);
    dsv4_reads(d, o->slots.view, 0, 1, window, window + 1);
    dsv4_reads(d, o->ends.view, 0, 1, window, window + 1);
    if (o->x.scans && token >= 0) {
        dsv4_reads(d, o->positions.view, 0, 1, 0, o->k.n);
    }
    for (int64_t e = 0; e < COMPRESSOR_SPAN && token >= 0; e++) {
        describe_entry(o, o->k.positions[token], e, channel, d);
    }
    dsv4_writes(d, o->pooled.view, window, window + 1, channel.begin, channel.end);
    dsv4_costs(d, declared(compressor_pool_block(&o->k, &o->x, window, channel.end - channel.begin)));
}

static void load_entry(const compressor *o, int64_t end, int64_t e, tile_range channel, window_rows *r)
{
    compressor_entry at = compressor_entry_at(&o->k, end, e);
    int64_t n = channel.end - channel.begin;
    for (int64_t i = 0; i < n; i++) {
        r->kv[e][i] = 0;
        r->score[e][i] = -FLT_MAX;
    }
    if (at.row >= 0) {
        memcpy(r->kv[e], op_matrix_f32(&o->kv_state, at.row, at.col + channel.begin), (size_t)n * sizeof(float));
        memcpy(r->score[e], op_matrix_f32(&o->score_state, at.row, at.col + channel.begin), (size_t)n * sizeof(float));
    }
}

/* What the chunk has of the window, over what the state had. */
static void scan_tokens(const compressor *o, int64_t end, tile_range channel, window_rows *r)
{
    int64_t first = end + 1 - COMPRESSOR_SPAN, n = channel.end - channel.begin;
    for (int64_t t = 0; t < o->k.n; t++) {
        int64_t position = *ablate_i32(&o->positions, 0, t);
        if (position <= end && position >= first) {
            int64_t e = position - first, col = (e < COMPRESSOR_RATIO ? 0 : o->k.width) + channel.begin;
            memcpy(r->kv[e], op_matrix_f32(&o->kv_sums, t, col), (size_t)n * sizeof(float));
            memcpy(r->score[e], op_matrix_f32(&o->score_sums, t, col), (size_t)n * sizeof(float));
            o->uk->add(n, op_matrix_f32(&o->ape, position % COMPRESSOR_RATIO, col), r->score[e]);
        }
    }
}

static void run_pool(const void *arg, int64_t block, void *scratch)
{
    const compressor *o = arg;
    int64_t window = pool_window(o, block), end = *ablate_i32(&o->ends, 0, window);
    tile_range channel = pool_channels(o, block);
    window_rows *r = scratch;
    const float *kv[COMPRESSOR_SPAN], *score[COMPRESSOR_SPAN];
    float *y = op_matrix_f32(&o->pooled, window, channel.begin);
    if (*ablate_i32(&o->slots, 0, window) < 0) {
        memset(y, 0, (size_t)(channel.end - channel.begin) * sizeof *y);
        return;
    }
    for (int64_t e = 0; e < COMPRESSOR_SPAN; e++) {
        load_entry(o, end, e, channel, r);
        kv[e] = r->kv[e];
        score[e] = r->score[e];
    }
    if (o->x.scans) {
        scan_tokens(o, end, channel, r);
    }
    o->uk->pool(channel.end - channel.begin, COMPRESSOR_SPAN, kv, score, y);
}

static void add_pool(const op_context *ctx, const compressor *o)
{
    dsv4_graph_stage(ctx->g,
                     &(dsv4_stage_desc){.name = "softmax_pool",
                                        .n_blocks = compressor_n_windows(&o->k) * tile_count(o->k.width, COMPRESSOR_CHANNELS),
                                        .run = run_pool,
                                        .describe = describe_pool,
                                        .arg = o,
                                        .scratch_bytes = sizeof(window_rows)});
}

/* ---- state rows ------------------------------------------------------------------------------------------------------------- */

typedef struct state_block {
    int64_t token, row;
    tile_range col;
} state_block;

static state_block state_at(const compressor *o, int64_t block)
{
    int64_t n = tile_count(2 * o->k.width, COMPRESSOR_OUT_TILE), t = block / n;
    return (state_block){t, t < o->k.n ? o->k.state_slots[t] : -1, tile_at(block % n, COMPRESSOR_OUT_TILE, 2 * o->k.width)};
}

static void describe_state(const void *arg, int64_t block, dsv4_describe *d)
{
    const compressor *o = arg;
    state_block b = state_at(o, block);
    if (b.row < 0) {
        return;
    }
    dsv4_reads(d, o->state_slots.view, 0, 1, b.token, b.token + 1);
    dsv4_reads(d, o->positions.view, 0, 1, b.token, b.token + 1);
    reads_row(d, &o->ape, o->k.positions[b.token] % COMPRESSOR_RATIO, 0, b.col);
    reads_row(d, &o->kv_sums, b.token, 0, b.col);
    reads_row(d, &o->score_sums, b.token, 0, b.col);
    if (o->x.carries) {
        reads_row(d, &o->pooled, 0, 0, (tile_range){0, tile_min(COMPRESSOR_OUT_TILE, o->k.width)});
    }
    dsv4_writes(d, o->kv_state.view, b.row, b.row + 1, b.col.begin, b.col.end);
    dsv4_writes(d, o->score_state.view, b.row, b.row + 1, b.col.begin, b.col.end);
    dsv4_costs(d, declared(compressor_state_block(&o->x, b.col.end - b.col.begin)));
}

static void run_state(const void *arg, int64_t block, void *scratch)
{
    const compressor *o = arg;
    state_block b = state_at(o, block);
    int64_t n = b.col.end - b.col.begin;
    (void)scratch;
    if (b.row < 0) {
        return;
    }
    int64_t row = ((const int64_t *)o->state_slots.data)[b.token];
    float *kv = op_matrix_f32(&o->kv_state, row, b.col.begin), *score = op_matrix_f32(&o->score_state, row, b.col.begin);
    memcpy(kv, op_matrix_f32(&o->kv_sums, b.token, b.col.begin), (size_t)n * sizeof *kv);
    memcpy(score, op_matrix_f32(&o->score_sums, b.token, b.col.begin), (size_t)n * sizeof *score);
    o->uk->add(n, op_matrix_f32(&o->ape, *ablate_i32(&o->positions, 0, b.token) % COMPRESSOR_RATIO, b.col.begin), score);
    if (o->x.carries) {
        int64_t carried = tile_min(n, o->k.width);
        o->uk->add_scaled(carried, 0, op_matrix_f32(&o->pooled, 0, 0), kv);
        o->uk->add_scaled(carried, 0, op_matrix_f32(&o->pooled, 0, 0), score);
    }
}

static void add_state(const op_context *ctx, const compressor *o, const char *name)
{
    dsv4_graph_stage(ctx->g, &(dsv4_stage_desc){.name = name,
                                                .n_blocks = o->k.T * tile_count(2 * o->k.width, COMPRESSOR_OUT_TILE),
                                                .run = run_state,
                                                .describe = describe_state,
                                                .arg = o});
}

/* ---- norm, rotation, Hadamard product, cache -------------------------------------------------------------------------------- */

static void run_norm(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const compressor *o = s->arg;
    int64_t width = o->k.width;
    float *y = scratch;
    for (int64_t i = tile->row.begin; i < tile->row.end; i++) {
        const float *row = op_matrix_f32(&o->pooled, i, 0);
        if (*ablate_i32(&o->slots, 0, i) < 0) {
            memset(ablate_bf16(&o->normed, i, 0), 0, (size_t)width * sizeof(uint16_t));
            continue;
        }
        s->uk->scale_gamma(width, row, op_row_inverse_rms(s->uk, row, width, o->eps), o->norm_w.data, y);
        int64_t position = *ablate_i32(&o->ends, 0, i) + 1 - COMPRESSOR_RATIO;
        ablate_rotate(s->uk, o->R / 2, ablate_bf16(&o->cos, position, 0), ablate_bf16(&o->sin, position, 0), y + width,
                      y + width - o->R);
        s->uk->narrow_bf16(width, y, ablate_bf16(&o->normed, i, 0));
    }
}

/* Rows of cosines and sines one by one; pooled rows and weights in column tiles, the former twice. */
static void add_norm(const op_context *ctx, const compressor *o)
{
    const compressor_chunk *k = &o->k;
    int64_t n = tile_min(FINISH_ROWS, compressor_n_windows(k)), tiles = tile_count(k->width, COMPRESSOR_OUT_TILE);
    const ablate_axis half = {ABLATE_COLS, 1, 0, o->R / 2};
    ablate_stage_add(ctx, &(ablate_stage){.name = "rmsnorm_rope",
                                          .grid = {compressor_n_windows(k), FINISH_ROWS, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->ends, ablate_all, ablate_rows},
                                                   {DSV4_READ, &o->slots, ablate_all, ablate_rows},
                                                   {DSV4_READ, &o->pooled, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->pooled, ablate_rows, ablate_all},
                                                   {DSV4_READ, &o->norm_w, ablate_all, ablate_all},
                                                   {DSV4_READ | DSV4_UNTRACKED, &o->cos, ablate_all, half},
                                                   {DSV4_READ | DSV4_UNTRACKED, &o->sin, ablate_all, half},
                                                   {DSV4_WRITE, &o->normed, ablate_rows, ablate_all}},
                                          .run = run_norm,
                                          .arg = o,
                                          .scratch_bytes = (size_t)(k->width + o->R) * sizeof(float),
                                          .vector_ops = (double)(5 * k->width + 4 * o->R),
                                          .gathered_bytes = (double)(2 * o->R),
                                          .product = {0, 0, 2 + 2 * n + 3 * tiles, 1, 2}});
}

static void run_write(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const compressor *o = s->arg;
    int64_t width = o->k.width;
    (void)scratch;
    for (int64_t i = tile->row.begin; i < tile->row.end; i++) {
        int64_t slot = *ablate_i32(&o->slots, 0, i);
        uint16_t *kv = ablate_bf16(&o->kv, i, 0);
        s->uk->narrow_bf16(width, op_matrix_f32(&o->product, i, 0), kv);
        if (slot >= 0) {
            memcpy(ablate_bf16(&o->cache, slot, 0), kv, (size_t)width * sizeof *kv);
        }
    }
}

/* Nothing reads the cache: its rows are not tracked. */
static void add_write(const op_context *ctx, const compressor *o)
{
    ablate_stage_add(ctx, &(ablate_stage){.name = "cache_write",
                                          .grid = {compressor_n_windows(&o->k), FINISH_ROWS, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->slots, ablate_all, ablate_rows},
                                                   {DSV4_READ, &o->product, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->kv, ablate_rows, ablate_all},
                                                   {DSV4_WRITE | DSV4_UNTRACKED, &o->cache, ablate_all, ablate_all}},
                                          .run = run_write,
                                          .arg = o,
                                          .vector_ops = (double)o->k.width,
                                          .product = {0, 0, 1 + tile_min(FINISH_ROWS, compressor_n_windows(&o->k)), 1, 2}});
}

static void add_finish(const ablate_case *c, const op_context *ctx, const compressor *o)
{
    add_norm(ctx, o);
    ablate_product_add(ctx, &(ablate_product){.name = "kv_hadamard",
                                              .x = o->normed,
                                              .w = ablate_input_matrix(c, ctx, "hadamard", 1),
                                              .y = o->product,
                                              .dtype = DSV4_BF16,
                                              .t_tile = FINISH_ROWS,
                                              .t_inner = FINISH_ROWS,
                                              .n_tile = COMPRESSOR_OUT_TILE,
                                              .group = tile_count(o->k.width, COMPRESSOR_OUT_TILE),
                                              .k_tile = o->k.width,
                                              .k_split = 1,
                                              .ahead = 2});
    add_write(ctx, o);
}

void compressor_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice)
{
    const compressor_choice *x = choice;
    compressor *o = new_compressor(c, ctx, io, x);
    if (o == NULL) {
        return;
    }
    add_projection(c, ctx, "kv_proj", "wkv", &o->kv_sums);
    add_projection(c, ctx, "score_proj", "wgate", &o->score_sums);
    add_map(ctx, o);
    if (x->scans) {
        add_pool(ctx, o);
        add_finish(c, ctx, o);
        add_state(ctx, o, "state_update");
    } else {
        add_state(ctx, o, "state_scatter_pre");
        add_pool(ctx, o);
        add_finish(c, ctx, o);
    }
}
