/* golden/bind.h - the tensors of compressors and indexers, found under the names of SPEC 8 and made for the result. Internal to
 * golden/. */
#ifndef GOLDEN_BIND_H
#define GOLDEN_BIND_H

#include "golden/operators.h"
#include "golden/parts.h"

/* What an operator calls the tensors of its compressor. */
typedef struct compressor_names {
    const char *wkv, *wgate, *ape, *norm_w, *hadamard; /* hadamard NULL: rows are not multiplied by one */
    const char *state, *score_state;                   /* score_state NULL: state has both, kv | score */
    const char *state_table, *state_slots;
    const char *cache, *cache_scale, *cache_slots; /* cache_scale NULL: the cache is BF16 */
    const char *kv;                                /* the pooled rows; NULL: not wanted */
} compressor_names;

/* Dimensions of config, and the weights. Rows have index_head_dim elements with a Hadamard matrix, else head_dim. */
DSV4_MUST_CHECK dsv4_status bind_compressor(const dsv4_config *config, const compressor_names *names, int64_t ratio,
                                            const dsv4_tensor_list *in, golden_compressor *c, dsv4_error *err);

/* Puts copies of the compressor's state and cache into out and points to them. */
DSV4_MUST_CHECK dsv4_status bind_copy_memory(const compressor_names *names, const golden_compressor *c, const dsv4_tensor_list *in,
                                             dsv4_tensor_list *out, golden_state *state, golden_cache *cache, dsv4_error *err);

/* A decode step or a prefill chunk with all that it reads; checked, but without the memory that it updates. */
DSV4_MUST_CHECK dsv4_status bind_decode_step(const dsv4_config *config, const compressor_names *names, const golden_compressor *c,
                                             const dsv4_tensor_list *in, golden_extents *extents, golden_decode_step *step,
                                             dsv4_error *err);
DSV4_MUST_CHECK dsv4_status bind_chunk(const dsv4_config *config, const compressor_names *names, const golden_compressor *c,
                                       const dsv4_tensor_list *in, golden_extents *extents, golden_chunk *chunk, dsv4_error *err);

/* The queries of an indexer: cos and sin have n_angles rows, extents knows T. */
DSV4_MUST_CHECK dsv4_status bind_index(const dsv4_config *config, int64_t n_angles, const uint16_t *x, const dsv4_tensor_list *in,
                                       golden_extents *extents, golden_index *ix, dsv4_error *err);

#endif
