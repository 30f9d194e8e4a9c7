/* cli/bench/work.h - what the contenders of `dsv4 bench rt` run: the same stages, blocks and dependencies for all.
 *
 * CELLS  [n_stages + 1][n_blocks], a cache line each. Block i of stage s adds one to cell [s + 1][i]; it depends on the cells
 *        [s][before(i)] that the stage before wrote. Row 0 is input. */
#ifndef CLI_BENCH_WORK_H
#define CLI_BENCH_WORK_H

#include <stdint.h>

#include "cli/machine.h"
#include "dsv4/graph.h"

/* before(i): {i}; all; {i-1, i, i+1}; none */
typedef enum bench_pattern { BENCH_CHAIN, BENCH_ALL, BENCH_NEIGHBOURS, BENCH_FREE } bench_pattern;

typedef struct bench_cell {
    _Alignas(64) int64_t n_runs;
} bench_cell;

typedef struct bench_stage {
    bench_pattern pattern;
    int64_t index, n_blocks;
    dsv4_view view;            /* of all cells */
    bench_cell *before, *mine; /* rows index and index + 1 of the cells */
    const double *spin_s;      /* how long each block spins; NULL: not at all */
} bench_stage;

typedef struct bench_spec {
    const char *name;
    bench_pattern pattern;
    int64_t n_stages, n_blocks;  /* blocks of a stage */
    double spin_lo_s, spin_hi_s; /* a block spins for a random time between them; 0, 0: it does nothing else */
} bench_spec;

/* Zero-initialise; bench_work_deinit always. */
typedef struct bench_work {
    bench_spec spec;
    bench_stage *stages;
    bench_cell *cells;
    double *spin_s;
    double total_spin_s;
    dsv4_graph *graph; /* sealed */
} bench_work;

DSV4_MUST_CHECK dsv4_status bench_work_init(bench_work *w, const bench_spec *spec, dsv4_error *err);
void bench_work_deinit(bench_work *w);

/* Runs of blocks since init. */
int64_t bench_work_n_runs(const bench_work *w);

/* Runs one block; arg is a bench_stage. */
void bench_block(const void *arg, int64_t block, void *scratch);

/* ---- OpenMP ------------------------------------------------------------------------------------------------------------ */

typedef struct bench_peer {
    const char *name;
    void (*run)(const bench_work *w, int n_threads); /* NULL: built without OpenMP; then the calls below are never made */
} bench_peer;

enum { BENCH_N_PEERS = 3 };

extern const bench_peer bench_peers[BENCH_N_PEERS];

/* Starts a team of exactly n_threads, bound to cores like the workers of a pool (pin). DSV4_E_UNSUPPORTED if OpenMP gives fewer. */
DSV4_MUST_CHECK dsv4_status bench_peers_begin(const machine *m, int n_threads, bool pin, dsv4_error *err);

/* Lets the team go, so that none of its threads spins while others are measured. */
void bench_peers_end(void);

#endif
