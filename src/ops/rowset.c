#include "ops/rowset.h"

#include <string.h>

static int64_t slots_for(int64_t max_rows)
{
    int64_t n = 4;
    while (n < 2 * max_rows) {
        n *= 2;
    }
    return n;
}

size_t op_rowset_bytes(int64_t max_rows)
{
    return (size_t)slots_for(max_rows) * sizeof(op_row_owner);
}

op_rowset op_rowset_in(void *memory, int64_t max_rows)
{
    op_rowset s = {memory, slots_for(max_rows)};
    op_rowset_clear(&s);
    return s;
}

void op_rowset_clear(op_rowset *s)
{
    memset(s->slots, 0xff, (size_t)s->n_slots * sizeof *s->slots);
}

/* Where the row stands, or the free place where it would. */
static op_row_owner *find(const op_rowset *s, int64_t row)
{
    uint64_t slot = (uint64_t)row * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    op_row_owner *at = &s->slots[slot & (uint64_t)(s->n_slots - 1)];
    while (at->row != row && at->row != -1) {
        slot++;
        at = &s->slots[slot & (uint64_t)(s->n_slots - 1)];
    }
    return at;
}

int64_t op_rowset_claim(op_rowset *s, int64_t row, int64_t owner)
{
    op_row_owner *at = find(s, row);
    if (at->row != row) {
        *at = (op_row_owner){row, owner};
    }
    return at->owner;
}

int64_t op_rowset_owner(const op_rowset *s, int64_t row)
{
    const op_row_owner *at = find(s, row);
    return at->row == row && row >= 0 ? at->owner : OP_NO_OWNER;
}
