#include "rt/ready.h"

#include <stdlib.h>

#include "base/memory.h"

bool rt_ready_init(rt_ready *r, int64_t n)
{
    int64_t total = 0, size = n;
    *r = (rt_ready){0};
    do {
        size = (size + 63) / 64;
        size = size == 0 ? 1 : size;
        r->n_words[r->n_levels++] = size;
        total += (size + 7) / 8 * 8; /* levels begin on their own cache lines */
    } while (size > 1 && r->n_levels < RT_READY_LEVELS);
    rt_word *words = memory_zeroed_array((size_t)total, sizeof *words);
    if (words == NULL) {
        return false;
    }
    for (int level = 0; level < r->n_levels; level++) {
        r->word[level] = words;
        words += (r->n_words[level] + 7) / 8 * 8;
    }
    return true;
}

void rt_ready_deinit(rt_ready *r)
{
    free(r->word[0]);
    *r = (rt_ready){0};
}

/* Sets the summary bits above word w of a level, up to the first that is set already. */
static void summarize(rt_ready *r, int level, int64_t w)
{
    for (level++; level < r->n_levels; level++, w >>= 6) {
        if (atomic_fetch_or(&r->word[level][w >> 6].bits, UINT64_C(1) << (w & 63)) != 0) {
            return;
        }
    }
}

void rt_ready_add(rt_ready *r, int64_t w, uint64_t mask)
{
    if (atomic_fetch_or(&r->word[0][w].bits, mask) == 0) {
        summarize(r, 0, w);
    }
}

/* Word w of a level has become empty: clears its summary bit, and the ones above while those words become empty too. */
static void clear_summary(rt_ready *r, int level, int64_t w)
{
    for (; level + 1 < r->n_levels; level++, w >>= 6) {
        uint64_t bit = UINT64_C(1) << (w & 63);
        uint64_t left = atomic_fetch_and(&r->word[level + 1][w >> 6].bits, ~bit) & ~bit;
        if (atomic_load(&r->word[level][w].bits) != 0) {
            summarize(r, level, w);
            return;
        }
        if (left != 0) {
            return;
        }
    }
}

/* The smallest member below word w of a level. Passes over summary bits that lag. */
static int64_t first_below(const rt_ready *r, int level, int64_t w)
{
    uint64_t word = atomic_load_explicit(&r->word[level][w].bits, memory_order_acquire);
    for (; word != 0; word &= word - 1) {
        int64_t child = w << 6 | __builtin_ctzll(word);
        int64_t task = level == 0 ? child : first_below(r, level - 1, child);
        if (task != RT_READY_EMPTY) {
            return task;
        }
    }
    return RT_READY_EMPTY;
}

int64_t rt_ready_first(const rt_ready *r)
{
    return first_below(r, r->n_levels - 1, 0);
}

/* Removes a task that was seen in the set; false if someone else was faster. */
static bool take(rt_ready *r, int64_t task)
{
    uint64_t bit = UINT64_C(1) << (task & 63), old = atomic_fetch_and(&r->word[0][task >> 6].bits, ~bit);
    if ((old & bit) == 0) {
        return false;
    }
    if (old == bit) {
        clear_summary(r, 0, task >> 6);
    }
    return true;
}

int64_t rt_ready_take(rt_ready *r)
{
    for (;;) {
        int64_t task = rt_ready_first(r);
        if (task == RT_READY_EMPTY || take(r, task)) {
            return task;
        }
    }
}

int64_t rt_ready_take_from(rt_ready *r, int64_t from)
{
    int64_t n = r->n_words[0], start = from >> 6;
    for (int64_t i = 0; i <= n; i++) { /* the first word twice: its end, and after wrapping its beginning */
        int64_t w = (start + i) % n;
        uint64_t word = atomic_load(&r->word[0][w].bits);
        word &= i == 0 ? ~UINT64_C(0) << (from & 63) : ~UINT64_C(0);
        for (; word != 0; word &= word - 1) {
            int64_t task = w << 6 | __builtin_ctzll(word);
            if (take(r, task)) {
                return task;
            }
        }
    }
    return RT_READY_EMPTY;
}

bool rt_ready_is_empty(const rt_ready *r)
{
    for (int64_t w = 0; w < r->n_words[0]; w++) {
        if (atomic_load(&r->word[0][w].bits) != 0) {
            return false;
        }
    }
    return true;
}
