/* ops/compress_plan.c - the plan stage of a compressor: each integer of a step is checked, each row resolved (SPEC 4.1, 4.3).
 *
 * A state row has one owner: a token of the step that writes it, or (prefill) an earlier position that a window still reads.
 * decode: the owner is the token; prefill: position - first position of the step: tokens from 0 on, what lies before them below. */
#include "ops/compress_plan.h"

#include <stdio.h>
#include <string.h>

#include "ops/rowset.h"
#include "ops/tile.h"

/* ---- the step as it came --------------------------------------------------------------------------------------------------- */

static int64_t position_of(const op_compress_plan *p, int64_t token)
{
    return op_matrix_ints(&p->a.positions)[token];
}

static int64_t first_position(const op_compress_plan *p, int64_t token)
{
    return position_of(p, token - token % p->a.tokens_per_request);
}

static int64_t state_slot(const op_compress_plan *p, int64_t token)
{
    return ((const int64_t *)p->a.state_slots.data)[token];
}

static int64_t cache_slot(const op_compress_plan *p, int64_t token)
{
    return ((const int64_t *)p->a.cache_slots.data)[token];
}

/* Valid tokens of a request. */
static int64_t valid_tokens(const op_compress_plan *p)
{
    return p->a.n_tokens.data == NULL ? p->a.tokens_per_request : op_matrix_int(&p->a.n_tokens, 0, 0);
}

static dsv4_status refuse(const op_compress_plan *p, int64_t token, const char *what, int64_t got, const char *rule, int64_t bound,
                          dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request;
    return dsv4_fail(err, DSV4_E_VALUE, "%s: %s: request %lld, token %lld, position %lld: %s %lld, rule: %s %lld", p->verdict.op,
                     p->a.name, (long long)(token / S), (long long)(token % S), (long long)position_of(p, token), what,
                     (long long)got, rule, (long long)bound);
}

/* ---- checks ---------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_positions(const op_compress_plan *p, int64_t token, dsv4_error *err)
{
    int64_t got = position_of(p, token), in_request = token % p->a.tokens_per_request;
    if (in_request == 0 && got < 0) {
        return refuse(p, token, "position", got, "at least", 0, err);
    }
    if (got != first_position(p, token) + in_request) {
        return refuse(p, token, "position", got, "one after the token before, which makes", first_position(p, token) + in_request,
                      err);
    }
    return DSV4_OK;
}

static dsv4_status check_slot(const op_compress_plan *p, op_rowset *map, int64_t token, const char *what, int64_t slot,
                              int64_t rows, dsv4_error *err)
{
    if (slot < -1 || slot >= rows) {
        return refuse(p, token, what, slot, "-1 for none, or a row below", rows, err);
    }
    int64_t owner = slot >= 0 ? op_rowset_claim(map, slot, token) : token;
    return owner == token ? DSV4_OK
                          : refuse(p, token, what, slot, "a row of its own, but it is also that of the call's token", owner, err);
}

static dsv4_status check_cache_slots(const op_compress_plan *p, op_rowset *map, dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request, valid = valid_tokens(p);
    dsv4_status status = DSV4_OK;
    op_rowset_clear(map);
    for (int64_t t = 0; t < p->T && status == DSV4_OK; t++) {
        if (t % S < valid) {
            status = check_slot(p, map, t, "cache slot", cache_slot(p, t), p->a.cache.rows, err);
        }
        if (t % S < valid && status == DSV4_OK && cache_slot(p, t) >= 0 && (position_of(p, t) + 1) % p->a.ratio != 0) {
            status = refuse(p, t, "cache slot", cache_slot(p, t), "-1 unless position + 1 is a multiple of", p->a.ratio, err);
        }
    }
    return status;
}

/* Also enters the rows that the tokens write. */
static dsv4_status check_state_slots(const op_compress_plan *p, op_rowset *map, dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request, valid = valid_tokens(p);
    dsv4_status status = DSV4_OK;
    op_rowset_clear(map);
    for (int64_t t = 0; t < p->T && status == DSV4_OK; t++) {
        if (t % S < valid) {
            status = check_slot(p, map, t, "state slot", state_slot(p, t), p->a.kv_state.rows, err);
        }
    }
    return status;
}

