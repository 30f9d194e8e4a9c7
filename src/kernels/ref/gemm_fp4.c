/* kernels/ref/gemm_fp4.c - products of INT8 activations and FP4 weights of the row "scalar". */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

enum { LINE = 64, GROUP_LANES = UK_FP4_STEPS + 1 };

/* Lane 0: of the sum; lane 1 + s: the values 4s .. 4s+3. */
static void tile_row(int64_t k, const int8_t *x, int64_t lane_step, char *dst)
{
    int32_t sum = 0;
    for (int64_t v = 0; v < UK_GROUP_FP4; v++) {
        int8_t value = 0;
        if (v < k) {
            value = x[v];
        }
        sum += value;
        memcpy(dst + (1 + v / 4) * lane_step + v % 4, &value, 1);
    }
    sum *= -UK_FP4_BIAS;
    memcpy(dst, &sum, sizeof sum);
}

void uk_scalar_tile_fp4(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    int64_t lane_step = 4 * group_rows, k_end = (k + UK_BLOCK_FP4 - 1) / UK_BLOCK_FP4 * UK_BLOCK_FP4;
    char *group = dst;
    for (int64_t first = 0; first < k_end; first += UK_GROUP_FP4, group += GROUP_LANES * lane_step) {
        for (int64_t i = 0; i < group_rows; i++) {
            int64_t present = i < rows && first < k ? k - first : 0;
            tile_row(present, present > 0 ? x + i * ldx + first : x, lane_step, group + 4 * i);
        }
    }
}

/* Doubled: an integer. */
static int32_t weight(const uint8_t *lines, int64_t k, int column)
{
    uint8_t byte = lines[k / 4 * LINE + 4 * (column % 16) + k % 4];
    return (int32_t)(2.0f * num_f32_from_e2m1(column < 16 ? byte & 0x0f : byte >> 4));
}

static int32_t dot(const int8_t *a, int64_t lane_step, const uint8_t *lines, int column)
{
    int32_t sum = 0;
    for (int64_t k = 0; k < UK_GROUP_FP4; k++) {
        sum += a[(1 + k / 4) * lane_step + k % 4] * weight(lines, k, column);
    }
    return sum;
}

void uk_scalar_gemm_fp4(uk_acts a, int64_t k64, const uint8_t *panel, float *c, int64_t ldc)
{
    int64_t lane_step = 4 * a.group_rows;
    for (int64_t i = 0; i < a.rows; i++) {
        const int8_t *x = (const int8_t *)a.data + i / UK_ROWS * a.group_bytes + 4 * (i % UK_ROWS);
        for (int j = 0; j < UK_PANEL; j++) {
            float sum = 0.0f;
            for (int64_t g = 0; g < 2 * k64; g++) {
                const uint8_t *block = panel + g / 2 * UK_BLOCK_BYTES_FP4;
                const uint8_t *lines = block + LINE + g % 2 * UK_FP4_STEPS * LINE;
                float scale = 0.5f * num_f32_from_e8m0(block[g % 2 * UK_PANEL + j]);
                sum = fmaf((float)dot(x + g * GROUP_LANES * lane_step, lane_step, lines, j), scale, sum);
            }
            c[i * ldc + j] = sum;
        }
    }
}
