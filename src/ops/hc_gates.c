#include "ops/hc_gates.h"

/* z[0..n) becomes 1/(1 + e^-z). */
static void sigmoid(const uk_table *uk, int64_t n, float *z)
{
    for (int64_t i = 0; i < n; i++) {
        z[i] = -z[i];
    }
    uk->exp(n, z, z);
    for (int64_t i = 0; i < n; i++) {
        z[i] = 1.0f / (1.0f + z[i]);
    }
}

static void softmax_row(const uk_table *uk, int64_t n, float *z)
{
    float max = z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) {
        max = z[i] > max ? z[i] : max;
    }
    for (int64_t i = 0; i < n; i++) {
        z[i] -= max;
    }
    uk->exp(n, z, z);
    for (int64_t i = 0; i < n; i++) {
        sum += z[i];
    }
    for (int64_t i = 0; i < n; i++) {
        z[i] /= sum;
    }
}

/* Divides every group of M values `step` apart by its sum + eps: rows for step 1, columns for step M. */
static void normalise(int64_t M, int64_t step, float eps, float *c)
{
    int64_t next = step == 1 ? M : 1;
    for (int64_t group = 0; group < M; group++) {
        float *first = c + group * next, sum = 0;
        for (int64_t i = 0; i < M; i++) {
            sum += first[i * step];
        }
        for (int64_t i = 0; i < M; i++) {
            first[i * step] /= sum + eps;
        }
    }
}

static void sinkhorn(const uk_table *uk, const op_hc_rule *o, float *c)
{
    for (int64_t row = 0; row < o->M; row++) {
        softmax_row(uk, o->M, c + row * o->M);
    }
    for (int64_t i = 0; i < o->M * o->M; i++) {
        c[i] += o->hc_eps;
    }
    normalise(o->M, o->M, o->hc_eps, c);
    for (int64_t i = 1; i < o->n_iterations; i++) {
        normalise(o->M, 1, o->hc_eps, c);
        normalise(o->M, o->M, o->hc_eps, c);
    }
}

/* dst[i] = src[i]*scale + base[i] */
static void affine(int64_t n, const float *src, float scale, const float *base, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = src[i] * scale + base[i];
    }
}

void op_hc_gates(const uk_table *uk, const op_hc_rule *o, const float *scale, const float *base, const float *mix, float *pre,
                 float *post, float *comb)
{
    int64_t M = o->M;
    affine(M, mix, scale[0], base, pre);
    sigmoid(uk, M, pre);
    for (int64_t i = 0; i < M; i++) {
        pre[i] += o->hc_eps;
    }
    if (post != NULL) {
        affine(M, mix + M, scale[1], base + M, post);
        sigmoid(uk, M, post);
        uk->scale(M, post, 2.0f, post);
        affine(M * M, mix + 2 * M, scale[2], base + 2 * M, comb);
        sinkhorn(uk, o, comb);
    }
}
