/* ops/slots.h - the experts that a step's tokens go to, each with its tokens: what lets a weight be read once for all of them.
 *
 * A ROUTE t*K + k is the k-th expert of token t. A SLOT is an expert that some route goes to; slots ascend with their experts, and
 * there are at most min(E, T*K) of them, so a stage with blocks for that many does nothing in the rest. Routes in the order of
 * slots, within a slot ascending, have PLACES 0, 1, ...: rows of what is computed per route lie there. */
#ifndef OPS_SLOTS_H
#define OPS_SLOTS_H

#include "ops/matrix.h"

typedef struct op_slots {
    op_matrix expert; /* I32 [1, n_slots]: -1 is idle */
    op_matrix begin;  /* I32 [1, n_slots + 1]: first place of a slot */
    op_matrix route;  /* I32 [1, n_routes]: of a place */
    int64_t n_slots, n_experts;
} op_slots;

typedef struct op_slot {
    int64_t expert, begin, n; /* n 0: idle */
    const int32_t *route;     /* [n] */
} op_slot;

/* Memory of the graph for the slots of at most n_routes routes to n_experts experts. */
op_slots op_slots_new(const op_context *c, const char *name, int64_t n_experts, int64_t n_routes);

/* Sorts routes by expert: experts[i] in [0, n_experts) is that of route i. Declares and uses all of the three matrices; scratch:
 * op_slots_scratch bytes. */
void op_slots_fill(const op_slots *s, const int32_t *experts, int64_t n_routes, void *scratch);
size_t op_slots_scratch(const op_slots *s);
void op_slots_writes(dsv4_describe *d, const op_slots *s);

/* The same where expert e has counts[e] routes, e*room + r for r < counts[e] <= room. */
void op_slots_fill_counts(const op_slots *s, const int32_t *counts, int64_t room);

/* Declares that a block reads all about the slots; and slot i, 0 <= i < n_slots. */
void op_slots_reads(dsv4_describe *d, const op_slots *s);
op_slot op_slot_at(const op_slots *s, int64_t i);

#endif
