#include <string.h>

#include "cli/tune/tune.h"

enum { REACH = 3, UNBOUNDED = 1 << 20 }; /* doublings away from the default; a default from here on means "all" */

static bool counts_tokens(const op_tile *tile)
{
    size_t n = strlen(tile->name), suffix = strlen("t_tile");
    return n >= suffix && strcmp(tile->name + n - suffix, "t_tile") == 0 && (n == suffix || tile->name[n - suffix - 1] == '_');
}

static int64_t power_of_two_from(int64_t n)
{
    int64_t power = 1;
    while (power < n) {
        power *= 2;
    }
    return power;
}

/* The largest value that does not do the same as a smaller one. */
static int64_t largest_distinct(const op_context *c, const op_tile *tile)
{
    return counts_tokens(tile) && c->dims.of[OP_T] != OP_UNKNOWN ? power_of_two_from(c->dims.of[OP_T]) : INT32_MAX;
}

/* The largest allowed value that is not above `wanted`; 0: there is none near. */
static int64_t nearest_allowed(const op_context *c, size_t tile, int64_t wanted)
{
    int64_t least = wanted / 2 + 1;
    while (wanted >= least && !op_tile_may_be(c, tile, wanted)) {
        wanted--;
    }
    return wanted >= least ? wanted : 0;
}

/* Keeps the order; a value that is there already is not added. */
static void insert(tune_axis *a, int64_t value)
{
    int at = 0;
    while (at < a->n && a->value[at] < value) {
        at++;
    }
    if (a->n == TUNE_MAX_VALUES || (at < a->n && a->value[at] == value)) {
        return;
    }
    memmove(&a->value[at + 1], &a->value[at], (size_t)(a->n - at) * sizeof *a->value);
    a->value[at] = value;
    a->n++;
}

tune_axis tune_axis_of(const op_context *c, size_t tile)
{
    tune_axis a = {.tile = tile};
    int64_t start = c->tile[tile], limit = largest_distinct(c, &c->op->tiles[tile]);
    int64_t middle = start >= UNBOUNDED ? 1 << REACH : start < limit ? start : limit;
    insert(&a, start);
    for (int64_t divisor = 1; divisor <= 1 << REACH; divisor *= 2) {
        int64_t below = nearest_allowed(c, tile, middle / divisor), above = nearest_allowed(c, tile, middle * divisor);
        if (below > 0 && (start <= limit || below < limit)) {
            insert(&a, below);
        }
        if (above > 0 && above <= limit && start <= limit) {
            insert(&a, above);
        }
    }
    while (a.value[a.start] != start) {
        a.start++;
    }
    return a;
}
