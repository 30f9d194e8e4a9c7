/* golden/sparse_attn.c - attention over index lists with its output projection, by itself (SPEC 5.1 to 5.4).
 *
 * MATH      attend.c over the rows that cmp_sparse_indices names (keys.c), then out_proj.c
 * SHAPES    q bf16[T,H,hd]  attn_sink f32[H]  freqs_cos, freqs_sin bf16[T,R]  wo_a bf16[G,OL,GI]  wo_b i8[D,G*OL]
 *           wo_b_scale f32[D]  ->  attn_out bf16[T,D];  ori_kv, cmp_kv bf16[pages,BS,1,hd] of their own pages and page sizes
 *           decode   ori_block_table, cmp_block_table i32[B,*]  mtp_kv_overlay bf16[T,hd]  cmp_sparse_indices i32[T,*], of
 *                    W+KT slots in CSA, W in SWA, which has no cmp_kv
 *           prefill  ori_block_table, cmp_block_table i32[*]  kv_overlay bf16[T,hd]  cmp_sparse_indices i32[T,W+KT]
 *                    cmp_sparse_lens i32[T]  num_tokens i32[], if given
 * NUMERICS  The hints valid_block_mask and win_bias may be missing; where they are given they must agree with the indices. */
#include <inttypes.h>

#include "golden/keys.h"
#include "golden/tokens.h"

typedef struct sparse_attn {
    golden_extents extents;
    golden_attention attention;
    golden_key_space space;
    golden_lists lists;
    golden_keys keys;
    arena memory;
} sparse_attn;

static const golden_paged_names ring_names = {"ori_kv", "ori_block_table", GOLDEN_RING_PAGES, GOLDEN_RING_PAGE, GOLDEN_RING_TABLE};
static const golden_paged_names cmp_names = {"cmp_kv", "cmp_block_table", GOLDEN_CACHE_PAGES, GOLDEN_CACHE_PAGE,
                                             GOLDEN_CACHE_TABLE};

/* The tensors that every variant has; overlay is the name of the step's own keys, list_width the slots of a list. */
static dsv4_status bind_common(sparse_attn *op, const dsv4_tensor_list *in, const char *overlay, int64_t list_width,
                               dsv4_error *err)
{
    enum { Q, OVERLAY, FREQS_COS, FREQS_SIN, INDICES, N_IN };
    golden_attention *a = &op->attention;
    const golden_tensor want[N_IN] = {
        [Q] = {"q", DSV4_BF16, 3, {GOLDEN_T, a->H, a->hd}},
        [OVERLAY] = {overlay, DSV4_BF16, 2, {GOLDEN_T, a->hd}},
        [FREQS_COS] = {"freqs_cos", DSV4_BF16, 2, {GOLDEN_T, a->R}},
        [FREQS_SIN] = {"freqs_sin", DSV4_BF16, 2, {GOLDEN_T, a->R}},
        [INDICES] = {"cmp_sparse_indices", DSV4_I32, 2, {GOLDEN_T, list_width}},
    };
    const void *data[N_IN];
    dsv4_status status = golden_need(in, want, N_IN, data, &op->extents, err);
    if (status == DSV4_OK) {
        status = golden_attention_bind(a, in, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    a->T = op->extents.T;
    a->q = data[Q];
    a->freqs_cos = data[FREQS_COS];
    a->freqs_sin = data[FREQS_SIN];
    op->space.overlay = data[OVERLAY];
    op->lists = (golden_lists){
        .name = want[INDICES].name,
        .width = list_width < 0 ? op->extents.slots : list_width,
        .indices = data[INDICES],
    };
    return DSV4_OK;
}

static dsv4_status bind_decode(sparse_attn *op, const dsv4_tensor_list *in, int64_t list_width, bool compressed, dsv4_error *err)
{
    dsv4_status status = bind_common(op, in, "mtp_kv_overlay", list_width, err);
    if (status == DSV4_OK) {
        status = golden_paged_bind(&op->space.ring, in, &ring_names, false, op->attention.hd, &op->extents, err);
    }
    if (status == DSV4_OK && compressed) {
        status = golden_paged_bind(&op->space.compressed, in, &cmp_names, false, op->attention.hd, &op->extents, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t T = op->attention.T, B = op->extents.B;
    if (T % B != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE,
                         "input q: got %" PRId64 " tokens, expected a multiple of the %" PRId64 " requests of ori_block_table", T,
                         B);
    }
    op->space.B = B;
    op->space.S = T / B;
    return DSV4_OK;
}

/* A block that has a key is not masked. */
static dsv4_status check_block_mask(sparse_attn *op, const dsv4_tensor_list *in, dsv4_error *err)
{
    const golden_tensor want = {"valid_block_mask", DSV4_I32, 2, {GOLDEN_T, GOLDEN_BLOCKS}};
    const void *data;
    const dsv4_status status = golden_need_if_given(in, &want, 1, &data, &op->extents, err);
    const int32_t *mask = data;
    if (status != DSV4_OK || mask == NULL) {
        return status;
    }
    for (int64_t i = 0; i < op->attention.T * op->keys.width; i++) {
        const int64_t t = i / op->keys.width, block = i % op->keys.width / op->attention.tile;
        if (op->keys.rows[i] != NULL && (block >= op->extents.blocks || mask[t * op->extents.blocks + block] == 0)) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input valid_block_mask: token %" PRId64 " block %" PRId64
                             ": masked, expected 1 as cmp_sparse_indices has a key there",
                             t, block);
        }
    }
    return DSV4_OK;
}

/* Column r is 0 for ring row r, column tile + t for the token t of the step, where those are keys, else -1e20. */
static dsv4_status check_win_bias(sparse_attn *op, const dsv4_tensor_list *in, dsv4_error *err)
{
    const int64_t T = op->attention.T, tile = op->attention.tile, S = op->space.S;
    const int64_t overlay = op->keys.width - S, width = overlay + (T + tile - 1) / tile * tile;
    const golden_tensor want = {"win_bias", DSV4_F32, 2, {T, width}};
    const void *data;
    const dsv4_status status = golden_need_if_given(in, &want, 1, &data, &op->extents, err);
    const float *bias = data;
    if (status != DSV4_OK || bias == NULL) {
        return status;
    }
    for (int64_t i = 0; i < T * width; i++) {
        const int64_t t = i / width, column = i % width, own = column - overlay - t / S * S;
        const int64_t slot = column < overlay ? column : overlay + own;
        const bool is_key = (column < overlay || (own >= 0 && own < S)) && op->keys.rows[t * op->keys.width + slot] != NULL;
        if (is_key != (bias[i] == 0.0f)) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input win_bias: token %" PRId64 " column %" PRId64 ": got %g, expected %s by cmp_sparse_indices", t,
                             column, (double)bias[i], is_key ? "0" : "-1e20");
        }
    }
    return DSV4_OK;
}