static dsv4_status check_tokens(const op_compress_plan *p, op_rowset *map, dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request, valid = valid_tokens(p);
    if (valid < 0 || valid > S) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s: num_tokens %lld, rule: from 0 to the %lld tokens of the call", p->verdict.op,
                         p->a.name, (long long)valid, (long long)S);
    }
    dsv4_status status = DSV4_OK;
    for (int64_t t = 0; t < p->T && status == DSV4_OK; t++) {
        status = t % S < valid ? check_positions(p, t, err) : DSV4_OK;
    }
    if (status == DSV4_OK) {
        status = check_cache_slots(p, map, err);
    }
    return status == DSV4_OK ? check_state_slots(p, map, err) : status;
}

/* ---- windows --------------------------------------------------------------------------------------------------------------- */

/* The state row of a position through the table; -1 for one before 0, and in prefill for one without a page. */
static dsv4_status find_row(const op_compress_plan *p, int64_t token, int64_t position, int64_t *row, dsv4_error *err)
{
    const op_matrix *table = &p->a.state_table;
    int64_t entry = position / p->a.state_page, n_pages = p->a.kv_state.rows / p->a.state_page;
    *row = -1;
    if (position < 0 || (!p->a.is_decode && entry >= table->cols)) {
        return DSV4_OK;
    }
    if (entry >= table->cols) {
        return refuse(p, token, "its window needs entry", entry, "the state table of a request has entries below", table->cols,
                      err);
    }
    int64_t page = op_matrix_int(table, token / p->a.tokens_per_request, entry);
    if (page == -1 && !p->a.is_decode) {
        return DSV4_OK;
    }
    if (page < 0 || page >= n_pages) {
        return refuse(p, token, "the state table gives its window page", page, "from 0 on, and below", n_pages, err);
    }
    *row = page * p->a.state_page + position % p->a.state_page;
    return DSV4_OK;
}

/* Decode: what another request writes would be in this window or not, depending on who comes first. */
static dsv4_status check_decode_row(const op_compress_plan *p, const op_rowset *map, int64_t token, int64_t row, dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request, owner = op_rowset_owner(map, row);
    bool foreign = row >= 0 && owner != OP_NO_OWNER && owner / S != token / S;
    return foreign ? refuse(p, token, "its window has state row", row, "not written for another request, as by the call's token",
                            owner, err)
                   : DSV4_OK;
}

/* Prefill: I1 for positions of the step, I2 for those before it. */
static dsv4_status check_prefill_row(const op_compress_plan *p, op_rowset *map, int64_t token, int64_t position, int64_t row,
                                     dsv4_error *err)
{
    int64_t own = position - position_of(p, 0);
    if (own >= 0 && (row < 0 || state_slot(p, own) != row)) {
        return refuse(p, own, "state slot", state_slot(p, own), "in a window it is the table's row for the position,", row, err);
    }
    int64_t owner = own < 0 && row >= 0 ? op_rowset_claim(map, row, own) : own;
    return owner == own ? DSV4_OK
                        : refuse(p, token, "its window has state row", row,
                                 "a row for one position alone, but it is also that of position", position_of(p, 0) + owner, err);
}

/* The rows of the window that ends at a token. */
static dsv4_status resolve_entries(const op_compress_plan *p, op_rowset *map, int64_t token, int64_t *entries, dsv4_error *err)
{
    int64_t first = position_of(p, token) + 1 - p->span;
    dsv4_status status = DSV4_OK;
    for (int64_t i = 0; i < p->span && status == DSV4_OK; i++) {
        status = find_row(p, token, first + i, &entries[i], err);
        if (status == DSV4_OK) {
            status = p->a.is_decode ? check_decode_row(p, map, token, entries[i], err)
                                    : check_prefill_row(p, map, token, first + i, entries[i], err);
        }
    }
    return status;
}

