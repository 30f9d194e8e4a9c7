/* cli/bench/families.h - the families of products that `dsv4 bench kernels` measures: how one product is computed from packed
 * activations and a packed panel, on which shapes.
 *
 * A family is one row of the table in families.c. Weights are drawn bits, masked into values of the format: what a kernel costs
 * does not depend on them. */
#ifndef CLI_BENCH_FAMILIES_H
#define CLI_BENCH_FAMILIES_H

#include "cli/bench/ceilings.h"
#include "kernels/kernels.h"

enum { FAMILY_MAX_SHAPES = 8, FAMILY_BLOCK_ROWS = 128 /* of a product block of the operators */ };

/* n_parts products of [rows, k] with [k, n], each with activations of its own. n = FAMILY_CACHED: as many columns as stay in the
 * caches next to the cores. */
enum { FAMILY_CACHED = -1 };
typedef struct family_shape {
    int64_t n_parts, k, n; /* k = 0 behind the last */
} family_shape;

/* One panel and at most FAMILY_BLOCK_ROWS rows. */
typedef struct family_product {
    const uk_table *uk;
    int64_t k;
    uk_acts x;
    const void *panel;
    void *y; /* [x.rows][ld], FP32 or INT32 */
    int64_t ld;
    void *scratch;
} family_product;

typedef struct family {
    const char *name;
    size_t peak;        /* offset of its ceiling in bench_ceilings */
    uint16_t keep, set; /* of 16 drawn bits of weights and BF16 activations */
    bool is_paired; /* weights: of the two bytes of 16 drawn bits, the second is the first one inverted, so that they sum to -1 */
    int64_t (*panel_bytes)(int64_t k);
    int64_t (*acts_bytes)(const uk_table *uk, int64_t group_rows, int64_t k);
    size_t (*scratch_bytes)(int64_t k);
    /* Packs a group of rows from values[rows][k], of the family's activations, which take two bytes at most. */
    void (*tile)(const uk_table *uk, int64_t rows, int64_t group_rows, int64_t k, const void *values, void *dst);
    void (*run)(const family_product *p);
    family_shape flash[FAMILY_MAX_SHAPES], tiny[FAMILY_MAX_SHAPES];
} family;

extern const family families[]; /* name NULL behind the last */

#endif
