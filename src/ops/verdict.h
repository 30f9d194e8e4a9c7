/* ops/verdict.h - how a stage refuses the data of a step, and how the stages behind it hold back.
 *
 * The stage that checks tables, positions and slots fills its verdict; a stage that writes what outlives the step (state, caches)
 * writes only if no verdict before it is a refusal. */
#ifndef OPS_VERDICT_H
#define OPS_VERDICT_H

#include "ops/op.h"

typedef struct op_verdict {
    const char *op;  /* name of the operator, which begins a refusal's line */
    dsv4_error *own; /* the checking block sets all of it at every run: to no error, then perhaps by dsv4_fail */
    int64_t row;
    dsv4_view view;
} op_verdict;

/* A new verdict of the graph, for a stage of one block. */
op_verdict op_verdict_new(const op_context *c);
void op_verdict_writes(dsv4_describe *d, const op_verdict *v);

/* The verdicts of the stages added so far, for stages that hold back. One that a later stage writes would still be the last
 * run's, and that stage would wait for all who read it. */
typedef struct op_gate {
    const dsv4_error *verdicts;
    int64_t n;
    dsv4_view view;
} op_gate;

op_gate op_gate_of(const op_context *c);
void op_gate_reads(dsv4_describe *d, const op_gate *gate);
bool op_gate_is_open(const op_gate *gate);

#endif
