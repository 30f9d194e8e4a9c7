/* model/step/attention.h - the attention of one block of a whole-model step (SPEC 2.2, 4, 5, 9.2), for rows of any sequences.
 *
 * MATH     qr = RMS(x wq_a) q_norm;  q = qr wq_b, per head over its RMS, rotated;  kv = RMS(x wkv) kv_norm, rotated, [rounded]
 *          keys of a token at position p: window rows p-W+1 .. p, then compressed rows: none (ratio 0), the best of the indexer
 *          (ratio 4), all of past tokens (ratio 128)
 *          o = sum softmax(q . keys hd^-1/2, with exp(sink) in the denominator) keys, rotated back;  y = (o wo_a by groups) wo_b
 * FILES    qkv.c queries and window rows; compress.c rows of the compressed caches; index.c which of them a token sees; attend.c
 *          the sums over keys; attention.c puts them together
 * ORDER    Window and compressed caches are read and written by rows known only when the step runs. A token waits for the compressed
 *          rows of the tokens up to it (op_matrix done); the rings are written behind all that read them. */
#ifndef MODEL_STEP_ATTENTION_H
#define MODEL_STEP_ATTENTION_H

#include "model/step/linear.h"
#include "model/step/rope.h"

/* Adds all stages. x [T, D] is normalised; the result [T, D] is that of wo_b. */
step_product step_attention_add(const step *s, int block, const model_block_weights *w, step_matrix x);

/* ---- its parts, internal to attention.c and the files it names ------------------------------------------------------------ */

enum { STEP_DONE_TOKENS = 4 }; /* tokens of a row of a done matrix */

typedef struct step_qkv {
    step_operand x;       /* for weights that are stored in FP8 */
    step_operand x_plain; /* for BF16 weights; ratio > 0 */
    step_operand qr;
    step_matrix q, kv; /* [T, H*hd], [T, hd] */
} step_qkv;

step_qkv step_qkv_add(const step *s, int ratio, const model_block_weights *w, step_matrix x);

/* A compressor. done: I8 [ceil(T / STEP_DONE_TOKENS), 1], row i is written once the cache holds what ends at the tokens of row i. */
typedef struct step_compress {
    const char *name;
    int block, ratio;
    bool is_index; /* the indexer's: Hadamard product and e2m1 */
    const model_compressor_weights *w;
} step_compress;

op_matrix step_compress_add(const step *s, const step_compress *a, const step_operand *x);

/* x H, H the Hadamard matrix over sqrt(n); rounded to BF16 and to e2m1 as the numerics say. n: a power of two. */
void step_index_round(const step *s, int64_t n, float *x);

/* Which compressed rows a token sees: I32 [T, columns], ascending, and how many. */
typedef struct step_chosen {
    op_matrix rows, count; /* I32 [T, columns], [T, 1] */
} step_chosen;

step_chosen step_index_add(const step *s, int block, const model_block_weights *w, const step_qkv *qkv, op_matrix done);

/* The sums over keys: [T, H*hd]. chosen: ratio 4; done: ratio > 0. Stores the window rows as well. */
step_matrix step_attend_add(const step *s, int block, const model_block_weights *w, const step_qkv *qkv, const step_chosen *chosen,
                            op_matrix done);

/* Rows of done that a token at row t waits for. */
static inline void step_done_reads(dsv4_describe *d, const op_matrix *done, int64_t t)
{
    if (done->data != NULL) {
        dsv4_reads(d, done->view, 0, t / STEP_DONE_TOKENS + 1, 0, 1);
    }
}

/* Compressed rows that a sequence can have at most. */
static inline int64_t step_max_entries(const step *s, int ratio)
{
    return ratio == 0 ? 0 : s->context / ratio;
}

#endif
