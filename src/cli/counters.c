#include "cli/counters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Amounts that a stage has beside its counters. */
static const char bytes_name[] = "bytes"; /* read and written, as declared */

/* scale * over / under, where the run has both. */
static const struct derived {
    const char *name, *over, *under;
    double scale;
} derived_figures[] = {
    {"IPC", "instructions", "cycles", 1},
    {"l1d misses/kB", "l1d_load_misses", bytes_name, 1e3},
    {"cache misses/kB", "cache_misses", bytes_name, 1e3},
    {"llc misses/kB", "llc_load_misses", bytes_name, 1e3},
    {"node misses/kB", "node_load_misses", bytes_name, 1e3},
    {"dtlb misses/kB", "dtlb_load_misses", bytes_name, 1e3},
    {"frontend %", "stalled_cycles_frontend", "cycles", 1e2},
    {"backend %", "stalled_cycles_backend", "cycles", 1e2},
    {"bytes/tsc", bytes_name, "tsc", 1},
};
enum { N_DERIVED = sizeof derived_figures / sizeof *derived_figures };

/* Stages of one name together. */
typedef struct row {
    const char *name;
    int64_t n_blocks;
    double bytes;
    double *counts; /* [n_counters] */
} row;

typedef struct table {
    const trace_run *run;
    row *rows; /* [n] */
    int64_t n;
    int32_t *row_of; /* [n_stages] */
    double *counts;
} table;

static bool init_table(table *t, const trace *from)
{
    size_t n = (size_t)from->graph.n_stages;
    t->run = &from->run;
    t->rows = memory_zeroed_array(n, sizeof *t->rows);
    t->row_of = memory_zeroed_array(n, sizeof *t->row_of);
    t->counts = memory_zeroed_array(n * (size_t)from->run.n_counters, sizeof *t->counts);
    if (t->rows == NULL || t->row_of == NULL || t->counts == NULL) {
        return false;
    }
    for (int64_t s = 0; s < from->graph.n_stages; s++) {
        int32_t r = 0;
        while (r < t->n && strcmp(t->rows[r].name, from->graph.stages[s].name) != 0) {
            r++;
        }
        t->row_of[s] = r;
        if (r == t->n) {
            t->rows[t->n++] = (row){.name = from->graph.stages[s].name, .counts = t->counts + r * from->run.n_counters};
        }
    }
    return true;
}

static void deinit_table(table *t)
{
    free(t->rows);
    free(t->row_of);
    free(t->counts);
}

static void add_events(table *t, const trace *from)
{
    for (int64_t i = 0; i < from->run.n_events; i++) {
        const trace_task *task = &from->graph.tasks[from->run.events[i].task];
        row *r = &t->rows[t->row_of[task->stage]];
        trace_bytes bytes = trace_task_bytes(&from->graph, task);
        r->n_blocks++;
        r->bytes += bytes.read + bytes.written;
        for (int64_t c = 0; c < from->run.n_counters; c++) {
            r->counts[c] += from->run.counts[i * from->run.n_counters + c];
        }
    }
}

/* NAN where the run does not have it. */
static double amount_of(const table *t, const row *r, const char *name)
{
    if (strcmp(name, bytes_name) == 0) {
        return r->bytes;
    }
    for (int64_t c = 0; c < t->run->n_counters; c++) {
        if (strcmp(t->run->counters[c], name) == 0) {
            return r->counts[c];
        }
    }
    return NAN;
}

static bool has_derived(const table *t, const struct derived *d)
{
    return t->n > 0 && !isnan(amount_of(t, &t->rows[0], d->over)) && !isnan(amount_of(t, &t->rows[0], d->under));
}

static double derive(const table *t, const row *r, const struct derived *d)
{
    double under = amount_of(t, r, d->under);
    return under > 0 ? d->scale * amount_of(t, r, d->over) / under : 0;
}

/* ---- for people ---------------------------------------------------------------------------------------------------------------- */

/* "123", "45.6k", "7.89G" */
static const char *amount_text(double x, char *text, size_t size)
{
    static const char units[] = " kMGTPE";
    int unit = 0;
    for (; x >= 9999.5 && units[unit + 1] != '\0'; x /= 1000) {
        unit++;
    }
    if (unit == 0) {
        snprintf(text, size, x == floor(x) ? "%.0f" : "%.1f", x);
    } else {
        snprintf(text, size, "%.*f%c", x < 100 ? 1 : 0, x, units[unit]);
    }
    return text;
}

static int column_width(const char *name)
{
    int n = (int)strlen(name);
    return n > 7 ? n : 7;
}

static void print_heads(const table *t, int name_width)
{
    cli_print("  %-*s %7s", name_width, "counters", "blocks");
    for (int64_t c = 0; c < t->run->n_counters; c++) {
        cli_print(" %*s", column_width(t->run->counters[c]), t->run->counters[c]);
    }
    for (int d = 0; d < N_DERIVED; d++) {
        if (has_derived(t, &derived_figures[d])) {
            cli_print(" %*s", column_width(derived_figures[d].name), derived_figures[d].name);
        }
    }
    cli_print("\n");
}

static void print_row(const table *t, const row *r, int name_width)
{
    char text[32];
    cli_print("  %-*s %7lld", name_width, r->name, (long long)r->n_blocks);
    for (int64_t c = 0; c < t->run->n_counters; c++) {
        cli_print(" %*s", column_width(t->run->counters[c]), amount_text(r->counts[c], text, sizeof text));
    }
    for (int d = 0; d < N_DERIVED; d++) {
        if (has_derived(t, &derived_figures[d])) {
            cli_print(" %*.2f", column_width(derived_figures[d].name), derive(t, r, &derived_figures[d]));
        }
    }
    cli_print("\n");
}

static void print_table(const table *t)
{
    int name_width = (int)strlen("counters");
    for (int64_t i = 0; i < t->n; i++) {
        int width = t->rows[i].n_blocks > 0 ? (int)strlen(t->rows[i].name) : 0;
        name_width = width > name_width ? width : name_width;
    }
    print_heads(t, name_width);
    for (int64_t i = 0; i < t->n; i++) {
        if (t->rows[i].n_blocks > 0) {
            print_row(t, &t->rows[i], name_width);
        }
    }
}

/* ---- for machines --------------------------------------------------------------------------------------------------------------- */

static json_t *row_json(const table *t, const row *r)
{
    json_t *counts = json_object(), *figures = json_object();
    for (int64_t c = 0; c < t->run->n_counters; c++) {
        json_object_set_new(counts, t->run->counters[c], json_real(r->counts[c]));
    }
    for (int d = 0; d < N_DERIVED; d++) {
        if (has_derived(t, &derived_figures[d])) {
            json_object_set_new(figures, derived_figures[d].name, json_real(derive(t, r, &derived_figures[d])));
        }
    }
    return json_pack("{s:s, s:I, s:f, s:o, s:o}", "name", r->name, "blocks", (json_int_t)r->n_blocks, "bytes", r->bytes, "counts",
                     counts, "derived", figures);
}

json_t *counters_report(const trace *from)
{
    table t = {0};
    json_t *rows = json_array();
    if (rows == NULL || !init_table(&t, from)) {
        deinit_table(&t);
        json_decref(rows);
        return NULL;
    }
    add_events(&t, from);
    print_table(&t);
    for (int64_t i = 0; i < t.n; i++) {
        if (t.rows[i].n_blocks > 0) {
            json_array_append_new(rows, row_json(&t, &t.rows[i]));
        }
    }
    deinit_table(&t);
    return rows;
}
