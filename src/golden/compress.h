/* golden/compress.h - what compressors of decode and of prefill share. Internal to compress*.c. */
#ifndef GOLDEN_COMPRESS_H
#define GOLDEN_COMPRESS_H

#include "golden/parts.h"

/* Scratch of one compressor call. */
typedef struct compress_scratch {
    arena memory;
    float *kv, *score;       /* [n_tokens, OUT] */
    golden_pool_row *rows;   /* [2 * ratio] */
    float *zeros, *no_score; /* [hd]: the values of a row that is not there */
    float *y;                /* [hd] */
    uint16_t *rounded;       /* [hd] */
    float *cos, *sin;        /* [R/2] */
} compress_scratch;

/* Fails without memory. compress_scratch_deinit ends it in either case. */
DSV4_MUST_CHECK dsv4_status compress_scratch_init(const golden_compressor *c, int64_t n_tokens, compress_scratch *scratch,
                                                  dsv4_error *err);
void compress_scratch_deinit(compress_scratch *scratch);

/* Windows overlap: a pooled row takes the window before as well, from other columns. */
bool compress_overlaps(const golden_compressor *c);

/* s->kv = projections of x[n_tokens, D], s->score = projections + ape of the tokens' positions. */
void compress_project(const golden_compressor *c, const uint16_t *x, const int32_t *position_ids, int64_t n_tokens,
                      compress_scratch *s, progress *p);

/* State row <- kv and score of token i of the scratch. */
void compress_store(const golden_compressor *c, const compress_scratch *s, int64_t i, const golden_state *state, int64_t row);

/* s->y = the row of n pooled rows, finished: norm, rotation by s->cos and s->sin, product with the Hadamard matrix. */
void compress_finish(const golden_compressor *c, int64_t n, compress_scratch *s);

#endif
