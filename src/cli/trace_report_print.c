/* The report as text: every section answers one question, the largest numbers first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/trace_report.h"

static double percent(double part, double whole)
{
    return whole > 0 ? part / whole * 100 : 0;
}

static int widest(int width, const char *text)
{
    return (int)strlen(text) > width ? (int)strlen(text) : width;
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

/* ---- bounds ------------------------------------------------------------------------------------------------------------------ */

static void print_bound(const char *name, double bound_s, double makespan_s)
{
    cli_print("  %-34s %10.3f ms  %6.1f %% of the makespan\n", name, bound_s * 1e3, percent(bound_s, makespan_s));
}

static void print_bounds(const trace *t, const trace_report *r)
{
    cli_print("%s on %s%s: makespan %.3f ms, busy share %.1f %%; workers %lld, blocks %lld, edges %lld\n", t->graph.name,
              t->run.device, t->run.is_simulated ? " (simulated)" : "", r->makespan_s * 1e3,
              percent(r->busy_s, r->makespan_s * (double)t->run.n_workers), (long long)t->run.n_workers,
              (long long)t->graph.n_blocks, (long long)t->graph.n_edges);
    cli_print("\nat least, with these durations\n");
    print_bound("longest path of the graph", r->longest.blocks_s, r->makespan_s);
    print_bound("busy time over workers", r->cores_bound_s, r->makespan_s);
    cli_print("at least, on this %s\n", t->run.is_simulated ? "device" : "machine");
    if (r->machine_bound_s > 0) {
        print_bound("arithmetic as declared", r->arithmetic_bound_s, r->makespan_s);
        print_bound("inputs and outputs, memory", r->transfer_bound_s, r->makespan_s);
        print_bound("the longer one, stage by stage", r->machine_bound_s, r->makespan_s);
    } else {
        cli_print("  not known: dsv4 run OP --trace FILE --ceilings measures what the machine can do\n");
    }
    if (r->arithmetic_bound_s > r->makespan_s) {
        cli_print(
            "  arithmetic beyond the makespan: something else ran while the ceilings were measured, or blocks did less than they "
            "declare\n");
    } else if (r->machine_bound_s > r->makespan_s) {
        cli_print("  more than the makespan: caches held what the replay before had touched\n");
    }
}

/* ---- workers ----------------------------------------------------------------------------------------------------------------- */

/* Shares of the makespan of each of n_workers. */
static void print_shares_of(const trace_worker_stats *s, int64_t n_workers, const trace_report *r)
{
    double whole_s = r->makespan_s * (double)n_workers;
    cli_print(" %8lld %7.1f %% %14.1f %% %7.1f %% %7.1f %%\n", (long long)s->n_blocks, percent(s->busy_s, whole_s),
              percent(s->idle_s[TRACE_NO_WORK], whole_s), percent(s->idle_s[TRACE_PICKUP], whole_s),
              percent(s->idle_s[TRACE_STEAL], whole_s));
}

