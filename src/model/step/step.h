/* model/step/step.h - what the stages of a whole-model step share: the tokens, the numerics, and matrices between operators.
 *
 * A step has a fixed number of rows, one per token, of any sequences; rows of one sequence follow each other, by ascending position.
 * Which tokens they are is written before each run, so that one sealed graph serves all steps of its size. A row beyond the valid
 * ones holds anything: stages may skip it, and no valid row depends on one. */
#ifndef MODEL_STEP_STEP_H
#define MODEL_STEP_STEP_H

#include "model/kv.h"
#include "model/packed.h"
#include "ops/matrix.h"
#include "ops/tile.h"

/* Constant while a graph runs, valid and in range (the engine sees to it): stages read it without declaring it. */
typedef struct step_rows {
    int64_t capacity;                  /* T: rows of every matrix of the step */
    int64_t n;                         /* valid rows: the first n */
    int32_t *token, *position, *slot;  /* [T]; slot: of the row's sequence in model_kv */
    int32_t *end;                      /* [T]: position behind the last token that the row's sequence has in this step */
    int32_t *first;                    /* [T]: the row at which the row's sequence begins in this step */
    int64_t n_logits, logits_capacity; /* rows of which logits are wanted */
    int32_t *logit_row;                /* [logits_capacity] */
} step_rows;

/* Position at which the sequence of a row begins in this step: earlier ones lie in model_kv, later ones in rows. */
static inline int64_t step_start(const step_rows *r, int64_t row)
{
    return r->position[r->first[row]];
}

typedef struct step {
    op_context op; /* for builders of ops/: graph, kernels, pool; it has no operator and no tensors */
    const model_config *config;
    const model_numerics *numerics;
    const model_kv *kv;
    const step_rows *rows; /* lives with the graph */
    int64_t T;             /* rows->capacity */
    int64_t context;       /* tokens of a sequence at most */
    const struct step_rope *rope;
    int n_threads; /* that will run the graph: a hint for tiles, no result depends on it */
} step;

/* A matrix that passes between operators, of the numerics' dtype or of FP32. */
typedef struct step_matrix {
    op_matrix m;
    dsv4_dtype dtype; /* BF16 or F32 */
} step_matrix;

/* Of the numerics' dtype, and of FP32; T rows or others. Memory of the graph. name is copied. */
step_matrix step_matrix_new(const step *s, const char *name, int64_t rows, int64_t cols);
step_matrix step_matrix_new_f32(const step *s, const char *name, int64_t rows, int64_t cols);

/* dst[0..n) = columns [col, col + n) of a row, widened; and back: rounded to BF16, ties to even, where the matrix is of BF16. */
void step_load(const uk_table *uk, const step_matrix *m, int64_t row, int64_t col, int64_t n, float *dst);
void step_store(const uk_table *uk, const step_matrix *m, int64_t row, int64_t col, int64_t n, const float *src);

/* Rounds x[0..n) to BF16 in place, ties to even; step_round does so where the numerics have BF16 between operators. */
void step_round_bf16(const uk_table *uk, int64_t n, float *x);
void step_round(const step *s, int64_t n, float *x);

/* Sum of x[0..n) in one order: eight partial sums, x[l] + x[l+8] + ... each, added by ascending l, and what is left behind them. */
float step_sum(int64_t n, const float *x);

#endif
