/* golden/compress_decode.c - a compressor in decode: all tokens go to the state, then a window that closes is pooled from it
 * (SPEC 4.1).
 *
 * MATH      state row of (b, s) <- [x wkv^T | x wgate^T + ape[pos % ratio]], for every s with a slot
 *           e = last position of the window of the request's first token; if it is in this step:
 *           y = finish(pool of positions e-ratio+1..e, and with ratio 4 also of e-2 ratio+1..e-ratio, columns of the first half)
 *           kv[b,0] = y;  the cache row of e's token <- y */
#include <inttypes.h>
#include <string.h>

#include "golden/compress.h"

/* Last position of the window that contains a request's first token. */
static int64_t window_end(const golden_compressor *c, const golden_decode_step *step, int64_t request)
{
    const int64_t first = step->position_ids[request * step->S];
    return first + c->ratio - 1 - first % c->ratio;
}

static bool window_closes(const golden_compressor *c, const golden_decode_step *step, int64_t request)
{
    return window_end(c, step, request) < (int64_t)step->position_ids[request * step->S] + step->S;
}

dsv4_status golden_check_compress_decode(const golden_compressor *c, const golden_decode_step *step, dsv4_error *err)
{
    const golden_pages *pages = &step->state.pages;
    const int64_t n_tokens = step->B * step->S;
    if (step->S > c->ratio) {
        return dsv4_fail(err, DSV4_E_SHAPE,
                         "input position_ids: got %" PRId64 " tokens per request, expected at most the ratio %" PRId64, step->S,
                         c->ratio);
    }
    dsv4_status status =
        golden_check_slots(step->state.slots_name, step->state_slots, n_tokens, pages->n_pages * pages->page_rows, err);
    if (status == DSV4_OK) {
        status = golden_check_slots(step->cache.slots_name, step->cache_slots, n_tokens, step->cache.n_rows, err);
    }
    for (int64_t b = 0; b < step->B && status == DSV4_OK; b++) {
        status = golden_check_positions(step->position_ids + b * step->S, b, step->S, err);
        if (status == DSV4_OK && window_closes(c, step, b)) {
            const int64_t end = window_end(c, step, b);
            const int64_t first = end + 1 - (compress_overlaps(c) ? 2 : 1) * c->ratio;
            status = golden_check_pages(pages, b, first > 0 ? first : 0, end, err);
        }
    }
    return status;
}

static void store_request(const golden_compressor *c, const golden_decode_step *step, int64_t request, const compress_scratch *s)
{
    for (int64_t i = request * step->S; i < (request + 1) * step->S; i++) {
        if (step->state_slots[i] >= 0) {
            compress_store(c, s, i, &step->state, step->state_slots[i]);
        }
    }
}

/* s->rows <- positions [end - ratio + 1, end] of the state, columns from `column` on; -1 and below is not there. */
static void gather_window(const golden_compressor *c, const golden_state *state, int64_t request, int64_t end, int64_t column,
                          const compress_scratch *s, golden_pool_row *rows)
{
    for (int64_t i = 0; i < c->ratio; i++) {
        const int64_t row = golden_flat_row(&state->pages, request, end - c->ratio + 1 + i);
        const int64_t at = row * state->stride + column;
        rows[i] = row < 0 ? (golden_pool_row){s->zeros, s->no_score} : (golden_pool_row){state->kv + at, state->score + at};
    }
}

static void pool_request(const golden_compressor *c, const golden_decode_step *step, int64_t request, compress_scratch *s)
{
    const int64_t end = window_end(c, step, request), half = c->R / 2;
    int64_t n = c->ratio;
    if (compress_overlaps(c)) {
        gather_window(c, &step->state, request, end, c->hd, s, s->rows);
        gather_window(c, &step->state, request, end - c->ratio, 0, s, s->rows + n);
        n += c->ratio;
    } else {
        gather_window(c, &step->state, request, end, 0, s, s->rows);
    }
    memcpy(s->cos, step->cos + request * half, (size_t)half * sizeof(float));
    memcpy(s->sin, step->sin + request * half, (size_t)half * sizeof(float));
    compress_finish(c, n, s);

    const int64_t first = request * step->S;
    const int64_t slot = step->cache_slots[first + end - step->position_ids[first]];
    if (step->kv != NULL) {
        memcpy(step->kv + first * c->hd, s->y, (size_t)c->hd * sizeof(float));
    }
    if (slot >= 0) {
        golden_cache_write(&step->cache, slot, s->y);
    }
}

dsv4_status golden_compress_decode(const golden_compressor *c, const golden_decode_step *step, progress *p, dsv4_error *err)
{
    compress_scratch scratch;
    const dsv4_status status = compress_scratch_init(c, step->B * step->S, &scratch, err);
    if (status == DSV4_OK) {
        compress_project(c, step->x, step->position_ids, step->B * step->S, &scratch, p);
        for (int64_t b = 0; b < step->B; b++) {
            store_request(c, step, b, &scratch);
            if (window_closes(c, step, b)) {
                pool_request(c, step, b, &scratch);
            }
        }
    }
    compress_scratch_deinit(&scratch);
    return status;
}
