/* ops/attend.h - sparse attention over gathered rows and its grouped output projection, as stages (SPEC 5). Operators of its own,
 * and a part of the attention layers.
 *
 * KEYS      a token's keys are CODES in list order, cut into blocks of attn_tile slots: -1 is no key; a code below ring.rows a row
 *           of the ring; below ring.rows + overlay.rows a row of the overlay (the keys of this step); else a row of the compressed
 *           cache. Codes are in range when they are read.
 * OUTPUT    per group g: proj_a[g] -> quant[g] -> proj_b[g], which adds its dequantised product to the FP32 row sums in group
 *           order; so the partial sums take T*D floats, and group g's proj_b overlaps proj_a of later groups. */
#ifndef OPS_ATTEND_H
#define OPS_ATTEND_H

#include "ops/project.h"
#include "ops/turn.h"

typedef struct op_attend {
    int64_t tokens_per_request;          /* prefill: T */
    op_matrix q;                         /* BF16 [T, H*hd] */
    op_matrix ring, overlay, compressed; /* BF16 [rows, hd]; compressed may have no rows */
    op_matrix keys;                      /* I32 [T, slots], slots a multiple of attn_tile */
    /* I8 [windows, 1]: op_compressed.done of the compressor that writes `compressed` in this step, as many for each request; no
     * data: none. fresh_ratio 0: a token may have any of its request as a key; else those that end at it or before, and window i
     * ends at token i*fresh_ratio or later. */
    op_matrix fresh;
    int64_t fresh_ratio;
    /* I8 [n_requests, 1]: read together with the ring, so that who writes row b later waits; no data: nobody. */
    op_matrix ring_reads;
    op_matrix sink;       /* FP32 [1, H] */
    op_turns turns;       /* of the inverse rotation */
    op_matrix turn_rows;  /* I32 [1, T]: row of turns for each token, in range when it is read; no data: token t has row t */
    dsv4_tensor wo_a;     /* BF16 [G, OL, GI] */
    dsv4_tensor wo_b;     /* I8 [D, G*OL] */
    op_matrix wo_b_scale; /* FP32 [1, D] */
    op_matrix attn_out;   /* BF16 [T, D] */
    struct op_attend_tiles {
        int64_t head_group; /* heads of an attention block, divides H */
        int64_t key_blocks; /* key blocks of an attention block; fewer than a list has: partials are merged by a stage of its own */
        int64_t t_tile, a_n_tile, a_k_split, b_n_tile, norm_t_tile; /* of proj_a, proj_b; of the quantising stage */
    } tiles;
} op_attend;

/* Adds the stages: attn.core, [attn.merge] and those of op_out_proj_add. */
void op_attend_add(const op_context *c, const op_attend *a);

/* Raw lists -> codes, as a stage (SPEC 5.3, 5.4). */
typedef enum op_list_form {
    OP_LIST_CSA,    /* decode: slots in list order */
    OP_LIST_HCA,    /* decode: likewise; slot k < W is ring row k or a hole */
    OP_LIST_SWA,    /* decode: a set: slot r is ring row r; from the next block on, slot o is token o of the request's step */
    OP_LIST_PREFILL /* ignored slots are removed before the list is cut into blocks */
} op_list_form;

typedef struct op_key_lists {
    op_list_form form;
    int64_t tokens_per_request;
    op_matrix raw;      /* I32 [T, width]: -1, ring r < W, overlay W + o, compressed W + S + c (prefill: W + T + c) */
    op_matrix win_bias; /* FP32 [T, op_win_bias_cols]: SWA: must describe the set of raw; no data: not checked */
    op_matrix lens;     /* I32 [1, T]: prefill: slots that count; no data: all */
    int64_t max_len;    /* prefill: slots that count at most */
    op_matrix n_tokens; /* I32 [1, 1]: prefill: valid tokens; no data: all */
    op_matrix ring_table, compressed_table; /* I32 [n_requests, pages of a request]; no data: no compressed rows */
    const char *ring_table_name;            /* in messages */
    int64_t page;                           /* rows of a page of ring and compressed cache */
    op_matrix ring, overlay, compressed;    /* as in op_attend */
} op_key_lists;

/* Columns of win_bias: ring row r, then from the next block on the T tokens of the step, in whole blocks. 0 where the column is a
 * key of the token, -1e20 or less where it is none. */
int64_t op_win_bias_cols(int64_t window, int64_t T, int64_t attn_tile);

/* SPEC 5.4: min(padded, W+KT), padded = W + min(KT, prefill_max_compressed) in whole blocks. */
int64_t op_prefill_max_len(const dsv4_config *config);

/* Adds the stages attn.keys (checks the lists; a block that refuses leaves its tokens without keys), attn.keys_verdict and
 * returns the codes, I32 [T, slots]. */
op_matrix op_key_lists_add(const op_context *c, const op_key_lists *a);

#endif
