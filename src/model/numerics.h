/* model/numerics.h - where a whole model rounds. One graph serves all: what differs is in this table.
 *
 *   official   the published semantics: BF16 between operators; FP8 and FP4 products take rows rounded to e4m3 per 128 values; cached
 *              keys are rounded to e4m3 per 64 values, indexer queries and keys to e2m1 per 32
 *   w8a8       BF16 between operators; FP8 weights become INT8 with a scale per output, and products with them and with FP4 take rows
 *              as INT8 with one scale; keys are BF16
 *   bf16       BF16 between operators, nothing else is rounded
 *   exact      FP32 between operators, nothing is rounded: a reference for tests
 *   quant_f32  FP32 between operators, rounded where official rounds to e4m3 and e2m1
 *
 * A matrix that passes from operator to operator has the table's dtype: storing to BF16 is the rounding. */
#ifndef MODEL_NUMERICS_H
#define MODEL_NUMERICS_H

#include <stdbool.h>

#include "dsv4/tensor.h"

/* How rows enter a product with a weight that is stored in FP8 or FP4. Other products take rows as they are. */
typedef enum model_row_form { MODEL_ROWS_PLAIN, MODEL_ROWS_E4M3, MODEL_ROWS_I8 } model_row_form;

typedef struct model_numerics {
    const char *name;
    dsv4_dtype dtype; /* of what passes between operators, and of cached rows: DSV4_BF16 or DSV4_F32 */
    model_row_form rows;
    bool rounds_keys;  /* rows of the window and compressed caches, all but their rotated end: e4m3 per 64 values */
    bool rounds_index; /* rows of the indexer, behind the Hadamard product: e2m1 per 32 values */
} model_numerics;

enum { MODEL_N_NUMERICS = 5 };

extern const model_numerics model_numerics_table[MODEL_N_NUMERICS];

/* By name; DSV4_E_NOT_FOUND names those there are. */
DSV4_MUST_CHECK dsv4_status model_numerics_find(const char *name, const model_numerics **out, dsv4_error *err);

#endif
