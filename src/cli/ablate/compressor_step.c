/* cli/ablate/compressor_step.c - the step of prefill_indexer_compressor: its windows, and what blocks have to do for them. */
#include "cli/ablate/compressor.h"

/* ---- the chunk -------------------------------------------------------------------------------------------------------------- */

compressor_chunk compressor_chunk_of(const ablate_case *c)
{
    const dsv4_tensor *positions = ablate_input(c, "position_ids"), *table = ablate_input(c, "inner_compress_state_block_table");
    return (compressor_chunk){.positions = positions->data,
                              .table = table->data,
                              .cache_slots = ablate_input(c, "idx_slot_mapping")->data,
                              .state_slots = ablate_input(c, "inner_state_slot_mapping")->data,
                              .T = positions->shape[0],
                              .n = *(const int32_t *)ablate_input(c, "num_tokens")->data,
                              .page = ablate_input(c, "kv_state")->shape[1],
                              .n_pages = table->shape[0],
                              .width = c->config.index_head_dim};
}

/* The state row of a position, or -1. */
static int64_t row_of(const compressor_chunk *k, int64_t position)
{
    int64_t page = position / k->page;
    return position < 0 || page >= k->n_pages || k->table[page] < 0 ? -1 : k->table[page] * k->page + position % k->page;
}

int64_t compressor_n_windows(const compressor_chunk *k)
{
    return tile_count(k->T, COMPRESSOR_RATIO);
}

int64_t compressor_window_token(const compressor_chunk *k, int64_t i)
{
    for (int64_t t = 0; t < k->n; t++) {
        if (k->cache_slots[t] >= 0 && i-- == 0) {
            return t;
        }
    }
    return -1;
}

compressor_entry compressor_entry_at(const compressor_chunk *k, int64_t end, int64_t e)
{
    int64_t position = end + 1 - COMPRESSOR_SPAN + e, token = position - k->positions[0];
    if (position < 0) {
        return (compressor_entry){-1, -1, 0};
    }
    return (compressor_entry){row_of(k, position), token >= 0 && token < k->n ? token : -1, e < COMPRESSOR_RATIO ? 0 : k->width};
}

/* ---- work ------------------------------------------------------------------------------------------------------------------- */

enum { POOL_OPS = 30 }; /* for a channel of an entry: an exponential and the sums around it */

/* The pool's integers are the window's position and slot, and a page. An entry of the state is two rows; a token's is three, as the
 * bias comes to its score. */
compressor_work compressor_pool_block(const compressor_chunk *k, const compressor_choice *x, int64_t window, int64_t channels)
{
    int64_t token = compressor_window_token(k, window);
    compressor_work w = {.loads = token < 0 ? 1 : 3, .vector_ops = token < 0 ? 0 : POOL_OPS * COMPRESSOR_SPAN * channels};
    if (x->scans && token >= 0) {
        w.tokens = k->T;
        w.loads++;
        w.vector_ops += COMPRESSOR_SCAN_OPS * k->T;
    }
    for (int64_t e = 0; e < COMPRESSOR_SPAN && token >= 0; e++) {
        compressor_entry at = compressor_entry_at(k, k->positions[token], e);
        bool overlaid = x->scans && at.token >= 0;
        w.loads += (at.row >= 0 ? 2 : 0) + (overlaid ? 3 : 0);
        w.vector_ops += overlaid ? channels : 0;
    }
    return w;
}

/* Integers: slot and position. Rows: kv, score, bias. */
compressor_work compressor_state_block(const compressor_choice *x, int64_t cols)
{
    return (compressor_work){.loads = 5 + x->carries, .vector_ops = cols * (x->carries ? 4 : 1)};
}

/* ---- of the whole step ------------------------------------------------------------------------------------------------------ */

dsv4_status compressor_check(const ablate_case *c, dsv4_error *err)
{
    compressor_chunk k = compressor_chunk_of(c);
    for (int64_t t = 0; t < k.n; t++) {
        int64_t row = row_of(&k, k.positions[t]), slot = k.state_slots[t];
        if (slot < 0 || slot != row) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "inner_state_slot_mapping: token %lld at position %d: got state row %lld, expected %lld", (long long)t,
                             k.positions[t], (long long)slot, (long long)row);
        }
    }
    return DSV4_OK;
}

static void add_work(compressor_work *sum, compressor_work w)
{
    sum->tokens += w.tokens;
    sum->loads += w.loads;
    sum->vector_ops += w.vector_ops;
}

compressor_work compressor_pool_work(const ablate_case *c, const compressor_choice *x)
{
    compressor_chunk k = compressor_chunk_of(c);
    compressor_work sum = {0};
    for (int64_t window = 0; window < compressor_n_windows(&k); window++) {
        for (int64_t channel = 0; channel < k.width; channel += COMPRESSOR_CHANNELS) {
            add_work(&sum, compressor_pool_block(&k, x, window, tile_min(COMPRESSOR_CHANNELS, k.width - channel)));
        }
    }
    return sum;
}

compressor_work compressor_state_work(const ablate_case *c, const compressor_choice *x)
{
    compressor_chunk k = compressor_chunk_of(c);
    compressor_work sum = {0};
    for (int64_t t = 0; t < k.n; t++) {
        for (int64_t col = 0; col < 2 * k.width; col += COMPRESSOR_OUT_TILE) {
            add_work(&sum, compressor_state_block(x, tile_min(COMPRESSOR_OUT_TILE, 2 * k.width - col)));
        }
    }
    return sum;
}