static int64_t turn_row(const op_compress_plan *p, int64_t token)
{
    switch (p->a.turn_rule) {
    case OP_TURN_OF_REQUEST:
        return token / p->a.tokens_per_request;
    case OP_TURN_OF_WINDOW:
        return position_of(p, token) + 1 - p->a.ratio;
    default:
        return first_position(p, token);
    }
}

/* Row of op_compress.pooled for a window of which n_before went to the cache in token order. */
static int64_t pooled_row(const op_compress_plan *p, int64_t token, int64_t n_before)
{
    int64_t row = p->a.is_decode ? token - token % p->a.tokens_per_request : n_before;
    return row < p->a.pooled.rows ? row : -1;
}

static dsv4_status resolve_window(const op_compress_plan *p, op_rowset *map, int64_t window, int64_t token, int64_t n_before,
                                  dsv4_error *err)
{
    op_window *w = (op_window *)p->windows.data + window;
    *w = (op_window){token, cache_slot(p, token), pooled_row(p, token, n_before), turn_row(p, token)};
    if (w->turn_row >= p->a.turns.cos.rows) {
        return refuse(p, token, "its window is rotated by row", w->turn_row, "the table has rows below", p->a.turns.cos.rows, err);
    }
    return resolve_entries(p, map, token, (int64_t *)p->entries.data + window * p->span, err);
}

/* Rows of op_compress.pooled behind those of the windows made are cleared, one by each window that is not made. */
static void resolve_cleared(const op_compress_plan *p, int64_t n_made)
{
    for (int64_t i = 0; i < p->windows.rows; i++) {
        op_window *w = (op_window *)p->windows.data + i;
        if (w->token < 0 && n_made < p->a.pooled.rows) {
            w->pooled_row = n_made++;
        }
    }
}

/* In prefill a window without a cache row is not made. */
static dsv4_status resolve_windows(const op_compress_plan *p, op_rowset *map, dsv4_error *err)
{
    int64_t S = p->a.tokens_per_request, valid = valid_tokens(p), n_made = 0;
    dsv4_status status = DSV4_OK;
    for (int64_t b = 0; b < p->a.n_requests && valid > 0; b++) {
        int64_t window = b * p->windows_per_request;
        for (int64_t t = p->a.ratio - 1 - position_of(p, b * S) % p->a.ratio; t < valid && status == DSV4_OK; t += p->a.ratio) {
            if (p->a.is_decode || cache_slot(p, t) >= 0) {
                status = resolve_window(p, map, window, b * S + t, n_made++, err);
            }
            window++;
        }
    }
    if (!p->a.is_decode && status == DSV4_OK) {
        resolve_cleared(p, n_made);
    }
    return status;
}

static void resolve_tokens(const op_compress_plan *p)
{
    int64_t S = p->a.tokens_per_request, valid = valid_tokens(p);
    for (int64_t t = 0; t < p->T; t++) {
        if (t % S < valid) {
            ((int64_t *)p->token_rows.data)[t] = state_slot(p, t);
            ((int32_t *)p->ape_rows.data)[t] = (int32_t)(position_of(p, t) % p->a.ratio);
        }
    }
}

/* ---- stage ----------------------------------------------------------------------------------------------------------------- */

static void describe_plan(const void *arg, int64_t block, dsv4_describe *d)
{
    const op_compress_plan *p = arg;
    (void)block;
    op_matrix_reads(d, &p->a.positions);
    op_matrix_reads(d, &p->a.n_tokens);
    op_matrix_reads(d, &p->a.state_table);
    op_matrix_reads(d, &p->a.state_slots);
    op_matrix_reads(d, &p->a.cache_slots);
    op_matrix_writes(d, &p->token_rows);
    op_matrix_writes(d, &p->ape_rows);
    op_matrix_writes(d, &p->windows);
    op_matrix_writes(d, &p->entries);
    op_verdict_writes(d, &p->verdict);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)(30 * p->T + 10 * p->entries.rows * p->span)});
}

