/* golden/composition.c - the steps of an attention layer that its kinds share (SPEC 6.10).
 *
 * MATH      x_mixed, post, comb = hc_pre(x_hc);  xn = rmsnorm(x_mixed);  q, kv, qr = qkv_proj_rope(xn, rope rows of the positions)
 *           attn_out = attention over ring, kv and compressed rows;  ring row of pos % W <- kv;  x_out = hc_post(attn_out, x_hc)
 * SHAPES    x_hc bf16[T,M,D]  hc_attn_fn f32[(2+M)*M,M*D]  hc_attn_scale f32[3]  hc_attn_base f32[(2+M)*M]  attn_norm_w bf16[D]
 *           freqs_cos, freqs_sin bf16[positions,R]  kv_cache bf16[pages,BS,1,hd]  ori_block_table (SWA: block_table) i32[B,*] or
 *           [*]  ori_slot_mapping i64[T], if given; the weights of qkv_proj_rope and of attention  ->  x_out bf16[T,M,D]  kv_cache
 * NUMERICS  Rows of a chunk beyond its valid tokens have attn_out = 0. Of two tokens of a chunk that write one ring row the later
 *           one wins. */
#include "golden/composition.h"

#include <inttypes.h>
#include <string.h>

static dsv4_status bind(golden_composition *c, golden_extents *extents, dsv4_error *err)
{
    enum { X_HC, FN, SCALE, BASE, ATTN_NORM_W, FREQS_COS, FREQS_SIN, N_IN };
    const int64_t M = c->hc.M, mix = (2 + M) * M, R = c->config->qk_rope_head_dim;
    const golden_tensor want[N_IN] = {
        [X_HC] = {"x_hc", DSV4_BF16, 3, {GOLDEN_T, M, c->D}},
        [FN] = {"hc_attn_fn", DSV4_F32, 2, {mix, M * c->D}},
        [SCALE] = {"hc_attn_scale", DSV4_F32, 1, {3}},
        [BASE] = {"hc_attn_base", DSV4_F32, 1, {mix}},
        [ATTN_NORM_W] = {"attn_norm_w", DSV4_BF16, 1, {c->D}},
        [FREQS_COS] = {"freqs_cos", DSV4_BF16, 2, {GOLDEN_POSITIONS, R}},
        [FREQS_SIN] = {"freqs_sin", DSV4_BF16, 2, {GOLDEN_POSITIONS, R}},
    };
    const void *data[N_IN];
    const dsv4_status status = golden_need(c->in, want, N_IN, data, extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    c->T = extents->T;
    c->n_positions = extents->positions;
    c->x_hc = data[X_HC];
    c->hc.fn = data[FN];
    c->hc.scale = data[SCALE];
    c->hc.base = data[BASE];
    c->freqs_cos = data[FREQS_COS];
    c->freqs_sin = data[FREQS_SIN];
    return DSV4_OK;
}

/* Rows below the cache's; two tokens less than a window apart do not share one. */
static dsv4_status check_ring_slots(const golden_composition *c, dsv4_error *err)
{
    const int64_t *slots = c->ring_slots, W = c->space.W;
    const int64_t n_rows = c->space.ring.pages.n_pages * c->space.ring.pages.page_rows;
    if (!c->tokens.prefill) {
        return golden_check_slots("ori_slot_mapping", slots, c->T, n_rows, err);
    }
    for (int64_t t = 0; t < c->tokens.n; t++) {
        dsv4_status status = golden_check_slots("ori_slot_mapping", slots + t, 1, n_rows, err);
        for (int64_t u = t < W ? 0 : t - W + 1; status == DSV4_OK && u < t && slots[t] >= 0; u++) {
            if (slots[u] == slots[t]) {
                status = dsv4_fail(err, DSV4_E_VALUE,
                                   "input ori_slot_mapping: token %" PRId64 ": got row %" PRId64 " of token %" PRId64
                                   ", expected a row of its own within a window",
                                   t, slots[t], u);
            }
        }
        if (status != DSV4_OK) {
            return status;
        }
    }
    return DSV4_OK;
}

/* The ring, the tokens of the call, and where they go. */
static dsv4_status bind_ring(golden_composition *c, bool prefill, golden_extents *extents, dsv4_error *err)
{
    const golden_paged_names names = {"kv_cache", c->ratio == 0 ? "block_table" : "ori_block_table", GOLDEN_RING_PAGES,
                                      GOLDEN_RING_PAGE, GOLDEN_RING_TABLE};
    golden_key_space *space = &c->space;
    dsv4_status status = golden_paged_bind(&space->ring, c->in, &names, prefill, c->attention.hd, extents, err);
    if (status == DSV4_OK) {
        status = prefill ? golden_tokens_prefill(c->in, c->T, c->n_positions, &c->memory, &c->tokens, err)
                         : golden_tokens_decode(c->in, extents->B, c->T, c->n_positions, &c->memory, &c->tokens, err);
    }
    if (status == DSV4_OK) {
        status = golden_find_slots(&c->tokens, c->in, "ori_slot_mapping", GOLDEN_SLOT_RING, space->W, &space->ring.pages,
                                   &c->memory, &c->ring_slots, err);
    }
    space->B = c->tokens.B;
    space->S = c->tokens.S;
    space->prefill = prefill;
    space->n_tokens = c->tokens.n;
    return status == DSV4_OK ? check_ring_slots(c, err) : status;
}

dsv4_status golden_composition_begin(golden_composition *c, const dsv4_config *config, const dsv4_numerics *numerics, bool prefill,
                                     int64_t ratio, const dsv4_tensor_list *in, dsv4_error *err)
{
    golden_extents extents = {0};
    *c = (golden_composition){
        .config = config,
        .numerics = numerics,
        .in = in,
        .ratio = ratio,
        .M = config->hc_mult,
        .D = config->hidden_size,
        .space.W = config->sliding_window,
    };
    dsv4_status status = golden_hc_init(config, numerics, &c->hc, err);
    if (status == DSV4_OK) {
        status = golden_attention_init(&c->attention, config, numerics, err);
    }
    if (status == DSV4_OK) {
        status = bind(c, &extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_attention_bind(&c->attention, in, err);
    }
    return status == DSV4_OK ? bind_ring(c, prefill, &extents, err) : status;
}

/* Rows of the rope table, one per token. */
static void gather_rope(const golden_composition *c, const uint16_t *table, uint16_t *rows)
{
    const int64_t R = c->attention.R;
    for (int64_t t = 0; t < c->T; t++) {
        memcpy(rows + t * R, table + c->tokens.positions[t] * R, (size_t)R * sizeof *rows);
    }
}

static dsv4_status put(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int64_t rows, int64_t cols, void *data,
                       dsv4_error *err)
{
    const int64_t shape[2] = {rows, cols};
    const dsv4_tensor t = dsv4_tensor_make(dtype, 2, shape, data);
    return dsv4_tensor_list_put(list, name, &t, err);
}

/* Adds the layer's tensors of these names, where it has them, and runs a reference on the list. */
static dsv4_status run_part(golden_composition *c, golden_fn *part, const char *const *names, int n, dsv4_tensor_list *list,
                            dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; status == DSV4_OK && i < n; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(c->in, names[i]);
        status = t != NULL ? dsv4_tensor_list_put(list, names[i], t, err) : DSV4_OK;
    }
    return status == DSV4_OK ? part(c->config, c->numerics, list, &c->parts, NULL, err) : status;
}

/* xn. */
static dsv4_status norm_rows(golden_composition *c, uint16_t *x_mixed, dsv4_error *err)
{
    dsv4_tensor_list list = {0};
    dsv4_status status = put(&list, "x", DSV4_BF16, c->T, c->D, x_mixed, err);
    if (status == DSV4_OK) {
        status = dsv4_tensor_list_put(&list, "norm_w", dsv4_tensor_list_find(c->in, "attn_norm_w"), err);
    }
    if (status == DSV4_OK) {
        status = run_part(c, golden_rmsnorm, NULL, 0, &list, err);
    }
    if (status == DSV4_OK) {
        c->xn = dsv4_tensor_list_find(&c->parts, "x_normed")->data;
    }
    dsv4_tensor_list_deinit(&list);
    return status;
}

/* q, kv, qr, qr_scale. */
static dsv4_status project_qkv(golden_composition *c, uint16_t *rope_cos, uint16_t *rope_sin, dsv4_error *err)
{
    static const char *const weights[] = {"wq_a", "wq_b", "wq_b_scale", "wkv", "gamma_cq", "gamma_ckv"};
    dsv4_tensor_list list = {0};
    dsv4_status status = dsv4_tensor_list_put(&list, "x", dsv4_tensor_list_find(&c->parts, "x_normed"), err);
    if (status == DSV4_OK) {
        status = put(&list, "rope_cos", DSV4_BF16, c->T, c->attention.R, rope_cos, err);
    }
    if (status == DSV4_OK) {
        status = put(&list, "rope_sin", DSV4_BF16, c->T, c->attention.R, rope_sin, err);
    }
    if (status == DSV4_OK) {
        status = run_part(c, golden_qkv_proj_rope, weights, sizeof weights / sizeof weights[0], &list, err);
    }
    if (status == DSV4_OK) {
        c->attention.q = dsv4_tensor_list_find(&c->parts, "q")->data;
        c->kv = dsv4_tensor_list_find(&c->parts, "kv")->data;
        c->qr = dsv4_tensor_list_find(&c->parts, "qr")->data;
        c->qr_scale = dsv4_tensor_list_find(&c->parts, "qr_scale")->data;
        c->space.overlay = c->kv;
    }
    dsv4_tensor_list_deinit(&list);
    return status;
}

dsv4_status golden_composition_front(golden_composition *c, dsv4_error *err)
{
    const size_t T = (size_t)c->T, D = (size_t)c->D, M = (size_t)c->M, R = (size_t)c->attention.R;
    uint16_t *x_mixed = arena_alloc(&c->memory, T * D * sizeof *x_mixed);
    uint16_t *rope_cos = arena_alloc(&c->memory, T * R * sizeof *rope_cos);
    uint16_t *rope_sin = arena_alloc(&c->memory, T * R * sizeof *rope_sin);
    c->post = arena_alloc(&c->memory, T * M * sizeof *c->post);
    c->comb = arena_alloc(&c->memory, T * M * M * sizeof *c->comb);
    if (x_mixed == NULL || rope_cos == NULL || rope_sin == NULL || c->post == NULL || c->comb == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " tokens", c->T);
    }
    gather_rope(c, c->freqs_cos, rope_cos);
    gather_rope(c, c->freqs_sin, rope_sin);
    c->attention.T = c->T;
    c->attention.freqs_cos = rope_cos;
    c->attention.freqs_sin = rope_sin;
    dsv4_status status = golden_mix_streams(&c->hc, c->T, c->x_hc, x_mixed, c->post, c->comb, NULL, err);
    if (status == DSV4_OK) {
        status = norm_rows(c, x_mixed, err);
    }
    return status == DSV4_OK ? project_qkv(c, rope_cos, rope_sin, err) : status;
}

