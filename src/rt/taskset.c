#include "rt/taskset.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rt/graph.h"

static uint64_t hash_tasks(const int32_t *tasks, int64_t n)
{
    uint64_t h = (uint64_t)n;
    for (int64_t i = 0; i < n; i++) {
        h = (h ^ (uint64_t)tasks[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

/* Where the table holds these tasks, or would. */
static int32_t *table_slot(const rt_tasksets *s, const int32_t *tasks, int64_t n, uint64_t hash)
{
    uint64_t mask = (uint64_t)s->table_size - 1, i = hash & mask;
    for (; s->table[i] != RT_NONE; i = (i + 1) & mask) {
        const rt_taskset *set = &s->sets.items[s->table[i]];
        if (set->hash == hash && set->end - set->begin == n &&
            memcmp(s->tasks.items + set->begin, tasks, (size_t)n * sizeof *tasks) == 0) {
            break;
        }
    }
    return &s->table[i];
}

/* Keeps at least half of the table free. */
static bool table_grow(rt_tasksets *s)
{
    if (2 * (s->sets.n + 1) <= s->table_size) {
        return true;
    }
    int64_t size = s->table_size == 0 ? 256 : s->table_size * 4;
    int32_t *table = memory_array((size_t)size, sizeof *table);
    if (table == NULL) {
        return false;
    }
    memset(table, 0xff, (size_t)size * sizeof *table); /* RT_NONE everywhere */
    free(s->table);
    s->table = table;
    s->table_size = size;
    for (int64_t i = 0; i < s->sets.n; i++) {
        const rt_taskset *set = &s->sets.items[i];
        *table_slot(s, s->tasks.items + set->begin, set->end - set->begin, set->hash) = (int32_t)i;
    }
    return true;
}

int32_t rt_tasksets_add(rt_tasksets *s, const int32_t *tasks, int64_t n)
{
    if (!table_grow(s) || s->sets.n == INT32_MAX) {
        return RT_NONE;
    }
    uint64_t hash = hash_tasks(tasks, n);
    int32_t *slot = table_slot(s, tasks, n, hash);
    if (*slot == RT_NONE) {
        rt_taskset set = {s->tasks.n, s->tasks.n + n, hash, RT_NONE, RT_NONE};
        if (!vec_reserve(&s->tasks, n) || !vec_push(&s->sets, set)) {
            return RT_NONE;
        }
        memcpy(s->tasks.items + set.begin, tasks, (size_t)n * sizeof *tasks);
        s->tasks.n = set.end;
        *slot = (int32_t)(s->sets.n - 1);
    }
    return *slot;
}

void rt_tasksets_deinit(rt_tasksets *s)
{
    vec_free(&s->tasks);
    vec_free(&s->sets);
    free(s->table);
}
