/* cli/ablate/tiles.h - stages of the studies: a grid of tiles, and for each matrix the boxes that a tile touches.
 *
 * The graphs of the studies have the structure that they would have on an NPU: products load tiles of row-major weights into
 * on-chip memory, K tile by K tile; vector stages work on row or column tiles; what passes between them goes through memory. */
#ifndef CLI_ABLATE_TILES_H
#define CLI_ABLATE_TILES_H

#include "ops/matrix.h"
#include "ops/tile.h"

/* ---- grids ------------------------------------------------------------------------------------------------------------------ */

/* Rows x cols in units of the stage's choice (rows, columns, heads), cut into tiles. Blocks of one row tile are neighbours. */
typedef struct ablate_grid {
    int64_t rows, row_tile, cols, col_tile;
    int64_t first_row; /* where the rows begin */
} ablate_grid;

typedef struct ablate_tile {
    tile_range row, col;
    int64_t row_index, col_index; /* of the tile */
} ablate_tile;

int64_t ablate_grid_blocks(const ablate_grid *g);
ablate_tile ablate_tile_at(const ablate_grid *g, int64_t block);

/* ---- what a tile touches ---------------------------------------------------------------------------------------------------- */

typedef enum ablate_source {
    ABLATE_ALL,       /* the whole extent */
    ABLATE_ROWS,      /* the tile's range of grid rows, */
    ABLATE_COLS,      /* of grid columns: */
    ABLATE_ROW_INDEX, /* the number of the row tile, */
    ABLATE_COL_INDEX, /* of the column tile, as a range of one */
    ABLATE_FIXED      /* width from offset on */
} ablate_source;

/* [begin, end) of the source becomes [begin*scale, end*scale) + offset; with a width, one range of that width for each unit. */
typedef struct ablate_axis {
    ablate_source source;
    int64_t scale, offset, width; /* scale 0: 1 */
} ablate_axis;

typedef struct ablate_use {
    int mode; /* dsv4_access */
    const op_matrix *m;
    ablate_axis rows, cols;
} ablate_use;

/* The whole extent of these sources, as they are. */
extern const ablate_axis ablate_all, ablate_rows, ablate_cols;

enum { ABLATE_MAX_USES = 10 };

/* ---- stages ----------------------------------------------------------------------------------------------------------------- */

typedef struct ablate_stage ablate_stage;
typedef void ablate_body(const ablate_stage *s, const ablate_tile *tile, void *scratch);

/* In memory of the graph. */
struct ablate_stage {
    const char *name;
    dsv4_core_kind kind;
    ablate_grid grid;
    ablate_use uses[ABLATE_MAX_USES]; /* mode 0 behind the last */
    ablate_body *run;
    const void *arg; /* the body's */
    size_t scratch_bytes;
    double vector_ops, flops_bf16, ops_i8, gathered_bytes; /* for each unit of the grid */
    dsv4_product product;                                  /* of a block */
    int64_t loads; /* of a block without a product: pieces that it loads one behind the other, two in flight; 0: streamed */
    const uk_table *uk;
};

/* Appends a copy of s. */
void ablate_stage_add(const op_context *c, const ablate_stage *s);

/* ---- products --------------------------------------------------------------------------------------------------------------- */

/* y[t, n] = sum over k of x[t, k] w[k, n]. A block owns t_tile rows, `group` N tiles one after the other and one of k_split shares
 * of k. It takes t_inner rows at a time, and loads the tiles of w again for each. Split: share s leaves its sums in columns
 * [s*N, (s+1)*N) of y. */
typedef struct ablate_product {
    const char *name;
    op_matrix x, w, y;
    dsv4_dtype dtype; /* of x and w: BF16 (y F32) or I8 (y I32) */
    bool transposed;  /* w is [n, k] */
    int64_t t_tile, t_inner, n_tile, group, k_tile, k_split, ahead;
} ablate_product;

/* Tiles larger than what they cut are cut to it. */
void ablate_product_add(const op_context *c, const ablate_product *p);

#endif