/* The step's keys to the ring, in the order of the tokens. */
static dsv4_status write_ring(golden_composition *c, dsv4_error *err)
{
    const int64_t hd = c->attention.hd;
    void *made;
    const dsv4_status status = golden_copy(&c->made, c->in, (const char *[]){"kv_cache"}, 1, &made, err);
    for (int64_t t = 0; status == DSV4_OK && t < c->tokens.n; t++) {
        if (c->ring_slots[t] >= 0) {
            memcpy((uint16_t *)made + c->ring_slots[t] * hd, c->kv + t * hd, (size_t)hd * sizeof *c->kv);
        }
    }
    return status;
}

/* x_out, from the streams of the input and attn_out. */
static dsv4_status spread(golden_composition *c, dsv4_error *err)
{
    const golden_tensor make = {"x_out", DSV4_BF16, 3, {c->T, c->M, c->D}};
    const golden_extents none = {0};
    void *made;
    const dsv4_status status = golden_make(&c->made, &make, 1, &none, &made, err);
    if (status == DSV4_OK) {
        golden_spread_streams(c->T, c->M, c->D, c->attention.attn_out, c->x_hc, c->post, c->comb, made, NULL);
    }
    return status;
}

static dsv4_status publish(const golden_composition *c, dsv4_tensor_list *out, dsv4_error *err)
{
    for (size_t i = 0; i < c->made.n; i++) {
        const dsv4_tensor *from = &c->made.items[i].tensor;
        dsv4_tensor to;
        const dsv4_status status =
            dsv4_tensor_list_alloc(out, c->made.items[i].name, from->dtype, from->n_dims, from->shape, &to, err);
        if (status != DSV4_OK) {
            return status;
        }
        memcpy(to.data, from->data, dsv4_tensor_bytes(from));
    }
    return DSV4_OK;
}

dsv4_status golden_composition_finish(golden_composition *c, const golden_keys *keys, dsv4_tensor_list *out, progress *p,
                                      dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    c->attention.attn_out = arena_alloc(&c->memory, (size_t)c->T * (size_t)c->D * sizeof *c->attention.attn_out);
    if (c->attention.attn_out == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " tokens", c->T);
    }
    status = golden_attention_run(&c->attention, keys, p, err);
    if (status == DSV4_OK) {
        status = spread(c, err);
    }
    if (status == DSV4_OK) {
        status = write_ring(c, err);
    }
    return status == DSV4_OK ? publish(c, out, err) : status;
}

void golden_composition_end(golden_composition *c)
{
    dsv4_tensor_list_deinit(&c->made);
    dsv4_tensor_list_deinit(&c->parts);
    arena_deinit(&c->memory);
}
