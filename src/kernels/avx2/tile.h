/* kernels/avx2/tile.h - activations in the order of the products: rows are transposed eight lanes at a time.
 * A lane is 32 bits: two BF16 or four INT8 values of one row. */
#ifndef KERNELS_AVX2_TILE_H
#define KERNELS_AVX2_TILE_H

#include <string.h>

#include "kernels/avx2/transpose.h"

/* Stores eight lanes, or one, behind each other. */
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

/* Whole lanes of several rows, eight at a time; returns how many were done. Eight rows are stored even where the group has room for
 * fewer: the next store, or tile_lanes, puts right what lies behind it, so the last ones are left to that. */
UK_INLINE int64_t tile_eights(int64_t rows, int64_t group_rows, int64_t n_lanes, const char *x, int64_t ld, int64_t lane_bytes,
                              tile_store_fn *store, char *dst)
{
    static const char absent[32];
    int64_t l = 0, spare = group_rows < UK_ROWS ? UK_ROWS : 0;
    for (; l + 8 + spare <= n_lanes; l += 8) {
        const char *row[UK_ROWS];
        __m256i lanes[8];
        UK_UNROLL
        for (int i = 0; i < UK_ROWS; i++) {
            row[i] = i < rows ? x + i * ld + 4 * l : absent;
        }
        avx2_transpose(row, lanes);
        UK_UNROLL
        for (int j = 0; j < 8; j++) {
            store(lanes[j], dst + (l + j) * group_rows * lane_bytes);
        }
    }
    return l;
}

/* Whole lanes of a single row. */
UK_INLINE int64_t tile_row(int64_t n_lanes, const char *x, int64_t lane_bytes, tile_store_fn *store, char *dst)
{
    int64_t l = 0;
    for (; l + 8 <= n_lanes; l += 8) {
        store(_mm256_loadu_si256((const __m256i *)(x + 4 * l)), dst + l * lane_bytes);
    }
    return l;
}

/* A group: rows of row_bytes bytes, ld bytes apart; a lane takes lane_bytes in dst. */
UK_INLINE void tile_group(int64_t rows, int64_t group_rows, const char *x, int64_t ld, int64_t row_bytes, int64_t lane_bytes,
                          tile_store_fn *store, tile_store_one_fn *store_one, char *dst)
{
    int64_t n_whole = row_bytes / 4, done;
    if (group_rows == 1) {
        done = tile_row(n_whole, x, lane_bytes, store, dst);
    } else {
        done = tile_eights(rows, group_rows, n_whole, x, ld, lane_bytes, store, dst);
    }
    tile_lanes(rows, group_rows, done, (row_bytes + 3) / 4, x, ld, row_bytes, lane_bytes, store_one, dst);
}

/* Stores first[0], second[0], first[1], second[1] and so on. */
UK_INLINE void tile_store_pairs(__m256i first, __m256i second, char *dst)
{
    __m256i low = _mm256_unpacklo_epi32(first, second), high = _mm256_unpackhi_epi32(first, second);
    _mm256_storeu_si256((__m256i *)dst, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(dst + 32), _mm256_permute2x128_si256(low, high, 0x31));
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

/* ---- INT8: four sizes, and the bytes that are all ones where a value is negative ----------------------------------------------- */

UK_INLINE void tile_store_signed(__m256i lanes, char *dst)
{
    tile_store_pairs(_mm256_abs_epi8(lanes), _mm256_cmpgt_epi8(_mm256_setzero_si256(), lanes), dst);
}

UK_INLINE void tile_store_one_signed(uint32_t lane, char *dst)
{
    int8_t values[4];
    memcpy(values, &lane, sizeof values);
    for (int v = 0; v < 4; v++) {
        dst[v] = (char)(values[v] < 0 ? -values[v] : values[v]);
        dst[4 + v] = (char)(values[v] < 0 ? -1 : 0);
    }
}

/* ---- BF16: as FP32, or as they are ------------------------------------------------------------------------------------------- */

UK_INLINE void tile_store_widened(__m256i lanes, char *dst)
{
    __m256i even = _mm256_slli_epi32(lanes, 16), odd = _mm256_and_si256(lanes, _mm256_set1_epi32((int)0xffff0000));
    tile_store_pairs(even, odd, dst);
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
