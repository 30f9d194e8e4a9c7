/* What the tests of the runtime share: reproducible random choices, stages whose boxes move from block to block. */
#ifndef RT_HELPERS_H
#define RT_HELPERS_H

#include <stdint.h>

#include "base/rng.h"
#include "dsv4/graph.h"
#include "sanitized.h"

typedef struct dice {
    rng random;
    uint64_t n_draws;
} dice;

static inline dice dice_make(uint64_t seed)
{
    return (dice){{seed, 0}, 0};
}

static inline uint64_t dice_u64(dice *d)
{
    return rng_u64(&d->random, d->n_draws++);
}

/* Uniform in lo .. hi, both included. */
static inline int64_t dice_between(dice *d, int64_t lo, int64_t hi)
{
    return lo + (int64_t)rng_below(&d->random, d->n_draws++, (uint64_t)(hi - lo + 1));
}

/* ---- stages --------------------------------------------------------------------------------------------------------------- */

/* Block b touches the box moved by b * row_step rows and b * col_step columns. */
typedef struct tile {
    dsv4_view view;
    int mode;
    dsv4_box box;
    int64_t row_step, col_step;
} tile;

typedef struct tiling {
    int n_tiles;
    tile tiles[4];
    dsv4_work work;
} tiling;

/* A describe function; arg is a tiling. */
static inline void tiling_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const tiling *t = arg;
    for (int i = 0; i < t->n_tiles; i++) {
        dsv4_box box = t->tiles[i].box;
        box.row0 += block * t->tiles[i].row_step;
        box.row1 += block * t->tiles[i].row_step;
        box.col0 += block * t->tiles[i].col_step;
        box.col1 += block * t->tiles[i].col_step;
        dsv4_touch(d, t->tiles[i].mode, t->tiles[i].view, box);
    }
    dsv4_costs(d, t->work);
}

static inline void tiling_run_nothing(const void *arg, int64_t block, void *scratch)
{
    (void)arg;
    (void)block;
    (void)scratch;
}

/* A stage that does nothing but declare; the tiling outlives the graph. */
static inline dsv4_stage tiling_stage(dsv4_graph *g, const char *name, int64_t n_blocks, const tiling *t)
{
    dsv4_stage_desc desc = {name, n_blocks, tiling_run_nothing, tiling_describe, t, 0, DSV4_VECTOR};
    return dsv4_graph_stage(g, &desc);
}

#endif
