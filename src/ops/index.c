/* ops/index.c - the learned indexer: which compressed rows a token attends to (SPEC 3.2, 4.4).
 *
 * MATH      q = float(qr wq_b) * qr_scale * wq_b_scale;  per head: q = bf(rotate(q)) hadamard;  (qi, qs) = Q8(q)
 *           w = (x weights_proj) * (ID^-1/2 * IH^-1/2);  (ki, ks) = Q8(cache row), or as the cache holds them
 *           score[t,c] = sum_h max((float(qi[t,h] . ki[c]) * qs[t,h]) * ks[c], 0) * w[t,h]   for the rows c that token t sees
 *           topk[t,:] = offset + the index_topk rows of largest score, descending, of equal ones the smaller row first
 * SHAPES    x bf16[T,D]  qr i8[T,QL]  qr_scale f32[T,1]  wq_b i8[QL,IH*ID]  wq_b_scale f32[IH*ID]  weights_proj bf16[D,IH]
 *           hadamard bf16[ID,ID]  cache bf16 or i8[rows,ID]  table i32[requests,pages]  n_visible i32[1,T]
 *           ->  score f32[T,columns]  topk i32[T,columns]; scratch q bf16[T,IH*ID], turned f32[T*IH,ID],
 *           q_panels i8: per token its heads as the columns of a packed matrix, best i64[T, parts*index_topk]
 * STAGES    index.w_proj    [proj_t_tile x 32 x split]   x, weights_proj -> partial sums of w
 *           index.q_proj    [proj_t_tile x head_group]   qr, wq_b, scales, turns -> q      blocks share a tensor, no element
 *           index.q_tile    [rows]                       q as [T*IH, ID], as products take it
 *           index.hadamard  [64]                         q, hadamard -> turned
 *           index.q_quant   [1]                          turned -> q_panels, qs
 *           index.score     [t_tile x part]              q_panels, qs, w, cache rows -> score, best
 *           index.topk      [1]                          best of all parts -> topk
 *           A score block waits for its tokens' queries and for the cache rows that its own tokens make. It takes key_tile rows at
 *           a time, quantises them once for its tokens, and keeps index_topk of them per token: memory does not grow with context.
 * NUMERICS  f32; w summed in chunks of 512 (ops/chunk.h); the sum over heads is a lane sum (kernels.h); q rounded to bf16 before
 *           the Hadamard product; q and rows quantised by their own amax; INT8 products exact. Rows are chosen by one total order
 *           (topk.h), so neither parts nor tiles change a choice. */
#include "ops/index.h"

#include <math.h>

#include "ops/chunk.h"
#include "ops/index_stages.h"

enum { W_SPLIT = 4 }; /* blocks that share the sum over D where there are few tokens */

static void add_head_weights(const op_context *c, index_stages *o)
{
    op_weight w = op_weight_pack(c, "weights_proj", op_weight_of(&o->a.weights_proj));
    op_project_tiles tiles = {o->a.proj_t_tile, UK_PANEL, o->a.is_decode ? tile_min(W_SPLIT, op_chunks(o->a.x.cols)) : 1};
    o->w = op_project_bf16(c, "index.w_proj", o->a.x, w, tiles);
    o->w_scale = (float)(pow((double)o->ID, -0.5) * pow((double)o->IH, -0.5));
}

void op_index_add(const op_context *c, const op_index *a)
{
    index_stages *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (index_stages){.uk = c->uk, .a = *a, .T = a->n_requests * a->tokens_per_request};
    o->IH = c->dims.of[OP_IH];
    o->ID = c->dims.of[OP_ID];
    o->R = c->dims.of[OP_R];
    add_head_weights(c, o);
    index_add_query(c, o);
    index_add_score(c, o);
}
