/* ops/index.h - the learned indexer as stages (SPEC 3.2, 4.4): which compressed rows a token attends to. Operators of its own, and
 * a part of the CSA attention layers.
 *
 * MATH      q = bf(rotate(dequant(qr wq_b))) hadamard, quantised per head; w = (x weights_proj) * (ID^-1/2 * IH^-1/2);
 *           score[t,c] = sum over heads of max(float(q_h . k_c) * qs_h * ks_c, 0) * w_h over the request's visible cache rows;
 *           the index_topk largest, descending, ties to the smaller row.
 * MEMORY    proportional to tokens and index_topk, not to the context: a block walks its share of the cache rows and keeps its best
 *           ones; a merge picks the best of all shares in one total order (score descending, row ascending), so no share changes a
 *           result. */
#ifndef OPS_INDEX_H
#define OPS_INDEX_H

#include "ops/project.h"
#include "ops/turn.h"

enum { OP_INDEX_RATIO = 4 }; /* tokens of a cache row */

typedef struct op_index {
    int64_t n_requests, tokens_per_request; /* tokens of a request share its table; prefill: 1, T */
    op_acts x, qr;                          /* BF16 [T, D]; I8 [T, QL] */
    op_matrix qr_scale;                     /* FP32 [T, 1] */
    dsv4_tensor wq_b;                       /* I8 [QL, IH*ID] */
    op_matrix wq_b_scale;                   /* FP32 [1, IH*ID] */
    dsv4_tensor weights_proj;               /* BF16 [D, IH] */
    dsv4_tensor hadamard;                   /* BF16 [ID, ID] */
    op_turns turns;
    op_matrix turn_rows;   /* I32 [1, T]: row of turns for each token, in range when it is read; no data: token t has row t */
    op_matrix cache;       /* [rows, ID]: BF16, quantised on read, or I8 where cache_scale has data */
    op_matrix cache_scale; /* FP32 [rows, 1] */
    int64_t page;          /* rows of a cache page */
    op_matrix table;       /* I32 [n_requests, pages of a request]; entries of visible rows are in range when they are read */
    op_matrix n_visible;   /* I32 [1, T]: rows that the token sees, in range when it is read; 0 for a token that is not valid */
    op_matrix fresh;       /* I8 [windows, 1]: op_compressed.done of the compressor that writes the cache in this step */
    bool is_decode;        /* fresh has a row per request; else window i ends at token i*OP_INDEX_RATIO or later */
    op_matrix offset;      /* I32 [1, 1]: added to the chosen rows */
    op_matrix score;       /* FP32 [T, columns]: all scores, -FLT_MAX beyond the visible; no data: not wanted */
    op_matrix topk;        /* I32 [T, columns]: chosen rows + offset, -1 behind them; at most index_topk of a row are chosen */
    int64_t t_tile, key_tile, key_parts; /* tokens of a block; rows scored at a time; shares of the rows */
    int64_t proj_t_tile, head_group;     /* rows of a block of the products; heads of a q_proj block */
} op_index;

/* Adds the stages: index.w_proj, .q_proj, .q_tile, .hadamard, .q_quant, .score (scores and keeps the best), .topk (merges).
 * turn_rows, table, n_visible and offset are written by stages added before, or constant. */
void op_index_add(const op_context *c, const op_index *a);

#endif
