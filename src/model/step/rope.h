/* model/step/rope.h - rotations of a whole-model step: the last R elements of a row, pairs (2j, 2j+1), by angles position * frequency
 * in FP32 (SPEC 1.4; cosines and sines are not rounded to BF16). */
#ifndef MODEL_STEP_ROPE_H
#define MODEL_STEP_ROPE_H

#include "model/step/step.h"

typedef struct step_rope {
    int64_t R;
    const float *frequency[2]; /* [R/2]: of layers without and with compression */
    op_matrix turns;           /* FP32 [T, 2*R]: of the position of each row, without and with compression */
} step_rope;

/* Adds the stage "rope" that makes the turns of the step's rows. Lives with the graph; NULL if the graph failed. */
const step_rope *step_rope_add(const step *s);

/* R/2 cosines, then R/2 sines: of a row of the step, and of any position. */
static inline const float *step_rope_turn(const step_rope *r, int ratio, int64_t row)
{
    return op_matrix_f32(&r->turns, row, ratio > 0 ? r->R : 0);
}
void step_rope_make(const step_rope *r, int ratio, int64_t position, float *turn);

/* Declares that a block reads the turns of rows [t0, t1). */
void step_rope_reads(dsv4_describe *d, const step_rope *r, int ratio, int64_t t0, int64_t t1);

/* Rotates the last R of n values forward, or backward; rounds them where the numerics have BF16 between operators. turn: [R]. */
void step_rotate(const step *s, const float *turn, int64_t n, float *row);
void step_rotate_back(const step *s, const float *turn, int64_t n, float *row);

#endif
