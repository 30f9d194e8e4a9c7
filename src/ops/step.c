/* ops/step.c - attention.plan: checks the integers of a step and resolves them to rows. */
#include "ops/step.h"

#include <string.h>

#include "ops/rowset.h"
#include "ops/tile.h"
#include "ops/verdict.h"

typedef struct plan {
    op_step step;
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
        return dsv4_fail(err, DSV4_E_VALUE, "%s: num_tokens is %lld, expected 0 to %lld, the tokens of the call", p->verdict.op,
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
                         p->verdict.op, (long long)b, (long long)first, (long long)(first + n - 1), (long long)s->max_position);
    }
    for (int64_t i = 0; i < n && s->given_positions.data != NULL; i++) {
        int64_t t = b * s->tokens_per_request + i, got = op_matrix_ints(&s->given_positions)[t];
        if (got != first + i) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: position_ids of token %lld is %lld, expected %lld: positions of a request are consecutive",
                             p->verdict.op, (long long)t, (long long)got, (long long)(first + i));
        }
    }
    if (s->given_lengths.data != NULL && op_matrix_ints(&s->given_lengths)[b] != first + n) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: kv_seq_lens of request %lld is %lld, expected %lld, the end of its positions",
                         p->verdict.op, (long long)b, (long long)op_matrix_ints(&s->given_lengths)[b], (long long)(first + n));
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
                         "%s: request %lld needs row %lld, expected at most the %lld rows that %s holds per request", p->verdict.op,
                         (long long)b, (long long)i, (long long)(pages->table.cols * pages->page), pages->table_name);
    }
    int64_t page = op_matrix_ints(&pages->table)[b * pages->table.ld + entry];
    if (page < 0 || page >= n_pages) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: %s[%lld, %lld] is %lld, expected a page in [0, %lld): the step needs row %lld there", p->verdict.op,
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

/* A given slot only says whether the row is written: which one it is follows from position and pages. */
static dsv4_status check_given(const plan *p, const op_slots *slots, int64_t t, int64_t row, dsv4_error *err)
{
    int64_t got = ((const int64_t *)slots->given.data)[t];
    if (got == row) {
        return DSV4_OK;
    }
    if (row < 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s of token %lld is %lld, expected -1: the token ends no window of %lld",
                         p->verdict.op, slots->given_name, (long long)t, (long long)got, (long long)slots->ratio);
    }
    return dsv4_fail(err, DSV4_E_VALUE, "%s: %s of token %lld is %lld, expected -1 or %lld, its row by %s", p->verdict.op,
                     slots->given_name, (long long)t, (long long)got, (long long)row, slots->pages.table_name);
}

