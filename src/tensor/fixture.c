/* fixture.c - tensors drawn from the fixture distributions of SPEC 8. */
#include "tensor/fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"
#include "base/rng.h"

/* SPEC 0.2 */
static const float int8_scale_max = 127.0f, int8_amax_eps = 1e-4f;

static double draw(const fix_rule *rule, const rng *r, int64_t i)
{
    switch (rule->kind) {
    case FIX_NONE:
        break;
    case FIX_CONSTANT:
        return rule->a;
    case FIX_UNIFORM:
    case FIX_WQ_UNIFORM:
        return rng_uniform(r, (uint64_t)i, rule->a, rule->b);
    case FIX_NORMAL:
        return rng_normal(r, (uint64_t)i, rule->a, rule->b);
    }
    return 0;
}

static dsv4_status fill_draws(const char *name, const fix_rule *rule, const rng *r, dsv4_tensor *t, dsv4_error *err)
{
    const int64_t n = dsv4_tensor_count(t);
    if (t->dtype == DSV4_F32) {
        float *values = t->data;
        for (int64_t i = 0; i < n; i++) {
            values[i] = (float)draw(rule, r, i);
        }
    } else if (t->dtype == DSV4_BF16) {
        uint16_t *values = t->data;
        for (int64_t i = 0; i < n; i++) {
            values[i] = num_bf16_from_f64(draw(rule, r, i));
        }
    } else if (t->dtype == DSV4_I32) {
        int32_t *values = t->data;
        for (int64_t i = 0; i < n; i++) {
            values[i] = (int32_t)fmin(fmax(rint(draw(rule, r, i)), INT32_MIN), INT32_MAX);
        }
    } else {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': dtype %s, expected F32, BF16 or I32", name, dsv4_dtype_name(t->dtype));
    }
    return DSV4_OK;
}

enum { PANEL_CHANNELS = 64 };

/* Columns [first, first + n) of a weight [K, N], as BF16 values. */
typedef struct panel {
    float *values; /* [K, PANEL_CHANNELS] */
    int64_t n_rows, first, n;
} panel;

static void draw_panel(const fix_rule *rule, const rng *r, int64_t n_channels, panel *p)
{
    for (int64_t k = 0; k < p->n_rows; k++) {
        for (int64_t c = 0; c < p->n; c++) {
            p->values[k * PANEL_CHANNELS + c] = num_f32_from_bf16(num_bf16_from_f64(draw(rule, r, k * n_channels + p->first + c)));
        }
    }
}

/* Per channel: sq = 127 * (1/amax), q = rint(w * sq), scale = 1/sq; each operation rounded to FP32. q stays within +-127, since
 * |w * sq| is at most 127 * (1 + 2^-22). */
static void quantise_panel(const panel *p, int64_t n_channels, int8_t *q, float *scale)
{
    for (int64_t c = 0; c < p->n; c++) {
        float amax = int8_amax_eps;
        for (int64_t k = 0; k < p->n_rows; k++) {
            amax = fmaxf(amax, fabsf(p->values[k * PANEL_CHANNELS + c]));
        }
        const float sq = 1.0f / amax * int8_scale_max;
        for (int64_t k = 0; k < p->n_rows; k++) {
            q[k * n_channels + p->first + c] = (int8_t)rintf(p->values[k * PANEL_CHANNELS + c] * sq);
        }
        scale[p->first + c] = 1.0f / sq;
    }
}

static dsv4_status fill_quantised(const char *name, const fix_rule *rule, const rng *r, dsv4_tensor *t, dsv4_tensor *scale,
                                  dsv4_error *err)
{
    if (t->dtype != DSV4_I8 || t->n_dims != 2) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %s with %d dimensions, expected I8 [K, N]", name,
                         dsv4_dtype_name(t->dtype), t->n_dims);
    }
    const int64_t n_channels = t->shape[1];
    if (scale == NULL || scale->dtype != DSV4_F32 || scale->n_dims != 1 || scale->shape[0] != n_channels ||
        !dsv4_tensor_is_contiguous(scale)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': its scale must be F32 [%lld]", name, (long long)n_channels);
    }
    panel p = {.n_rows = t->shape[0]};
    p.values = malloc(((size_t)p.n_rows * PANEL_CHANNELS + 1) * sizeof *p.values);
    if (p.values == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "fixture '%s': no memory for a panel of %lld rows", name, (long long)p.n_rows);
    }
    for (p.first = 0; p.first < n_channels; p.first += PANEL_CHANNELS) {
        p.n = n_channels - p.first < PANEL_CHANNELS ? n_channels - p.first : PANEL_CHANNELS;
        draw_panel(rule, r, n_channels, &p);
        quantise_panel(&p, n_channels, t->data, scale->data);
    }
    free(p.values);
    return DSV4_OK;
}

dsv4_status fix_fill(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, dsv4_tensor *scale, dsv4_error *err)
{
    const rng r = {.seed = seed, .stream = rng_stream(name)};
    if (!dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': expected a row-major tensor without gaps", name);
    }
    if (rule->kind == FIX_WQ_UNIFORM) {
        return fill_quantised(name, rule, &r, t, scale, err);
    }
    if (rule->kind != FIX_NONE) {
        return fill_draws(name, rule, &r, t, err);
    }
    if (dsv4_tensor_count(t) > 0) {
        memset(t->data, 0, dsv4_tensor_bytes(t));
    }
    return DSV4_OK;
}
