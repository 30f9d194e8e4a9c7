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
 *   - MAX over rows: from -infinity in ascending order, replaced where a value is greater. So NaNs are passed over and of a zero of
 *     either sign the first stays.
 *   - EXP(x): 0 below -87, infinity above 0x1.61814cp+6 (88.38), NaN of a NaN; else t = rint(x * 0x1.715476p+0f), ties to even,
 *     r = fma(t, -0x1.63p-1f, x), r = fma(t, 0x1.bd0106p-13f, r); p = 0x1.a0d2cep-13f, then p = fma(p, r, c) for
 *     c = 0x1.6e879cp-10f, 0x1.11121p-7f, 0x1.555382p-5f, 0x1.555554p-3f, 0.5f; y = fma(p, r*r, r) + 1, t added to the exponent of
 *     y. Between the two bounds, both included, within 2 ulp of e^x.
 *   - DENORMALS: in the products of BF16 values (gemm_bf16, gemm_keys, gemm_fp8, gemm_fp4_bf16) an operand below FLT_MIN in size
 *     counts as a zero of its sign, and so does the result of every fma and of every addition of chunk sums (as it would round
 *     with any exponent). Elsewhere denormals are numbers like others.
 *   - PAIRED SUM over k of x[k]*w[k]: k is cut into chunks of UK_CHUNK. In a chunk, from 0.0f, two k at a time:
 *     s = fma(x[2r+1], w[2r+1], s), then s = fma(x[2r], w[2r], s); an odd count is filled up with a zero. The sums of the chunks
 *     are added in ascending order. A step is what vdpbf16ps computes, so rows with and without that instruction agree; short
 *     chunks keep rounding errors small.
 *
 * LAYOUT of packed weights (pack.h) [K, N], cut into panels of UK_PANEL = 32 columns, the last one padded with zeros. A panel is a
 * stream of steps of 128 bytes (INT8, BF16), lane c of 32 bits is column c:
 *   BF16  panel p, step r: value 2c is row 2r of column c, value 2c+1 row 2r+1; K padded with zeros to a multiple of 2
 *   INT8  panel p, step r: byte 4c+i is row 4r+i of column c; K padded with zeros to a multiple of 4
 *   F32   panel p, row k: 32 values, value c is column c
 *   FP8   panel p, step r, 64 bytes: byte 16q+8h+2c+i is row 2r+i of column 16h+4q+c; K padded with zeros to a multiple of 2
 *   FP4   panel p, block r of 64 rows, 17 lines of 64 bytes: byte 32g+c of line 0 is the scale of rows 64r+32g .. +31 of column c;
 *         byte 4c+i of line 1+s is row 64r+4s+i, its low nibble of column c, its high one of column 16+c. K padded with zeros to a
 *         multiple of 64; scales of padding are 127, since that of 0 is a denormal and slow
 *
 * LAYOUT of activations (uk_acts): groups of UK_ROWS rows; all rows of a group advance together through k, so that one short
 * stretch of memory serves a step. Made by tile_bf16 and tile_i8; what lies within is private to a row of the table. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

enum { UK_PANEL = 32, UK_ROWS = 8, UK_CHUNK = 128, UK_MAX_K_I8 = 65536 };
enum { UK_GROUP_FP4 = 32 /* rows of a scale */, UK_BLOCK_FP4 = 64 /* rows */, UK_BLOCK_BYTES_FP4 = 17 * 64 };

/* Activations as the products take them; borrowed. */
typedef struct uk_acts {
    const void *data; /* of the first group at the first k */
    int64_t rows;
    int64_t group_rows;  /* 1 .. UK_ROWS: what each group has room for; the last group may hold fewer */
    int64_t group_bytes; /* from group to group */
} uk_acts;

/* A weight, or a part of one, as it lies in memory; borrowed. Element (k, n) is the one of index k*stride_k + n*stride_n. */
typedef struct uk_source {
    const void *data;
    int64_t elem_bytes; /* 1 INT8, 2 BF16, 4 F32 */
    int64_t k, n, stride_k, stride_n;
} uk_source;

/* Packs w, w.n <= UK_PANEL, as a whole panel, 32-byte aligned: 128 bytes for each 4 / elem_bytes rows, padded with zeros. Fast
 * where one of the strides is 1. */
typedef void uk_pack_fn(uk_source w, void *panel);

