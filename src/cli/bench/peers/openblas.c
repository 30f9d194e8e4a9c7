/* cli/bench/peers/openblas.c - OpenBLAS: products of FP32 matrices, the weights as they lie; it has no call that stores them in a
 * layout of its own. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench/peers/products.h"

/* Its threads, where they are its own, spin for 2^26 ticks before they sleep. */
static const double spin_s = 0.05;

typedef struct blas {
    int64_t m, k, n;
    float *x, *w, *y; /* w [n_copies][k][n] */
} blas;

static void close_blas(void *state)
{
    blas *b = state;
    free(b->x);
    free(b->w);
    free(b->y);
    free(b);
}

static dsv4_status open_blas(const peers_contender *self, const peers_problem *p, void **state, int *n_copies, dsv4_error *err)
{
    (void)self;
    blas *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for OpenBLAS");
    }
    size_t values = (size_t)(p->k * p->n);
    *n_copies = peers_copies_of(p, (double)values * sizeof(float));
    *b = (blas){.m = p->m, .k = p->k, .n = p->n};
    b->x = peers_widen(p->x, p->m * p->k);
    b->y = memory_zeroed_array((size_t)(p->m * p->n), sizeof *b->y);
    b->w = memory_array(values * (size_t)*n_copies, sizeof *b->w);
    float *plain = peers_widen(p->w, p->k * p->n);
    for (int i = 0; b->w != NULL && plain != NULL && i < *n_copies; i++) {
        memcpy(b->w + values * (size_t)i, plain, values * sizeof *plain);
    }
    bool has_memory = b->x != NULL && b->y != NULL && b->w != NULL && plain != NULL;
    free(plain);
    if (!has_memory) {
        close_blas(b);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for OpenBLAS");
    }
    openblas_set_num_threads(dsv4_pool_n_threads(p->pool));
    *state = b;
    return DSV4_OK;
}

static void run_blas(void *state, int copy)
{
    blas *b = state;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)b->m, (blasint)b->n, (blasint)b->k, 1.0f, b->x, (blasint)b->k,
                b->w + (size_t)(b->k * b->n) * (size_t)copy, (blasint)b->n, 0.0f, b->y, (blasint)b->n);
}

static double value_of_blas(const void *state, int64_t row, int64_t col)
{
    const blas *b = state;
    return (double)b->y[row * b->n + col];
}

const peers_contender peers_openblas = {"OpenBLAS f32 x f32", false,      false, open_blas, run_blas,
                                        value_of_blas,        close_blas, 0,     spin_s};
