/* kernels/panels.h - how much memory the packers of weights need. */
#ifndef KERNELS_PANELS_H
#define KERNELS_PANELS_H

#include "kernels/kernels.h"

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* Of all panels of n columns: steps of step_bytes each, and `beside` bytes that belong to a panel. 0 on overflow. */
static inline size_t panels_bytes(int64_t n, int64_t steps, size_t step_bytes, size_t beside)
{
    size_t bytes;
    if (__builtin_mul_overflow(steps, step_bytes, &bytes) || __builtin_add_overflow(bytes, beside, &bytes) ||
        __builtin_mul_overflow(bytes, ceil_div(n, UK_PANEL), &bytes)) {
        return 0;
    }
    return bytes;
}

#endif
