/* ops/attention_ops.c - the six attention layers' tensors (SPEC 8.14): decode and prefill of SWA (ratio 0), CSA (4) and HCA (128).
 *
 * Optional are the integers that follow from others: positions or lengths, slot mappings, the number of valid tokens, key lists. */
#include "ops/attention.h"
#include "ops/qkv.h"

/* ---- groups of rows ------------------------------------------------------------------------------------------------------- */

#define FIXTURE(kind, a, b, name) \
    {                             \
        kind, a, b, name          \
    }

#define OPTIONAL_INTS(name, dtype, shape, meaning)                   \
    {                                                                \
        name, dtype, OP_IN | OP_OPTIONAL, shape, meaning, {0}, NULL, \
        {                                                            \
            0                                                        \
        }                                                            \
    }

#define HYPER_ROWS(set)                                                                                             \
    {"x_hc", DSV4_BF16, OP_IN, "T,M,D", "residual streams", {FIX_UNIFORM, -1, 1, NULL}, NULL, {0}},                 \
        {"hc_attn_fn", DSV4_F32, OP_IN, "2*M+M*M,M*D", "mixing weights", {FIX_CALL, 0, 0, set}, NULL, {0}},         \
        {"hc_attn_scale", DSV4_F32, OP_IN, "3", "their scales", {FIX_CALL, 0, 0, set}, NULL, {0}},                  \
        {"hc_attn_base", DSV4_F32, OP_IN, "2*M+M*M", "their offsets", {FIX_CALL, 0, 0, set}, NULL, {0}},            \
    {                                                                                                               \
        "attn_norm_w", DSV4_BF16, OP_IN, "D", "RMS weight in front of the layer", {FIX_CONSTANT, 1, 0, NULL}, NULL, \
        {                                                                                                           \
            0                                                                                                       \
        }                                                                                                           \
    }

/* weight: {kind, a, b, recipe} of weights; wide: of INT8 ones, whose sign chooses normal (SPEC 8.14) */
#define QKV_ROWS(weight, spread, wide, rope_ratio)                                                                          \
    {"wq_a", DSV4_BF16, OP_IN, "D,QL", "q down-projection", {FIX_CALL, spread, 1, weight}, NULL, {0}},                      \
        {"wq_b", DSV4_I8, OP_IN, "QL,H*hd", "q up-projection", {FIX_CALL, wide, 0, "wq:wq_b_scale"}, NULL, {0}},            \
        {"wq_b_scale", DSV4_F32, OP_IN, "H*hd", "its scale per column", {0}, NULL, {0}},                                    \
        {"wkv", DSV4_BF16, OP_IN, "D,hd", "key/value projection", {FIX_CALL, spread, 1, weight}, NULL, {0}},                \
        {"gamma_cq", DSV4_BF16, OP_IN, "QL", "RMS weight of the low-rank q", {FIX_CONSTANT, 1, 0, NULL}, NULL, {0}},        \
        {"gamma_ckv", DSV4_BF16, OP_IN, "hd", "RMS weight of kv", {FIX_CONSTANT, 1, 0, NULL}, NULL, {0}},                   \
        {"freqs_cos", DSV4_BF16, OP_IN, "N,R", "cosines per position", {FIX_CALL, rope_ratio, 0, "rope_table"}, NULL, {0}}, \
    {                                                                                                                       \
        "freqs_sin", DSV4_BF16, OP_IN, "N,R", "sines per position", {FIX_CALL, rope_ratio, 0, "rope_table"}, NULL,          \
        {                                                                                                                   \
            0                                                                                                               \
        }                                                                                                                   \
    }

