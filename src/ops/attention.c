/* ops/attention.c - the attention layers: hyper-connections around compressed sparse attention, one graph (SPEC 6.10).
 *
 * MATH      (x_mixed, post, comb) = hc_pre(x_hc);  xn = rmsnorm(x_mixed);  (q, kv, qr) = qkv_proj_rope(xn)
 *           HCA, CSA: the compressor pools xn into cmp_kv;  CSA: the indexer chooses compressed rows for each token
 *           attn_out = sparse_attn(q; keys: sliding window, this step, compressed rows)
 *           x_out = hc_post(attn_out, x_hc, post, comb)
 *           and behind the attention kv goes to the window cache
 * SHAPES    x_hc bf16[T,M,D] -> x_out bf16[T,M,D]; caches and states in pages, updated in place
 * STAGES    attention.plan   one block: every integer of the step checked and resolved, or the step refused (ops/step.h)
 *           hc.*, rmsnorm.*, qkv.*, compress.*, index.*, attn.*, out.*, hc.post: of the parts
 *           attention.lists  [tokens]   positions, chosen rows -> key lists
 *           attention.store  [request]  kv -> window cache, behind all readers of the request's window
 *           No barrier between the parts: each block waits for the rows that it reads.
 * NUMERICS  those of the parts. */
#include "ops/attention.h"

#include "ops/compress.h"
#include "ops/hc.h"
#include "ops/index.h"
#include "ops/qkv.h"
#include "ops/rmsnorm.h"
#include "ops/tile.h"

/* ---- the call ------------------------------------------------------------------------------------------------------------ */

/* What all parts share while a layer is built. */
typedef struct layer {
    const op_context *c;
    bool is_decode;
    int64_t ratio, n_requests, tokens_per_request, T;
    op_turns turns;
    op_step step;
    op_matrix x_hc, post, comb, q, kv, qr, qr_scale, ring, compressed, topk, attn_out;
    op_acts xn, qr_acts;
    op_matrix ring_reads; /* I8 [n_requests, 1]: orders the readers of a window before its update */
    op_compress main, inner;
    op_compress_plan *main_plan, *inner_plan;
    op_compressed main_done, inner_done;
} layer;

static op_matrix named(const layer *l, const char *name, int n_col_dims)
{
    return op_matrix_named(l->c, name, n_col_dims);
}

/* Optional per-token integers as one row. */
static op_matrix per_token(const layer *l, const char *name)
{
    return op_has_tensor(l->c, name) ? named(l, name, 1) : op_no_matrix;
}

static op_project_tiles product_tiles(const layer *l)
{
    return (op_project_tiles){l->c->tile[ATTENTION_T_TILE], l->c->tile[ATTENTION_N_TILE], l->c->tile[ATTENTION_K_SPLIT]};
}

/* ---- the step: positions, slots, pages ----------------------------------------------------------------------------------- */

static op_pages pages_of(const layer *l, const char *table, const char *cache)
{
    dsv4_tensor t = op_tensor_named(l->c, cache);
    return (op_pages){table, named(l, table, 1), t.shape[1], t.shape[0] * t.shape[1]};
}

static void add_slots(layer *l, op_slot_kind kind, const char *given, op_pages pages)
{
    l->step.slots[l->step.n_slots++] =
        (op_slots){.kind = kind, .ratio = l->ratio, .pages = pages, .given_name = given, .given = per_token(l, given)};
}

enum { RING_SLOTS, MAIN_CACHE_SLOTS, MAIN_STATE_SLOTS, INNER_CACHE_SLOTS, INNER_STATE_SLOTS };

static const char *ring_table(const layer *l)
{
    return l->ratio == 0 ? "block_table" : "ori_block_table";
}

