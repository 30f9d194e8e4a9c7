/* trace/html_data.c - columns of numbers, which differences keep short; src/trace/viewer/model.js reads them. */
#include "trace/html_data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "trace/look.h"
#include "trace/report.h"

typedef struct page {
    const trace *t;
    const trace_look *look;
    FILE *out;
    bool failed; /* without memory */
} page;

/* ---- values ----------------------------------------------------------------------------------------------------------------- */

static void write_text(page *p, const char *text)
{
    char *json = trace_text_json(text);
    p->failed = p->failed || json == NULL;
    fputs(json != NULL ? json : "\"\"", p->out);
    free(json);
}

static void comma(page *p, int64_t i)
{
    if (i > 0) {
        fputc(',', p->out);
    }
}

static void write_integer(page *p, int64_t i, int64_t value)
{
    comma(p, i);
    fprintf(p->out, "%" PRId64, value);
}

static void write_number(page *p, int64_t i, double value)
{
    comma(p, i);
    fprintf(p->out, "%.9g", value);
}

static int64_t to_ns(double seconds)
{
    double ns = seconds * 1e9;
    return ns > 9e15 ? INT64_C(9000000000000000) : ns > 0 ? (int64_t)(ns + 0.5) : 0;
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------ */

static void write_names(page *p)
{
    const trace_run *run = &p->t->run;
    fputs("{\"graph\":", p->out);
    write_text(p, p->t->graph.name);
    fputs(",\"device\":", p->out);
    write_text(p, run->device);
    fprintf(p->out, ",\"simulated\":%s,\"workers\":[", run->is_simulated ? "true" : "false");
    for (int64_t w = 0; w < run->n_workers; w++) {
        comma(p, w);
        write_text(p, run->workers[w].name);
    }
    fputs("],\"counters\":[", p->out);
    for (int64_t c = 0; c < run->n_counters; c++) {
        comma(p, c);
        write_text(p, run->counters[c]);
    }
    fputs("],\n\"rows\":[", p->out);
    for (int64_t r = 0; r < p->look->n_rows; r++) {
        trace_rgb c = trace_colour(r);
        fputs(r > 0 ? ",[" : "[", p->out);
        write_text(p, p->look->rows[r].name);
        fprintf(p->out, ",\"#%02x%02x%02x\"]", (unsigned)(c.r * 255 + 0.5), (unsigned)(c.g * 255 + 0.5),
                (unsigned)(c.b * 255 + 0.5));
    }
}

static void write_stages_and_views(page *p)
{
    const trace_graph *g = &p->t->graph;
    fputs("],\n\"stages\":[", p->out);
    for (int64_t s = 0; s < g->n_stages; s++) {
        comma(p, s);
        fprintf(p->out, "{\"row\":%" PRId64 ",\"blocks\":%" PRId64 "}", p->look->row_of[s], g->stages[s].n_blocks);
    }
    fputs("],\n\"views\":[", p->out);
    for (int64_t v = 0; v < g->n_views; v++) {
        const trace_view *view = &g->views[v];
        fputs(v > 0 ? ",[" : "[", p->out);
        write_text(p, view->name);
        fprintf(p->out, ",%" PRId64 ",%" PRId64 ",%" PRId64 "]", view->rows, view->cols, view->elem_bytes);
    }
    fputs("],\n", p->out);
}

static void write_work(page *p, int64_t i, const dsv4_work *w)
{
    const double numbers[] = {w->flops_bf16,        w->ops_i8,
                              w->vector_ops,        w->gathered_bytes,
                              (double)w->product.m, (double)w->product.n,
                              (double)w->product.k, (double)w->product.k_tile};
    fputs(i > 0 ? ",[" : "[", p->out);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        write_number(p, (int64_t)k, numbers[k]);
    }
    fputc(']', p->out);
}

