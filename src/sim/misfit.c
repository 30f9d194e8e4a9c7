#include "sim/misfit.h"

#include <math.h>
#include <stdlib.h>

const sim_core_kind *sim_kind_for(const sim_device *d, dsv4_core_kind stage)
{
    for (int i = 0; i < d->n_core_kinds; i++) {
        if (stage == DSV4_CUBE ? d->cores[i].runs_cube : d->cores[i].runs_vector) {
            return &d->cores[i];
        }
    }
    return NULL;
}

static double box_bytes(const trace_graph *g, const trace_task *task)
{
    double bytes = 0;
    for (int64_t i = task->touch; i < task->touch_end; i++) {
        const trace_touch *t = &g->touches[i];
        if ((t->mode & DSV4_UNTRACKED) == 0) {
            bytes +=
                (double)(t->box.row1 - t->box.row0) * (double)(t->box.col1 - t->box.col0) * (double)g->views[t->view].elem_bytes;
        }
    }
    return bytes;
}

/* Bytes that a block puts into a buffer; 0: does not use it. Operands that are streamed (k_tile 0) pass through in pieces. */
static double bytes_in(const trace_graph *g, const trace_task *task, sim_buffer_use use)
{
    const dsv4_product *p = &task->work.product;
    bool is_product = p->m > 0 && p->n > 0 && p->k > 0;
    double elem_bytes = task->work.ops_i8 > 0 ? 1 : task->work.flops_bf16 > 0 ? 2 : 4;
    double k_tile = fmin((double)p->k_tile, (double)p->k);
    switch (use) {
    case SIM_BUFFER_A:
        return is_product ? (double)p->m * k_tile * elem_bytes : 0;
    case SIM_BUFFER_B:
        return is_product ? k_tile * (double)p->n * elem_bytes : 0;
    case SIM_BUFFER_C:
        return is_product ? (double)p->m * (double)p->n * 4 : 0;
    case SIM_BUFFER_STAGING:
        return is_product ? (double)(p->m + p->n) * k_tile * elem_bytes * (double)(p->ahead > 0 ? p->ahead : 2) : 0;
    default:
        return is_product ? 0 : box_bytes(g, task) + (double)g->stages[task->stage].scratch_bytes;
    }
}

/* Counts a block that does not fit in the entry of its stage and buffer. */
static void count(sim_misfit *m, int32_t stage, const sim_buffer *buffer, double bytes)
{
    m->stage = stage;
    m->buffer = buffer->name;
    m->bytes = fmax(m->bytes, bytes);
    m->excess_bytes = m->bytes - buffer->bytes;
    m->n_blocks++;
}

dsv4_status sim_find_misfits(const sim_device *d, const trace_graph *g, sim_result *out, dsv4_error *err)
{
    sim_misfit *all = calloc((size_t)g->n_stages * SIM_MAX_BUFFERS + 1, sizeof *all);
    if (all == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to check its tiles", g->name);
    }
    for (int64_t t = 0; t < g->n_blocks; t++) {
        int32_t stage = g->tasks[t].stage;
        const sim_core_kind *kind = sim_kind_for(d, g->stages[stage].kind);
        for (int i = 0; kind != NULL && i < kind->n_buffers; i++) {
            double bytes = bytes_in(g, &g->tasks[t], kind->buffers[i].use);
            if (bytes > kind->buffers[i].bytes) {
                count(&all[stage * SIM_MAX_BUFFERS + i], stage, &kind->buffers[i], bytes);
            }
        }
    }
    for (int64_t i = 0; i < g->n_stages * SIM_MAX_BUFFERS; i++) {
        if (all[i].n_blocks > 0) {
            all[out->n_misfits++] = all[i];
        }
    }
    out->misfits = all;
    return DSV4_OK;
}