static void plan_step(layer *l)
{
    op_step *s = &l->step;
    *s = (op_step){.is_decode = l->is_decode,
                   .n_requests = l->n_requests,
                   .tokens_per_request = l->tokens_per_request,
                   .ratio = l->ratio,
                   .given_positions = per_token(l, "position_ids"),
                   .given_lengths = per_token(l, "kv_seq_lens"),
                   .given_n_tokens = op_has_tensor(l->c, "num_tokens") ? named(l, "num_tokens", 0) : op_no_matrix,
                   .max_position = l->turns.cos.rows};
    add_slots(l, OP_SLOT_RING, "ori_slot_mapping", pages_of(l, ring_table(l), "kv_cache"));
    if (l->ratio > 0) {
        add_slots(l, OP_SLOT_WINDOW, "cmp_slot_mapping", pages_of(l, "cmp_block_table", "cmp_kv"));
        add_slots(l, OP_SLOT_STATE, "state_slot_mapping",
                  pages_of(l, "compress_state_block_table", l->is_decode ? "compress_state" : "cmp_kv_state"));
    }
    if (l->ratio == 4) {
        add_slots(l, OP_SLOT_WINDOW, "idx_slot_mapping", pages_of(l, "idx_block_table", "idx_kv_cache"));
        add_slots(l, OP_SLOT_STATE, "inner_state_slot_mapping",
                  pages_of(l, "inner_compress_state_block_table", l->is_decode ? "inner_compress_state" : "inner_kv_state"));
    }
    op_step_add(l->c, s);
}

/* ---- compressors --------------------------------------------------------------------------------------------------------- */

/* The two halves of a decode state, or the two states of prefill. */
static void set_state(layer *l, op_compress *a, const char *state, const char *kv_state, const char *score_state)
{
    int64_t out = a->width * (a->ratio == 4 ? 2 : 1);
    if (l->is_decode) {
        op_matrix all = named(l, state, 1);
        a->kv_state = op_matrix_cols(l->c, "kv_state", all, sizeof(float), 0, out);
        a->score_state = op_matrix_cols(l->c, "score_state", all, sizeof(float), out, out);
    } else {
        a->kv_state = named(l, kv_state, 1);
        a->score_state = named(l, score_state, 1);
    }
}

static op_compress compressor(const layer *l, const char *name, int64_t width, int cache_slots, int state_slots)
{
    return (op_compress){.name = name,
                         .is_decode = l->is_decode,
                         .ratio = l->ratio,
                         .width = width,
                         .n_requests = l->n_requests,
                         .tokens_per_request = l->tokens_per_request,
                         .x = l->xn,
                         .positions = l->step.positions,
                         .n_tokens = l->is_decode ? op_no_matrix : l->step.n_tokens,
                         .state_page = l->step.slots[state_slots].pages.page,
                         .state_table = l->step.slots[state_slots].pages.table,
                         .state_slots = l->step.slots[state_slots].rows,
                         .cache_slots = l->step.slots[cache_slots].rows,
                         .turns = l->turns,
                         .turn_rule = OP_TURN_OF_WINDOW,
                         .tiles = product_tiles(l)};
}

static void plan_main_compressor(layer *l)
{
    op_compress *a = &l->main;
    *a = compressor(l, "compress", l->c->dims.of[OP_hd], MAIN_CACHE_SLOTS, MAIN_STATE_SLOTS);
    set_state(l, a, "compress_state", "cmp_kv_state", "cmp_score_state");
    a->wkv = op_tensor_named(l->c, "cmp_wkv");
    a->wgate = op_tensor_named(l->c, "cmp_wgate");
    a->ape = named(l, "cmp_ape", 1);
    a->norm_w = named(l, "cmp_norm_w", 1);
    a->cache = l->compressed;
    l->main_plan = op_compress_plan_add(l->c, a);
}

static void plan_inner_compressor(layer *l)
{
    op_compress *a = &l->inner;
    *a = compressor(l, "index.compress", l->c->dims.of[OP_ID], INNER_CACHE_SLOTS, INNER_STATE_SLOTS);
    set_state(l, a, "inner_compress_state", "inner_kv_state", "inner_score_state");
    a->wkv = op_tensor_named(l->c, "inner_wkv");
    a->wgate = op_tensor_named(l->c, "inner_wgate");
    a->ape = named(l, "inner_ape", 1);
    a->norm_w = named(l, "inner_norm_w", 1);
    a->hadamard = op_tensor_named(l->c, "hadamard_idx");
    a->cache = named(l, "idx_kv_cache", 1);
    a->cache_scale = op_has_tensor(l->c, "idx_kv_scale") ? named(l, "idx_kv_scale", 1) : op_no_matrix;
    if (l->is_decode && l->c->numerics.compat == DSV4_REFERENCE) {
        a->turn_rule = OP_TURN_OF_FIRST;
    }
    l->inner_plan = op_compress_plan_add(l->c, a);
}

