/* kernels/ref/gemm_fp8.c - products of BF16 activations and FP8 weights of the row "scalar". */
#include "base/numbers.h"
#include "kernels/ref/ref.h"

/* Row 2r+i of a column of step r, exact. */
static uint16_t weight(const uint8_t *step, int column, int i)
{
    float w = num_f32_from_e4m3(step[16 * (column % 16 / 4) + 8 * (column / 16) + 2 * (column % 4) + i]);
    return (uint16_t)(num_bits_from_f32(w) >> 16);
}

static float chunk_sum(int64_t n_steps, const uint16_t *x, int64_t x_step, const uint8_t *panel, int column)
{
    float sum = 0.0f;
    for (int64_t s = 0; s < n_steps; s++, x += x_step, panel += 2 * UK_PANEL) {
        sum = scalar_paired_sum(x[0], x[1], weight(panel, column, 0), weight(panel, column, 1), sum);
    }
    return sum;
}

void uk_scalar_gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i++) {
        const uint16_t *x = (const uint16_t *)((const char *)a.data + i / UK_ROWS * a.group_bytes) + 2 * (i % UK_ROWS);
        for (int j = 0; j < UK_PANEL; j++) {
            float sum = 0.0f;
            for (int64_t first = 0; first < k; first += UK_CHUNK) {
                int64_t n = k - first < UK_CHUNK ? k - first : UK_CHUNK;
                float d = chunk_sum((n + 1) / 2, x + first * a.group_rows, 2 * a.group_rows, panel + first * UK_PANEL, j);
                sum = scalar_flushing_fma(scales[first / UK_CHUNK], d, sum);
            }
            c[i * ldc + j] = sum;
        }
    }
}
