/* dsv4/config.h - the dimensions of a DeepSeek-V4 model (SPEC 1.1) and its presets.
 *
 * Field names are the keys of config.json, so one table serves presets, files and error messages. */
#ifndef DSV4_CONFIG_H
#define DSV4_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* field, FLASH, PRO, TINY, smallest and largest value accepted from a file */
#define DSV4_CONFIG_INT_LIST(X)                                \
    X(hidden_size, 4096, 7168, 256, 1, 1 << 20)                \
    X(num_attention_heads, 64, 128, 8, 1, 1 << 14)             \
    X(head_dim, 512, 512, 128, 2, 1 << 16)                     \
    X(qk_rope_head_dim, 64, 64, 32, 2, 1 << 12)                \
    X(q_lora_rank, 1024, 1536, 128, 1, 1 << 16)                \
    X(o_lora_rank, 1024, 1024, 64, 1, 1 << 16)                 \
    X(o_groups, 8, 16, 4, 1, 1 << 10)                          \
    X(sliding_window, 128, 128, 16, 1, 1 << 20)                \
    X(index_n_heads, 64, 64, 4, 1, 1 << 14)                    \
    X(index_head_dim, 128, 128, 64, 2, 1 << 14)                \
    X(index_topk, 512, 1024, 8, 1, 1 << 20)                    \
    X(hc_mult, 4, 4, 4, 1, 16)                                 \
    X(hc_sinkhorn_iters, 20, 20, 20, 1, 1000)                  \
    X(max_position_embeddings, 8192, 1048576, 160, 1, 1 << 28) \
    X(original_max_position_embeddings, 65536, 65536, 65536, 0, 1 << 28)

#define DSV4_CONFIG_REAL_LIST(X)                                \
    X(rms_norm_eps, 1e-6, 1e-6, 1e-6, 0.0, 1.0)                 \
    X(hc_eps, 1e-6, 1e-6, 1e-6, 0.0, 1.0)                       \
    X(rope_theta, 1e4, 1e4, 1e4, 1.000001, 1e12)                \
    X(compress_rope_theta, 1.6e5, 1.6e5, 1.6e5, 1.000001, 1e12) \
    X(rope_factor, 16.0, 16.0, 16.0, 1e-3, 1e6)                 \
    X(beta_fast, 32.0, 32.0, 32.0, 1e-6, 1e9)                   \
    X(beta_slow, 1.0, 1.0, 1.0, 1e-6, 1e9)

/* Not part of a model but of how its attention is cut: field, its key, FLASH, PRO, TINY, limits. A text may lack them; then
 * attn_tile is sliding_window, and prefill_max_compressed is max(1, min(index_topk, sliding_window + sliding_window/2)). */
#define DSV4_CONFIG_TILING_LIST(X)                      \
    X(attn_tile, "ATTN_TILE", 128, 128, 16, 1, 1 << 20) \
    X(prefill_max_compressed, "PREFILL_MAX_COMPRESSED", 192, 192, 48, 1, 1 << 28)

/* The mixture of experts and the vocabulary: field, FLASH, PRO, TINY, limits. A text may lack them: 0, unknown. */
#define DSV4_CONFIG_MOE_LIST(X)                           \
    X(vocab_size, 129280, 129280, 512, 0, 1 << 24)        \
    X(moe_intermediate_size, 2048, 3072, 128, 0, 1 << 16) \
    X(n_routed_experts, 256, 384, 8, 0, 1 << 14)          \
    X(num_experts_per_tok, 6, 6, 2, 0, 1 << 10)           \
    X(num_hash_layers, 3, 3, 2, 0, 1 << 14)

#define DSV4_CONFIG_MOE_REAL_LIST(X)                  \
    X(routed_scaling_factor, 1.5, 2.5, 1.5, 0.0, 1e6) \
    X(swiglu_limit, 10.0, 10.0, 0.75, 0.0, 1e6)

typedef struct dsv4_config {
    char name[32]; /* "flash", "pro", "tiny", or what the file says */
#define DSV4_CONFIG_INT_FIELD(field, flash, pro, tiny, lo, hi) int64_t field;
    DSV4_CONFIG_INT_LIST(DSV4_CONFIG_INT_FIELD)
#undef DSV4_CONFIG_INT_FIELD
#define DSV4_CONFIG_REAL_FIELD(field, flash, pro, tiny, lo, hi) double field;
    DSV4_CONFIG_REAL_LIST(DSV4_CONFIG_REAL_FIELD)
#undef DSV4_CONFIG_REAL_FIELD
#define DSV4_CONFIG_TILING_FIELD(field, key, flash, pro, tiny, lo, hi) int64_t field;
    DSV4_CONFIG_TILING_LIST(DSV4_CONFIG_TILING_FIELD)
#undef DSV4_CONFIG_TILING_FIELD
#define DSV4_CONFIG_INT_FIELD(field, flash, pro, tiny, lo, hi) int64_t field;
    DSV4_CONFIG_MOE_LIST(DSV4_CONFIG_INT_FIELD)
#undef DSV4_CONFIG_INT_FIELD
#define DSV4_CONFIG_REAL_FIELD(field, flash, pro, tiny, lo, hi) double field;
    DSV4_CONFIG_MOE_REAL_LIST(DSV4_CONFIG_REAL_FIELD)
#undef DSV4_CONFIG_REAL_FIELD
} dsv4_config;

/* ---- numerics: what a result is, beyond the dimensions ------------------------------------------------------------------- */

/* The reference implementation rotates every query of a decode request by its first token's position, and lets a token's top-k see
 * rows that later tokens of the step complete (SPEC 12.1, 12.2). CORRECT uses each token's own position and past. */
typedef enum dsv4_compat { DSV4_CORRECT, DSV4_REFERENCE } dsv4_compat;

/* Which values of a token share one INT8 scale in front of wo_b: an output group, the whole row, or 128 of them. */
typedef enum dsv4_act_scale { DSV4_SCALE_GROUP, DSV4_SCALE_ROW, DSV4_SCALE_BLOCK } dsv4_act_scale;

/* Zero-initialised: the defaults. */
typedef struct dsv4_numerics {
    dsv4_compat compat;
    dsv4_act_scale act_scale;
} dsv4_numerics;

/* Preset by name: "flash", "pro", "tiny". DSV4_E_NOT_FOUND names the ones that exist. */
DSV4_MUST_CHECK dsv4_status dsv4_config_preset(const char *name, dsv4_config *out, dsv4_error *err);

/* From JSON text (config.json, or the `config` metadata of a vector file). Every field of the lists must be present once, a number
 * of the right kind and in range; other keys are ignored. The YaRN fields may stand in `rope_scaling`, as the published checkpoints
 * have them (there rope_factor is `factor`); a key at the top level comes first. What fields must be to each other is checked by
 * the operators that use them: a vector file may describe one operator alone. `name` is "unnamed" where the text has none. `source`
 * appears in messages. Limit: nesting 64. */
DSV4_MUST_CHECK dsv4_status dsv4_config_parse(const char *source, const char *json, size_t n_bytes, dsv4_config *out,
                                              dsv4_error *err);

/* The same fields as JSON text, for `config` metadata. The caller frees it. NULL without memory, or where JSON has no form for a
 * value (a number that is not finite, a name that is not UTF-8). */
char *dsv4_config_format(const dsv4_config *config);

#ifdef __cplusplus
}
#endif
#endif