/* Kinds of workers where there are several, or more workers than are printed. */
static void print_workers(const trace *t, const trace_report *r, int64_t n_printed)
{
    int64_t n = t->run.n_workers < n_printed ? t->run.n_workers : n_printed;
    int width = (int)strlen("worker");
    for (int64_t w = 0; w < t->run.n_workers; w++) {
        width = widest(width, t->run.workers[w].name);
    }
    width += r->n_kinds > 1 || n < t->run.n_workers ? (int)strlen("99 x ") : 0;
    cli_print("\n%-*s %8s %9s %16s %9s %9s   of the makespan\n", width, "worker", "blocks", "busy", "no ready work", "pick-up",
              "steal");
    for (int64_t k = 0; k < r->n_kinds && (r->n_kinds > 1 || n < t->run.n_workers); k++) {
        const trace_kind_stats *s = &r->kinds[k];
        char text[64];
        snprintf(text, sizeof text, "%lld x %.*s", (long long)s->n_workers, s->name_length, s->name);
        cli_print("%-*s", width, text);
        print_shares_of(&s->sum, s->n_workers, r);
    }
    for (int64_t w = 0; w < n; w++) {
        cli_print("%-*s", width, t->run.workers[w].name);
        print_shares_of(&r->workers[w], 1, r);
    }
    if (n < t->run.n_workers) {
        cli_print("and %lld workers more (--top N)\n", (long long)(t->run.n_workers - n));
    }
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------ */

static int compare_totals(const void *a, const void *b)
{
    const trace_stage_stats *const *x = a, *const *y = b;
    return ((*x)->total_s < (*y)->total_s) - ((*x)->total_s > (*y)->total_s);
}

static void print_stage(const trace_report *r, const trace_stage_stats *s, int width)
{
    char bytes[32], flops[32], ops[32];
    cli_print("%-*s %7lld %9.3f %9.2f %9.2f %5.1f %% %7s %8s %8s %7.1f %% %7.1f %%\n", width, s->name, (long long)s->n_blocks,
              s->total_s * 1e3, s->total_s / (double)s->n_blocks * 1e6, s->p95_s * 1e6, percent(s->total_s, r->busy_s),
              rate_text(s->bytes.read + s->bytes.written, s->total_s, bytes, sizeof bytes),
              rate_text(s->flops_bf16, s->total_s, flops, sizeof flops), rate_text(s->ops_i8, s->total_s, ops, sizeof ops),
              percent(s->longest_path_s, r->longest.blocks_s), percent(s->executed_path_s, r->makespan_s));
}

static void print_rest(const trace_report *r, const trace_stage_stats **rows, int64_t first, int64_t n)
{
    double total_s = 0;
    for (int64_t i = first; i < n; i++) {
        total_s += rows[i]->total_s;
    }
    if (first < n) {
        cli_print("and %lld stages more with %.3f ms, %.1f %% (--top N)\n", (long long)(n - first), total_s * 1e3,
                  percent(total_s, r->busy_s));
    }
}

static void print_stages(const trace_report *r, int64_t n_printed)
{
    const trace_stage_stats **rows = calloc((size_t)r->n_stages + 1, sizeof *rows);
    int64_t n = 0;
    int width = (int)strlen("stage");
    if (rows == NULL) {
        return;
    }
    for (int64_t i = 0; i < r->n_stages; i++) {
        if (r->stages[i].n_blocks > 0) {
            rows[n++] = &r->stages[i];
        }
    }
    qsort(rows, (size_t)n, sizeof *rows, compare_totals);
    n_printed = n_printed < n ? n_printed : n;
    for (int64_t i = 0; i < n_printed; i++) {
        width = widest(width, rows[i]->name);
    }
    cli_print("\n%-*s %7s %9s %9s %9s %7s %7s %8s %8s %9s %9s\n", width, "stage", "blocks", "total ms", "mean us", "p95 us",
              "share", "GB/s", "GFLOP/s", "GOP/s", "longest", "executed");
    for (int64_t i = 0; i < n_printed; i++) {
        print_stage(r, rows[i], width);
    }
    print_rest(r, rows, n_printed, n);
    cli_print("rates as declared, of one worker; longest, executed: share of these paths\n");
    free(rows);
}

/* ---- paths ------------------------------------------------------------------------------------------------------------------- */

static void print_part(const char *name, double executed_s, double needs_s, double makespan_s)
{
    cli_print("  %-23s %12.3f ms %5.1f %% %12.3f ms %5.1f %%\n", name, executed_s * 1e3, percent(executed_s, makespan_s),
              needs_s * 1e3, percent(needs_s, makespan_s));
}

static void print_paths(const trace_report *r)
{
    const trace_path *e = &r->executed, *n = &r->needs;
    cli_print("\nlongest path of the graph, cores without limit: %lld blocks, %.3f ms\n", (long long)r->longest.n_steps,
              r->longest.blocks_s * 1e3);
    cli_print("\npath as executed                     by needs and cores         by needs alone\n");
    cli_print("  %-23s %14lld blocks %14lld blocks\n", "", (long long)e->n_steps, (long long)n->n_steps);
    print_part("blocks", e->blocks_s - e->for_core_s, n->blocks_s, r->makespan_s);
    for (int i = 0; i < TRACE_N_REASONS; i++) {
        double for_core_s = i == TRACE_NO_CORE ? e->for_core_s : 0;
        print_part(trace_reason_name((trace_reason)i), e->gap_s[i] + for_core_s, n->gap_s[i], r->makespan_s);
    }
    print_part("makespan", r->makespan_s, r->makespan_s, r->makespan_s);
    cli_print("by needs and cores, \"ready but no core\" is the time of the %lld blocks that merely held the next one's core\n",
              (long long)e->n_by_core);
}

void trace_report_print_path(const trace *t, const trace_report *r)
{
    cli_print("\n%12s %10s  %-18s %10s  %-12s %s\n", "start ms", "gap us", "mostly", "block us", "worker", "block");
    for (int64_t i = 0; i < r->executed.n_steps; i++) {
        const trace_step *s = &r->executed.steps[i];
        const trace_event *e = &t->run.events[s->event];
        const trace_task *task = &t->graph.tasks[e->task];
        double gap_s = 0;
        int reason = 0;
        for (int k = 0; k < TRACE_N_REASONS; k++) {
            gap_s += s->gap_s[k];
            reason = s->gap_s[k] > s->gap_s[reason] ? k : reason;
        }
        cli_print("%12.6f %10.3f  %-18s %10.3f  %-12s %s %lld%s\n", (e->start_s - r->begin_s) * 1e3, gap_s * 1e6,
                  gap_s > 0 ? trace_reason_name((trace_reason)reason) : "-", (e->end_s - e->start_s) * 1e6,
                  t->run.workers[e->worker].name, t->graph.stages[task->stage].name, (long long)task->block,
                  s->by_core ? ", waited for a core" : "");
    }
}

/* ---- parallelism ------------------------------------------------------------------------------------------------------------- */

static void print_line(const char *name, const double *values, int64_t n)
{
    static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    enum { N_BARS = 8 };
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = values[i] > largest ? values[i] : largest;
    }
    cli_print("  %-8s ", name);
    for (int64_t i = 0; i < n; i++) {
        int bar = largest > 0 ? (int)(values[i] / largest * N_BARS + 0.5) : 0;
        cli_print("%s", bars[bar == 0 && values[i] > 0 ? 1 : bar]);
    }
    cli_print(" up to %.1f\n", largest);
}

/* Numbers of running blocks that take a hundredth of the time at least. */
static void print_shares(const trace_report *r, int64_t n_workers)
{
    cli_print("  share of the time by running blocks:");
    for (int64_t n = 0; n <= n_workers; n++) {
        if (r->parallel.share[n] >= 0.01 || n_workers <= 8) {
            cli_print("  %lld: %.1f %%", (long long)n, r->parallel.share[n] * 100);
        }
    }
    cli_print("\n");
}

static void print_parallel(const trace *t, const trace_report *r)
{
    cli_print("\nparallelism %.2f of %lld\n", r->parallel.mean, (long long)t->run.n_workers);
    print_line("running", r->parallel.running, r->parallel.n_buckets);
    print_line("ready", r->parallel.ready, r->parallel.n_buckets);
    print_shares(r, t->run.n_workers);
}

void trace_report_print(const trace *t, const trace_report *r, int64_t n_rows)
{
    print_bounds(t, r);
    print_workers(t, r, n_rows);
    print_stages(r, n_rows);
    print_paths(r);
    print_parallel(t, r);
}
