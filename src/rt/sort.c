#include "rt/sort.h"

#include <stdlib.h>

#include "base/memory.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, PASSES = (64 + DIGIT_BITS - 1) / DIGIT_BITS };

typedef struct keyed {
    uint64_t key;
    int32_t id;
} keyed;

/* One counting pass on the digit at `shift`; false if all keys share it, and then nothing moves. */
static bool sort_pass(const keyed *from, keyed *to, int64_t n, int shift)
{
    int64_t count[DIGITS] = {0};
    for (int64_t i = 0; i < n; i++) {
        count[from[i].key >> shift & (DIGITS - 1)]++;
    }
    if (count[from[0].key >> shift & (DIGITS - 1)] == n) {
        return false;
    }
    int64_t before = 0;
    for (int d = 0; d < DIGITS; d++) {
        int64_t here = count[d];
        count[d] = before;
        before += here;
    }
    for (int64_t i = 0; i < n; i++) {
        to[count[from[i].key >> shift & (DIGITS - 1)]++] = from[i];
    }
    return true;
}

/* Writes 0..n-1; true if that is already the order of the keys. */
static bool identity_sorts(const uint64_t *keys, int64_t n, int32_t *order)
{
    bool ascending = true;
    for (int64_t i = 0; i < n; i++) {
        order[i] = (int32_t)i;
        ascending = ascending && (i == 0 || keys[i - 1] <= keys[i]);
    }
    return ascending;
}

bool rt_sort_ids(const uint64_t *keys, int64_t n, int32_t *order)
{
    if (n > INT32_MAX) {
        return false;
    }
    if (identity_sorts(keys, n, order)) { /* keys often come sorted: tiles in program order, stages one behind the other */
        return true;
    }
    keyed *memory = memory_array(2 * (size_t)n, sizeof *memory);
    if (memory == NULL) {
        return false;
    }
    keyed *from = memory, *to = memory + n;
    for (int64_t i = 0; i < n; i++) {
        from[i] = (keyed){keys[i], (int32_t)i};
    }
    for (int pass = 0; pass < PASSES; pass++) {
        if (sort_pass(from, to, n, pass * DIGIT_BITS)) {
            keyed *swap = from;
            from = to;
            to = swap;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        order[i] = from[i].id;
    }
    free(memory);
    return true;
}