/* name, result type, parameters: feeds the table, the declarations and the tests.
 *
 * tile_bf16   packs one group: dst = rows x[i][0..k), i < rows <= group_rows, of BF16 values, ldx apart; missing rows and an odd k
 *             are filled up with zeros. dst has uk_acts_bytes_bf16 bytes.
 * tile_i8     packs one group of INT8 values; missing rows and k up to a multiple of 4 are filled up. dst has uk_acts_bytes_i8
 *             bytes.
 * tile_fp4    packs one group of INT8 values for gemm_fp4; missing rows and k up to a multiple of UK_BLOCK_FP4 are filled up. dst
 *             has uk_acts_bytes_fp4 bytes.
 * gemm_bf16   c[i][j] = paired sum over k of a[i][k] * w[k][j], i < a.rows, j < 32. ldc counts elements.
 *             Fast where k <= 512: that much of a panel stays near for all groups.
 * gemm_i8     c[i][j] = sum over k < 4*k4 of a[i][k] * w[k][j] in INT32, i < a.rows, j < 32; |sum| < 2^31 for 4*k4 <= UK_MAX_K_I8.
 *             correction[j] = -128 * sum_k w[k][j], made by the packer, is for rows that keep activations with 128 added.
 * gemm_fp8    c[i][j] = sum over the chunks b of UK_CHUNK rows, ascending, of scales[b] * d[b], one fma each from 0.0f; d[b] =
 *             paired sum over the chunk of a[i][k] * w[k][j], w E4M3, exact in BF16. i < a.rows, j < 32; a is that of gemm_bf16.
 *             DENORMALS holds for scales[b] and d[b] too: a scale of 2^-127 counts as zero.
 * gemm_fp4    c[i][j] = sum over the groups g of 32 rows, ascending, of (float)d[g] * 2^(e[g][j] - 128), one fma each from 0.0f;
 *             d[g] = sum over the group of a[i][k] * 2w[k][j] in INT32, w E2M1. e = 255 is a NaN. i < a.rows, j < 32; there are
 *             2*k64 groups.
 * gemm_fp4_bf16  c[i][j] = sum over the groups g of 32 rows, ascending, of 2^(e[g][j] - 127) * d[g], one fma each from 0.0f; d[g]
 *             = paired sum over the group of a[i][k] * w[k][j], w E2M1, exact in BF16. e = 255 is a NaN. i < a.rows, j < 32; a is
 *             that of gemm_bf16, the panel that of gemm_fp4; k is a multiple of UK_GROUP_FP4. DENORMALS holds for the scales and
 *             d[g] too: e = 0 counts as zero.
 * gemm_f32    c[i][j] = sum over k of a[i][k] * w[k][j], i < m, j < 32. k is cut into chunks of UK_CHUNK:
 *             in each, one accumulator from 0.0f, one fma a step in ascending order; then their sums are added in ascending order.
 *             1 <= m <= UK_ROWS; lda and ldc count elements.
 * gemm_keys   c[i][j] = paired sum over d < k of keys[i][d] * w[d][j], i < n, j < 32*n_panels: gathered rows of BF16 values in
 *             their natural order, of any alignment, against panels that lie one behind the other. ldc counts elements.
 * panel_keys  packs a panel: row r, r < k, is keys[r][first .. first + n), n <= 32; missing columns and an odd k are filled up with
 *             zeros.
 * softmax     for each column h < n_cols of s[n_rows][ld]: m[h] = MAX over rows of s*scale; e = EXP(s*scale - m[h]);
 *             l[h] = sum of e over ascending rows, from 0.0f. acts = bf(e) as activations: row h is column h, k is the row of s;
 *             groups of UK_ROWS without a gap; missing rows and an odd k are filled up with zeros. n_rows >= 1. A NaN in s*scale,
 *             an infinite m[h] too, makes e there and l[h] NaN.
 * pool        y[i] = sum over ascending r of k[r][i] * (e_r / sum of e), e_r = EXP(s[r][i] - MAX over r of s[r][i]), the sum of e
 *             ascending from 0.0f, each product rounded, then added, from 0.0f. An s at or below -FLT_MAX has e = 0 and its k still
 *             takes part; if all have, y[i] = 0 whatever k. n_rows >= 1. A NaN or +infinity in s makes y[i] NaN.
 * index_score y[c] = lane sum over h < n_heads of max((float(acc[c][h]) * q_scale[h]) * k_scale[c], 0) * w[h], c < n_keys, both
 *             factors of the last product rounded before it; acc has rows of ld elements. max of a NaN, or -0, and 0 is +0.
 * exp         y[i] = EXP(x[i]); NaN where x is; y may be x
 * add_scaled  y[i] = y[i] + a*x[i], the product rounded
 * weigh_rows  y[i] = bf(x[0][i]*a[0] + x[1][i]*a[1] + ...), r < n_rows ascending, n_rows >= 1; products and sums are rounded
 * blend       y[r][i] = a[r]*y[r][i] + b[r]*x[r][i], r < n_rows, i < UK_PANEL, each product rounded; rows follow each other
 * divide      y[r*ldy + i] = x[r][i] / d[r], r < n_rows, i < UK_PANEL; rows of x follow each other
 * add_dequant y[i] = y[i] + (float)acc[i]*scale, the product rounded
 * scale_cols  y[i] = x[i]*col_scale[i]; y may be x
 * sum_squares lane sum of x[i]*x[i] (each square rounded)
 * amax        max |x[i]|, 0 for n = 0; NaNs are passed over
 * scale_gamma y[i] = (x[i]*inv)*gamma[i], gamma BF16; returns amax of y; y may be x
 * scale       y[i] = x[i]*inv; y may be x
 * sum_parts   y[i] = sum over ascending p < n_parts of x[p*stride + i], in double from 0, rounded once
 * add         y[i] = y[i] + x[i]
 * quantize_i8 q[i] = rint(x[i]*sq), ties to even, saturated to -128..127; -128 where the product is NaN or not below 2^31
 *             (sq = 127/amax keeps the product below 127.5)
 * q8_bf16     q = Q8 of BF16 values (SPEC 0.3): amax = max |x[i]|, NaNs passed over; sq = 1/max(amax, 1e-4f) * 127, the quotient
 *             rounded first; q[i] as quantize_i8 makes it of x[i] and sq. Returns sq.
 * round_e4m3  y = e4m3(x / s) * s in blocks of `block` values, the last one maybe shorter: amax = max |x[i]| of the block, NaNs
 *             passed over, 1e-4f at least; s = the smallest power of two that is not below amax * 0x1.24924ap-9f (1/448), the
 *             product rounded, 2^127 at most; e4m3 clamps to +-448 and keeps the sign of zeros. y is NaN where x is and infinite
 *             where x is. y may be x. block >= 1
 * round_e2m1  the same for e2m1 in blocks of UK_GROUP_FP4 values: amax is 0x1.8p-124f at least, its factor is 0x1.555556p-3f (1/6),
 *             e2m1 clamps to +-6
 * hadamard    x = H x / sqrt(n), H the Hadamard matrix in Sylvester order, n a power of two: for h = 1, 2, 4 .. n/2 every pair a =
 *             x[i], b = x[i+h], i / h even, becomes a + b, a - b; then each value is multiplied by 1 / sqrt(n), of doubles,
 *             rounded to FP32. In place
 * dequant_i32 y[i] = ((float)acc[i]*row_scale)*col_scale[i]
 * widen_bf16  y[i] = x[i], exact
 * narrow_bf16 y[i] = bf(x[i]), ties to even; a NaN keeps its sign and upper payload and becomes quiet
 * rotate      y[2j] = x[2j]*c[j] - x[2j+1]*s[j], y[2j+1] = x[2j]*s[j] + x[2j+1]*c[j], j < n_pairs; in place; c, s FP32 */