#define OUTPUT_ROWS(weight, spread, wide, sink)                                                                                      \
    {"attn_sink", DSV4_F32, OP_IN, "H", "sink logit of each head", {FIX_CONSTANT, sink, 0, NULL}, NULL, {0}},                        \
        {"wo_a", DSV4_BF16, OP_IN, "G,OL,H*hd/G", "output down-projection of each group", {FIX_CALL, spread, 0, weight}, NULL, {0}}, \
        {"wo_b", DSV4_I8, OP_IN, "D,G*OL", "output up-projection", {FIX_CALL, wide, 1, "wq:wo_b_scale"}, NULL, {0}},                 \
    {                                                                                                                                \
        "wo_b_scale", DSV4_F32, OP_IN, "D", "its scale per output", {0}, NULL,                                                       \
        {                                                                                                                            \
            0                                                                                                                        \
        }                                                                                                                            \
    }

#define TOKEN_ROWS                                                                                                        \
    {"position_ids", DSV4_I32, OP_IN | OP_OPTIONAL, "T", "absolute positions", {FIX_CALL, 0, 0, "positions"}, NULL, {0}}, \
        OPTIONAL_INTS("ori_slot_mapping", DSV4_I64, "T", "window cache row of each token, -1: none")

#define WINDOW_ROWS_DECODE(table_name)                                                                                \
    {"kv_cache", DSV4_BF16, OP_INOUT, "WP,BS,1,hd", "window cache", {FIX_CALL, 0, 0, "unit_rows"}, NULL, CACHE_RULE}, \
    {                                                                                                                 \
        table_name, DSV4_I32, OP_IN, "B,WPR", "its pages of each request", {FIX_CALL, 0, 0, "table"}, NULL,           \
        {                                                                                                             \
            0                                                                                                         \
        }                                                                                                             \
    }

#define WINDOW_ROWS_PREFILL(table_name, rule)                                                                                  \
    {"kv_cache", DSV4_BF16, OP_INOUT, "WP,BS,1,hd", "window cache", {FIX_CALL, 0.05, 0, "ring_rows:" table_name}, NULL, rule}, \
        {table_name, DSV4_I32, OP_IN, "WPR", "its pages", {FIX_CALL, 0, 0, "table"}, NULL, {0}},                               \
    {                                                                                                                          \
        "num_tokens", DSV4_I32, OP_IN | OP_OPTIONAL, "", "valid tokens", {FIX_CALL, 0, 0, "tokens"}, NULL,                     \
        {                                                                                                                      \
            0                                                                                                                  \
        }                                                                                                                      \
    }

#define LIST_ROWS                                                           \
    OPTIONAL_INTS("cmp_sparse_indices", DSV4_I32, "T,KL", "raw key lists"), \
        OPTIONAL_INTS("cmp_sparse_lens", DSV4_I32, "T", "slots of each list that count")

/* Compressed cache and compressor. ratio "4" or "128"; out: values of a projection. */
#define COMPRESSOR_WEIGHT_ROWS(ratio, out, kv_sd, gate_sd, ape_sd, norm_mean, norm_sd)                                           \
    {"cmp_wkv", DSV4_BF16, OP_IN, out ",D", "compressor's value projection", {FIX_NORMAL, 0, kv_sd, NULL}, NULL, {0}},           \
        {"cmp_wgate", DSV4_BF16, OP_IN, out ",D", "compressor's score projection", {FIX_NORMAL, 0, gate_sd, NULL}, NULL, {0}},   \
        {"cmp_ape", DSV4_F32, OP_IN, ratio "," out, "position bias of the scores", {FIX_NORMAL, 0, ape_sd, NULL}, NULL, {0}},    \
        {"cmp_norm_w", DSV4_BF16, OP_IN, "hd", "RMS weight of a pooled row", {FIX_NORMAL, norm_mean, norm_sd, NULL}, NULL, {0}}, \
        OPTIONAL_INTS("cmp_slot_mapping", DSV4_I64, "T", "compressed row of each token, -1: none"),                              \
        OPTIONAL_INTS("state_slot_mapping", DSV4_I64, "T", "state row of each token, -1: none")

