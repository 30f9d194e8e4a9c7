/* kernels/avx2/tile_fp4.h - activations of gemm_fp4: for every 32 k a lane of sums, then eight lanes of four values, of each row.
 * */
#ifndef KERNELS_AVX2_TILE_FP4_H
#define KERNELS_AVX2_TILE_FP4_H

#include "kernels/avx2/tile.h"

enum { FP4_GROUP_LANES = UK_FP4_STEPS + 1 };

/* Stores as a lane what -12 times n values sum to, in the form of the product. */
typedef void tile_fp4_sums_fn(const int8_t *x, int64_t n, char *dst);

UK_INLINE void tile_fp4(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, tile_fp4_sums_fn *sums,
                        char *dst)
{
    int64_t lane_step = (int64_t)sizeof(int32_t) * group_rows, bytes = FP4_GROUP_LANES * lane_step;
    int64_t end = (k + UK_BLOCK_FP4 - 1) / UK_BLOCK_FP4 * UK_BLOCK_FP4;
    for (int64_t first = 0; first < end; first += UK_GROUP_FP4, dst += bytes) {
        int64_t n = k - first < UK_GROUP_FP4 ? k - first : UK_GROUP_FP4;
        if (rows < group_rows || n < UK_GROUP_FP4) {
            memset(dst, 0, (size_t)bytes);
        }
        if (n <= 0) {
            continue;
        }
        for (int64_t i = 0; i < rows; i++) {
            const int8_t *row = x + i * ldx + first;
            if (n == UK_GROUP_FP4) {
                sums(row, UK_GROUP_FP4, dst + 4 * i);
            } else {
                sums(row, n, dst + 4 * i);
            }
        }
        tile_group(rows, group_rows, (const char *)x + first, ldx, n, sizeof(int32_t), tile_store_as_is, tile_store_one_as_is,
                   dst + lane_step);
    }
}

#endif
