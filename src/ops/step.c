/* ops/step.c - attention.plan: checks the integers of a step and resolves them to rows. */
#include "ops/step.h"

#include <string.h>

#include "ops/rowset.h"
#include "ops/tile.h"
#include "ops/verdict.h"

typedef struct plan {
    op_step step;
    const char *op;
    int64_t T, window;
    int64_t max_owners; /* rows that are checked for two owners at a time */
    op_verdict verdict;
} plan;

static int64_t n_valid(const plan *p)
{
    return op_matrix_ints(&p->step.n_tokens)[0];
}

static int64_t request_of(const plan *p, int64_t t)
{
    return t / p->step.tokens_per_request;
}

/* ---- positions ------------------------------------------------------------------------------------------------------------ */

static dsv4_status read_n_tokens(const plan *p, dsv4_error *err)
{
    int64_t n = p->step.given_n_tokens.data != NULL ? op_matrix_ints(&p->step.given_n_tokens)[0] : p->T;
    if (n < 0 || n > p->T) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: num_tokens is %lld, expected 0 to %lld, the tokens of the call", p->op,
                         (long long)n, (long long)p->T);
    }
    *(int32_t *)p->step.n_tokens.data = (int32_t)n;
    return DSV4_OK;
}

/* First position of request b. */
static int64_t first_position(const plan *p, int64_t b)
{
    const op_step *s = &p->step;
    if (s->given_positions.data != NULL) {
        return op_matrix_ints(&s->given_positions)[b * s->tokens_per_request];
    }
    return op_matrix_ints(&s->given_lengths)[b] - s->tokens_per_request;
}

static dsv4_status check_positions(const plan *p, int64_t b, int64_t n, dsv4_error *err)
{
    const op_step *s = &p->step;
    int64_t first = first_position(p, b);
    if (n > 0 && (first < 0 || first + n > s->max_position)) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: request %lld has positions %lld to %lld, expected positions in [0, %lld), the rows of freqs_cos",
                         p->op, (long long)b, (long long)first, (long long)(first + n - 1), (long long)s->max_position);
    }
    for (int64_t i = 0; i < n && s->given_positions.data != NULL; i++) {
        int64_t t = b * s->tokens_per_request + i, got = op_matrix_ints(&s->given_positions)[t];
        if (got != first + i) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: position_ids of token %lld is %lld, expected %lld: positions of a request are consecutive", p->op,
                             (long long)t, (long long)got, (long long)(first + i));
        }
    }
    if (s->given_lengths.data != NULL && op_matrix_ints(&s->given_lengths)[b] != first + n) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: kv_seq_lens of request %lld is %lld, expected %lld, the end of its positions",
                         p->op, (long long)b, (long long)op_matrix_ints(&s->given_lengths)[b], (long long)(first + n));
    }
    return DSV4_OK;
}

static void write_request(const plan *p, int64_t b, int64_t n)
{
    const op_step *s = &p->step;
    int64_t first = first_position(p, b), ratio = s->ratio > 0 ? s->ratio : INT32_MAX;
    for (int64_t i = 0; i < n; i++) {
        int64_t t = b * s->tokens_per_request + i;
        ((int32_t *)s->positions.data)[t] = (int32_t)(first + i);
        ((int32_t *)s->turn_rows.data)[t] = (int32_t)(first + i);
        ((int32_t *)s->first_turn_rows.data)[t] = (int32_t)first;
        ((int32_t *)s->n_windows.data)[t] = (int32_t)((first + i + 1) / ratio);
        ((int32_t *)s->n_windows_end.data)[t] = (int32_t)((first + n) / ratio);
    }
}

/* Positions of all requests; prefill has one request, whose first n tokens are valid. */
static dsv4_status plan_positions(const plan *p, dsv4_error *err)
{
    dsv4_status status = read_n_tokens(p, err);
    int64_t n = status != DSV4_OK ? 0 : p->step.is_decode ? p->step.tokens_per_request : n_valid(p);
    for (int64_t b = 0; b < p->step.n_requests && status == DSV4_OK; b++) {
        status = check_positions(p, b, n, err);
        if (status == DSV4_OK) {
            write_request(p, b, n);
        }
    }
    return status;
}

/* ---- pages ---------------------------------------------------------------------------------------------------------------- */

/* Row of logical index i of request b. */
static dsv4_status find_row(const plan *p, const op_pages *pages, int64_t b, int64_t i, int64_t *row, dsv4_error *err)
{
    int64_t entry = i / pages->page, n_pages = pages->rows / pages->page;
    if (entry >= pages->table.cols) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: request %lld needs row %lld, expected at most the %lld rows that %s holds per request", p->op,
                         (long long)b, (long long)i, (long long)(pages->table.cols * pages->page), pages->table_name);
    }
    int64_t page = op_matrix_ints(&pages->table)[b * pages->table.ld + entry];
    if (page < 0 || page >= n_pages) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: %s[%lld, %lld] is %lld, expected a page in [0, %lld): the step needs row %lld there", p->op,
                         pages->table_name, (long long)b, (long long)entry, (long long)page, (long long)n_pages, (long long)i);
    }
    *row = page * pages->page + i % pages->page;
    return DSV4_OK;
}

