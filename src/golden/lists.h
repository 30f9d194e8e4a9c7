/* golden/lists.h - the index lists of the attention compositions (SPEC 5.5), in the spaces of keys.h. Internal to golden/. */
#ifndef GOLDEN_LISTS_H
#define GOLDEN_LISTS_H

#include "golden/keys.h"
#include "golden/tokens.h"

/* The rows that an indexer chose: i32 [T, columns], as indices of the key space, -1 where there are none. */
typedef struct golden_chosen {
    const int32_t *indices;
    int64_t columns;
} golden_chosen;

/* Sliding window: a ring row each, or the token that is about to take its place. Width W. */
DSV4_MUST_CHECK dsv4_status golden_lists_swa(const golden_tokens *tokens, int64_t W, arena *memory, golden_lists *lists,
                                             dsv4_error *err);

/* The same, then of n_chosen rows those of ratio tokens that are complete at the token's position, a hole for each other. Width W +
 * n_chosen. */
DSV4_MUST_CHECK dsv4_status golden_lists_csa(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t n_chosen,
                                             const golden_chosen *chosen, arena *memory, golden_lists *lists, dsv4_error *err);

/* Ring rows that stay, the tokens up to the own one, then complete rows of ratio tokens, at most max_rows. Width W + S +
 * max_rows. */
DSV4_MUST_CHECK dsv4_status golden_lists_hca(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t max_rows, arena *memory,
                                             golden_lists *lists, dsv4_error *err);

/* A chunk: keys by ascending position, then rows of ratio tokens that are complete (none for ratio 0): all in ascending order, or
 * among the first max_rows of chosen in its order. Width W + max_rows. */
DSV4_MUST_CHECK dsv4_status golden_lists_prefill(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t max_rows,
                                                 const golden_chosen *chosen, arena *memory, golden_lists *lists, dsv4_error *err);

/* The complete rows of ratio tokens that the last tokens of the call see. */
int64_t golden_max_rows(const golden_tokens *tokens, int64_t ratio);

#endif
