/* ops/compressor_ops.c - the compressors as operators of their own (SPEC 3.1, 4; tensors SPEC 8.2, 8.6).
 *
 * MATH      ops/compress.h
 * SHAPES    decode   x bf16[B,S,D]  compress_state f32[SP,SR,2*OUT] io (kv | score)  tables i32[B,SPR]  cos, sin f32[B,R/2]
 *           prefill  x bf16[T,D]  kv_state, score_state f32[SP,SR,OUT] io  table i32[SPR]  freqs_cos, freqs_sin bf16[N,R]
 *           both     wkv, wgate bf16[OUT,D]  ape f32[ratio,OUT]  norm_w bf16[width]  slot mappings i64 per token
 *                    cache bf16[pages,BS,1,width] io; the indexer's may be i8, with a scale per row
 *           OUT is 2*hd for ratio 4, hd for ratio 128, 2*ID for the indexer; width is hd, or ID for the indexer.
 * STAGES    ops/compress.c
 * NUMERICS  ops/compress.c */
#include <string.h>

#include "ops/compress.h"
#include "ops/compressor_rows.h"

/* ---- tensors --------------------------------------------------------------------------------------------------------------- */

#define CACHE(name) ROW_INOUT(name, DSV4_BF16, "CP,BS,1,hd", "compressed rows", DRAW_NONE, RULE_BF16(0))
#define SLOTS(name, shape, meaning, recipe, ratio) ROW_IN(name, DSV4_I64, shape, meaning, DRAW_BY(recipe, ratio, 0))

/* A decode step; columns is 2*OUT. */
#define DECODE(width, columns, ratio, state_fixture, table_recipe, weights)                                           \
    ROW_IN("x", DSV4_BF16, "B,S,D", "normalised hidden", DRAW_UNIFORM(0, 1)),                                         \
        ROW_OUT("kv", DSV4_F32, "B,S," width, "pooled row of a request at token 0", RULE_BF16(0)),                    \
        ROW_STATE("compress_state", "SP,SR," columns, "kv | score", state_fixture),                                   \
        ROW_IN("compress_state_block_table", DSV4_I32, "B,SPR", "state pages", DRAW_BY(table_recipe, 0, 0)), weights, \
        ROW_IN("cos", DSV4_F32, "B,R/2", "cosines of the pooled row", DRAW_BY("rope_request", ratio, ratio)),         \
        ROW_IN("sin", DSV4_F32, "B,R/2", "sines of the pooled row", DRAW_BY("rope_request", ratio, ratio)),           \
        ROW_IN("position_ids", DSV4_I32, "B,S", "absolute positions", DRAW_BY("positions", 0, 0))

/* A prefill chunk. */
#define PREFILL(out, pages, entries, page, table, ratio, history, weights)                                                    \
    ROW_IN("x", DSV4_BF16, "T,D", "normalised hidden", DRAW_UNIFORM(-0.05, 0.05)),                                            \
        ROW_STATE("kv_state", pages "," page "," out, "kv of each position", DRAW_BY("history:" table, 0.05, history)),       \
        ROW_STATE("score_state", pages "," page "," out, "score of each position", DRAW_BY("history:" table, 0.05, history)), \
        ROW_IN(table, DSV4_I32, entries, "pages; -1: absent", DRAW_BY("table_permuted:" pages, 17, 3)), weights,              \
        ROW_IN("freqs_cos", DSV4_BF16, "N,R", "cosines by position", DRAW_BY("rope_table", ratio, 0)),                        \
        ROW_IN("freqs_sin", DSV4_BF16, "N,R", "sines by position", DRAW_BY("rope_table", ratio, 0)),                          \
        ROW_IN("position_ids", DSV4_I32, "T", "absolute positions", DRAW_BY("positions", 0, 0)),                              \
        ROW_IN("num_tokens", DSV4_I32, "", "valid tokens of the chunk", DRAW_BY("tokens", 0, 0))

static const op_tensor decode_ratio4[] = {
    DECODE("hd", "4*hd", 4, DRAW_BY("empty_state", 0, 0), "table:SP", ROWS_COMPRESSOR_CSA("")),
    CACHE("cmp_kv_cache"),
    SLOTS("cmp_slot_mapping", "B,S", "cache row per token, or -1", "cache_slots:", 4),
    SLOTS("state_slot_mapping", "B,S", "state row per token, or -1", "state_slots:compress_state_block_table", 0),
};

