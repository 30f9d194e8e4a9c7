/* ops/gate.h - which experts a token goes to (SPEC 6.4), as stages: an operator of its own, and a part of the mixture of experts. */
#ifndef OPS_GATE_H
#define OPS_GATE_H

#include "ops/project.h"

typedef struct op_router {
    op_matrix x;       /* BF16 [T, D] */
    op_matrix norm_w;  /* BF16 [1, D] */
    dsv4_tensor w;     /* FP32 [E, D] */
    op_matrix bias;    /* FP32 [1, E]; no data: zeros */
    op_matrix n_given; /* I32 [1, 1]: valid tokens, of the step */
    bool by_hash;
    op_matrix table, ids;           /* by hash: I32 [V, K], I64 [1, T], of the step */
    op_matrix x_norm, x_q, x_scale; /* BF16 [T, D]; I8 [T, D] with FP32 [T, 1] */
    op_matrix indices, weights;     /* I32 [T, K], FP32 [T, K] */
    op_project_tiles tiles;         /* of the scores; n_tile a multiple of UK_PANEL */
    int64_t t_tile, norm_parts;     /* of the normalising, quantising and choosing blocks */
} op_router;

/* Adds the stages rmsnorm.*, gate.plan, gate.quant, gate.score, gate.choose. Returns I32 [1, 1]: the number of valid tokens, 0 in a
 * step that gate.plan refuses; indices of theirs are experts. */
op_matrix op_router_add(const op_context *c, const op_router *a);

/* The rules of the operators that route. */
dsv4_status op_router_check(const op_context *c, dsv4_error *err);

/* Whether the layer of the call routes by the hash of token ids. */
bool op_routes_by_hash(const op_context *c);

#endif
