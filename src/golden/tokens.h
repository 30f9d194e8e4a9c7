/* golden/tokens.h - where the tokens of an attention call stand, and the rows that they write (SPEC 8 POS, "derived"). Internal to
 * golden/. */
#ifndef GOLDEN_TOKENS_H
#define GOLDEN_TOKENS_H

#include "golden/operators.h"
#include "golden/parts.h"

/* Decode: S tokens of each of B requests, all valid. Prefill: one request of S = T tokens, the first n valid. */
typedef struct golden_tokens {
    bool prefill;
    int64_t T, B, S, n;
    int32_t *positions;   /* [T], consecutive within a request; 0 beyond n */
    int32_t *kv_seq_lens; /* [B]: tokens of a request with those of the call */
} golden_tokens;

/* From position_ids i32[T], kv_seq_lens i32[B], or both if they agree. T is a multiple of B; positions are below n_positions. */
DSV4_MUST_CHECK dsv4_status golden_tokens_decode(const dsv4_tensor_list *in, int64_t B, int64_t T, int64_t n_positions,
                                                 arena *memory, golden_tokens *tokens, dsv4_error *err);

/* From position_ids i32[T] and num_tokens, which is T where it is missing. */
DSV4_MUST_CHECK dsv4_status golden_tokens_prefill(const dsv4_tensor_list *in, int64_t T, int64_t n_positions, arena *memory,
                                                  golden_tokens *tokens, dsv4_error *err);

/* num_tokens i32[], or T. */
DSV4_MUST_CHECK dsv4_status golden_find_num_tokens(const dsv4_tensor_list *in, int64_t T, int64_t *n, dsv4_error *err);

/* The logical row that the token at position p writes: p itself; p / length if p ends a window of length tokens, else none; p %
 * length. */
typedef enum golden_slot_kind { GOLDEN_SLOT_STATE, GOLDEN_SLOT_WINDOW, GOLDEN_SLOT_RING } golden_slot_kind;

/* slots[T]: the tensor `name` i64[T], or where it is missing the flat rows of the pages; -1 beyond n. A state row on an absent page
 * of a prefill is -1, any other row must exist. */
DSV4_MUST_CHECK dsv4_status golden_find_slots(const golden_tokens *tokens, const dsv4_tensor_list *in, const char *name,
                                              golden_slot_kind kind, int64_t length, const golden_pages *pages, arena *memory,
                                              const int64_t **slots, dsv4_error *err);

#endif
