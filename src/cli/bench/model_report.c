#include <inttypes.h>
#include <stdio.h>

#include "cli/bench/model.h"

static const char *const ceiling_names[] = {"read", "int8", "bf16", "fp32", "-"};

static const char *name_of(const model_case *c)
{
    return c->is_prefill ? "prefill" : "decode";
}

double model_case_bound_s(const model_case *c, bench_ceiling *which)
{
    bench_bound all = c->step;
    all.bytes = c->median_bytes;
    return bench_bound_s(&all, &c->peaks, which);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------ */

void model_print_heads(void)
{
    cli_print("%-8s %6s %9s %9s %9s %9s %8s %7s %7s %8s %8s %8s %6s %8s %6s\n", "step", "tokens", "ms", "p10", "p90", "tokens/s",
              "GB", "GB/s", "of read", "GOP int8", "bf16", "fp32", "binds", "of bound", "idle");
}

void model_print_case(const model_case *c)
{
    const bench_times *t = &c->times;
    bench_ceiling which;
    const double bound_s = model_case_bound_s(c, &which), s = t->median_s;
    cli_print("%-8s %6lld %9.2f %9.2f %9.2f %9.2f %8.3f %7.2f %6.1f%% %8.2f %8.2f %8.2f %6s %7.1f%% %5.1f%%\n", name_of(c),
              (long long)c->n, s * 1e3, t->p10_s * 1e3, t->p90_s * 1e3, (double)c->n / s, c->median_bytes * 1e-9,
              c->median_bytes / s * 1e-9, c->median_bytes / s / c->peaks.read_bytes_s * 100, c->step.work.ops_i8 * 1e-9,
              c->step.work.flops_bf16 * 1e-9, c->step.work.vector_ops * 1e-9, ceiling_names[which], bound_s / s * 100,
              c->idle_share * 100);
}

static void print_stage(const bench_bound *b, const model_case *c, int n_threads, double all_s)
{
    bench_ceiling which;
    const double bound_s = bench_bound_s(b, &c->peaks, &which), s = b->time_s / n_threads;
    cli_print("    %-22s %8lld %10.3f %8.1f%% %9.2f %8.2f %10.3f %6s %7.1f%%\n", b->name, (long long)b->n_blocks, s * 1e3,
              s / all_s * 100, b->bytes * 1e-6, s > 0 ? b->bytes / s * 1e-9 : 0, bound_s * 1e3, ceiling_names[which],
              s > 0 ? bound_s / s * 100 : 0);
}

/* Of the last step: times inside blocks over workers, so that they add up to what the step took, idle time included. */
void model_print_stages(const model_case *c, int n_threads)
{
    const double inside_s = c->step.time_s / n_threads, all_s = c->seconds[c->n_timed - 1];
    cli_print("    %-22s %8s %10s %9s %9s %8s %10s %6s %8s\n", "stage, all layers", "blocks", "ms", "of step", "MB", "GB/s",
              "bound ms", "binds", "of bound");
    for (int64_t i = 0; i < c->bounds.n; i++) {
        print_stage(&c->bounds.stages[i], c, n_threads, all_s);
    }
    print_stage(&c->step, c, n_threads, all_s);
    cli_print("    %-22s %8s %10.3f %8.1f%%\n", "outside of blocks", "", (all_s - inside_s) * 1e3,
              (all_s - inside_s) / all_s * 100);
}

/* ---- data ------------------------------------------------------------------------------------------------------------------------ */

static json_t *work_json(const bench_bound *b)
{
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f}", "name", b->name, "blocks", (json_int_t)b->n_blocks, "time_s", b->time_s,
                     "bytes", b->bytes, "ops_i8", b->work.ops_i8, "flops_bf16", b->work.flops_bf16, "vector_ops",
                     b->work.vector_ops);
}

json_t *model_case_json(const model_case *c, int n_threads)
{
    char checksum[32];
    bench_ceiling which;
    const double bound_s = model_case_bound_s(c, &which);
    json_t *stages = json_array();
    for (int64_t i = 0; i < c->bounds.n; i++) {
        json_array_append_new(stages, work_json(&c->bounds.stages[i]));
    }
    snprintf(checksum, sizeof checksum, "%016" PRIx64, c->checksum);
    return json_pack("{s:s, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:f, s:I, s:s, s:o, s:o}", "step", name_of(c),
                     "tokens", (json_int_t)c->n, "threads", n_threads, "rounds", c->rounds, "median_s", c->times.median_s, "p10_s",
                     c->times.p10_s, "p90_s", c->times.p90_s, "tokens_per_s", (double)c->n / c->times.median_s, "weight_bytes",
                     c->median_bytes, "of_read", c->median_bytes / c->times.median_s / c->peaks.read_bytes_s, "of_bound",
                     bound_s / c->times.median_s, "binds", ceiling_names[which], "idle_share", c->idle_share, "experts",
                     (json_int_t)c->n_experts, "checksum", checksum, "work", work_json(&c->step), "stages", stages);
}

bench_row model_case_row(const model_case *c, const char *numerics)
{
    bench_row row = {.name = name_of(c),
                     .by = "dsv4",
                     .weights = "cold",
                     .m = c->n,
                     .bytes = c->median_bytes,
                     .ops = c->step.work.ops_i8 + c->step.work.flops_bf16,
                     .bound_s = model_case_bound_s(c, NULL),
                     .times = c->times,
                     .idle_share = c->idle_share,
                     .checksum = c->checksum};
    snprintf(row.shape, sizeof row.shape, "model %s", numerics);
    return row;
}
