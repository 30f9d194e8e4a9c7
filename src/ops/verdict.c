#include "ops/verdict.h"

op_verdict op_verdict_new(const op_context *c)
{
    const dsv4_error *all;
    dsv4_verdict_slot slot = dsv4_graph_verdict(c->g);
    return (op_verdict){c->op->name, slot.verdict, slot.row, dsv4_graph_verdict_view(c->g, &all)};
}

void op_verdict_writes(dsv4_describe *d, const op_verdict *v)
{
    dsv4_writes(d, v->view, v->row, v->row + 1, 0, (int64_t)sizeof(dsv4_error));
}

op_gate op_gate_of(const op_context *c)
{
    op_gate gate = {.n = dsv4_graph_n_verdicts(c->g)};
    gate.view = dsv4_graph_verdict_view(c->g, &gate.verdicts);
    return gate;
}

void op_gate_reads(dsv4_describe *d, const op_gate *gate)
{
    dsv4_reads(d, gate->view, 0, gate->n, 0, (int64_t)sizeof(dsv4_error));
}

bool op_gate_is_open(const op_gate *gate)
{
    bool open = gate->verdicts != NULL;
    for (int i = 0; i < gate->n && open; i++) {
        open = gate->verdicts[i].status == DSV4_OK;
    }
    return open;
}
