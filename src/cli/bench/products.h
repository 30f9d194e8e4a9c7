/* cli/bench/products.h - one product of a family at one number of rows, ready to be timed in turns.
 *
 * COLD    Weights lie in a pool of memory that all products of a family share, as many bytes as are certain to come from memory. A
 *         turn begins where the turn before ended, whichever product took it.
 * CACHED  A worker reads the same few panels again and again.
 * Each worker has its share of the panels. Activations are packed before. */
#ifndef CLI_BENCH_PRODUCTS_H
#define CLI_BENCH_PRODUCTS_H

#include "cli/bench/families.h"
#include "cli/bench/results.h"

/* Weights of a family. */
typedef struct product_weights {
    char *data;
    int64_t n_bytes, next; /* where the next turn begins */
} product_weights;

/* What all products share; borrowed. */
typedef struct product_setting {
    dsv4_pool *pool;
    const uk_table *uk;
    void *y;       /* outputs, of the largest product */
    char *scratch; /* [workers][scratch_bytes] */
    size_t scratch_bytes;
} product_setting;

typedef struct product {
    const product_setting *setting;
    const family *family;
    family_shape shape; /* n of FAMILY_CACHED replaced */
    bool cached;
    int64_t m, n_runs;                        /* of a turn */
    int64_t n_panels, panel_bytes, run_bytes; /* panels of a part; bytes of all weights, rounded up to keep them aligned */
    char *acts;                               /* [n_parts][groups] */
    int64_t group_rows, group_bytes;
    product_weights *weights;
} product;

/* Bytes of the outputs of a product. */
size_t product_output_bytes(const product *p);

/* Sets p->shape and all that follows from it, without the activations. */
void product_init(product *p, const family *f, family_shape shape, int64_t m, int n_workers);

/* Draws and packs the activations; setting and weights are there. Chooses how many runs make a turn. */
DSV4_MUST_CHECK dsv4_status product_prepare(product *p, const product_setting *setting, product_weights *weights, dsv4_error *err);
void product_deinit(product *p);

/* Seconds of one run, mean of a turn, which an untimed run precedes. */
double product_take_turn(product *p);

/* Of the outputs over the first weights. */
uint64_t product_checksum(product *p);

/* Fills the weights of a family, each worker the pages that it touches first. */
void product_draw_weights(dsv4_pool *pool, const family *f, product_weights *w);

/* Name, shape, bytes and operations; the bound too, of the ceilings. */
void product_describe(const product *p, const bench_ceilings *c, bench_row *row);

#endif
