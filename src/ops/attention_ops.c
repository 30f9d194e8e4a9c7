/* ops/attention_ops.c - the six attention layers' tensors (SPEC 8.14): decode and prefill of SWA (ratio 0), CSA (4) and HCA (128).
 *
 * Optional are the integers that follow from others: positions or lengths, slot mappings, the number of valid tokens, key lists. */
#include "ops/attention.h"
#include "ops/compressor_rows.h"
#include "ops/qkv.h"

/* ---- groups of rows ------------------------------------------------------------------------------------------------------- */

#define STATE_TABLE "compress_state_block_table"
#define INNER_STATE_TABLE "inner_compress_state_block_table"

#define ROW_LAYER_STATE(name, shape, meaning, ...) \
    OP_BRACED(name, DSV4_F32, OP_INOUT, shape, meaning, __VA_ARGS__, NULL, RULE_ALLCLOSE(1e-3, 1e-3, 0.005))

#define ROWS_HYPER(set)                                                                      \
    ROW_IN("x_hc", DSV4_BF16, "T,M,D", "residual streams", DRAW_UNIFORM(-1, 1)),             \
        ROW_IN("hc_attn_fn", DSV4_F32, "2*M+M*M,M*D", "mixing weights", DRAW_BY(set, 0, 0)), \
        ROW_IN("hc_attn_scale", DSV4_F32, "3", "their scales", DRAW_BY(set, 0, 0)),          \
        ROW_IN("hc_attn_base", DSV4_F32, "2*M+M*M", "their offsets", DRAW_BY(set, 0, 0)),    \
        ROW_IN("attn_norm_w", DSV4_BF16, "D", "RMS weight in front of the layer", DRAW_CONSTANT(1))

/* weight, spread: the recipe of BF16 weights and its a; wide: a of the INT8 ones, whose sign chooses normal (SPEC 8.14). */
#define ROWS_QKV(weight, spread, wide, rope_ratio)                                                           \
    ROW_IN("wq_a", DSV4_BF16, "D,QL", "q down-projection", DRAW_BY(weight, spread, 1)),                      \
        ROW_IN("wq_b", DSV4_I8, "QL,H*hd", "q up-projection", DRAW_BY("wq:wq_b_scale", wide, 0)),            \
        ROW_IN("wq_b_scale", DSV4_F32, "H*hd", "its scale per column", DRAW_NONE),                           \
        ROW_IN("wkv", DSV4_BF16, "D,hd", "key/value projection", DRAW_BY(weight, spread, 1)),                \
        ROW_IN("gamma_cq", DSV4_BF16, "QL", "RMS weight of the low-rank q", DRAW_CONSTANT(1)),               \
        ROW_IN("gamma_ckv", DSV4_BF16, "hd", "RMS weight of kv", DRAW_CONSTANT(1)),                          \
        ROW_IN("freqs_cos", DSV4_BF16, "N,R", "cosines per position", DRAW_BY("rope_table", rope_ratio, 0)), \
        ROW_IN("freqs_sin", DSV4_BF16, "N,R", "sines per position", DRAW_BY("rope_table", rope_ratio, 0))

#define ROWS_OUTPUT(weight, spread, wide, sink)                                                                       \
    ROW_IN("attn_sink", DSV4_F32, "H", "sink logit of each head", DRAW_CONSTANT(sink)),                               \
        ROW_IN("wo_a", DSV4_BF16, "G,OL,H*hd/G", "output down-projection of each group", DRAW_BY(weight, spread, 0)), \
        ROW_IN("wo_b", DSV4_I8, "D,G*OL", "output up-projection", DRAW_BY("wq:wo_b_scale", wide, 1)),                 \
        ROW_IN("wo_b_scale", DSV4_F32, "D", "its scale per output", DRAW_NONE)

#define ROWS_TOKENS                                                                                \
    ROW_OPTIONAL("position_ids", DSV4_I32, "T", "absolute positions", DRAW_BY("positions", 0, 0)), \
        ROW_OPTIONAL("ori_slot_mapping", DSV4_I64, "T", "window cache row of each token, -1: none", DRAW_NONE)

#define ROWS_WINDOW_DECODE(table_name)                                                                            \
    ROW_INOUT("kv_cache", DSV4_BF16, "WP,BS,1,hd", "window cache", DRAW_BY("unit_rows", 0, 0), RULE_BF16(0.005)), \
        ROW_IN(table_name, DSV4_I32, "B,WPR", "its pages of each request", DRAW_BY("table", 0, 0))

#define ROWS_WINDOW_PREFILL(table_name, rule)                                                                        \
    ROW_INOUT("kv_cache", DSV4_BF16, "WP,BS,1,hd", "window cache", DRAW_BY("ring_rows:" table_name, 0.05, 0), rule), \
        ROW_IN(table_name, DSV4_I32, "WPR", "its pages", DRAW_BY("table", 0, 0)),                                    \
        ROW_OPTIONAL("num_tokens", DSV4_I32, "", "valid tokens", DRAW_BY("tokens", 0, 0))