/* Blocks of a stage mostly declare the same work, which is written once: work_of[task] is its number. */
static void write_works(page *p, int64_t *work_of)
{
    const trace_graph *g = &p->t->graph;
    int64_t n = 0,
            *last = memory_array((size_t)g->n_stages + 1, sizeof *last); /* task of each stage, joins by sealing behind them */
    p->failed = p->failed || last == NULL;
    for (int64_t s = 0; last != NULL && s <= g->n_stages; s++) {
        last[s] = -1;
    }
    fputs("\"works\":[", p->out);
    for (int64_t i = 0; last != NULL && i < g->n_tasks; i++) {
        int64_t *before = &last[g->tasks[i].stage < 0 ? g->n_stages : g->tasks[i].stage];
        if (*before >= 0 && memcmp(&g->tasks[*before].work, &g->tasks[i].work, sizeof g->tasks[i].work) == 0) {
            work_of[i] = work_of[*before];
        } else {
            write_work(p, n, &g->tasks[i].work);
            work_of[i] = n++;
        }
        *before = i;
    }
    fputs("],\n", p->out);
    free(last);
}

typedef int64_t column_fn(const page *p, int64_t i);

static void write_column(page *p, const char *name, int64_t n, column_fn *value, bool first)
{
    fprintf(p->out, "%s\"%s\":[", first ? "" : ",\n", name);
    for (int64_t i = 0; i < n; i++) {
        write_integer(p, i, value(p, i));
    }
    fputc(']', p->out);
}

static int64_t task_stage(const page *p, int64_t i)
{
    return p->t->graph.tasks[i].stage;
}

static int64_t task_block(const page *p, int64_t i)
{
    return p->t->graph.tasks[i].block;
}

static int64_t task_touches(const page *p, int64_t i)
{
    return p->t->graph.tasks[i].touch_end - p->t->graph.tasks[i].touch;
}

static int64_t task_edges(const page *p, int64_t i)
{
    return p->t->graph.tasks[i].edge_end - p->t->graph.tasks[i].edge;
}

static void write_tasks(page *p)
{
    int64_t n = p->t->graph.n_tasks, *work_of = memory_zeroed_array((size_t)n, sizeof *work_of);
    if (work_of == NULL) {
        p->failed = true;
        return;
    }
    write_works(p, work_of);
    fputs("\"tasks\":{", p->out);
    write_column(p, "stage", n, task_stage, true);
    write_column(p, "block", n, task_block, false);
    write_column(p, "touches", n, task_touches, false);
    fputs(",\n\"work\":[", p->out);
    for (int64_t i = 0; i < n; i++) {
        write_integer(p, i, work_of[i]);
    }
    fputs("]},\n", p->out);
    free(work_of);
}

/* view, mode, first row, rows, first column, columns */
static void write_touches(page *p)
{
    fputs("\"touches\":[", p->out);
    const trace_graph *g = &p->t->graph;
    int64_t n = 0;
    for (int64_t i = 0; i < g->n_tasks; i++) {
        for (int64_t k = g->tasks[i].touch; k < g->tasks[i].touch_end; k++) {
            const trace_touch *t = &g->touches[k];
            comma(p, n++);
            fprintf(p->out, "%d,%d,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64, t->view, t->mode, t->box.row0,
                    t->box.row1 - t->box.row0, t->box.col0, t->box.col1 - t->box.col0);
        }
    }
    fputs("],\n", p->out);
}

/* From each task: how many, then for each the step from the one before (the first: from 0), then a digit for its source. */
static void write_edges(page *p)
{
    const trace_graph *g = &p->t->graph;
    int64_t n = 0;
    fputs("\"edges\":{", p->out);
    write_column(p, "count", g->n_tasks, task_edges, true);
    fputs(",\n\"step\":[", p->out);
    for (int64_t i = 0; i < g->n_tasks; i++) {
        for (int64_t e = g->tasks[i].edge, before = 0; e < g->tasks[i].edge_end; before = g->edges[e].to, e++) {
            write_integer(p, n++, g->edges[e].to - before);
        }
    }
    fputs("],\n\"source\":\"", p->out);
    for (int64_t i = 0; i < g->n_tasks; i++) {
        for (int64_t e = g->tasks[i].edge; e < g->tasks[i].edge_end; e++) {
            fputc('0' + (int)g->edges[e].source, p->out);
        }
    }
    fputs("\"},\n", p->out);
}

/* ---- the run --------------------------------------------------------------------------------------------------------------- */

static int64_t event_task(const page *p, int64_t i)
{
    return p->t->run.events[i].task;
}

static int64_t event_worker(const page *p, int64_t i)
{
    return p->t->run.events[i].worker;
}

