#include "rt/boxset.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rt/sort.h"

/* ---- regions --------------------------------------------------------------------------------------------------------- */

static int64_t view_bytes(const rt_view *v)
{
    return v->rows == 0 || v->cols == 0 ? 0 : (v->rows - 1) * v->row_bytes + v->cols * v->elem_bytes;
}

/* Widens the frame to this view's rows if they are longer. */
static void frame_consider(rt_frame *frame, const rt_view *v)
{
    if (v->rows > 1 && v->row_bytes > frame->stride) {
        frame->stride = v->row_bytes;
        frame->origin = v->address;
    }
}

/* Moves the origin to a row start at or before the region, and counts rows. */
static void frame_finish(rt_region *r)
{
    if (r->frame.stride == 0) {
        r->frame = (rt_frame){.origin = r->address, .stride = r->end - r->address, .rows = 1};
    } else {
        int64_t before = r->frame.origin - r->address;
        r->frame.origin -= (before + r->frame.stride - 1) / r->frame.stride * r->frame.stride;
        r->frame.rows = (r->end - 1 - r->frame.origin) / r->frame.stride + 1;
    }
    rt_frame_scale(&r->frame);
}

/* Adds a view, in ascending order of address: it extends the newest region or begins another. */
static bool place_view(rt_boxset *set, const dsv4_graph *g, int32_t view)
{
    const rt_view *v = &g->views.items[view];
    int64_t end = v->address + view_bytes(v);
    set->view_region[view] = RT_NONE;
    if (end == v->address) {
        return true;
    }
    rt_region *newest = set->regions.n > 0 ? &set->regions.items[set->regions.n - 1] : NULL;
    if (newest == NULL || v->address >= newest->end) {
        if (!vec_push(&set->regions, ((rt_region){.address = v->address, .end = end}))) {
            return false;
        }
        newest = &set->regions.items[set->regions.n - 1];
    }
    newest->end = end > newest->end ? end : newest->end;
    frame_consider(&newest->frame, v);
    set->view_region[view] = (int32_t)(set->regions.n - 1);
    return true;
}

bool rt_boxset_init(rt_boxset *set, const dsv4_graph *g)
{
    int64_t n = g->views.n;
    uint64_t *address = memory_zeroed_array((size_t)n + 1, sizeof *address);
    int32_t *order = memory_array((size_t)(n + 1), sizeof *order);
    *set = (rt_boxset){.view_region = memory_array((size_t)(n + 1), sizeof *set->view_region)};
    bool ok = address != NULL && order != NULL && set->view_region != NULL;
    for (int64_t i = 0; ok && i < n; i++) {
        address[i] = (uint64_t)g->views.items[i].address;
    }
    ok = ok && rt_sort_ids(address, n, order);
    for (int64_t i = 0; ok && i < n; i++) {
        ok = place_view(set, g, order[i]);
    }
    for (int64_t i = 0; ok && i < set->regions.n; i++) {
        frame_finish(&set->regions.items[i]);
    }
    free(address);
    free(order);
    return ok;
}

void rt_boxset_deinit(rt_boxset *set)
{
    for (int64_t i = 0; i < set->regions.n; i++) {
        free(set->regions.items[i].table);
    }
    vec_free(&set->regions);
    vec_free(&set->boxes);
    free(set->view_region);
    free(set->slot_box);
    free(set->rects);
    free(set->active);
    free(set->hits);
}

rt_span rt_boxset_region_span(const rt_boxset *set, dsv4_view view)
{
    const rt_region *r = &set->regions.items[set->view_region[view]];
    return rt_span_make(r->address, 1, r->end - r->address, r->end - r->address);
}

/* ---- distinct boxes ---------------------------------------------------------------------------------------------------- */

static uint32_t span_hash(const rt_span *s)
{
    uint64_t h = (uint64_t)s->start * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ (uint64_t)s->len) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 32 ^ (uint64_t)s->n << 20 ^ (uint64_t)s->stride) * 0x94d049bb133111ebu;
    return (uint32_t)(h >> 32);
}

static bool span_equal(const rt_span *a, const rt_span *b)
{
    return a->start == b->start && a->n == b->n && a->len == b->len && a->stride == b->stride;
}

