#include "ops/rms.h"

#include <math.h>

#include "ops/chunk.h"

static float inverse_rms(double sum, int64_t m, float eps)
{
    return 1.0f / sqrtf((float)sum * (1.0f / (float)m) + eps);
}

float op_inverse_rms(const float *chunk_sums, int64_t n, int64_t m, float eps)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += chunk_sums[i];
    }
    return inverse_rms(sum, m, eps);
}

float op_row_inverse_rms(const uk_table *uk, const float *row, int64_t m, float eps)
{
    double sum = 0;
    for (int64_t chunk = 0; chunk < op_chunks(m); chunk++) {
        tile_range col = tile_at(chunk, OP_SUM_CHUNK, m);
        sum += uk->sum_squares(col.end - col.begin, row + col.begin);
    }
    return inverse_rms(sum, m, eps);
}

float op_q8_multiplier(float amax)
{
    return 1.0f / fmaxf(amax, 1e-4f) * 127.0f;
}
