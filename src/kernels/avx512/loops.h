/* kernels/avx512/loops.h - the ceilings of this folder, for the row with BF16 products too. */
#ifndef KERNELS_AVX512_LOOPS_H
#define KERNELS_AVX512_LOOPS_H

#include "kernels/avx512/avx512.h"

enum { AVX512_N_SUMS = 16 /* independent ones: more than latency times rate */ };

float uk_avx512_loop_i8(int64_t n_rounds, int seed);
float uk_avx512_loop_f32(int64_t n_rounds, int seed);
uint64_t uk_avx512_read(const void *stream, int64_t n_bytes, int64_t ahead);
void uk_avx512_copy(void *dst, const void *src, int64_t n_bytes);

#define AVX512_LOOPS                                                                                                 \
    .i8 = {2 * 64 * AVX512_N_SUMS, uk_avx512_loop_i8}, .f32 = {2 * AVX512_STEP * AVX512_N_SUMS, uk_avx512_loop_f32}, \
    .read = uk_avx512_read, .copy = uk_avx512_copy

#endif