/* The slot that holds the span, or the free one where it belongs. */
static rt_box_slot *table_slot(const rt_boxset *set, const rt_region *r, const rt_span *span, uint32_t hash)
{
    uint64_t mask = (uint64_t)r->table_size - 1, i = hash & mask;
    for (;; i = (i + 1) & mask) {
        rt_box_slot *slot = &r->table[i];
        if (slot->box == RT_NONE || (slot->hash == hash && span_equal(&set->boxes.items[slot->box].span, span))) {
            return slot;
        }
    }
}

static void table_move(const rt_region *r, rt_box_slot *to, uint64_t mask)
{
    for (int64_t i = 0; i < r->table_size; i++) {
        uint64_t place = r->table[i].hash & mask;
        if (r->table[i].box == RT_NONE) {
            continue;
        }
        while (to[place].box != RT_NONE) {
            place = (place + 1) & mask;
        }
        to[place] = r->table[i];
    }
}

/* Keeps at least half of the table free. */
static bool table_grow(rt_region *r)
{
    if (2 * (r->n_boxes + 1) <= r->table_size) {
        return true;
    }
    int64_t size = r->table_size == 0 ? 8 : r->table_size * 2;
    rt_box_slot *table = memory_array((size_t)size, sizeof *table);
    if (table == NULL) {
        return false;
    }
    memset(table, 0xff, (size_t)size * sizeof *table); /* RT_NONE everywhere */
    table_move(r, table, (uint64_t)size - 1);
    free(r->table);
    r->table = table;
    r->table_size = size;
    return true;
}

enum { MAX_SEQUENCES = sizeof((rt_boxset *)0)->recent / sizeof(int32_t) };

/* Blocks touch their boxes in the order in which earlier stages did, so the box behind a recent one is likely the next: found
 * without a random access. RT_NONE if it is not. */
static int32_t guess_next(const rt_boxset *set, const rt_span *span)
{
    for (int i = 0; i < set->n_sequences; i++) {
        int32_t next = set->recent[i] + 1;
        if (next < set->boxes.n && span_equal(&set->boxes.items[next].span, span)) {
            return next;
        }
    }
    return RT_NONE;
}

/* Continues the sequence that the box follows, or begins one in place of the oldest. */
static void note_recent(rt_boxset *set, int32_t box)
{
    int i = 0;
    while (i < set->n_sequences && set->recent[i] + 1 != box) {
        i++;
    }
    if (i == set->n_sequences) {
        i = set->n_sequences < MAX_SEQUENCES ? set->n_sequences++ : 0;
    }
    memmove(set->recent + i, set->recent + i + 1, (size_t)(set->n_sequences - 1 - i) * sizeof *set->recent);
    set->recent[set->n_sequences - 1] = box;
}

/* Id of a span by the table of its region, where it is entered if it is new. */
static int32_t look_up(rt_boxset *set, int32_t region, const rt_span *span)
{
    rt_region *r = &set->regions.items[region];
    if (!table_grow(r)) {
        return RT_NONE;
    }
    uint32_t hash = span_hash(span);
    rt_box_slot *slot = table_slot(set, r, span, hash);
    if (slot->box == RT_NONE) {
        if (set->boxes.n == INT32_MAX || !vec_push(&set->boxes, ((rt_box){*span, region, 0}))) {
            return RT_NONE;
        }
        r->n_boxes++;
        *slot = (rt_box_slot){hash, (int32_t)(set->boxes.n - 1)};
    }
    return slot->box;
}

int32_t rt_boxset_add(rt_boxset *set, dsv4_view view, const rt_span *span)
{
    int32_t box = guess_next(set, span);
    if (box == RT_NONE) {
        box = look_up(set, set->view_region[view], span);
    }
    if (box != RT_NONE) {
        note_recent(set, box);
    }
    return box;
}

/* ---- trees -------------------------------------------------------------------------------------------------------------- */

/* Gives every region its part of the node and slot arrays; returns the total number of nodes. */
static int64_t lay_out_trees(rt_boxset *set)
{
    int64_t nodes = 0, slots = 0;
    for (int64_t i = 0; i < set->regions.n; i++) {
        rt_region *r = &set->regions.items[i];
        r->first_slot = slots;
        slots += r->n_boxes;
        nodes += rt_boxtree_nodes(r->n_boxes);
    }
    return nodes;
}