/* Nothing to write, no window. */
static void make_empty(const op_compress_plan *p)
{
    memset(p->token_rows.data, 0xff, (size_t)p->T * sizeof(int64_t));
    memset(p->windows.data, 0xff, (size_t)p->windows.rows * sizeof(op_window));
}

static void run_plan(const void *arg, int64_t block, void *scratch)
{
    const op_compress_plan *p = arg;
    op_rowset map = op_rowset_in(scratch, p->T + p->span);
    (void)block;
    *p->verdict.own = (dsv4_error){.status = DSV4_OK};
    make_empty(p);
    dsv4_status status = check_tokens(p, &map, p->verdict.own);
    if (status == DSV4_OK) {
        status = resolve_windows(p, &map, p->verdict.own);
    }
    if (status == DSV4_OK) {
        resolve_tokens(p);
    } else {
        make_empty(p);
    }
}

dsv4_status op_compress_check(const op_context *c, const op_compress *a, dsv4_error *err)
{
    int64_t R = c->config->qk_rope_head_dim, S = a->tokens_per_request;
    if (a->ratio != 4 && a->ratio != 128) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: compress ratio %lld, rule: 4 or 128", c->op->name, (long long)a->ratio);
    }
    if (R % 2 != 0 || R > a->width) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: qk_rope_head_dim=%lld, rule: even and at most the %lld columns of a compressed row", c->op->name,
                         (long long)R, (long long)a->width);
    }
    if (a->is_decode && S > a->ratio) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: S=%lld tokens of a request, rule: at most the compress ratio %lld", c->op->name,
                         (long long)S, (long long)a->ratio);
    }
    if (a->n_requests > INT32_MAX / S) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %lld x %lld tokens, rule: at most %d", c->op->name, (long long)a->n_requests,
                         (long long)S, INT32_MAX);
    }
    return DSV4_OK;
}

op_compress_plan *op_compress_plan_add(const op_context *c, const op_compress *a)
{
    dsv4_error err = {0};
    char stage[64];
    op_compress_plan *p = dsv4_graph_memory(c->g, sizeof *p);
    if (op_compress_check(c, a, &err) != DSV4_OK) {
        dsv4_graph_fail(c->g, &err);
        return NULL;
    }
    if (p == NULL) {
        return NULL;
    }
    p->a = *a;
    p->T = a->n_requests * a->tokens_per_request;
    p->out = op_compress_overlaps(a) ? 2 * a->width : a->width;
    p->span = op_compress_overlaps(a) ? 2 * a->ratio : a->ratio;
    p->windows_per_request = tile_count(a->tokens_per_request, a->ratio);
    p->token_rows = op_matrix_new(c, "compress.token_rows", 1, p->T, DSV4_I64);
    p->ape_rows = op_matrix_new(c, "compress.ape_rows", 1, p->T, DSV4_I32);
    p->windows = (op_matrix){.rows = a->n_requests * p->windows_per_request, .cols = 1, .ld = 1};
    p->windows.view = dsv4_graph_alloc(c->g, "compress.windows", p->windows.rows, 1, sizeof(op_window), &p->windows.data);
    p->entries = op_matrix_new(c, "compress.entries", p->windows.rows, p->span, DSV4_I64);
    p->verdict = op_verdict_new(c);
    snprintf(stage, sizeof stage, "%s.plan", a->name);
    size_t map_bytes = op_rowset_bytes(p->T + p->span);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){stage, 1, run_plan, describe_plan, p, map_bytes, DSV4_VECTOR});
    return p;
}
