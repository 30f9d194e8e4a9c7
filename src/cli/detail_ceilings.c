#include "cli/detail.h"

#include "cli/bench/ceilings.h"

dsv4_status detail_measure_ceilings(dsv4_pool *pool, trace_run *run, json_t *results, dsv4_error *err)
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
