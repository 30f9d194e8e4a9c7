/* cli/ablate/pieces.h - what bodies of blocks are made of: elements of matrices, products, quantising, rotation. */
#ifndef CLI_ABLATE_PIECES_H
#define CLI_ABLATE_PIECES_H

#include "kernels/pack.h"
#include "ops/matrix.h"

static inline uint16_t *ablate_bf16(const op_matrix *m, int64_t row, int64_t col)
{
    return (uint16_t *)m->data + row * m->ld + col;
}

static inline int32_t *ablate_i32(const op_matrix *m, int64_t row, int64_t col)
{
    return (int32_t *)m->data + row * m->ld + col;
}

static inline int8_t *ablate_i8(const op_matrix *m, int64_t row, int64_t col)
{
    return (int8_t *)m->data + row * m->ld + col;
}

/* ---- products: x and w BF16, y F32; or I8, y I32 ---------------------------------------------------------------------------- */

/* Bytes of UK_ROWS rows of x, packed; a multiple of 64. */
int64_t ablate_group_bytes(const uk_table *uk, dsv4_dtype dtype, int64_t k);

/* Packs rows of x, ldx elements apart, in groups of UK_ROWS one behind the other. */
uk_acts ablate_pack_rows(const uk_table *uk, dsv4_dtype dtype, const void *x, int64_t ldx, int64_t n_rows, int64_t k, void *memory);

/* y = x w; rows of y, ldy elements apart, have room for whole panels. */
void ablate_multiply(const uk_table *uk, dsv4_dtype dtype, uk_acts x, const uk_packed *w, void *y, int64_t ldy);

/* Copies rows of n_cols sums. */
void ablate_copy_sums(int64_t n_rows, int64_t n_cols, const void *from, int64_t ld_from, void *to, int64_t ld_to);

/* y[m, n] = x[m, k] w: a product in one piece. Element (k, n) of w lies at k*stride_k + n*stride_n. */
typedef struct ablate_matmul {
    dsv4_dtype dtype;
    int64_t m, k, n;
    const void *x;
    int64_t ldx;
    const void *w;
    int64_t stride_k, stride_n;
    void *y;
    int64_t ldy;
} ablate_matmul;

/* scratch: 64-byte aligned, ablate_matmul_bytes long. */
size_t ablate_matmul_bytes(const uk_table *uk, dsv4_dtype dtype, int64_t m, int64_t k, int64_t n);
void ablate_matmul_run(const uk_table *uk, const ablate_matmul *p, void *scratch);

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

/* Q8 of a row; returns the scale. */
float ablate_q8(const uk_table *uk, int64_t n, const float *x, int8_t *q);

/* Rotates 2*n_pairs values in place by angles in BF16; work: [2*n_pairs]. */
void ablate_rotate(const uk_table *uk, int64_t n_pairs, const uint16_t *cos, const uint16_t *sin, float *work, float *x);

/* Which of R interleaved elements is element j of the even ones followed by the odd ones. */
static inline int64_t ablate_interleaved(int64_t j, int64_t R)
{
    return j < R / 2 ? 2 * j : 2 * (j - R / 2) + 1;
}

#endif