/* Products of BF16 values, of INT8 values, and all the others. */
#define UK_BF16_KERNELS(X)                                                                                                      \
    X(tile_bf16, void, (int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst))                \
    X(gemm_bf16, void, (uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc))                                    \
    X(gemm_keys, void,                                                                                                          \
      (int64_t n, int64_t k, const uint16_t *const *keys, int64_t n_panels, const uint16_t *panels, float *c, int64_t ldc))     \
    X(softmax, void, (int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, void *acts)) \
    X(gemm_fp8, void, (uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc))                 \
    X(gemm_fp4_bf16, void, (uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc))
#define UK_I8_KERNELS(X)                                                                                     \
    X(tile_i8, void, (int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)) \
    X(gemm_i8, void, (uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc))
#define UK_OTHER_KERNELS(X)                                                                                         \
    X(tile_fp4, void, (int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst))       \
    X(gemm_fp4, void, (uk_acts a, int64_t k64, const uint8_t *panel, float *c, int64_t ldc))                        \
    X(gemm_f32, void, (int m, int64_t k, const float *a, int64_t lda, const float *panel, float *c, int64_t ldc))   \
    X(panel_keys, void, (int64_t k, int64_t n, const uint16_t *const *keys, int64_t first, uint16_t *panel))        \
    X(pool, void, (int64_t n, int64_t n_rows, const float *const *k, const float *const *s, float *y))              \
    X(index_score, void,                                                                                            \
      (int64_t n_keys, int64_t n_heads, const int32_t *acc, int64_t ld, const float *q_scale, const float *k_scale, \
       const float *w, float *y))                                                                                   \
    X(exp, void, (int64_t n, const float *x, float *y))                                                             \
    X(add_scaled, void, (int64_t n, float a, const float *x, float *y))                                             \
    X(weigh_rows, void, (int64_t n, int64_t n_rows, const uint16_t *const *x, const float *a, uint16_t *y))         \
    X(blend, void, (int64_t n_rows, const float *a, const float *b, const float *x, float *y))                      \
    X(divide, void, (int64_t n_rows, const float *d, const float *x, float *y, int64_t ldy))                        \
    X(add_dequant, void, (int64_t n, const int32_t *acc, float scale, float *y))                                    \
    X(scale_cols, void, (int64_t n, const float *x, const float *col_scale, float *y))                              \
    X(sum_squares, float, (int64_t n, const float *x))                                                              \
    X(amax, float, (int64_t n, const float *x))                                                                     \
    X(scale_gamma, float, (int64_t n, const float *x, float inv, const uint16_t *gamma, float *y))                  \
    X(scale, void, (int64_t n, const float *x, float inv, float *y))                                                \
    X(sum_parts, void, (int64_t n, int64_t n_parts, const float *x, int64_t stride, float *y))                      \
    X(add, void, (int64_t n, const float *x, float *y))                                                             \
    X(quantize_i8, void, (int64_t n, const float *x, float sq, int8_t *q))                                          \
    X(q8_bf16, float, (int64_t n, const uint16_t *x, int8_t *q))                                                    \
    X(round_e4m3, void, (int64_t n, int64_t block, const float *x, float *y))                                       \
    X(round_e2m1, void, (int64_t n, const float *x, float *y))                                                      \
    X(hadamard, void, (int64_t n, float *x))                                                                        \
    X(dequant_i32, void, (int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y))        \
    X(widen_bf16, void, (int64_t n, const uint16_t *x, float *y))                                                   \
    X(narrow_bf16, void, (int64_t n, const float *x, uint16_t *y))                                                  \
    X(rotate, void, (int64_t n_pairs, const float *c, const float *s, float *x))
