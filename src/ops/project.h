/* ops/project.h - products of activations and packed weights, as stages.
 *
 * MATH     y[t,n] = sum_k x[t,k] w[k,n]
 * TILES    a block owns t_tile rows (rounded up to whole row groups), n_tile columns and one of k_split shares of k.
 * NUMERICS BF16: FP32 sums of chunks of OP_SUM_CHUNK k (chunk.h, and gemm_bf16 of kernels.h), which are added in double, ascending,
 *          and rounded once. Split or not: a block that owns all of k adds its chunks itself; blocks that share k leave one partial
 *          per chunk for the reader to add.
 *          INT8: INT32, exact. */
#ifndef OPS_PROJECT_H
#define OPS_PROJECT_H

#include "ops/acts.h"
#include "ops/weight.h"

/* The result of a product of n_rows rows: partial p of row t is row p*n_rows + t of sums, columns padded to whole panels. Row t is
 * the sum of its partials in double, in ascending p, rounded once. */
typedef struct op_product {
    op_matrix sums;
    int64_t n_partials, n_rows;
} op_product;

typedef struct op_project_tiles {
    int64_t t_tile, n_tile, k_split; /* n_tile a multiple of UK_PANEL; k_split at most the number of chunks of k */
} op_project_tiles;

/* x and w BF16: sums FP32. */
op_product op_project_bf16(const op_context *c, const char *stage, op_acts x, op_weight w, op_project_tiles tiles);

/* x BF16 [T, K], w FP32: sums FP32, one partial per chunk always. */
op_product op_project_f32(const op_context *c, const char *stage, op_matrix x, op_weight w, op_project_tiles tiles);

/* dst[0..end-begin) = columns [begin, end) of row t of y: its partials added. */
void op_product_row(const uk_table *uk, const op_product *y, int64_t t, int64_t begin, int64_t end, float *dst);

/* Declares that a block reads columns [begin, end) of rows [t0, t1) of y, all partials. */
void op_product_reads(dsv4_describe *d, const op_product *y, int64_t t0, int64_t t1, int64_t begin, int64_t end);

/* x and w INT8, K <= UK_MAX_K_I8: sums INT32, one partial. */
op_product op_project_i8(const op_context *c, const char *stage, op_acts x, op_weight w, int64_t t_tile, int64_t n_tile);

#endif