#define CSA_WEIGHT_ROWS COMPRESSOR_WEIGHT_ROWS("4", "2*hd", 0.0245, 0.0388, 0.1243, 0.9666, 0.1929)
#define HCA_WEIGHT_ROWS COMPRESSOR_WEIGHT_ROWS("128", "hd", 0.0246, 0.0316, 0.0340, 0.1001, 0.0549)

#define STATE_TABLE "compress_state_block_table"
#define INNER_STATE_TABLE "inner_compress_state_block_table"

#define COMPRESSED_ROWS_DECODE(out2, state_fixture)                                                                       \
    {"cmp_kv", DSV4_BF16, OP_INOUT, "CP,BS,1,hd", "compressed cache", {FIX_CALL, 0, 0, "unit_rows"}, NULL, CACHE_RULE},   \
        {"cmp_block_table", DSV4_I32, OP_IN, "B,CPR", "its pages of each request", {FIX_CALL, 0, 0, "table"}, NULL, {0}}, \
        {"compress_state", DSV4_F32, OP_INOUT, "SP,SR," out2, "compressor state", state_fixture, NULL, STATE_RULE},       \
        {STATE_TABLE, DSV4_I32, OP_IN, "B,SPR", "its pages of each request", {FIX_CALL, 0, 0, "table:SP"}, NULL, {0}},    \
    {                                                                                                                     \
        "kv_seq_lens", DSV4_I32, OP_IN | OP_OPTIONAL, "B", "tokens behind the step", {FIX_CALL, 0, 0, "lengths"}, NULL,   \
        {                                                                                                                 \
            0                                                                                                             \
        }                                                                                                                 \
    }

#define COMPRESSED_ROWS_PREFILL(out, ratio, history)                                                                                \
    {"cmp_kv", DSV4_BF16, OP_INOUT, "CP,BS,1,hd", "compressed cache", {FIX_CALL, 0.05, ratio, "cache_rows:cmp_block_table"},        \
     NULL,     CACHE_RULE},                                                                                                         \
        {"cmp_block_table", DSV4_I32, OP_IN, "CPR", "its pages", {FIX_CALL, 0, 0, "table"}, NULL, {0}},                             \
        {"cmp_kv_state", DSV4_F32,  OP_INOUT, "SP,SR," out, "compressor values", {FIX_CALL, 0.05, history, "history:" STATE_TABLE}, \
         NULL,           STATE_RULE},                                                                                               \
        {"cmp_score_state",                                                                                                         \
         DSV4_F32,                                                                                                                  \
         OP_INOUT,                                                                                                                  \
         "SP,SR," out,                                                                                                              \
         "compressor scores",                                                                                                       \
         {FIX_CALL, 0.05, history, "history:" STATE_TABLE},                                                                         \
         NULL,                                                                                                                      \
         STATE_RULE},                                                                                                               \
    {                                                                                                                               \
        STATE_TABLE, DSV4_I32, OP_IN, "SPR", "pages of both", {FIX_CALL, 17, 3, "table_permuted:SP"}, NULL,                         \
        {                                                                                                                           \
            0                                                                                                                       \
        }                                                                                                                           \
    }

#define INDEX_WEIGHT_ROWS(weights_name)                                                                                           \
    {"idx_wq_b", DSV4_I8, OP_IN, "QL,IH*ID", "indexer's q projection", {FIX_CALL, 0.108, 0.56, "mx8:idx_wq_b_scale"}, NULL, {0}}, \
        {"idx_wq_b_scale", DSV4_F32, OP_IN, "IH*ID", "its scale per column", {0}, NULL, {0}},                                     \
        {weights_name, DSV4_BF16, OP_IN, "D,IH", "weights of the index heads", {FIX_NORMAL, 0, 0.2313, NULL}, NULL, {0}},         \
        {"hadamard_idx", DSV4_BF16, OP_IN, "ID,ID", "Hadamard matrix", {FIX_CALL, 0, 0, "hadamard"}, NULL, {0}},                  \
        {"inner_wkv", DSV4_BF16, OP_IN, "2*ID,D", "index compressor's values", {FIX_NORMAL, 0, 0.0293, NULL}, NULL, {0}},         \
        {"inner_wgate", DSV4_BF16, OP_IN, "2*ID,D", "index compressor's scores", {FIX_NORMAL, 0, 0.0512, NULL}, NULL, {0}},       \
        {"inner_ape", DSV4_F32, OP_IN, "4,2*ID", "their position bias", {FIX_NORMAL, 0, 0.1528, NULL}, NULL, {0}},                \
        {"inner_norm_w", DSV4_BF16, OP_IN, "ID", "RMS weight of an index row", {FIX_NORMAL, 0.685, 0.261, NULL}, NULL, {0}},      \
        OPTIONAL_INTS("idx_slot_mapping", DSV4_I64, "T", "index cache row of each token, -1: none"),                              \
        OPTIONAL_INTS("inner_state_slot_mapping", DSV4_I64, "T", "index state row of each token, -1: none")

