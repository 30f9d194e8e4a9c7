#include "ops/matrix.h"

const op_matrix op_no_matrix = {0};

op_matrix op_matrix_of(const op_context *c, const char *name, const dsv4_tensor *t, int n_col_dims)
{
    op_matrix m = {.data = t->data, .rows = 1, .cols = 1};
    for (int i = 0; i < t->n_dims; i++) {
        *(i < t->n_dims - n_col_dims ? &m.rows : &m.cols) *= t->shape[i];
    }
    size_t elem_bytes = dsv4_dtype_bytes(t->dtype);
    m.ld = m.cols;
    m.view = dsv4_graph_view(c->g, name, t->data, m.rows, m.cols, elem_bytes, (size_t)m.cols * elem_bytes);
    return m;
}

op_matrix op_matrix_named(const op_context *c, const char *name, int n_col_dims)
{
    dsv4_tensor t = op_tensor_named(c, name);
    return t.data == NULL ? op_no_matrix : op_matrix_of(c, name, &t, n_col_dims);
}

op_matrix op_matrix_cols(const op_context *c, const char *name, op_matrix m, size_t elem_bytes, int64_t col0, int64_t cols)
{
    m.data = (char *)m.data + (size_t)col0 * elem_bytes;
    m.cols = cols;
    m.view = dsv4_graph_view(c->g, name, m.data, m.rows, cols, elem_bytes, (size_t)m.ld * elem_bytes);
    return m;
}

op_matrix op_matrix_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype)
{
    op_matrix m = {.rows = rows, .cols = cols, .ld = cols};
    m.view = dsv4_graph_alloc(c->g, name, rows, cols, dsv4_dtype_bytes(dtype), &m.data);
    return m;
}

op_matrix op_sums_new(const op_context *c, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype)
{
    op_matrix m = op_matrix_new(c, name, rows, op_sums_ld(cols), dtype);
    m.cols = cols;
    return m;
}

op_matrix op_matrix_constant(const op_context *c, const char *name, int64_t value)
{
    op_matrix m = op_matrix_new(c, name, 1, 1, DSV4_I32);
    if (m.data != NULL) {
        *(int32_t *)m.data = (int32_t)value;
    }
    return m;
}

void op_matrix_reads(dsv4_describe *d, const op_matrix *m)
{
    if (m->data != NULL) {
        dsv4_reads(d, m->view, 0, m->rows, 0, m->cols);
    }
}

void op_matrix_writes(dsv4_describe *d, const op_matrix *m)
{
    if (m->data != NULL) {
        dsv4_writes(d, m->view, 0, m->rows, 0, m->cols);
    }
}
