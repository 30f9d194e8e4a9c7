/* cli/ablate/alias.h - the graph of decode_indexer without its compressor: the index cache stands.
 *
 *   alias_graph.c     matrices, queries, weights of heads, the graph      alias_rotation.c   the loop over groups of tokens
 *   alias_scores.c    keys, scores, choice                                alias_reference.c  the same in plain loops */
#ifndef CLI_ABLATE_ALIAS_H
#define CLI_ABLATE_ALIAS_H

#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"

typedef struct alias_choice {
    bool aliased;                    /* rotated elements go back into the tensor that the loop reads */
    bool by_tensor;                  /* that tensor is tracked as a whole */
    int64_t rope_group, quant_group; /* tokens of a task */
    int64_t score_group;             /* requests of a task */
} alias_choice;

enum { ALIAS_KEYS = 32 /* of a tile of the cache */, ALIAS_RATIO = 4 /* tokens to a key */ };

/* Heads are rows: token t, head h is row t*IH + h. In memory of the graph. */
typedef struct alias_indexer {
    op_matrix x, qr, qr_scale, wq_b, wq_b_scale, weights_proj, cos, sin, hadamard, cache;
    op_matrix score, topk;                    /* outputs [T, SL] */
    op_matrix sums, q, heads;                 /* I32 [T, IH*ID]; BF16 the same, and as rows of heads [T*IH, ID] */
    op_matrix apart, turned, together, fresh; /* F32, BF16 [T*IH, R], even elements first; F32, BF16 [T*IH, R] in order */
    op_matrix takes_apart, puts_together;     /* F32 [R, R] */
    op_matrix handle;                         /* [1, 1]: stands for heads */
    op_matrix product, q_i8, q_scale;         /* F32, I8 [T*IH, ID]; F32 [T*IH, 1] */
    op_matrix weights_sums, weights;          /* F32 [T, IH] */
    op_matrix keys, key_scale, dots; /* I8 [B, tiles*ALIAS_KEYS*ID]; F32 [B, tiles*ALIAS_KEYS]; I32 [B, tiles*ALIAS_KEYS*S*IH] */
    const int32_t *table;            /* [B, pages] */
    int64_t B, S, T, IH, ID, R, page, pages, n_keys, n_tiles, k, offset;
    alias_choice choice;
} alias_indexer;

/* Score of what is no key. */
static const float alias_no_score = -3.4028234663852886e38f;

/* Key i of a request; NULL behind the last. */
static inline const uint16_t *alias_key_at(const alias_indexer *o, int64_t request, int64_t i)
{
    return i >= o->n_keys ? NULL : ablate_bf16(&o->cache, o->table[request * o->pages + i / o->page] * o->page + i % o->page, 0);
}

/* The inputs of c and the dimensions; views of them belong to ctx->g. */
void alias_set_inputs(alias_indexer *o, const ablate_case *c, const op_context *ctx);

/* Rotation, Hadamard product and quantising of query heads. */
void alias_add_heads(const op_context *ctx, const alias_indexer *o);

/* Keys quantised, their scores for every token; the tokens' choice among them. */
void alias_add_scores(const op_context *ctx, const alias_indexer *o);
void alias_add_topk(const op_context *ctx, const alias_indexer *o);

/* choice: an alias_choice. */
void alias_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice);

/* c->expected, from c->inputs. */
DSV4_MUST_CHECK dsv4_status alias_expect(ablate_case *c, dsv4_error *err);

#endif
