/* ops/index_plan.h - the stage that checks what a step says about the index cache, for operators that run the indexer. */
#ifndef OPS_INDEX_PLAN_H
#define OPS_INDEX_PLAN_H

#include "ops/matrix.h"

typedef struct op_index_plan {
    bool is_decode, causal; /* causal: a decode token sees no row that later tokens of its step complete (SPEC 12.2) */
    int64_t n_requests, tokens_per_request; /* prefill: 1, T */
    op_matrix positions;                    /* I32 [1, T] */
    op_matrix lengths;                      /* I32 [1, n_requests]; decode */
    op_matrix n_tokens;                     /* I32 [1, 1]: valid tokens; prefill */
    op_matrix cache_slots;                  /* I64 [1, T]: cache row that a token completes, or -1 */
    op_matrix table;                        /* I32 [n_requests, pages of a request] */
    int64_t page, n_pages;                  /* rows of a cache page; pages of the cache */
    int64_t columns;                        /* of the scores: a request sees no more rows; at most those of its pages */
    op_matrix offset;                       /* I32 [1, 1]: added to the chosen rows */
} op_index_plan;

/* What op_index wants. */
typedef struct op_index_planned {
    op_matrix table;     /* I32 [n_requests, pages of a request]: entries of visible rows are pages of the cache, others are 0 */
    op_matrix n_visible; /* I32 [1, T] */
} op_index_planned;

/* Adds index.plan, one block: it refuses the step and lets no token see a row, or gives every token the rows that it sees: decode
 * lengths/4, causal also at most (position+1)/4; prefill (position+1)/4, at most `columns`, none for a token that is not valid.
 * Refused are positions that do not count up from 0 or more, lengths beyond the table or the columns, pages of visible rows that do
 * not exist, slots that are not the position's row, and pages that are written in one place and seen in another: the stages behind
 * it wait for the rows that their own request makes, no others. */
op_index_planned op_index_plan_add(const op_context *c, const op_index_plan *a);

#endif
