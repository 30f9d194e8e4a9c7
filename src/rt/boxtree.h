/* rt/boxtree.h - finds the boxes of a memory region that may overlap a given one.
 *
 * All boxes are known when a graph is sealed, so the tree is static: leaves in Morton order of the box centres, a balanced binary
 * tree of bounding rectangles above them (node i has children 2i and 2i+1, leaf slots start at `width`). Each leaf is active or
 * not; a search enters active subtrees only. So a search costs O(log n + hits) for tilings, and boxes that no longer matter cost
 * nothing.
 *
 * Rectangles live in the region's FRAME: memory seen as rows of `stride` bytes. A box whose rows are the frame's rows is exact
 * there; any other gets a bounding rectangle. The caller checks hits exactly (rt_span_overlaps). */
#ifndef RT_BOXTREE_H
#define RT_BOXTREE_H

#include <stdbool.h>
#include <stdint.h>

#include "rt/span.h"

typedef struct rt_frame {
    int64_t origin, stride, rows; /* address of row 0, bytes a row, number of rows */
    int row_shift, col_shift;     /* a rectangle counts in units of 2^shift rows and bytes, so that its numbers fit 32 bits */
} rt_frame;

typedef struct rt_rect {
    int32_t row0, row1, col0, col1; /* half open, in units of the frame */
} rt_rect;

/* Chooses the shifts of a frame from its extents. */
void rt_frame_scale(rt_frame *f);

/* Smallest known rectangle of the frame around a span that lies inside it. */
rt_rect rt_frame_rect(const rt_frame *f, const rt_span *s);

/* Morton key of the rectangle's centre, for ordering leaves. */
uint64_t rt_frame_key(const rt_frame *f, const rt_rect *r);

typedef struct rt_boxtree {
    int64_t width;   /* number of leaf slots: a power of two */
    rt_rect *rect;   /* [2 * width] */
    uint8_t *active; /* [2 * width] */
} rt_boxtree;

/* Number of nodes (for both arrays) of a tree over n boxes. */
int64_t rt_boxtree_nodes(int64_t n_boxes);

/* Sets the inner rectangles from the leaves', which lie in [width, width+n); every leaf inactive. */
void rt_boxtree_build(rt_boxtree *t, int64_t n_boxes);

void rt_boxtree_activate(rt_boxtree *t, int64_t slot);
void rt_boxtree_deactivate(rt_boxtree *t, int64_t slot);

/* Slots of active leaves whose rectangles meet that of leaf `slot`, itself included, written to hits (room for every leaf); returns
 * their number. */
int64_t rt_boxtree_search(const rt_boxtree *t, int64_t slot, int32_t *hits);

#endif
