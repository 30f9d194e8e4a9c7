/* golden/primitives.h - the shared primitives of SPEC 0.2 and 0.3 on rows of FP32. Internal to golden/. */
#ifndef GOLDEN_PRIMITIVES_H
#define GOLDEN_PRIMITIVES_H

#include <stdint.h>

static inline int64_t golden_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* y[n] = x[n] BF16 widened; y[n] = bf(x[n]). */
void golden_widen(const uint16_t *x, int64_t n, float *y);
void golden_round(const float *x, int64_t n, uint16_t *y);

/* inv(x) = 1 / sqrt(sum x^2 * (1/n) + eps), x[n]. */
float golden_inverse_rms(const float *x, int64_t n, float eps);

/* x[n] *= inv(x). */
void golden_rms(float *x, int64_t n, float eps);

/* x[n] = (x * inv(x)) * gamma, gamma BF16 [n]. */
void golden_rms_gamma(float *x, const uint16_t *gamma, int64_t n, float eps);

/* Q8: q[n] = rint(x * sq) with sq = (1/amax) * 127 and amax = max(max|x|, 1e-4); returns the scale 1/sq. An x * sq that is not a
 * number gives 0. */
float golden_q8(const float *x, int64_t n, int8_t *q);

/* Rotates the pairs (x[2j], x[2j+1]) of x[n_rope] by cos[j], sin[j], j < n_rope/2, BF16. */
void golden_rotate(float *x, int64_t n_rope, const uint16_t *cos, const uint16_t *sin);

/* Likewise, cos and sin FP32. */
void golden_rotate_f32(float *x, int64_t n_rope, const float *cos, const float *sin);

/* sum_i x[i] y[i]. */
float golden_dot(const float *x, const float *y, int64_t n);

/* exp and sigmoid, rounded to FP32: exp(x); 1 / (1 + exp(-x)). */
float golden_exp(float x);
float golden_sigmoid(float x);

/* y[m, n] = x[m, k] w[k, n], BF16 operands, FP32 result; _transposed: w is [n, k]. */
void golden_matmul_bf16(const uint16_t *x, const uint16_t *w, int64_t m, int64_t k, int64_t n, float *y);
void golden_matmul_bf16_transposed(const uint16_t *x, const uint16_t *w, int64_t m, int64_t k, int64_t n, float *y);

/* y[m, n] = x[m, k] w[k, n], rows of w w_stride elements apart; exact for k < 2^17. */
void golden_matmul_i8(const int8_t *x, const int8_t *w, int64_t w_stride, int64_t m, int64_t k, int64_t n, int32_t *y);

#endif
