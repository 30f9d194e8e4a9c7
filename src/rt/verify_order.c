/* rt/verify_order.c - looks for unordered conflicts.
 *
 * Conflicts come from the distinct boxes, all active: every pair of overlapping boxes gives pairs of blocks, one of them writing.
 * Reachability is computed for 64 source tasks at a time, one bit each, in one sweep over the tasks in topological order. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rt/boxset.h"
#include "rt/sort.h"
#include "rt/verify.h"

typedef struct toucher {
    int32_t task, box; /* sealed number */
    int mode;
} toucher;

typedef struct conflict {
    int32_t first, second; /* topological positions, first < second */
} conflict;

typedef struct checking {
    const dsv4_graph *g;
    rt_boxset boxes;
    VEC(toucher) touchers;     /* grouped by box once sorted */
    int64_t *first_toucher;    /* [boxes + 1] */
    int32_t *order, *position; /* [n_tasks] topological order, and its inverse */
    VEC(conflict) conflicts;
    VEC(uint64_t) keys; /* first << 32 | second */
} checking;

static bool find_order(checking *c)
{
    const dsv4_graph *g = c->g;
    int64_t n_found = 0;
    int32_t *left = memory_array((size_t)(g->n_tasks + 1), sizeof *left);
    c->order = memory_array((size_t)(g->n_tasks + 1), sizeof *c->order);
    c->position = memory_array((size_t)(g->n_tasks + 1), sizeof *c->position);
    bool ok = left != NULL && c->order != NULL && c->position != NULL;
    for (int64_t t = 0; ok && t < g->n_tasks; t++) {
        left[t] = g->tasks[t].n_before;
        if (left[t] == 0) {
            c->order[n_found++] = (int32_t)t;
        }
    }
    for (int64_t i = 0; ok && i < n_found; i++) {
        const rt_task *task = &g->tasks[c->order[i]];
        c->position[c->order[i]] = (int32_t)i;
        for (int64_t e = task->after; e < task->after_end; e++) {
            if (--left[g->after[e]] == 0) {
                c->order[n_found++] = g->after[e];
            }
        }
    }
    free(left);
    return ok;
}

static bool collect_touchers(checking *c, dsv4_describe *d)
{
    for (int64_t t = 0; t < c->g->n_tasks; t++) {
        const rt_task *task = &c->g->tasks[t];
        if (task->stage == RT_NONE) {
            continue;
        }
        if (rt_describe_block(d, c->g, task->stage, task->block, NULL) != DSV4_OK) {
            return false;
        }
        for (int64_t i = 0; i < d->touches.n; i++) {
            const rt_touch *touch = &d->touches.items[i];
            int32_t box = rt_boxset_add(&c->boxes, touch->view, &touch->span);
            if (box == RT_NONE || !vec_push(&c->touchers, ((toucher){(int32_t)t, box, touch->mode}))) {
                return false;
            }
        }
    }
    return true;
}

/* Groups the touchers by box. */
static bool sort_touchers(checking *c)
{
    int64_t n = c->touchers.n, n_boxes = c->boxes.boxes.n;
    toucher *sorted = memory_array((size_t)(n + 1), sizeof *sorted);
    c->first_toucher = memory_zeroed_array((size_t)n_boxes + 2, sizeof *c->first_toucher);
    if (sorted == NULL || c->first_toucher == NULL) {
        free(sorted);
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        c->first_toucher[c->touchers.items[i].box + 2]++;
    }
    for (int64_t b = 0; b < n_boxes; b++) {
        c->first_toucher[b + 2] += c->first_toucher[b + 1];
    }
    for (int64_t i = 0; i < n; i++) {
        sorted[c->first_toucher[c->touchers.items[i].box + 1]++] = c->touchers.items[i];
    }
    free(c->touchers.items);
    c->touchers.items = sorted;
    c->touchers.capacity = n + 1;
    return true;
}

/* One writes. The order of two untracked accesses is their author's: their boxes may be larger than what the blocks touch. */
static bool may_conflict(int mode, int other)
{
    return ((mode | other) & DSV4_WRITE) != 0 && (mode & other & DSV4_UNTRACKED) == 0;
}

