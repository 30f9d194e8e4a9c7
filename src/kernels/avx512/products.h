/* kernels/avx512/products.h - products of activations and a stream of weight steps, sixteen columns a register: the loops around one
 * step, which the files of the products supply.
 *
 * A group of up to 8 rows has its 16 sums in registers. The first group of a panel pulls the weights from memory and asks for those
 * that come AHEAD bytes later; the groups behind it find them in the L1 cache, if they follow soon. So a few groups advance together
 * in slices of 8 KB of the panel, and their sums wait in memory meanwhile. Many groups take the panel as a whole: the cost of
 * fetching it is spread over so much arithmetic that the sums' way to memory and back would cost more.
 * Measured in docs/PERFORMANCE.md. */
#ifndef KERNELS_AVX512_PRODUCTS_H
#define KERNELS_AVX512_PRODUCTS_H

#include <string.h>

#include "kernels/avx512/avx512.h"

enum {
    STEP_BYTES = 128, /* of a panel */
    SLICE_STEPS = 64,
    MAX_SLICED_GROUPS = 4,
    AHEAD_OF_ONE_GROUP = 4096, /* processors do not prefetch across a page by themselves: the next page, at least */
    AHEAD_OF_GROUPS = 8192,    /* the slice after this one */
};

/* Requests the cache line that the stream reaches so much later, in the next panel where this one ends; a prefetch never faults.
 * Inlined always: gcc 12 drops calls of a function that only prefetches. */
UK_INLINE void request(const void *stream, int64_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)stream + (uintptr_t)ahead), _MM_HINT_T0);
}

UK_INLINE __m512i broadcast_lane(const char *a)
{
    int32_t lane;
    memcpy(&lane, a, sizeof lane);
    return _mm512_set1_epi32(lane);
}

/* Steps of a panel that its groups take before the next group's turn. */
static inline int64_t slice_steps(int64_t n_groups, int64_t n_steps)
{
    return n_groups > 1 && n_groups <= MAX_SLICED_GROUPS ? SLICE_STEPS : n_steps;
}

#endif
