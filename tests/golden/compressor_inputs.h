/* golden/compressor_inputs.h - inputs of the compressors and indexers for the tests: weights drawn, integers derived from
 * positions, page tables. */
#ifndef GOLDEN_COMPRESSOR_INPUTS_H
#define GOLDEN_COMPRESSOR_INPUTS_H

#include <stdio.h>

#include "golden/support.h"

/* A compressor as its two operators name it. */
typedef struct compressor_kind {
    const char *decode_op, *prefill_op;
    int64_t ratio, page; /* page: rows of a page of the state */
    bool indexer;
    const char *decode_cache, *prefill_cache, *prefill_table, *cache_slots, *state_slots;
} compressor_kind;

static const compressor_kind compressor_kinds[3] = {
    {"decode_compressor_ratio4", "prefill_compressor_ratio4", 4, 4, false, "cmp_kv_cache", "cmp_kv", "compress_state_block_table",
     "cmp_slot_mapping", "state_slot_mapping"},
    {"decode_compressor_ratio128", "prefill_compressor_ratio128", 128, 8, false, "cmp_kv_cache", "cmp_kv",
     "compress_state_block_table", "cmp_slot_mapping", "state_slot_mapping"},
    {"decode_indexer_compressor", "prefill_indexer_compressor", 4, 4, true, "idx_kv_cache", "idx_kv_cache",
     "inner_compress_state_block_table", "idx_slot_mapping", "inner_state_slot_mapping"},
};

enum { CACHE_PAGE = 4 }; /* rows of a page of a cache */

static inline int64_t row_width(const compressor_kind *kind, const dsv4_config *config)
{
    return kind->indexer ? config->index_head_dim : config->head_dim;
}

static inline int64_t state_width(const compressor_kind *kind, const dsv4_config *config)
{
    return row_width(kind, config) * (kind->ratio == 4 ? 2 : 1);
}

static inline const char *prefixed(const char *prefix, const char *name, char text[64])
{
    snprintf(text, 64, "%s%s", prefix, name);
    return text;
}

/* wkv, wgate, ape and norm_w under a prefix, and hadamard for the indexer. */
static inline void add_weights(dsv4_tensor_list *list, const char *prefix, const compressor_kind *kind, const dsv4_config *config)
{
    char name[64];
    const int64_t hd = row_width(kind, config), width = state_width(kind, config);
    add_uniform(list, prefixed(prefix, "wkv", name), DSV4_BF16, 2, (int64_t[]){width, config->hidden_size}, -0.1, 0.1);
    add_uniform(list, prefixed(prefix, "wgate", name), DSV4_BF16, 2, (int64_t[]){width, config->hidden_size}, -0.1, 0.1);
    add_uniform(list, prefixed(prefix, "ape", name), DSV4_F32, 2, (int64_t[]){kind->ratio, width}, -0.5, 0.5);
    add_uniform(list, prefixed(prefix, "norm_w", name), DSV4_BF16, 1, &hd, 0.5, 1.5);
    if (kind->indexer) {
        add_uniform(list, "hadamard", DSV4_BF16, 2, (int64_t[]){hd, hd}, -0.2, 0.2);
    }
}

static inline int32_t *add_i32(dsv4_tensor_list *list, const char *name, int n_dims, const int64_t *shape)
{
    return add_tensor(list, name, DSV4_I32, n_dims, shape).data;
}

static inline int64_t *add_i64(dsv4_tensor_list *list, const char *name, int n_dims, const int64_t *shape)
{
    return add_tensor(list, name, DSV4_I64, n_dims, shape).data;
}

static inline void add_scalar(dsv4_tensor_list *list, const char *name, int32_t value)
{
    *add_i32(list, name, 0, NULL) = value;
}

/* Page tables of n_requests whose pages lie one after the other. */
static inline void add_table(dsv4_tensor_list *list, const char *name, int n_dims, int64_t n_requests, int64_t n_entries)
{
    const int64_t shape[2] = {n_dims == 2 ? n_requests : n_entries, n_entries};
    int32_t *table = add_i32(list, name, n_dims, shape);
    for (int64_t i = 0; i < n_requests * n_entries; i++) {
        table[i] = (int32_t)i;
    }
}

/* position_ids and both slot mappings of tokens start, start + 1, ..., on pages that lie one after the other. */
static inline void add_positions(dsv4_tensor_list *list, const compressor_kind *kind, int n_dims, const int64_t *shape,
                                 int64_t start)
{
    const int64_t n = n_dims == 2 ? shape[0] * shape[1] : shape[0];
    int32_t *position_ids = add_i32(list, "position_ids", n_dims, shape);
    int64_t *state_slots = add_i64(list, kind->state_slots, n_dims, shape);
    int64_t *cache_slots = add_i64(list, kind->cache_slots, n_dims, shape);
    for (int64_t t = 0; t < n; t++) {
        position_ids[t] = (int32_t)(start + t);
        state_slots[t] = start + t;
        cache_slots[t] = (start + t + 1) % kind->ratio == 0 ? (start + t) / kind->ratio : -1;
    }
}

