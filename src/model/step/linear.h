/* model/step/linear.h - products of rows with a model's weights, whatever their forms and the numerics.
 *
 * MATH     y[t,n] = sum_k x'[t,k] w[k,n], x' = x as the numerics let it enter products with such a weight
 * NUMERICS BF16 rows enter as they are, or rounded to e4m3 per 128 values, which BF16 holds exactly. FP32 rows are split in three
 *          BF16 parts that add up to them exactly, and are multiplied part by part. INT8 rows have one scale, products are exact in
 *          INT32 (FP4: per 32 k, then FP32). FP32 sums of chunks of OP_SUM_CHUNK k (ops/chunk.h), added in double, ascending,
 *          rounded once. So a row's result depends on the row alone. */
#ifndef MODEL_STEP_LINEAR_H
#define MODEL_STEP_LINEAR_H

#include "model/step/step.h"
#include "ops/acts.h"

/* ---- rows as products take them ---------------------------------------------------------------------------------------- */

/* How rows of k values are packed for weights of a form. */
typedef struct step_packing {
    const uk_table *uk;
    enum { STEP_PACK_BF16, STEP_PACK_I8, STEP_PACK_FP4 } kind; /* tile_bf16, tile_i8, tile_fp4 */
    bool rounds_e4m3;                                          /* before: per 128 values */
    int64_t parts;                                             /* packed rows of a row: 1 or 3 */
    int64_t k;
} step_packing;

step_packing step_packing_for(const step *s, model_form form, int64_t k);

/* Bytes of a group of packed rows that has room for group_rows of them (1 .. UK_ROWS), and of scratch for packing one. */
int64_t step_pack_group_bytes(const step_packing *p, int64_t group_rows);
size_t step_pack_scratch(const step_packing *p);

/* Packs rows x[r][0..k), r < n_rows, n_rows * parts <= group_rows, as one group: packed row r*parts + i is part i of row r. scales[r]
 * is the scale of a row of INT8 (may be NULL for others). scratch: step_pack_scratch bytes, 64-byte aligned. */
void step_pack_group(const step_packing *p, int64_t n_rows, int64_t group_rows, const float *const *x, void *dst, float *scales,
                     void *scratch);

/* c[r][0..32) = packed rows of a, all of k, times panel `panel` of w; FP32, of INT8 weights and rows without the scales of rows and
 * columns. a.rows rows, ldc elements apart. scratch: step_panel_scratch(rows) bytes. */
void step_panel(const uk_table *uk, const model_weight *w, uk_acts a, int64_t panel, float *c, int64_t ldc, void *scratch);
size_t step_panel_scratch(const model_weight *w, int64_t rows);

/* ---- as stages ---------------------------------------------------------------------------------------------------------- */

/* A matrix packed for weights of a form; several products may share it. */
typedef struct step_operand {
    step_packing packing;
    op_matrix packed;    /* U8 [groups, bytes of a group] */
    op_matrix scale;     /* FP32 [rows, 1]; no data: rows have none */
    int64_t rows;        /* of x */
    int64_t n_groups;    /* rows are cut in that many independent pieces of packing.k columns, packed one behind the other */
    int64_t group_rows;
} step_operand;

/* Adds a stage that packs x for weights of that form; x is cut into n_pieces pieces of columns (1: none). */
step_operand step_operand_add(const step *s, const char *stage, step_matrix x, model_form form, int64_t n_pieces);

/* A result: unrounded sums, and what is left to do with them, which its readers do (step_product_row). */
typedef struct step_product {
    op_matrix sums;           /* FP32 [rows * parts * n_partials, columns padded to panels] */
    int64_t rows, parts, n_partials, cols;
    op_matrix row_scale;      /* of the operand; no data: none */
    const float *col_scale;   /* [cols]; NULL: none */
    bool rounds;              /* to BF16, where the numerics do so between operators */
} step_product;

/* Adds the product with w. Of an operand in G pieces, columns [g*n/G, (g+1)*n/G) of the result come from piece g. rounds: the result
 * is one that passes between operators. */
step_product step_linear_add(const step *s, const char *stage, const step_operand *x, const model_weight *w, bool rounds);

/* Declares that a block reads columns [c0, c1) of rows [t0, t1). */
void step_product_reads(dsv4_describe *d, const step_product *y, int64_t t0, int64_t t1, int64_t c0, int64_t c1);

/* dst[0..c1-c0) = columns [c0, c1) of row t: added, scaled, rounded. */
void step_product_row(const uk_table *uk, const step_product *y, int64_t t, int64_t c0, int64_t c1, float *dst);

/* Tile of columns that gives every thread a few blocks: a multiple of UK_PANEL. */
int64_t step_column_tile(const step *s, int64_t n, int64_t n_row_tiles);

#endif