/* ---- the indexer --------------------------------------------------------------------------------------------------------- */

/* Raw index of the first compressed row. */
static int64_t first_window(const layer *l)
{
    return l->c->dims.of[OP_W] + l->tokens_per_request;
}

static void add_indexer(layer *l)
{
    const op_context *c = l->c;
    bool as_reference = l->is_decode && c->numerics.compat == DSV4_REFERENCE;
    l->topk = op_matrix_new(c, "index.rows", l->T, c->dims.of[OP_KT], DSV4_I32);
    op_index_add(c, &(op_index){.n_requests = l->n_requests,
                                .tokens_per_request = l->tokens_per_request,
                                .x = l->xn,
                                .qr = l->qr_acts,
                                .qr_scale = l->qr_scale,
                                .wq_b = op_tensor_named(c, "idx_wq_b"),
                                .wq_b_scale = named(l, "idx_wq_b_scale", 1),
                                .weights_proj = op_tensor_named(c, l->is_decode ? "weights_proj" : "idx_weights_proj"),
                                .hadamard = op_tensor_named(c, "hadamard_idx"),
                                .turns = l->turns,
                                .turn_rows = as_reference ? l->step.first_turn_rows : l->step.positions,
                                .cache = l->inner.cache,
                                .cache_scale = l->inner.cache_scale,
                                .page = l->step.slots[INNER_CACHE_SLOTS].pages.page,
                                .table = l->step.slots[INNER_CACHE_SLOTS].pages.table,
                                .n_visible = as_reference ? l->step.n_windows_end : l->step.n_windows,
                                .fresh = l->inner_done.done,
                                .is_decode = l->is_decode,
                                .offset = op_matrix_constant(c, "index.offset", first_window(l)),
                                .topk = l->topk,
                                .t_tile = c->tile[ATTENTION_INDEX_T_TILE],
                                .key_tile = c->tile[ATTENTION_INDEX_KEY_TILE],
                                .key_parts = c->tile[ATTENTION_INDEX_PARTS],
                                .proj_t_tile = c->tile[ATTENTION_T_TILE],
                                .head_group = c->tile[ATTENTION_INDEX_HEADS]});
}

/* ---- keys and attention ---------------------------------------------------------------------------------------------------- */

/* Compressed rows in a list at most. */
static int64_t max_windows(const layer *l)
{
    const op_context *c = l->c;
    int64_t all = l->turns.cos.rows / 128, KT = c->dims.of[OP_KT];
    if (l->ratio != 128) {
        return l->ratio == 0 ? 0 : KT;
    }
    if (c->numerics.compat != DSV4_REFERENCE) {
        return all;
    }
    return l->is_decode ? tile_min(c->config->max_position_embeddings / 128, KT) : KT;
}

static op_list_form list_form(const layer *l)
{
    if (!l->is_decode) {
        return OP_LIST_PREFILL;
    }
    return l->ratio == 0 ? OP_LIST_SWA : l->ratio == 4 ? OP_LIST_CSA : OP_LIST_HCA;
}

static op_matrix resolve_keys(const layer *l, op_matrix raw, op_matrix lens, int64_t max_len)
{
    return op_key_lists_add(
        l->c, &(op_key_lists){.form = list_form(l),
                              .tokens_per_request = l->tokens_per_request,
                              .raw = raw,
                              .lens = lens,
                              .max_len = max_len,
                              .n_tokens = l->is_decode ? op_no_matrix : l->step.n_tokens,
                              .ring_table = l->step.slots[RING_SLOTS].pages.table,
                              .compressed_table = l->ratio > 0 ? l->step.slots[MAIN_CACHE_SLOTS].pages.table : op_no_matrix,
                              .page = l->step.slots[RING_SLOTS].pages.page,
                              .ring = l->ring,
                              .overlay = l->kv,
                              .compressed = l->compressed});
}

