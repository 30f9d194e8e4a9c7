/* rt/vec.h - arrays that grow. Items are plain data; indices stay valid, pointers do not. */
#ifndef RT_VEC_H
#define RT_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Makes room for `need` items at *(T **)items, doubling; false without memory (nothing changes). */
static inline bool vec_reserve_bytes(void *items, int64_t *capacity, int64_t need, size_t item_bytes)
{
    if (need <= *capacity) {
        return true;
    }
    int64_t grown = *capacity < 16 ? 16 : *capacity * 2;
    if (grown < need) {
        grown = need;
    }
    void *old;
    memcpy(&old, items, sizeof old); /* a T * is not read or written as a void * */
    void *moved = realloc(old, (size_t)grown * item_bytes);
    if (moved == NULL) {
        return false;
    }
    memory_prefer_huge(moved, (size_t)grown * item_bytes);
    memcpy(items, &moved, sizeof moved);
    *capacity = grown;
    return true;
}

/* A vector of T is { T *items; int64_t n, capacity; }. */
#define VEC(T)               \
    struct {                 \
        T *items;            \
        int64_t n, capacity; \
    }
#define vec_reserve(v, extra) vec_reserve_bytes(&(v)->items, &(v)->capacity, (v)->n + (extra), sizeof *(v)->items)
#define vec_push(v, item) (vec_reserve((v), 1) && ((v)->items[(v)->n++] = (item), true))
#define vec_free(v) (free((v)->items), (v)->items = NULL, (v)->n = (v)->capacity = 0)

#endif
