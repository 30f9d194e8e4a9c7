/* ops/rmsnorm.h - RMS normalisation as stages: an operator of its own, and a part of the attention layers. */
#ifndef OPS_RMSNORM_H
#define OPS_RMSNORM_H

#include "ops/matrix.h"

typedef struct op_rmsnorm_args {
    op_matrix x, y; /* BF16 [T, D] */
    op_matrix w;    /* BF16 [1, D] */
    int64_t t_tile, parts;
} op_rmsnorm_args;

/* Adds the stages rmsnorm.sum and rmsnorm.apply. */
void op_rmsnorm_add(const op_context *c, const op_rmsnorm_args *a);

#endif
