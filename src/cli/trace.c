/* cli/trace.c - `dsv4 trace FILE`: a recorded run as a page, a picture, a graph with its reasons; `dsv4 trace report` tells of it. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/trace_report.h"
#include "trace/draw.h"
#include "trace/html.h"
#include "trace/look.h"

typedef struct trace_options {
    const char *html, *svg, *png, *chrome, *deps, *title;
    double begin_s, end_s;
    long long width;
} trace_options;

static cli_store_fn store_time;

#define FIELD(f) offsetof(trace_options, f)
static const cli_option option_table[] = {
    {"html", "FILE", "a page to look at: zoom, what each block did and waited for", cli_store_file, FIELD(html), 0, 0},
    {"svg", "FILE", "a picture for documents", cli_store_file, FIELD(svg), 0, 0},
    {"png", "FILE", "the same picture, in pixels", cli_store_file, FIELD(png), 0, 0},
    {"title", "TEXT", "of the pictures, for the graph's name", cli_store_text, FIELD(title), 0, 0},
    {"width", "N", "of the pictures, in pixels; 1200", cli_store_number, FIELD(width), TRACE_MIN_WIDTH, TRACE_MAX_WIDTH},
    {"begin", "MS", "of the time that the pictures show, in milliseconds", store_time, FIELD(begin_s), 0, 0},
    {"end", "MS", "likewise", store_time, FIELD(end_s), 0, 0},
    {"chrome", "FILE", "trace events for ui.perfetto.dev and chrome://tracing", cli_store_file, FIELD(chrome), 0, 0},
    {"deps-json", "FILE", "the graph: each edge with its source and its two boxes", cli_store_file, FIELD(deps), 0, 0},
    {.name = NULL},
};

static dsv4_status store_time(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    char *end;
    double ms = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(ms) || ms < 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected milliseconds, 0 or more", self->name, text);
    }
    *(double *)field = ms * 1e-3;
    return DSV4_OK;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

static bool draws(const trace_options *o)
{
    return o->svg != NULL || o->png != NULL;
}

static bool writes(const trace_options *o)
{
    return draws(o) || o->html != NULL || o->chrome != NULL || o->deps != NULL;
}

static dsv4_status check_options(const trace_options *o, dsv4_error *err)
{
    const char *unused = o->title != NULL ? "title"
                         : o->width != 0  ? "width"
                         : o->begin_s > 0 ? "begin"
                         : o->end_s > 0   ? "end"
                                          : NULL;
    if (unused != NULL && !draws(o)) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: is of pictures, expected --svg or --png with it", unused);
    }
    if (o->end_s > 0 && o->end_s <= o->begin_s) {
        return dsv4_fail(err, DSV4_E_USAGE, "--end: got %g ms, expected more than --begin, %g ms", o->end_s * 1e3,
                         o->begin_s * 1e3);
    }
    return DSV4_OK;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return strcmp(a, b) == 0 ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* No output takes the place of the trace that was read, or of another output. */
static dsv4_status check_paths(const char *path, const trace_options *o, dsv4_error *err)
{
    const struct {
        const char *name, *path;
    } outputs[] = {{"html", o->html}, {"svg", o->svg}, {"png", o->png}, {"chrome", o->chrome}, {"deps-json", o->deps}};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (outputs[i].path != NULL && is_same_file(outputs[i].path, path)) {
            return dsv4_fail(err, DSV4_E_USAGE, "--%s: got %s, which is the trace itself", outputs[i].name, path);
        }
        for (size_t k = 0; outputs[i].path != NULL && k < i; k++) {
            if (outputs[k].path != NULL && is_same_file(outputs[i].path, outputs[k].path)) {
                return dsv4_fail(err, DSV4_E_USAGE, "--%s: got %s, which is the file of --%s too", outputs[i].name, outputs[i].path,
                                 outputs[k].name);
            }
        }
    }
    return DSV4_OK;
}

static dsv4_status write_pictures(const trace *t, const trace_options *o, dsv4_error *err)
{
    const trace_drawing drawing = {o->title, o->begin_s, o->end_s, (int)o->width};
    dsv4_status status = o->svg != NULL ? trace_write_svg(t, &drawing, o->svg, err) : DSV4_OK;
    return status == DSV4_OK && o->png != NULL ? trace_write_png(t, &drawing, o->png, err) : status;
}

