/* ops/step.h - the integers of a step of an attention layer: from pages and lengths to rows (SPEC 5.5, 8).
 *
 * One block checks everything that the caller says about the step - positions, lengths, page tables, slots - and writes safe rows
 * for all other stages; or it refuses the step, and there are no rows: nothing is written, nobody has keys. */
#ifndef OPS_STEP_H
#define OPS_STEP_H

#include "ops/matrix.h"

/* Pages of a cache that lies in rows of pages. */
typedef struct op_pages {
    const char *table_name;
    op_matrix table; /* I32 [n_requests, pages of a request] */
    int64_t page;    /* rows of a page */
    int64_t rows;    /* of all pages */
} op_pages;

/* Where a token's row goes. */
typedef enum op_slot_kind {
    OP_SLOT_STATE,  /* row of its position */
    OP_SLOT_WINDOW, /* row of its window, if the token ends one; all past windows are read, so each must have a page */
    OP_SLOT_RING    /* row of its position modulo the sliding window; in a long chunk the last token of a row keeps it */
} op_slot_kind;

typedef struct op_slots {
    op_slot_kind kind;
    int64_t ratio; /* tokens of a window */
    op_pages pages;
    const char *given_name; /* I64 [1, T]: -1: not written; else the row that position and pages give; no data: all are written */
    op_matrix given;
    op_matrix rows; /* I64 [1, T], set by op_step_add: row of each token, -1: none */
} op_slots;

enum { OP_MAX_SLOTS = 5 };

typedef struct op_step {
    bool is_decode;
    int64_t n_requests, tokens_per_request, ratio; /* ratio: 0, 4, 128 */
    op_matrix given_positions;                     /* I32 [1, T]; no data: they follow from the lengths */
    op_matrix given_lengths;  /* I32 [1, n_requests]: tokens behind the step; no data: they follow from the positions */
    op_matrix given_n_tokens; /* I32 [1, 1]: valid tokens; no data: all */
    int64_t max_position;     /* positions are below: rows of the rope tables */
    op_slots slots[OP_MAX_SLOTS];
    int n_slots;

    /* set by op_step_add */
    op_matrix positions;       /* I32 [1, T]: also the token's row of the rope tables; 0 for a token that is not valid */
    op_matrix n_tokens;        /* I32 [1, 1]; 0 for a refused step */
    op_matrix first_turn_rows; /* I32 [1, T]: the request's first position */
    op_matrix n_windows;       /* I32 [1, T]: past windows that the token sees: (pos+1)/ratio; 0 for a token that is not valid */
    op_matrix n_windows_end;   /* I32 [1, T]: past windows at the end of the step, of the request */
} op_step;

/* Adds the stage attention.plan and sets what it writes. */
void op_step_add(const op_context *c, op_step *s);

#endif
