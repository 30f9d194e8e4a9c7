/* golden/composition_cache.c - the compressed side of an attention layer: its compressor, and with ratio 4 its indexer (SPEC 6.10).
 *
 * MATH      compress_decode.c or compress_prefill.c on xn; a decode row is rotated as the first position of the window of the
 *           request's first token
 *           indexer: the same with a Hadamard matrix, then index_decode.c or index_prefill.c; a query is rotated as its own
 *           position
 *           DSV4_REFERENCE, decode: queries and row are rotated as the request's first token, and a token's top-k sees rows that
 *           later tokens complete (SPEC 12.1, 12.2)
 * SHAPES    compressor: cmp_wkv, cmp_wgate, cmp_ape, cmp_norm_w, cmp_kv, cmp_block_table, compress_state_block_table; if given
 *           cmp_slot_mapping, state_slot_mapping i64[T]; decode: compress_state f32[pages,page,2*OUT], tables i32[B,*]; prefill:
 *           cmp_kv_state, cmp_score_state f32[pages,page,OUT], tables i32[*]
 *           indexer: inner_* and idx_* likewise, hadamard_idx, idx_wq_b, idx_wq_b_scale, weights_proj (prefill: idx_weights_proj)
 * NUMERICS  A row that the tables cannot hold is refused; but DSV4_REFERENCE, prefill, selects among the rows that the index cache
 *           holds (SPEC 4.4 CAP). */
#include <inttypes.h>

#include "golden/bind.h"
#include "golden/composition.h"
#include "golden/primitives.h"

/* A compressor of the layer with the memory that it updates. */
typedef struct compressing {
    compressor_names names;
    const char *cache_table;
    int64_t ratio;
    golden_compressor compressor;
    golden_pages state, cache; /* pages of both */
    golden_cache memory;       /* the cache in the results */
} compressing;

static compressing describe_main(const golden_composition *c)
{
    const bool prefill = c->tokens.prefill;
    return (compressing){
        .names = {.wkv = "cmp_wkv",
                  .wgate = "cmp_wgate",
                  .ape = "cmp_ape",
                  .norm_w = "cmp_norm_w",
                  .state = prefill ? "cmp_kv_state" : "compress_state",
                  .score_state = prefill ? "cmp_score_state" : NULL,
                  .state_table = "compress_state_block_table",
                  .state_slots = "state_slot_mapping",
                  .cache = "cmp_kv",
                  .cache_slots = "cmp_slot_mapping"},
        .cache_table = "cmp_block_table",
        .ratio = c->ratio,
    };
}

static compressing describe_inner(const golden_composition *c)
{
    const bool prefill = c->tokens.prefill;
    return (compressing){
        .names = {.wkv = "inner_wkv",
                  .wgate = "inner_wgate",
                  .ape = "inner_ape",
                  .norm_w = "inner_norm_w",
                  .hadamard = "hadamard_idx",
                  .state = prefill ? "inner_kv_state" : "inner_compress_state",
                  .score_state = prefill ? "inner_score_state" : NULL,
                  .state_table = "inner_compress_state_block_table",
                  .state_slots = "inner_state_slot_mapping",
                  .cache = "idx_kv_cache",
                  .cache_scale = "idx_kv_scale",
                  .cache_slots = "idx_slot_mapping"},
        .cache_table = "idx_block_table",
        .ratio = c->ratio,
    };
}

static bool rotates_as_first_token(const golden_composition *c)
{
    return c->numerics->compat == DSV4_REFERENCE && !c->tokens.prefill;
}

/* A page table, i32 [B, entries] in decode, [entries] in prefill. */
static golden_tensor table_of(const golden_composition *c, const char *name, int64_t n_entries)
{
    return c->tokens.prefill ? (golden_tensor){name, DSV4_I32, 1, {n_entries}}
                             : (golden_tensor){name, DSV4_I32, 2, {c->tokens.B, n_entries}};
}