static dsv4_status write_files(const trace *t, const trace_options *o, dsv4_error *err)
{
    const struct {
        const char *path;
        dsv4_status (*write)(const trace *t, const char *path, dsv4_error *err);
    } files[] = {{o->html, trace_write_html}, {o->chrome, trace_write}, {o->deps, trace_write_deps}};
    dsv4_status status = write_pictures(t, o, err);
    for (size_t i = 0; i < sizeof files / sizeof *files && status == DSV4_OK; i++) {
        status = files[i].path != NULL ? files[i].write(t, files[i].path, err) : DSV4_OK;
    }
    const char *const written[] = {o->svg, o->png, o->html, o->chrome, o->deps};
    for (size_t i = 0; i < sizeof written / sizeof *written && status == DSV4_OK; i++) {
        if (written[i] != NULL) {
            cli_print("  wrote %s\n", written[i]);
        }
    }
    return status;
}

/* ---- summary ---------------------------------------------------------------------------------------------------------------- */

static json_t *summary_json(const trace *t, const trace_look *look)
{
    const trace_run *run = &t->run;
    return json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:i, s:f, s:f}", "graph", cli_json_text(t->graph.name), "device",
                     cli_json_text(run->device != NULL ? run->device : ""), "is_simulated", run->is_simulated, "workers",
                     (json_int_t)run->n_workers, "stages", (json_int_t)t->graph.n_stages, "blocks", (json_int_t)t->graph.n_blocks,
                     "edges", (json_int_t)t->graph.n_edges, "views", (json_int_t)t->graph.n_views, "level", run->level,
                     "makespan_s", look->makespan_s, "busy_share", trace_look_busy_share(look, run));
}

static void print_summary(const char *path, const trace *t, const trace_look *look)
{
    const trace_graph *g = &t->graph;
    const trace_run *run = &t->run;
    char time[32];
    cli_print("%s  %s\n  graph   stages %lld, blocks %lld, edges %lld, views %lld\n", path, g->name, (long long)g->n_stages,
              (long long)g->n_blocks, (long long)g->n_edges, (long long)g->n_views);
    if (run->n_events > 0) {
        cli_print("  run     makespan %s, busy %.1f %%, mean parallelism %.2f\n  %s  %s, %lld %s\n",
                  trace_text_time(look->makespan_s, time, sizeof time), 100 * trace_look_busy_share(look, run),
                  look->makespan_s > 0 ? look->busy_s / look->makespan_s : 0, run->is_simulated ? "device (simulated)" : "device",
                  run->device, (long long)run->n_workers, run->n_workers == 1 ? "worker" : "workers");
    } else {
        cli_print("  run     none: a graph alone\n");
    }
}

static dsv4_status look_at(const char *path, const trace *t, const trace_options *o, json_t **results, dsv4_error *err)
{
    trace_look look;
    dsv4_status status = trace_look_init(&look, t, err);
    if (status == DSV4_OK) {
        print_summary(path, t, &look);
        *results = summary_json(t, &look);
        status = write_files(t, o, err);
    }
    if (status == DSV4_OK && !writes(o)) {
        cli_print("to see it: dsv4 trace %s --html FILE.html, --svg FILE, --png FILE; in numbers: dsv4 trace report %s\n", path,
                  path);
    }
    trace_look_deinit(&look);
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "report") == 0) {
        return trace_report_run(self, argc - 1, argv + 1);
    }
    trace_options options = {0};
    trace t = {0};
    dsv4_error err = {0};
    json_t *results = NULL;
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = DSV4_OK;
    if (argc - first != 1) {
        status =
            dsv4_fail(&err, DSV4_E_USAGE, "trace: got %d files, expected one, as dsv4 run OP --trace FILE writes it", argc - first);
    }
    if (status == DSV4_OK) {
        status = check_options(&options, &err);
    }
    if (status == DSV4_OK) {
        status = check_paths(argv[first], &options, &err);
    }
    if (status == DSV4_OK) {
        status = trace_read(argv[first], &t, &err);
    }
    if (status == DSV4_OK) {
        status = look_at(argv[first], &t, &options, &results, &err);
    }
    trace_deinit(&t);
    if (status == DSV4_OK) {
        return cli_write_json(results, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
    }
    json_decref(results);
    return cli_fail(&err);
}

const cli_command cli_trace = {"trace",
                               "[report] FILE.trace.json [options]",
                               "look at a recorded run: a page, a picture; report: what it shows",
                               option_table,
                               NULL,
                               run};
