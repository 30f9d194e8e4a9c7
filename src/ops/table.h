/* ops/table.h - the words of an operator's table of tensors: rows, fixtures (SPEC 8), rules of comparison (SPEC 7). */
#ifndef OPS_TABLE_H
#define OPS_TABLE_H

#include "ops/op.h"

#define OP_BRACED(...) \
    {                  \
        __VA_ARGS__    \
    }

/* The two tables of a dsv4_op. */
#define OP_TENSORS(rows) .tensors = rows, .n_tensors = sizeof(rows) / sizeof *(rows)
#define OP_TILES(rows) .tiles = rows, .n_tiles = sizeof(rows) / sizeof *(rows)

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

/* The last word of an input is its fixture, of an output its rule; what is updated in place has both. */
#define ROW_IN(name, dtype, shape, meaning, ...) OP_BRACED(name, dtype, OP_IN, shape, meaning, __VA_ARGS__, NULL, OP_BRACED(0))
#define ROW_OPTIONAL(name, dtype, shape, meaning, ...) \
    OP_BRACED(name, dtype, OP_IN | OP_OPTIONAL, shape, meaning, __VA_ARGS__, NULL, OP_BRACED(0))
#define ROW_INOUT(name, dtype, shape, meaning, fixture, ...) \
    OP_BRACED(name, dtype, OP_INOUT, shape, meaning, fixture, NULL, __VA_ARGS__)
#define ROW_OUT(name, dtype, shape, meaning, ...) OP_BRACED(name, dtype, OP_OUT, shape, meaning, OP_BRACED(0), NULL, __VA_ARGS__)

/* A scalar that is the value of a dimension. */
#define ROW_DIM(name, meaning, symbol) OP_BRACED(name, DSV4_I32, OP_IN, "", meaning, DRAW_CONSTANT(0), symbol, OP_BRACED(0))

/* ---- fixtures -------------------------------------------------------------------------------------------------------------- */

/* The recipe draw.c has under that name, with its parameters a and b. */
#define DRAW_BY(recipe, a, b) OP_BRACED(FIX_CALL, a, b, recipe)
#define DRAW_NORMAL(mean, sd) OP_BRACED(FIX_NORMAL, mean, sd, NULL)
#define DRAW_UNIFORM(low, high) OP_BRACED(FIX_UNIFORM, low, high, NULL)
#define DRAW_CONSTANT(value) OP_BRACED(FIX_CONSTANT, value, 0, NULL)

/* Zeros, or what the recipe of another row puts there. */
#define DRAW_NONE OP_BRACED(FIX_NONE, 0, 0, NULL)

/* ---- rules ----------------------------------------------------------------------------------------------------------------- */

#define RULE_RATIO(atol, rtol, budget) OP_BRACED(CMP_RATIO, atol, rtol, budget, 0)
#define RULE_RELDIFF(most, budget, hard) OP_BRACED(CMP_RELDIFF, most, 0, budget, hard)
#define RULE_ALLCLOSE(atol, rtol, budget) OP_BRACED(CMP_ALLCLOSE, atol, rtol, budget, 0)
#define RULE_TOPK(atol, rtol) OP_BRACED(CMP_TOPK, atol, rtol, 0, 0)

/* Of most values, and of the FP32 scales beside them. */
#define RULE_BF16(budget) RULE_RATIO(1e-4, 1.0 / 128, budget)
#define RULE_SCALE RULE_RATIO(2.5e-5, 5e-3, 0.005)

#endif
