/* golden/compress_prefill.c - a compressor in prefill: windows are pooled from the state before the chunk, overlaid by the chunk's
 * own tokens; then the tokens go to the state (SPEC 4.2).
 *
 * MATH      for every valid token with a cache slot, at position w:
 *           y = finish(pool of positions w-ratio+1..w, and with ratio 4, if w >= 7, also of w-7..w-4, columns of the first half)
 *           cache row <- y;  kv[i] = bf(y), the i-th of the chunk
 *           state row of token t <- [x wkv^T | x wgate^T + ape[pos % ratio]], for every valid t with a slot
 *           a position that neither chunk nor state has counts as kv 0, score 0 (no score with ratio 4) */
#include <inttypes.h>

#include "golden/compress.h"
#include "golden/primitives.h"

/* Entries of a table may be absent, but not lead elsewhere. */
static dsv4_status check_table(const golden_pages *pages, dsv4_error *err)
{
    for (int64_t i = 0; i < pages->n_entries; i++) {
        if (pages->table[i] < -1 || pages->table[i] >= pages->n_pages) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input %s: entry %" PRId64 ": got %" PRId32 ", expected -1 or a page from 0 to %" PRId64, pages->name,
                             i, pages->table[i], pages->n_pages - 1);
        }
    }
    return DSV4_OK;
}

/* A row is made where a window closes, and rotated as the window's first position, which the rope table has. */
static dsv4_status check_written(const golden_compressor *c, const golden_chunk *chunk, dsv4_error *err)
{
    for (int64_t t = 0; t < chunk->n; t++) {
        const int64_t next = (int64_t)chunk->position_ids[t] + 1;
        if (chunk->cache_slots[t] < 0) {
            continue;
        }
        if (next % c->ratio != 0) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input %s: token %" PRId64 ": got row %" PRId64 " at position %" PRId64
                             ", expected -1: no window of %" PRId64 " tokens ends here",
                             chunk->cache.slots_name, t, chunk->cache_slots[t], next - 1, c->ratio);
        }
        if (next - c->ratio >= chunk->n_positions) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "input position_ids: token %" PRId64 ": got %" PRId64 ", expected a window that starts below %" PRId64
                             ", the rows of freqs_cos",
                             t, next - 1, chunk->n_positions);
        }
    }
    return DSV4_OK;
}

dsv4_status golden_check_compress_prefill(const golden_compressor *c, const golden_chunk *chunk, dsv4_error *err)
{
    const golden_pages *pages = &chunk->state.pages;
    dsv4_status status = golden_check_positions(chunk->position_ids, 0, chunk->n, err);
    if (status == DSV4_OK) {
        status = check_table(pages, err);
    }
    if (status == DSV4_OK) {
        status = golden_check_slots(chunk->state.slots_name, chunk->state_slots, chunk->n, pages->n_pages * pages->page_rows, err);
    }
    if (status == DSV4_OK) {
        status = golden_check_slots(chunk->cache.slots_name, chunk->cache_slots, chunk->n, chunk->cache.n_rows, err);
    }
    return status == DSV4_OK ? check_written(c, chunk, err) : status;
}

/* Position p as a row of a window, columns from `column` on: the chunk's token, else the state's row, else the default. */
static golden_pool_row find_row(const golden_compressor *c, const golden_chunk *chunk, int64_t p, int64_t column,
                                const compress_scratch *s)
{
    const int64_t token = p - chunk->position_ids[0], width = golden_compressor_width(c);
    if (token >= 0 && token < chunk->n) {
        return (golden_pool_row){s->kv + token * width + column, s->score + token * width + column};
    }
    const int64_t row = p < chunk->n_positions ? golden_flat_row(&chunk->state.pages, 0, p) : -1;
    if (row >= 0) {
        const int64_t at = row * chunk->state.stride + column;
        return (golden_pool_row){chunk->state.kv + at, chunk->state.score + at};
    }
    return (golden_pool_row){s->zeros, compress_overlaps(c) ? s->no_score : s->zeros};
}

/* s->y <- the row of the window that ends at position w. */
static void pool_window(const golden_compressor *c, const golden_chunk *chunk, int64_t w, compress_scratch *s)
{
    const int64_t angle = (w + 1 - c->ratio) * c->R;
    int64_t n = 0;
    for (int64_t i = 0; i < c->ratio; i++) {
        s->rows[n++] = find_row(c, chunk, w - i, compress_overlaps(c) ? c->hd : 0, s);
    }
    if (compress_overlaps(c) && w >= 2 * c->ratio - 1) {
        for (int64_t i = c->ratio; i < 2 * c->ratio; i++) {
            s->rows[n++] = find_row(c, chunk, w - i, 0, s);
        }
    }
    golden_widen(chunk->freqs_cos + angle, c->R / 2, s->cos);
    golden_widen(chunk->freqs_sin + angle, c->R / 2, s->sin);
    compress_finish(c, n, s);
}

dsv4_status golden_compress_prefill(const golden_compressor *c, const golden_chunk *chunk, progress *p, dsv4_error *err)
{
    int64_t n_rows = 0;
    compress_scratch scratch;
    const dsv4_status status = compress_scratch_init(c, chunk->n, &scratch, err);
    if (status == DSV4_OK) {
        compress_project(c, chunk->x, chunk->position_ids, chunk->n, &scratch, p);
        for (int64_t t = 0; t < chunk->n; t++) {
            if (chunk->cache_slots[t] >= 0) {
                pool_window(c, chunk, chunk->position_ids[t], &scratch);
                if (chunk->kv != NULL) {
                    golden_round(scratch.y, c->hd, chunk->kv + n_rows++ * c->hd);
                }
                golden_cache_write(&chunk->cache, chunk->cache_slots[t], scratch.y);
            }
        }
        for (int64_t t = 0; t < chunk->n; t++) {
            if (chunk->state_slots[t] >= 0) {
                compress_store(c, &scratch, t, &chunk->state, chunk->state_slots[t]);
            }
        }
    }
    compress_scratch_deinit(&scratch);
    return status;
}
