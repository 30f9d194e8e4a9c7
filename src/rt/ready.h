/* rt/ready.h - a set of ready tasks: a bitmap in priority order with summaries above it.
 *
 *   level 2                  1                                one bit per word of level 1: "not empty"
 *   level 1        1100...         0000...                    one bit per word of level 0
 *   level 0   0100..  1001..    0000..  0000..                one bit per task; task numbers ascend with falling priority
 *
 * The smallest member is found by counting trailing zeros from the top: a handful of loads for any size. Adding and taking are one
 * atomic operation on the word of the task, and one on a summary word when the word becomes non-empty or empty. Any thread may add,
 * any may take; nothing is allocated and nothing locks, because a task is in the set at most once and the bitmap has room for all.
 *
 * SUMMARIES may lag: a taker that empties a word clears its summary bit, then looks at the word again and sets the bit back if
 * someone added meanwhile. In between, a search can miss a member that is there; rt_ready_is_empty looks at level 0 and cannot. */
#ifndef RT_READY_H
#define RT_READY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RT_READY_LEVELS = 5, RT_READY_EMPTY = -1 };

typedef struct rt_word {
    _Atomic uint64_t bits;
} rt_word;

typedef struct rt_ready {
    int n_levels;
    int64_t n_words[RT_READY_LEVELS];
    rt_word *word[RT_READY_LEVELS]; /* level 0 first, all in one block of memory */
} rt_ready;

/* An empty set for tasks 0..n-1. False without memory. */
bool rt_ready_init(rt_ready *r, int64_t n);
void rt_ready_deinit(rt_ready *r);

/* Adds the tasks 64*w + i for every bit i of mask (not 0). */
void rt_ready_add(rt_ready *r, int64_t w, uint64_t mask);

/* Takes the smallest task, or RT_READY_EMPTY if it finds none. */
int64_t rt_ready_take(rt_ready *r);

/* Takes the first task at or behind `from`, wrapping around: for runs in random order. Linear in the size of the set. */
int64_t rt_ready_take_from(rt_ready *r, int64_t from);

/* The smallest member as it looks now, or RT_READY_EMPTY. */
int64_t rt_ready_first(const rt_ready *r);

/* Exact, for the decision to sleep. */
bool rt_ready_is_empty(const rt_ready *r);

#endif