#define INDEX_CACHE_ROW(a, b, recipe)                                                                                          \
    {"idx_kv_cache", DSV4_BF16, OP_INOUT | OP_OR_I8, "IP,BS,1,ID", "index cache", {FIX_CALL, a, b, recipe}, NULL, CACHE_RULE}, \
    {                                                                                                                          \
        "idx_kv_scale", DSV4_F32, OP_INOUT | OP_OPTIONAL, "IP,BS,1,1", "its scales, where it is I8", {0}, NULL, SCALE_RULE     \
    }

#define INDEX_ROWS_DECODE                                                                                                 \
    INDEX_CACHE_ROW(0, 0, "unit_rows"),                                                                                   \
        {"idx_block_table", DSV4_I32, OP_IN, "B,IPR", "its pages of each request", {FIX_CALL, 0, 0, "table"}, NULL, {0}}, \
        {"inner_compress_state",                                                                                          \
         DSV4_F32,                                                                                                        \
         OP_INOUT,                                                                                                        \
         "JP,JR,4*ID",                                                                                                    \
         "index compressor state",                                                                                        \
         {FIX_CALL, 0.05, 0, "history_decode:" INNER_STATE_TABLE},                                                        \
         NULL,                                                                                                            \
         STATE_RULE},                                                                                                     \
    {                                                                                                                     \
        INNER_STATE_TABLE, DSV4_I32, OP_IN, "B,JPR", "its pages of each request", {FIX_CALL, 0, 0, "table:JP"}, NULL,     \
        {                                                                                                                 \
            0                                                                                                             \
        }                                                                                                                 \
    }

#define INDEX_ROWS_PREFILL                                                                                        \
    INDEX_CACHE_ROW(0.025, 4, "cache_rows:idx_block_table"),                                                      \
        {"idx_block_table", DSV4_I32, OP_IN, "IPR", "its pages", {FIX_CALL, 0, 0, "table"}, NULL, {0}},           \
        {"inner_kv_state",                                                                                        \
         DSV4_F32,                                                                                                \
         OP_INOUT,                                                                                                \
         "JP,JR,2*ID",                                                                                            \
         "index compressor values",                                                                               \
         {FIX_CALL, 0.05, 8, "history:" INNER_STATE_TABLE},                                                       \
         NULL,                                                                                                    \
         STATE_RULE},                                                                                             \
        {"inner_score_state",                                                                                     \
         DSV4_F32,                                                                                                \
         OP_INOUT,                                                                                                \
         "JP,JR,2*ID",                                                                                            \
         "index compressor scores",                                                                               \
         {FIX_CALL, 0.05, 8, "history:" INNER_STATE_TABLE},                                                       \
         NULL,                                                                                                    \
         STATE_RULE},                                                                                             \
    {                                                                                                             \
        INNER_STATE_TABLE, DSV4_I32, OP_IN, "JPR", "pages of both", {FIX_CALL, 17, 3, "table_permuted:JP"}, NULL, \
        {                                                                                                         \
            0                                                                                                     \
        }                                                                                                         \
    }

