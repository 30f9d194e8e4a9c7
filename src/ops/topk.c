#include "ops/topk.h"

/* Lets `key` sink from place i of a heap of n keys, whose place i is free. */
static void sink(uint64_t *keys, int64_t n, int64_t i, uint64_t key)
{
    for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && keys[child + 1] > keys[child];
        if (keys[child] <= key) {
            break;
        }
        keys[i] = keys[child];
        i = child;
    }
    keys[i] = key;
}

static void make_heap(uint64_t *keys, int64_t n)
{
    for (int64_t i = n / 2 - 1; i >= 0; i--) {
        sink(keys, n, i, keys[i]);
    }
}

static inline void add(topk_list *list, uint64_t key)
{
    if (list->n == list->capacity) {
        if (key < list->keys[0]) {
            sink(list->keys, list->n, 0, key);
        }
        return;
    }
    list->keys[list->n++] = key;
    if (list->n == list->capacity) {
        make_heap(list->keys, list->n);
    }
}

void topk_add_scores(topk_list *list, const float *scores, int64_t n, int32_t row0)
{
    for (int64_t i = 0; i < n; i++) {
        add(list, topk_key(scores[i], row0 + (int32_t)i));
    }
}

void topk_add_keys(topk_list *list, const uint64_t *keys, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        add(list, keys[i]);
    }
}

void topk_sort(topk_list *list)
{
    make_heap(list->keys, list->n);
    for (int64_t i = list->n - 1; i > 0; i--) {
        uint64_t best = list->keys[i];
        list->keys[i] = list->keys[0];
        sink(list->keys, i, 0, best);
    }
}
