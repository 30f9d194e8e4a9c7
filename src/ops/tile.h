/* ops/tile.h - cutting an extent into tiles, the last one ragged; the smaller and the larger of two extents. */
#ifndef OPS_TILE_H
#define OPS_TILE_H

#include <stdint.h>

typedef struct tile_range {
    int64_t begin, end;
} tile_range;

static inline int64_t tile_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t tile_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t tile_count(int64_t extent, int64_t tile)
{
    return (extent + tile - 1) / tile;
}

/* Tile i of an extent cut into tiles of the given size. */
static inline tile_range tile_at(int64_t i, int64_t tile, int64_t extent)
{
    int64_t begin = i * tile, end = begin + tile;
    return (tile_range){begin, end < extent ? end : extent};
}

/* Part i of n: the extent shared out as evenly as whole units allow. */
static inline tile_range tile_part(int64_t i, int64_t n, int64_t extent)
{
    return (tile_range){i * extent / n, (i + 1) * extent / n};
}

#endif
