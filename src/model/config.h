/* model/config.h - the architecture of a whole model, as its config.json has it.
 *
 *   trunk   num_hidden_layers blocks, then the draft blocks (multi-token prediction): together they are "blocks", numbered through
 *   ratio   per block: 0 attends to a window, 4 also to compressed entries that an indexer selects, 128 to all compressed entries
 *   router  the first num_hash_layers look experts up by token id, the others score them
 *
 * The dimensions of attention, rotation and residual streams are those of dsv4_config, which the operators take as they are. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>

#include "dsv4/config.h"

enum {
    MODEL_MAX_BLOCKS = 512,
    MODEL_MAX_CONFIG_BYTES = 1 << 20,
    MODEL_MAX_EXPERTS = 1 << 18, /* of all blocks together */
};

/* field, smallest, largest */
#define MODEL_CONFIG_INT_LIST(X)              \
    X(num_hidden_layers, 1, MODEL_MAX_BLOCKS) \
    X(num_hash_layers, 0, MODEL_MAX_BLOCKS)   \
    X(n_routed_experts, 1, 1 << 14)           \
    X(num_experts_per_tok, 1, 256)            \
    X(moe_intermediate_size, 1, 1 << 18)      \
    X(vocab_size, 1, 1 << 24)                 \
    X(bos_token_id, 0, (1 << 24) - 1)         \
    X(eos_token_id, 0, (1 << 24) - 1)

#define MODEL_CONFIG_REAL_LIST(X)       \
    X(routed_scaling_factor, 1e-6, 1e6) \
    X(swiglu_limit, 1e-6, 1e9)

/* How routed experts are stored. UNKNOWN: the text does not say; the dtype of a stored expert does. */
typedef enum model_expert_dtype { MODEL_EXPERT_UNKNOWN, MODEL_EXPERT_FP4, MODEL_EXPERT_FP8 } model_expert_dtype;

/* What draft blocks are: MTP is one that proposes a token from the trunk's last streams; DSPARK is a chain of three that propose a
 * block of tokens, with projections and a head of their own. */
typedef enum model_draft { MODEL_DRAFT_NONE, MODEL_DRAFT_MTP, MODEL_DRAFT_DSPARK } model_draft;

typedef struct model_config {
    dsv4_config dims; /* dims.name: "flash" or "pro" where these are that model's dimensions, else what the text says */
#define MODEL_CONFIG_FIELD(field, lo, hi) int64_t field;
    MODEL_CONFIG_INT_LIST(MODEL_CONFIG_FIELD)
#undef MODEL_CONFIG_FIELD
#define MODEL_CONFIG_FIELD(field, lo, hi) double field;
    MODEL_CONFIG_REAL_LIST(MODEL_CONFIG_FIELD)
#undef MODEL_CONFIG_FIELD
    model_expert_dtype expert_dtype;
    model_draft draft;
    int n_draft_blocks;
    int64_t dspark_markov_rank;           /* DSPARK */
    int compress_ratio[MODEL_MAX_BLOCKS]; /* of blocks 0 .. num_hidden_layers + n_draft_blocks - 1: 0, 4 or 128 */
} model_config;

/* From the text of a config.json. Every field must be there, of its kind and in range, and what the architecture fixes must be so:
 * model_type, one key head, FP8 with scales per 128x128, ... `source` appears in messages. */
DSV4_MUST_CHECK dsv4_status model_config_parse(const char *source, const char *json, size_t n_bytes, model_config *out,
                                               dsv4_error *err);

/* From a file. */
DSV4_MUST_CHECK dsv4_status model_config_read(const char *path, model_config *out, dsv4_error *err);

static inline int model_config_n_blocks(const model_config *c)
{
    return (int)c->num_hidden_layers + c->n_draft_blocks;
}

static inline bool model_config_is_hashed(const model_config *c, int block)
{
    return block < c->num_hash_layers;
}

#endif
