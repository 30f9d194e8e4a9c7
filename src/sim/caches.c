#include "sim/caches.h"

#include <stdlib.h>

#include "sim/pages.h"

enum { SECTOR_BYTES = 1 << SIM_SECTOR_SHIFT, N_OWNER_BITS = 64 };

typedef struct cache {
    sim_pages pages;
    int64_t bytes, capacity;
} cache;

struct sim_caches {
    const sim_device *d;
    int n_cores;
    cache *level[SIM_MAX_LEVELS]; /* one cache where the level is shared, else [n_cores]; NULL: the first level */
    sim_pages owners;             /* mask: bit core % 64 of each core whose own levels may hold something of the page */
};

static int n_caches(const sim_caches *c, int level)
{
    return c->d->levels[level].is_shared ? 1 : c->n_cores;
}

static cache *cache_of(const sim_caches *c, int level, int core)
{
    return &c->level[level][c->d->levels[level].is_shared ? 0 : core];
}

sim_caches *sim_caches_create(const sim_device *d, int n_cores)
{
    sim_caches *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->d = d;
    c->n_cores = n_cores;
    for (int l = 1; l < d->n_levels; l++) {
        c->level[l] = calloc((size_t)n_caches(c, l), sizeof *c->level[l]);
        if (c->level[l] == NULL) {
            sim_caches_destroy(c);
            return NULL;
        }
        for (int i = 0; i < n_caches(c, l); i++) {
            c->level[l][i].capacity = (int64_t)d->levels[l].bytes;
        }
    }
    return c;
}

void sim_caches_destroy(sim_caches *c)
{
    if (c == NULL) {
        return;
    }
    for (int l = 1; l < c->d->n_levels; l++) {
        for (int i = 0; c->level[l] != NULL && i < n_caches(c, l); i++) {
            sim_pages_deinit(&c->level[l][i].pages);
        }
        free(c->level[l]);
    }
    sim_pages_deinit(&c->owners);
    free(c);
}

/* ---- sectors --------------------------------------------------------------------------------------------------------------- */

static int64_t bytes_of(uint64_t mask)
{
    return (int64_t)__builtin_popcountll(mask) * SECTOR_BYTES;
}

/* The whole lines around the sectors of a mask. */
static uint64_t whole_lines(uint64_t mask, double line_bytes)
{
    int sectors = (int)line_bytes / SECTOR_BYTES;
    if (sectors >= 64) {
        return mask == 0 ? 0 : UINT64_MAX;
    }
    uint64_t line = (UINT64_C(1) << sectors) - 1, first_of_line = UINT64_MAX / line;
    for (int shift = 1; shift < sectors; shift *= 2) {
        mask |= mask >> shift;
    }
    return (mask & first_of_line) * line;
}

/* ---- pages ----------------------------------------------------------------------------------------------------------------- */

/* Holds sectors of a page, the newest of all; those used longest ago make room. */
static bool hold(cache *k, int64_t number, uint64_t mask)
{
    sim_page *page = sim_pages_use(&k->pages, number);
    if (page == NULL) {
        return false;
    }
    k->bytes += bytes_of(mask & ~page->mask);
    page->mask |= mask;
    while (k->bytes > k->capacity) {
        k->bytes -= bytes_of(sim_pages_drop_oldest(&k->pages));
    }
    return true;
}

static void lose(cache *k, int64_t number, uint64_t mask)
{
    sim_page *page = sim_pages_find(&k->pages, number);
    if (page != NULL) {
        k->bytes -= bytes_of(page->mask & mask);
        page->mask &= ~mask;
    }
}

/* Notes that a core holds something of a page; what it has written, no other core's own levels hold any longer. */
static bool own(sim_caches *c, int core, int64_t number, uint64_t mask, bool is_write)
{
    sim_page *owners = sim_pages_use(&c->owners, number);
    if (owners == NULL) {
        return false;
    }
    uint64_t bit = UINT64_C(1) << core % N_OWNER_BITS;
    for (int i = 0; i < c->n_cores && is_write && (owners->mask | bit) != bit; i++) {
        for (int l = 1; l < c->d->n_levels && i != core && (owners->mask >> i % N_OWNER_BITS & 1) != 0; l++) {
            if (!c->d->levels[l].is_shared) {
                lose(cache_of(c, l, i), number, mask);
            }
        }
    }
    owners->mask |= bit;
    return true;
}

bool sim_caches_touch(sim_caches *c, int core, int64_t page, uint64_t mask, bool is_write, double bytes[SIM_MAX_LEVELS])
{
    int nearest = c->d->n_levels - 1;
    uint64_t need = mask;
    for (int l = nearest; l > 0 && (need != 0 || (is_write && c->d->levels[l].is_shared)); l--) {
        need = whole_lines(need, c->d->levels[l].line_bytes);
        cache *k = cache_of(c, l, core);
        const sim_page *held = sim_pages_find(&k->pages, page);
        uint64_t here = held == NULL ? 0 : held->mask & need;
        bytes[l] += (double)bytes_of(here);
        if (!hold(k, page, is_write ? need | mask : need)) {
            return false;
        }
        need &= ~here;
    }
    bytes[0] += (double)bytes_of(whole_lines(need, c->d->levels[0].line_bytes));
    return c->d->levels[nearest].is_shared || c->n_cores == 1 || own(c, core, page, mask, is_write);
}
