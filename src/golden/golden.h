/* golden/golden.h - one reference per operator: what the result is, written as plain loops from SPEC.md alone.
 *
 * NUMERICS  Every elementwise operation is done and rounded in FP32; a floating sum is accumulated in double and rounded to FP32
 *           once; an INT8 product is exact. Shares nothing with the fast code but the number formats of base/. */
#ifndef GOLDEN_GOLDEN_H
#define GOLDEN_GOLDEN_H

#include "base/progress.h"
#include "dsv4/config.h"
#include "dsv4/tensor.h"

/* Computes the outputs of one operator. in holds the inputs and out receives new tensors, both under the names of SPEC 8; a tensor
 * that the operator updates is left as it is in in, and its new state goes to out. The number of tokens, pages and page sizes are
 * those of the inputs, other dimensions are config's. p may be NULL. Fails with DSV4_E_NOT_FOUND, DSV4_E_SHAPE
 * or DSV4_E_VALUE and a line that names the tensor or the field, with nothing put in out; or when memory ends or out already has
 * a tensor of an output's name, then out may hold zeroed outputs. Any thread. */
typedef dsv4_status golden_fn(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                              dsv4_tensor_list *out, progress *p, dsv4_error *err);

typedef struct golden {
    const char *op;
    golden_fn *run;
} golden;

/* The reference of an operator, by its name in the vector files ("rmsnorm", "decode_indexer"), or NULL. Static. */
const golden *golden_find(const char *op);

#endif
