/* ops/chunk.h - the fixed grain of floating sums, and blocks that own whole chunks of a row.
 *
 * Sums have one order, so that no choice of tiles, threads or instruction set changes a result: products are summed within chunks
 * of OP_SUM_CHUNK k by one call of a kernel (kernels.h says how), rows by the lane sum (kernels.h) of such chunks; then the chunk
 * sums are added in double, ascending, and rounded once. */
#ifndef OPS_CHUNK_H
#define OPS_CHUNK_H

#include "ops/tile.h"

enum { OP_SUM_CHUNK = 512 };

/* Number of chunks of an extent. */
static inline int64_t op_chunks(int64_t extent)
{
    return tile_count(extent, OP_SUM_CHUNK);
}

/* Elements of the chunks [chunk.begin, chunk.end) of an extent. */
static inline tile_range op_chunk_cols(tile_range chunk, int64_t extent)
{
    return (tile_range){chunk.begin * OP_SUM_CHUNK, tile_at(chunk.end - 1, OP_SUM_CHUNK, extent).end};
}

/* A matrix cut into row tiles, and each row into n_parts of whole chunks. n_parts is at most the number of chunks. */
typedef struct op_part_grid {
    int64_t rows, cols, t_tile, n_parts;
} op_part_grid;

/* What one block owns of it. */
typedef struct op_part {
    tile_range t, chunk, col;
} op_part;

static inline int64_t op_part_blocks(const op_part_grid *g)
{
    return tile_count(g->rows, g->t_tile) * g->n_parts;
}

static inline op_part op_part_at(const op_part_grid *g, int64_t block)
{
    tile_range chunk = tile_part(block % g->n_parts, g->n_parts, op_chunks(g->cols));
    return (op_part){tile_at(block / g->n_parts, g->t_tile, g->rows), chunk, op_chunk_cols(chunk, g->cols)};
}

static inline double op_part_elements(const op_part *part)
{
    return (double)((part->t.end - part->t.begin) * (part->col.end - part->col.begin));
}

#endif