static int64_t event_found(const page *p, int64_t i)
{
    return p->t->run.events[i].found;
}

/* From the end of the block before on the same worker. */
static int64_t event_gap(const page *p, int64_t i)
{
    const trace_event *e = &p->t->run.events[i];
    return to_ns(e->start_s) - (i > 0 && e[-1].worker == e->worker ? to_ns(e[-1].end_s) : 0);
}

static int64_t event_length(const page *p, int64_t i)
{
    const trace_event *e = &p->t->run.events[i];
    return to_ns(e->end_s) - to_ns(e->start_s);
}

static int64_t event_pickup(const page *p, int64_t i)
{
    const trace_event *e = &p->t->run.events[i];
    return to_ns(e->start_s) - to_ns(e->dispatch_s);
}

static int64_t event_queued(const page *p, int64_t i)
{
    const trace_event *e = &p->t->run.events[i];
    return to_ns(e->dispatch_s) - to_ns(e->ready_s);
}

static void write_events(page *p)
{
    static const struct {
        const char *name;
        column_fn *value;
    } columns[] = {{"task", event_task},     {"worker", event_worker}, {"found", event_found},  {"gap", event_gap},
                   {"length", event_length}, {"pickup", event_pickup}, {"queued", event_queued}};
    const trace_run *run = &p->t->run;
    fputs("\"events\":{", p->out);
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        write_column(p, columns[c].name, run->n_events, columns[c].value, c == 0);
    }
    fputs("},\n\"counts\":[", p->out);
    for (int64_t i = 0; i < run->n_events * run->n_counters; i++) {
        write_number(p, i, run->counts[i]);
    }
    fputs("],\n", p->out);
}

/* A number for each reason, of each event. */
static void write_reasons(page *p, const char *name, const trace_blame *blames, bool of_block)
{
    fprintf(p->out, "\"%s\":[", name);
    for (int64_t i = 0; i < p->t->run.n_events; i++) {
        const double *seconds = of_block ? blames[i].delay_s : blames[i].idle_s;
        for (int r = 0; r < TRACE_N_REASONS; r++) {
            write_integer(p, i + r, to_ns(seconds[r]));
        }
    }
    fputs("],\n", p->out);
}

static void write_blames(page *p)
{
    trace_blame *blames = memory_zeroed_array((size_t)p->t->run.n_events, sizeof *blames);
    if (blames == NULL || trace_blame_find(p->t, blames, NULL, NULL) != DSV4_OK) {
        p->failed = true;
    } else {
        write_reasons(p, "delay", blames, true);
        write_reasons(p, "idle", blames, false);
    }
    free(blames);
}

static void write_path(page *p, const trace_report *r)
{
    fputs("\"reasons\":[", p->out);
    for (int i = 0; i < TRACE_N_REASONS; i++) {
        comma(p, i);
        write_text(p, trace_reason_name((trace_reason)i));
    }
    fprintf(p->out, "],\n\"longest\":%" PRId64 ",\"executed\":{\"inside\":%" PRId64 ",\"gaps\":[", to_ns(r->longest.blocks_s),
            to_ns(r->executed.blocks_s));
    for (int i = 0; i < TRACE_N_REASONS; i++) {
        write_integer(p, i, to_ns(r->executed.gap_s[i]));
    }
    fputs("],\"events\":[", p->out);
    for (int64_t i = 0; i < r->executed.n_steps; i++) {
        write_integer(p, i, r->executed.steps[i].event);
    }
    fputs("]}}", p->out);
}

static void write_report(page *p)
{
    trace_report report = {0};
    if (trace_report_make(p->t, 1, &report, NULL) == DSV4_OK) {
        write_path(p, &report);
    } else {
        p->failed = true;
    }
    trace_report_deinit(&report);
}

bool trace_html_data(const trace *t, FILE *out)
{
    trace_look look;
    page p = {.t = t, .look = &look, .out = out, .failed = trace_look_init(&look, t, NULL) != DSV4_OK};
    if (!p.failed) {
        write_names(&p);
        write_stages_and_views(&p);
        write_tasks(&p);
        write_touches(&p);
        write_edges(&p);
        write_events(&p);
        write_blames(&p);
        write_report(&p);
    }
    trace_look_deinit(&look);
    return !p.failed;
}
