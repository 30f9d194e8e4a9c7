#include "cli/sim_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "trace/look.h"

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */

static double busy_share(const sim_result *r, int kind)
{
    return r->makespan_s > 0 && r->n_cores[kind] > 0 ? r->busy_s[kind] / (r->makespan_s * r->n_cores[kind]) : 0;
}

static json_t *kinds_json(const sim_device *d, const sim_result *r)
{
    json_t *kinds = json_array();
    for (int k = 0; k < d->n_core_kinds; k++) {
        json_array_append_new(
            kinds, json_pack("{s:s, s:i, s:f}", "name", d->cores[k].name, "cores", r->n_cores[k], "busy_share", busy_share(r, k)));
    }
    return kinds;
}

static void print_whole(const sim_device *d, const sim_result *r, json_t *results)
{
    cli_print("  makespan %.3f us, longest chain of blocks %.3f us; busy", r->makespan_s * 1e6, r->path_s * 1e6);
    for (int k = 0; k < d->n_core_kinds; k++) {
        cli_print("%s %d %s %.1f %%", k > 0 ? "," : "", r->n_cores[k], d->cores[k].name, busy_share(r, k) * 100);
    }
    cli_print("\n");
    json_object_update_new(
        results, json_pack("{s:f, s:f, s:o}", "makespan_s", r->makespan_s, "path_s", r->path_s, "kinds", kinds_json(d, r)));
}

/* ---- stages ---------------------------------------------------------------------------------------------------------------- */

typedef struct row {
    const char *name;
    int64_t n_blocks;
    sim_stage sum;
} row;

static void add(sim_stage *to, const sim_stage *s)
{
    to->total_s += s->total_s;
    to->arithmetic_s += s->arithmetic_s;
    to->transfer_s += s->transfer_s;
    to->wanted_bytes += s->wanted_bytes;
    for (int l = 0; l < SIM_MAX_LEVELS; l++) {
        to->level_bytes[l] += s->level_bytes[l];
    }
}

/* Fills rows[0 .. returned), as look has them; those that took no time (joins) are left out. */
static int64_t gather_rows(const trace_graph *g, const trace_look *look, const sim_result *r, row *rows)
{
    int64_t n = 0;
    for (int64_t i = 0; i < g->n_stages; i++) {
        row *to = &rows[look->row_of[i]];
        if (r->stages[i].total_s > 0) {
            to->name = g->stages[i].name;
            to->n_blocks += g->stages[i].n_blocks;
            add(&to->sum, &r->stages[i]);
        }
    }
    for (int64_t i = 0; i < look->n_rows; i++) {
        if (rows[i].name != NULL) {
            rows[n++] = rows[i];
        }
    }
    return n;
}

static double moved_bytes(const sim_stage *s)
{
    double bytes = 0;
    for (int l = 0; l < SIM_MAX_LEVELS; l++) {
        bytes += s->level_bytes[l];
    }
    return bytes;
}

static double over_fetch(const sim_stage *s)
{
    return s->wanted_bytes > 0 ? moved_bytes(s) / s->wanted_bytes : 1;
}

static json_t *row_json(const sim_device *d, const row *s)
{
    json_t *levels = json_object();
    for (int l = 0; l < d->n_levels; l++) {
        json_object_set_new(levels, d->levels[l].name, json_real(s->sum.level_bytes[l]));
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "name", s->name, "blocks", (json_int_t)s->n_blocks, "total_s",
                     s->sum.total_s, "arithmetic_s", s->sum.arithmetic_s, "transfer_s", s->sum.transfer_s, "wanted_bytes",
                     s->sum.wanted_bytes, "over_fetch", over_fetch(&s->sum), "level_bytes", levels);
}

static void print_row(const sim_device *d, const row *s, double busy_s, int name_width)
{
    cli_print("  %-*s %7lld %10.3f %9.3f %5.1f %% %12.3f %11.3f %10.2f", name_width, s->name, (long long)s->n_blocks,
              s->sum.total_s * 1e6, s->sum.total_s / (double)s->n_blocks * 1e6, busy_s > 0 ? s->sum.total_s / busy_s * 100 : 0,
              s->sum.arithmetic_s * 1e6, s->sum.transfer_s * 1e6, over_fetch(&s->sum));
    for (int l = 0; l < d->n_levels; l++) {
        cli_print(" %10.3f", s->sum.level_bytes[l] * 1e-6);
    }
    cli_print("\n");
}

