/* kernels/avx2/transpose.h - eight rows of 32-bit lanes turned into columns. */
#ifndef KERNELS_AVX2_TRANSPOSE_H
#define KERNELS_AVX2_TRANSPOSE_H

#include <immintrin.h>

#include "kernels/rows.h"

/* column[j] = lane j of each of the eight rows, of 32 bytes each. */
UK_INLINE void avx2_transpose(const char *const x[8], __m256i column[8])
{
    __m256 row[8], pair[8], four[8];
    UK_UNROLL
    for (int i = 0; i < 8; i++) {
        row[i] = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)x[i]));
    }
    UK_UNROLL
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
    UK_UNROLL
    for (int h = 0; h < 8; h += 4) {
        four[h] = _mm256_shuffle_ps(pair[h], pair[h + 2], 0x44);
        four[h + 1] = _mm256_shuffle_ps(pair[h], pair[h + 2], 0xee);
        four[h + 2] = _mm256_shuffle_ps(pair[h + 1], pair[h + 3], 0x44);
        four[h + 3] = _mm256_shuffle_ps(pair[h + 1], pair[h + 3], 0xee);
    }
    UK_UNROLL
    for (int j = 0; j < 4; j++) {
        column[j] = _mm256_castps_si256(_mm256_permute2f128_ps(four[j], four[j + 4], 0x20));
        column[j + 4] = _mm256_castps_si256(_mm256_permute2f128_ps(four[j], four[j + 4], 0x31));
    }
}

#endif
