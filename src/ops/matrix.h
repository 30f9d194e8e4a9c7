/* ops/matrix.h - row-major matrices as stages see them: memory and a view of it. */
#ifndef OPS_MATRIX_H
#define OPS_MATRIX_H

#include "ops/op.h"

/* A row-major matrix and its view. */
typedef struct op_matrix {
    void *data;
    int64_t rows, cols;
    dsv4_view view;
} op_matrix;

/* View of a tensor as a matrix: the last n_col_dims dimensions are columns. */
op_matrix op_matrix_of(const op_context *c, const char *name, const dsv4_tensor *t, int n_col_dims);

/* New memory of the graph. */
op_matrix op_matrix_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype);

#endif
