#include "sim/heap.h"

#include <stdlib.h>

static bool is_before(const sim_item *a, const sim_item *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

bool sim_heap_push(sim_heap *h, sim_item item)
{
    if (h->n == h->capacity) {
        int64_t capacity = h->capacity == 0 ? 64 : h->capacity * 2;
        sim_item *items = realloc(h->items, (size_t)capacity * sizeof *items);
        if (items == NULL) {
            return false;
        }
        h->items = items;
        h->capacity = capacity;
    }
    int64_t i = h->n++;
    for (; i > 0 && is_before(&item, &h->items[(i - 1) / 2]); i = (i - 1) / 2) {
        h->items[i] = h->items[(i - 1) / 2];
    }
    h->items[i] = item;
    return true;
}

sim_item sim_heap_pop(sim_heap *h)
{
    sim_item first = h->items[0], last = h->items[--h->n];
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= h->n) {
            break;
        }
        child += child + 1 < h->n && is_before(&h->items[child + 1], &h->items[child]);
        if (!is_before(&h->items[child], &last)) {
            break;
        }
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return first;
}

void sim_heap_deinit(sim_heap *h)
{
    free(h->items);
    *h = (sim_heap){0};
}
