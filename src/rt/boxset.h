/* rt/boxset.h - the distinct boxes of a graph, and which of them overlap.
 *
 * REGION  Memory that some views share, directly or through others: overlapping address ranges merged. Boxes of different regions
 *         never overlap, so each region has its own box tree. Its frame takes the longest row among its views: boxes of narrower
 *         views of the same memory (heads of a row) stay narrow in it.
 * BOX     Equal spans are one box, however many blocks touch it, and get one id.
 *
 * Use: init, add every span, index, then activate / deactivate / overlaps. */
#ifndef RT_BOXSET_H
#define RT_BOXSET_H

#include "rt/boxtree.h"
#include "rt/graph.h"

/* A place in a region's table of boxes; box RT_NONE is free. The hash keeps most probes from looking at the box. */
typedef struct rt_box_slot {
    uint32_t hash;
    int32_t box;
} rt_box_slot;

typedef struct rt_region {
    int64_t address, end;
    rt_frame frame;
    rt_box_slot *table; /* open addressing by span */
    int64_t table_size;
    rt_boxtree tree;
    int64_t n_boxes, first_slot; /* slot i of the tree holds box slot_box[first_slot + i] */
} rt_region;

typedef struct rt_box {
    rt_span span;
    int32_t region, slot;
} rt_box;

typedef struct rt_boxset {
    VEC(rt_region) regions;
    int32_t *view_region; /* [views]; RT_NONE for an empty view */
    VEC(rt_box) boxes;
    int32_t recent[4]; /* newest boxes of sequences that add has been following */
    int n_sequences;
    int32_t *slot_box;
    rt_rect *rects; /* nodes of all trees */
    uint8_t *active;
    int32_t *hits;
} rt_boxset;

/* Finds the regions of the graph's views. False without memory. Zeroed storage; deinit always. */
bool rt_boxset_init(rt_boxset *set, const dsv4_graph *g);
void rt_boxset_deinit(rt_boxset *set);

/* Id of the span, which lies in the view; RT_NONE without memory. */
int32_t rt_boxset_add(rt_boxset *set, dsv4_view view, const rt_span *span);

/* The whole region that a non-empty view lies in. */
rt_span rt_boxset_region_span(const rt_boxset *set, dsv4_view view);

/* Builds the trees; nothing can be added afterwards; every box inactive. False without memory. */
bool rt_boxset_index(rt_boxset *set);

void rt_boxset_activate(rt_boxset *set, int32_t box);
void rt_boxset_deactivate(rt_boxset *set, int32_t box);

/* Active boxes that share a byte with box (itself included if active); *boxes is valid until the next call. Returns how many. */
int64_t rt_boxset_overlaps(rt_boxset *set, int32_t box, const int32_t **boxes);

#endif