static void print_stages(const sim_device *d, const row *rows, int64_t n, json_t *results)
{
    double busy_s = 0;
    int name_width = (int)strlen("stage");
    json_t *array = json_array();
    for (int64_t i = 0; i < n; i++) {
        int width = (int)strlen(rows[i].name);
        busy_s += rows[i].sum.total_s;
        name_width = width > name_width ? width : name_width;
    }
    cli_print("  %-*s %7s %10s %9s %7s %12s %11s %10s", name_width, "stage", "blocks", "total us", "mean us", "share",
              "arithmetic us", "transfer us", "over-fetch");
    for (int l = 0; l < d->n_levels; l++) {
        char head[48];
        snprintf(head, sizeof head, "%s MB", d->levels[l].name);
        cli_print(" %10s", head);
    }
    cli_print("\n");
    for (int64_t i = 0; i < n; i++) {
        print_row(d, &rows[i], busy_s, name_width);
        json_array_append_new(array, row_json(d, &rows[i]));
    }
    json_object_set_new(results, "stages", array);
}

/* ---- misfits --------------------------------------------------------------------------------------------------------------- */

static void print_misfits(const trace_graph *g, const sim_result *r, json_t *results)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < r->n_misfits; i++) {
        const sim_misfit *m = &r->misfits[i];
        const char *stage = g->stages[m->stage].name;
        cli_print("  does not fit: %s, %lld blocks, %.0f bytes in buffer %s: %.0f too many\n", stage, (long long)m->n_blocks,
                  m->bytes, m->buffer, m->excess_bytes);
        json_array_append_new(array, json_pack("{s:s, s:s, s:I, s:f, s:f}", "stage", stage, "buffer", m->buffer, "blocks",
                                               (json_int_t)m->n_blocks, "bytes", m->bytes, "excess_bytes", m->excess_bytes));
    }
    json_object_set_new(results, "misfits", array);
}

dsv4_status sim_report_print(const sim_device *d, const trace *t, const sim_result *r, json_t *results, dsv4_error *err)
{
    trace_look look;
    dsv4_status status = trace_look_init(&look, t, err);
    row *rows = memory_zeroed_array((size_t)t->graph.n_stages, sizeof *rows);
    if (status == DSV4_OK && rows == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory to report %lld stages", (long long)t->graph.n_stages);
    }
    if (status == DSV4_OK) {
        print_whole(d, r, results);
        print_stages(d, rows, gather_rows(&t->graph, &look, r, rows), results);
        print_misfits(&t->graph, r, results);
    }
    free(rows);
    trace_look_deinit(&look);
    return status;
}

/* ---- scaling --------------------------------------------------------------------------------------------------------------- */

static int n_cores(const sim_device *d, const sim_result *r)
{
    int n = 0;
    for (int k = 0; k < d->n_core_kinds; k++) {
        n += r->n_cores[k];
    }
    return n;
}

void sim_report_scaling_head(const sim_device *d)
{
    for (int k = 0; k < d->n_core_kinds; k++) {
        cli_print("  %8s", d->cores[k].name);
    }
    cli_print(" %12s %8s %10s  busy\n", "makespan us", "speed-up", "efficiency");
}

void sim_report_scaling(sim_scaling *s, const sim_result *r)
{
    const sim_device *d = s->device;
    int cores = n_cores(d, r);
    if (s->first_cores == 0) {
        s->first_s = r->makespan_s;
        s->first_cores = cores;
    }
    double speed_up = r->makespan_s > 0 ? s->first_s / r->makespan_s : 1, efficiency = speed_up * s->first_cores / cores;
    for (int k = 0; k < d->n_core_kinds; k++) {
        cli_print("  %8d", r->n_cores[k]);
    }
    cli_print(" %12.3f %8.2f %8.1f %% ", r->makespan_s * 1e6, speed_up, efficiency * 100);
    for (int k = 0; k < d->n_core_kinds; k++) {
        cli_print(" %.1f %%", busy_share(r, k) * 100);
    }
    cli_print("\n");
    json_array_append_new(s->rows, json_pack("{s:i, s:f, s:f, s:f, s:o}", "cores", cores, "makespan_s", r->makespan_s, "speed_up",
                                             speed_up, "efficiency", efficiency, "kinds", kinds_json(d, r)));
}