/* Pages of state and cache. */
static dsv4_status bind_pages(const golden_composition *c, compressing *w, dsv4_error *err)
{
    enum { STATE, STATE_TABLE, CACHE, CACHE_TABLE, CACHE_SCALE, N_IN };
    const compressor_names *names = &w->names;
    const int64_t width = golden_compressor_width(&w->compressor) * (names->score_state != NULL ? 1 : 2);
    const dsv4_tensor *cache = dsv4_tensor_list_find(c->in, names->cache);
    const bool i8 = names->cache_scale != NULL && cache != NULL && cache->dtype == DSV4_I8;
    const golden_tensor want[N_IN] = {
        [STATE] = {names->state, DSV4_F32, 3, {GOLDEN_STATE_PAGES, GOLDEN_STATE_PAGE, width}},
        [STATE_TABLE] = table_of(c, names->state_table, GOLDEN_STATE_TABLE),
        [CACHE] = {names->cache, i8 ? DSV4_I8 : DSV4_BF16, 4, {GOLDEN_CACHE_PAGES, GOLDEN_CACHE_PAGE, 1, w->compressor.hd}},
        [CACHE_TABLE] = table_of(c, w->cache_table, GOLDEN_CACHE_TABLE),
        [CACHE_SCALE] = {names->cache_scale, DSV4_F32, 4, {GOLDEN_CACHE_PAGES, GOLDEN_CACHE_PAGE, 1, 1}},
    };
    const void *data[N_IN];
    golden_extents e = {0};
    const dsv4_status status = golden_need(c->in, want, i8 ? N_IN : CACHE_SCALE, data, &e, err);
    if (status != DSV4_OK) {
        return status;
    }
    w->state = (golden_pages){data[STATE_TABLE], e.state_table, e.state_pages, e.state_page, names->state_table};
    w->cache = (golden_pages){data[CACHE_TABLE], e.cache_table, e.cache_pages, e.cache_page, w->cache_table};
    return DSV4_OK;
}

/* The first R/2 columns of rope rows at positions[n], widened: f32 [n, R/2]. */
static dsv4_status half_rows(golden_composition *c, const int32_t *positions, int64_t n, float **cosines, float **sines,
                             dsv4_error *err)
{
    const int64_t R = c->attention.R, half = R / 2;
    *cosines = arena_alloc(&c->memory, (size_t)(n * half) * sizeof **cosines);
    *sines = arena_alloc(&c->memory, (size_t)(n * half) * sizeof **sines);
    if (*cosines == NULL || *sines == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " rope rows", n);
    }
    for (int64_t i = 0; i < n; i++) {
        golden_widen(c->freqs_cos + positions[i] * R, half, *cosines + i * half);
        golden_widen(c->freqs_sin + positions[i] * R, half, *sines + i * half);
    }
    return DSV4_OK;
}

/* positions[B]: the first of each request, or the first of its window. */
static dsv4_status request_positions(golden_composition *c, bool of_window, int32_t **positions, dsv4_error *err)
{
    *positions = arena_alloc(&c->memory, (size_t)c->tokens.B * sizeof **positions);
    if (*positions == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " requests", c->tokens.B);
    }
    for (int64_t b = 0; b < c->tokens.B; b++) {
        const int32_t first = c->tokens.positions[b * c->tokens.S];
        (*positions)[b] = of_window ? (int32_t)(first - first % c->ratio) : first;
    }
    return DSV4_OK;
}

static dsv4_status find_slots(golden_composition *c, const compressing *w, const int64_t **state_slots, const int64_t **cache_slots,
                              dsv4_error *err)
{
    const dsv4_status status =
        golden_find_slots(&c->tokens, c->in, w->names.state_slots, GOLDEN_SLOT_STATE, 0, &w->state, &c->memory, state_slots, err);
    if (status != DSV4_OK) {
        return status;
    }
    return golden_find_slots(&c->tokens, c->in, w->names.cache_slots, GOLDEN_SLOT_WINDOW, w->ratio, &w->cache, &c->memory,
                             cache_slots, err);
}

