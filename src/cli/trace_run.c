#include "cli/trace_run.h"

#include "cli/bench/ceilings.h"
#include "trace/trace.h"

static dsv4_status measure(dsv4_pool *pool, trace_run *run, json_t *results, dsv4_error *err)
{
    bench_ceilings c = {0};
    dsv4_status status = bench_ceilings_measure(pool, &c, err);
    if (status != DSV4_OK) {
        return status;
    }
    run->read_bytes_s = c.read_bytes_s;
    run->ops_i8_s = c.ops_i8_s;
    run->flops_bf16_s = c.flops_bf16_s;
    run->vector_ops_s = c.flops_f32_s / 2;
    cli_print("  ceilings: read %.1f GB/s, INT8 %.1f GOP/s, BF16 %.1f GFLOP/s, vector %.1f GOP/s\n", run->read_bytes_s * 1e-9,
              run->ops_i8_s * 1e-9, run->flops_bf16_s * 1e-9, run->vector_ops_s * 1e-9);
    json_object_set_new(results, "ceilings",
                        json_pack("{s:f, s:f, s:f, s:f}", "read_bytes_s", run->read_bytes_s, "ops_i8_s", run->ops_i8_s,
                                  "flops_bf16_s", run->flops_bf16_s, "vector_ops_s", run->vector_ops_s));
    return DSV4_OK;
}

static dsv4_status write_trace(const launch *l, const trace_run_options *o, trace *t, json_t *results, dsv4_error *err)
{
    dsv4_status status = o->ceilings ? measure(l->pool, &t->run, results, err) : DSV4_OK;
    if (status == DSV4_OK) {
        status = trace_write(t, o->path, err);
    }
    if (status == DSV4_OK) {
        cli_print("  trace %s (open it in ui.perfetto.dev or chrome://tracing; dsv4 trace report tells of it)\n", o->path);
    }
    return status;
}

dsv4_status trace_run_write(const launch *l, const trace_run_options *o, json_t *results, dsv4_error *err)
{
    trace t = {0};
    dsv4_status status = o->path != NULL || o->deps_path != NULL ? trace_capture(l->exec, &t, err) : DSV4_OK;
    if (status == DSV4_OK && o->path != NULL) {
        status = write_trace(l, o, &t, results, err);
    }
    if (status == DSV4_OK && o->deps_path != NULL) {
        status = trace_write_deps(&t, o->deps_path, err);
        if (status == DSV4_OK) {
            cli_print("  graph %s (edges, what they come from, boxes)\n", o->deps_path);
        }
    }
    trace_deinit(&t);
    return status;
}