#define ROWS_LISTS                                                                    \
    ROW_OPTIONAL("cmp_sparse_indices", DSV4_I32, "T,KL", "raw key lists", DRAW_NONE), \
        ROW_OPTIONAL("cmp_sparse_lens", DSV4_I32, "T", "slots of each list that count", DRAW_NONE)

#define ROWS_COMPRESSOR_SLOTS                                                                             \
    ROW_OPTIONAL("cmp_slot_mapping", DSV4_I64, "T", "compressed row of each token, -1: none", DRAW_NONE), \
        ROW_OPTIONAL("state_slot_mapping", DSV4_I64, "T", "state row of each token, -1: none", DRAW_NONE)

#define ROWS_COMPRESSED_DECODE(out2, state_fixture)                                                                 \
    ROW_INOUT("cmp_kv", DSV4_BF16, "CP,BS,1,hd", "compressed cache", DRAW_BY("unit_rows", 0, 0), RULE_BF16(0.005)), \
        ROW_IN("cmp_block_table", DSV4_I32, "B,CPR", "its pages of each request", DRAW_BY("table", 0, 0)),          \
        ROW_LAYER_STATE("compress_state", "SP,SR," out2, "compressor state", state_fixture),                        \
        ROW_IN(STATE_TABLE, DSV4_I32, "B,SPR", "its pages of each request", DRAW_BY("table:SP", 0, 0)),             \
        ROW_OPTIONAL("kv_seq_lens", DSV4_I32, "B", "tokens behind the step", DRAW_BY("lengths", 0, 0))

#define ROWS_COMPRESSED_PREFILL(out, ratio, history)                                                                           \
    ROW_INOUT("cmp_kv", DSV4_BF16, "CP,BS,1,hd", "compressed cache", DRAW_BY("cache_rows:cmp_block_table", 0.05, ratio),       \
              RULE_BF16(0.005)),                                                                                               \
        ROW_IN("cmp_block_table", DSV4_I32, "CPR", "its pages", DRAW_BY("table", 0, 0)),                                       \
        ROW_LAYER_STATE("cmp_kv_state", "SP,SR," out, "compressor values", DRAW_BY("history:" STATE_TABLE, 0.05, history)),    \
        ROW_LAYER_STATE("cmp_score_state", "SP,SR," out, "compressor scores", DRAW_BY("history:" STATE_TABLE, 0.05, history)), \
        ROW_IN(STATE_TABLE, DSV4_I32, "SPR", "pages of both", DRAW_BY("table_permuted:SP", 17, 3))

#define ROWS_INDEX_WEIGHTS(weights_name)                                                                           \
    ROW_IN("idx_wq_b", DSV4_I8, "QL,IH*ID", "indexer's q projection", DRAW_BY("mx8:idx_wq_b_scale", 0.108, 0.56)), \
        ROW_IN("idx_wq_b_scale", DSV4_F32, "IH*ID", "its scale per column", DRAW_NONE),                            \
        ROW_IN(weights_name, DSV4_BF16, "D,IH", "weights of the index heads", DRAW_NORMAL(0, 0.2313)),             \
        ROW_IN("hadamard_idx", DSV4_BF16, "ID,ID", "Hadamard matrix", DRAW_BY("hadamard", 0, 0))

#define ROWS_INDEX_SLOTS                                                                                   \
    ROW_OPTIONAL("idx_slot_mapping", DSV4_I64, "T", "index cache row of each token, -1: none", DRAW_NONE), \
        ROW_OPTIONAL("inner_state_slot_mapping", DSV4_I64, "T", "index state row of each token, -1: none", DRAW_NONE)

#define ROWS_INDEX_DECODE                                                                              \
    ROW_IN("idx_block_table", DSV4_I32, "B,IPR", "its pages of each request", DRAW_BY("table", 0, 0)), \
        ROW_LAYER_STATE("inner_compress_state", "JP,JR,4*ID", "index compressor state",                \
                        DRAW_BY("history_decode:" INNER_STATE_TABLE, 0.05, 0)),                        \
        ROW_IN(INNER_STATE_TABLE, DSV4_I32, "B,JPR", "its pages of each request", DRAW_BY("table:JP", 0, 0))

