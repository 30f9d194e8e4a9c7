/* model/kv_saved.h - the form of a saved sequence.
 *
 *   header    below, little-endian
 *   tokens    I32 [length]
 *   blocks    of each block of the model: its live window rows, its live state rows (kv, score, index_kv, index_score), its
 *             compressed rows and its indexer rows, each by ascending position
 *   checksum  CRC-32 of all that lies before
 *
 * Rows are live from the position on that a sequence cut down to `oldest` can read. The size follows from the header alone. */
#ifndef MODEL_KV_SAVED_H
#define MODEL_KV_SAVED_H

#include <stdbool.h>

#include "model/kv.h"

enum { SAVED_VERSION = 1, SAVED_NAME_BYTES = 256, SAVED_NUMERICS_BYTES = 32 };

/* What rows depend on; a file of other values is refused by the name of the first that differs. */
#define SAVED_INT_LIST(X)       \
    X(num_hidden_layers)        \
    X(vocab_size)               \
    X(dims.hidden_size)         \
    X(dims.num_attention_heads) \
    X(dims.head_dim)            \
    X(dims.qk_rope_head_dim)    \
    X(dims.sliding_window)      \
    X(dims.index_n_heads)       \
    X(dims.index_head_dim)      \
    X(dims.index_topk)          \
    X(dims.hc_mult)             \
    X(dims.original_max_position_embeddings)

#define SAVED_REAL_LIST(X)      \
    X(dims.rope_theta)          \
    X(dims.compress_rope_theta) \
    X(dims.rope_factor)         \
    X(dims.beta_fast)           \
    X(dims.beta_slow)

enum {
#define SAVED_COUNT(field) +1
    SAVED_N_INTS = 0 SAVED_INT_LIST(SAVED_COUNT),
    SAVED_N_REALS = 0 SAVED_REAL_LIST(SAVED_COUNT)
#undef SAVED_COUNT
};

typedef struct saved_header {
    char magic[8];
    uint32_t version, ratios;                                     /* ratios: CRC-32 of compress_ratio of all blocks, as I32 */
    char model[SAVED_NAME_BYTES], numerics[SAVED_NUMERICS_BYTES]; /* zeros behind the text */
    int64_t ints[SAVED_N_INTS];
    double reals[SAVED_N_REALS];
    int64_t n_blocks, rollback; /* draft blocks included; MODEL_ROLLBACK */
    int64_t length, drafted, oldest;
} saved_header;

/* The header that a sequence of these lengths has. DSV4_E_VALUE: the name is too long. */
dsv4_status saved_header_make(const model_kv *kv, const model_sequence *s, const char *model, saved_header *out, dsv4_error *err);

/* Whether a header read from `source` can be restored into kv: equal but for the lengths, and these possible. */
dsv4_status saved_header_check(const model_kv *kv, const saved_header *found, const char *model, const char *source,
                               dsv4_error *err);

/* Calls visit with each run of bytes of the blocks, in the order of the file, until it returns false; so does this then. is_row: of
 * the kv's dtype, else FP32. */
typedef bool saved_visit(void *context, void *bytes, size_t n_bytes, bool is_row);
bool saved_walk(const model_kv *kv, const model_sequence *s, saved_visit *visit, void *context);

/* Bytes of the whole file. */
size_t saved_file_bytes(const model_kv *kv, const model_sequence *s);

#endif
