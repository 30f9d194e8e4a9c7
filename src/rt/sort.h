/* rt/sort.h - stable radix sort of ids by 64-bit keys. */
#ifndef RT_SORT_H
#define RT_SORT_H

#include <stdbool.h>
#include <stdint.h>

/* Puts the permutation of 0..n-1 that sorts keys ascending into order. False without memory or if n exceeds INT32_MAX. */
bool rt_sort_ids(const uint64_t *keys, int64_t n, int32_t *order);

#endif