#define ROWS_INDEX_PREFILL                                                            \
    ROW_IN("idx_block_table", DSV4_I32, "IPR", "its pages", DRAW_BY("table", 0, 0)),  \
        ROW_LAYER_STATE("inner_kv_state", "JP,JR,2*ID", "index compressor values",    \
                        DRAW_BY("history:" INNER_STATE_TABLE, 0.05, 8)),              \
        ROW_LAYER_STATE("inner_score_state", "JP,JR,2*ID", "index compressor scores", \
                        DRAW_BY("history:" INNER_STATE_TABLE, 0.05, 8)),              \
        ROW_IN(INNER_STATE_TABLE, DSV4_I32, "JPR", "pages of both", DRAW_BY("table_permuted:JP", 17, 3))

#define ROW_RESULT(rule) ROW_OUT("x_out", DSV4_BF16, "T,M,D", "new residual streams", rule)

#define ROWS_DECODE_QKV(rope_ratio) ROWS_QKV("normal_fan_in", 1, -1, rope_ratio)
#define ROWS_DECODE_OUTPUT(sink) ROWS_OUTPUT("normal_fan_in", 1, -1, sink)
#define ROWS_PREFILL_QKV(rope_ratio) ROWS_QKV("uniform_fan_in", 0.5, 0.5, rope_ratio)
#define ROWS_PREFILL_OUTPUT ROWS_OUTPUT("uniform_fan_in", 0.5, 0.5, 0)

/* ---- tables --------------------------------------------------------------------------------------------------------------- */

static const op_tensor decode_swa[] = {
    ROWS_HYPER("hc:swa"),
    ROWS_DECODE_QKV(0),
    ROWS_WINDOW_DECODE("block_table"),
    ROWS_TOKENS,
    ROW_OPTIONAL("kv_seq_lens", DSV4_I32, "B", "tokens behind the step", DRAW_NONE),
    ROWS_DECODE_OUTPUT(0),
    ROW_RESULT(RULE_RELDIFF(3e-3, 0.008, 1)),
};

static const op_tensor decode_csa[] = {
    ROWS_HYPER("hc:csa"),
    ROWS_DECODE_QKV(4),
    ROWS_WINDOW_DECODE("ori_block_table"),
    ROWS_TOKENS,
    ROWS_COMPRESSOR_CSA("cmp_"),
    ROWS_COMPRESSOR_SLOTS,
    ROWS_COMPRESSED_DECODE("4*hd", DRAW_BY("history_decode:" STATE_TABLE, 0.05, 0)),
    ROWS_INDEX_WEIGHTS("weights_proj"),
    ROWS_COMPRESSOR_INDEX("inner_"),
    ROWS_INDEX_SLOTS,
    ROW_INDEX_CACHE(DRAW_BY("unit_rows", 0, 0), RULE_BF16(0.005)),
    ROW_INDEX_SCALE(RULE_SCALE),
    ROWS_INDEX_DECODE,
    ROWS_DECODE_OUTPUT(4),
    ROW_RESULT(RULE_RELDIFF(3e-3, 0.008, 1)),
};

static const op_tensor decode_hca[] = {
    ROWS_HYPER("hc:hca"),
    ROWS_DECODE_QKV(128),
    ROWS_WINDOW_DECODE("ori_block_table"),
    ROWS_TOKENS,
    ROWS_COMPRESSOR_HCA("cmp_"),
    ROWS_COMPRESSOR_SLOTS,
    ROWS_COMPRESSED_DECODE("2*hd", DRAW_CONSTANT(0)),
    ROWS_DECODE_OUTPUT(0),
    ROW_RESULT(RULE_RELDIFF(3e-3, 0.008, 1)),
};

static const op_tensor prefill_swa[] = {
    ROWS_HYPER("hc:swa"),
    ROWS_PREFILL_QKV(0),
    ROWS_WINDOW_PREFILL("block_table", RULE_RATIO(1e-4, 1e-2, 0.005)),
    ROWS_TOKENS,
    ROWS_LISTS,
    ROWS_PREFILL_OUTPUT,
    ROW_RESULT(RULE_RELDIFF(3e-3, 0.005, 1)),
};

static const op_tensor prefill_csa[] = {
    ROWS_HYPER("hc:csa"),
    ROWS_PREFILL_QKV(4),
    ROWS_WINDOW_PREFILL("ori_block_table", RULE_BF16(0.005)),
    ROWS_TOKENS,
    ROWS_COMPRESSOR_CSA("cmp_"),
    ROWS_COMPRESSOR_SLOTS,
    ROWS_COMPRESSED_PREFILL("2*hd", 4, 8),
    ROWS_INDEX_WEIGHTS("idx_weights_proj"),
    ROWS_COMPRESSOR_INDEX("inner_"),
    ROWS_INDEX_SLOTS,
    ROW_INDEX_CACHE(DRAW_BY("cache_rows:idx_block_table", 0.025, 4), RULE_BF16(0.005)),
    ROW_INDEX_SCALE(RULE_SCALE),
    ROWS_INDEX_PREFILL,
    ROWS_PREFILL_OUTPUT,
    ROW_RESULT(RULE_RELDIFF(5e-3, 0.005, 1)),
};