static const op_tensor decode_ratio128[] = {
    DECODE("hd", "2*hd", 128, DRAW_NONE, "table_swapped:SP", ROWS_COMPRESSOR_HCA("")),
    CACHE("cmp_kv_cache"),
    SLOTS("cmp_slot_mapping", "B,S", "cache row per token, or -1", "cache_slots:", 128),
    SLOTS("state_slot_mapping", "B,S", "state row per token, or -1", "state_slots:compress_state_block_table", 0),
};

/* The budgets of the indexer's rows are the points that SPEC 7 allows of the FLASH fixture. */
static const op_tensor decode_index[] = {
    DECODE("ID", "4*ID", 4, DRAW_BY("empty_state", 0, 0), "table:SP", ROWS_COMPRESSOR_INDEX("")),
    ROW_IN("hadamard", DSV4_BF16, "ID,ID", "multiplies the rotated row", DRAW_BY("random_matrix", 0, 0)),
    ROW_INDEX_CACHE(DRAW_NONE, RULE_BF16(4.0 / (4 * 64 * 128 * 128))),
    ROW_INDEX_SCALE(RULE_BF16(0)),
    SLOTS("idx_slot_mapping", "B,S", "cache row per token, or -1", "cache_slots:", 4),
    SLOTS("inner_state_slot_mapping", "B,S", "state row per token, or -1", "state_slots:compress_state_block_table", 0),
};

static const op_tensor prefill_ratio4[] = {
    PREFILL("2*hd", "SP", "SPR", "SR", "compress_state_block_table", 4, 8, ROWS_COMPRESSOR_CSA("")),
    CACHE("cmp_kv"),
    SLOTS("cmp_slot_mapping", "T", "cache row per token, or -1", "cache_slots:", 4),
    SLOTS("state_slot_mapping", "T", "state row per token, or -1", "state_slots:compress_state_block_table", 0),
};

static const op_tensor prefill_ratio128[] = {
    PREFILL("hd", "SP", "SPR", "SR", "compress_state_block_table", 128, 128, ROWS_COMPRESSOR_HCA("")),
    CACHE("cmp_kv"),
    SLOTS("cmp_slot_mapping", "T", "cache row per token, or -1", "cache_slots:", 128),
    SLOTS("state_slot_mapping", "T", "state row per token, or -1", "state_slots:compress_state_block_table", 0),
};

static const op_tensor prefill_index[] = {
    PREFILL("2*ID", "JP", "JPR", "JR", "inner_compress_state_block_table", 4, 8, ROWS_COMPRESSOR_INDEX("")),
    ROW_IN("hadamard", DSV4_BF16, "ID,ID", "multiplies the rotated row", DRAW_BY("hadamard", 0, 0)),
    ROW_OUT("kv", DSV4_BF16, "T/4,ID", "rows written to the cache, in token order", RULE_BF16(16.0 / (32 * 128))),
    ROW_INDEX_CACHE(DRAW_NONE, RULE_BF16(16.0 / (2 * 128 * 128))),
    ROW_INDEX_SCALE(RULE_BF16(0)),
    ROW_IN("idx_block_table", DSV4_I32, "IPR", "cache pages; says how the slots were made", DRAW_BY("table_permuted", 5, 1)),
    SLOTS("idx_slot_mapping", "T", "cache row per token, or -1", "cache_slots:idx_block_table", 4),
    SLOTS("inner_state_slot_mapping", "T", "state row per token, or -1", "state_slots:inner_compress_state_block_table", 0),
};

enum { T_TILE, N_TILE, K_SPLIT };

static const op_tile tiles[] = {
    {"t_tile", "rows of a projection block", 128, 64, 1, NULL, NULL},
    {"n_tile", "columns of a projection block", 32, 64, UK_PANEL, NULL, NULL},
    {"k_split", "blocks that share the sum over D", 1, 1, 1, NULL, "D"},
};

/* ---- binding --------------------------------------------------------------------------------------------------------------- */

static bool is_index(const op_context *c)
{
    return strcmp(c->op->family, "indexer_compressor") == 0;
}

/* The dimensions. */
static op_compress dims_of(const op_context *c)
{
    bool decode = c->op->mode == DSV4_DECODE;
    return (op_compress){.name = "compress",
                         .is_decode = decode,
                         .ratio = is_index(c) ? 4 : c->op->ratio,
                         .width = c->dims.of[is_index(c) ? OP_ID : OP_hd],
                         .n_requests = decode ? c->dims.of[OP_B] : 1,
                         .tokens_per_request = c->dims.of[decode ? OP_S : OP_T]};
}

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    op_compress a = dims_of(c);
    return op_compress_check(c, &a, err);
}