static dsv4_status finish(sparse_attn *op, dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    const golden_tensor make = {"attn_out", DSV4_BF16, 2, {GOLDEN_T, op->attention.D}};
    void *made;
    dsv4_status status = golden_make(out, &make, 1, &op->extents, &made, err);
    if (status == DSV4_OK) {
        op->attention.attn_out = made;
        status = golden_attention_run(&op->attention, &op->keys, p, err);
    }
    return status;
}

static dsv4_status init(sparse_attn *op, const dsv4_config *config, const dsv4_numerics *numerics, dsv4_error *err)
{
    *op = (sparse_attn){.space.W = config->sliding_window};
    return golden_attention_init(&op->attention, config, numerics, err);
}

/* CSA and HCA: lists of any keys, gathered in list order. */
static dsv4_status run_lists(const dsv4_config *config, const dsv4_numerics *numerics, int64_t list_width,
                             const dsv4_tensor_list *in, dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    sparse_attn op;
    dsv4_status status = init(&op, config, numerics, err);
    if (status == DSV4_OK) {
        status = bind_decode(&op, in, list_width, true, err);
    }
    if (status == DSV4_OK) {
        status = golden_keys_decode(&op.space, &op.lists, &op.memory, &op.keys, err);
    }
    if (status == DSV4_OK) {
        status = check_block_mask(&op, in, err);
    }
    if (status == DSV4_OK) {
        status = finish(&op, out, p, err);
    }
    arena_deinit(&op.memory);
    return status;
}

dsv4_status golden_decode_sparse_attn(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                      dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    return run_lists(config, numerics, config->sliding_window + config->index_topk, in, out, p, err);
}

dsv4_status golden_decode_sparse_attn_hca(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                          dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    return run_lists(config, numerics, GOLDEN_SLOTS, in, out, p, err);
}

dsv4_status golden_decode_sparse_attn_swa(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                          dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    sparse_attn op;
    dsv4_status status = init(&op, config, numerics, err);
    if (status == DSV4_OK) {
        status = bind_decode(&op, in, config->sliding_window, false, err);
    }
    if (status == DSV4_OK) {
        status = golden_keys_swa(&op.space, &op.lists, op.attention.tile, &op.memory, &op.keys, err);
    }
    if (status == DSV4_OK) {
        status = check_win_bias(&op, in, err);
    }
    if (status == DSV4_OK) {
        status = finish(&op, out, p, err);
    }
    arena_deinit(&op.memory);
    return status;
}

static dsv4_status bind_prefill(sparse_attn *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_error *err)
{
    const golden_tensor want = {"cmp_sparse_lens", DSV4_I32, 1, {GOLDEN_T}};
    const void *lens;
    dsv4_status status = bind_common(op, in, "kv_overlay", config->sliding_window + config->index_topk, err);
    if (status == DSV4_OK) {
        status = golden_paged_bind(&op->space.ring, in, &ring_names, true, op->attention.hd, &op->extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_paged_bind(&op->space.compressed, in, &cmp_names, true, op->attention.hd, &op->extents, err);
    }
    if (status == DSV4_OK) {
        status = golden_need(in, &want, 1, &lens, &op->extents, err);
    }
    if (status == DSV4_OK) {
        op->lists.lens = lens;
        op->space.B = 1;
        op->space.S = op->attention.T;
        op->space.prefill = true;
        status = golden_find_num_tokens(in, op->attention.T, &op->space.n_tokens, err);
    }
    return status;
}

dsv4_status golden_prefill_sparse_attn(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                       dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    sparse_attn op;
    dsv4_status status = init(&op, config, numerics, err);
    if (status == DSV4_OK) {
        status = bind_prefill(&op, config, in, err);
    }
    if (status == DSV4_OK) {
        status = golden_keys_prefill(&op.space, &op.lists, golden_prefill_slots(config), &op.memory, &op.keys, err);
    }
    if (status == DSV4_OK) {
        status = finish(&op, out, p, err);
    }
    arena_deinit(&op.memory);
    return status;
}
