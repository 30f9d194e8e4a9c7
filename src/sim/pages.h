/* sim/pages.h - the pages that one cache holds: found by number, the one used last first, the one used longest ago falls out. */
#ifndef SIM_PAGES_H
#define SIM_PAGES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sim_page {
    int64_t number;
    uint64_t mask;        /* a bit for each sector held; owners use it otherwise */
    int32_t newer, older; /* -1: none */
} sim_page;

/* Zero-initialise; sim_pages_deinit always. */
typedef struct sim_pages {
    sim_page *items; /* [n_items]: those of free_item's list are not used */
    int32_t *slots;  /* [n_slots] items by hash of their number, -1: empty; n_slots a power of two */
    int64_t n_slots;
    int32_t n_items, capacity, n_used, newest, oldest, free_item;
} sim_pages;

/* NULL where the page is not held. */
sim_page *sim_pages_find(const sim_pages *p, int64_t number);

/* The page as the newest, added with no sectors where it is not held. NULL without memory. The pointer is valid until the next. */
sim_page *sim_pages_use(sim_pages *p, int64_t number);

/* Takes out the page used longest ago; returns its mask. p must hold one. */
uint64_t sim_pages_drop_oldest(sim_pages *p);

void sim_pages_deinit(sim_pages *p);

#endif
