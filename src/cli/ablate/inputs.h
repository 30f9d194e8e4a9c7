/* cli/ablate/inputs.h - inputs of a case by name, and what the reference of an operator makes of them. */
#ifndef CLI_ABLATE_INPUTS_H
#define CLI_ABLATE_INPUTS_H

#include "cli/ablate/ablate.h"
#include "ops/matrix.h"

static inline const dsv4_tensor *ablate_input(const ablate_case *c, const char *name)
{
    return dsv4_tensor_list_find(&c->inputs, name);
}

/* The last n_col_dims dimensions are columns. */
op_matrix ablate_input_matrix(const ablate_case *c, const op_context *ctx, const char *name, int n_col_dims);

/* Adds the outputs of the reference of that operator to out; shows progress. */
DSV4_MUST_CHECK dsv4_status ablate_run_reference(const ablate_case *c, const char *op, const dsv4_numerics *numerics,
                                                 dsv4_tensor_list *out, dsv4_error *err);

/* Adds a zeroed matrix to c->expected; its memory to *data, a pointer to an element. */
DSV4_MUST_CHECK dsv4_status ablate_expect_matrix(ablate_case *c, const char *name, dsv4_dtype dtype, int64_t n_rows, int64_t n_cols,
                                                 void *data, dsv4_error *err);

#endif