/* Logical index of the row that token t fills; -1: none. */
static int64_t index_of(const plan *p, const op_slots *slots, int64_t t)
{
    int64_t position = op_matrix_ints(&p->step.positions)[t];
    switch (slots->kind) {
    case OP_SLOT_STATE:
        return position;
    case OP_SLOT_WINDOW:
        return (position + 1) % slots->ratio == 0 ? position / slots->ratio : -1;
    case OP_SLOT_RING:
        return position % p->window;
    }
    return -1;
}

static dsv4_status find_slot(const plan *p, const op_slots *slots, int64_t t, int64_t *row, dsv4_error *err)
{
    int64_t index = index_of(p, slots, t);
    *row = -1;
    if (slots->given.data == NULL) {
        return index < 0 ? DSV4_OK : find_row(p, &slots->pages, request_of(p, t), index, row, err);
    }
    *row = ((const int64_t *)slots->given.data)[t];
    if (*row < -1 || *row >= slots->pages.rows) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s of token %lld is %lld, expected -1 or a row in [0, %lld)", p->op,
                         slots->given_name, (long long)t, (long long)*row, (long long)slots->pages.rows);
    }
    return DSV4_OK;
}

static dsv4_status plan_slots(const plan *p, const op_slots *slots, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int64_t n = n_valid(p);
    for (int64_t t = 0; t < n && status == DSV4_OK; t++) {
        status = find_slot(p, slots, t, &((int64_t *)slots->rows.data)[t], err);
    }
    return status;
}

/* Of two tokens of a request that fill one row of the ring the later one keeps it; two requests must not share a row. */
static dsv4_status settle_ring(const plan *p, const op_slots *slots, op_rowset *owners, dsv4_error *err)
{
    int64_t *rows = slots->rows.data;
    op_rowset_clear(owners);
    for (int64_t t = n_valid(p) - 1; t >= 0; t--) {
        int64_t owner = rows[t] < 0 ? t : op_rowset_claim(owners, rows[t], t);
        if (owner == t) {
            continue;
        }
        if (request_of(p, owner) != request_of(p, t)) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: tokens %lld and %lld of two requests both go to row %lld of the window cache",
                             p->op, (long long)t, (long long)owner, (long long)rows[t]);
        }
        rows[t] = -1;
    }
    return DSV4_OK;
}

/* ---- what other requests read ------------------------------------------------------------------------------------------- */

/* Every window up to the end of the step has a page; none of a request's pages is one that another request writes in this step. */
static dsv4_status check_visible(const plan *p, const op_pages *pages, const op_rowset *writers, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int64_t row = 0;
    for (int64_t b = 0; b < p->step.n_requests && status == DSV4_OK; b++) {
        int64_t t = b * p->step.tokens_per_request, n = n_valid(p) > t ? op_matrix_ints(&p->step.n_windows_end)[t] : 0;
        for (int64_t i = 0; i < n && status == DSV4_OK; i += pages->page) {
            status = find_row(p, pages, b, i, &row, err);
            int64_t writer = status == DSV4_OK ? op_rowset_owner(writers, row / pages->page) : OP_NO_OWNER;
            if (writer != OP_NO_OWNER && writer != b) {
                status =
                    dsv4_fail(err, DSV4_E_VALUE, "%s: %s[%lld, %lld] is page %lld, into which request %lld writes in this step",
                              p->op, pages->table_name, (long long)b, (long long)(i / pages->page), (long long)(row / pages->page),
                              (long long)writer);
            }
        }
    }
    return status;
}

/* Notes which request writes which page, by the slots whose cache `pages` describes. */
static void note_writers(const plan *p, const op_pages *pages, op_rowset *writers)
{
    op_rowset_clear(writers);
    for (int i = 0; i < p->step.n_slots; i++) {
        const op_slots *slots = &p->step.slots[i];
        const int64_t *rows = slots->rows.data;
        for (int64_t t = 0; slots->pages.table.data == pages->table.data && t < n_valid(p); t++) {
            if (rows[t] >= 0) {
                op_rowset_claim(writers, rows[t] / pages->page, request_of(p, t));
            }
        }
    }
}

/* Each request has the pages of its ring to itself. */
static dsv4_status check_rings(const plan *p, const op_pages *pages, op_rowset *owners, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    op_rowset_clear(owners);
    for (int64_t b = 0; b < p->step.n_requests && status == DSV4_OK; b++) {
        int64_t t = b * p->step.tokens_per_request,
                last = n_valid(p) > t ? op_matrix_ints(&p->step.positions)[t] + p->step.tokens_per_request : 0;
        for (int64_t i = 0; i < p->window && i < last && status == DSV4_OK; i += pages->page) {
            int64_t row = 0;
            status = find_row(p, pages, b, i, &row, err);
            int64_t owner = status == DSV4_OK ? op_rowset_claim(owners, row / pages->page, b) : b;
            if (owner != b) {
                status =
                    dsv4_fail(err, DSV4_E_VALUE, "%s: %s gives page %lld to requests %lld and %lld; a window page belongs to one",
                              p->op, pages->table_name, (long long)(row / pages->page), (long long)owner, (long long)b);
            }
        }
    }
    return status;
}

