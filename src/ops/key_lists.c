/* ops/key_lists.c - what the entries of raw index lists name (SPEC 5.3, 5.4).
 *
 * MATH      index -1: no key; r < W: ring row r through ring_table; W + o: token o of the request's step; W + S + c: compressed row
 *           c through compressed_table. In a prefill chunk (one request, S = T) an index that names a token from n_tokens on, or a
 *           compressed row beyond the table, is no key.
 * SHAPES    raw i32[T,width]  ring_table, compressed_table i32[requests,pages]  ->  codes i32[T,slots], attend.h
 * STAGES    attn.keys          [2]    raw, lens, n_tokens, tables, win_bias -> codes, what each block refuses
 *           attn.keys_verdict  [all]  what the blocks refuse -> verdict                 blocks: 1
 * REFUSED   an index that names no row, a page table that does not lead to one, an HCA slot that holds another ring row, a win_bias
 *           of another set. Then the codes of that block's tokens are -1, and the first refusal is the verdict. */
#include "ops/attend.h"

#include <stdio.h>
#include <string.h>

#include "ops/tile.h"
#include "ops/verdict.h"

enum { NO_KEY = -1, REFUSED = -2, BLOCK_TOKENS = 2 };

typedef struct key_lists {
    op_key_lists a;
    op_verdict verdict;
    op_matrix codes, refusals; /* refusals: a dsv4_error per block */
    int64_t W, tile;
} key_lists;

static int64_t whole_tiles(int64_t slots, int64_t tile)
{
    return tile_count(slots, tile) * tile;
}

int64_t op_win_bias_cols(int64_t window, int64_t T, int64_t attn_tile)
{
    return whole_tiles(window, attn_tile) + whole_tiles(T, attn_tile);
}

int64_t op_prefill_max_len(const dsv4_config *config)
{
    int64_t W = config->sliding_window, KT = config->index_topk;
    return tile_min(whole_tiles(W + tile_min(KT, config->prefill_max_compressed), config->attn_tile), W + KT);
}

/* ---- one entry ---------------------------------------------------------------------------------------------------------- */

typedef struct entry {
    int64_t t, slot, index;
    dsv4_error *refusal;
} entry;

/* A paged cache and the table that leads to its rows. */
typedef struct paged {
    const char *table_name;
    const op_matrix *table, *cache;
} paged;

static int64_t refuse_index(const key_lists *k, const entry *e, const char *expected)
{
    dsv4_fail(e->refusal, DSV4_E_VALUE, "%s: cmp_sparse_indices: token %lld, slot %lld: got %lld, expected %s", k->verdict.op,
              (long long)e->t, (long long)e->slot, (long long)e->index, expected);
    return REFUSED;
}

static bool has_row(const key_lists *k, const paged *p, int64_t row)
{
    return p->table->data != NULL && row / k->a.page < p->table->cols;
}

/* Row of the cache that the table leads to. */
static int64_t paged_row(const key_lists *k, const paged *p, const entry *e, int64_t row)
{
    if (!has_row(k, p, row)) {
        char expected[160];
        snprintf(expected, sizeof expected, "-1 or an index within the %lld pages of %lld rows of %s", (long long)p->table->cols,
                 (long long)k->a.page, p->table_name);
        return refuse_index(k, e, expected);
    }
    int64_t b = e->t / k->a.tokens_per_request, column = row / k->a.page, n_pages = p->cache->rows / k->a.page;
    int64_t page = op_matrix_int(p->table, b, column);
    if (page < 0 || page >= n_pages) {
        dsv4_fail(e->refusal, DSV4_E_VALUE,
                  "%s: %s: request %lld, entry %lld: got page %lld, expected 0 to %lld: slot %lld of token %lld names a row of it",
                  k->verdict.op, p->table_name, (long long)b, (long long)column, (long long)page, (long long)n_pages - 1,
                  (long long)e->slot, (long long)e->t);
        return REFUSED;
    }
    return page * k->a.page + row % k->a.page;
}

static int64_t offset_code(int64_t row, int64_t offset)
{
    return row == REFUSED ? REFUSED : row + offset;
}

