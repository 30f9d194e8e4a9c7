/* golden/index.h - what the indexers of decode and of prefill share. Internal to index*.c. */
#ifndef GOLDEN_INDEX_H
#define GOLDEN_INDEX_H

#include "golden/parts.h"

/* Tokens of a compressed row. */
enum { INDEX_RATIO = 4 };

/* The queries of a call, and the keys of one request. */
typedef struct index_scratch {
    arena memory;
    int8_t *q;                     /* [T, IH, ID] */
    float *q_scale, *head_weights; /* [T, IH] */
    int8_t *keys;                  /* [ID, rows read] */
    float *key_scale;              /* [rows read] */
    int32_t *products;             /* of some columns with each head */
    int8_t *key;                   /* [ID] */
    float *values;                 /* [ID] */
} index_scratch;

/* Makes the queries, and room for n_rows keys. Fails without memory; index_scratch_deinit ends it in either case. */
DSV4_MUST_CHECK dsv4_status index_scratch_init(const golden_index *ix, int64_t n_rows, index_scratch *s, progress *p,
                                               dsv4_error *err);
void index_scratch_deinit(index_scratch *s);

/* s->keys, s->key_scale = the first n_rows logical rows of a request. */
void index_read_keys(const golden_cache *cache, const golden_pages *pages, int64_t request, int64_t n_rows, index_scratch *s);

/* score[n_rows] of token t with the first n_rows of the n_keys keys that were read. */
void index_score_token(const golden_index *ix, const index_scratch *s, int64_t t, int64_t n_keys, int64_t n_rows, float *score);

/* Row of the result: score beyond n_rows becomes GOLDEN_NO_SCORE, and topk_idxs holds the best min(k, n_rows) rows + offset,
 * then -1. */
DSV4_MUST_CHECK dsv4_status index_select(float *score, int64_t n_columns, int64_t n_rows, int64_t k, int32_t offset,
                                         int32_t *topk_idxs, int64_t n_topk_columns, dsv4_error *err);

#endif
