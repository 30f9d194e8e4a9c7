/* ops/route.h - the rule by which a router scores, chooses and weighs experts (SPEC 6.4). */
#ifndef OPS_ROUTE_H
#define OPS_ROUTE_H

#include <stdint.h>

/* z[e] becomes sqrt(softplus(z[e])); e^x and log1p in double, rounded to FP32 each. */
void op_route_score(int64_t n_experts, float *z);

/* The k best of score + bias, the best first; of equals the smaller expert. bias: NULL for none. biased [n_experts] and keys [2*k]
 * are scratch. 1 <= k <= n_experts; all k are set, whatever the scores. */
void op_route_choose(int64_t n_experts, const float *score, const float *bias, int64_t k, float *biased, uint64_t *keys,
                     int32_t *experts);

/* weights[i] = score[experts[i]] / their sum * factor; the sum in double, rounded once. */
void op_route_weigh(int64_t k, const float *score, const int32_t *experts, float factor, float *weights);

#endif
