/* golden/parts.h - the pieces that references of several operators share, on plain pointers: compressors, the indexer,
 * hyper-connections. Internal to golden/.
 *
 * The check functions look at the integers that an operator is given (positions, slots, tables, lengths), and fail with a line that
 * names the tensor; after them the functions that compute cannot go out of bounds. Those fail without memory only. */
#ifndef GOLDEN_PARTS_H
#define GOLDEN_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/progress.h"
#include "dsv4/config.h"

/* The most negative finite FP32: no score (SPEC 0.2). */
#define GOLDEN_NO_SCORE (-3.4028234663852886e38f)

/* ---- paged memory: pages.c --------------------------------------------------------------------------------------------- */

/* A page table: logical row p of request b is flat row table[b, p / page_rows] * page_rows + p % page_rows. */
typedef struct golden_pages {
    const int32_t *table; /* [requests, n_entries] */
    int64_t n_entries, n_pages, page_rows;
    const char *name; /* of the tensor, for messages */
} golden_pages;

/* The flat row; -1 if p < 0, or beyond the table, or on a page -1. */
int64_t golden_flat_row(const golden_pages *pages, int64_t request, int64_t p);

/* The state of a compressor: flat row r holds OUT elements of kv at kv + r * stride and of score + ape at score + r * stride. */
typedef struct golden_state {
    float *kv, *score;
    int64_t stride;
    golden_pages pages;
    const char *slots_name; /* of the tensor that says where a token's row goes, for messages */
} golden_state;

/* A cache of n_rows compressed rows of `width` elements: BF16, or INT8 with a scale each (then bf16 is NULL). */
typedef struct golden_cache {
    uint16_t *bf16;
    int8_t *i8;
    float *scale;
    int64_t n_rows, width;
    const char *slots_name; /* of the tensor that says where new rows go, for messages */
} golden_cache;

/* Row <- bf(y), or Q8(bf(y)) and its scale; y may be rounded in place. */
void golden_cache_write(const golden_cache *cache, int64_t row, float *y);

/* q[width] and its returned scale: Q8 of a BF16 row, or an INT8 row as it is. values[width] is scratch. */
float golden_cache_read(const golden_cache *cache, int64_t row, float *values, int8_t *q);

/* ---- integers from outside: checks.c ----------------------------------------------------------------------------------- */

/* num_tokens, the valid prefix of a chunk, is in [0, n_tokens]. */
DSV4_MUST_CHECK dsv4_status golden_check_num_tokens(int32_t num_tokens, int64_t n_tokens, dsv4_error *err);

/* position_ids[n], those of one request, count up by one from a number >= 0. */
DSV4_MUST_CHECK dsv4_status golden_check_positions(const int32_t *position_ids, int64_t request, int64_t n, dsv4_error *err);

/* slots[n] are -1 or rows below n_rows, no row twice. */
DSV4_MUST_CHECK dsv4_status golden_check_slots(const char *name, const int64_t *slots, int64_t n, int64_t n_rows, dsv4_error *err);

/* Logical rows [first, last] of a request lie on pages that exist. */
DSV4_MUST_CHECK dsv4_status golden_check_pages(const golden_pages *pages, int64_t request, int64_t first, int64_t last,
                                               dsv4_error *err);

/* ---- compressors (SPEC 4): compress.c, compress_decode.c, compress_prefill.c ------------------------------------------- */

/* ratio consecutive tokens become one row of hd elements; with ratio 4 the windows overlap and a token's projections have
 * OUT = 2 hd elements, else OUT = hd. */
typedef struct golden_compressor {
    int64_t ratio, D, hd, R;
    float eps;
    const uint16_t *wkv, *wgate; /* [OUT, D] */
    const float *ape;            /* [ratio, OUT] */
    const uint16_t *norm_w;      /* [hd] */
    const uint16_t *hadamard;    /* [hd, hd], by which an indexer multiplies the finished row; else NULL */
} golden_compressor;

/* OUT. */
int64_t golden_compressor_width(const golden_compressor *c);

/* A decode step: S consecutive tokens of each of B requests. */
typedef struct golden_decode_step {
    int64_t B, S;
    const uint16_t *x;                        /* [B, S, D] */
    const int32_t *position_ids;              /* [B, S] */
    const int64_t *state_slots, *cache_slots; /* [B, S] */
    const float *cos, *sin;                   /* [B, R/2], of the window's first position */
    float *kv;                                /* [B, S, hd]: row [b, 0] receives the pooled row; or NULL */
    golden_state state;                       /* table [B, n_entries]; updated */
    golden_cache cache;                       /* updated */
} golden_decode_step;