static dsv4_status compress_step(golden_composition *c, compressing *w, dsv4_error *err)
{
    golden_decode_step step = {
        .B = c->tokens.B,
        .S = c->tokens.S,
        .x = c->xn,
        .position_ids = c->tokens.positions,
        .state = {.pages = w->state, .slots_name = w->names.state_slots},
        .cache = {.n_rows = w->cache.n_pages * w->cache.page_rows, .width = w->compressor.hd, .slots_name = w->names.cache_slots},
    };
    const bool inner = w->names.hadamard != NULL;
    int32_t *positions;
    float *cosines = NULL, *sines = NULL;
    dsv4_status status = find_slots(c, w, &step.state_slots, &step.cache_slots, err);
    if (status == DSV4_OK) {
        status = request_positions(c, !(inner && rotates_as_first_token(c)), &positions, err);
    }
    if (status == DSV4_OK) {
        status = half_rows(c, positions, step.B, &cosines, &sines, err);
    }
    step.cos = cosines;
    step.sin = sines;
    if (status == DSV4_OK) {
        status = golden_check_compress_decode(&w->compressor, &step, err);
    }
    if (status == DSV4_OK) {
        status = bind_copy_memory(&w->names, &w->compressor, c->in, &c->made, &step.state, &step.cache, err);
    }
    w->memory = step.cache;
    return status == DSV4_OK ? golden_compress_decode(&w->compressor, &step, NULL, err) : status;
}

static dsv4_status compress_chunk(golden_composition *c, compressing *w, dsv4_error *err)
{
    golden_chunk chunk = {
        .T = c->T,
        .n = c->tokens.n,
        .x = c->xn,
        .position_ids = c->tokens.positions,
        .freqs_cos = c->freqs_cos,
        .freqs_sin = c->freqs_sin,
        .n_positions = c->n_positions,
        .state = {.pages = w->state, .slots_name = w->names.state_slots},
        .cache = {.n_rows = w->cache.n_pages * w->cache.page_rows, .width = w->compressor.hd, .slots_name = w->names.cache_slots},
    };
    dsv4_status status = find_slots(c, w, &chunk.state_slots, &chunk.cache_slots, err);
    if (status == DSV4_OK) {
        status = golden_check_compress_prefill(&w->compressor, &chunk, err);
    }
    if (status == DSV4_OK) {
        status = bind_copy_memory(&w->names, &w->compressor, c->in, &c->made, &chunk.state, &chunk.cache, err);
    }
    w->memory = chunk.cache;
    return status == DSV4_OK ? golden_compress_prefill(&w->compressor, &chunk, NULL, err) : status;
}

