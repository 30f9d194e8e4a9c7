/* kernels/ref/gemm.c - products of the row "scalar". */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "kernels/ref/ref.h"

/* ---- activations: the values of a step, row by row, step by step ------------------------------------------------------------- */

/* Packs steps of `values` values of `bytes` bytes; missing ones are the byte `fill`. */
static void tile(int64_t rows, int64_t group_rows, int64_t k, int64_t values, size_t bytes, const char *x, int64_t ldx, int fill,
                 char *dst)
{
    for (int64_t first = 0; first < k; first += values) {
        for (int64_t i = 0; i < group_rows; i++) {
            for (int64_t v = first; v < first + values; v++, dst += bytes) {
                if (i < rows && v < k) {
                    memcpy(dst, x + (size_t)(i * ldx + v) * bytes, bytes);
                } else {
                    memset(dst, fill, bytes);
                }
            }
        }
    }
}

void uk_scalar_tile_bf16(int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst)
{
    tile(rows, group_rows, k, 2, sizeof *x, (const char *)x, ldx, 0, dst);
}

void uk_scalar_tile_i8(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    uint8_t *biased = dst;
    tile(rows, group_rows, k, 4, sizeof *x, (const char *)x, ldx, 0, dst);
    for (int64_t i = 0; i < uk_acts_bytes_i8(&uk_row_scalar, group_rows, k); i++) {
        biased[i] ^= 0x80;
    }
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* Paired sum of k values: pair s of x lies at x[s*stride_x], that of a column of a panel at w[s*2*UK_PANEL]. An odd k takes the
 * second value of its last pair as a zero. */
static float paired_sum(int64_t k, const uint16_t *x, int64_t stride_x, const uint16_t *w)
{
    float sum = 0.0f;
    for (int64_t first = 0; first < k; first += UK_CHUNK) {
        float chunk = 0.0f;
        for (int64_t i = first; i < k && i < first + UK_CHUNK; i += 2, x += stride_x, w += 2 * UK_PANEL) {
            chunk = scalar_paired_sum(x[0], i + 1 < k ? x[1] : 0, w[0], w[1], chunk);
        }
        sum = first == 0 ? chunk : scalar_flush(sum + chunk);
    }
    return sum;
}

void uk_scalar_gemm_bf16(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i++) {
        const uint16_t *x = (const uint16_t *)((const char *)a.data + i / UK_ROWS * a.group_bytes) + 2 * (i % UK_ROWS);
        for (int j = 0; j < UK_PANEL; j++) {
            c[i * ldc + j] = paired_sum(k, x, 2 * a.group_rows, panel + 2 * j);
        }
    }
}

void uk_scalar_gemm_keys(int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c,
                         int64_t ldc)
{
    int64_t panel_values = (k + 1) / 2 * 2 * UK_PANEL;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n_panels * UK_PANEL; j++) {
            c[i * ldc + j] = paired_sum(k, keys[i], 2, panels + j / UK_PANEL * panel_values + 2 * (j % UK_PANEL));
        }
    }
}

void uk_scalar_panel_keys(int64_t k, int64_t n, const uint16_t *const *keys, int64_t first, uint16_t *panel)
{
    for (int64_t r = 0; r < (k + 1) / 2 * 2; r++) {
        for (int64_t j = 0; j < UK_PANEL; j++) {
            panel[(r / 2 * UK_PANEL + j) * 2 + r % 2] = r < k && j < n ? keys[r][first + j] : 0;
        }
    }
}

void uk_scalar_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i++) {
        const uint8_t *x = (const uint8_t *)a.data + i / UK_ROWS * a.group_bytes + 4 * (i % UK_ROWS);
        for (int j = 0; j < UK_PANEL; j++) {
            int32_t sum = correction[j];
            for (int64_t v = 0; v < 4 * k4; v++) {
                sum += x[v / 4 * 4 * a.group_rows + v % 4] * panel[(v / 4 * UK_PANEL + j) * 4 + v % 4];
            }
            c[i * ldc + j] = sum;
        }
    }
}

void uk_scalar_gemm_f32(int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < UK_PANEL; j++) {
            float sum = 0.0f;
            for (int64_t first = 0; first < k; first += UK_CHUNK) {
                float chunk = 0.0f;
                for (int64_t row = first; row < k && row < first + UK_CHUNK; row++) {
                    chunk = fmaf(a[i * lda + row], panel[row * UK_PANEL + j], chunk);
                }
                sum = first == 0 ? chunk : sum + chunk;
            }
            c[i * ldc + j] = sum;
        }
    }
}
