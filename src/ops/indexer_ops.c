/* ops/indexer_ops.c - the indexer's operators, decode_indexer and prefill_indexer (SPEC 3.2, 4.4; tensors SPEC 8.3, 8.7).
 *
 * STAGES    index.plan checks the step (index_plan.h); index.compress.* adds the rows that the step completes to the cache
 *           (compress.c); then the indexer chooses (index.c). All checks come first: a refused step changes neither state nor
 *           cache.
 * MATH, SHAPES, NUMERICS  compress.c, index.c */
#include "ops/compress.h"
#include "ops/compressor_rows.h"
#include "ops/index.h"
#include "ops/index_plan.h"

#define STATE_TABLE "inner_compress_state_block_table"

/* Weights of queries and heads. */
#define ROWS_QUERY                                                                                  \
    ROW_IN("wq_b", DSV4_I8, "QL,IH*ID", "q up-projection", DRAW_BY("mx8:wq_b_scale", 0.108, 0.56)), \
        ROW_IN("wq_b_scale", DSV4_F32, "IH*ID", "its scale per column", DRAW_NONE),                 \
        ROW_IN("weights_proj", DSV4_BF16, "D,IH", "head weights", DRAW_NORMAL(0, 0.2313))

/* The budget of the cached rows is the points that SPEC 7 allows of the FLASH fixture. */
static const op_tensor decode_tensors[] = {
    ROW_IN("x", DSV4_BF16, "B,S,D", "normalised hidden", DRAW_UNIFORM(0, 1)),
    ROW_IN("qr", DSV4_I8, "B*S,QL", "quantised low-rank q", DRAW_BY("rq:qr_scale", 0, 0)),
    ROW_IN("qr_scale", DSV4_F32, "B*S,1", "its scale per token", DRAW_NONE),
    ROWS_QUERY,
    ROWS_COMPRESSOR_INDEX("inner_"),
    ROW_INDEX_SCALE(RULE_BF16(0)),
    ROW_IN("cos", DSV4_F32, "B,R/2", "cosines per request", DRAW_BY("rope_request", 4, 1)),
    ROW_IN("sin", DSV4_F32, "B,R/2", "sines per request", DRAW_BY("rope_request", 4, 1)),
    ROW_IN("hadamard", DSV4_BF16, "ID,ID", "rotation of heads and rows", DRAW_BY("random_matrix", 0, 0)),
    ROW_INOUT("inner_kv", DSV4_F32, "B,S,ID", "row of the step, at [b, 0]", DRAW_NONE, RULE_BF16(0)),
    ROW_STATE("inner_compress_state", "JP,JR,4*ID", "kv and score", DRAW_BY("empty_state", 0, 0)),
    ROW_IN(STATE_TABLE, DSV4_I32, "B,JPR", "state pages", DRAW_BY("table:JP", 0, 0)),
    ROW_INDEX_CACHE(DRAW_UNIFORM(0, 1), RULE_BF16(4.0 / (4 * 64 * 128 * 128))),
    ROW_IN("idx_block_table", DSV4_I32, "B,IPR", "cache pages", DRAW_BY("table", 0, 0)),
    ROW_IN("position_ids", DSV4_I32, "B,S", "absolute positions", DRAW_BY("positions", 0, 0)),
    ROW_IN("idx_slot_mapping", DSV4_I64, "B,S", "cache row made, or -1", DRAW_BY("cache_slots:idx_block_table", 4, 0)),
    ROW_IN("inner_state_slot_mapping", DSV4_I64, "B,S", "state row, or -1", DRAW_BY("state_slots:" STATE_TABLE, 0, 0)),
    ROW_IN("kv_seq_lens", DSV4_I32, "B", "tokens with this step", DRAW_BY("lengths", 0, 0)),
    ROW_IN("offset", DSV4_I32, "", "added to the chosen rows", DRAW_BY("window", 0, 0)),
    ROW_OUT("score", DSV4_F32, "B,S,SL", "index scores", RULE_BF16(0.005)),
    ROW_OUT("topk_idxs", DSV4_I32, "B,S,SL", "chosen rows + offset, then -1", RULE_TOPK(1e-4, 1.0 / 128)),
};

