/* kernels/scalar_row.h - the scalar row, and what its tests compare it with.
 *
 * A product of two FP32 values is exact in double, and a sum of two rounds through double as if directly (53 >= 2*24 + 2). */
#ifndef TESTS_KERNELS_SCALAR_ROW_H
#define TESTS_KERNELS_SCALAR_ROW_H

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/values.h"

static const uk_table *ref;

static inline int find_scalar(void **state)
{
    (void)state;
    dsv4_error err = {0};
    return uk_find("scalar", &ref, &err) == DSV4_OK ? 0 : -1;
}

static inline void fill_f32(float *x, int64_t n, flavour f, uint64_t *random)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_f32(random, f);
    }
}

static inline float product(float a, float b)
{
    return (float)((double)a * (double)b);
}

static inline float sum(float a, float b)
{
    return (float)((double)a + (double)b);
}

static inline void expect_f32(float got, float want)
{
    if (num_bits_from_f32(got) != num_bits_from_f32(want) && !(isnan(got) && isnan(want))) {
        fail_msg("%a, expected %a", (double)got, (double)want);
    }
}

#endif
