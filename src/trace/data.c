/* trace/data.c - the member "dsv4" of a trace file: the graph and the run, all of them, a row of numbers for each thing.
 *
 *   version  1
 *   graph    name, deps: "block", "stage" or "tensor"
 *            views    [name, address, rows, cols, elem_bytes, row_bytes]
 *            stages   [name, n_blocks, scratch_bytes, "vector" or "cube"]
 *            tasks    [stage (-1: a join made by sealing), block, is_join, spread, n_edges from it, n_touches,
 *                      flops_bf16, ops_i8, vector_ops, gathered_bytes, m, n, k, k_tile, ahead]
 *            touches  [view, mode, row0, row1, col0, col1], those of the first task first
 *            edges    [to, source 0..4, from_touch, to_touch], those from the first task first; touches -1: none
 *   run      device, is_simulated, level, read_bytes_s, ops_i8_s, flops_bf16_s, vector_ops_s
 *            workers  [name]
 *            counters [name]
 *            events   [task, worker, found, ready_s, dispatch_s, start_s, end_s, a number for each counter]
 *            waits    [worker, slept, begin_s, end_s] */
#include "trace/out.h"

/* ---- tables ------------------------------------------------------------------------------------------------------------------ */

typedef struct table {
    FILE *out;
    int64_t n_rows;
    int n_cells; /* of the row at hand */
} table;

static table begin_table(FILE *out, const char *name)
{
    fprintf(out, ",\n\"%s\":[", name);
    return (table){out, 0, 0};
}

static void begin_row(table *t)
{
    fputs(t->n_rows++ == 0 ? "\n[" : ",\n[", t->out);
    t->n_cells = 0;
}

static FILE *begin_cell(table *t)
{
    if (t->n_cells++ > 0) {
        fputc(',', t->out);
    }
    return t->out;
}

static void put_integer(table *t, int64_t x)
{
    fprintf(begin_cell(t), "%lld", (long long)x);
}

static void put_number(table *t, double x)
{
    trace_out_number(begin_cell(t), x);
}

static void put_text(table *t, const char *text)
{
    trace_out_text(begin_cell(t), text);
}

static void put_bool(table *t, bool x)
{
    fputs(x ? "true" : "false", begin_cell(t));
}

static void end_row(table *t)
{
    fputc(']', t->out);
}

