/* kernels/ref/round.c - roundings of rows to small floats, and the Hadamard product, of the row "scalar". */
#include <math.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

static float round_e4m3(float x)
{
    return num_f32_from_e4m3(num_e4m3_from_f32(x));
}

static float round_e2m1(float x)
{
    return isnan(x) ? x : num_f32_from_e2m1(num_e2m1_from_f32(x));
}

static void round_block(int64_t n, float floor, float factor, float (*round)(float x), const float *x, float *y)
{
    float amax = uk_scalar_amax(n, x);
    uint8_t exponent = num_e8m0_ceil_from_f32((amax > floor ? amax : floor) * factor);
    float scale = num_f32_from_e8m0(exponent);
    for (int64_t i = 0; i < n; i++) {
        y[i] = round(x[i] / scale) * scale;
    }
}

static void round_blocks(int64_t n, int64_t block, float floor, float factor, float (*round)(float x), const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += block) {
        round_block(n - i < block ? n - i : block, floor, factor, round, x + i, y + i);
    }
}

void uk_scalar_round_e4m3(int64_t n, int64_t block, const float *x, float *y)
{
    round_blocks(n, block, UK_E4M3_FLOOR, UK_E4M3_FACTOR, round_e4m3, x, y);
}

void uk_scalar_round_e2m1(int64_t n, const float *x, float *y)
{
    round_blocks(n, UK_GROUP_FP4, UK_E2M1_FLOOR, UK_E2M1_FACTOR, round_e2m1, x, y);
}

void uk_scalar_hadamard(int64_t n, float *x)
{
    for (int64_t h = 1; h < n; h *= 2) {
        for (int64_t i = 0; i < n; i++) {
            if (i / h % 2 == 0) {
                float a = x[i], b = x[i + h];
                x[i] = a + b;
                x[i + h] = a - b;
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] *= (float)(1.0 / sqrt((double)n));
    }
}
