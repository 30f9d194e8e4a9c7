/* cli/bench/results.h - rows of measurements: as text while they are made, and as JSON, CSV and a plot behind the last.
 *
 * All suites have rows of the same kind, so that one CSV file holds what was measured on one machine. */
#ifndef CLI_BENCH_RESULTS_H
#define CLI_BENCH_RESULTS_H

#include <stdio.h>

#include "cli/bench/bench.h"
#include "cli/bench/ceilings.h"

enum { BENCH_SHAPE_BYTES = 32 };

/* What was measured of one thing. The texts are literals or outlive the results. */
typedef struct bench_row {
    const char *name;              /* "bf16", "sparse_attn" */
    const char *by;                /* who did it: "avx512", "dsv4", "oneDNN" */
    const char *weights;           /* "cold": from memory; "cached" */
    char shape[BENCH_SHAPE_BYTES]; /* no comma */
    int64_t m;                     /* rows, tokens */
    double bytes, ops;             /* of the weights; a multiplication and an addition are two operations; 0: not counted */
    double bound_s;                /* max(bytes / read, ops / peak), or a sum of such; 0: none */
    bench_times times;
    double idle_share; /* of the workers' time, outside of blocks; 0: not traced */
    double ratio;      /* of the median to that of dsv4 on the same; 0: none */
    uint64_t checksum; /* of the outputs */
} bench_row;

/* Of a suite. */
typedef struct bench_results {
    const char *suite; /* "kernels" */
    int n_threads, rounds;
    bench_ceilings ceilings;
    const bench_row *rows;
    int n_rows;
} bench_results;

/* Options that the suites share; for a structure that begins with a bench_options. */
typedef struct bench_options {
    long long n_threads, rounds; /* 0 threads: one per physical core */
    const char *csv, *plot;      /* NULL: not asked for */
} bench_options;
extern const cli_option bench_option_table[]; /* --threads, --rounds, --csv, --plot */

/* "ceilings of 2 threads: read ... GB/s, ..." */
void bench_print_ceilings(const bench_ceilings *c, int n_threads);
void bench_print_heads(void);
void bench_print_row(const bench_row *row);

/* Ends a suite: writes what --csv, --plot and --json ask for, or, with an error, says what went wrong. Returns the exit code. */
int bench_results_finish(const bench_results *r, const bench_options *options, dsv4_status status, dsv4_error *err);

/* The same, with more to tell in the JSON; takes over the reference. */
int bench_results_finish_with(const bench_results *r, const bench_options *options, const char *key, json_t *details,
                              dsv4_status status, dsv4_error *err);

/* The roofline as SVG: rates over operations per byte of weights, under the ceilings. Rows without bytes or operations are left
 * out. */
void bench_write_plot(FILE *f, const bench_results *r, const char *cpu);

#endif
