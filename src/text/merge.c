#include "text/merge.h"

#include <stdlib.h>
#include <string.h>

#define MERGE_NONE UINT32_MAX

/* Entries per node: one pair for each at first, two more for each of the merges. */
enum { ENTRIES_PER_NODE = 3 };

/* ---- the table -------------------------------------------------------------------------------------------------------- */

static int compare_pairs(const void *a, const void *b)
{
    const merge_pair *x = a, *y = b;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : (x->right > y->right) - (x->right < y->right);
}

bool merge_table_sort(merge_table *m, int32_t n_ids, uint32_t *twice)
{
    if (m->n > 0) {
        qsort(m->pairs, m->n, sizeof *m->pairs, compare_pairs);
    }
    for (size_t i = 1; i < m->n; i++) {
        if (compare_pairs(&m->pairs[i - 1], &m->pairs[i]) == 0) {
            *twice = m->pairs[i].rank > m->pairs[i - 1].rank ? m->pairs[i].rank : m->pairs[i - 1].rank;
            return false;
        }
    }
    size_t at = 0;
    for (int32_t id = 0; id <= n_ids; id++) {
        while (at < m->n && m->pairs[at].left < id) {
            at++;
        }
        m->first[id] = (uint32_t)at;
    }
    return true;
}

/* NULL if the two tokens make none. */
static const merge_pair *find_pair(const merge_table *m, int32_t left, int32_t right)
{
    size_t low = m->first[left], high = m->first[left + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->pairs[middle].right < right) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->first[left + 1] && m->pairs[low].right == right ? &m->pairs[low] : NULL;
}

/* ---- the heap --------------------------------------------------------------------------------------------------------- */

static bool is_before(const merge_entry *a, const merge_entry *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(merge_work *w, merge_entry e)
{
    size_t i = w->n_heap++;
    for (; i > 0 && is_before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        w->heap[i] = w->heap[(i - 1) / 2];
    }
    w->heap[i] = e;
}

static merge_entry pop(merge_work *w)
{
    merge_entry top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < w->n_heap; child = 2 * i + 1) {
        child += child + 1 < w->n_heap && is_before(&w->heap[child + 1], &w->heap[child]);
        if (!is_before(&w->heap[child], &last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* ---- a word ----------------------------------------------------------------------------------------------------------- */

static bool reserve(merge_work *w, size_t n)
{
    if (n <= w->size) {
        return true;
    }
    size_t size = n > 2 * w->size ? n : 2 * w->size;
    size = size < 64 ? 64 : size;
    merge_work_deinit(w);
    w->nodes = malloc(size * sizeof *w->nodes);
    w->heap = malloc(size * ENTRIES_PER_NODE * sizeof *w->heap);
    w->size = size;
    if (w->nodes == NULL || w->heap == NULL) {
        merge_work_deinit(w);
        return false;
    }
    return true;
}

/* The pair of the node at `at` and the one behind it, if they make a token. */
static void push_pair(const merge_table *m, merge_work *w, uint32_t at)
{
    uint32_t next = at == MERGE_NONE ? MERGE_NONE : w->nodes[at].next;
    if (next != MERGE_NONE) {
        const merge_pair *p = find_pair(m, w->nodes[at].id, w->nodes[next].id);
        if (p != NULL) {
            push(w, (merge_entry){p->rank, at, p->left, p->right, p->joined});
        }
    }
}

/* Joins the pair of an entry unless a merge has changed one of the two since. */
static void join(const merge_table *m, merge_work *w, const merge_entry *e)
{
    merge_node *left = &w->nodes[e->at];
    if (left->id != e->left || left->next == MERGE_NONE || w->nodes[left->next].id != e->right) {
        return;
    }
    merge_node *right = &w->nodes[left->next];
    left->id = e->joined;
    left->next = right->next;
    right->id = -1;
    if (left->next != MERGE_NONE) {
        w->nodes[left->next].previous = e->at;
    }
    push_pair(m, w, left->previous);
    push_pair(m, w, e->at);
}

size_t merge_word(const merge_table *m, merge_work *work, const char *word, size_t n, int32_t *ids)
{
    if (!reserve(work, n)) {
        return 0;
    }
    work->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = (uint32_t)i;
        work->nodes[i] =
            (merge_node){m->of_byte[(unsigned char)word[i]], i > 0 ? at - 1 : MERGE_NONE, i + 1 < n ? at + 1 : MERGE_NONE};
    }
    for (size_t i = 0; i + 1 < n; i++) {
        push_pair(m, work, (uint32_t)i);
    }
    while (work->n_heap > 0) {
        merge_entry e = pop(work);
        join(m, work, &e);
    }
    size_t n_ids = 0;
    for (uint32_t at = 0; at != MERGE_NONE; at = work->nodes[at].next) {
        ids[n_ids++] = work->nodes[at].id;
    }
    return n_ids;
}

void merge_work_deinit(merge_work *work)
{
    free(work->nodes);
    free(work->heap);
    *work = (merge_work){0};
}
