/* cli/bench/peers/products.h - one product by all who can compute it: y[m,n] = x[m,k] w[k,n]. */
#ifndef CLI_BENCH_PEERS_PRODUCTS_H
#define CLI_BENCH_PEERS_PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/graph.h"

/* x and w are plain and row-major: BF16, or INT8. */
typedef struct peers_problem {
    bool is_i8;
    int64_t m, k, n;
    const void *x, *w;
    size_t cold_bytes; /* weights to rotate among */
    dsv4_pool *pool;   /* of ours; the others have as many threads */
} peers_problem;

/* Who computes it. A contender has as many copies of the weights, in its own layout, as exceed cold_bytes. */
typedef struct peers_contender {
    const char *name;
    bool of_i8, is_ours;
    /* DSV4_E_UNSUPPORTED: it has no such product. *n_copies is what it made. */
    dsv4_status (*open)(const struct peers_contender *self, const peers_problem *p, void **state, int *n_copies, dsv4_error *err);
    void (*run)(void *state, int copy);
    double (*value)(const void *state, int64_t row, int64_t col); /* of y, as the last run left it */
    void (*close)(void *state);
    int variant;   /* its own business */
    double rest_s; /* that its idle threads go on spinning; 0: they can be sent home (bench_peers_end) */
} peers_contender;

enum { PEERS_MAX_CONTENDERS = 8 };

/* All of the build, ours before those of the same type. */
extern const peers_contender *const peers_contenders[]; /* NULL behind the last */

extern const peers_contender peers_ours_bf16, peers_ours_i8;
#ifdef DSV4_OPENBLAS
extern const peers_contender peers_openblas;
#endif

/* Copies of so many bytes that together exceed cold_bytes. */
int peers_copies_of(const peers_problem *p, double bytes);

/* FP32 copies of BF16 values; NULL without memory. The caller frees. */
float *peers_widen(const uint16_t *x, int64_t n);

#endif
