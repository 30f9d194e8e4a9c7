/* ops/matrix.h - row-major matrices as stages see them: memory and a view of it. */
#ifndef OPS_MATRIX_H
#define OPS_MATRIX_H

#include "ops/op.h"

/* A row-major matrix and its view; rows lie ld elements apart. */
typedef struct op_matrix {
    void *data;
    int64_t rows, cols, ld;
    dsv4_view view;
} op_matrix;

/* Stands for a matrix that is not there. */
extern const op_matrix op_no_matrix;

/* View of a tensor as a matrix: the last n_col_dims dimensions are columns. */
op_matrix op_matrix_of(const op_context *c, const char *name, const dsv4_tensor *t, int n_col_dims);

/* The same of the tensor `name` of the operator's table. An optional tensor that is missing gives a matrix without data. */
op_matrix op_matrix_named(const op_context *c, const char *name, int n_col_dims);

/* Columns [col0, col0 + cols) of m, whose elements have elem_bytes. */
op_matrix op_matrix_cols(const op_context *c, const char *name, op_matrix m, size_t elem_bytes, int64_t col0, int64_t cols);

/* New memory of the graph, zeroed. */
op_matrix op_matrix_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype);

/* Elements between rows of cols sums of a product: an odd number of panels. Eight rows that lie a power of two apart would take all
 * ways of one set of the L1 cache (docs/PERFORMANCE.md). */
static inline int64_t op_sums_ld(int64_t cols)
{
    return ((cols + UK_PANEL - 1) / UK_PANEL | 1) * UK_PANEL;
}

/* New memory for rows of sums. */
op_matrix op_sums_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype);

/* I32 [1, 1] of the graph that holds a value. */
op_matrix op_matrix_constant(const op_context *c, const char *name, int64_t value);

/* Declares that a block reads or writes all of m; nothing if it has no data. */
void op_matrix_reads(dsv4_describe *d, const op_matrix *m);
void op_matrix_writes(dsv4_describe *d, const op_matrix *m);

/* Elements of an I32 matrix: all, in row-major order where ld == cols, and one. */
static inline const int32_t *op_matrix_ints(const op_matrix *m)
{
    return m->data;
}

static inline int64_t op_matrix_int(const op_matrix *m, int64_t row, int64_t col)
{
    return op_matrix_ints(m)[row * m->ld + col];
}

/* Where an element of an FP32 matrix lies. */
static inline float *op_matrix_f32(const op_matrix *m, int64_t row, int64_t col)
{
    return (float *)m->data + row * m->ld + col;
}

/* The same of an INT32 matrix. */
static inline int32_t *op_matrix_i32(const op_matrix *m, int64_t row, int64_t col)
{
    return (int32_t *)m->data + row * m->ld + col;
}

#endif