static const op_tensor prefill_tensors[] = {
    ROW_IN("x", DSV4_BF16, "T,D", "normalised hidden", DRAW_UNIFORM(-0.05, 0.05)),
    ROW_IN("qr", DSV4_I8, "T,QL", "quantised low-rank q", DRAW_BY("rq:qr_scale", 0, 0)),
    ROW_IN("qr_scale", DSV4_F32, "T,1", "its scale per token", DRAW_NONE),
    ROWS_QUERY,
    ROWS_COMPRESSOR_INDEX("inner_"),
    ROW_INDEX_SCALE(RULE_BF16(0)),
    ROW_IN("cos", DSV4_F32, "T,R/2", "cosines per token", DRAW_BY("rope_token", 4, 0)),
    ROW_IN("sin", DSV4_F32, "T,R/2", "sines per token", DRAW_BY("rope_token", 4, 0)),
    ROW_IN("freqs_cos", DSV4_BF16, "N,R", "cosines of all positions", DRAW_BY("rope_table", 4, 0)),
    ROW_IN("freqs_sin", DSV4_BF16, "N,R", "sines of all positions", DRAW_BY("rope_table", 4, 0)),
    ROW_IN("hadamard", DSV4_BF16, "ID,ID", "rotation of heads and rows", DRAW_BY("hadamard", 0, 0)),
    ROW_STATE("inner_kv_state", "JP,JR,2*ID", "kv of past tokens", DRAW_BY("history:" STATE_TABLE, 0.05, 8)),
    ROW_STATE("inner_score_state", "JP,JR,2*ID", "their scores", DRAW_BY("history:" STATE_TABLE, 0.05, 8)),
    ROW_IN(STATE_TABLE, DSV4_I32, "JPR", "state pages", DRAW_BY("table_permuted:JP", 17, 3)),
    ROW_INDEX_CACHE(DRAW_BY("cache_rows:idx_block_table", 0.025, 4), RULE_BF16(16.0 / (2 * 128 * 128))),
    ROW_IN("idx_block_table", DSV4_I32, "IPR", "cache pages", DRAW_BY("table", 0, 0)),
    ROW_IN("position_ids", DSV4_I32, "T", "absolute positions", DRAW_BY("positions", 0, 0)),
    ROW_IN("num_tokens", DSV4_I32, "", "valid tokens", DRAW_BY("tokens", 0, 0)),
    ROW_IN("idx_slot_mapping", DSV4_I64, "T", "cache row made, or -1", DRAW_BY("cache_slots:idx_block_table", 4, 0)),
    ROW_IN("inner_state_slot_mapping", DSV4_I64, "T", "state row, or -1", DRAW_BY("state_slots:" STATE_TABLE, 0, 0)),
    ROW_OUT("score", DSV4_F32, "T,IPR*BS", "index scores", RULE_BF16(0.005)),
    ROW_OUT("topk_idxs", DSV4_I32, "T,IPR*BS", "chosen rows + W + T, then -1", RULE_TOPK(1e-4, 1.0 / 128)),
};

enum { T_TILE, HEADS, INNER_N_TILE, INNER_K_SPLIT, SCORE_T_TILE, KEY_TILE, KEY_PARTS };

static const op_tile tiles[] = {
    {"t_tile", "rows of a product block", 128, 64, 1, NULL, NULL},
    {"heads", "heads of a q_proj block", 4, 4, 1, NULL, NULL},
    {"inner_n_tile", "columns of a product block of the compressor", 32, 32, UK_PANEL, NULL, NULL},
    {"inner_k_split", "blocks that share the compressor's sum over D", 1, 1, 1, NULL, "D"},
    {"score_t_tile", "tokens of a score block", 8, 16, 1, NULL, NULL},
    {"key_tile", "cache rows scored at a time", 64, 64, 1, NULL, NULL},
    {"key_parts", "score blocks that share a request's rows", 8, 4, 1, NULL, NULL},
};

enum { MAX_ROWS = INT32_MAX / 2 }; /* of a request: a row plus the offset is an I32 */

