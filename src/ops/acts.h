/* ops/acts.h - activations in the order in which the products take them (uk_acts), made once for all products of a matrix. */
#ifndef OPS_ACTS_H
#define OPS_ACTS_H

#include "ops/matrix.h"
#include "ops/tile.h"

/* A packed matrix of BF16 or INT8. Row g of the view is row group g, its columns are bytes. */
typedef struct op_acts {
    char *data;
    dsv4_view view;
    dsv4_dtype dtype;
    int64_t rows, cols;
    int64_t group_rows, group_bytes, value_bytes; /* of a group; bytes of a BF16 value of a row, 0 of INT8 */
} op_acts;

/* Memory for T rows of K values, to be packed by a stage. dtype is DSV4_BF16 or DSV4_I8. */
op_acts op_acts_new(const op_context *c, const char *name, int64_t T, int64_t K, dsv4_dtype dtype);

/* Adds a stage that packs x into y, of the same rows and columns. */
void op_acts_add_tile(const op_context *c, const char *stage, op_matrix x, op_acts y);

/* Both: x packed by a stage of that name. */
op_acts op_acts_tile(const op_context *c, const char *stage, op_matrix x, dsv4_dtype dtype);

/* Where the row group that begins at row t, a multiple of UK_ROWS, has its values from column k on, a multiple of 4; 0 for INT8. */
static inline void *op_acts_group(const op_acts *x, int64_t t, int64_t k)
{
    return x->data + t / UK_ROWS * x->group_bytes + k * x->group_rows * x->value_bytes;
}

/* Rows t for a product over the columns from k on. */
static inline uk_acts op_acts_at(const op_acts *x, tile_range t, int64_t k)
{
    return (uk_acts){op_acts_group(x, t.begin, k), t.end - t.begin, x->group_rows, x->group_bytes};
}

/* Declares rows t and columns k of x; k.begin is a multiple of 4. INT8: all columns. */
void op_acts_touch(dsv4_describe *d, int mode, const op_acts *x, tile_range t, tile_range k);

#endif