#define RESULT_ROW(rule)                                                             \
    {                                                                                \
        "x_out", DSV4_BF16, OP_OUT, "T,M,D", "new residual streams", {0}, NULL, rule \
    }

#define RULE(kind, a, r, budget, hard) \
    {                                  \
        kind, a, r, budget, hard       \
    }
#define CACHE_RULE RULE(CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0)
#define SCALE_RULE RULE(CMP_RATIO, 2.5e-5, 5e-3, 0.005, 0)
#define STATE_RULE RULE(CMP_ALLCLOSE, 1e-3, 1e-3, 0.005, 0)
#define DECODE_RULE RULE(CMP_RELDIFF, 3e-3, 0, 0.008, 1)

#define DECODE_QKV_ROWS(rope_ratio) QKV_ROWS("normal_fan_in", 1, -1, rope_ratio)
#define DECODE_OUTPUT_ROWS(sink) OUTPUT_ROWS("normal_fan_in", 1, -1, sink)
#define PREFILL_QKV_ROWS(rope_ratio) QKV_ROWS("uniform_fan_in", 0.5, 0.5, rope_ratio)
#define PREFILL_OUTPUT_ROWS OUTPUT_ROWS("uniform_fan_in", 0.5, 0.5, 0)

/* ---- tables --------------------------------------------------------------------------------------------------------------- */

static const op_tensor decode_swa[] = {
    HYPER_ROWS("hc:swa"),
    DECODE_QKV_ROWS(0),
    WINDOW_ROWS_DECODE("block_table"),
    TOKEN_ROWS,
    OPTIONAL_INTS("kv_seq_lens", DSV4_I32, "B", "tokens behind the step"),
    DECODE_OUTPUT_ROWS(0),
    RESULT_ROW(DECODE_RULE),
};

static const op_tensor decode_csa[] = {
    HYPER_ROWS("hc:csa"),
    DECODE_QKV_ROWS(4),
    WINDOW_ROWS_DECODE("ori_block_table"),
    TOKEN_ROWS,
    CSA_WEIGHT_ROWS,
    COMPRESSED_ROWS_DECODE("4*hd", FIXTURE(FIX_CALL, 0.05, 0, "history_decode:" STATE_TABLE)),
    INDEX_WEIGHT_ROWS("weights_proj"),
    INDEX_ROWS_DECODE,
    DECODE_OUTPUT_ROWS(4),
    RESULT_ROW(DECODE_RULE),
};

static const op_tensor decode_hca[] = {
    HYPER_ROWS("hc:hca"),
    DECODE_QKV_ROWS(128),
    WINDOW_ROWS_DECODE("ori_block_table"),
    TOKEN_ROWS,
    HCA_WEIGHT_ROWS,
    COMPRESSED_ROWS_DECODE("2*hd", FIXTURE(FIX_CONSTANT, 0, 0, NULL)),
    DECODE_OUTPUT_ROWS(0),
    RESULT_ROW(DECODE_RULE),
};

static const op_tensor prefill_swa[] = {
    HYPER_ROWS("hc:swa"),
    PREFILL_QKV_ROWS(0),
    WINDOW_ROWS_PREFILL("block_table", RULE(CMP_RATIO, 1e-4, 1e-2, 0.005, 0)),
    TOKEN_ROWS,
    LIST_ROWS,
    PREFILL_OUTPUT_ROWS,
    RESULT_ROW(RULE(CMP_RELDIFF, 3e-3, 0, 0.005, 1)),
};

static const op_tensor prefill_csa[] = {
    HYPER_ROWS("hc:csa"),
    PREFILL_QKV_ROWS(4),
    WINDOW_ROWS_PREFILL("ori_block_table", CACHE_RULE),
    TOKEN_ROWS,
    CSA_WEIGHT_ROWS,
    COMPRESSED_ROWS_PREFILL("2*hd", 4, 8),
    INDEX_WEIGHT_ROWS("idx_weights_proj"),
    INDEX_ROWS_PREFILL,
    PREFILL_OUTPUT_ROWS,
    RESULT_ROW(RULE(CMP_RELDIFF, 5e-3, 0, 0.005, 1)),
};

