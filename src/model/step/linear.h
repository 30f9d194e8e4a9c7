/* model/step/linear.h - products of rows with a model's weights, whatever their forms and the numerics.
 *
 * MATH     y[t,n] = sum_k x'[t,k] w[k,n], x' = x as the numerics let it enter products with such a weight
 * NUMERICS BF16 rows enter as they are, or rounded to e4m3 per 128 values, which BF16 holds exactly. FP32 rows are split in three
 *          BF16 parts that add up to them exactly, and are multiplied part by part. INT8 rows have one scale; their products are exact
 *          in INT32 (FP4: per 32 k, then FP32). FP32 sums of chunks of OP_SUM_CHUNK k (ops/chunk.h), added in double, ascending,
 *          rounded once. So a row's result depends on the row alone. */
#ifndef MODEL_STEP_LINEAR_H
#define MODEL_STEP_LINEAR_H

#include "model/step/step.h"

/* ---- rows as products take them ---------------------------------------------------------------------------------------- */

/* How rows of k values are packed for weights of a form. */
typedef struct step_packing {
    const uk_table *uk;
    enum { STEP_PACK_BF16, STEP_PACK_I8, STEP_PACK_FP4 } kind; /* tile_bf16, tile_i8, tile_fp4 */
    bool rounds_e4m3;                                          /* before: per 128 values */
    int64_t parts;                                             /* that a row is split in: 1 or 3 */
    int64_t k;
} step_packing;

/* form: BF16, FP8, FP4 or I8. I8 takes INT8 rows; FP4 takes them where the numerics have INT8 rows. */
step_packing step_packing_for(const step *s, model_form form, int64_t k);

/* Packed rows in memory: for each part the groups of UK_ROWS rows, the last one ragged. */
typedef struct step_acts {
    char *data;
    int64_t rows, parts;
    int64_t group_rows, group_bytes, part_bytes;
} step_acts;

/* Bytes that so many rows take, a multiple of 64; and rows in memory of that many bytes, 64-byte aligned. */
int64_t step_acts_bytes(const step_packing *p, int64_t rows);
step_acts step_acts_in(const step_packing *p, int64_t rows, void *memory);

/* Packs rows [UK_ROWS * group, ..) of a; x[i] is row i of the group, k values. scales[i] is set to the scale of an INT8 row i (NULL
 * allowed otherwise). scratch: step_pack_scratch bytes, 64-byte aligned. */
void step_pack_group(const step_packing *p, int64_t group, const float *const *x, const step_acts *a, float *scales, void *scratch);
size_t step_pack_scratch(const step_packing *p);

/* c[r][0..32) = rows [t0, t1) of a, t0 a multiple of UK_ROWS, times panel `panel` of w, chunks [chunk0, chunk1) of k (ops/chunk.h).
 * INT8: all of k always, and neither scale applied. ldc elements between rows. scratch: step_panel_scratch(p, t1 - t0) bytes. */
void step_panel(const step_packing *p, const model_weight *w, const step_acts *a, int64_t t0, int64_t t1, int64_t panel,
                int64_t chunk0, int64_t chunk1, float *c, int64_t ldc, void *scratch);
size_t step_panel_scratch(const step_packing *p, int64_t rows);

/* The same of INT8, the INT32 sums themselves. */
void step_panel_i32(const step_packing *p, const model_weight *w, const step_acts *a, int64_t t0, int64_t t1, int64_t panel,
                    int32_t *c, int64_t ldc);

/* Work of a product of m rows, n columns and k. */
dsv4_work step_product_work(const step_packing *p, int64_t m, int64_t n, int64_t k);

/* ---- as stages ---------------------------------------------------------------------------------------------------------- */

/* A matrix packed for weights of a form; several products may share it. */
typedef struct step_operand {
    step_packing packing;
    op_matrix packed; /* I8 [pieces * groups * parts ...]: row i is the memory of piece i */
    op_matrix scale;  /* FP32 [rows, pieces]; no data: rows have none */
    int64_t rows, n_pieces;
} step_operand;

/* Adds a stage that packs x for weights of that form. Pieces: x is cut into so many ranges of columns, which are packed by
 * themselves. */
step_operand step_operand_add(const step *s, const char *stage, step_matrix x, model_form form, int64_t n_pieces);

/* A result: sums, and what is left to do with them, which their readers do (step_product_row). */
typedef struct step_product {
    op_matrix sums; /* FP32 [n_partials * rows, columns padded to panels]; INT32 of INT8 weights */
    int64_t rows, n_partials, cols;
    op_matrix row_scale;    /* of the operand; no data: none */
    int64_t piece_cols;     /* columns of the result that come from one piece */
    const float *col_scale; /* [cols], of INT8 weights; NULL: others */
    bool rounds;            /* to BF16 */
} step_product;

/* Packs the rows of a product. */
step_operand step_operand_add_product(const step *s, const char *stage, const step_product *x, model_form form);

/* Adds the product with w. Of an operand in G pieces, columns [g*n/G, (g+1)*n/G) come from piece g; n/G is then a multiple of
 * UK_PANEL. rounds: where the numerics have BF16 between operators, this result is one. */
step_product step_linear_add(const step *s, const char *stage, const step_operand *x, const model_weight *w, bool rounds);

/* Declares that a block reads columns [c0, c1) of rows [t0, t1). */
void step_product_reads(dsv4_describe *d, const step_product *y, int64_t t0, int64_t t1, int64_t c0, int64_t c1);

/* dst[0..c1-c0) = columns [c0, c1) of row t: added, scaled, rounded. */
void step_product_row(const uk_table *uk, const step_product *y, int64_t t, int64_t c0, int64_t c1, float *dst);

/* A tile of columns, a multiple of UK_PANEL, that gives every thread some blocks where there are n_others of them a tile. */
int64_t step_column_tile(const step *s, int64_t n, int64_t n_others);

#endif