/* Lists that the caller made are resolved with the rest of the step's integers, before anything is written. */
static op_matrix add_given_keys(const layer *l)
{
    return resolve_keys(l, named(l, "cmp_sparse_indices", 1), named(l, "cmp_sparse_lens", 1), op_prefill_max_len(l->c->config));
}

static op_matrix add_keys(const layer *l)
{
    attention_lists lists = {.step = &l->step, .topk = l->topk, .max_windows = max_windows(l)};
    attention_lists_add(l->c, &lists);
    bool is_cut = !l->is_decode && l->c->numerics.compat == DSV4_REFERENCE;
    return resolve_keys(l, lists.raw, lists.lens, is_cut ? op_prefill_max_len(l->c->config) : lists.raw.cols);
}

/* Lists that the caller made may name any window of the step. */
static void add_attention(const layer *l, op_matrix keys)
{
    const op_context *c = l->c;
    bool any_window = l->is_decode || op_has_tensor(c, "cmp_sparse_indices");
    const int64_t *tile = c->tile;
    op_attend_add(c, &(op_attend){.tokens_per_request = l->tokens_per_request,
                                  .q = l->q,
                                  .ring = l->ring,
                                  .overlay = l->kv,
                                  .compressed = l->compressed,
                                  .keys = keys,
                                  .fresh = l->main_done.done,
                                  .fresh_ratio = any_window ? 0 : l->ratio,
                                  .ring_reads = l->ring_reads,
                                  .sink = named(l, "attn_sink", 1),
                                  .turns = l->turns,
                                  .turn_rows = l->step.positions,
                                  .wo_a = op_tensor_named(c, "wo_a"),
                                  .wo_b = op_tensor_named(c, "wo_b"),
                                  .wo_b_scale = named(l, "wo_b_scale", 1),
                                  .attn_out = l->attn_out,
                                  .tiles = {.head_group = tile[ATTENTION_CORE_HEADS],
                                            .key_blocks = tile[ATTENTION_KEY_BLOCKS],
                                            .t_tile = tile[ATTENTION_T_TILE],
                                            .a_n_tile = tile[ATTENTION_A_N_TILE],
                                            .a_k_split = tile[ATTENTION_A_K_SPLIT],
                                            .b_n_tile = tile[ATTENTION_B_N_TILE],
                                            .norm_t_tile = tile[ATTENTION_NORM_T_TILE]}});
}

/* ---- graph --------------------------------------------------------------------------------------------------------------- */

static void init(layer *l, const op_context *c)
{
    const int64_t *dims = c->dims.of;
    *l = (layer){.c = c, .is_decode = c->op->mode == DSV4_DECODE, .ratio = c->op->ratio, .T = dims[OP_T]};
    l->n_requests = l->is_decode ? dims[OP_B] : 1;
    l->tokens_per_request = l->T / l->n_requests;
    l->turns = op_turns_named(c, "freqs_cos", "freqs_sin");
    l->x_hc = named(l, "x_hc", 2);
    l->ring = named(l, "kv_cache", 1);
    l->compressed = l->ratio > 0 ? named(l, "cmp_kv", 1) : op_no_matrix;
    l->xn = op_acts_new(c, "attention.xn_tile", l->T, dims[OP_D], DSV4_BF16);
    l->post = op_matrix_new(c, "attention.post", l->T, dims[OP_M], DSV4_F32);
    l->comb = op_matrix_new(c, "attention.comb", l->T, dims[OP_M] * dims[OP_M], DSV4_F32);
    l->q = op_matrix_new(c, "attention.q", l->T, dims[OP_H] * dims[OP_hd], DSV4_BF16);
    l->kv = op_matrix_new(c, "attention.kv", l->T, dims[OP_hd], DSV4_BF16);
    l->qr = op_matrix_new(c, "attention.qr", l->T, dims[OP_QL], DSV4_I8);
    l->qr_scale = op_matrix_new(c, "attention.qr_scale", l->T, 1, DSV4_F32);
    l->attn_out = op_matrix_new(c, "attention.out", l->T, dims[OP_D], DSV4_BF16);
    l->ring_reads = op_matrix_new(c, "attention.ring_reads", l->n_requests, 1, DSV4_I8);
}