#define UK_KERNELS(X) UK_BF16_KERNELS(X) UK_I8_KERNELS(X) UK_OTHER_KERNELS(X)

typedef struct uk_table {
    const char *isa;        /* "scalar", "avx2", ... */
    int64_t act_bytes_bf16; /* that tile_bf16 keeps of a value: 2, or 4 where it is widened ahead */
    int64_t act_bytes_i8;   /* that tile_i8 keeps of a value: 1, or 2 where sign and size are kept apart */
    int64_t act_lead_i8;    /* and of a row before its values */
#define UK_MEMBER(name, result, parameters) result(*name) parameters;
    UK_KERNELS(UK_MEMBER)
#undef UK_MEMBER
    uk_pack_fn *pack;
} uk_table;

/* Bytes of one group of activations; a range of k of BF16 values that begins at a multiple of 2 lies k * group_rows * the bytes of a
 * value behind the beginning of its group. INT8 rows are packed and multiplied as a whole. */
static inline int64_t uk_acts_bytes_bf16(const uk_table *uk, int64_t group_rows, int64_t k)
{
    return (k + 1) / 2 * 2 * group_rows * uk->act_bytes_bf16;
}
static inline int64_t uk_acts_bytes_i8(const uk_table *uk, int64_t group_rows, int64_t k)
{
    return ((k + 3) / 4 * 4 * uk->act_bytes_i8 + uk->act_lead_i8) * group_rows;
}
/* A range of k that begins at a multiple of UK_BLOCK_FP4 lies as many bytes behind the beginning as that many k take. */
static inline int64_t uk_acts_bytes_fp4(int64_t group_rows, int64_t k)
{
    int64_t group_bytes = UK_GROUP_FP4 + (int64_t)sizeof(int32_t);
    return (k + UK_BLOCK_FP4 - 1) / UK_BLOCK_FP4 * (UK_BLOCK_FP4 / UK_GROUP_FP4) * group_bytes * group_rows;
}

/* The rows of the build, best first; NULL-terminated. A row is listed even if this machine cannot run it. */
const uk_table *const *uk_all(void);

/* The first feature ("avx512vnni") that this row needs and the processor or operating system lacks; NULL if the row runs here. */
const char *uk_missing_feature(const uk_table *table);

/* True if this machine runs that row. */
bool uk_is_supported(const uk_table *table);

/* The row named isa. For NULL the one that the environment variable DSV4_ISA names; where that is unset or empty, the best one that
 * this machine runs, the same for the whole process: of avx512bf16 and avx512 the one that a measurement of less than a millisecond
 * at the first call finds faster, as that differs between processors. Any thread. DSV4_E_NOT_FOUND names the rows there are,
 * DSV4_E_UNSUPPORTED says what the machine lacks. */
DSV4_MUST_CHECK dsv4_status uk_find(const char *isa, const uk_table **out, dsv4_error *err);

#endif
