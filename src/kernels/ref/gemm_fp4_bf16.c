/* kernels/ref/gemm_fp4_bf16.c - products of BF16 activations and FP4 weights of the row "scalar". */
#include "base/numbers.h"
#include "kernels/ref/ref.h"

enum { LINE = 64 };

/* Row k of a column of a group, exact. */
static uint16_t weight(const uint8_t *lines, int64_t k, int column)
{
    uint8_t byte = lines[k / 4 * LINE + 4 * (column % 16) + k % 4];
    float w = num_f32_from_e2m1(column < 16 ? byte & 0x0f : byte >> 4);
    return (uint16_t)(num_bits_from_f32(w) >> 16);
}

static float group_sum(const uint16_t *x, int64_t x_step, const uint8_t *lines, int column)
{
    float sum = 0.0f;
    for (int64_t k = 0; k < UK_GROUP_FP4; k += 2, x += x_step) {
        sum = scalar_paired_sum(x[0], x[1], weight(lines, k, column), weight(lines, k + 1, column), sum);
    }
    return sum;
}

void uk_scalar_gemm_fp4_bf16(uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i++) {
        const uint16_t *x = (const uint16_t *)((const char *)a.data + i / UK_ROWS * a.group_bytes) + 2 * (i % UK_ROWS);
        for (int j = 0; j < UK_PANEL; j++) {
            float sum = 0.0f;
            for (int64_t g = 0; g < k / UK_GROUP_FP4; g++) {
                const uint8_t *block = panel + g / 2 * UK_BLOCK_BYTES_FP4;
                const uint8_t *lines = block + LINE + g % 2 * UK_FP4_STEPS * LINE;
                float d = group_sum(x + g * UK_GROUP_FP4 * a.group_rows, 2 * a.group_rows, lines, j);
                sum = scalar_flushing_fma(num_f32_from_e8m0(block[g % 2 * UK_PANEL + j]), d, sum);
            }
            c[i * ldc + j] = sum;
        }
    }
}
