/* golden/index_prefill.c - scores and selected rows of a prefill chunk (SPEC 4.4).
 *
 * MATH      n[t] = min((position + 1) / 4, CAP), and at most the largest n of a valid token
 *           score[t,c] for c < n[t], no score beyond;  valid t: topk_idxs[t] = the min(KT, n[t]) best rows + offset, then -1 */
#include <inttypes.h>

#include "golden/index.h"

/* CAP. */
static int64_t table_rows(const golden_index_chunk *chunk)
{
    return chunk->pages.n_entries * chunk->pages.page_rows;
}

/* Rows complete at a token's position. */
static int64_t complete_rows(const golden_index_chunk *chunk, int64_t t)
{
    const int64_t cap = table_rows(chunk), complete = ((int64_t)chunk->position_ids[t] + 1) / INDEX_RATIO;
    return complete < 0 ? 0 : complete < cap ? complete : cap;
}

/* Rows that some valid token sees: the valid tokens' positions ascend. */
static int64_t rows_read(const golden_index_chunk *chunk)
{
    return chunk->n == 0 ? 0 : complete_rows(chunk, chunk->n - 1);
}

dsv4_status golden_check_index_prefill(const golden_index_chunk *chunk, dsv4_error *err)
{
    const int64_t cap = table_rows(chunk);
    if (cap > INT32_MAX - chunk->offset) {
        return dsv4_fail(err, DSV4_E_SHAPE, "input %s: got %" PRId64 " rows, expected at most %" PRId32, chunk->pages.name, cap,
                         INT32_MAX - chunk->offset);
    }
    return golden_check_pages(&chunk->pages, 0, 0, rows_read(chunk) - 1, err);
}

dsv4_status golden_index_prefill(const golden_index *ix, const golden_index_chunk *chunk, progress *p, dsv4_error *err)
{
    const int64_t n_keys = rows_read(chunk), cap = table_rows(chunk);
    index_scratch scratch;
    dsv4_status status = index_scratch_init(ix, n_keys, &scratch, p, err);
    if (status == DSV4_OK) {
        index_read_keys(&chunk->cache, &chunk->pages, 0, n_keys, &scratch);
    }
    for (int64_t t = 0; t < ix->T && status == DSV4_OK; t++) {
        const int64_t complete = complete_rows(chunk, t), n_rows = complete < n_keys ? complete : n_keys;
        float *score = chunk->score + t * cap;
        index_score_token(ix, &scratch, t, n_keys, n_rows, score);
        status = index_select(score, cap, n_rows, t < chunk->n ? chunk->topk : 0, chunk->offset,
                              chunk->topk_idxs + t * chunk->n_topk_columns, chunk->n_topk_columns, err);
        progress_report(p, (double)t / (double)ix->T);
    }
    index_scratch_deinit(&scratch);
    return status;
}