/* ---- the block ---------------------------------------------------------------------------------------------------------- */

/* No valid token, no rows. */
static void clear(const plan *p)
{
    const op_step *s = &p->step;
    size_t bytes = (size_t)p->T * sizeof(int32_t);
    *(int32_t *)s->n_tokens.data = 0;
    memset(s->positions.data, 0, bytes);
    memset(s->turn_rows.data, 0, bytes);
    memset(s->first_turn_rows.data, 0, bytes);
    memset(s->n_windows.data, 0, bytes);
    memset(s->n_windows_end.data, 0, bytes);
    for (int i = 0; i < s->n_slots; i++) {
        memset(s->slots[i].rows.data, 0xff, (size_t)p->T * sizeof(int64_t));
    }
}

static dsv4_status fill(const plan *p, op_rowset *owners, dsv4_error *err)
{
    dsv4_status status = plan_positions(p, err);
    for (int i = 0; i < p->step.n_slots && status == DSV4_OK; i++) {
        const op_slots *slots = &p->step.slots[i];
        status = plan_slots(p, slots, err);
        if (status == DSV4_OK && slots->kind == OP_SLOT_RING) {
            status = settle_ring(p, slots, owners, err);
        }
        if (status == DSV4_OK && slots->kind == OP_SLOT_RING) {
            status = check_rings(p, &slots->pages, owners, err);
        }
    }
    for (int i = 0; i < p->step.n_visible_caches && status == DSV4_OK; i++) {
        note_writers(p, &p->step.visible[i], owners);
        status = check_visible(p, &p->step.visible[i], owners, err);
    }
    return status;
}

static void run_plan(const void *arg, int64_t block, void *scratch)
{
    const plan *p = arg;
    op_rowset owners = op_rowset_in(scratch, p->max_owners);
    (void)block;
    clear(p);
    *p->verdict.own = (dsv4_error){.status = DSV4_OK};
    if (fill(p, &owners, p->verdict.own) != DSV4_OK) {
        clear(p);
    }
}

static void describe_plan(const void *arg, int64_t block, dsv4_describe *d)
{
    const plan *p = arg;
    const op_step *s = &p->step;
    (void)block;
    op_matrix_reads(d, &s->given_positions);
    op_matrix_reads(d, &s->given_lengths);
    op_matrix_reads(d, &s->given_n_tokens);
    for (int i = 0; i < s->n_slots; i++) {
        op_matrix_reads(d, &s->slots[i].given);
        op_matrix_reads(d, &s->slots[i].pages.table);
        op_matrix_writes(d, &s->slots[i].rows);
    }
    for (int i = 0; i < s->n_visible_caches; i++) {
        op_matrix_reads(d, &s->visible[i].table);
    }
    op_matrix_writes(d, &s->positions);
    op_matrix_writes(d, &s->n_tokens);
    op_matrix_writes(d, &s->turn_rows);
    op_matrix_writes(d, &s->first_turn_rows);
    op_matrix_writes(d, &s->n_windows);
    op_matrix_writes(d, &s->n_windows_end);
    op_verdict_writes(d, &p->verdict);
}

/* Rows of all rings, or tokens: what the owners' table must hold. */
static int64_t max_owners(const op_step *s, int64_t T)
{
    int64_t n = T;
    for (int i = 0; i < s->n_slots; i++) {
        if (s->slots[i].kind == OP_SLOT_RING) {
            n += s->slots[i].pages.table.rows * s->slots[i].pages.table.cols;
        }
    }
    return n;
}

void op_step_add(const op_context *c, op_step *s)
{
    int64_t T = s->n_requests * s->tokens_per_request;
    s->positions = op_matrix_new(c, "attention.positions", 1, T, DSV4_I32);
    s->n_tokens = op_matrix_new(c, "attention.n_tokens", 1, 1, DSV4_I32);
    s->turn_rows = op_matrix_new(c, "attention.turn_rows", 1, T, DSV4_I32);
    s->first_turn_rows = op_matrix_new(c, "attention.first_turn_rows", 1, T, DSV4_I32);
    s->n_windows = op_matrix_new(c, "attention.n_windows", 1, T, DSV4_I32);
    s->n_windows_end = op_matrix_new(c, "attention.n_windows_end", 1, T, DSV4_I32);
    for (int i = 0; i < s->n_slots; i++) {
        s->slots[i].rows = op_matrix_new(c, "attention.slots", 1, T, DSV4_I64);
    }
    plan *p = dsv4_graph_memory(c->g, sizeof *p);
    if (p == NULL) {
        return;
    }
    *p = (plan){*s, c->op->name, T, c->dims.of[OP_W], max_owners(s, T), op_verdict_new(c)};
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){.name = "attention.plan",
                                              .n_blocks = 1,
                                              .run = run_plan,
                                              .describe = describe_plan,
                                              .arg = p,
                                              .scratch_bytes = op_rowset_bytes(p->max_owners)});
}
