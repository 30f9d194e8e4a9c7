#include "cli/bench/peers/products.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "cli/bench/peers/dnnl.h"

int peers_copies_of(const peers_problem *p, double bytes)
{
    return (int)((double)p->cold_bytes / bytes) + 1;
}

float *peers_widen(const uint16_t *x, int64_t n)
{
    float *wide = memory_array((size_t)n, sizeof *wide);
    for (int64_t i = 0; wide != NULL && i < n; i++) {
        wide[i] = num_f32_from_bf16(x[i]);
    }
    return wide;
}

/* ---- oneDNN -------------------------------------------------------------------------------------------------------------- */

typedef struct dnnl {
    peer_dnnl *product;
    int64_t n;
    bool is_i8;
    int32_t *correction; /* [n]: what activations stored as x + 128 add to a column; NULL: they are x */
} dnnl;

static void close_dnnl(void *state)
{
    dnnl *d = state;
    peer_dnnl_destroy(d->product);
    free(d->correction);
    free(d);
}

static bool has_wide_weights(peer_dnnl_types types)
{
    return types == PEER_DNNL_F32_F32;
}

/* The activations in the type of the product; false without memory. */
static bool fill_x(dnnl *d, peer_dnnl_types types, const peers_problem *p)
{
    size_t values = (size_t)(p->m * p->k);
    void *x = peer_dnnl_x(d->product);
    if (types == PEER_DNNL_BF16_BF16 || types == PEER_DNNL_S8_S8) {
        memcpy(x, p->x, values * (p->is_i8 ? 1 : 2));
        return true;
    }
    if (types == PEER_DNNL_F32_BF16 || types == PEER_DNNL_F32_F32) {
        for (size_t i = 0; i < values; i++) {
            ((float *)x)[i] = num_f32_from_bf16(((const uint16_t *)p->x)[i]);
        }
        return true;
    }
    for (size_t i = 0; i < values; i++) {
        ((uint8_t *)x)[i] = (uint8_t)(((const int8_t *)p->x)[i] + 128);
    }
    d->correction = calloc((size_t)p->n, sizeof *d->correction);
    for (int64_t i = 0; d->correction != NULL && i < p->k * p->n; i++) {
        d->correction[i % p->n] += 128 * ((const int8_t *)p->w)[i];
    }
    return d->correction != NULL;
}

static dsv4_status open_dnnl(const peers_contender *self, const peers_problem *p, void **state, int *n_copies, dsv4_error *err)
{
    peer_dnnl_types types = (peer_dnnl_types)self->variant;
    bool is_wide = has_wide_weights(types);
    float *wide = is_wide ? peers_widen(p->w, p->k * p->n) : NULL;
    dnnl *d = calloc(1, sizeof *d);
    if (d == NULL || (is_wide && wide == NULL)) {
        free(wide);
        free(d);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for oneDNN");
    }
    d->n = p->n;
    d->is_i8 = p->is_i8;
    *n_copies = peers_copies_of(p, (double)(p->k * p->n) * (p->is_i8 ? 1 : is_wide ? 4 : 2));
    dsv4_status status = peer_dnnl_create(types, p->m, p->k, p->n, is_wide ? wide : p->w, *n_copies, &d->product, err);
    free(wide);
    if (status == DSV4_OK && !fill_x(d, types, p)) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for oneDNN");
    }
    if (status == DSV4_OK) {
        *state = d;
    } else {
        close_dnnl(d);
    }
    return status;
}

static void run_dnnl(void *state, int copy)
{
    dnnl *d = state;
    peer_dnnl_run(d->product, copy);
}

static double value_of_dnnl(const void *state, int64_t row, int64_t col)
{
    const dnnl *d = state;
    const void *y = peer_dnnl_y(d->product);
    if (d->is_i8) {
        return (double)((const int32_t *)y)[row * d->n + col] - (d->correction != NULL ? d->correction[col] : 0);
    }
    return (double)((const float *)y)[row * d->n + col];
}

/* ---- all ------------------------------------------------------------------------------------------------------------------ */

#define DNNL(name, of_i8, types)                                                     \
    {                                                                                \
        name, of_i8, false, open_dnnl, run_dnnl, value_of_dnnl, close_dnnl, types, 0 \
    }

static const peers_contender dnnl_bf16 = DNNL("oneDNN bf16 x bf16", false, PEER_DNNL_BF16_BF16),
                             dnnl_mixed = DNNL("oneDNN f32 x bf16", false, PEER_DNNL_F32_BF16),
                             dnnl_f32 = DNNL("oneDNN f32 x f32", false, PEER_DNNL_F32_F32),
                             dnnl_s8 = DNNL("oneDNN s8 x s8", true, PEER_DNNL_S8_S8),
                             dnnl_u8 = DNNL("oneDNN u8 x s8", true, PEER_DNNL_U8_S8);

const peers_contender *const peers_contenders[] = {
    &peers_ours_bf16,
    &peers_ours_i8,
    &dnnl_bf16,
    &dnnl_mixed,
    &dnnl_f32,
    &dnnl_s8,
    &dnnl_u8,
#ifdef DSV4_OPENBLAS
    &peers_openblas,
#endif
    NULL,
};
