#include "ops/topk.h"

enum { SHORT = 16 };

/* ---- order ------------------------------------------------------------------------------------------------------------------ */

static void sort_short(uint64_t *keys, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) {
            keys[j] = keys[j - 1];
        }
        keys[j] = key;
    }
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t key = *a;
    *a = *b;
    *b = key;
}

static void sort_three(uint64_t *a, uint64_t *b, uint64_t *c)
{
    if (*b < *a) {
        swap(a, b);
    }
    if (*c < *b) {
        swap(b, c);
    }
    if (*b < *a) {
        swap(a, b);
    }
}

/* Puts the keys below a middling one of them in front, itself behind them, the others last; returns its place. Without branches on
 * keys: they are as good as random. n >= 3. */
static int64_t split(uint64_t *keys, int64_t n)
{
    uint64_t *first = keys, *middle = keys + n / 2, *last = keys + n - 1, pivot;
    int64_t below = 0;
    sort_three(first, middle, last);
    swap(middle, last);
    pivot = *last;
    for (int64_t i = 0; i < n - 1; i++) {
        uint64_t key = keys[i];
        keys[i] = keys[below];
        keys[below] = key;
        below += key < pivot;
    }
    swap(keys + below, last);
    return below;
}

/* Sorts; the recursion goes into the shorter side, so it is at most 63 deep. */
static void sort(uint64_t *keys, int64_t n)
{
    while (n > SHORT) {
        int64_t at = split(keys, n);
        if (at < n / 2) {
            sort(keys, at);
            keys += at + 1;
            n -= at + 1;
        } else {
            sort(keys + at + 1, n - at - 1);
            n = at;
        }
    }
    sort_short(keys, n);
}

/* Puts the smallest n_first keys in front. */
static void select_first(uint64_t *keys, int64_t n, int64_t n_first)
{
    while (n > SHORT && n_first > 0 && n_first < n) {
        int64_t at = split(keys, n);
        if (at >= n_first) {
            n = at;
        } else {
            keys += at + 1;
            n -= at + 1;
            n_first -= at + 1;
        }
    }
    if (n <= SHORT) {
        sort_short(keys, n);
    }
}

/* ---- lists ------------------------------------------------------------------------------------------------------------------ */

void topk_cut(topk_list *list)
{
    if (list->n <= list->capacity) {
        return;
    }
    select_first(list->keys, list->n, list->capacity);
    list->n = list->capacity;
    list->bound = 0;
    for (int64_t i = 0; i < list->n; i++) {
        list->bound = list->keys[i] > list->bound ? list->keys[i] : list->bound;
    }
}

static inline void add(topk_list *list, uint64_t key)
{
    list->keys[list->n] = key;
    list->n += key < list->bound;
    if (list->n == 2 * list->capacity) {
        topk_cut(list);
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
    topk_cut(list);
    sort(list->keys, list->n);
}