/* What the indexer needs beyond its compressor, for n_tokens tokens and n_angles rows of cos and sin. */
static inline void add_queries(dsv4_tensor_list *list, const dsv4_config *config, int64_t n_tokens, int64_t n_angles)
{
    const int64_t QL = config->q_lora_rank, heads = config->index_n_heads * config->index_head_dim;
    const int64_t half = config->qk_rope_head_dim / 2;
    add_uniform(list, "qr", DSV4_I8, 2, (int64_t[]){n_tokens, QL}, -127.0, 127.0);
    add_uniform(list, "qr_scale", DSV4_F32, 2, (int64_t[]){n_tokens, 1}, 0.001, 0.01);
    add_uniform(list, "wq_b", DSV4_I8, 2, (int64_t[]){QL, heads}, -127.0, 127.0);
    add_uniform(list, "wq_b_scale", DSV4_F32, 1, &heads, 0.001, 0.01);
    add_uniform(list, "weights_proj", DSV4_BF16, 2, (int64_t[]){config->hidden_size, config->index_n_heads}, -1.0, 1.0);
    add_uniform(list, "cos", DSV4_F32, 2, (int64_t[]){n_angles, half}, -1.0, 1.0);
    add_uniform(list, "sin", DSV4_F32, 2, (int64_t[]){n_angles, half}, -1.0, 1.0);
}

/* All inputs of decode_indexer for one request of n tokens from position start, which sees every compressed row of its past. */
static inline void build_decode_indexer(dsv4_tensor_list *in, const dsv4_config *config, int64_t n, int64_t start)
{
    const compressor_kind *kind = &compressor_kinds[2];
    const int64_t ID = config->index_head_dim, n_pages = (start + n) / CACHE_PAGE + 1;
    add_weights(in, "inner_", kind, config);
    add_queries(in, config, n, 1);
    add_uniform(in, "x", DSV4_BF16, 3, (int64_t[]){1, n, config->hidden_size}, -1.0, 1.0);
    add_uniform(in, "inner_compress_state", DSV4_F32, 3, (int64_t[]){n_pages, CACHE_PAGE, 4 * ID}, -1.0, 1.0);
    add_table(in, "inner_compress_state_block_table", 2, 1, n_pages);
    add_tensor(in, "inner_kv", DSV4_F32, 3, (int64_t[]){1, n, ID});
    add_uniform(in, "idx_kv_cache", DSV4_BF16, 4, (int64_t[]){n_pages, CACHE_PAGE, 1, ID}, -1.0, 1.0);
    add_table(in, "idx_block_table", 2, 1, n_pages);
    add_positions(in, kind, 2, (int64_t[]){1, n}, start);
    *add_i32(in, "kv_seq_lens", 1, (int64_t[]){1}) = (int32_t)(start + n);
    add_scalar(in, "offset", 100);
}

/* Likewise of prefill_indexer; the cache's pages follow each other backwards. */
static inline void build_prefill_indexer(dsv4_tensor_list *in, const dsv4_config *config, int64_t n, int64_t start)
{
    const compressor_kind *kind = &compressor_kinds[2];
    const int64_t ID = config->index_head_dim, R = config->qk_rope_head_dim;
    const int64_t n_pages = (start + n) / CACHE_PAGE + 1, cache_pages = n_pages / 4 + 1;
    const int64_t state_shape[3] = {n_pages, CACHE_PAGE, 2 * ID};
    add_weights(in, "inner_", kind, config);
    add_queries(in, config, n, n);
    add_uniform(in, "x", DSV4_BF16, 2, (int64_t[]){n, config->hidden_size}, -1.0, 1.0);
    add_uniform(in, "freqs_cos", DSV4_BF16, 2, (int64_t[]){start + n, R}, -1.0, 1.0);
    add_uniform(in, "freqs_sin", DSV4_BF16, 2, (int64_t[]){start + n, R}, -1.0, 1.0);
    add_uniform(in, "inner_kv_state", DSV4_F32, 3, state_shape, -1.0, 1.0);
    add_uniform(in, "inner_score_state", DSV4_F32, 3, state_shape, -1.0, 1.0);
    add_table(in, kind->prefill_table, 1, 1, n_pages);
    add_uniform(in, "idx_kv_cache", DSV4_BF16, 4, (int64_t[]){cache_pages, CACHE_PAGE, 1, ID}, -1.0, 1.0);
    add_table(in, "idx_block_table", 1, 1, cache_pages);
    add_positions(in, kind, 1, &n, start);
    add_scalar(in, "num_tokens", (int32_t)n);

    int32_t *table = get_tensor(in, "idx_block_table").data;
    int64_t *slots = get_tensor(in, kind->cache_slots).data;
    for (int64_t i = 0; i < cache_pages; i++) {
        table[i] = (int32_t)(cache_pages - 1 - i);
    }
    for (int64_t t = 0; t < n; t++) {
        if (slots[t] >= 0) {
            slots[t] = table[slots[t] / CACHE_PAGE] * CACHE_PAGE + slots[t] % CACHE_PAGE;
        }
    }
}

#endif
