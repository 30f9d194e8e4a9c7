/* golden/compressors.c - the compressors as operators of their own (SPEC 3.1, 4.1, 4.2).
 *
 * MATH      compress.c, compress_decode.c, compress_prefill.c
 * SHAPES    OUT = 2 hd for ratio 4, else hd; the indexer's hd is ID
 *   weights x bf16[B,S,D] or [T,D]  wkv, wgate bf16[OUT,D]  ape f32[ratio,OUT]  norm_w bf16[hd]  indexer: hadamard bf16[ID,ID]
 *   decode  compress_state f32[pages,page,2 OUT] io  compress_state_block_table i32[B,entries]  cos, sin f32[B,R/2]
 *           position_ids i32[B,S]  slot mappings i64[B,S]  ->  kv f32[B,S,hd]
 *   prefill kv_state, score_state f32[pages,page,OUT] io  block table i32[entries]  freqs_cos, freqs_sin bf16[positions,R]
 *           position_ids i32[T]  slot mappings i64[T]  num_tokens i32[]  ->  indexer: kv bf16[ceil(T/4),ID]
 *   cache   bf16[pages,BS,1,hd] io; the indexer's may be i8, with idx_kv_scale f32[pages,BS,1,1] io */
#include "golden/bind.h"

static const compressor_names decode_names = {
    .wkv = "wkv",
    .wgate = "wgate",
    .ape = "ape",
    .norm_w = "norm_w",
    .state = "compress_state",
    .state_table = "compress_state_block_table",
    .state_slots = "state_slot_mapping",
    .cache = "cmp_kv_cache",
    .cache_slots = "cmp_slot_mapping",
    .kv = "kv",
};

static const compressor_names decode_indexer_names = {
    .wkv = "wkv",
    .wgate = "wgate",
    .ape = "ape",
    .norm_w = "norm_w",
    .hadamard = "hadamard",
    .state = "compress_state",
    .state_table = "compress_state_block_table",
    .state_slots = "inner_state_slot_mapping",
    .cache = "idx_kv_cache",
    .cache_scale = "idx_kv_scale",
    .cache_slots = "idx_slot_mapping",
    .kv = "kv",
};

static const compressor_names prefill_names = {
    .wkv = "wkv",
    .wgate = "wgate",
    .ape = "ape",
    .norm_w = "norm_w",
    .state = "kv_state",
    .score_state = "score_state",
    .state_table = "compress_state_block_table",
    .state_slots = "state_slot_mapping",
    .cache = "cmp_kv",
    .cache_slots = "cmp_slot_mapping",
};

static const compressor_names prefill_indexer_names = {
    .wkv = "wkv",
    .wgate = "wgate",
    .ape = "ape",
    .norm_w = "norm_w",
    .hadamard = "hadamard",
    .state = "kv_state",
    .score_state = "score_state",
    .state_table = "inner_compress_state_block_table",
    .state_slots = "inner_state_slot_mapping",
    .cache = "idx_kv_cache",
    .cache_scale = "idx_kv_scale",
    .cache_slots = "idx_slot_mapping",
    .kv = "kv",
};

static dsv4_status compress_decode(const compressor_names *names, int64_t ratio, const dsv4_config *config,
                                   const dsv4_tensor_list *in, dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    golden_compressor c;
    golden_decode_step step;
    golden_extents extents = {0};
    void *kv;
    dsv4_status status = bind_compressor(config, names, ratio, in, &c, err);
    if (status == DSV4_OK) {
        status = bind_decode_step(config, names, &c, in, &extents, &step, err);
    }
    if (status == DSV4_OK) {
        const golden_tensor make = {names->kv, DSV4_F32, 3, {GOLDEN_B, GOLDEN_S, c.hd}};
        status = golden_make(out, &make, 1, &extents, &kv, err);
    }
    if (status == DSV4_OK) {
        status = bind_copy_memory(names, &c, in, out, &step.state, &step.cache, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    step.kv = kv;
    return golden_compress_decode(&c, &step, p, err);
}

static dsv4_status compress_prefill(const compressor_names *names, int64_t ratio, const dsv4_config *config,
                                    const dsv4_tensor_list *in, dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    golden_compressor c;
    golden_chunk chunk;
    golden_extents extents = {0};
    void *kv = NULL;
    dsv4_status status = bind_compressor(config, names, ratio, in, &c, err);
    if (status == DSV4_OK) {
        status = bind_chunk(config, names, &c, in, &extents, &chunk, err);
    }
    if (status == DSV4_OK && names->kv != NULL) {
        const golden_tensor make = {names->kv, DSV4_BF16, 2, {(extents.T + ratio - 1) / ratio, c.hd}};
        status = golden_make(out, &make, 1, &extents, &kv, err);
    }
    if (status == DSV4_OK) {
        status = bind_copy_memory(names, &c, in, out, &chunk.state, &chunk.cache, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    chunk.kv = kv;
    return golden_compress_prefill(&c, &chunk, p, err);
}

dsv4_status golden_decode_indexer_compressor(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                             dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_decode(&decode_indexer_names, 4, config, in, out, p, err);
}

dsv4_status golden_decode_compressor_ratio4(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                            dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_decode(&decode_names, 4, config, in, out, p, err);
}

dsv4_status golden_decode_compressor_ratio128(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                              dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_decode(&decode_names, 128, config, in, out, p, err);
}

dsv4_status golden_prefill_indexer_compressor(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                              dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_prefill(&prefill_indexer_names, 4, config, in, out, p, err);
}

dsv4_status golden_prefill_compressor_ratio4(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                             dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_prefill(&prefill_names, 4, config, in, out, p, err);
}

dsv4_status golden_prefill_compressor_ratio128(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                               dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    return compress_prefill(&prefill_names, 128, config, in, out, p, err);
}