static dsv4_status find_slot(const plan *p, const op_slots *slots, int64_t t, int64_t *row, dsv4_error *err)
{
    int64_t index = index_of(p, slots, t);
    bool is_given = slots->given.data != NULL;
    *row = -1;
    if (is_given && ((const int64_t *)slots->given.data)[t] == -1) {
        return DSV4_OK;
    }
    dsv4_status status = index < 0 ? DSV4_OK : find_row(p, &slots->pages, request_of(p, t), index, row, err);
    return status == DSV4_OK && is_given ? check_given(p, slots, t, *row, err) : status;
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

/* Of two tokens that fill one row of the ring the later one keeps it. */
static void settle_ring(const plan *p, const op_slots *slots, op_rowset *owners)
{
    int64_t *rows = slots->rows.data;
    op_rowset_clear(owners);
    for (int64_t t = n_valid(p) - 1; t >= 0; t--) {
        if (rows[t] >= 0 && op_rowset_claim(owners, rows[t], t) != t) {
            rows[t] = -1;
        }
    }
}

/* ---- what other requests read ------------------------------------------------------------------------------------------- */

/* One past the last position of request b, 0 if it has no valid token. */
static int64_t end_position(const plan *p, int64_t b)
{
    int64_t t = b * p->step.tokens_per_request, n = p->step.is_decode ? p->step.tokens_per_request : n_valid(p);
    return n > 0 ? op_matrix_ints(&p->step.positions)[t] + n : 0;
}

/* Where request b has logical row i in its table. */
static int64_t place_of(const op_pages *pages, int64_t b, int64_t i)
{
    return b * pages->table.cols + i / pages->page;
}

/* Each page of a ring has one entry in one request. */
static dsv4_status check_rings(const plan *p, const op_pages *pages, op_rowset *owners, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    op_rowset_clear(owners);
    for (int64_t b = 0; b < p->step.n_requests && status == DSV4_OK; b++) {
        for (int64_t i = 0; i < p->window && i < end_position(p, b) && status == DSV4_OK; i += pages->page) {
            int64_t row = 0;
            status = find_row(p, pages, b, i, &row, err);
            int64_t place = place_of(pages, b, i);
            int64_t owner = status == DSV4_OK ? op_rowset_claim(owners, row / pages->page, place) : place;
            if (owner != place) {
                int64_t cols = pages->table.cols;
                status = dsv4_fail(err, DSV4_E_VALUE, "%s: %s[%lld, %lld] is page %lld, which is [%lld, %lld] already",
                                   p->verdict.op, pages->table_name, (long long)b, (long long)(i / pages->page),
                                   (long long)(row / pages->page), (long long)(owner / cols), (long long)(owner % cols));
            }
        }
    }
    return status;
}

/* Notes through which entry each page is written. */
static void note_writers(const plan *p, const op_slots *slots, op_rowset *writers)
{
    const int64_t *rows = slots->rows.data;
    op_rowset_clear(writers);
    for (int64_t t = 0; t < n_valid(p); t++) {
        if (rows[t] >= 0) {
            op_rowset_claim(writers, rows[t] / slots->pages.page, place_of(&slots->pages, request_of(p, t), index_of(p, slots, t)));
        }
    }
}

/* Every window up to the end of the step has a page; none of them is one that the step writes through another entry. */
static dsv4_status check_windows(const plan *p, const op_slots *slots, op_rowset *writers, dsv4_error *err)
{
    const op_pages *pages = &slots->pages;
    dsv4_status status = DSV4_OK;
    int64_t row = 0;
    note_writers(p, slots, writers);
    for (int64_t b = 0; b < p->step.n_requests && status == DSV4_OK; b++) {
        int64_t n = end_position(p, b) / slots->ratio;
        for (int64_t i = 0; i < n && status == DSV4_OK; i += pages->page) {
            status = find_row(p, pages, b, i, &row, err);
            int64_t writer = status == DSV4_OK ? op_rowset_owner(writers, row / pages->page) : OP_NO_OWNER;
            if (writer != OP_NO_OWNER && writer != place_of(pages, b, i)) {
                int64_t cols = pages->table.cols;
                status = dsv4_fail(err, DSV4_E_VALUE, "%s: %s[%lld, %lld] is page %lld, which the step writes as [%lld, %lld]",
                                   p->verdict.op, pages->table_name, (long long)b, (long long)(i / pages->page),
                                   (long long)(row / pages->page), (long long)(writer / cols), (long long)(writer % cols));
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
    memset(s->first_turn_rows.data, 0, bytes);
    memset(s->n_windows.data, 0, bytes);
    memset(s->n_windows_end.data, 0, bytes);
    for (int i = 0; i < s->n_slots; i++) {
        memset(s->slots[i].rows.data, 0xff, (size_t)p->T * sizeof(int64_t));
    }
}

static dsv4_status fill_slots(const plan *p, const op_slots *slots, op_rowset *owners, dsv4_error *err)
{
    dsv4_status status = plan_slots(p, slots, err);
    if (status == DSV4_OK && slots->kind == OP_SLOT_WINDOW) {
        status = check_windows(p, slots, owners, err);
    }
    if (status == DSV4_OK && slots->kind == OP_SLOT_RING) {
        status = check_rings(p, &slots->pages, owners, err);
        settle_ring(p, slots, owners);
    }
    return status;
}

static dsv4_status fill(const plan *p, op_rowset *owners, dsv4_error *err)
{
    dsv4_status status = plan_positions(p, err);
    for (int i = 0; i < p->step.n_slots && status == DSV4_OK; i++) {
        status = fill_slots(p, &p->step.slots[i], owners, err);
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
    op_matrix_writes(d, &s->positions);
    op_matrix_writes(d, &s->n_tokens);
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
    *p = (plan){*s, T, c->dims.of[OP_W], max_owners(s, T), op_verdict_new(c)};
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){.name = "attention.plan",
                                              .n_blocks = 1,
                                              .run = run_plan,
                                              .describe = describe_plan,
                                              .arg = p,
                                              .scratch_bytes = op_rowset_bytes(p->max_owners)});
}