/* The code of an entry, NO_KEY, or REFUSED. n_tokens of the chunk are valid. */
static int64_t resolve(const key_lists *k, const entry *e, int64_t n_tokens)
{
    const op_key_lists *a = &k->a;
    const paged ring = {a->ring_table_name, &a->ring_table, &a->ring};
    const paged compressed = {"cmp_block_table", &a->compressed_table, &a->compressed};
    int64_t S = a->tokens_per_request, o = e->index - k->W, row = o - S;
    if (e->index == -1) {
        return NO_KEY;
    }
    if (e->index < -1) {
        return refuse_index(k, e, "-1 or more");
    }
    if (o < 0) {
        return paged_row(k, &ring, e, e->index);
    }
    if (row < 0) {
        return o < n_tokens ? a->ring.rows + e->t / S * S + o : NO_KEY;
    }
    if (a->form == OP_LIST_PREFILL && !has_row(k, &compressed, row)) {
        return NO_KEY;
    }
    return offset_code(paged_row(k, &compressed, e, row), a->ring.rows + a->overlay.rows);
}

/* ---- a token's list ----------------------------------------------------------------------------------------------------- */

/* Where the code of an entry goes: its own place in a set, the place after the codes so far in a compacted list, else its slot. */
static int64_t slot_of(const key_lists *k, const entry *e, int64_t n_codes)
{
    switch (k->a.form) {
    case OP_LIST_SWA:
        return e->index < k->W ? e->index : whole_tiles(k->W, k->tile) + e->index - k->W;
    case OP_LIST_PREFILL:
        return n_codes;
    default:
        return e->slot;
    }
}

/* False if the list is refused. codes are -1 on entry. */
static bool fill_list(const key_lists *k, int64_t t, int64_t len, int64_t n_tokens, int32_t *codes, dsv4_error *refusal)
{
    int64_t n_codes = 0;
    for (int64_t slot = 0; slot < len; slot++) {
        const entry e = {t, slot, op_matrix_int(&k->a.raw, t, slot), refusal};
        bool displaced = k->a.form == OP_LIST_HCA && slot < k->W && e.index != -1 && e.index != slot;
        int64_t code = displaced ? refuse_index(k, &e, "-1 or the slot's own ring row") : resolve(k, &e, n_tokens);
        if (code == REFUSED) {
            return false;
        }
        if (code != NO_KEY) {
            codes[slot_of(k, &e, n_codes++)] = (int32_t)code;
        }
    }
    return true;
}

/* Whether a token's row of win_bias says the same as its codes. */
static bool check_bias(const key_lists *k, int64_t t, const int32_t *codes, dsv4_error *refusal)
{
    int64_t S = k->a.tokens_per_request, overlay = whole_tiles(k->W, k->tile), first = overlay + t / S * S;
    const float *bias = (const float *)k->a.win_bias.data + t * k->a.win_bias.ld;
    for (int64_t col = 0; col < k->a.win_bias.cols; col++) {
        bool own = col >= first && col < first + S;
        bool is_key = own ? codes[overlay + col - first] != NO_KEY : col < k->W && codes[col] != NO_KEY;
        if (!(is_key ? bias[col] == 0.0f : bias[col] <= -1e20f)) {
            dsv4_fail(refusal, DSV4_E_VALUE, "%s: win_bias: token %lld, column %lld: got %g, expected %s by cmp_sparse_indices",
                      k->verdict.op, (long long)t, (long long)col, (double)bias[col], is_key ? "0" : "-1e20");
            return false;
        }
    }
    return true;
}

/* ---- the block ---------------------------------------------------------------------------------------------------------- */

/* Slots of a token's list that count. */
static int64_t list_length(const key_lists *k, int64_t t)
{
    if (k->a.lens.data == NULL) {
        return k->a.form == OP_LIST_PREFILL ? tile_min(k->a.max_len, k->a.raw.cols) : k->a.raw.cols;
    }
    int64_t len = tile_min(op_matrix_int(&k->a.lens, 0, t), tile_min(k->a.max_len, k->a.raw.cols));
    return len > 0 ? len : 0;
}

/* Valid tokens; REFUSED if the count is none. */
static int64_t count_tokens(const key_lists *k, dsv4_error *refusal)
{
    int64_t T = k->a.raw.rows, n = k->a.n_tokens.data != NULL ? op_matrix_int(&k->a.n_tokens, 0, 0) : T;
    if (n < 0 || n > T) {
        dsv4_fail(refusal, DSV4_E_VALUE, "%s: num_tokens: got %lld, expected 0 to T=%lld", k->verdict.op, (long long)n,
                  (long long)T);
        return REFUSED;
    }
    return n;
}

static tile_range tokens_of(const key_lists *k, int64_t block)
{
    return tile_at(block, BLOCK_TOKENS, k->a.raw.rows);
}

static void clear_codes(const key_lists *k, tile_range t)
{
    memset((int32_t *)k->codes.data + t.begin * k->codes.ld, 0xff, (size_t)((t.end - t.begin) * k->codes.ld) * sizeof(int32_t));
}

