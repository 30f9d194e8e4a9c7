/* kernels/loops.h - what each instruction set does at best: loops that multiply without memory, and loops that stream without
 * multiplying. Ceilings for the kernels of the same row. */
#ifndef KERNELS_LOOPS_H
#define KERNELS_LOOPS_H

#include "kernels/kernels.h"

/* Multiplies and adds in registers. The result depends on all of it and on seed, so that nothing can be left out. */
typedef struct uk_loop {
    double ops_per_round; /* a multiplication and an addition are two; 0: the row has no instruction of its own for it */
    float (*run)(int64_t n_rounds, int seed);
} uk_loop;

typedef struct uk_loops {
    uk_loop i8, f32; /* i8: of all INT8 values */
    uk_loop bf16;    /* pairs of BF16 values; without it, their products run at the rate of f32 at best */

    /* Reads n_bytes, a multiple of 256, 64-byte aligned, and requests what comes `ahead` bytes later, unless ahead is 0. Returns
     * what depends on all of it. */
    uint64_t (*read)(const void *stream, int64_t n_bytes, int64_t ahead);
    /* Copies likewise, past the caches where the row can. */
    void (*copy)(void *dst, const void *src, int64_t n_bytes);
} uk_loops;

/* The loops of a row of the kernel table; run them only where the row is supported. */
const uk_loops *uk_find_loops(const uk_table *row);

#endif
