/* text/merge.h - byte pair encoding of one word: the pair of the lowest rank, the leftmost of several, becomes one token, and again.
 *
 * A heap of pairs over a linked list of tokens: n log n for a word of n bytes, also for one of millions. */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What follows a token and makes it another. */
typedef struct merge_pair {
    int32_t left, right, joined;
    uint32_t rank;
} merge_pair;

typedef struct merge_table {
    merge_pair *pairs; /* by left, then right */
    size_t n;
    uint32_t *first; /* [n_ids + 1]: where the pairs of a left token begin */
    int32_t of_byte[256];
} merge_table;

/* A token of a word in work, and a pair that waits in the heap. */
typedef struct merge_node {
    int32_t id;
    uint32_t previous, next; /* MERGE_NONE: none */
} merge_node;

typedef struct merge_entry {
    uint32_t rank, at; /* of the left node */
    int32_t left, right, joined;
} merge_entry;

/* Memory that encoding reuses from word to word. Zero-initialise; end with merge_work_deinit. */
typedef struct merge_work {
    merge_node *nodes;
    merge_entry *heap;
    size_t size, n_heap; /* nodes there is room for; entries in use */
} merge_work;

/* Sorts pairs and fills first (room for n_ids + 1); false if a pair is there twice, then *twice is its rank. */
bool merge_table_sort(merge_table *m, int32_t n_ids, uint32_t *twice);

/* Writes the ids of a word to ids, which has room for n; returns their number, or 0 without memory. n is at least 1. */
size_t merge_word(const merge_table *m, merge_work *work, const char *word, size_t n, int32_t *ids);

void merge_work_deinit(merge_work *work);

#endif
