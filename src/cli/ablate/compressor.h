/* cli/ablate/compressor.h - the graph of prefill_indexer_compressor, its pool over a scan of the chunk or over the state.
 *
 * A WINDOW ends at a token with a cache slot; its ENTRIES are the 4 positions before it, first half of the columns, and its own 4,
 * second half. */
#ifndef CLI_ABLATE_COMPRESSOR_H
#define CLI_ABLATE_COMPRESSOR_H

#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"

typedef struct compressor_choice {
    bool scans;   /* pool: state rows, then over them the tokens that a scan of the chunk finds; the state is written last */
    bool carries; /* what is written to the state carries a pooled row times zero: an edge for a tracker of reads after writes */
} compressor_choice;

enum {
    COMPRESSOR_RATIO = 4,
    COMPRESSOR_SPAN = 2 * COMPRESSOR_RATIO, /* entries of a window */
    COMPRESSOR_SCAN_OPS = 4,                /* for a token: a load, three comparisons */
    COMPRESSOR_CHANNELS = 32,               /* of a pool block */
    COMPRESSOR_OUT_TILE = 64                /* columns of a projection block, of a block that writes a state row */
};

/* ---- the step --------------------------------------------------------------------------------------------------------------- */

/* From the inputs. */
typedef struct compressor_chunk {
    const int32_t *positions, *table;
    const int64_t *cache_slots, *state_slots; /* by token; -1: none */
    int64_t T, n, page, n_pages, width;
} compressor_chunk;

/* The state row of an entry and its token, -1 without; its columns start at col. */
typedef struct compressor_entry {
    int64_t row, token, col;
} compressor_entry;

compressor_chunk compressor_chunk_of(const ablate_case *c);

/* Refuses a valid token without a state row, or with another than its position's. */
DSV4_MUST_CHECK dsv4_status compressor_check(const ablate_case *c, dsv4_error *err);

int64_t compressor_n_windows(const compressor_chunk *k);
int64_t compressor_window_token(const compressor_chunk *k, int64_t i);                   /* the one that ends window i, or -1 */
compressor_entry compressor_entry_at(const compressor_chunk *k, int64_t end, int64_t e); /* of the window that ends at a position */

/* ---- work ------------------------------------------------------------------------------------------------------------------- */

/* What blocks do. A load is a row of one matrix, or the integers that a block reads of one list. */
typedef struct compressor_work {
    int64_t tokens; /* looked at */
    int64_t loads, vector_ops;
} compressor_work;

/* Of a block: so many channels of a window; so many columns of a token. */
compressor_work compressor_pool_block(const compressor_chunk *k, const compressor_choice *x, int64_t window, int64_t channels);
compressor_work compressor_state_block(const compressor_choice *x, int64_t cols);

/* Of all blocks. */
compressor_work compressor_pool_work(const ablate_case *c, const compressor_choice *x);
compressor_work compressor_state_work(const ablate_case *c, const compressor_choice *x);

/* ---- graph ------------------------------------------------------------------------------------------------------------------ */

/* choice: a compressor_choice. */
void compressor_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice);

#endif
