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
    X(max_position_embeddings, 8192, 1048576, 160, 1, 1 << 28) \
    X(original_max_position_embeddings, 65536, 65536, 65536, 0, 1 << 28)

#define DSV4_CONFIG_REAL_LIST(X)                                \
    X(rms_norm_eps, 1e-6, 1e-6, 1e-6, 0.0, 1.0)                 \
    X(rope_theta, 1e4, 1e4, 1e4, 1.000001, 1e12)                \
    X(compress_rope_theta, 1.6e5, 1.6e5, 1.6e5, 1.000001, 1e12) \
    X(rope_factor, 16.0, 16.0, 16.0, 1e-3, 1e6)                 \
    X(beta_fast, 32.0, 32.0, 32.0, 1e-6, 1e9)                   \
    X(beta_slow, 1.0, 1.0, 1.0, 1e-6, 1e9)

typedef struct dsv4_config {
    char name[32]; /* "flash", "pro", "tiny", or what the file says */
#define DSV4_CONFIG_INT_FIELD(field, flash, pro, tiny, lo, hi) int64_t field;
    DSV4_CONFIG_INT_LIST(DSV4_CONFIG_INT_FIELD)
#undef DSV4_CONFIG_INT_FIELD
#define DSV4_CONFIG_REAL_FIELD(field, flash, pro, tiny, lo, hi) double field;
    DSV4_CONFIG_REAL_LIST(DSV4_CONFIG_REAL_FIELD)
#undef DSV4_CONFIG_REAL_FIELD
} dsv4_config;

/* Preset by name: "flash", "pro", "tiny". DSV4_E_NOT_FOUND names the ones that exist. */
DSV4_MUST_CHECK dsv4_status dsv4_config_preset(const char *name, dsv4_config *out, dsv4_error *err);

/* From JSON text (config.json, or the `config` metadata of a vector file). Every field of the lists must be present once, a number
 * of the right kind and in range; other keys are ignored. The YaRN fields may stand in `rope_scaling`, as the published checkpoints
 * have them (there rope_factor is `factor`); a key at the top level comes first. What fields must be to each other is checked by the
 * operators that use them: a vector file may describe one operator alone. `name` is "unnamed" where the text has none. `source`
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