/* ---- building ---------------------------------------------------------------------------------------------------------------- */

static bool is_decode(const op_context *c)
{
    return c->op->mode == DSV4_DECODE;
}

/* The compressor's dimensions. */
static op_compress compressor_of(const op_context *c)
{
    return (op_compress){.name = "index.compress",
                         .is_decode = is_decode(c),
                         .ratio = OP_INDEX_RATIO,
                         .width = c->dims.of[OP_ID],
                         .n_requests = is_decode(c) ? c->dims.of[OP_B] : 1,
                         .tokens_per_request = c->dims.of[is_decode(c) ? OP_S : OP_T]};
}

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    int64_t QL = c->dims.of[OP_QL], pages = c->dims.of[OP_IPR], page = c->dims.of[OP_BS], rows;
    op_compress compressor = compressor_of(c);
    if (QL > UK_MAX_K_I8) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: q_lora_rank=%lld, rule q_lora_rank <= %d: INT32 sums must be exact", c->op->name,
                         (long long)QL, UK_MAX_K_I8);
    }
    if (__builtin_mul_overflow(pages, page, &rows) || rows > MAX_ROWS) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: idx_block_table has %lld pages of %lld rows, rule: at most %d rows of a request",
                         c->op->name, (long long)pages, (long long)page, MAX_ROWS);
    }
    return op_compress_check(c, &compressor, err);
}

/* In decode a token takes its request's row of cos and sin, in prefill its own. */
static op_matrix request_rows(const op_context *c, int64_t n_requests, int64_t tokens_per_request)
{
    op_matrix m = op_matrix_new(c, "index.turn_rows", 1, n_requests * tokens_per_request, DSV4_I32);
    for (int64_t t = 0; m.data != NULL && t < m.cols; t++) {
        ((int32_t *)m.data)[t] = (int32_t)(t / tokens_per_request);
    }
    return m;
}

static void state_of(const op_context *c, op_compress *a)
{
    if (is_decode(c)) {
        op_matrix state = op_matrix_named(c, "inner_compress_state", 1);
        int64_t out = 2 * c->dims.of[OP_ID];
        a->kv_state = op_matrix_cols(c, "inner_compress_state.kv", state, sizeof(float), 0, out);
        a->score_state = op_matrix_cols(c, "inner_compress_state.score", state, sizeof(float), out, out);
    } else {
        a->kv_state = op_matrix_named(c, "inner_kv_state", 1);
        a->score_state = op_matrix_named(c, "inner_score_state", 1);
    }
}

/* The whole tensor as one row. */
static op_matrix row_named(const op_context *c, const char *name)
{
    return op_matrix_named(c, name, op_tensor_named(c, name).n_dims);
}

static op_compressed add_compressor(const op_context *c, const op_index *index, const op_index_plan *step)
{
    op_compress a = compressor_of(c);
    a.x = index->x;
    a.wkv = op_tensor_named(c, "inner_wkv");
    a.wgate = op_tensor_named(c, "inner_wgate");
    a.ape = op_matrix_named(c, "inner_ape", 1);
    a.norm_w = op_matrix_named(c, "inner_norm_w", 1);
    a.state_page = c->dims.of[OP_JR];
    a.state_table = op_matrix_named(c, STATE_TABLE, 1);
    a.positions = step->positions;
    a.n_tokens = step->n_tokens;
    a.state_slots = row_named(c, "inner_state_slot_mapping");
    a.cache_slots = step->cache_slots;
    a.turns = a.is_decode ? index->turns : op_turns_named(c, "freqs_cos", "freqs_sin");
    a.turn_rule = a.is_decode ? OP_TURN_OF_REQUEST : OP_TURN_OF_WINDOW;
    a.hadamard = index->hadamard;
    a.cache = index->cache;
    a.cache_scale = index->cache_scale;
    a.tiles = (op_project_tiles){c->tile[T_TILE], c->tile[INNER_N_TILE], c->tile[INNER_K_SPLIT]};
    if (a.is_decode) {
        a.pooled = op_matrix_named(c, "inner_kv", 1);
    }
    state_of(c, &a);
    return op_compress_add(c, &a);
}

