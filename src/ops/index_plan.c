#include "ops/index_plan.h"

#include <string.h>

#include "ops/index.h"
#include "ops/tile.h"
#include "ops/verdict.h"

typedef struct plan {
    op_index_plan a;
    op_index_planned out;
    op_verdict verdict;
} plan;

static int64_t token_of(const plan *p, int64_t request, int64_t s)
{
    return request * p->a.tokens_per_request + s;
}

static int64_t valid_tokens(const plan *p)
{
    return p->a.is_decode ? p->a.tokens_per_request : op_matrix_int(&p->a.n_tokens, 0, 0);
}

/* Page of the table that holds the row a position completes. */
static int64_t page_of_position(const plan *p, int64_t position)
{
    return position / OP_INDEX_RATIO / p->a.page;
}

/* ---- checks ------------------------------------------------------------------------------------------------------------------ */

static dsv4_status check_call(const plan *p, dsv4_error *err)
{
    int64_t n = valid_tokens(p), offset = op_matrix_int(&p->a.offset, 0, 0), most = INT32_MAX - p->a.columns;
    if (n < 0 || n > p->a.tokens_per_request) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: num_tokens: got %lld, expected 0 to %lld", p->verdict.op, (long long)n,
                         (long long)p->a.tokens_per_request);
    }
    if (offset < 0 || offset > most) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: offset: got %lld, expected 0 to %lld", p->verdict.op, (long long)offset,
                         (long long)most);
    }
    return DSV4_OK;
}

static dsv4_status check_positions(const plan *p, int64_t request, dsv4_error *err)
{
    int64_t first = op_matrix_int(&p->a.positions, 0, token_of(p, request, 0));
    for (int64_t s = 0; s < valid_tokens(p); s++) {
        int64_t t = token_of(p, request, s), position = op_matrix_int(&p->a.positions, 0, t);
        if (position < 0 || position != first + s) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: position_ids: token %lld has position %lld, expected %lld: positions count up from 0 or more",
                             p->verdict.op, (long long)t, (long long)position, (long long)(first < 0 ? 0 : first + s));
        }
    }
    return DSV4_OK;
}

static dsv4_status check_length(const plan *p, int64_t request, dsv4_error *err)
{
    int64_t length = p->a.is_decode ? op_matrix_int(&p->a.lengths, 0, request) : 0,
            most = OP_INDEX_RATIO * p->a.columns + OP_INDEX_RATIO - 1;
    if (length < 0 || length > most) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: kv_seq_lens: request %lld has %lld tokens, expected 0 to %lld: its table and scores hold %lld rows",
                         p->verdict.op, (long long)request, (long long)length, (long long)most, (long long)p->a.columns);
    }
    return DSV4_OK;
}

/* A slot of a valid token is -1 or the row of its position through the table. */
static dsv4_status check_slots(const plan *p, int64_t request, dsv4_error *err)
{
    for (int64_t s = 0; s < valid_tokens(p); s++) {
        int64_t t = token_of(p, request, s), position = op_matrix_int(&p->a.positions, 0, t), page = page_of_position(p, position);
        int64_t slot = ((const int64_t *)p->a.cache_slots.data)[t];
        int64_t entry = page < p->a.table.cols ? op_matrix_int(&p->a.table, request, page) : -1;
        if (slot == -1) {
            continue;
        }
        if (entry < 0 || entry >= p->a.n_pages || slot != entry * p->a.page + position / OP_INDEX_RATIO % p->a.page) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: idx_slot_mapping: token %lld at position %lld has slot %lld, expected -1 or its row through "
                             "idx_block_table, whose entry [%lld, %lld] is %lld",
                             p->verdict.op, (long long)t, (long long)position, (long long)slot, (long long)request, (long long)page,
                             (long long)entry);
        }
    }
    return DSV4_OK;
}

/* ---- visible rows ------------------------------------------------------------------------------------------------------------ */

static int64_t visible_rows(const plan *p, int64_t request, int64_t s)
{
    int64_t of_token = (op_matrix_int(&p->a.positions, 0, token_of(p, request, s)) + 1) / OP_INDEX_RATIO;
    if (!p->a.is_decode) {
        return s < valid_tokens(p) ? tile_min(of_token, p->a.columns) : 0;
    }
    int64_t of_request = op_matrix_int(&p->a.lengths, 0, request) / OP_INDEX_RATIO;
    return p->a.causal ? tile_min(of_token, of_request) : of_request;
}

static int64_t visible_pages(const plan *p, int64_t request)
{
    int64_t rows = 0;
    for (int64_t s = 0; s < p->a.tokens_per_request; s++) {
        rows = tile_max(rows, visible_rows(p, request, s));
    }
    return tile_count(rows, p->a.page);
}

