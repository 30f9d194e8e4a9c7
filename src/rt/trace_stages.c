/* rt/trace_stages.c - the last run by stage: what its blocks took, and the work and bytes that they declare. */
#include "rt/exec.h"

/* Bytes of a block's boxes. An untracked box says where a block may go, not what it moves, so it counts nothing. */
static void add_bytes(dsv4_stage_time *s, const dsv4_describe *d)
{
    for (int64_t i = 0; i < d->touches.n; i++) {
        const rt_touch *t = &d->touches.items[i];
        double bytes = (double)(t->box.row1 - t->box.row0) * (double)(t->box.col1 - t->box.col0) *
                       (double)d->graph->views.items[t->view].elem_bytes;
        if ((t->mode & DSV4_UNTRACKED) != 0) {
            continue;
        }
        s->read_bytes += (t->mode & DSV4_READ) != 0 ? bytes : 0;
        s->written_bytes += (t->mode & DSV4_WRITE) != 0 ? bytes : 0;
    }
}

static dsv4_status add_declared(const dsv4_graph *g, int32_t stage, dsv4_describe *d, dsv4_stage_time *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t b = 0; b < s->n_blocks && status == DSV4_OK; b++) {
        status = rt_describe_ran(d, g, stage, b, err);
        s->work.flops_bf16 += d->work.flops_bf16;
        s->work.ops_i8 += d->work.ops_i8;
        s->work.vector_ops += d->work.vector_ops;
        s->work.gathered_bytes += d->work.gathered_bytes;
        add_bytes(s, d);
    }
    return status;
}

static void add_times(const dsv4_exec *exec, dsv4_stage_time *out)
{
    double tick_s = rt_exec_tick_ns(exec) / 1e9;
    for (int w = 0; w < exec->n_workers; w++) {
        const rt_worker *worker = &exec->workers[w];
        for (int64_t i = 0; i < worker->n_records; i++) {
            const rt_record *r = &worker->records[i];
            out[exec->g->tasks[r->task].stage].total_s += (double)(r->end - r->start) * tick_s;
        }
    }
}

dsv4_status dsv4_exec_stage_times(const dsv4_exec *exec, dsv4_stage_time *out, dsv4_error *err)
{
    const dsv4_graph *g = exec->g;
    dsv4_describe d = {0};
    dsv4_status status = DSV4_OK;
    for (int32_t s = 0; s < g->stages.n && status == DSV4_OK; s++) {
        const rt_stage *stage = &g->stages.items[s];
        out[s] = (dsv4_stage_time){.name = stage->name, .n_blocks = stage->run != NULL ? stage->n_blocks : 0};
        status = add_declared(g, s, &d, &out[s], err);
    }
    rt_describe_deinit(&d);
    if (status == DSV4_OK) {
        add_times(exec, out);
    }
    return status;
}
