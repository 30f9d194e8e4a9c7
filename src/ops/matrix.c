#include "ops/matrix.h"

op_matrix op_matrix_of(const op_context *c, const char *name, const dsv4_tensor *t, int n_col_dims)
{
    op_matrix m = {t->data, 1, 1, 0};
    for (int i = 0; i < t->n_dims; i++) {
        *(i < t->n_dims - n_col_dims ? &m.rows : &m.cols) *= t->shape[i];
    }
    size_t elem_bytes = dsv4_dtype_bytes(t->dtype);
    m.view = dsv4_graph_view(c->g, name, t->data, m.rows, m.cols, elem_bytes, (size_t)m.cols * elem_bytes);
    return m;
}

op_matrix op_matrix_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype)
{
    op_matrix m = {NULL, rows, cols, 0};
    m.view = dsv4_graph_alloc(c->g, name, rows, cols, dsv4_dtype_bytes(dtype), &m.data);
    return m;
}
