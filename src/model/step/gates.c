#include "model/step/gates.h"

#include <math.h>
#include <stddef.h>

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

/* Adds eps to the softmax of a row. */
static void softmax_row(int64_t n, double eps, double *z)
{
    double max = z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) {
        max = z[i] > max ? z[i] : max;
    }
    for (int64_t i = 0; i < n; i++) {
        z[i] = exp(z[i] - max);
        sum += z[i];
    }
    for (int64_t i = 0; i < n; i++) {
        z[i] = z[i] / sum + eps;
    }
}

/* Divides M values that lie `step` apart by their sum + eps. */
static void normalise(int64_t M, int64_t step, double eps, double *c)
{
    double sum = 0;
    for (int64_t i = 0; i < M; i++) {
        sum += c[i * step];
    }
    for (int64_t i = 0; i < M; i++) {
        c[i * step] /= sum + eps;
    }
}

static void balance(const step_gate_rule *rule, double *comb)
{
    int64_t M = rule->M;
    for (int64_t row = 0; row < M; row++) {
        softmax_row(M, rule->eps, comb + row * M);
    }
    for (int64_t i = 0; i < rule->n_iterations; i++) {
        for (int64_t row = 0; i > 0 && row < M; row++) {
            normalise(M, 1, rule->eps, comb + row * M);
        }
        for (int64_t column = 0; column < M; column++) {
            normalise(M, M, rule->eps, comb + column);
        }
    }
}

void step_gates(const step_gate_rule *rule, const float *scale, const float *base, const double *mix, double *pre, double *post,
                double *comb)
{
    int64_t M = rule->M;
    for (int64_t i = 0; i < M; i++) {
        pre[i] = sigmoid(mix[i] * (double)scale[0] + (double)base[i]) + rule->eps;
    }
    for (int64_t i = 0; post != NULL && i < M; i++) {
        post[i] = 2 * sigmoid(mix[M + i] * (double)scale[1] + (double)base[M + i]);
    }
    for (int64_t i = 0; post != NULL && i < M * M; i++) {
        comb[i] = mix[2 * M + i] * (double)scale[2] + (double)base[2 * M + i];
    }
    if (post != NULL) {
        balance(rule, comb);
    }
}
