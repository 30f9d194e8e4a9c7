#include "trace/trace.h"

#include <stdlib.h>

void trace_clear_run(trace *t)
{
    free(t->run.workers);
    free(t->run.events);
    free(t->run.counters);
    free(t->run.counts);
    free(t->run.waits);
    t->run = (trace_run){.device = ""};
}

void trace_deinit(trace *t)
{
    trace_clear_run(t);
    free(t->graph.views);
    free(t->graph.stages);
    free(t->graph.tasks);
    free(t->graph.touches);
    free(t->graph.edges);
    arena_deinit(&t->memory);
    *t = (trace){0};
}

trace_bytes trace_task_bytes(const trace_graph *g, const trace_task *task)
{
    trace_bytes bytes = {0, 0};
    for (int64_t i = task->touch; i < task->touch_end; i++) {
        const trace_touch *t = &g->touches[i];
        double n = (double)(t->box.row1 - t->box.row0) * (double)(t->box.col1 - t->box.col0) * (double)g->views[t->view].elem_bytes;
        if ((t->mode & DSV4_UNTRACKED) == 0) {
            bytes.read += (t->mode & DSV4_READ) != 0 ? n : 0;
            bytes.written += (t->mode & DSV4_WRITE) != 0 ? n : 0;
        }
    }
    return bytes;
}
