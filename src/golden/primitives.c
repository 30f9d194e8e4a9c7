/* golden/primitives.c - RMS, Q8, rotation and products as SPEC 0.2 and 0.3 define them. */
#include "golden/primitives.h"

#include <float.h>
#include <math.h>

#include "base/numbers.h"

_Static_assert(FLT_EVAL_METHOD == 0, "a float expression must round to FP32 at every operation");

/* A block of a product: its sums (32 KB of double) stay in the cache while a strip of w is read once for all rows, some terms at a
 * time. */
enum { BLOCK_ROWS = 16, BLOCK_COLS = 256, BLOCK_TERMS = 16 };

void golden_widen(const uint16_t *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_f32_from_bf16(x[i]);
    }
}

void golden_round(const float *x, int64_t n, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = num_bf16_from_f32(x[i]);
    }
}

float golden_inverse_rms(const float *x, int64_t n, float eps)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const float square = x[i] * x[i];
        sum += square;
    }
    const float mean = (float)sum * (1.0f / (float)n);
    return 1.0f / sqrtf(mean + eps);
}

void golden_rms(float *x, int64_t n, float eps)
{
    const float inv = golden_inverse_rms(x, n, eps);
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] * inv;
    }
}

void golden_rms_gamma(float *x, const uint16_t *gamma, int64_t n, float eps)
{
    golden_rms(x, n, eps);
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] * num_f32_from_bf16(gamma[i]);
    }
}

float golden_q8(const float *x, int64_t n, int8_t *q)
{
    float amax = 1e-4f;
    for (int64_t i = 0; i < n; i++) {
        amax = fmaxf(amax, fabsf(x[i]));
    }
    const float sq = (1.0f / amax) * 127.0f;
    for (int64_t i = 0; i < n; i++) {
        const float scaled = rintf(x[i] * sq);
        q[i] = isnan(scaled) ? 0 : (int8_t)scaled;
    }
    return 1.0f / sq;
}

static void rotate_pair(float *pair, float c, float s)
{
    const float even = pair[0], odd = pair[1];
    pair[0] = even * c - odd * s;
    pair[1] = even * s + odd * c;
}

void golden_rotate(float *x, int64_t n_rope, const uint16_t *cos, const uint16_t *sin)
{
    for (int64_t j = 0; j < n_rope / 2; j++) {
        rotate_pair(x + 2 * j, num_f32_from_bf16(cos[j]), num_f32_from_bf16(sin[j]));
    }
}

void golden_rotate_f32(float *x, int64_t n_rope, const float *cos, const float *sin)
{
    for (int64_t j = 0; j < n_rope / 2; j++) {
        rotate_pair(x + 2 * j, cos[j], sin[j]);
    }
}

float golden_dot(const float *x, const float *y, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * y[i];
    }
    return (float)sum;
}

float golden_exp(float x)
{
    return (float)exp(x);
}

float golden_sigmoid(float x)
{
    return 1.0f / (1.0f + golden_exp(-x));
}

/* Element (i, c) of w[k, n] lies at w[i * term_stride + c * column_stride]. */
typedef struct bf16_matrix {
    const uint16_t *w;
    int64_t term_stride, column_stride;
} bf16_matrix;

/* tile = w widened, terms [i0, i0 + terms) of its first cols columns. */
static void widen_tile(const bf16_matrix *w, int64_t i0, int64_t terms, int64_t cols, double tile[][BLOCK_COLS])
{
    for (int64_t c = 0; c < cols; c++) {
        const uint16_t *column = w->w + i0 * w->term_stride + c * w->column_stride;
        for (int64_t i = 0; i < terms; i++) {
            tile[i][c] = num_f32_from_bf16(column[i * w->term_stride]);
        }
    }
}

/* y[rows, cols] of a product with k terms; x, w and y point at the block, rows of x and y have k and n elements. BF16 products are
 * exact in double. */
static void matmul_bf16_block(const uint16_t *x, const bf16_matrix *w, int64_t rows, int64_t cols, int64_t k, int64_t n, float *y)
{
    double sums[BLOCK_ROWS][BLOCK_COLS] = {{0.0}};
    double tile[BLOCK_TERMS][BLOCK_COLS];
    for (int64_t i0 = 0; i0 < k; i0 += BLOCK_TERMS) {
        const int64_t terms = golden_min(k - i0, BLOCK_TERMS);
        widen_tile(w, i0, terms, cols, tile);
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t i = 0; i < terms; i++) {
                const double factor = num_f32_from_bf16(x[r * k + i0 + i]);
                for (int64_t c = 0; c < cols; c++) {
                    sums[r][c] += factor * tile[i][c];
                }
            }
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c++) {
            y[r * n + c] = (float)sums[r][c];
        }
    }
}

static void matmul_bf16(const uint16_t *x, const bf16_matrix *w, int64_t m, int64_t k, int64_t n, float *y)
{
    for (int64_t c = 0; c < n; c += BLOCK_COLS) {
        const bf16_matrix strip = {w->w + c * w->column_stride, w->term_stride, w->column_stride};
        for (int64_t r = 0; r < m; r += BLOCK_ROWS) {
            matmul_bf16_block(x + r * k, &strip, golden_min(m - r, BLOCK_ROWS), golden_min(n - c, BLOCK_COLS), k, n, y + r * n + c);
        }
    }
}

void golden_matmul_bf16(const uint16_t *x, const uint16_t *w, int64_t m, int64_t k, int64_t n, float *y)
{
    matmul_bf16(x, &(bf16_matrix){w, n, 1}, m, k, n, y);
}

void golden_matmul_bf16_transposed(const uint16_t *x, const uint16_t *w, int64_t m, int64_t k, int64_t n, float *y)
{
    matmul_bf16(x, &(bf16_matrix){w, 1, k}, m, k, n, y);
}

/* Likewise for INT8; rows of w are w_stride elements apart. */
static void matmul_i8_block(const int8_t *x, const int8_t *w, int64_t w_stride, int64_t rows, int64_t cols, int64_t k, int64_t n,
                            int32_t *y)
{
    int32_t sums[BLOCK_ROWS][BLOCK_COLS] = {{0}};
    int16_t w_row[BLOCK_COLS];
    for (int64_t i = 0; i < k; i++) {
        for (int64_t c = 0; c < cols; c++) {
            w_row[c] = w[i * w_stride + c];
        }
        for (int64_t r = 0; r < rows; r++) {
            const int16_t factor = x[r * k + i];
            for (int64_t c = 0; c < cols; c++) {
                sums[r][c] += factor * w_row[c];
            }
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c++) {
            y[r * n + c] = sums[r][c];
        }
    }
}

void golden_matmul_i8(const int8_t *x, const int8_t *w, int64_t w_stride, int64_t m, int64_t k, int64_t n, int32_t *y)
{
    for (int64_t r = 0; r < m; r += BLOCK_ROWS) {
        for (int64_t c = 0; c < n; c += BLOCK_COLS) {
            matmul_i8_block(x + r * k, w + c, w_stride, golden_min(m - r, BLOCK_ROWS), golden_min(n - c, BLOCK_COLS), k, n,
                            y + r * n + c);
        }
    }
}
