#include "rt/boxtree.h"

#include <string.h>

rt_rect rt_frame_rect(const rt_frame *f, const rt_span *s)
{
    int64_t first = s->start - f->origin, last = rt_span_end(s) - 1 - f->origin;
    int64_t row0 = first / f->stride, row1 = last / f->stride, col0 = 0, col1 = f->stride - 1; /* last row and column included */
    int64_t col = first % f->stride;
    if (row0 == row1) {
        col0 = col;
        col1 = last % f->stride;
    } else if (s->n > 1 && s->stride == f->stride && col + s->len <= f->stride) {
        col0 = col;
        col1 = col + s->len - 1;
    }
    return (rt_rect){(int32_t)(row0 >> f->row_shift), (int32_t)(row1 >> f->row_shift) + 1, (int32_t)(col0 >> f->col_shift),
                     (int32_t)(col1 >> f->col_shift) + 1};
}

static int shift_for(int64_t extent)
{
    int shift = 0;
    while (extent >> shift > INT32_MAX / 2) {
        shift++;
    }
    return shift;
}

void rt_frame_scale(rt_frame *f)
{
    f->row_shift = shift_for(f->rows);
    f->col_shift = shift_for(f->stride);
}

/* 31 bits of x spread to the even bit positions. */
static uint64_t spread_bits(uint64_t x)
{
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x << 2) & 0x3333333333333333;
    return (x | x << 1) & 0x5555555555555555;
}

/* Position in [0, extent) as 31 bits. */
static uint64_t scaled(int64_t position, int64_t extent)
{
    return (uint64_t)((double)position / (double)extent * 2147483647.0);
}

uint64_t rt_frame_key(const rt_frame *f, const rt_rect *r)
{
    uint64_t row = scaled((r->row0 + r->row1) / 2, (f->rows >> f->row_shift) + 1);
    uint64_t col = scaled((r->col0 + r->col1) / 2, (f->stride >> f->col_shift) + 1);
    return spread_bits(row) << 1 | spread_bits(col);
}

static int64_t width_for(int64_t n_boxes)
{
    int64_t width = 1;
    while (width < n_boxes) {
        width *= 2;
    }
    return width;
}

int64_t rt_boxtree_nodes(int64_t n_boxes)
{
    return 2 * width_for(n_boxes);
}

static rt_rect bound(const rt_rect *a, const rt_rect *b)
{
    return (rt_rect){a->row0 < b->row0 ? a->row0 : b->row0, a->row1 > b->row1 ? a->row1 : b->row1,
                     a->col0 < b->col0 ? a->col0 : b->col0, a->col1 > b->col1 ? a->col1 : b->col1};
}

void rt_boxtree_build(rt_boxtree *t, int64_t n_boxes)
{
    for (int64_t i = t->width + n_boxes; i < 2 * t->width; i++) {
        t->rect[i] = (rt_rect){INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN};
    }
    for (int64_t i = t->width - 1; i >= 1; i--) {
        t->rect[i] = bound(&t->rect[2 * i], &t->rect[2 * i + 1]);
    }
    memset(t->active, 0, (size_t)(2 * t->width));
}

void rt_boxtree_activate(rt_boxtree *t, int64_t slot)
{
    for (int64_t i = t->width + slot; i >= 1 && !t->active[i]; i /= 2) {
        t->active[i] = 1;
    }
}

void rt_boxtree_deactivate(rt_boxtree *t, int64_t slot)
{
    int64_t i = t->width + slot;
    t->active[i] = 0;
    for (i /= 2; i >= 1 && !t->active[2 * i] && !t->active[2 * i + 1]; i /= 2) {
        t->active[i] = 0;
    }
}

static bool meets(const rt_rect *a, const rt_rect *b)
{
    return (a->row0 < b->row1) & (b->row0 < a->row1) & (a->col0 < b->col1) & (b->col0 < a->col1);
}

/* Adds the hits below node i. */
static int64_t search_below(const rt_boxtree *t, int64_t i, const rt_rect *r, int32_t *hits, int64_t n_hits)
{
    int64_t stack[64], depth = 0; /* at most one waiting sibling per level */
    stack[depth++] = i;
    while (depth > 0) {
        i = stack[--depth];
        if (!t->active[i] || !meets(&t->rect[i], r)) {
            continue;
        }
        if (i >= t->width) {
            hits[n_hits++] = (int32_t)(i - t->width);
            continue;
        }
        stack[depth++] = 2 * i + 1;
        stack[depth++] = 2 * i;
    }
    return n_hits;
}

/* From the leaf upwards: at each level, the subtree beside the path. Neighbours in memory come first, and the upper levels are the
 * same for most searches. Which subtrees to enter is found without branches, which no processor could predict. */
int64_t rt_boxtree_search(const rt_boxtree *t, int64_t slot, int32_t *hits)
{
    int64_t leaf = t->width + slot, n_hits = 0;
    const rt_rect r = t->rect[leaf];
    uint64_t enter = 0; /* bit l: the subtree beside the path's node at level l */
    int level = 0;
    for (int64_t i = leaf; i > 1; i /= 2, level++) {
        enter |= (uint64_t)(t->active[i ^ 1] & meets(&t->rect[i ^ 1], &r)) << level;
    }
    if (t->active[leaf]) {
        hits[n_hits++] = (int32_t)slot;
    }
    for (; enter != 0; enter &= enter - 1) {
        n_hits = search_below(t, leaf >> __builtin_ctzll(enter) ^ 1, &r, hits, n_hits);
    }
    return n_hits;
}