static op_index_plan gather_step(const op_context *c)
{
    const int64_t *dim = c->dims.of;
    op_index_plan a = {.is_decode = is_decode(c), .causal = c->numerics.compat == DSV4_CORRECT};
    a.n_requests = a.is_decode ? dim[OP_B] : 1;
    a.tokens_per_request = a.is_decode ? dim[OP_S] : dim[OP_T];
    a.positions = row_named(c, "position_ids");
    a.cache_slots = row_named(c, "idx_slot_mapping");
    a.table = op_matrix_named(c, "idx_block_table", 1);
    a.page = dim[OP_BS];
    a.n_pages = dim[OP_IP];
    a.columns = dim[OP_IPR] * dim[OP_BS];
    if (a.is_decode) {
        a.columns = dim[OP_SL] < a.columns ? dim[OP_SL] : a.columns;
        a.lengths = row_named(c, "kv_seq_lens");
        a.offset = row_named(c, "offset");
    } else {
        a.n_tokens = row_named(c, "num_tokens");
        a.offset = op_matrix_constant(c, "index.offset", dim[OP_W] + dim[OP_T]);
    }
    return a;
}

static op_index gather_index(const op_context *c, const op_index_plan *step)
{
    return (op_index){.n_requests = step->n_requests,
                      .tokens_per_request = step->tokens_per_request,
                      .x = op_acts_tile(c, "index.x_tile", op_matrix_named(c, "x", 1), DSV4_BF16),
                      .qr = op_acts_tile(c, "index.qr_tile", op_matrix_named(c, "qr", 1), DSV4_I8),
                      .qr_scale = op_matrix_named(c, "qr_scale", 1),
                      .wq_b = op_tensor_named(c, "wq_b"),
                      .wq_b_scale = op_matrix_named(c, "wq_b_scale", 1),
                      .weights_proj = op_tensor_named(c, "weights_proj"),
                      .hadamard = op_tensor_named(c, "hadamard"),
                      .turns = op_turns_named(c, "cos", "sin"),
                      .turn_rows = is_decode(c) ? request_rows(c, step->n_requests, step->tokens_per_request) : op_no_matrix,
                      .cache = op_matrix_named(c, "idx_kv_cache", 1),
                      .cache_scale = op_matrix_named(c, "idx_kv_scale", 1),
                      .page = step->page,
                      .is_decode = step->is_decode,
                      .offset = step->offset,
                      .score = op_matrix_named(c, "score", 1),
                      .topk = op_matrix_named(c, "topk_idxs", 1),
                      .t_tile = c->tile[SCORE_T_TILE],
                      .key_tile = c->tile[KEY_TILE],
                      .key_parts = c->tile[KEY_PARTS],
                      .proj_t_tile = c->tile[T_TILE],
                      .head_group = c->tile[HEADS]};
}

/* The step is checked first: its verdict also holds back the compressor, which writes state and cache. */
static void build(const op_context *c)
{
    op_index_plan step = gather_step(c);
    op_index index = gather_index(c, &step);
    op_index_planned planned = op_index_plan_add(c, &step);
    index.table = planned.table;
    index.n_visible = planned.n_visible;
    index.fresh = add_compressor(c, &index, &step).done;
    op_index_add(c, &index);
}

const dsv4_op op_decode_indexer = {
    .name = "decode_indexer",
    .summary = "which compressed rows the tokens of a decode step attend to",
    .family = "indexer",
    .mode = DSV4_DECODE,
    .ratio = 4,
    OP_TENSORS(decode_tensors),
    OP_TILES(tiles),
    .topk_scores = "score",
    .topk_offset = "offset",
    .check = check,
    .build = build,
};

const dsv4_op op_prefill_indexer = {
    .name = "prefill_indexer",
    .summary = "which compressed rows the tokens of a prefill chunk attend to",
    .family = "indexer",
    .mode = DSV4_PREFILL,
    .ratio = 4,
    OP_TENSORS(prefill_tensors),
    OP_TILES(tiles),
    .valid_tokens = "num_tokens",
    .topk_scores = "score",
    .topk_offset = "W+T",
    .check = check,
    .build = build,
};
