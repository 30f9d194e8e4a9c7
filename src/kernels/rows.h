/* kernels/rows.h - the rows of the kernel table, each defined by its folder, and what the folders share. */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include "kernels/kernels.h"
#include "kernels/loops.h"

extern const uk_table uk_row_scalar;
extern const uk_table uk_row_avx2;
extern const uk_table uk_row_avx2vnni;
extern const uk_table uk_row_avx512;
extern const uk_table uk_row_avx512bf16;

extern uk_pack_fn uk_scalar_pack, uk_avx2_pack;

extern const uk_loops uk_loops_scalar;
extern const uk_loops uk_loops_avx2;
extern const uk_loops uk_loops_avx2vnni;
extern const uk_loops uk_loops_avx512;
extern const uk_loops uk_loops_avx512bf16;

/* EXP of kernels.h: its bounds, log2(e), ln(2) in two parts and the terms of the polynomial, highest power first. */
#define UK_EXP_MIN (-87.0f)
#define UK_EXP_MAX 0x1.61814cp+6f
#define UK_EXP_LOG2_E 0x1.715476p+0f
#define UK_EXP_LN2_HIGH 0x1.63p-1f
#define UK_EXP_LN2_LOW (-0x1.bd0106p-13f)
#define UK_EXP_TERMS                                                                          \
    {                                                                                         \
        0x1.a0d2cep-13f, 0x1.6e879cp-10f, 0x1.11121p-7f, 0x1.555382p-5f, 0x1.555554p-3f, 0.5f \
    }
enum { UK_EXP_N_TERMS = 6 };

/* FP4: byte 0..15 is a doubled E2M1 code plus 12, so that weights are unsigned; the activations of a group of 32 k begin with -12
 * times their sum, a lane of 32 bits a row, which takes that out again. The lanes of four INT8 follow. */
#define UK_FP4_BIASED 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0
enum { UK_FP4_BIAS = 12, UK_FP4_STEPS = UK_GROUP_FP4 / 4 };

/* round_e4m3 and round_e2m1: the least amax, and the factor of it. */
#define UK_E4M3_FLOOR 1e-4f
#define UK_E4M3_FACTOR 0x1.24924ap-9f
#define UK_E2M1_FLOOR 0x1.8p-124f
#define UK_E2M1_FACTOR 0x1.555556p-3f

/* A microkernel body is inlined once for each constant number of rows. Its loops over rows must be unrolled early enough that the
 * sums stay in registers; gcc has to be told. */
#define UK_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UK_UNROLL
#define UK_UNROLL_ALL
#else
#define UK_UNROLL _Pragma("GCC unroll 8")
#define UK_UNROLL_ALL _Pragma("GCC unroll 16")
#endif

#endif
