/* ops/topk.h - the best rows of a stream of scores.
 *
 * KEY    the score, made an integer that falls as the score rises, above the row. So the smaller key is the better row: it has the
 *        larger score or, of equal scores, it is the smaller row. -0 equals +0; a NaN is worse than every number. Rows differ, so
 *        keys do, and the best n rows are one set whatever way they came. */
#ifndef OPS_TOPK_H
#define OPS_TOPK_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t topk_key(float score, int32_t row)
{
    uint32_t bits, sign = 0x80000000;
    memcpy(&bits, &score, sizeof bits);
    bits = bits == sign ? 0 : bits;
    uint32_t falling = bits < sign ? ~bits ^ sign : bits;
    return (uint64_t)(isnan(score) ? UINT32_MAX : falling) << 32 | (uint32_t)row;
}

static inline int32_t topk_row(uint64_t key)
{
    return (int32_t)(uint32_t)key;
}

/* The best keys so far, in the caller's memory of 2 * capacity keys, capacity >= 1. A key that comes is added if it is better than
 * `bound`; when the memory is full, the best `capacity` keys are kept and the bound falls to the worst of them. So a stream of n
 * keys takes time of the order of n, whatever the capacity. */
typedef struct topk_list {
    uint64_t *keys;
    int64_t n, capacity;
    uint64_t bound; /* UINT64_MAX at first */
} topk_list;

/* Adds rows row0, row0 + 1, ... with these scores. */
void topk_add_scores(topk_list *list, const float *scores, int64_t n, int32_t row0);

void topk_add_keys(topk_list *list, const uint64_t *keys, int64_t n);

/* Vector operations that take as long as sorting out the best n_best of n keys: two passes over all, then a sort, each step of
 * which waits for the one before. */
static inline double topk_cost(int64_t n, int64_t n_best)
{
    return 40.0 * (double)n + 160.0 * (double)n_best;
}

/* Keeps the best `capacity` keys, in no order. */
void topk_cut(topk_list *list);

/* Keeps the best `capacity` keys, the best first. */
void topk_sort(topk_list *list);

#endif
