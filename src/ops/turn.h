/* ops/turn.h - the angles by which rows are rotated (SPEC 0.3): cosines and sines as token rows or as tables. */
#ifndef OPS_TURN_H
#define OPS_TURN_H

#include "ops/matrix.h"

/* BF16 [rows, R] with the R/2 values stored twice, or FP32 [rows, R/2]. */
typedef struct op_turns {
    op_matrix cos, sin;
    bool is_f32;
} op_turns;

/* Of two tensors of the operator's table. */
op_turns op_turns_named(const op_context *c, const char *cos, const char *sin);

/* Declares that a block reads rows [begin, end). */
void op_turns_reads(dsv4_describe *d, const op_turns *turns, int64_t begin, int64_t end, int64_t R);

/* The same for tokens [begin, end) whose rows a stage finds when the step runs: rows I32 [1, T]. No data: token t has row t. */
void op_turns_reads_by(dsv4_describe *d, const op_turns *turns, const op_matrix *rows, int64_t begin, int64_t end, int64_t R);

/* Row of a token. */
int64_t op_turns_row(const op_matrix *rows, int64_t token);

/* turn[0..R): the R/2 cosines of a row, then its R/2 sines. */
void op_turns_load(const uk_table *uk, const op_turns *turns, int64_t row, int64_t R, float *turn);

/* Rotates the last R of a row of n values by such a turn. */
void op_turn_row(const uk_table *uk, const float *turn, int64_t R, int64_t n, float *row);

#endif