static const op_tensor prefill_hca[] = {
    HYPER_ROWS("hc:hca"),
    PREFILL_QKV_ROWS(128),
    WINDOW_ROWS_PREFILL("ori_block_table", CACHE_RULE),
    TOKEN_ROWS,
    HCA_WEIGHT_ROWS,
    COMPRESSED_ROWS_PREFILL("hd", 128, 128),
    LIST_ROWS,
    PREFILL_OUTPUT_ROWS,
    RESULT_ROW(RULE(CMP_RELDIFF, 5e-3, 0, 0.005, 1)),
};

/* ---- tiles ---------------------------------------------------------------------------------------------------------------- */

static const op_tile tiles[ATTENTION_N_TILES] = {
    [ATTENTION_T_TILE] = {"t_tile", "rows of a product block", 128, 128, 1, NULL, NULL},
    [ATTENTION_N_TILE] = {"n_tile", "columns of a block of the products with D inputs", 128, 64, UK_PANEL, NULL, NULL},
    [ATTENTION_K_SPLIT] = {"k_split", "blocks that share the sum over D", 4, 1, 1, NULL, "D"},
    [ATTENTION_Q_N_TILE] = {"q_n_tile", "columns of a block of the INT8 products", 256, 256, UK_PANEL, NULL, NULL},
    [ATTENTION_NORM_T_TILE] = {"norm_t_tile", "rows of a normalising or quantising block", 4, 16, 1, NULL, NULL},
    [ATTENTION_NORM_PARTS] = {"norm_parts", "parts of a low-rank row that are normalised by different blocks", 2, 2, 1, NULL, "QL"},
    [ATTENTION_D_PARTS] = {"d_parts", "parts of a hidden row that are mixed or normalised by different blocks", 2, 2, 1, NULL, "D"},
    [ATTENTION_HEAD_T_TILE] = {"head_t_tile", "rows of a q_head block", 8, 16, 1, NULL, NULL},
    [ATTENTION_HEAD_GROUP] = {"head_group", "heads of a q_head block", 2, 2, 1, "H", NULL},
    [ATTENTION_CORE_HEADS] = {"core_heads", "heads of an attention block", 32, 64, 1, "H", NULL},
    [ATTENTION_KEY_BLOCKS] = {"key_blocks", "key blocks of an attention block", 1, 1 << 20, 1, NULL, NULL},
    [ATTENTION_A_N_TILE] = {"a_n_tile", "columns of a proj_a block", 128, 64, UK_PANEL, NULL, NULL},
    [ATTENTION_A_K_SPLIT] = {"a_k_split", "blocks that share the sum of proj_a", 1, 1, 1, NULL, NULL},
    [ATTENTION_B_N_TILE] = {"b_n_tile", "columns of a proj_b block", 512, 256, UK_PANEL, NULL, NULL},
    [ATTENTION_INDEX_T_TILE] = {"index_t_tile", "tokens that an index block scores", 8, 16, 1, NULL, NULL},
    [ATTENTION_INDEX_KEY_TILE] = {"index_key_tile", "compressed rows scored at a time", 128, 128, 1, NULL, NULL},
    [ATTENTION_INDEX_PARTS] = {"index_parts", "blocks that share a token's compressed rows", 16, 4, 1, NULL, NULL},
};

