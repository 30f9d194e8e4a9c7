/* golden/checks.c - the integers that an operator is given: positions, slots, page tables, lengths. */
#include <inttypes.h>
#include <stdlib.h>

#include "golden/parts.h"

dsv4_status golden_check_num_tokens(int32_t num_tokens, int64_t n_tokens, dsv4_error *err)
{
    if (num_tokens < 0 || num_tokens > n_tokens) {
        return dsv4_fail(err, DSV4_E_VALUE, "input num_tokens: got %" PRId32 ", expected 0 to T = %" PRId64, num_tokens, n_tokens);
    }
    return DSV4_OK;
}

dsv4_status golden_check_positions(const int32_t *position_ids, int64_t request, int64_t n, dsv4_error *err)
{
    if (n > 0 && position_ids[0] < 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "input position_ids: request %" PRId64 ", token 0: got %" PRId32 ", expected 0 or more",
                         request, position_ids[0]);
    }
    for (int64_t t = 1; t < n; t++) {
        const int64_t expected = (int64_t)position_ids[0] + t;
        if (position_ids[t] != expected) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input position_ids: request %" PRId64 ", token %" PRId64 ": got %" PRId32 ", expected %" PRId64
                             ", one after the token before",
                             request, t, position_ids[t], expected);
        }
    }
    return DSV4_OK;
}

static int compare_slots(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A row >= 0 that stands twice in slots[n], or -1. sorted[n] is scratch. */
static int64_t find_twice(const int64_t *slots, int64_t n, int64_t *sorted)
{
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = slots[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, compare_slots);
    for (int64_t i = 1; i < n; i++) {
        if (sorted[i] >= 0 && sorted[i] == sorted[i - 1]) {
            return sorted[i];
        }
    }
    return -1;
}

dsv4_status golden_check_slots(const char *name, const int64_t *slots, int64_t n_tokens, int64_t n_rows, dsv4_error *err)
{
    for (int64_t t = 0; t < n_tokens; t++) {
        if (slots[t] < -1 || slots[t] >= n_rows) {
            return dsv4_fail(err, DSV4_E_VALUE, "input %s: token %" PRId64 ": got %" PRId64 ", expected -1 or a row below %" PRId64,
                             name, t, slots[t], n_rows);
        }
    }
    arena scratch = {0};
    int64_t *sorted = arena_alloc(&scratch, (size_t)n_tokens * sizeof *sorted);
    if (sorted == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "input %s: no memory to sort %" PRId64 " slots", name, n_tokens);
    }
    const int64_t twice = find_twice(slots, n_tokens, sorted);
    arena_deinit(&scratch);
    if (twice >= 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "input %s: got row %" PRId64 " for two tokens, expected a row of its own for each",
                         name, twice);
    }
    return DSV4_OK;
}

dsv4_status golden_check_pages(const golden_pages *pages, int64_t request, int64_t first, int64_t last, dsv4_error *err)
{
    if (first > last) {
        return DSV4_OK;
    }
    if (last / pages->page_rows >= pages->n_entries) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "input %s: request %" PRId64 " needs row %" PRId64 ", expected one below %" PRId64 ": %" PRId64
                         " pages of %" PRId64 " rows",
                         pages->name, request, last, pages->n_entries * pages->page_rows, pages->n_entries, pages->page_rows);
    }
    for (int64_t i = first / pages->page_rows; i <= last / pages->page_rows; i++) {
        const int32_t page = pages->table[request * pages->n_entries + i];
        if (page < 0 || page >= pages->n_pages) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input %s: request %" PRId64 ", entry %" PRId64 ": got %" PRId32
                             ", expected a page from 0 to %" PRId64,
                             pages->name, request, i, page, pages->n_pages - 1);
        }
    }
    return DSV4_OK;
}
