/* kernels/avx2/tile.h - activations in the order of the products: eight full rows are transposed, other groups copied lane by lane.
 * A lane is 32 bits: two BF16 or four INT8 values of one row. */
#ifndef KERNELS_AVX2_TILE_H
#define KERNELS_AVX2_TILE_H

#include <string.h>

#include "kernels/avx2/transpose.h"

/* Stores a lane of each of eight rows, or one lane, at their place in the group. */
typedef void tile_store_fn(__m256i lanes, char *dst);
typedef void tile_store_one_fn(uint32_t lane, char *dst);

/* The lanes [first, end) of a group, one by one. Missing rows and the bytes behind row_bytes are zero. */
UK_INLINE void tile_lanes(int64_t rows, int64_t group_rows, int64_t first, int64_t end, const char *x, int64_t ld,
                          int64_t row_bytes, int64_t lane_bytes, tile_store_one_fn *store, char *dst)
{
    for (int64_t l = first; l < end; l++) {
        size_t n = (size_t)(row_bytes - 4 * l < 4 ? row_bytes - 4 * l : 4);
        for (int64_t i = 0; i < group_rows; i++) {
            uint32_t lane = 0;
            if (i < rows) {
                memcpy(&lane, x + i * ld + 4 * l, n);
            }
            store(lane, dst + (l * group_rows + i) * lane_bytes);
        }
    }
}

/* A group: rows of row_bytes bytes, ld bytes apart; a lane takes lane_bytes in dst. */
UK_INLINE void tile_group(int64_t rows, int64_t group_rows, const char *x, int64_t ld, int64_t row_bytes, int64_t lane_bytes,
                          tile_store_fn *store, tile_store_one_fn *store_one, char *dst)
{
    int64_t n_lanes = (row_bytes + 3) / 4, l = 0;
    for (; rows == UK_ROWS && 4 * (l + 8) <= row_bytes; l += 8) {
        __m256i lanes[8];
        avx2_transpose(x + 4 * l, ld, lanes);
        UK_UNROLL
        for (int j = 0; j < 8; j++) {
            store(lanes[j], dst + (l + j) * UK_ROWS * lane_bytes);
        }
    }
    tile_lanes(rows, group_rows, l, n_lanes, x, ld, row_bytes, lane_bytes, store_one, dst);
}

/* ---- INT8: as UINT8, 128 added --------------------------------------------------------------------------------------------- */

UK_INLINE void tile_store_biased(__m256i lanes, char *dst)
{
    _mm256_storeu_si256((__m256i *)dst, _mm256_xor_si256(lanes, _mm256_set1_epi8(-128)));
}

UK_INLINE void tile_store_one_biased(uint32_t lane, char *dst)
{
    lane ^= UINT32_C(0x80808080);
    memcpy(dst, &lane, sizeof lane);
}

/* ---- BF16: as FP32, or as they are ------------------------------------------------------------------------------------------- */

UK_INLINE void tile_store_widened(__m256i lanes, char *dst)
{
    __m256i even = _mm256_slli_epi32(lanes, 16), odd = _mm256_and_si256(lanes, _mm256_set1_epi32((int)0xffff0000));
    __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    _mm256_storeu_si256((__m256i *)dst, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(dst + 32), _mm256_permute2x128_si256(low, high, 0x31));
}

UK_INLINE void tile_store_one_widened(uint32_t lane, char *dst)
{
    uint32_t widened[2] = {lane << 16, lane & UINT32_C(0xffff0000)};
    memcpy(dst, widened, sizeof widened);
}

UK_INLINE void tile_store_as_is(__m256i lanes, char *dst)
{
    _mm256_storeu_si256((__m256i *)dst, lanes);
}

UK_INLINE void tile_store_one_as_is(uint32_t lane, char *dst)
{
    memcpy(dst, &lane, sizeof lane);
}

#endif
