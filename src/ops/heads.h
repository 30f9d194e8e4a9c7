/* ops/heads.h - heads from a quantised row, as one stage: the INT8 product of a few heads and, while its sums are near, what
 * follows per head.
 *
 * MATH     v = (float(x w) * row_scale) * col_scale;  [v = v * 1/sqrt(sum v^2 / hd + eps)];  y = bf(rotate(v)), head by head
 * TILES    a block owns t_tile rows (rounded up to whole row groups) and head_group heads; its INT32 sums stay in scratch.
 * NUMERICS INT8 product exact; f32; squares summed in chunks of 512 (ops/chunk.h); rounded to bf16 once, last. */
#ifndef OPS_HEADS_H
#define OPS_HEADS_H

#include "ops/acts.h"
#include "ops/turn.h"
#include "ops/weight.h"

typedef struct op_heads {
    op_acts x;                      /* I8 [T, K], K <= UK_MAX_K_I8 */
    op_weight w;                    /* I8 [K, n_heads*hd] */
    op_matrix row_scale, col_scale; /* FP32 [T, 1], [1, n_heads*hd] */
    op_turns turns;
    op_matrix turn_rows; /* I32 [1, T]: row of turns for each token; no data: token t has row t */
    bool normalises;
    float eps;
    op_matrix y; /* BF16 [T, n_heads*hd] */
    int64_t n_heads, t_tile, head_group;
} op_heads;

void op_heads_add(const op_context *c, const char *stage, const op_heads *a);

#endif