/* Marks the cache pages that the step writes with 1 + the place in the table from which they are written; 0: not written. */
static dsv4_status mark_written(const plan *p, int64_t request, int64_t *writer, dsv4_error *err)
{
    for (int64_t s = 0; s < valid_tokens(p); s++) {
        int64_t t = token_of(p, request, s), page = page_of_position(p, op_matrix_int(&p->a.positions, 0, t));
        if (((const int64_t *)p->a.cache_slots.data)[t] < 0) {
            continue;
        }
        int64_t entry = op_matrix_int(&p->a.table, request, page), place = 1 + request * p->a.table.cols + page;
        if (writer[entry] != 0 && writer[entry] != place) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: idx_block_table: token %lld writes page %lld, which another token of the step writes through "
                             "another entry; expected pages of their own",
                             p->verdict.op, (long long)t, (long long)entry);
        }
        writer[entry] = place;
    }
    return DSV4_OK;
}

static dsv4_status check_pages(const plan *p, int64_t request, const int64_t *writer, dsv4_error *err)
{
    int64_t n = visible_pages(p, request);
    for (int64_t page = 0; page < n; page++) {
        int64_t entry = op_matrix_int(&p->a.table, request, page), place = 1 + request * p->a.table.cols + page;
        if (entry < 0 || entry >= p->a.n_pages) {
            return dsv4_fail(
                err, DSV4_E_VALUE,
                "%s: idx_block_table: entry [%lld, %lld] is %lld, expected a page 0 to %lld: the request sees %lld pages",
                p->verdict.op, (long long)request, (long long)page, (long long)entry, (long long)p->a.n_pages - 1, (long long)n);
        }
        if (writer[entry] != 0 && writer[entry] != place) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: idx_block_table: entry [%lld, %lld] is page %lld, which the step writes through another entry; "
                             "expected a page of its own",
                             p->verdict.op, (long long)request, (long long)page, (long long)entry);
        }
    }
    return DSV4_OK;
}

/* ---- the stage --------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_request(const plan *p, int64_t request, dsv4_error *err)
{
    dsv4_status status = check_positions(p, request, err);
    if (status == DSV4_OK) {
        status = check_length(p, request, err);
    }
    return status == DSV4_OK ? check_slots(p, request, err) : status;
}

/* writer: [n_pages] */
static dsv4_status check_step(const plan *p, int64_t *writer, dsv4_error *err)
{
    dsv4_status status = check_call(p, err);
    memset(writer, 0, (size_t)p->a.n_pages * sizeof *writer);
    for (int64_t b = 0; b < p->a.n_requests && status == DSV4_OK; b++) {
        status = check_request(p, b, err);
        status = status == DSV4_OK ? mark_written(p, b, writer, err) : status;
    }
    for (int64_t b = 0; b < p->a.n_requests && status == DSV4_OK; b++) {
        status = check_pages(p, b, writer, err);
    }
    return status;
}

static void resolve(const plan *p, int64_t request, bool sound)
{
    int32_t *table = (int32_t *)p->out.table.data + request * p->out.table.ld, *n_visible = p->out.n_visible.data;
    int64_t n = sound ? visible_pages(p, request) : 0;
    for (int64_t page = 0; page < p->out.table.cols; page++) {
        table[page] = page < n ? (int32_t)op_matrix_int(&p->a.table, request, page) : 0;
    }
    for (int64_t s = 0; s < p->a.tokens_per_request; s++) {
        n_visible[token_of(p, request, s)] = sound ? (int32_t)visible_rows(p, request, s) : 0;
    }
}

static void describe_plan(const void *arg, int64_t block, dsv4_describe *d)
{
    const plan *p = arg;
    const op_matrix *read[] = {&p->a.positions, &p->a.lengths, &p->a.n_tokens, &p->a.cache_slots, &p->a.table, &p->a.offset};
    (void)block;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        op_matrix_reads(d, read[i]);
    }
    op_matrix_writes(d, &p->out.table);
    op_matrix_writes(d, &p->out.n_visible);
    op_verdict_writes(d, &p->verdict);
}

static void run_plan(const void *arg, int64_t block, void *scratch)
{
    const plan *p = arg;
    (void)block;
    *p->verdict.own = (dsv4_error){.status = DSV4_OK};
    bool sound = check_step(p, scratch, p->verdict.own) == DSV4_OK;
    for (int64_t b = 0; b < p->a.n_requests; b++) {
        resolve(p, b, sound);
    }
}

op_index_planned op_index_plan_add(const op_context *c, const op_index_plan *a)
{
    plan *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return (op_index_planned){0};
    }
    p->a = *a;
    p->out.table = op_matrix_new(c, "index.table", a->table.rows, a->table.cols, DSV4_I32);
    p->out.n_visible = op_matrix_new(c, "index.n_visible", 1, a->n_requests * a->tokens_per_request, DSV4_I32);
    p->verdict = op_verdict_new(c);
    dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"index.plan", 1, run_plan, describe_plan, p, (size_t)a->n_pages * sizeof(int64_t), DSV4_VECTOR});
    return p->out;
}
