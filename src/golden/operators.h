/* golden/operators.h - the references, and how each states the tensors it takes and makes. Internal to golden/. */
#ifndef GOLDEN_OPERATORS_H
#define GOLDEN_OPERATORS_H

#include "golden/golden.h"

golden_fn golden_rmsnorm;
golden_fn golden_qkv_proj_rope;
golden_fn golden_rope_tables;
golden_fn golden_decode_indexer_compressor;
golden_fn golden_decode_compressor_ratio4;
golden_fn golden_decode_compressor_ratio128;
golden_fn golden_prefill_indexer_compressor;
golden_fn golden_prefill_compressor_ratio4;
golden_fn golden_prefill_compressor_ratio128;
golden_fn golden_decode_indexer;
golden_fn golden_prefill_indexer;
golden_fn golden_hc_pre;
golden_fn golden_hc_post;
golden_fn golden_hc_head;
golden_fn golden_decode_sparse_attn;
golden_fn golden_decode_sparse_attn_hca;
golden_fn golden_decode_sparse_attn_swa;
golden_fn golden_prefill_sparse_attn;
golden_fn golden_decode_attention_swa;
golden_fn golden_decode_attention_hca;
golden_fn golden_decode_attention_csa;
golden_fn golden_prefill_attention_swa;
golden_fn golden_prefill_attention_hca;
golden_fn golden_prefill_attention_csa;
golden_fn golden_gate;
golden_fn golden_expert_shared;
golden_fn golden_expert_routed;
golden_fn golden_expert_routed_fp4;
golden_fn golden_dispatch;
golden_fn golden_combine;
golden_fn golden_moe;
golden_fn golden_lm_head;
golden_fn golden_mtp_projection;

/* Extents that the tensors of a call decide: any number >= 1, the same wherever it stands. Code in a shape, field, name. */
#define GOLDEN_EXTENT_LIST(X)                           \
    X(GOLDEN_T, T, "T")                                 \
    X(GOLDEN_B, B, "B")                                 \
    X(GOLDEN_S, S, "S")                                 \
    X(GOLDEN_POSITIONS, positions, "positions")         \
    X(GOLDEN_STATE_PAGES, state_pages, "state pages")   \
    X(GOLDEN_STATE_PAGE, state_page, "state page")      \
    X(GOLDEN_STATE_TABLE, state_table, "state entries") \
    X(GOLDEN_CACHE_PAGES, cache_pages, "cache pages")   \
    X(GOLDEN_CACHE_PAGE, cache_page, "cache page")      \
    X(GOLDEN_CACHE_TABLE, cache_table, "cache entries") \
    X(GOLDEN_RING_PAGES, ring_pages, "ring pages")      \
    X(GOLDEN_RING_PAGE, ring_page, "ring page")         \
    X(GOLDEN_RING_TABLE, ring_table, "ring entries")    \
    X(GOLDEN_SLOTS, slots, "slots")                     \
    X(GOLDEN_BLOCKS, blocks, "blocks")                  \
    X(GOLDEN_RANKS, ranks, "ranks")                     \
    X(GOLDEN_SHARD, shard, "rows of a shard")           \
    X(GOLDEN_EXPERTS, experts, "experts")               \
    X(GOLDEN_ROOM, room, "rows of an expert")

enum golden_extent_number {
#define GOLDEN_EXTENT_NUMBER(code, field, name) code##_NUMBER,
    GOLDEN_EXTENT_LIST(GOLDEN_EXTENT_NUMBER)
#undef GOLDEN_EXTENT_NUMBER
        GOLDEN_N_EXTENTS
};

/* Negative, beside the plain numbers of a shape. */
enum golden_extent_code {
#define GOLDEN_EXTENT_CODE(code, field, name) code = -1 - code##_NUMBER,
    GOLDEN_EXTENT_LIST(GOLDEN_EXTENT_CODE)
#undef GOLDEN_EXTENT_CODE
};

/* 0 until a tensor decides it. Zero-initialise, or set what is known. */
typedef struct golden_extents {
#define GOLDEN_EXTENT_FIELD(code, field, name) int64_t field;
    GOLDEN_EXTENT_LIST(GOLDEN_EXTENT_FIELD)
#undef GOLDEN_EXTENT_FIELD
} golden_extents;

typedef struct golden_tensor {
    const char *name;
    dsv4_dtype dtype;
    int n_dims;
    int64_t shape[DSV4_MAX_DIMS];
} golden_tensor;

/* data[i] = the elements of want[i], row-major, borrowed from the list. An extent of want that is a code and not yet known is
 * decided by the first tensor that has it. Fails when a tensor is missing or has another dtype or shape, or gaps. */
DSV4_MUST_CHECK dsv4_status golden_need(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data,
                                        golden_extents *extents, dsv4_error *err);

/* The same for tensors that may be missing: data[i] is NULL for those. */
DSV4_MUST_CHECK dsv4_status golden_need_if_given(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data,
                                                 golden_extents *extents, dsv4_error *err);

/* data[i] = the elements of a new zeroed tensor make[i] of the list; its codes are known extents. */
DSV4_MUST_CHECK dsv4_status golden_make(dsv4_tensor_list *out, const golden_tensor *make, int n, const golden_extents *extents,
                                        void **data, dsv4_error *err);

/* data[i] = the elements of a new tensor of the list that equals in's tensor names[i], which exists and has no gaps. */
DSV4_MUST_CHECK dsv4_status golden_copy(dsv4_tensor_list *out, const dsv4_tensor_list *in, const char *const *names, int n,
                                        void **data, dsv4_error *err);

/* The rotary slice of a head is a whole number of pairs: qk_rope_head_dim even, at most the field `head` = head_dim. */
DSV4_MUST_CHECK dsv4_status golden_check_rope_dim(const dsv4_config *config, const char *head, int64_t head_dim, dsv4_error *err);

#endif
