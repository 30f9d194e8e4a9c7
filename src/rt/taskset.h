/* rt/taskset.h - distinct lists of tasks, each kept once and found by content. */
#ifndef RT_TASKSET_H
#define RT_TASKSET_H

#include <stdint.h>

#include "rt/vec.h"

typedef struct rt_taskset {
    int64_t begin, end; /* range in rt_tasksets.tasks */
    uint64_t hash;
    int32_t user; /* the first task that waits for the set, or RT_NONE */
    int32_t join; /* the join that stands for the set, or RT_NONE */
} rt_taskset;

/* Zeroed storage; deinit always. */
typedef struct rt_tasksets {
    VEC(int32_t) tasks;
    VEC(rt_taskset) sets;
    int32_t *table; /* open addressing by content; RT_NONE is free */
    int64_t table_size;
} rt_tasksets;

/* Id of the set of these tasks, in ascending order; RT_NONE without memory. */
int32_t rt_tasksets_add(rt_tasksets *s, const int32_t *tasks, int64_t n);

void rt_tasksets_deinit(rt_tasksets *s);

#endif
