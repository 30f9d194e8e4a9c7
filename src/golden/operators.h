/* golden/operators.h - the references, and how each states the tensors it takes and makes. Internal to golden/. */
#ifndef GOLDEN_OPERATORS_H
#define GOLDEN_OPERATORS_H

#include "golden/golden.h"

golden_fn golden_rmsnorm;
golden_fn golden_qkv_proj_rope;
golden_fn golden_rope_tables;

/* An extent that is the number of tokens: any T >= 1, the same in every tensor of a call. */
#define GOLDEN_T (-1)

typedef struct golden_tensor {
    const char *name;
    dsv4_dtype dtype;
    int n_dims;
    int64_t shape[DSV4_MAX_DIMS];
} golden_tensor;

/* data[i] = the elements of want[i], row-major, borrowed from the list. The first extent GOLDEN_T of want sets *n_tokens (which
 * may be NULL if there is none). Fails when a tensor is missing or has another dtype or shape, or gaps. */
DSV4_MUST_CHECK dsv4_status golden_need(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data,
                                        int64_t *n_tokens, dsv4_error *err);

/* data[i] = the elements of a new zeroed tensor make[i] of the list. */
DSV4_MUST_CHECK dsv4_status golden_make(dsv4_tensor_list *out, const golden_tensor *make, int n, int64_t n_tokens, void **data,
                                        dsv4_error *err);

/* The rotary slice is a whole number of pairs: qk_rope_head_dim even. */
DSV4_MUST_CHECK dsv4_status golden_check_rope_dim(const dsv4_config *config, dsv4_error *err);

#endif
