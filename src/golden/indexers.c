/* golden/indexers.c - the indexers as operators of their own (SPEC 3.2, 4.4): their compressor runs first, then the cached rows are
 * scored and the best selected.
 *
 * MATH      compress_decode.c or compress_prefill.c; index.c, index_decode.c, index_prefill.c
 * SHAPES    qr i8[T,QL]  qr_scale f32[T,1]  wq_b i8[QL,IH*ID]  wq_b_scale f32[IH*ID]  weights_proj bf16[D,IH]  hadamard bf16[ID,ID]
 *           x and the tensors of an indexer compressor, its weights and state named inner_*
 *   decode  T = B S  cos, sin f32[B,R/2]  inner_kv f32[B,S,ID] io  idx_block_table i32[B,entries]  kv_seq_lens i32[B]  offset i32[]
 *           ->  score f32[B,S,NMAX/4]  topk_idxs i32[B,S,NMAX/4]
 *   prefill cos, sin f32[T,R/2]  freqs_cos, freqs_sin bf16[positions,R]  idx_block_table i32[entries]
 *           ->  score f32[T,CAP]  topk_idxs i32[T,CAP], CAP = entries BS */
#include <inttypes.h>

#include "golden/bind.h"

static const compressor_names decode_names = {
    .wkv = "inner_wkv",
    .wgate = "inner_wgate",
    .ape = "inner_ape",
    .norm_w = "inner_norm_w",
    .hadamard = "hadamard",
    .state = "inner_compress_state",
    .state_table = "inner_compress_state_block_table",
    .state_slots = "inner_state_slot_mapping",
    .cache = "idx_kv_cache",
    .cache_scale = "idx_kv_scale",
    .cache_slots = "idx_slot_mapping",
    .kv = "inner_kv",
};

static const compressor_names prefill_names = {
    .wkv = "inner_wkv",
    .wgate = "inner_wgate",
    .ape = "inner_ape",
    .norm_w = "inner_norm_w",
    .hadamard = "hadamard",
    .state = "inner_kv_state",
    .score_state = "inner_score_state",
    .state_table = "inner_compress_state_block_table",
    .state_slots = "inner_state_slot_mapping",
    .cache = "idx_kv_cache",
    .cache_scale = "idx_kv_scale",
    .cache_slots = "idx_slot_mapping",
};

/* All that an indexer works on. */
typedef struct decode_indexer {
    golden_compressor compressor;
    golden_decode_step step;
    golden_index index;
    golden_index_step select;
} decode_indexer;

typedef struct prefill_indexer {
    golden_compressor compressor;
    golden_chunk chunk;
    golden_index index;
    golden_index_chunk select;
} prefill_indexer;

static dsv4_status bind_decode_select(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                      golden_extents *extents, decode_indexer *op, dsv4_error *err)
{
    enum { INNER_KV, TABLE, KV_SEQ_LENS, OFFSET, N_IN };
    const golden_tensor want[N_IN] = {
        [INNER_KV] = {decode_names.kv, DSV4_F32, 3, {GOLDEN_B, GOLDEN_S, op->index.ID}},
        [TABLE] = {"idx_block_table", DSV4_I32, 2, {GOLDEN_B, GOLDEN_CACHE_TABLE}},
        [KV_SEQ_LENS] = {"kv_seq_lens", DSV4_I32, 1, {GOLDEN_B}},
        [OFFSET] = {"offset", DSV4_I32, 0, {0}},
    };
    const void *data[N_IN];
    const dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    op->select = (golden_index_step){
        .B = extents->B,
        .S = extents->S,
        .position_ids = op->step.position_ids,
        .kv_seq_lens = data[KV_SEQ_LENS],
        .pages = {data[TABLE], extents->cache_table, extents->cache_pages, extents->cache_page, "idx_block_table"},
        .causal = numerics->compat == DSV4_CORRECT,
        .topk = config->index_topk,
        .offset = *(const int32_t *)data[OFFSET],
        .score_len = config->max_position_embeddings / 4,
    };
    if (op->select.score_len < 1) {
        return dsv4_fail(err, DSV4_E_VALUE, "config max_position_embeddings: got %" PRId64 ", expected 4 or more",
                         config->max_position_embeddings);
    }
    return golden_check_index_decode(&op->select, err);
}

