/* kernels/ref/ref.h - the kernels of the row "scalar": the contract of kernels.h as plain loops. Every other row agrees with it to
 * the bit. */
#ifndef KERNELS_REF_REF_H
#define KERNELS_REF_REF_H

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

#endif
