/* cli/bench/vectors.h - the kernels of the table that are no products of weights, on data that stays in the nearest caches. */
#ifndef CLI_BENCH_VECTORS_H
#define CLI_BENCH_VECTORS_H

#include "cli/bench/results.h"
#include "kernels/kernels.h"

/* All of them; each worker has data of its own. Zero-initialise; vectors_close always. */
typedef struct vectors {
    dsv4_pool *pool;
    const uk_table *uk;
    char *data;       /* [workers][VECTOR_BYTES] */
    int64_t *n_calls; /* [vectors_n], of a turn */
} vectors;

int vectors_n(void);

DSV4_MUST_CHECK dsv4_status vectors_open(vectors *v, dsv4_pool *pool, const uk_table *uk, dsv4_error *err);
void vectors_close(vectors *v);

/* Seconds of a call, mean of a turn. */
double vectors_take_turn(vectors *v, int i);

/* Of the outputs of a call on worker 0's data. */
uint64_t vectors_checksum(vectors *v, int i);

void vectors_describe(const vectors *v, int i, bench_row *row);

#endif
