/* golden/expectations.h - for every output of the vector files: the rule of SPEC 7, and how near its golden comes to the reference
 * implementation beyond that: elements of a file that may differ in a bit, and by how much at most (SPEC 10). */
#ifndef GOLDEN_EXPECTATIONS_H
#define GOLDEN_EXPECTATIONS_H

#include <string.h>

#include "tensor/compare.h"

typedef struct expectation {
    const char *kernel, *output;
    cmp_rule rule;
    int64_t max_mismatches;
    double max_difference;
} expectation;

#define EXPECT_RATIO(a, r, b)                                      \
    {                                                              \
        .kind = CMP_RATIO, .atol = (a), .rtol = (r), .budget = (b) \
    }
#define EXPECT_ROWS EXPECT_RATIO(1e-4, 1.0 / 128, 0.0)
#define EXPECT_STATE EXPECT_RATIO(1e-3, 1e-3, 0.0)
#define EXPECT_ALL_CLOSE                                 \
    {                                                    \
        .kind = CMP_ALLCLOSE, .atol = 1e-3, .rtol = 1e-3 \
    }
#define EXPECT_EXACT      \
    {                     \
        .kind = CMP_EXACT \
    }

/* FP32 sums differ in their last bits: any number of elements. */
#define EXPECT_ANY INT64_MAX

static const expectation expectations[] = {
    {"rmsnorm", "x_normed", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), 0, 0.0},
    {"qkv_proj_rope", "q", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), 2, 4e-6},
    {"qkv_proj_rope", "kv", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), 0, 0.0},
    {"qkv_proj_rope", "qr", EXPECT_RATIO(1.0, 0.0, 0.0), 0, 0.0},
    {"qkv_proj_rope", "qr_scale", EXPECT_RATIO(2.5e-5, 5e-3, 0.005), 8, 8e-9},
    {"rope_tables", "freqs_cos", EXPECT_RATIO(0.0, 1.0 / 128, 0.0), 0, 0.0},
    {"rope_tables", "freqs_sin", EXPECT_RATIO(0.0, 1.0 / 128, 0.0), 0, 0.0},
    {"decode_indexer_compressor", "kv", EXPECT_ROWS, EXPECT_ANY, 4e-7},
    {"decode_indexer_compressor", "compress_state", EXPECT_STATE, EXPECT_ANY, 8e-7},
    {"decode_indexer_compressor", "idx_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"decode_compressor_ratio4", "kv", EXPECT_ROWS, EXPECT_ANY, 2e-6},
    {"decode_compressor_ratio4", "compress_state", EXPECT_STATE, EXPECT_ANY, 8e-7},
    {"decode_compressor_ratio4", "cmp_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"decode_compressor_ratio128", "kv", EXPECT_ROWS, EXPECT_ANY, 8e-7},
    {"decode_compressor_ratio128", "compress_state", EXPECT_STATE, EXPECT_ANY, 8e-7},
    {"decode_compressor_ratio128", "cmp_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"prefill_indexer_compressor", "kv", EXPECT_ROWS, 0, 0.0},
    {"prefill_indexer_compressor", "kv_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_indexer_compressor", "score_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_indexer_compressor", "idx_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"prefill_compressor_ratio4", "kv_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_compressor_ratio4", "score_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_compressor_ratio4", "cmp_kv", EXPECT_ROWS, 0, 0.0},
    {"prefill_compressor_ratio128", "kv_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_compressor_ratio128", "score_state", EXPECT_STATE, EXPECT_ANY, 6e-8},
    {"prefill_compressor_ratio128", "cmp_kv", EXPECT_ROWS, 0, 0.0},
    {"decode_indexer", "score", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), EXPECT_ANY, 2e-6},
    {"decode_indexer", "topk_idxs", EXPECT_EXACT, 0, 0.0},
    {"decode_indexer", "idx_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"decode_indexer", "inner_kv", EXPECT_ROWS, EXPECT_ANY, 4e-7},
    {"decode_indexer", "inner_compress_state", EXPECT_STATE, EXPECT_ANY, 8e-7},
    {"prefill_indexer", "score", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), EXPECT_ANY, 2e-6},
    {"prefill_indexer", "topk_idxs", EXPECT_EXACT, 0, 0.0},
    {"prefill_indexer", "idx_kv_cache", EXPECT_ROWS, 0, 0.0},
    {"prefill_indexer", "inner_kv_state", EXPECT_STATE, EXPECT_ANY, 2e-7},
    {"prefill_indexer", "inner_score_state", EXPECT_STATE, EXPECT_ANY, 8e-7},
    {"hc_pre", "x_mixed", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), 0, 0.0},
    {"hc_pre", "post", EXPECT_RATIO(2.5e-5, 5e-3, 0.005), EXPECT_ANY, 2e-7},
    {"hc_pre", "comb", EXPECT_RATIO(2.5e-5, 5e-3, 0.005), EXPECT_ANY, 4e-7},
    {"hc_post", "y", EXPECT_ALL_CLOSE, 0, 0.0},
    {"hc_head", "y", EXPECT_RATIO(1e-4, 1.0 / 128, 0.005), 0, 0.0},
    {"gate", "x_norm", EXPECT_RATIO(1e-3, 1.0 / 128, 0.0), 0, 0.0},
    {"gate", "x_norm_i8", EXPECT_RATIO(1.0, 0.0, 0.001), 0, 0.0},
    {"gate", "x_norm_scale", EXPECT_ALL_CLOSE, 0, 0.0},
    {"gate", "indices", EXPECT_EXACT, 0, 0.0},
    {"gate", "weights", EXPECT_ALL_CLOSE, EXPECT_ANY, 2.4e-7},
    {"expert_shared", "sh", {.kind = CMP_RELDIFF, .atol = 2e-3, .budget = 0.01}, 0, 0.0},
    {"expert_routed", "recv_y", {.kind = CMP_RELDIFF, .atol = 2e-3, .budget = 0.01}, 0, 0.0},
    {"dispatch", "recv_x", EXPECT_EXACT, 0, 0.0},
    {"dispatch", "recv_scale_dq", EXPECT_EXACT, 0, 0.0},
    {"dispatch", "recv_weights", EXPECT_EXACT, 0, 0.0},
    {"dispatch", "recv_token", EXPECT_EXACT, 0, 0.0},
    {"dispatch", "recv_expert_count", EXPECT_EXACT, 0, 0.0},
    {"combine", "ffn_out", EXPECT_ALL_CLOSE, 0, 0.0},
    {"moe", "x_next", {.kind = CMP_RELDIFF, .atol = 3e-3, .budget = 0.05}, 0, 0.0},
    {"lm_head", "logits", EXPECT_ALL_CLOSE, EXPECT_ANY, 4e-7},
    {"mtp_projection", "hidden_states_out", EXPECT_RATIO(1e-2, 1e-2, 0.02), 0, 0.0},
};

/* NULL for an output that has none. */
static inline const expectation *find_expectation(const char *kernel, const char *output)
{
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        if (strcmp(expectations[i].kernel, kernel) == 0 && strcmp(expectations[i].output, output) == 0) {
            return &expectations[i];
        }
    }
    return NULL;
}

#endif
