/* golden/keys.h - what the entries of an index list name: rows of paged caches and of the step's own keys (SPEC 5.3, 5.4).
 * Internal to golden/. */
#ifndef GOLDEN_KEYS_H
#define GOLDEN_KEYS_H

#include "golden/attention.h"
#include "golden/operators.h"
#include "golden/parts.h"

/* A cache bf16 [pages, page, 1, hd] and its table. */
typedef struct golden_paged {
    golden_pages pages;
    const uint16_t *rows;
    int64_t hd;
} golden_paged;

/* The names of both tensors and the codes of their extents; the table is i32 [B, entries], or [entries] of one request. */
typedef struct golden_paged_names {
    const char *rows, *table;
    int64_t n_pages, page_rows, n_entries;
} golden_paged_names;

DSV4_MUST_CHECK dsv4_status golden_paged_bind(golden_paged *cache, const dsv4_tensor_list *in, const golden_paged_names *names,
                                              bool one_request, int64_t hd, golden_extents *extents, dsv4_error *err);

/* The space that an index lives in, for B requests of S tokens:
 *   -1            no key
 *   0 .. W-1      row of the ring
 *   W .. W+S-1    token index - W of the step of the same request
 *   W+S ..        compressed row index - W - S
 * A prefill chunk is one request of T tokens, of which n_tokens are valid; it ignores an index of a given list that names a token
 * beyond them or a compressed row beyond the table. Otherwise an index that names no row is refused. */
typedef struct golden_key_space {
    int64_t B, S, W;
    golden_paged ring, compressed; /* compressed.pages.n_entries is 0 where there are no compressed rows */
    const uint16_t *overlay;       /* bf16 [B*S, hd] */
    bool prefill;
    int64_t n_tokens; /* prefill */
} golden_key_space;

/* An index list per token: i32 [B*S, width], of which lens[t] entries count in prefill, all in decode. */
typedef struct golden_lists {
    const char *name; /* of the tensor; NULL: not given but built */
    int64_t width;
    const int32_t *indices, *lens; /* lens may lie outside 0 .. width: prefill clamps them */
} golden_lists;

/* Slots in list order, holes masked: an index that occurs twice counts twice. */
DSV4_MUST_CHECK dsv4_status golden_keys_decode(const golden_key_space *space, const golden_lists *lists, arena *memory,
                                               golden_keys *keys, dsv4_error *err);

/* Slot r is ring row r, then from the next block on the request's own tokens: an index that occurs twice counts once. */
DSV4_MUST_CHECK dsv4_status golden_keys_swa(const golden_key_space *space, const golden_lists *lists, int64_t tile, arena *memory,
                                            golden_keys *keys, dsv4_error *err);

/* Slots in list order without those that name no key; of a list at most max_slots count. Tokens from n_tokens on have none. */
DSV4_MUST_CHECK dsv4_status golden_keys_prefill(const golden_key_space *space, const golden_lists *lists, int64_t max_slots,
                                                arena *memory, golden_keys *keys, dsv4_error *err);

/* Slots of a prefill list that count at most: min(padded, W+KT) with padded = W + min(KT, prefill_max_compressed) up to whole
 * tiles. */
int64_t golden_prefill_slots(const dsv4_config *config);

#endif