static dsv4_status make_decode(const dsv4_tensor_list *in, dsv4_tensor_list *out, const golden_extents *extents, decode_indexer *op,
                               dsv4_error *err)
{
    const golden_tensor make[2] = {
        {"score", DSV4_F32, 3, {GOLDEN_B, GOLDEN_S, op->select.score_len}},
        {"topk_idxs", DSV4_I32, 3, {GOLDEN_B, GOLDEN_S, op->select.score_len}},
    };
    void *made[2], *kv;
    dsv4_status status = golden_make(out, make, 2, extents, made, err);
    if (status == DSV4_OK) {
        status = golden_copy(out, in, &decode_names.kv, 1, &kv, err);
    }
    if (status == DSV4_OK) {
        status = bind_copy_memory(&decode_names, &op->compressor, in, out, &op->step.state, &op->step.cache, err);
    }
    if (status == DSV4_OK) {
        op->step.kv = kv;
        op->select.cache = op->step.cache;
        op->select.score = made[0];
        op->select.topk_idxs = made[1];
    }
    return status;
}

dsv4_status golden_decode_indexer(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                  dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    decode_indexer op;
    golden_extents extents = {0};
    dsv4_status status = bind_compressor(config, &decode_names, 4, in, &op.compressor, err);
    if (status == DSV4_OK) {
        status = bind_decode_step(config, &decode_names, &op.compressor, in, &extents, &op.step, err);
    }
    if (status == DSV4_OK) {
        extents.T = extents.B * extents.S;
        status = bind_index(config, extents.B, op.step.x, in, &extents, &op.index, err);
    }
    if (status == DSV4_OK) {
        status = bind_decode_select(config, numerics, in, &extents, &op, err);
    }
    if (status == DSV4_OK) {
        status = make_decode(in, out, &extents, &op, err);
    }
    if (status == DSV4_OK) {
        status = golden_compress_decode(&op.compressor, &op.step, p, err);
    }
    return status == DSV4_OK ? golden_index_decode(&op.index, &op.select, p, err) : status;
}

static dsv4_status bind_prefill_select(const dsv4_config *config, const dsv4_tensor_list *in, golden_extents *extents,
                                       prefill_indexer *op, dsv4_error *err)
{
    const golden_tensor want = {"idx_block_table", DSV4_I32, 1, {GOLDEN_CACHE_TABLE}};
    const void *table;
    const dsv4_status status = golden_need(in, &want, 1, &table, extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t offset = config->sliding_window + extents->T;
    if (offset > INT32_MAX) {
        return dsv4_fail(err, DSV4_E_SHAPE, "input x: got T = %" PRId64 " tokens, expected at most %" PRId64, extents->T,
                         INT32_MAX - config->sliding_window);
    }
    op->select = (golden_index_chunk){
        .n = op->chunk.n,
        .position_ids = op->chunk.position_ids,
        .pages = {table, extents->cache_table, extents->cache_pages, extents->cache_page, want.name},
        .topk = config->index_topk,
        .offset = (int32_t)offset,
        .n_topk_columns = extents->cache_table * extents->cache_page,
    };
    return golden_check_index_prefill(&op->select, err);
}

static dsv4_status make_prefill(const dsv4_tensor_list *in, dsv4_tensor_list *out, const golden_extents *extents,
                                prefill_indexer *op, dsv4_error *err)
{
    const golden_tensor make[2] = {
        {"score", DSV4_F32, 2, {GOLDEN_T, op->select.n_topk_columns}},
        {"topk_idxs", DSV4_I32, 2, {GOLDEN_T, op->select.n_topk_columns}},
    };
    void *made[2];
    dsv4_status status = golden_make(out, make, 2, extents, made, err);
    if (status == DSV4_OK) {
        status = bind_copy_memory(&prefill_names, &op->compressor, in, out, &op->chunk.state, &op->chunk.cache, err);
    }
    if (status == DSV4_OK) {
        op->select.cache = op->chunk.cache;
        op->select.score = made[0];
        op->select.topk_idxs = made[1];
    }
    return status;
}

dsv4_status golden_prefill_indexer(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                   dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    prefill_indexer op;
    golden_extents extents = {0};
    dsv4_status status = bind_compressor(config, &prefill_names, 4, in, &op.compressor, err);
    if (status == DSV4_OK) {
        status = bind_chunk(config, &prefill_names, &op.compressor, in, &extents, &op.chunk, err);
    }
    if (status == DSV4_OK) {
        status = bind_index(config, extents.T, op.chunk.x, in, &extents, &op.index, err);
    }
    if (status == DSV4_OK) {
        status = bind_prefill_select(config, in, &extents, &op, err);
    }
    if (status == DSV4_OK) {
        status = make_prefill(in, out, &extents, &op, err);
    }
    if (status == DSV4_OK) {
        status = golden_compress_prefill(&op.compressor, &op.chunk, p, err);
    }
    return status == DSV4_OK ? golden_index_prefill(&op.index, &op.select, p, err) : status;
}