/* Every pair of a box's blocks with another's that conflicts. */
static bool pair_up(checking *c, int32_t box, int32_t other)
{
    for (int64_t i = c->first_toucher[box]; i < c->first_toucher[box + 1]; i++) {
        const toucher *a = &c->touchers.items[i];
        for (int64_t j = c->first_toucher[other]; j < c->first_toucher[other + 1]; j++) {
            const toucher *b = &c->touchers.items[j];
            int32_t pa = c->position[a->task], pb = c->position[b->task];
            if (pa != pb && may_conflict(a->mode, b->mode)) {
                uint64_t first = (uint64_t)(pa < pb ? pa : pb), second = (uint64_t)(pa < pb ? pb : pa);
                if (!vec_push(&c->keys, first << 32 | second)) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* All conflicts, each once, in ascending order. */
static bool collect_conflicts(checking *c)
{
    for (int32_t box = 0; box < c->boxes.boxes.n; box++) {
        rt_boxset_activate(&c->boxes, box);
    }
    for (int32_t box = 0; box < c->boxes.boxes.n; box++) {
        const int32_t *overlapping;
        int64_t n = rt_boxset_overlaps(&c->boxes, box, &overlapping);
        for (int64_t i = 0; i < n; i++) {
            if (overlapping[i] >= box && !pair_up(c, box, overlapping[i])) {
                return false;
            }
        }
    }
    int32_t *order = memory_array((size_t)(c->keys.n + 1), sizeof *order);
    bool ok = order != NULL && rt_sort_ids(c->keys.items, c->keys.n, order);
    for (int64_t i = 0; ok && i < c->keys.n; i++) {
        uint64_t key = c->keys.items[order[i]];
        if (i == 0 || key != c->keys.items[order[i - 1]]) {
            ok = vec_push(&c->conflicts, ((conflict){(int32_t)(key >> 32), (int32_t)(key & UINT32_MAX)}));
        }
    }
    free(order);
    return ok;
}

/* The first pair of conflicting boxes of two blocks, in words. */
static void describe_conflict(const checking *c, int32_t one, int32_t two, dsv4_error *out)
{
    const dsv4_graph *g = c->g;
    dsv4_describe a = {0}, b = {0};
    char block_a[160], block_b[160], touch_a[96], touch_b[96];
    bool ok = rt_describe_block(&a, g, g->tasks[one].stage, g->tasks[one].block, NULL) == DSV4_OK &&
              rt_describe_block(&b, g, g->tasks[two].stage, g->tasks[two].block, NULL) == DSV4_OK;
    for (int64_t i = 0; ok && i < a.touches.n; i++) {
        for (int64_t j = 0; ok && j < b.touches.n; j++) {
            const rt_touch *ta = &a.touches.items[i], *tb = &b.touches.items[j];
            if (may_conflict(ta->mode, tb->mode) && rt_span_overlaps(&ta->span, &tb->span)) {
                dsv4_fail(
                    out, DSV4_E_GRAPH, "graph %s: unordered conflict: %s %s, %s %s, and no edge orders them", g->name,
                    rt_block_text(g, a.stage, a.block, block_a, sizeof block_a), rt_touch_text(g, ta, touch_a, sizeof touch_a),
                    rt_block_text(g, b.stage, b.block, block_b, sizeof block_b), rt_touch_text(g, tb, touch_b, sizeof touch_b));
                ok = false;
            }
        }
    }
    rt_describe_deinit(&a);
    rt_describe_deinit(&b);
}

/* Sets in reach[p] the bits of the tasks [base, base+64) from which position p can be reached. */
static void sweep(const checking *c, int64_t base, uint64_t *reach)
{
    const dsv4_graph *g = c->g;
    memset(reach + base, 0, (size_t)(g->n_tasks - base) * sizeof *reach);
    for (int64_t p = base; p < g->n_tasks; p++) {
        const rt_task *task = &g->tasks[c->order[p]];
        uint64_t here = reach[p] | (p < base + 64 ? UINT64_C(1) << (p - base) : 0);
        for (int64_t e = task->after; here != 0 && e < task->after_end; e++) {
            reach[c->position[g->after[e]]] |= here;
        }
    }
}

static bool check_conflicts(checking *c, rt_findings *found)
{
    uint64_t *reach = memory_array((size_t)(c->g->n_tasks + 1), sizeof *reach);
    int64_t base = -64;
    for (int64_t i = 0; reach != NULL && i < c->conflicts.n; i++) {
        conflict pair = c->conflicts.items[i];
        if (pair.first >= base + 64) {
            base = pair.first / 64 * 64;
            sweep(c, base, reach);
        }
        if ((reach[pair.second] >> (pair.first - base) & 1) == 0 && found->n++ == 0) {
            describe_conflict(c, c->order[pair.first], c->order[pair.second], &found->first);
        }
    }
    bool ok = reach != NULL;
    free(reach);
    return ok;
}

dsv4_status rt_verify_order(const dsv4_graph *g, rt_findings *found, dsv4_error *err)
{
    checking c = {.g = g};
    dsv4_describe d = {0};
    bool ok = rt_boxset_init(&c.boxes, g) && find_order(&c) && collect_touchers(&c, &d) && sort_touchers(&c) &&
              rt_boxset_index(&c.boxes) && collect_conflicts(&c) && check_conflicts(&c, found);
    rt_describe_deinit(&d);
    rt_boxset_deinit(&c.boxes);
    vec_free(&c.touchers);
    free(c.first_toucher);
    free(c.order);
    free(c.position);
    vec_free(&c.conflicts);
    vec_free(&c.keys);
    return ok ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to verify it", g->name);
}
