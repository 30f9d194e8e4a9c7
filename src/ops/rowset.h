/* ops/rowset.h - which owner holds which row: for stages that check that no row has two. */
#ifndef OPS_ROWSET_H
#define OPS_ROWSET_H

#include <stddef.h>
#include <stdint.h>

#define OP_NO_OWNER INT64_MIN

typedef struct op_row_owner {
    int64_t row, owner; /* row -1: free */
} op_row_owner;

/* An open hash table in the caller's memory, usually scratch of the checking block. */
typedef struct op_rowset {
    op_row_owner *slots;
    int64_t n_slots; /* a power of two, at least twice the rows */
} op_rowset;

/* Bytes for at most max_rows rows at a time. */
size_t op_rowset_bytes(int64_t max_rows);

/* An empty table in memory of that many bytes. */
op_rowset op_rowset_in(void *memory, int64_t max_rows);

void op_rowset_clear(op_rowset *s);

/* The owner of a row >= 0, which it gets here if it has none. */
int64_t op_rowset_claim(op_rowset *s, int64_t row, int64_t owner);

/* The owner of a row, OP_NO_OWNER if it has none. */
int64_t op_rowset_owner(const op_rowset *s, int64_t row);

#endif
