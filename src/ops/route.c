#include "ops/route.h"

#include <math.h>
#include <stddef.h>

#include "ops/topk.h"

void op_route_score(int64_t n_experts, float *z)
{
    for (int64_t e = 0; e < n_experts; e++) {
        float decay = (float)exp(-fabs((double)z[e]));
        z[e] = sqrtf((z[e] > 0 ? z[e] : 0) + (float)log1p((double)decay));
    }
}

void op_route_choose(int64_t n_experts, const float *score, const float *bias, int64_t k, float *biased, uint64_t *keys,
                     int32_t *experts)
{
    topk_list best = {keys, 0, k, UINT64_MAX};
    for (int64_t e = 0; e < n_experts; e++) {
        biased[e] = bias != NULL ? score[e] + bias[e] : score[e];
    }
    topk_add_scores(&best, biased, n_experts, 0);
    topk_sort(&best);
    for (int64_t i = 0; i < k; i++) {
        experts[i] = topk_row(keys[i]);
    }
}

void op_route_weigh(int64_t k, const float *score, const int32_t *experts, float factor, float *weights)
{
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
        sum += (double)score[experts[i]];
    }
    for (int64_t i = 0; i < k; i++) {
        weights[i] = (score[experts[i]] / (float)sum) * factor;
    }
}