DSV4_MUST_CHECK dsv4_status golden_check_compress_decode(const golden_compressor *c, const golden_decode_step *step,
                                                         dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_compress_decode(const golden_compressor *c, const golden_decode_step *step, progress *p,
                                                   dsv4_error *err);

/* A prefill chunk: the first n of T consecutive tokens of one request. */
typedef struct golden_chunk {
    int64_t T, n;
    const uint16_t *x;                        /* [T, D] */
    const int32_t *position_ids;              /* [T] */
    const int64_t *state_slots, *cache_slots; /* [T] */
    const uint16_t *freqs_cos, *freqs_sin;    /* [n_positions, R] */
    int64_t n_positions;
    uint16_t *kv;       /* [ceil(T/4), hd]: row i receives the i-th pooled row; or NULL */
    golden_state state; /* table [n_entries], -1: the page is absent; updated */
    golden_cache cache; /* updated */
} golden_chunk;

/* num_tokens is checked by golden_check_num_tokens before it becomes n. */
DSV4_MUST_CHECK dsv4_status golden_check_compress_prefill(const golden_compressor *c, const golden_chunk *chunk, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_compress_prefill(const golden_compressor *c, const golden_chunk *chunk, progress *p,
                                                    dsv4_error *err);

/* A row of a window: kv[hd] and score[hd]. */
typedef struct golden_pool_row {
    const float *kv, *score;
} golden_pool_row;

/* pooled[d] = sum_i kv_i[d] p_i[d], p = softmax of the scores over i; rows of score -inf or GOLDEN_NO_SCORE weigh nothing, and if
 * all are such, pooled[d] is 0. */
void golden_pool(const golden_pool_row *rows, int64_t n, int64_t hd, float *pooled);

/* ---- indexer (SPEC 3.2, 4.4): index.c, index_decode.c, index_prefill.c ------------------------------------------------- */

/* The queries of T tokens. */
typedef struct golden_index {
    int64_t T, D, QL, IH, ID, R;
    const uint16_t *x;            /* [T, D] */
    const int8_t *qr;             /* [T, QL] */
    const float *qr_scale;        /* [T] */
    const int8_t *wq_b;           /* [QL, IH * ID] */
    const float *wq_b_scale;      /* [IH * ID] */
    const uint16_t *weights_proj; /* [D, IH] */
    const uint16_t *hadamard;     /* [ID, ID] */
    const float *cos, *sin;       /* [ceil(T / tokens_per_angle), R/2]: row t / tokens_per_angle rotates token t */
    int64_t tokens_per_angle;
} golden_index;

/* A decode step after its compressor has run; token b * S + s of ix is token s of request b. */
typedef struct golden_index_step {
    int64_t B, S;
    const int32_t *position_ids; /* [B, S] */
    const int32_t *kv_seq_lens;  /* [B] */
    golden_pages pages;
    golden_cache cache;
    bool causal;    /* a token sees rows complete at its own position (SPEC 12.2) */
    int64_t topk;   /* KT */
    int32_t offset; /* added to the indices */
    int64_t score_len;
    float *score;       /* [B, S, score_len] */
    int32_t *topk_idxs; /* [B, S, score_len] */
} golden_index_step;

DSV4_MUST_CHECK dsv4_status golden_check_index_decode(const golden_index_step *step, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_index_decode(const golden_index *ix, const golden_index_step *step, progress *p,
                                                dsv4_error *err);

/* A prefill chunk after its compressor has run; CAP = rows of its page table. */
typedef struct golden_index_chunk {
    int64_t n;                   /* valid tokens of ix->T */
    const int32_t *position_ids; /* [T] */
    golden_pages pages;
    golden_cache cache;
    int64_t topk;
    int32_t offset;
    float *score;           /* [T, CAP] */
    int32_t *topk_idxs;     /* [T, n_topk_columns], -1 beyond the selected rows */
    int64_t n_topk_columns; /* KT, or CAP: min(KT, CAP) of them are used */
} golden_index_chunk;

DSV4_MUST_CHECK dsv4_status golden_check_index_prefill(const golden_index_chunk *chunk, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_index_prefill(const golden_index *ix, const golden_index_chunk *chunk, progress *p,
                                                 dsv4_error *err);

/* q i8[T, IH, ID] with scales q_scale[T, IH]. */
DSV4_MUST_CHECK dsv4_status golden_index_queries(const golden_index *ix, int8_t *q, float *q_scale, progress *p, dsv4_error *err);

/* head_weights[T, IH] = (x weights_proj) * (ID^(-1/2) IH^(-1/2)). */
void golden_index_head_weights(const golden_index *ix, float *head_weights);

/* indices[k]: the k largest of score[n] in descending order, equal scores by ascending index; k <= n. */
DSV4_MUST_CHECK dsv4_status golden_topk(const float *score, int64_t n, int64_t k, int32_t *indices, dsv4_error *err);

/* ---- hyper-connections (SPEC 6.1 to 6.3): hc.c ------------------------------------------------------------------------- */

enum { GOLDEN_MAX_STREAMS = 16 };

typedef struct golden_hc {
    int64_t M, D; /* M streams of D elements, M <= GOLDEN_MAX_STREAMS */
    float norm_eps, hc_eps;
    int64_t sinkhorn_iters;
    const float *fn;    /* [(2 + M) * M, M * D] */
    const float *scale; /* [3] */
    const float *base;  /* [(2 + M) * M] */
    bool ties_away;     /* bfA instead of bf (SPEC 12.5) */
} golden_hc;

/* From config and numerics; the caller sets fn, scale and base. Fails if hc_mult is out of range. */
DSV4_MUST_CHECK dsv4_status golden_hc_init(const dsv4_config *config, const dsv4_numerics *numerics, golden_hc *hc,
                                           dsv4_error *err);

/* x [T, M, D] -> x_mixed [T, D], post [T, M], comb [T, M * M]. */
DSV4_MUST_CHECK dsv4_status golden_mix_streams(const golden_hc *hc, int64_t T, const uint16_t *x, uint16_t *x_mixed, float *post,
                                               float *comb, progress *p, dsv4_error *err);

/* y[T, M, D]: y_j = bf(x post_j + sum_k residual_k comb[k][j]); x [T, D], residual [T, M, D]. */
void golden_spread_streams(int64_t T, int64_t M, int64_t D, const uint16_t *x, const uint16_t *residual, const float *post,
                           const float *comb, uint16_t *y, progress *p);

/* c[M, M]: n normalisations of its columns, with one of its rows between two of them (SPEC 6.1). */
void golden_sinkhorn(float *c, int64_t M, int64_t n, float eps);

#endif
