/* kernels/avx2/loops.c - the ceiling of INT8 products: vpmaddwd with an addition. gemm_i8 of this folder takes as many operations, four
 * for 32 products. gemm_fp4 may be above it: five bits a weight let vpmaddubsw add up in INT16. */
#include "kernels/avx2/loops.h"

static float multiply_i8(int64_t n_rounds, int seed)
{
    __m256i sums[AVX2_N_SUMS], x = _mm256_set1_epi32(seed), w = _mm256_set1_epi32(seed + 5), all = w;
    UK_UNROLL_ALL
    for (int i = 0; i < AVX2_N_SUMS; i++) {
        sums[i] = _mm256_set1_epi32(i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL_ALL
        for (int i = 0; i < AVX2_N_SUMS; i++) {
            sums[i] = _mm256_add_epi32(_mm256_madd_epi16(sums[i], x), w);
            __asm__("" : "+x"(sums[i])); /* stays in its register */
        }
    }
    UK_UNROLL_ALL
    for (int i = 0; i < AVX2_N_SUMS; i++) {
        all = _mm256_add_epi32(all, sums[i]);
    }
    return (float)_mm256_extract_epi32(all, 0);
}

/* vpmaddwd multiplies 16 pairs of INT16. */
const uk_loops uk_loops_avx2 = {AVX2_LOOPS, .i8 = {2 * 16 * AVX2_N_SUMS, multiply_i8}};
