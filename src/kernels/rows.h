/* kernels/rows.h - the rows of the kernel table, each defined by its folder, and what the folders share. */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include "kernels/kernels.h"

extern const uk_table uk_row_scalar;
extern const uk_table uk_row_avx2;
extern const uk_table uk_row_avx512;

/* A microkernel body is inlined once for each constant number of rows. Its loops over rows must be unrolled early enough that the
 * sums stay in registers; gcc has to be told. */
#define UK_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UK_UNROLL
#else
#define UK_UNROLL _Pragma("GCC unroll 8")
#endif

#endif
