/* ops/bind.h - symbols and tensors of a call, for op.c and tiles.c. */
#ifndef OPS_BIND_H
#define OPS_BIND_H

#include "ops/op.h"

/* The symbol whose name is the first n characters of text; OP_N_SYMBOLS if there is none. */
int op_find_symbol(const char *text, size_t n);

/* What a symbol counts. */
const char *op_symbol_meaning(int symbol);

/* Checks dtype, shape and row-major layout of a tensor against its row of the operator's table. */
DSV4_MUST_CHECK dsv4_status op_check_tensor(const op_tensor *row, const dsv4_tensor *t, const op_dims *dims, dsv4_error *err);

#endif
