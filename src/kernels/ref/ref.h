/* kernels/ref/ref.h - the kernels of the row "scalar": the contract of kernels.h as plain loops. Every other row agrees with it to
 * the bit. */
#ifndef KERNELS_REF_REF_H
#define KERNELS_REF_REF_H

#include <float.h>
#include <math.h>

#include "base/numbers.h"
#include "kernels/rows.h"

#define SCALAR_DECLARE(name, result, parameters) result uk_scalar_##name parameters;
UK_KERNELS(SCALAR_DECLARE)
#undef SCALAR_DECLARE

enum { LANES = 16 };

/* The closing steps of a lane sum. Destroys s. */
static inline float scalar_sum_lanes(float s[LANES])
{
    for (int half = LANES / 2; half >= 1; half /= 2) {
        for (int l = 0; l < half; l++) {
            s[l] += s[l + half];
        }
    }
    return s[0];
}

/* x, or a zero of its sign where x is denormal. */
static inline float scalar_flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

/* fma of two widened BF16 values that flushes operands and result. A result that only rounding lifts to FLT_MIN counts as tiny
 * where it would not reach it with any exponent: seen by scaling everything out of the denormal range. */
static inline float scalar_flushing_fma(float x, float w, float s)
{
    float a = scalar_flush(x), b = scalar_flush(w), y = fmaf(a, b, scalar_flush(s));
    if (fabsf(y) <= FLT_MIN && y != 0.0f) {
        float *large = fabsf(a) < fabsf(b) ? &b : &a, *small = large == &a ? &b : &a;
        *small *= 0x1p64f;
        y = fabsf(fmaf(*small, *large, scalar_flush(s) * 0x1p64f)) < FLT_MIN * 0x1p64f ? copysignf(0.0f, y) : y;
    }
    return y;
}

/* One step of a paired sum. */
static inline float scalar_paired_sum(uint16_t x0, uint16_t x1, uint16_t w0, uint16_t w1, float sum)
{
    sum = scalar_flushing_fma(num_f32_from_bf16(x1), num_f32_from_bf16(w1), sum);
    return scalar_flushing_fma(num_f32_from_bf16(x0), num_f32_from_bf16(w0), sum);
}

#endif
