/* ops/compress.h - the KV compressor as stages (SPEC 4): operators of its own, a part of the indexer and of attention layers.
 *
 * MATH      per token: [kv | sc] = [x wkv^T | x wgate^T + ape[pos % ratio]] goes to the token's state row (scatter first); per
 *           window that ends in this step: softmax over the scores of its rows, weighted sum of their kv, RMS norm with gamma,
 *           rotation by the window's first position, [Hadamard product of the BF16-rounded row]; the row goes to the cache.
 * FORMS     decode: n_requests x tokens_per_request tokens, at most one window ends per request. prefill: one request, T tokens, of
 *           which n_tokens are valid.
 * CHECKS    A step is refused, and leaves state, cache and pooled rows as they were, unless
 *             - 0 <= n_tokens <= T, and the positions of a request start at 0 or more and count up by one;
 *             - slots are -1 or rows of the state and the cache, no row twice, a cache row only for a token that ends a window;
 *             - the table has a page for every position of a window (prefill: -1 is a page that is absent), the turns have its row;
 *             - decode: no request writes a row of another's window; prefill: I1 and I2 of SPEC 4.3. */
#ifndef OPS_COMPRESS_H
#define OPS_COMPRESS_H

#include "ops/project.h"
#include "ops/turn.h"

/* Which row of the turns rotates a pooled row. */
typedef enum op_turn_rule {
    OP_TURN_OF_REQUEST, /* row b */
    OP_TURN_OF_WINDOW,  /* row of the window's first position; the turns are a table that no stage writes */
    OP_TURN_OF_FIRST    /* row of the request's first position in this step (SPEC 12.1); likewise */
} op_turn_rule;

typedef struct op_compress {
    const char *name; /* of its stages: "compress", "index.compress"; kept with the graph */
    bool is_decode;
    int64_t ratio, width; /* 4 or 128; of a pooled row: head_dim or index_head_dim. OUT = 2*width for ratio 4, width for 128 */
    int64_t n_requests, tokens_per_request;
    op_acts x;                          /* BF16 [T, D] */
    dsv4_tensor wkv, wgate;             /* BF16 [OUT, D] */
    op_matrix ape, norm_w;              /* FP32 [ratio, OUT]; BF16 [1, width] */
    op_matrix kv_state, score_state;    /* FP32 [rows, OUT]; may be two column windows of one tensor */
    int64_t state_page;                 /* rows of a state page */
    op_matrix state_table;              /* I32 [n_requests, pages of a request] */
    op_matrix positions;                /* I32, T of them */
    op_matrix n_tokens;                 /* I32 [1, 1]; no data: all T are valid */
    op_matrix state_slots, cache_slots; /* I64, T of them */
    op_turns turns;
    op_turn_rule turn_rule;
    dsv4_tensor hadamard;  /* BF16 [width, width]; no data: none */
    op_matrix cache;       /* [rows, width]: BF16, or I8 where cache_scale has data */
    op_matrix cache_scale; /* FP32 [rows, 1] */
    /* Where pooled rows go besides: decode: FP32 [T, width], row b*S of request b; prefill: BF16 [rows, width], those that go to
     * the cache, in token order, as far as there are rows. No data: nowhere. */
    op_matrix pooled;
    op_project_tiles tiles; /* of the two projections */
} op_compress;

/* What other stages of the graph wait for. */
typedef struct op_compressed {
    /* I8 [windows, 1]: row i is written once the cache holds window i. decode: one per request; prefill: ceil(T/ratio), window i
     * ends at one of the tokens i*ratio .. i*ratio + ratio-1. */
    op_matrix done;
} op_compressed;

/* Fails where the dimensions do not fit each other: ratio, width, tokens, and the rope dimensions of the config. */
DSV4_MUST_CHECK dsv4_status op_compress_check(const op_context *c, const op_compress *a, dsv4_error *err);

/* Lives with the graph. */
typedef struct op_compress_plan op_compress_plan;

/* Adds the stage .plan (one block: checks the step, refuses it or resolves all rows). Whoever adds several stages that may refuse
 * adds them before those that write: a step refused by one of them then leaves everything as it was. NULL if the graph failed. */
op_compress_plan *op_compress_plan_add(const op_context *c, const op_compress *a);

/* Adds the stages .kv, .gate, .scatter, .pool, .finish of a plan. */
op_compressed op_compress_run_add(const op_context *c, const op_compress_plan *p);

/* Both. */
op_compressed op_compress_add(const op_context *c, const op_compress *a);

#endif
