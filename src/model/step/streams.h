/* model/step/streams.h - hyper-connections of a whole-model step: M residual streams are mixed into one normalised row in front of a
 * branch (attention, experts), and the branch's result is spread over them behind it (SPEC 6.1 - 6.3, 2.1).
 *
 * MATH     mix = (f fn) * inv(f), f the row of all streams; pre, post, comb = gates of mix (ops/hc_gates.h)
 *          x = RMS(round(sum_i pre_i h_i)) * norm
 *          h'_j = round(post_j y + sum_i comb_ij h_i)
 * STAGES   .project  [row tile x range of chunks]  h, fn -> partial sums of mix, sums of squares
 *          .mix      [row]                         -> x, post, comb
 *          .spread   [row x range of columns]      y, h, post, comb -> h'
 * NUMERICS sums over the row of all streams in chunks of OP_SUM_CHUNK in FP32, these in double; gates, weighted sums and RMS in double,
 *          rounded once: where the reference and this code round alike, no bit should differ for want of precision. */
#ifndef MODEL_STEP_STREAMS_H
#define MODEL_STEP_STREAMS_H

#include "model/step/linear.h"

typedef struct step_streams {
    step_matrix x;        /* [T, D]: input of the branch */
    op_matrix post, comb; /* doubles [T, M], [T, M*M]; no data: a head, which only mixes */
} step_streams;

static inline double *step_gate_row(const op_matrix *gates, int64_t t)
{
    return (double *)gates->data + t * gates->ld;
}

/* Adds .project and .mix. h [rows, M*D]; w.fn of M outputs makes a head. norm BF16 [D]. name: "attn.hc", copied. */
step_streams step_streams_mix(const step *s, const char *name, step_matrix h, const model_streams_weights *w, const uint16_t *norm);

/* What a branch leaves: a product, or a matrix where product.sums has no data. */
typedef struct step_branch {
    step_product product;
    step_matrix matrix;
} step_branch;

/* Adds .spread; returns the new streams. */
step_matrix step_streams_spread(const step *s, const char *name, step_matrix h, const step_streams *mixed, const step_branch *y);

/* y[0..n) = (x * inv(x)) * norm, rounded where the numerics have BF16; x may be y. inv = 1/sqrt(sum of squares / n + eps). */
void step_rms_norm(const step *s, int64_t n, const float *x, const uint16_t *norm, float *y);

#endif
