#include "cli/ablate/inputs.h"

#include "golden/golden.h"

op_matrix ablate_input_matrix(const ablate_case *c, const op_context *ctx, const char *name, int n_col_dims)
{
    return op_matrix_of(ctx, name, ablate_input(c, name), n_col_dims);
}

dsv4_status ablate_run_reference(const ablate_case *c, const char *op, const dsv4_numerics *numerics, dsv4_tensor_list *out,
                                 dsv4_error *err)
{
    progress bar = progress_begin("reference");
    dsv4_status status = golden_find(op)->run(&c->config, numerics, &c->inputs, out, &bar, err);
    progress_end(&bar);
    return status;
}

dsv4_status ablate_expect_matrix(ablate_case *c, const char *name, dsv4_dtype dtype, int64_t n_rows, int64_t n_cols, void *data,
                                 dsv4_error *err)
{
    dsv4_tensor t;
    dsv4_status status = dsv4_tensor_list_alloc(&c->expected, name, dtype, 2, (const int64_t[]){n_rows, n_cols}, &t, err);
    if (status == DSV4_OK) {
        *(void **)data = t.data;
    }
    return status;
}
