#include "cli/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes stages of one name (one per output group, say) one row, at the place of the first; drops those without blocks. Returns the
 * number of rows. */
static int64_t merge(dsv4_stage_time *stages, int64_t n)
{
    int64_t n_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        const dsv4_stage_time s = stages[i];
        int64_t r = 0;
        while (r < n_rows && strcmp(stages[r].name, s.name) != 0) {
            r++;
        }
        if (s.n_blocks == 0) {
            continue;
        }
        if (r == n_rows) {
            stages[n_rows++] = s;
            continue;
        }
        stages[r].n_blocks += s.n_blocks;
        stages[r].total_s += s.total_s;
        stages[r].work.flops_bf16 += s.work.flops_bf16;
        stages[r].work.ops_i8 += s.work.ops_i8;
        stages[r].work.vector_ops += s.work.vector_ops;
        stages[r].read_bytes += s.read_bytes;
        stages[r].written_bytes += s.written_bytes;
    }
    return n_rows;
}

/* Thousands of millions a second, "-" for nothing. */
static const char *rate_text(double amount, double seconds, char *text, size_t size)
{
    if (amount > 0 && seconds > 0) {
        snprintf(text, size, "%.1f", amount / seconds * 1e-9);
        return text;
    }
    return "-";
}

static void print_row(const dsv4_stage_time *s, double busy_s, int name_width)
{
    char bytes[32], flops[32], ops[32];
    cli_print("  %-*s %7lld %9.3f %9.2f %5.1f %% %7s %8s %8s\n", name_width, s->name, (long long)s->n_blocks, s->total_s * 1e3,
              s->total_s / (double)s->n_blocks * 1e6, busy_s > 0 ? s->total_s / busy_s * 100 : 0,
              rate_text(s->read_bytes + s->written_bytes, s->total_s, bytes, sizeof bytes),
              rate_text(s->work.flops_bf16, s->total_s, flops, sizeof flops),
              rate_text(s->work.ops_i8, s->total_s, ops, sizeof ops));
}

static json_t *row_json(const dsv4_stage_time *s, double busy_s)
{
    return json_pack("{s:s, s:I, s:f, s:f, s:I, s:I, s:f, s:f, s:f}", "name", s->name, "blocks", (json_int_t)s->n_blocks, "total_s",
                     s->total_s, "busy_share", busy_s > 0 ? s->total_s / busy_s : 0, "read_bytes", (json_int_t)s->read_bytes,
                     "written_bytes", (json_int_t)s->written_bytes, "flops_bf16", s->work.flops_bf16, "ops_i8", s->work.ops_i8,
                     "vector_ops", s->work.vector_ops);
}

static void report(const dsv4_stage_time *rows, int64_t n, json_t *results)
{
    double busy_s = 0;
    int name_width = (int)strlen("stage");
    json_t *array = json_array();
    for (int64_t i = 0; i < n; i++) {
        int width = (int)strlen(rows[i].name);
        busy_s += rows[i].total_s;
        name_width = width > name_width ? width : name_width;
    }
    cli_print("  %-*s %7s %9s %9s %7s %7s %8s %8s  (as declared, of one worker)\n", name_width, "stage", "blocks", "total ms",
              "mean us", "share", "GB/s", "GFLOP/s", "GOP/s");
    for (int64_t i = 0; i < n; i++) {
        print_row(&rows[i], busy_s, name_width);
        json_array_append_new(array, row_json(&rows[i], busy_s));
    }
    json_object_set_new(results, "stages", array);
}

dsv4_status stages_report(const dsv4_exec *exec, const dsv4_graph *graph, json_t *results, dsv4_error *err)
{
    int64_t n = dsv4_graph_get_info(graph).n_stages;
    dsv4_stage_time *stages = calloc((size_t)n + 1, sizeof *stages);
    if (stages == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the times of %lld stages", (long long)n);
    }
    dsv4_status status = dsv4_exec_stage_times(exec, stages, err);
    if (status == DSV4_OK) {
        report(stages, merge(stages, n), results);
    }
    free(stages);
    return status;
}
