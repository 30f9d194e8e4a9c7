#include "sim/pages.h"

#include <stdlib.h>

enum { NONE = -1, FIRST_CAPACITY = 256 };

static int64_t home_slot(const sim_pages *p, int64_t number)
{
    uint64_t hash = (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15);
    return (int64_t)((hash >> 32) & (uint64_t)(p->n_slots - 1));
}

/* The slot of a page, or the empty one where it would be. */
static int64_t find_slot(const sim_pages *p, int64_t number)
{
    int64_t slot = home_slot(p, number);
    while (p->slots[slot] != NONE && p->items[p->slots[slot]].number != number) {
        slot = (slot + 1) & (p->n_slots - 1);
    }
    return slot;
}

sim_page *sim_pages_find(const sim_pages *p, int64_t number)
{
    if (p->n_used == 0) {
        return NULL;
    }
    int32_t item = p->slots[find_slot(p, number)];
    return item == NONE ? NULL : &p->items[item];
}

/* ---- order of use ----------------------------------------------------------------------------------------------------------- */

static void unlink_page(sim_pages *p, sim_page *page)
{
    *(page->newer == NONE ? &p->newest : &p->items[page->newer].older) = page->older;
    *(page->older == NONE ? &p->oldest : &p->items[page->older].newer) = page->newer;
}

static void link_newest(sim_pages *p, int32_t item)
{
    p->items[item].newer = NONE;
    p->items[item].older = p->newest;
    *(p->newest == NONE ? &p->oldest : &p->items[p->newest].newer) = item;
    p->newest = item;
}

/* ---- adding and taking out --------------------------------------------------------------------------------------------------- */

/* Room for one more page, slots at most half full. */
static bool reserve(sim_pages *p)
{
    if (p->n_used < p->capacity) {
        return true;
    }
    if (p->capacity >= INT32_MAX / 4) {
        return false;
    }
    int32_t capacity = p->capacity == 0 ? FIRST_CAPACITY : p->capacity * 2;
    sim_page *items = realloc(p->items, (size_t)capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    p->items = items;
    int32_t *slots = malloc((size_t)capacity * 2 * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(p->slots);
    p->slots = slots;
    p->n_slots = (int64_t)capacity * 2;
    if (p->capacity == 0) {
        p->newest = p->oldest = p->free_item = NONE;
    }
    p->capacity = capacity;
    for (int64_t i = 0; i < p->n_slots; i++) {
        p->slots[i] = NONE;
    }
    for (int32_t i = p->newest; i != NONE; i = p->items[i].older) {
        p->slots[find_slot(p, p->items[i].number)] = i;
    }
    return true;
}

static int32_t take_item(sim_pages *p)
{
    int32_t item = p->free_item;
    if (item == NONE) {
        return p->n_items++;
    }
    p->free_item = p->items[item].older;
    return item;
}

sim_page *sim_pages_use(sim_pages *p, int64_t number)
{
    sim_page *page = sim_pages_find(p, number);
    if (page != NULL) {
        int32_t item = (int32_t)(page - p->items);
        if (item != p->newest) {
            unlink_page(p, page);
            link_newest(p, item);
        }
        return page;
    }
    if (!reserve(p)) {
        return NULL;
    }
    int32_t item = take_item(p);
    p->items[item] = (sim_page){.number = number};
    p->slots[find_slot(p, number)] = item;
    link_newest(p, item);
    p->n_used++;
    return &p->items[item];
}

/* Empties a slot and moves up those behind it that hash to it or before. */
static void empty_slot(sim_pages *p, int64_t slot)
{
    int64_t hole = slot, wrap = p->n_slots - 1;
    for (int64_t next = (hole + 1) & wrap; p->slots[next] != NONE; next = (next + 1) & wrap) {
        int64_t home = home_slot(p, p->items[p->slots[next]].number);
        if (((next - home) & wrap) >= ((next - hole) & wrap)) {
            p->slots[hole] = p->slots[next];
            hole = next;
        }
    }
    p->slots[hole] = NONE;
}

uint64_t sim_pages_drop_oldest(sim_pages *p)
{
    int32_t item = p->oldest;
    uint64_t mask = p->items[item].mask;
    empty_slot(p, find_slot(p, p->items[item].number));
    unlink_page(p, &p->items[item]);
    p->items[item].older = p->free_item;
    p->free_item = item;
    p->n_used--;
    return mask;
}

void sim_pages_deinit(sim_pages *p)
{
    free(p->items);
    free(p->slots);
    *p = (sim_pages){0};
}
