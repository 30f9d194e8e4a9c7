/* golden/tokens.c - see tokens.h. */
#include "golden/tokens.h"

#include <inttypes.h>

static dsv4_status alloc_tokens(golden_tokens *tokens, arena *memory, dsv4_error *err)
{
    tokens->positions = arena_alloc(memory, (size_t)tokens->T * sizeof *tokens->positions);
    tokens->kv_seq_lens = arena_alloc(memory, (size_t)tokens->B * sizeof *tokens->kv_seq_lens);
    if (tokens->positions == NULL || tokens->kv_seq_lens == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "position_ids: no memory for %" PRId64 " tokens", tokens->T);
    }
    return DSV4_OK;
}

/* The n tokens of request b from position p0 on; given[b] is its kv_seq_lens where given is not NULL. */
static dsv4_status place_request(golden_tokens *tokens, int64_t b, int64_t n, int64_t p0, int64_t n_positions, const int32_t *given,
                                 dsv4_error *err)
{
    const int64_t end = p0 + n;
    if (end > n_positions) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "input position_ids: request %" PRId64 ": got %" PRId64 ", expected below %" PRId64
                         ", the rows of freqs_cos",
                         b, end - 1, n_positions);
    }
    if (given != NULL && given[b] != end) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "input kv_seq_lens: request %" PRId64 ": got %" PRId32 ", expected %" PRId64
                         ", one above its last position",
                         b, given[b], end);
    }
    tokens->kv_seq_lens[b] = (int32_t)end;
    for (int64_t i = 0; i < n; i++) {
        tokens->positions[b * tokens->S + i] = (int32_t)(p0 + i);
    }
    return DSV4_OK;
}

dsv4_status golden_tokens_decode(const dsv4_tensor_list *in, int64_t B, int64_t T, int64_t n_positions, arena *memory,
                                 golden_tokens *tokens, dsv4_error *err)
{
    enum { POSITION_IDS, KV_SEQ_LENS, N_IN };
    const golden_tensor want[N_IN] = {
        [POSITION_IDS] = {"position_ids", DSV4_I32, 1, {T}},
        [KV_SEQ_LENS] = {"kv_seq_lens", DSV4_I32, 1, {B}},
    };
    const void *data[N_IN];
    golden_extents none = {0};
    if (T % B != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE, "input x_hc: got %" PRId64 " tokens, expected a multiple of the %" PRId64 " requests",
                         T, B);
    }
    *tokens = (golden_tokens){.T = T, .B = B, .S = T / B, .n = T};
    dsv4_status status = golden_need_if_given(in, want, N_IN, data, &none, err);
    if (status == DSV4_OK && data[KV_SEQ_LENS] == NULL) {
        status = golden_need(in, &want[POSITION_IDS], 1, &data[POSITION_IDS], &none, err);
    }
    if (status == DSV4_OK) {
        status = alloc_tokens(tokens, memory, err);
    }
    const int32_t *positions = data[POSITION_IDS], *lens = data[KV_SEQ_LENS];
    const int64_t S = tokens->S;
    for (int64_t b = 0; status == DSV4_OK && b < B; b++) {
        if (positions != NULL) {
            status = golden_check_positions(positions + b * S, b, S, err);
        } else if (lens[b] < S) {
            status = dsv4_fail(err, DSV4_E_VALUE,
                               "input kv_seq_lens: request %" PRId64 ": got %" PRId32 ", expected at least its %" PRId64 " tokens",
                               b, lens[b], S);
        }
        if (status == DSV4_OK) {
            status = place_request(tokens, b, S, positions != NULL ? positions[b * S] : lens[b] - S, n_positions, lens, err);
        }
    }
    return status;
}

dsv4_status golden_find_num_tokens(const dsv4_tensor_list *in, int64_t T, int64_t *n, dsv4_error *err)
{
    const golden_tensor want = {"num_tokens", DSV4_I32, 0, {0}};
    const void *data;
    golden_extents none = {0};
    const dsv4_status status = golden_need_if_given(in, &want, 1, &data, &none, err);
    if (status != DSV4_OK || data == NULL) {
        *n = T;
        return status;
    }
    *n = *(const int32_t *)data;
    return golden_check_num_tokens((int32_t)*n, T, err);
}

dsv4_status golden_tokens_prefill(const dsv4_tensor_list *in, int64_t T, int64_t n_positions, arena *memory, golden_tokens *tokens,
                                  dsv4_error *err)
{
    const golden_tensor want = {"position_ids", DSV4_I32, 1, {T}};
    const void *data;
    golden_extents none = {0};
    *tokens = (golden_tokens){.prefill = true, .T = T, .B = 1, .S = T};
    dsv4_status status = golden_find_num_tokens(in, T, &tokens->n, err);
    if (status == DSV4_OK) {
        status = golden_need(in, &want, 1, &data, &none, err);
    }
    if (status == DSV4_OK) {
        status = golden_check_positions(data, 0, tokens->n, err);
    }
    if (status == DSV4_OK) {
        status = alloc_tokens(tokens, memory, err);
    }
    if (status == DSV4_OK && tokens->n > 0) {
        status = place_request(tokens, 0, tokens->n, *(const int32_t *)data, n_positions, NULL, err);
    }
    return status;
}

/* The logical row, or -1. */
static int64_t slot_row(golden_slot_kind kind, int64_t length, int64_t p)
{
    switch (kind) {
    case GOLDEN_SLOT_STATE:
        return p;
    case GOLDEN_SLOT_WINDOW:
        return (p + 1) % length == 0 ? p / length : -1;
    case GOLDEN_SLOT_RING:
        return p % length;
    }
    return -1;
}

static dsv4_status derive_slots(const golden_tokens *tokens, golden_slot_kind kind, int64_t length, const golden_pages *pages,
                                int64_t *slots, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t t = 0; t < tokens->T; t++) {
        const int64_t b = t / tokens->S, row = t < tokens->n ? slot_row(kind, length, tokens->positions[t]) : -1;
        const bool in_table = row >= 0 && row / pages->page_rows < pages->n_entries;
        const bool absent = in_table && tokens->prefill && kind == GOLDEN_SLOT_STATE &&
                            pages->table[b * pages->n_entries + row / pages->page_rows] == -1;
        if (row >= 0 && !absent) {
            status = golden_check_pages(pages, b, row, row, err);
        }
        if (status != DSV4_OK) {
            return status;
        }
        slots[t] = golden_flat_row(pages, b, row);
    }
    return status;
}

dsv4_status golden_find_slots(const golden_tokens *tokens, const dsv4_tensor_list *in, const char *name, golden_slot_kind kind,
                              int64_t length, const golden_pages *pages, arena *memory, const int64_t **slots, dsv4_error *err)
{
    const golden_tensor want = {name, DSV4_I64, 1, {tokens->T}};
    const void *data;
    golden_extents none = {0};
    const dsv4_status status = golden_need_if_given(in, &want, 1, &data, &none, err);
    if (status != DSV4_OK || data != NULL) {
        *slots = data;
        return status;
    }
    int64_t *derived = arena_alloc(memory, (size_t)tokens->T * sizeof *derived);
    if (derived == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %" PRId64 " tokens", name, tokens->T);
    }
    *slots = derived;
    return derive_slots(tokens, kind, length, pages, derived, err);
}