static void end_table(table *t)
{
    fputc(']', t->out);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------- */

static void out_views(const trace_graph *g, FILE *out)
{
    table t = begin_table(out, "views");
    for (int64_t i = 0; i < g->n_views; i++) {
        const trace_view *v = &g->views[i];
        begin_row(&t);
        put_text(&t, v->name);
        put_integer(&t, v->address);
        put_integer(&t, v->rows);
        put_integer(&t, v->cols);
        put_integer(&t, v->elem_bytes);
        put_integer(&t, v->row_bytes);
        end_row(&t);
    }
    end_table(&t);
}

static void out_stages(const trace_graph *g, FILE *out)
{
    table t = begin_table(out, "stages");
    for (int64_t i = 0; i < g->n_stages; i++) {
        const trace_stage *s = &g->stages[i];
        begin_row(&t);
        put_text(&t, s->name);
        put_integer(&t, s->n_blocks);
        put_integer(&t, s->scratch_bytes);
        put_text(&t, trace_kind_names[s->kind]);
        end_row(&t);
    }
    end_table(&t);
}

static void put_work(table *t, const dsv4_work *w)
{
    put_number(t, w->flops_bf16);
    put_number(t, w->ops_i8);
    put_number(t, w->vector_ops);
    put_number(t, w->gathered_bytes);
    put_integer(t, w->product.m);
    put_integer(t, w->product.n);
    put_integer(t, w->product.k);
    put_integer(t, w->product.k_tile);
    put_integer(t, w->product.ahead);
}

static void out_tasks(const trace_graph *g, FILE *out)
{
    table t = begin_table(out, "tasks");
    for (int64_t i = 0; i < g->n_tasks; i++) {
        const trace_task *task = &g->tasks[i];
        begin_row(&t);
        put_integer(&t, task->stage);
        put_integer(&t, task->block);
        put_bool(&t, task->is_join);
        put_bool(&t, task->spread);
        put_integer(&t, task->edge_end - task->edge);
        put_integer(&t, task->touch_end - task->touch);
        put_work(&t, &task->work);
        end_row(&t);
    }
    end_table(&t);
}

static void out_touches(const trace_graph *g, FILE *out)
{
    table t = begin_table(out, "touches");
    for (int64_t i = 0; i < g->n_touches; i++) {
        const trace_touch *touch = &g->touches[i];
        begin_row(&t);
        put_integer(&t, touch->view);
        put_integer(&t, touch->mode);
        put_integer(&t, touch->box.row0);
        put_integer(&t, touch->box.row1);
        put_integer(&t, touch->box.col0);
        put_integer(&t, touch->box.col1);
        end_row(&t);
    }
    end_table(&t);
}

static void out_edges(const trace_graph *g, FILE *out)
{
    table t = begin_table(out, "edges");
    for (int64_t i = 0; i < g->n_edges; i++) {
        begin_row(&t);
        put_integer(&t, g->edges[i].to);
        put_integer(&t, g->edges[i].source);
        put_integer(&t, g->edges[i].from_touch);
        put_integer(&t, g->edges[i].to_touch);
        end_row(&t);
    }
    end_table(&t);
}

static void out_graph(const trace_graph *g, FILE *out)
{
    fputs("\"graph\":{\"name\":", out);
    trace_out_text(out, g->name);
    fprintf(out, ",\"deps\":\"%s\"", trace_deps_names[g->deps]);
    out_views(g, out);
    out_stages(g, out);
    out_tasks(g, out);
    out_touches(g, out);
    out_edges(g, out);
    fputc('}', out);
}

/* ---- the run --------------------------------------------------------------------------------------------------------------- */

static void out_names(const trace_run *run, FILE *out)
{
    table workers = begin_table(out, "workers");
    for (int64_t i = 0; i < run->n_workers; i++) {
        begin_row(&workers);
        put_text(&workers, run->workers[i].name);
        end_row(&workers);
    }
    end_table(&workers);
    table counters = begin_table(out, "counters");
    for (int64_t i = 0; i < run->n_counters; i++) {
        begin_row(&counters);
        put_text(&counters, run->counters[i]);
        end_row(&counters);
    }
    end_table(&counters);
}

static void out_run_events(const trace_run *run, FILE *out)
{
    table t = begin_table(out, "events");
    for (int64_t i = 0; i < run->n_events; i++) {
        const trace_event *e = &run->events[i];
        begin_row(&t);
        put_integer(&t, e->task);
        put_integer(&t, e->worker);
        put_integer(&t, e->found);
        put_number(&t, e->ready_s);
        put_number(&t, e->dispatch_s);
        put_number(&t, e->start_s);
        put_number(&t, e->end_s);
        for (int64_t c = 0; c < run->n_counters; c++) {
            put_number(&t, run->counts[i * run->n_counters + c]);
        }
        end_row(&t);
    }
    end_table(&t);
}

static void out_waits(const trace_run *run, FILE *out)
{
    table t = begin_table(out, "waits");
    for (int64_t i = 0; i < run->n_waits; i++) {
        begin_row(&t);
        put_integer(&t, run->waits[i].worker);
        put_bool(&t, run->waits[i].slept);
        put_number(&t, run->waits[i].begin_s);
        put_number(&t, run->waits[i].end_s);
        end_row(&t);
    }
    end_table(&t);
}

static void out_member(FILE *out, const char *name, double x)
{
    fprintf(out, ",\"%s\":", name);
    trace_out_number(out, x);
}

static void out_run(const trace_run *run, FILE *out)
{
    fputs("\"run\":{\"device\":", out);
    trace_out_text(out, run->device);
    fprintf(out, ",\"is_simulated\":%s,\"level\":%d", run->is_simulated ? "true" : "false", run->level);
    out_member(out, "read_bytes_s", run->read_bytes_s);
    out_member(out, "ops_i8_s", run->ops_i8_s);
    out_member(out, "flops_bf16_s", run->flops_bf16_s);
    out_member(out, "vector_ops_s", run->vector_ops_s);
    out_names(run, out);
    out_run_events(run, out);
    out_waits(run, out);
    fputc('}', out);
}

void trace_out_data(const trace *t, FILE *out)
{
    fprintf(out, "{\"version\":%d,\n", TRACE_VERSION);
    out_graph(&t->graph, out);
    fputs(",\n", out);
    out_run(&t->run, out);
    fputc('}', out);
}
