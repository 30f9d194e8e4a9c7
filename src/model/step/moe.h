/* model/step/moe.h - the mixture of experts of a whole-model step.
 *
 * MATH     s = sqrt(softplus(x gate));  experts of a token: the K largest of s + bias, or those of its id in a table
 *          w_k = s[e_k] / sum of them * routed_scaling_factor
 *          expert(x, w) = (w * (silu(min(x w1, limit)) * clamp(x w3, limit))) w2
 *          y = sum over k, by ascending expert, of expert_{e_k}(x, w_k), + shared(x, 1)
 * STAGES   moe.route        [row tile]            scores -> experts, weights
 *          moe.plan         [1]                   routes -> slots (ops/slots.h)
 *          moe.gather       [slot]                rows of its tokens, packed once
 *          moe.up           [slot x column tile]  gate and up product -> hidden rows; each panel is read once
 *          moe.pack         [slot]                hidden rows, packed once
 *          moe.down         [slot x column tile]  -> a row per route
 *          moe.combine      [row tile x column tile]
 *          and packing, products and moe.shared.act of the expert that all tokens share
 * ORDER    Which experts a slot and which rows a token has is known only when the graph runs. So weights, packed and hidden rows are
 *          declared untracked, and flags per slot and tile give their order: down of a slot waits for up of that slot alone.
 * NUMERICS of the products: linear.h. A hidden row and the rows of experts are rounded where the numerics have BF16; FP32 sums. */
#ifndef MODEL_STEP_MOE_H
#define MODEL_STEP_MOE_H

#include "model/step/linear.h"

/* Rows of the routed experts, memory of the graph. All blocks of a model share it: the experts of a block wait for all rows of their
 * input, and those need everything of the block before. */
typedef struct step_moe_room {
    op_matrix x, h;             /* I8 [1, bytes]: packed rows of the tokens, and of what is between the products */
    op_matrix x_scale, h_scale; /* FP32 [1, routes]: of places */
    step_matrix hidden;         /* [routes, F]: of places */
    step_matrix y;              /* [routes, D]: of routes */
} step_moe_room;

/* Room for the experts of every block of w. */
step_moe_room step_moe_room_new(const step *s, const model_weights *w);

/* Adds the stages of a block; x [T, D] is its normalised input. Returns [T, D] of the numerics' dtype. Experts in w->routes are in
 * [0, E). */
step_matrix step_moe_add(const step *s, const step_moe_room *room, const model_block_weights *w, step_matrix x);

#endif
