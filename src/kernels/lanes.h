/* kernels/lanes.h - lanes of a panel made one by one: what is left where vectors do not fit. */
#ifndef KERNELS_LANES_H
#define KERNELS_LANES_H

#include <string.h>

#include "kernels/rows.h"

/* Lanes of 32 bits that w.k rows take in a column. */
UK_INLINE int64_t uk_lanes_of(const uk_source *w, const int64_t elem_bytes)
{
    return (w->k * elem_bytes + 3) / 4;
}

/* Lane l of column c; what lies outside of the weight is zero. */
UK_INLINE uint32_t uk_lane(const uk_source *w, const int64_t elem_bytes, int64_t l, int64_t c)
{
    const int64_t group = 4 / elem_bytes, k = l * group;
    uint32_t lane = 0;
    if (c >= w->n) {
        return 0;
    }
    const char *x = (const char *)w->data + (k * w->stride_k + c * w->stride_n) * elem_bytes;
    for (int64_t i = 0; i < group && k + i < w->k; i++) {
        memcpy((char *)&lane + i * elem_bytes, x + i * w->stride_k * elem_bytes, (size_t)elem_bytes);
    }
    return lane;
}

/* The lanes [first, end) of the columns from `column` on. */
UK_INLINE void uk_pack_lanes(const uk_source *w, const int64_t elem_bytes, int64_t first, int64_t end, int64_t column, void *panel)
{
    for (int64_t l = first; l < end; l++) {
        for (int64_t c = column; c < UK_PANEL; c++) {
            uint32_t lane = uk_lane(w, elem_bytes, l, c);
            memcpy((char *)panel + (l * UK_PANEL + c) * (int64_t)sizeof lane, &lane, sizeof lane);
        }
    }
}

#endif
