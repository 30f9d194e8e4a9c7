/* kernels/avx2/stream.h - how the products pull a panel through the caches, whatever the width of their registers.
 *
 * A group alone pulls the weights from memory and requests those that come AHEAD bytes later. Several groups take a stretch that
 * stays near one after the other, and each requests its share of the stretch behind it (stream_share): what one of them asks for is
 * little beside its arithmetic, so that none waits. Where the requests are the first group's (ahead_of, groups_in_turn), a few
 * groups advance together in slices of 8 KB, and their sums wait in memory meanwhile; many take the panel one by one. Measured in
 * docs/PERFORMANCE.md. */
#ifndef KERNELS_AVX2_STREAM_H
#define KERNELS_AVX2_STREAM_H

#include <immintrin.h>

#include "kernels/rows.h"

enum {
    STEP_BYTES = 128, /* of a panel */
    SLICE_STEPS = UK_CHUNK / 2,
    LINE_VALUES = 32, /* BF16 */
    MAX_SLICED_GROUPS = 4,
    AHEAD_OF_ONE_GROUP = 8192, /* processors do not prefetch across a page by themselves: two pages */
    AHEAD_OF_GROUPS = 8192,    /* the slice after this one */
};

/* Requests the cache line that the stream reaches so much later, in the next panel where this one ends; a prefetch never faults.
 * Inlined always: gcc 12 drops calls of a function that only prefetches. */
UK_INLINE void request(const void *stream, int64_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)stream + (uintptr_t)ahead), _MM_HINT_T0);
}

/* Requests values [first, first + n) of m gathered rows. */
UK_INLINE void request_keys(int64_t m, const uint16_t *const *keys, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t d = first; d < first + n; d += LINE_VALUES) {
            request(keys[i] + d, 0);
        }
    }
}

/* Groups that take turns, slice by slice. */
static inline int64_t groups_in_turn(int64_t n_groups)
{
    return n_groups <= MAX_SLICED_GROUPS ? n_groups : 1;
}

/* What a group requests while it takes a stretch of a panel: in the first step what lies `ahead` bytes behind the stretch's
 * beginning, `pace` bytes more in each step. */
typedef struct stream_share {
    int64_t ahead, pace;
} stream_share;

/* That of group g, where a stretch has n_steps; the shares of all groups are the stretch behind it. */
static inline stream_share stream_share_of(int64_t g, int64_t n_groups, int64_t n_steps)
{
    int64_t pace = (STEP_BYTES + n_groups - 1) / n_groups;
    return n_groups > 1 ? (stream_share){n_steps * STEP_BYTES + g * n_steps * pace, pace}
                        : (stream_share){AHEAD_OF_ONE_GROUP, STEP_BYTES};
}

/* How far ahead group g requests the panel; those behind the first one find it near. */
static inline int64_t ahead_of(int64_t g, int64_t n_groups)
{
    return g > 0 ? 0 : n_groups > 1 ? AHEAD_OF_GROUPS : AHEAD_OF_ONE_GROUP;
}

static inline int64_t rows_of_group(const uk_acts *a, int64_t g)
{
    return a->rows - g * UK_ROWS < UK_ROWS ? a->rows - g * UK_ROWS : UK_ROWS;
}

#endif
