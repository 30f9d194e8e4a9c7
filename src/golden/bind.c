/* golden/bind.c - see bind.h. */
#include "golden/bind.h"

static bool is_i8(const dsv4_tensor_list *in, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(in, name);
    return t != NULL && t->dtype == DSV4_I8;
}

dsv4_status bind_compressor(const dsv4_config *config, const compressor_names *names, int64_t ratio, const dsv4_tensor_list *in,
                            golden_compressor *c, dsv4_error *err)
{
    enum { WKV, WGATE, APE, NORM_W, HADAMARD, N_IN };
    const bool indexer = names->hadamard != NULL;
    const int64_t hd = indexer ? config->index_head_dim : config->head_dim;
    *c = (golden_compressor){
        .ratio = ratio,
        .D = config->hidden_size,
        .hd = hd,
        .R = config->qk_rope_head_dim,
        .eps = (float)config->rms_norm_eps,
    };
    const int64_t width = golden_compressor_width(c);
    const golden_tensor want[N_IN] = {
        [WKV] = {names->wkv, DSV4_BF16, 2, {width, c->D}},      [WGATE] = {names->wgate, DSV4_BF16, 2, {width, c->D}},
        [APE] = {names->ape, DSV4_F32, 2, {ratio, width}},      [NORM_W] = {names->norm_w, DSV4_BF16, 1, {hd}},
        [HADAMARD] = {names->hadamard, DSV4_BF16, 2, {hd, hd}},
    };
    const void *data[N_IN] = {NULL};
    golden_extents extents = {0};
    dsv4_status status = golden_check_rope_dim(config, indexer ? "index_head_dim" : "head_dim", hd, err);
    if (status == DSV4_OK) {
        status = golden_need(in, want, indexer ? N_IN : HADAMARD, data, &extents, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    c->wkv = data[WKV];
    c->wgate = data[WGATE];
    c->ape = data[APE];
    c->norm_w = data[NORM_W];
    c->hadamard = data[HADAMARD];
    return DSV4_OK;
}

/* The cache, BF16 or INT8 with scales, without the pointers to its elements. */
static dsv4_status bind_cache(const compressor_names *names, int64_t width, const dsv4_tensor_list *in, golden_extents *extents,
                              golden_cache *cache, dsv4_error *err)
{
    const bool i8 = names->cache_scale != NULL && is_i8(in, names->cache);
    const golden_tensor want[2] = {
        {names->cache, i8 ? DSV4_I8 : DSV4_BF16, 4, {GOLDEN_CACHE_PAGES, GOLDEN_CACHE_PAGE, 1, width}},
        {names->cache_scale, DSV4_F32, 4, {GOLDEN_CACHE_PAGES, GOLDEN_CACHE_PAGE, 1, 1}},
    };
    const void *data[2];
    const dsv4_status status = golden_need(in, want, i8 ? 2 : 1, data, extents, err);
    if (status == DSV4_OK) {
        *cache =
            (golden_cache){.n_rows = extents->cache_pages * extents->cache_page, .width = width, .slots_name = names->cache_slots};
    }
    return status;
}

static dsv4_status copy_state(const compressor_names *names, int64_t width, const dsv4_tensor_list *in, dsv4_tensor_list *out,
                              golden_state *state, dsv4_error *err)
{
    const bool split = names->score_state != NULL;
    void *data[2];
    const dsv4_status status = golden_copy(out, in, (const char *[]){names->state, names->score_state}, split ? 2 : 1, data, err);
    if (status == DSV4_OK) {
        state->kv = data[0];
        state->score = split ? data[1] : state->kv + width;
        state->stride = split ? width : 2 * width;
    }
    return status;
}

static dsv4_status copy_cache(const compressor_names *names, const dsv4_tensor_list *in, dsv4_tensor_list *out, golden_cache *cache,
                              dsv4_error *err)
{
    const bool i8 = names->cache_scale != NULL && is_i8(in, names->cache);
    void *data[2];
    const dsv4_status status = golden_copy(out, in, (const char *[]){names->cache, names->cache_scale}, i8 ? 2 : 1, data, err);
    if (status == DSV4_OK) {
        cache->bf16 = i8 ? NULL : data[0];
        cache->i8 = i8 ? data[0] : NULL;
        cache->scale = i8 ? data[1] : NULL;
    }
    return status;
}

dsv4_status bind_copy_memory(const compressor_names *names, const golden_compressor *c, const dsv4_tensor_list *in,
                             dsv4_tensor_list *out, golden_state *state, golden_cache *cache, dsv4_error *err)
{
    const dsv4_status status = copy_state(names, golden_compressor_width(c), in, out, state, err);
    return status == DSV4_OK ? copy_cache(names, in, out, cache, err) : status;
}

dsv4_status bind_decode_step(const dsv4_config *config, const compressor_names *names, const golden_compressor *c,
                             const dsv4_tensor_list *in, golden_extents *extents, golden_decode_step *step, dsv4_error *err)
{
    enum { X, STATE, TABLE, COS, SIN, POSITION_IDS, CACHE_SLOTS, STATE_SLOTS, N_IN };
    const int64_t R = config->qk_rope_head_dim, width = golden_compressor_width(c);
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 3, {GOLDEN_B, GOLDEN_S, c->D}},
        [STATE] = {names->state, DSV4_F32, 3, {GOLDEN_STATE_PAGES, GOLDEN_STATE_PAGE, 2 * width}},
        [TABLE] = {names->state_table, DSV4_I32, 2, {GOLDEN_B, GOLDEN_STATE_TABLE}},
        [COS] = {"cos", DSV4_F32, 2, {GOLDEN_B, R / 2}},
        [SIN] = {"sin", DSV4_F32, 2, {GOLDEN_B, R / 2}},
        [POSITION_IDS] = {"position_ids", DSV4_I32, 2, {GOLDEN_B, GOLDEN_S}},
        [CACHE_SLOTS] = {names->cache_slots, DSV4_I64, 2, {GOLDEN_B, GOLDEN_S}},
        [STATE_SLOTS] = {names->state_slots, DSV4_I64, 2, {GOLDEN_B, GOLDEN_S}},
    };
    const void *data[N_IN];
    golden_cache cache;
    dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        status = bind_cache(names, c->hd, in, extents, &cache, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    *step = (golden_decode_step){
        .B = extents->B,
        .S = extents->S,
        .x = data[X],
        .position_ids = data[POSITION_IDS],
        .state_slots = data[STATE_SLOTS],
        .cache_slots = data[CACHE_SLOTS],
        .cos = data[COS],
        .sin = data[SIN],
        .state = {.pages = {data[TABLE], extents->state_table, extents->state_pages, extents->state_page, names->state_table},
                  .slots_name = names->state_slots},
        .cache = cache,
    };
    return golden_check_compress_decode(c, step, err);
}

/* num_tokens as a number from 0 to T. */
static dsv4_status bind_num_tokens(const dsv4_tensor_list *in, golden_extents *extents, int64_t *n, dsv4_error *err)
{
    const golden_tensor want = {"num_tokens", DSV4_I32, 0, {0}};
    const void *data;
    const dsv4_status status = golden_need(in, &want, 1, &data, extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    *n = *(const int32_t *)data;
    return golden_check_num_tokens((int32_t)*n, extents->T, err);
}

dsv4_status bind_chunk(const dsv4_config *config, const compressor_names *names, const golden_compressor *c,
                       const dsv4_tensor_list *in, golden_extents *extents, golden_chunk *chunk, dsv4_error *err)
{
    enum { X, STATE, SCORE_STATE, TABLE, FREQS_COS, FREQS_SIN, POSITION_IDS, CACHE_SLOTS, STATE_SLOTS, N_IN };
    const int64_t R = config->qk_rope_head_dim, width = golden_compressor_width(c);
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 2, {GOLDEN_T, c->D}},
        [STATE] = {names->state, DSV4_F32, 3, {GOLDEN_STATE_PAGES, GOLDEN_STATE_PAGE, width}},
        [SCORE_STATE] = {names->score_state, DSV4_F32, 3, {GOLDEN_STATE_PAGES, GOLDEN_STATE_PAGE, width}},
        [TABLE] = {names->state_table, DSV4_I32, 1, {GOLDEN_STATE_TABLE}},
        [FREQS_COS] = {"freqs_cos", DSV4_BF16, 2, {GOLDEN_POSITIONS, R}},
        [FREQS_SIN] = {"freqs_sin", DSV4_BF16, 2, {GOLDEN_POSITIONS, R}},
        [POSITION_IDS] = {"position_ids", DSV4_I32, 1, {GOLDEN_T}},
        [CACHE_SLOTS] = {names->cache_slots, DSV4_I64, 1, {GOLDEN_T}},
        [STATE_SLOTS] = {names->state_slots, DSV4_I64, 1, {GOLDEN_T}},
    };
    const void *data[N_IN];
    golden_cache cache;
    int64_t n = 0;
    dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        status = bind_cache(names, c->hd, in, extents, &cache, err);
    }
    if (status == DSV4_OK) {
        status = bind_num_tokens(in, extents, &n, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    *chunk = (golden_chunk){
        .T = extents->T,
        .n = n,
        .x = data[X],
        .position_ids = data[POSITION_IDS],
        .state_slots = data[STATE_SLOTS],
        .cache_slots = data[CACHE_SLOTS],
        .freqs_cos = data[FREQS_COS],
        .freqs_sin = data[FREQS_SIN],
        .n_positions = extents->positions,
        .state = {.pages = {data[TABLE], extents->state_table, extents->state_pages, extents->state_page, names->state_table},
                  .slots_name = names->state_slots},
        .cache = cache,
    };
    return golden_check_compress_prefill(c, chunk, err);
}

dsv4_status bind_index(const dsv4_config *config, int64_t n_angles, const uint16_t *x, const dsv4_tensor_list *in,
                       golden_extents *extents, golden_index *ix, dsv4_error *err)
{
    enum { QR, QR_SCALE, WQ_B, WQ_B_SCALE, WEIGHTS_PROJ, COS, SIN, HADAMARD, N_IN };
    *ix = (golden_index){
        .T = extents->T,
        .D = config->hidden_size,
        .QL = config->q_lora_rank,
        .IH = config->index_n_heads,
        .ID = config->index_head_dim,
        .R = config->qk_rope_head_dim,
        .x = x,
        .tokens_per_angle = extents->T / n_angles,
    };
    const golden_tensor want[N_IN] = {
        [QR] = {"qr", DSV4_I8, 2, {GOLDEN_T, ix->QL}},
        [QR_SCALE] = {"qr_scale", DSV4_F32, 2, {GOLDEN_T, 1}},
        [WQ_B] = {"wq_b", DSV4_I8, 2, {ix->QL, ix->IH * ix->ID}},
        [WQ_B_SCALE] = {"wq_b_scale", DSV4_F32, 1, {ix->IH * ix->ID}},
        [WEIGHTS_PROJ] = {"weights_proj", DSV4_BF16, 2, {ix->D, ix->IH}},
        [COS] = {"cos", DSV4_F32, 2, {n_angles, ix->R / 2}},
        [SIN] = {"sin", DSV4_F32, 2, {n_angles, ix->R / 2}},
        [HADAMARD] = {"hadamard", DSV4_BF16, 2, {ix->ID, ix->ID}},
    };
    const void *data[N_IN];
    const dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    ix->qr = data[QR];
    ix->qr_scale = data[QR_SCALE];
    ix->wq_b = data[WQ_B];
    ix->wq_b_scale = data[WQ_B_SCALE];
    ix->weights_proj = data[WEIGHTS_PROJ];
    ix->cos = data[COS];
    ix->sin = data[SIN];
    ix->hadamard = data[HADAMARD];
    return DSV4_OK;
}