/* ---- rules --------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_tokens(const op_context *c, dsv4_error *err)
{
    int64_t T = c->dims.of[OP_T], B = c->op->mode == DSV4_DECODE ? c->dims.of[OP_B] : 1, S = T / B;
    if (T % B != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE, "%s: %lld tokens for %lld requests, rule: as many for each", c->op->name, (long long)T,
                         (long long)B);
    }
    int64_t most = c->op->ratio == 4 ? 4 : c->dims.of[OP_W];
    if (c->op->mode == DSV4_DECODE && S > most) {
        return dsv4_fail(err, DSV4_E_SHAPE, "%s: %lld tokens of a request, rule: at most %lld in a decode step", c->op->name,
                         (long long)S, (long long)most);
    }
    if (!op_has_tensor(c, "position_ids") && !(c->op->mode == DSV4_DECODE && op_has_tensor(c, "kv_seq_lens"))) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: input position_ids is missing%s", c->op->name,
                         c->op->mode == DSV4_DECODE ? ", and kv_seq_lens, which could stand for it" : "");
    }
    if (op_has_tensor(c, "cmp_sparse_indices") != op_has_tensor(c, "cmp_sparse_lens")) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND,
                         "%s: one of cmp_sparse_indices and cmp_sparse_lens is missing, expected both or none", c->op->name);
    }
    return DSV4_OK;
}

static dsv4_status check_dims(const op_context *c, dsv4_error *err)
{
    const int64_t *dims = c->dims.of;
    if (dims[OP_H] % dims[OP_G] != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: num_attention_heads=%lld, rule: a multiple of o_groups=%lld", c->op->name,
                         (long long)dims[OP_H], (long long)dims[OP_G]);
    }
    if (c->op->ratio == 4 && (dims[OP_R] > dims[OP_ID] || dims[OP_ID] > UK_MAX_K_I8)) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: index_head_dim=%lld, rule: from qk_rope_head_dim=%lld to %d", c->op->name,
                         (long long)dims[OP_ID], (long long)dims[OP_R], UK_MAX_K_I8);
    }
    if (dims[OP_W] > dims[OP_WPR] * dims[OP_BS]) {
        return dsv4_fail(err, DSV4_E_SHAPE, "%s: the window cache holds %lld rows per request, rule: at least sliding_window=%lld",
                         c->op->name, (long long)(dims[OP_WPR] * dims[OP_BS]), (long long)dims[OP_W]);
    }
    return DSV4_OK;
}

static dsv4_status check_layer(const op_context *c, dsv4_error *err)
{
    dsv4_status status = op_qkv_check(c, err);
    if (status == DSV4_OK) {
        status = check_dims(c, err);
    }
    return status == DSV4_OK ? check_tokens(c, err) : status;
}

/* ---- operators ------------------------------------------------------------------------------------------------------------ */

#define ATTENTION(symbol, form, layer_mode, layer_ratio, text)            \
    const dsv4_op op_##symbol##_attention_##form = {                      \
        .name = #symbol "_attention_" #form,                              \
        .summary = text,                                                  \
        .family = "attention",                                            \
        .mode = layer_mode,                                               \
        .ratio = layer_ratio,                                             \
        .tensors = symbol##_##form,                                       \
        .n_tensors = sizeof symbol##_##form / sizeof *symbol##_##form,    \
        .tiles = tiles,                                                   \
        .n_tiles = ATTENTION_N_TILES,                                     \
        .valid_tokens = layer_mode == DSV4_PREFILL ? "num_tokens" : NULL, \
        .check = check_layer,                                             \
        .build = attention_build,                                         \
    }

ATTENTION(decode, swa, DSV4_DECODE, 0, "an attention layer over the sliding window, decode step");
ATTENTION(decode, csa, DSV4_DECODE, 4, "an attention layer over the window and chosen compressed rows, decode step");
ATTENTION(decode, hca, DSV4_DECODE, 128, "an attention layer over the window and all heavily compressed rows, decode step");
ATTENTION(prefill, swa, DSV4_PREFILL, 0, "an attention layer over the sliding window, prefill chunk");
ATTENTION(prefill, csa, DSV4_PREFILL, 4, "an attention layer over the window and chosen compressed rows, prefill chunk");
ATTENTION(prefill, hca, DSV4_PREFILL, 128, "an attention layer over the window and all heavily compressed rows, prefill chunk");
