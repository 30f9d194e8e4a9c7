/* golden/index_decode.c - scores and selected rows of a decode step (SPEC 3.2).
 *
 * MATH      n[b,s] = kv_seq_lens[b] / 4, and causal: at most (position + 1) / 4
 *           score[b,s,c] for c < n[b,s], no score beyond;  topk_idxs[b,s] = the min(KT, n[b,s]) best rows + offset, then -1 */
#include <inttypes.h>

#include "golden/index.h"

/* Rows that token s of request b sees. */
static int64_t visible_rows(const golden_index_step *step, int64_t b, int64_t s)
{
    const int64_t complete = step->kv_seq_lens[b] / INDEX_RATIO;
    const int64_t past = ((int64_t)step->position_ids[b * step->S + s] + 1) / INDEX_RATIO;
    return step->causal && past < complete ? past : complete;
}

dsv4_status golden_check_index_decode(const golden_index_step *step, dsv4_error *err)
{
    if (step->offset < 0 || step->offset > INT32_MAX - step->score_len) {
        return dsv4_fail(err, DSV4_E_VALUE, "input offset: got %" PRId32 ", expected 0 to %" PRId64, step->offset,
                         INT32_MAX - step->score_len);
    }
    for (int64_t b = 0; b < step->B; b++) {
        const int64_t n_rows = step->kv_seq_lens[b] / INDEX_RATIO;
        if (step->kv_seq_lens[b] < 0 || n_rows > step->score_len) {
            return dsv4_fail(err, DSV4_E_VALUE, "input kv_seq_lens: request %" PRId64 ": got %" PRId32 ", expected 0 to %" PRId64,
                             b, step->kv_seq_lens[b], step->score_len * INDEX_RATIO + INDEX_RATIO - 1);
        }
        const dsv4_status status = golden_check_pages(&step->pages, b, 0, n_rows - 1, err);
        if (status != DSV4_OK) {
            return status;
        }
    }
    return DSV4_OK;
}

static dsv4_status index_request(const golden_index *ix, const golden_index_step *step, int64_t b, index_scratch *scratch,
                                 dsv4_error *err)
{
    const int64_t n_keys = step->kv_seq_lens[b] / INDEX_RATIO;
    dsv4_status status = DSV4_OK;
    index_read_keys(&step->cache, &step->pages, b, n_keys, scratch);
    for (int64_t s = 0; s < step->S && status == DSV4_OK; s++) {
        const int64_t t = b * step->S + s, n_rows = visible_rows(step, b, s);
        float *score = step->score + t * step->score_len;
        index_score_token(ix, scratch, t, n_keys, n_rows, score);
        status = index_select(score, step->score_len, n_rows, step->topk, step->offset, step->topk_idxs + t * step->score_len,
                              step->score_len, err);
    }
    return status;
}

dsv4_status golden_index_decode(const golden_index *ix, const golden_index_step *step, progress *p, dsv4_error *err)
{
    int64_t most_keys = 0;
    index_scratch scratch;
    for (int64_t b = 0; b < step->B; b++) {
        const int64_t n_keys = step->kv_seq_lens[b] / INDEX_RATIO;
        most_keys = n_keys > most_keys ? n_keys : most_keys;
    }
    dsv4_status status = index_scratch_init(ix, most_keys, &scratch, p, err);
    for (int64_t b = 0; b < step->B && status == DSV4_OK; b++) {
        status = index_request(ix, step, b, &scratch, err);
        progress_report(p, (double)(b + 1) / (double)step->B);
    }
    index_scratch_deinit(&scratch);
    return status;
}
