/* cli/bench/peers/ours.c - our form of a product: the stages of ops/project.c, activations packed at every run. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench/peers/products.h"
#include "ops/project.h"

enum { N_TILE_BF16 = 64, N_TILE_I8 = 128, T_TILE = 64 };

typedef struct ours {
    int n_copies;
    dsv4_graph **graphs;
    dsv4_exec **execs;
    op_product y; /* of the copy that ran last */
    op_product *products;
    bool is_i8;
} ours;

static dsv4_status open_copy(ours *o, const peers_problem *p, int copy, const uk_table *uk, dsv4_error *err)
{
    dsv4_graph *g = o->graphs[copy] = dsv4_graph_create("product");
    if (g == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for a graph");
    }
    dsv4_dtype dtype = p->is_i8 ? DSV4_I8 : DSV4_BF16;
    int64_t x_shape[] = {p->m, p->k}, w_shape[] = {p->k, p->n};
    void *x_data;
    memcpy(&x_data, &p->x, sizeof x_data); /* read only */
    const op_context c = {.uk = uk, .g = g};
    dsv4_tensor x = dsv4_tensor_make(dtype, 2, x_shape, x_data), w = {.dtype = dtype, .n_dims = 2, .data = NULL};
    memcpy(&w.data, &p->w, sizeof w.data);
    memcpy(w.shape, w_shape, sizeof w_shape);
    op_acts acts = op_acts_tile(&c, "product.x", op_matrix_of(&c, "x", &x, 1), dtype);
    op_weight weight = op_weight_pack(&c, "w", op_weight_of(&w));
    o->products[copy] = p->is_i8 ? op_project_i8(&c, "product", acts, weight, T_TILE, N_TILE_I8)
                                 : op_project_bf16(&c, "product", acts, weight, (op_project_tiles){T_TILE, N_TILE_BF16, 1});
    dsv4_status status = dsv4_graph_seal(g, DSV4_DEPS_BLOCK, err);
    if (status == DSV4_OK) {
        status = dsv4_exec_create(g, p->pool, 0, &o->execs[copy], err);
    }
    return status == DSV4_OK ? dsv4_exec_run(o->execs[copy], 0, err) : status; /* memory of the sums is there from now on */
}

static void close_ours(void *state)
{
    ours *o = state;
    for (int i = 0; i < o->n_copies; i++) {
        dsv4_exec_destroy(o->execs != NULL ? o->execs[i] : NULL);
        dsv4_graph_destroy(o->graphs != NULL ? o->graphs[i] : NULL);
    }
    free(o->execs);
    free(o->graphs);
    free(o->products);
    free(o);
}

static dsv4_status open_ours(const peers_contender *self, const peers_problem *p, void **state, int *n_copies, dsv4_error *err)
{
    (void)self;
    const uk_table *uk = NULL;
    ours *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for a product");
    }
    o->is_i8 = p->is_i8;
    o->n_copies = *n_copies = peers_copies_of(p, (double)(p->k * p->n) * (p->is_i8 ? 1 : 2));
    o->graphs = calloc((size_t)o->n_copies, sizeof *o->graphs);
    o->execs = calloc((size_t)o->n_copies, sizeof *o->execs);
    o->products = calloc((size_t)o->n_copies, sizeof *o->products);
    dsv4_status status = o->graphs == NULL || o->execs == NULL || o->products == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %d products", o->n_copies)
                             : uk_find(NULL, &uk, err);
    for (int i = 0; i < o->n_copies && status == DSV4_OK; i++) {
        status = open_copy(o, p, i, uk, err);
    }
    if (status == DSV4_OK) {
        *state = o;
    } else {
        close_ours(o);
    }
    return status;
}

static void run_ours(void *state, int copy)
{
    ours *o = state;
    dsv4_status never_refused = dsv4_exec_run(o->execs[copy], 0, NULL);
    (void)never_refused;
    o->y = o->products[copy];
}

static double value_of_ours(const void *state, int64_t row, int64_t col)
{
    const ours *o = state;
    int64_t at = row * o->y.sums.ld + col;
    return o->is_i8 ? (double)((const int32_t *)o->y.sums.data)[at] : (double)((const float *)o->y.sums.data)[at];
}

const peers_contender peers_ours_bf16 = {"dsv4", false, true, open_ours, run_ours, value_of_ours, close_ours, 0, 0};
const peers_contender peers_ours_i8 = {"dsv4", true, true, open_ours, run_ours, value_of_ours, close_ours, 0, 0};
