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

/* Measures all of them on the workers of a pool, in a second or two. */
DSV4_MUST_CHECK dsv4_status bench_ceilings_measure(dsv4_pool *pool, bench_ceilings *out, dsv4_error *err);

/* Bytes that are certain to come from memory when they are read in turn: 2.5 times the last-level caches, at least 600 MB. */
DSV4_MUST_CHECK dsv4_status bench_cold_bytes(size_t *out, dsv4_error *err);

/* The same in rounds, between those of other measurements, so that a drift of the machine hits all alike. */
typedef struct bench_meter bench_meter;

/* For at most max_rounds >= 1 rounds; streams pass over n_bytes. The caller closes it (NULL allowed there). */
DSV4_MUST_CHECK dsv4_status bench_meter_open(dsv4_pool *pool, int max_rounds, size_t n_bytes, bench_meter **out, dsv4_error *err);
void bench_meter_round(bench_meter *m);
bench_ceilings bench_meter_get(bench_meter *m); /* of the rounds so far, at least one */
void bench_meter_restart(bench_meter *m);       /* forgets them */
void bench_meter_close(bench_meter *m);

#endif
