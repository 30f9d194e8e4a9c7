#include "kernels/avx2/round.h"

#include "kernels/avx2/avx2.h"

void uk_avx2_round_e4m3(int64_t n, int64_t block, const float *x, float *y)
{
    round_blocks(&round_to_e4m3, n, block, x, y);
}

void uk_avx2_round_e2m1(int64_t n, const float *x, float *y)
{
    round_blocks(&round_to_e2m1, n, UK_GROUP_FP4, x, y);
}

void uk_avx2_hadamard(int64_t n, float *x)
{
    hadamard(n, x);
}
