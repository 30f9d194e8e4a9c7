/* kernels/kernels.h - the microkernels: one table of functions per instruction set, chosen at run time.
 *
 * A kernel allocates nothing, starts nothing and knows no global. It reads and writes exactly the elements its contract names: no
 * over-read, no alignment needed beyond that of the element type (packed panels are 64-byte aligned). Inputs and outputs do not
 * overlap unless the contract says so. A count of 0 is allowed.
 *
 * EXACTNESS Every kernel has one result: the contract fixes the order of every sum, so the rows of the table agree to the bit.
 *   - FP32 operations round once, to nearest even, denormals included; a product and a sum are fused only where fma is named.
 *   - LANE SUM of x[0..n): sixteen partial sums, s[l] = x[l] + x[l+16] + ... in ascending order from 0.0f; then s[l] += s[l+8] for
 *     l < 8, s[l] += s[l+4] for l < 4, s[l] += s[l+2] for l < 2, result s[0] + s[1]. Missing elements of the last round are not
 *     added.
 *   - A result that is a NaN is a NaN in every row; its sign and payload are not fixed.
 *
 * LAYOUT of packed weights (pack.h) [K, N], cut into panels of UK_PANEL = 32 columns, the last one padded with zeros:
 *   BF16  panel p, row k: 32 values, value 2c is column c, value 2c+1 is column c+16 (one 32-bit lane holds columns c and c+16)
 *   INT8  panel p, rows 4r..4r+3: byte 4c+i is column c of row 4r+i; K padded with zeros to a multiple of 4 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

enum { UK_PANEL = 32, UK_MAX_ROWS = 8, UK_MAX_K_I8 = 65536 };

/* name, result type, parameters: feeds the table, the declarations and the tests.
 *
 * gemm_bf16   c[i][j] = (add ? c[i][j] : nothing) + sum over k ascending of a[i][k] * w[k][j], i < m, j < 32. The sum is one
 *             accumulator from 0.0f, one fma a step (exact products where a holds widened BF16 values). 1 <= m <= 8; lda and ldc
 *             count elements.
 * gemm_i8     c[i][j] = correction[j] + sum over k < 4*k4 of a[i][k] * w[k][j] in INT32, i < m, j < 32; a holds INT8 activations
 *             plus 128 as UINT8; correction[j] = -128 * sum_k w[k][j], made by the packer. |sum| < 2^31 for 4*k4 <= UK_MAX_K_I8.
 *             1 <= m <= 8; lda and ldc count elements.
 * sum_squares lane sum of x[i]*x[i] (each square rounded)
 * amax        max |x[i]|, 0 for n = 0; NaNs are passed over
 * scale_gamma y[i] = (x[i]*inv)*gamma[i], gamma BF16; returns amax of y; y may be x
 * scale       y[i] = x[i]*inv; y may be x
 * add         y[i] = y[i] + x[i]
 * quantize_i8 q[i] = rint(x[i]*sq), ties to even, saturated to -128..127; -128 where the product is NaN or not below 2^31
 *             (sq = 127/amax keeps the product below 127.5)
 * dequant_i32 y[i] = ((float)acc[i]*row_scale)*col_scale[i]
 * widen_bf16  y[i] = x[i], exact
 * narrow_bf16 y[i] = bf(x[i]), ties to even; a NaN keeps its sign and upper payload and becomes quiet
 * bias_i8     y[i] = x[i] + 128
 * rotate      y[2j] = x[2j]*c[j] - x[2j+1]*s[j], y[2j+1] = x[2j]*s[j] + x[2j+1]*c[j], j < n_pairs; in place; c, s FP32 */
#define UK_KERNELS(X)                                                                                                              \
    X(gemm_bf16, void, (int m, int64_t k, const float *a, int64_t lda, const uint16_t *panel, float *c, int64_t ldc, bool add))    \
    X(gemm_i8, void,                                                                                                               \
      (int m, int64_t k4, const uint8_t *a, int64_t lda, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)) \
    X(sum_squares, float, (int64_t n, const float *x))                                                                             \
    X(amax, float, (int64_t n, const float *x))                                                                                    \
    X(scale_gamma, float, (int64_t n, const float *x, float inv, const uint16_t *gamma, float *y))                                 \
    X(scale, void, (int64_t n, const float *x, float inv, float *y))                                                               \
    X(add, void, (int64_t n, const float *x, float *y))                                                                            \
    X(quantize_i8, void, (int64_t n, const float *x, float sq, int8_t *q))                                                         \
    X(dequant_i32, void, (int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y))                       \
    X(widen_bf16, void, (int64_t n, const uint16_t *x, float *y))                                                                  \
    X(narrow_bf16, void, (int64_t n, const float *x, uint16_t *y))                                                                 \
    X(bias_i8, void, (int64_t n, const int8_t *x, uint8_t *y))                                                                     \
    X(rotate, void, (int64_t n_pairs, const float *c, const float *s, float *x))

typedef struct uk_table {
    const char *isa; /* "scalar", "avx2", "avx512" */
#define UK_MEMBER(name, result, parameters) result(*name) parameters;
    UK_KERNELS(UK_MEMBER)
#undef UK_MEMBER
} uk_table;

/* The rows of the build, best first; NULL-terminated. A row is listed even if this machine cannot run it. */
const uk_table *const *uk_all(void);

/* The first feature ("avx512vnni") that this row needs and the processor or operating system lacks; NULL if the row runs here. */
const char *uk_missing_feature(const uk_table *table);

/* True if this machine runs that row. */
bool uk_is_supported(const uk_table *table);

/* The row named isa. For NULL the one that the environment variable DSV4_ISA names, or the best one that this machine runs where
 * that is unset or empty. DSV4_E_NOT_FOUND names the rows there are, DSV4_E_UNSUPPORTED says what the machine lacks. */
DSV4_MUST_CHECK dsv4_status uk_find(const char *isa, const uk_table **out, dsv4_error *err);

#endif