static const op_tensor prefill_hca[] = {
    ROWS_HYPER("hc:hca"),
    ROWS_PREFILL_QKV(128),
    ROWS_WINDOW_PREFILL("ori_block_table", RULE_BF16(0.005)),
    ROWS_TOKENS,
    ROWS_COMPRESSOR_HCA("cmp_"),
    ROWS_COMPRESSOR_SLOTS,
    ROWS_COMPRESSED_PREFILL("hd", 128, 128),
    ROWS_LISTS,
    ROWS_PREFILL_OUTPUT,
    ROW_RESULT(RULE_RELDIFF(5e-3, 0.005, 1)),
};

/* ---- tiles ---------------------------------------------------------------------------------------------------------------- */

static const op_tile tiles[ATTENTION_N_TILES] = {
    [ATTENTION_T_TILE] = {"t_tile", "rows of a product block", 128, 64, 1, NULL, NULL},
    [ATTENTION_N_TILE] = {"n_tile", "columns of a block of the products with D inputs", 32, 64, UK_PANEL, NULL, NULL},
    [ATTENTION_K_SPLIT] = {"k_split", "blocks that share the sum over D", 1, 1, 1, NULL, "D"},
    [ATTENTION_HC_SPLIT] = {"hc_split", "blocks that share the sums over a stream's values", 8, 8, 1, NULL, "D"},
    [ATTENTION_NORM_T_TILE] = {"norm_t_tile", "rows of a normalising or quantising block", 4, 16, 1, NULL, NULL},
    [ATTENTION_NORM_PARTS] = {"norm_parts", "parts of a low-rank row that are normalised by different blocks", 2, 2, 1, NULL, "QL"},
    [ATTENTION_D_PARTS] = {"d_parts", "parts of a hidden row that are mixed or normalised by different blocks", 2, 2, 1, NULL, "D"},
    [ATTENTION_HEAD_GROUP] = {"head_group", "heads of a q_proj block", 1, 1, 1, "H", NULL},
    [ATTENTION_CORE_HEADS] = {"core_heads", "heads of an attention block", 32, 64, 1, "H", NULL},
    [ATTENTION_KEY_BLOCKS] = {"key_blocks", "key blocks of an attention block", 1, 1 << 20, 1, NULL, NULL},
    [ATTENTION_A_N_TILE] = {"a_n_tile", "columns of a proj_a block", 64, 64, UK_PANEL, NULL, NULL},
    [ATTENTION_A_K_SPLIT] = {"a_k_split", "blocks that share the sum of proj_a", 1, 1, 1, NULL, NULL},
    [ATTENTION_B_N_TILE] = {"b_n_tile", "columns of a proj_b block", 512, 128, UK_PANEL, NULL, NULL},
    [ATTENTION_INDEX_HEADS] = {"index_heads", "heads of an index.q_proj block", 4, 4, 1, NULL, NULL},
    [ATTENTION_INDEX_T_TILE] = {"index_t_tile", "tokens that an index block scores", 8, 16, 1, NULL, NULL},
    [ATTENTION_INDEX_KEY_TILE] = {"index_key_tile", "compressed rows scored at a time", 128, 128, 1, NULL, NULL},
    [ATTENTION_INDEX_PARTS] = {"index_parts", "blocks that share a token's compressed rows", 16, 8, 1, NULL, NULL},
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

/* Rows of a request are counted in INT32, and the window has room among them. */
static dsv4_status check_tables(const op_context *c, dsv4_error *err)
{
    static const struct {
        op_symbol pages;
        const char *table;
    } tables[] = {{OP_WPR, "the window's table"}, {OP_CPR, "cmp_block_table"}, {OP_IPR, "idx_block_table"}};
    const int64_t *dims = c->dims.of;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        int64_t pages = dims[tables[i].pages];
        if (pages != OP_UNKNOWN && pages > INT32_MAX / dims[OP_BS]) {
            return dsv4_fail(err, DSV4_E_SHAPE, "%s: %s has %lld pages of %lld rows per request, rule: at most %d rows",
                             c->op->name, tables[i].table, (long long)pages, (long long)dims[OP_BS], INT32_MAX);
        }
    }
    if (dims[OP_W] > dims[OP_WPR] * dims[OP_BS]) {
        return dsv4_fail(err, DSV4_E_SHAPE, "%s: the window cache holds %lld rows per request, rule: at least sliding_window=%lld",
                         c->op->name, (long long)(dims[OP_WPR] * dims[OP_BS]), (long long)dims[OP_W]);
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
    return check_tables(c, err);
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
        OP_TENSORS(symbol##_##form),                                      \
        OP_TILES(tiles),                                                  \
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