static void bind_state(const op_context *c, op_compress *a)
{
    a->state_page = c->dims.of[is_index(c) && !a->is_decode ? OP_JR : OP_SR];
    a->state_table =
        op_matrix_named(c, is_index(c) && !a->is_decode ? "inner_compress_state_block_table" : "compress_state_block_table", 1);
    if (a->is_decode) {
        int64_t out = op_tensor_named(c, "wkv").shape[0];
        op_matrix state = op_matrix_named(c, "compress_state", 1);
        a->kv_state = op_matrix_cols(c, "compress_state.kv", state, sizeof(float), 0, out);
        a->score_state = op_matrix_cols(c, "compress_state.score", state, sizeof(float), out, out);
    } else {
        a->kv_state = op_matrix_named(c, "kv_state", 1);
        a->score_state = op_matrix_named(c, "score_state", 1);
    }
}

static void bind_cache(const op_context *c, op_compress *a)
{
    if (is_index(c)) {
        a->cache = op_matrix_named(c, "idx_kv_cache", 1);
        a->cache_scale = op_matrix_named(c, "idx_kv_scale", 1);
        a->cache_slots = op_matrix_named(c, "idx_slot_mapping", 1);
        a->state_slots = op_matrix_named(c, "inner_state_slot_mapping", 1);
        a->hadamard = op_tensor_named(c, "hadamard");
    } else {
        a->cache = op_matrix_named(c, a->is_decode ? "cmp_kv_cache" : "cmp_kv", 1);
        a->cache_slots = op_matrix_named(c, "cmp_slot_mapping", 1);
        a->state_slots = op_matrix_named(c, "state_slot_mapping", 1);
    }
    if (a->is_decode || is_index(c)) {
        a->pooled = op_matrix_named(c, "kv", 1);
    }
}

static void build(const op_context *c)
{
    op_compress a = dims_of(c);
    a.x = op_acts_tile(c, "compress.x_tile", op_matrix_named(c, "x", 1), DSV4_BF16);
    a.wkv = op_tensor_named(c, "wkv");
    a.wgate = op_tensor_named(c, "wgate");
    a.ape = op_matrix_named(c, "ape", 1);
    a.norm_w = op_matrix_named(c, "norm_w", 1);
    a.positions = op_matrix_named(c, "position_ids", 1);
    a.turns = a.is_decode ? op_turns_named(c, "cos", "sin") : op_turns_named(c, "freqs_cos", "freqs_sin");
    a.turn_rule = a.is_decode ? OP_TURN_OF_REQUEST : OP_TURN_OF_WINDOW;
    if (!a.is_decode) {
        a.n_tokens = op_matrix_named(c, "num_tokens", 1);
    }
    a.tiles = (op_project_tiles){c->tile[T_TILE], c->tile[N_TILE], c->tile[K_SPLIT]};
    bind_state(c, &a);
    bind_cache(c, &a);
    op_compress_add(c, &a);
}

#define COMPRESSOR(identifier, text, what, family_name, form_mode, form_ratio, table) \
    const dsv4_op identifier = {                                                      \
        .name = text,                                                                 \
        .summary = what,                                                              \
        .family = family_name,                                                        \
        .mode = form_mode,                                                            \
        .ratio = form_ratio,                                                          \
        OP_TENSORS(table),                                                            \
        OP_TILES(tiles),                                                              \
        .check = check,                                                               \
        .build = build,                                                               \
    }

COMPRESSOR(op_decode_compressor_ratio4, "decode_compressor_ratio4", "KV compressor of ratio 4 for a decode step", "compressor",
           DSV4_DECODE, 4, decode_ratio4);
COMPRESSOR(op_decode_compressor_ratio128, "decode_compressor_ratio128", "KV compressor of ratio 128 for a decode step",
           "compressor", DSV4_DECODE, 128, decode_ratio128);
COMPRESSOR(op_decode_indexer_compressor, "decode_indexer_compressor", "compressor of index keys for a decode step",
           "indexer_compressor", DSV4_DECODE, 4, decode_index);
COMPRESSOR(op_prefill_compressor_ratio4, "prefill_compressor_ratio4", "KV compressor of ratio 4 for a prefill chunk", "compressor",
           DSV4_PREFILL, 4, prefill_ratio4);
COMPRESSOR(op_prefill_compressor_ratio128, "prefill_compressor_ratio128", "KV compressor of ratio 128 for a prefill chunk",
           "compressor", DSV4_PREFILL, 128, prefill_ratio128);
COMPRESSOR(op_prefill_indexer_compressor, "prefill_indexer_compressor", "compressor of index keys for a prefill chunk",
           "indexer_compressor", DSV4_PREFILL, 4, prefill_index);