static dsv4_status compress(golden_composition *c, compressing *w, dsv4_error *err)
{
    dsv4_status status = bind_compressor(c->config, &w->names, w->ratio, c->in, &w->compressor, err);
    if (status == DSV4_OK) {
        status = bind_pages(c, w, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    return c->tokens.prefill ? compress_chunk(c, w, err) : compress_step(c, w, err);
}

dsv4_status golden_composition_compress(golden_composition *c, dsv4_error *err)
{
    compressing w = describe_main(c);
    const dsv4_status status = compress(c, &w, err);
    if (status == DSV4_OK) {
        c->space.compressed = (golden_paged){.pages = w.cache, .rows = w.memory.bf16, .hd = w.compressor.hd};
    }
    return status;
}

/* The queries: everything of *ix. */
static dsv4_status bind_queries(golden_composition *c, const compressing *inner, golden_index *ix, dsv4_error *err)
{
    enum { WQ_B, WQ_B_SCALE, WEIGHTS_PROJ, N_IN };
    const dsv4_config *config = c->config;
    const int64_t QL = config->q_lora_rank, IH = config->index_n_heads, ID = config->index_head_dim;
    const golden_tensor want[N_IN] = {
        [WQ_B] = {"idx_wq_b", DSV4_I8, 2, {QL, IH * ID}},
        [WQ_B_SCALE] = {"idx_wq_b_scale", DSV4_F32, 1, {IH * ID}},
        [WEIGHTS_PROJ] = {c->tokens.prefill ? "idx_weights_proj" : "weights_proj", DSV4_BF16, 2, {c->D, IH}},
    };
    const bool shared = rotates_as_first_token(c);
    const void *data[N_IN];
    golden_extents none = {0};
    int32_t *positions = c->tokens.positions;
    float *cosines = NULL, *sines = NULL;
    dsv4_status status = golden_need(c->in, want, N_IN, data, &none, err);
    if (status == DSV4_OK && shared) {
        status = request_positions(c, false, &positions, err);
    }
    if (status == DSV4_OK) {
        status = half_rows(c, positions, shared ? c->tokens.B : c->T, &cosines, &sines, err);
    }
    if (status == DSV4_OK) {
        *ix = (golden_index){
            .T = c->T,
            .D = c->D,
            .QL = QL,
            .IH = IH,
            .ID = ID,
            .R = c->attention.R,
            .x = c->xn,
            .qr = c->qr,
            .qr_scale = c->qr_scale,
            .wq_b = data[WQ_B],
            .wq_b_scale = data[WQ_B_SCALE],
            .weights_proj = data[WEIGHTS_PROJ],
            .hadamard = inner->compressor.hadamard,
            .cos = cosines,
            .sin = sines,
            .tokens_per_angle = shared ? c->tokens.S : 1,
        };
    }
    return status;
}

static dsv4_status alloc_chosen(golden_composition *c, int64_t n_scores, int64_t columns, float **score, int32_t **indices,
                                dsv4_error *err)
{
    *score = arena_alloc(&c->memory, (size_t)c->T * (size_t)n_scores * sizeof **score);
    *indices = arena_alloc(&c->memory, (size_t)c->T * (size_t)columns * sizeof **indices);
    if (*score == NULL || *indices == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "indexer: no memory for %" PRId64 " scores of %" PRId64 " tokens", n_scores, c->T);
    }
    return DSV4_OK;
}

static dsv4_status choose_in_step(golden_composition *c, const compressing *inner, const golden_index *ix, golden_chosen *chosen,
                                  dsv4_error *err)
{
    const int64_t rows = golden_max_rows(&c->tokens, c->ratio);
    golden_index_step step = {
        .B = c->tokens.B,
        .S = c->tokens.S,
        .position_ids = c->tokens.positions,
        .kv_seq_lens = c->tokens.kv_seq_lens,
        .pages = inner->cache,
        .cache = inner->memory,
        .causal = c->numerics->compat == DSV4_CORRECT,
        .topk = c->config->index_topk,
        .offset = (int32_t)(c->space.W + c->tokens.S),
        .score_len = rows > 0 ? rows : 1,
    };
    dsv4_status status = alloc_chosen(c, step.score_len, step.score_len, &step.score, &step.topk_idxs, err);
    if (status == DSV4_OK) {
        status = golden_check_index_decode(&step, err);
    }
    *chosen = (golden_chosen){step.topk_idxs, step.score_len};
    return status == DSV4_OK ? golden_index_decode(ix, &step, NULL, err) : status;
}

static dsv4_status choose_in_chunk(golden_composition *c, const compressing *inner, const golden_index *ix, golden_chosen *chosen,
                                   dsv4_error *err)
{
    const int64_t KT = c->config->index_topk;
    golden_index_chunk chunk = {
        .n = c->tokens.n,
        .position_ids = c->tokens.positions,
        .pages = inner->cache,
        .cache = inner->memory,
        .topk = KT,
        .offset = (int32_t)(c->space.W + c->T),
        .n_topk_columns = KT,
    };
    dsv4_status status = DSV4_OK;
    if (c->numerics->compat == DSV4_CORRECT) {
        status = golden_check_pages(&inner->cache, 0, 0, golden_max_rows(&c->tokens, c->ratio) - 1, err);
    }
    if (status == DSV4_OK) {
        status = alloc_chosen(c, inner->cache.n_entries * inner->cache.page_rows, KT, &chunk.score, &chunk.topk_idxs, err);
    }
    if (status == DSV4_OK) {
        status = golden_check_index_prefill(&chunk, err);
    }
    *chosen = (golden_chosen){chunk.topk_idxs, KT};
    return status == DSV4_OK ? golden_index_prefill(ix, &chunk, NULL, err) : status;
}

dsv4_status golden_composition_index(golden_composition *c, golden_chosen *chosen, dsv4_error *err)
{
    compressing inner = describe_inner(c);
    golden_index ix;
    dsv4_status status = compress(c, &inner, err);
    if (status == DSV4_OK) {
        status = bind_queries(c, &inner, &ix, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    return c->tokens.prefill ? choose_in_chunk(c, &inner, &ix, chosen, err) : choose_in_step(c, &inner, &ix, chosen, err);
}
