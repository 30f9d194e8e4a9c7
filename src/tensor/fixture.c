/* fixture.c - tensors drawn from the fixture distributions of SPEC 8. */
#include "tensor/fixture.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "base/rng.h"

static const float two_pi = 6.28318530717958648f;

/* ---- draws ------------------------------------------------------------------------------------------------------------- */

/* In (0, 1]. */
static float unit(uint32_t bits)
{
    return (float)bits * 0x1p-32f + 0x1p-33f;
}

enum { QUAD = 4 };

/* Values 4i to 4i+3 of the stream, from the words of block i: uniform values, or two of Box and Muller's pairs of normal ones. */
static void draw_quad(const fix_rule *rule, const rng *r, uint64_t i, float quad[QUAD])
{
    const float a = (float)rule->a, b = (float)rule->b;
    uint32_t words[QUAD];
    rng_words(r, i, words);
    if (rule->kind == FIX_UNIFORM) {
        for (int k = 0; k < QUAD; k++) {
            quad[k] = fminf(a + (b - a) * unit(words[k]), b);
        }
        return;
    }
    for (int k = 0; k < QUAD; k += 2) {
        const float radius = b * sqrtf(-2.0f * logf(unit(words[k]))), angle = two_pi * unit(words[k + 1]);
        quad[k] = a + radius * cosf(angle);
        quad[k + 1] = a + radius * sinf(angle);
    }
}

void fix_draw(const char *name, const fix_rule *rule, uint64_t seed, int64_t first, int64_t n, float *values)
{
    const rng r = {.seed = seed, .stream = rng_stream(name)};
    float quad[QUAD];
    for (int64_t i = first, end = first + n; i < end;) {
        const int64_t skipped = i % QUAD, count = QUAD - skipped < end - i ? QUAD - skipped : end - i;
        draw_quad(rule, &r, (uint64_t)i / QUAD, quad);
        memcpy(values + (i - first), quad + skipped, (size_t)count * sizeof *quad);
        i += count;
    }
}

/* ---- tensors ----------------------------------------------------------------------------------------------------------- */

static int32_t i32_from_f64(double value)
{
    return (int32_t)fmin(fmax(rint(value), INT32_MIN), INT32_MAX);
}

static void fill_constant(double value, dsv4_tensor *t, int64_t first, int64_t n)
{
    const uint16_t bits = num_bf16_from_f64(value);
    for (int64_t i = first; i < first + n; i++) {
        if (t->dtype == DSV4_F32) {
            ((float *)t->data)[i] = (float)value;
        } else if (t->dtype == DSV4_BF16) {
            ((uint16_t *)t->data)[i] = bits;
        } else {
            ((int32_t *)t->data)[i] = i32_from_f64(value);
        }
    }
}

static void store(const float *values, dsv4_tensor *t, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == DSV4_F32) {
            ((float *)t->data)[first + i] = values[i];
        } else if (t->dtype == DSV4_BF16) {
            ((uint16_t *)t->data)[first + i] = num_bf16_from_f32(values[i]);
        } else {
            ((int32_t *)t->data)[first + i] = i32_from_f64((double)values[i]);
        }
    }
}

static void fill_draws(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, int64_t first, int64_t n)
{
    enum { AT_ONCE = 512 };
    float values[AT_ONCE];
    for (int64_t done = 0; done < n; done += AT_ONCE) {
        const int64_t count = n - done < AT_ONCE ? n - done : AT_ONCE;
        fix_draw(name, rule, seed, first + done, count, values);
        store(values, t, first + done, count);
    }
}

dsv4_status fix_fill_range(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, int64_t first, int64_t n,
                           dsv4_error *err)
{
    if (!dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': expected a row-major tensor without gaps", name);
    }
    if (t->dtype != DSV4_F32 && t->dtype != DSV4_BF16 && t->dtype != DSV4_I32) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': dtype %s, expected F32, BF16 or I32", name, dsv4_dtype_name(t->dtype));
    }
    if (first < 0 || n < 0 || first > dsv4_tensor_count(t) - n) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': elements [%lld, %lld) of %lld", name, (long long)first,
                         (long long)first + (long long)n, (long long)dsv4_tensor_count(t));
    }
    switch (rule->kind) {
    case FIX_NONE:
        fill_constant(0, t, first, n);
        return DSV4_OK;
    case FIX_CONSTANT:
        fill_constant(rule->a, t, first, n);
        return DSV4_OK;
    case FIX_UNIFORM:
    case FIX_NORMAL:
        fill_draws(name, rule, seed, t, first, n);
        return DSV4_OK;
    case FIX_WQ_UNIFORM:
    case FIX_CALL:
        break;
    }
    return dsv4_fail(err, DSV4_E_UNSUPPORTED, "fixture '%s': kind %d has no element-wise draw", name, (int)rule->kind);
}

dsv4_status fix_fill(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, dsv4_tensor *scale, dsv4_error *err)
{
    if (rule->kind == FIX_WQ_UNIFORM) {
        const fix_rule draw = {FIX_UNIFORM, rule->a, rule->b, NULL};
        return fix_fill_weight(name, &draw, FIX_PER_COLUMN, seed, t, scale, err);
    }
    if (rule->kind == FIX_NONE && dsv4_tensor_is_contiguous(t)) {
        if (dsv4_tensor_count(t) > 0) {
            memset(t->data, 0, dsv4_tensor_bytes(t));
        }
        return DSV4_OK;
    }
    return fix_fill_range(name, rule, seed, t, 0, dsv4_tensor_count(t), err);
}
