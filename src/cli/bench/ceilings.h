/* cli/bench/ceilings.h - what the machine can do at best: loops that only stream, and loops that only multiply.
 *
 * Measured in the same run as what is compared with them, on the same threads. Memory is read from more than the caches hold, in
 * huge pages; products stay in registers. Each figure is the median over the rounds of the best form that the machine has. */
#ifndef CLI_BENCH_CEILINGS_H
#define CLI_BENCH_CEILINGS_H

#include "dsv4/graph.h"

/* Per second, of all workers together; a multiplication and an addition are two operations. */
typedef struct bench_ceilings {
    double read_bytes_s;
    double copy_bytes_s; /* each byte copied counts once */
    double ops_i8_s;     /* INT8 products summed in INT32 */
    double flops_bf16_s; /* products of BF16 values summed in FP32: by widening and FMA, or by an instruction of their own */
    double flops_f32_s;
} bench_ceilings;

/* Measures all of them on the workers of a pool, in a few seconds. */
DSV4_MUST_CHECK dsv4_status bench_ceilings_measure(dsv4_pool *pool, bench_ceilings *out, dsv4_error *err);

#endif
