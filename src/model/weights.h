/* model/weights.h - stored weights as numbers: FP8 e4m3 with a scale per 128x128, FP4 e2m1 with a scale per row and 32 columns, BF16,
 * F32. Every value is exact in FP32: code and scale multiply without rounding for all scales that a checked checkpoint has. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/checkpoint.h"

typedef enum model_weight_kind { MODEL_FP8, MODEL_FP4, MODEL_BF16, MODEL_F32 } model_weight_kind;

/* A matrix [rows, columns], or a vector as one row. Borrows from its checkpoint; data of any alignment. */
typedef struct model_matrix {
    model_weight_kind kind;
    int64_t rows, columns;
    const uint8_t *data;   /* FP8 [rows, columns]; FP4 [rows, columns / 2], the even column in the low half; 2 or 4 bytes a value */
    const uint8_t *scales; /* FP8 [ceil(rows/128), ceil(columns/128)], FP4 [rows, columns/32] of e8m0; else NULL */
} model_matrix;

/* The largest e8m0 code with which every FP8 and FP4 weight is finite: 448 * 2^119 is below 2^128. */
enum { MODEL_MAX_SCALE_CODE = 246 };

/* By its name without ".weight" ("layers.0.attn.wq_a"), or with its whole name where it has no such end ("hc_head_fn").
 * DSV4_E_NOT_FOUND: the architecture has no such matrix, or it is missing or wrong. */
DSV4_MUST_CHECK dsv4_status model_matrix_find(const model_checkpoint *c, const char *name, model_matrix *out, dsv4_error *err);

/* DSV4_E_VALUE if one of n BF16 or F32 values is not finite. */
DSV4_MUST_CHECK dsv4_status model_values_require_finite(const char *name, model_weight_kind kind, const uint8_t *data, int64_t n,
                                                        dsv4_error *err);

/* out[0 .. n) = columns [first, first + n) of a row; within the matrix (asserted). Any thread. */
void model_matrix_row(const model_matrix *m, int64_t row, int64_t first, int64_t n, float *out);

/* out[r * stride + j] = value (row + r, column + j), r < n_rows, j < n_columns; within the matrix (asserted). Any thread. */
void model_matrix_tile(const model_matrix *m, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float *out,
                       int64_t stride);

#endif
