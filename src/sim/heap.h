/* sim/heap.h - what comes first of many: events by time, ready blocks by urgency. */
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sim_item {
    double at; /* the smallest first; then the smallest order */
    int64_t order;
    int32_t what, core, task;
} sim_item;

/* Zero-initialise; sim_heap_deinit always. */
typedef struct sim_heap {
    sim_item *items; /* items[0] is the first */
    int64_t n, capacity;
} sim_heap;

bool sim_heap_push(sim_heap *h, sim_item item); /* false without memory */
sim_item sim_heap_pop(sim_heap *h);             /* h must not be empty */
void sim_heap_deinit(sim_heap *h);

#endif