static void add_input(const layer *l)
{
    const op_context *c = l->c;
    const int64_t *tile = c->tile;
    op_matrix x_mixed = op_matrix_new(c, "attention.x_mixed", l->T, c->dims.of[OP_D], DSV4_BF16);
    op_matrix xn = op_matrix_new(c, "attention.xn", l->T, c->dims.of[OP_D], DSV4_BF16);
    op_hc_pre_add(c, &(op_hc_pre_args){.x = l->x_hc,
                                       .fn = op_tensor_named(c, "hc_attn_fn"),
                                       .scale = named(l, "hc_attn_scale", 1),
                                       .base = named(l, "hc_attn_base", 1),
                                       .x_mixed = x_mixed,
                                       .post = l->post,
                                       .comb = l->comb,
                                       .tiles = {tile[ATTENTION_T_TILE], UK_PANEL, tile[ATTENTION_HC_SPLIT]},
                                       .t_tile = tile[ATTENTION_NORM_T_TILE],
                                       .d_parts = tile[ATTENTION_D_PARTS]});
    op_rmsnorm_add(c, &(op_rmsnorm_args){.x = x_mixed,
                                         .y = xn,
                                         .w = named(l, "attn_norm_w", 1),
                                         .t_tile = tile[ATTENTION_NORM_T_TILE],
                                         .parts = tile[ATTENTION_D_PARTS]});
    op_acts_add_tile(c, "attention.xn_tile", xn, l->xn);
}

static void add_qkv(layer *l)
{
    const op_context *c = l->c;
    const int64_t *tile = c->tile;
    l->qr_acts = op_qkv_add(c, &(op_qkv_args){.x = l->xn,
                                              .wq_a = op_tensor_named(c, "wq_a"),
                                              .wq_b = op_tensor_named(c, "wq_b"),
                                              .wkv = op_tensor_named(c, "wkv"),
                                              .wq_b_scale = named(l, "wq_b_scale", 1),
                                              .gamma_cq = named(l, "gamma_cq", 1),
                                              .gamma_ckv = named(l, "gamma_ckv", 1),
                                              .turns = l->turns,
                                              .turn_rows = l->step.positions,
                                              .q = l->q,
                                              .kv = l->kv,
                                              .qr = l->qr,
                                              .qr_scale = l->qr_scale,
                                              .tiles = {.low_rank = product_tiles(l),
                                                        .norm_t_tile = tile[ATTENTION_NORM_T_TILE],
                                                        .norm_parts = tile[ATTENTION_NORM_PARTS],
                                                        .head_group = tile[ATTENTION_HEAD_GROUP]}});
}

static void add_output(const layer *l)
{
    op_hc_post_add(l->c, &(op_hc_post_args){.x = l->attn_out,
                                            .residual = l->x_hc,
                                            .y = named(l, "x_out", 2),
                                            .post = l->post,
                                            .comb = l->comb,
                                            .t_tile = l->c->tile[ATTENTION_NORM_T_TILE],
                                            .d_parts = l->c->tile[ATTENTION_D_PARTS]});
}

/* All that may refuse the step comes first: what outlives the step is written behind it. */
void attention_build(const op_context *c)
{
    layer l;
    init(&l, c);
    plan_step(&l);
    if (l.ratio > 0) {
        plan_main_compressor(&l);
    }
    if (l.ratio == 4) {
        plan_inner_compressor(&l);
    }
    bool has_lists = op_has_tensor(c, "cmp_sparse_indices");
    op_matrix keys = has_lists ? add_given_keys(&l) : op_no_matrix;
    add_input(&l);
    add_qkv(&l);
    if (l.ratio > 0) {
        l.main_done = op_compress_run_add(c, l.main_plan);
    }
    if (l.ratio == 4) {
        l.inner_done = op_compress_run_add(c, l.inner_plan);
        add_indexer(&l);
    }
    add_attention(&l, has_lists ? keys : add_keys(&l));
    attention_store_add(c, &(attention_store){l.kv, l.ring, l.step.slots[RING_SLOTS].rows, l.ring_reads, l.tokens_per_request});
    add_output(&l);
}