static void run_keys(const void *arg, int64_t block, void *scratch)
{
    const key_lists *k = arg;
    (void)scratch;
    dsv4_error *refusal = (dsv4_error *)k->refusals.data + block;
    tile_range tokens = tokens_of(k, block);
    *refusal = (dsv4_error){.status = DSV4_OK};
    clear_codes(k, tokens);
    int64_t n_tokens = count_tokens(k, refusal);
    bool ok = n_tokens != REFUSED;
    for (int64_t t = tokens.begin; ok && t < tile_min(tokens.end, n_tokens); t++) {
        int32_t *codes = (int32_t *)k->codes.data + t * k->codes.ld;
        ok = fill_list(k, t, list_length(k, t), n_tokens, codes, refusal) &&
             (k->a.win_bias.data == NULL || check_bias(k, t, codes, refusal));
    }
    if (!ok) {
        clear_codes(k, tokens);
    }
}

static void describe_keys(const void *arg, int64_t block, dsv4_describe *d)
{
    const key_lists *k = arg;
    tile_range t = tokens_of(k, block);
    dsv4_reads(d, k->a.raw.view, t.begin, t.end, 0, k->a.raw.cols);
    if (k->a.win_bias.data != NULL) {
        dsv4_reads(d, k->a.win_bias.view, t.begin, t.end, 0, k->a.win_bias.cols);
    }
    op_matrix_reads(d, &k->a.lens);
    op_matrix_reads(d, &k->a.n_tokens);
    op_matrix_reads(d, &k->a.ring_table);
    op_matrix_reads(d, &k->a.compressed_table);
    dsv4_writes(d, k->codes.view, t.begin, t.end, 0, k->codes.cols);
    dsv4_writes(d, k->refusals.view, block, block + 1, 0, k->refusals.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = 8.0 * (double)((t.end - t.begin) * k->a.raw.cols)});
}

/* The first refusal, if any, is the verdict. */
static void run_verdict(const void *arg, int64_t block, void *scratch)
{
    const key_lists *k = arg;
    const dsv4_error *refusals = k->refusals.data;
    int64_t i = 0;
    (void)block;
    (void)scratch;
    while (i < k->refusals.rows - 1 && refusals[i].status == DSV4_OK) {
        i++;
    }
    *k->verdict.own = refusals[i];
}

static void describe_verdict(const void *arg, int64_t block, dsv4_describe *d)
{
    const key_lists *k = arg;
    (void)block;
    op_matrix_reads(d, &k->refusals);
    op_verdict_writes(d, &k->verdict);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)k->refusals.rows});
}

/* ---- graph -------------------------------------------------------------------------------------------------------------- */

static int64_t count_slots(const key_lists *k)
{
    switch (k->a.form) {
    case OP_LIST_SWA:
        return whole_tiles(k->W, k->tile) + whole_tiles(k->a.tokens_per_request, k->tile);
    case OP_LIST_PREFILL:
        return whole_tiles(tile_min(k->a.max_len, k->a.raw.cols), k->tile);
    default:
        return whole_tiles(k->a.raw.cols, k->tile);
    }
}

/* Codes are INT32. */
static bool codes_fit(const op_context *c, const op_key_lists *a)
{
    int64_t rows = a->ring.rows + a->overlay.rows + a->compressed.rows;
    if (rows > INT32_MAX) {
        dsv4_error err = {0};
        dsv4_fail(&err, DSV4_E_VALUE, "%s: the caches of a call have %lld rows, expected at most %lld", c->op->name,
                  (long long)rows, (long long)INT32_MAX);
        dsv4_graph_fail(c->g, &err);
    }
    return rows <= INT32_MAX;
}

/* A dsv4_error per row, as bytes. */
static op_matrix new_refusals(const op_context *c, int64_t n)
{
    return op_matrix_new(c, "attn.refusals", n, (int64_t)sizeof(dsv4_error), DSV4_I8);
}

op_matrix op_key_lists_add(const op_context *c, const op_key_lists *a)
{
    key_lists *k = dsv4_graph_memory(c->g, sizeof *k);
    if (k == NULL || !codes_fit(c, a)) {
        return (op_matrix){0};
    }
    *k = (key_lists){.a = *a, .W = c->config->sliding_window, .tile = c->config->attn_tile, .verdict = op_verdict_new(c)};
    k->codes = op_matrix_new(c, "attn.codes", a->raw.rows, count_slots(k), DSV4_I32);
    k->refusals = new_refusals(c, tile_count(a->raw.rows, BLOCK_TOKENS));
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"attn.keys", k->refusals.rows, run_keys, describe_keys, k, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"attn.keys_verdict", 1, run_verdict, describe_verdict, k, 0, DSV4_VECTOR});
    return k->codes;
}