static void build_trees(rt_boxset *set)
{
    int64_t nodes = 0;
    for (int64_t i = 0; i < set->regions.n; i++) {
        rt_region *r = &set->regions.items[i];
        int64_t n_nodes = rt_boxtree_nodes(r->n_boxes);
        r->tree = (rt_boxtree){n_nodes / 2, set->rects + nodes, set->active + nodes};
        for (int64_t slot = 0; slot < r->n_boxes; slot++) {
            rt_box *box = &set->boxes.items[set->slot_box[r->first_slot + slot]];
            box->slot = (int32_t)slot;
            r->tree.rect[r->tree.width + slot] = rt_frame_rect(&r->frame, &box->span);
        }
        rt_boxtree_build(&r->tree, r->n_boxes);
        nodes += n_nodes;
    }
}

/* Deals the boxes to their regions' slots in the order of their ids. */
static bool deal_boxes(rt_boxset *set)
{
    int64_t *next = memory_array((size_t)(set->regions.n + 1), sizeof *next);
    for (int64_t i = 0; next != NULL && i < set->regions.n; i++) {
        next[i] = set->regions.items[i].first_slot;
    }
    for (int64_t i = 0; next != NULL && i < set->boxes.n; i++) {
        set->slot_box[next[set->boxes.items[i].region]++] = (int32_t)i;
    }
    bool ok = next != NULL;
    free(next);
    return ok;
}

/* Sorts the boxes of one region by Morton key; key, order and sorted have room for them. */
static bool order_region(rt_boxset *set, const rt_region *r, uint64_t *key, int32_t *order, int32_t *sorted)
{
    int32_t *slots = set->slot_box + r->first_slot;
    for (int64_t i = 0; i < r->n_boxes; i++) {
        rt_rect rect = rt_frame_rect(&r->frame, &set->boxes.items[slots[i]].span);
        key[i] = rt_frame_key(&r->frame, &rect);
    }
    if (!rt_sort_ids(key, r->n_boxes, order)) {
        return false;
    }
    for (int64_t i = 0; i < r->n_boxes; i++) {
        sorted[i] = slots[order[i]];
    }
    memcpy(slots, sorted, (size_t)r->n_boxes * sizeof *slots);
    return true;
}

static bool order_boxes(rt_boxset *set)
{
    int64_t most = 1;
    for (int64_t i = 0; i < set->regions.n; i++) {
        most = set->regions.items[i].n_boxes > most ? set->regions.items[i].n_boxes : most;
    }
    uint64_t *key = memory_array((size_t)most, sizeof *key);
    int32_t *order = memory_array((size_t)most, sizeof *order), *sorted = memory_array((size_t)most, sizeof *sorted);
    bool ok = key != NULL && order != NULL && sorted != NULL && deal_boxes(set);
    for (int64_t i = 0; ok && i < set->regions.n; i++) {
        ok = order_region(set, &set->regions.items[i], key, order, sorted);
    }
    free(key);
    free(order);
    free(sorted);
    return ok;
}

bool rt_boxset_index(rt_boxset *set)
{
    int64_t n_nodes = lay_out_trees(set), n = set->boxes.n;
    set->slot_box = memory_array((size_t)(n + 1), sizeof *set->slot_box);
    set->hits = memory_array((size_t)(n + 1), sizeof *set->hits);
    set->rects = memory_array((size_t)(n_nodes + 1), sizeof *set->rects);
    set->active = memory_array((size_t)(n_nodes + 1), 1);
    if (set->slot_box == NULL || set->hits == NULL || set->rects == NULL || set->active == NULL || !order_boxes(set)) {
        return false;
    }
    build_trees(set);
    return true;
}

void rt_boxset_activate(rt_boxset *set, int32_t box)
{
    const rt_box *b = &set->boxes.items[box];
    rt_boxtree_activate(&set->regions.items[b->region].tree, b->slot);
}

void rt_boxset_deactivate(rt_boxset *set, int32_t box)
{
    const rt_box *b = &set->boxes.items[box];
    rt_boxtree_deactivate(&set->regions.items[b->region].tree, b->slot);
}

int64_t rt_boxset_overlaps(rt_boxset *set, int32_t box, const int32_t **boxes)
{
    const rt_box *b = &set->boxes.items[box];
    const rt_region *r = &set->regions.items[b->region];
    int64_t n_hits = rt_boxtree_search(&r->tree, b->slot, set->hits), n = 0;
    for (int64_t i = 0; i < n_hits; i++) {
        int32_t other = set->slot_box[r->first_slot + set->hits[i]];
        if (rt_span_overlaps(&b->span, &set->boxes.items[other].span)) {
            set->hits[n++] = other;
        }
    }
    *boxes = set->hits;
    return n;
}
