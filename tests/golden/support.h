/* golden/support.h - what the tests of the references share: drawn inputs, runs that must succeed, comparison of bits. */
#ifndef GOLDEN_SUPPORT_H
#define GOLDEN_SUPPORT_H

#include <string.h>

#include "require.h"

#include "base/numbers.h"
#include "base/rng.h"
#include "golden/golden.h"

static inline dsv4_tensor add_tensor(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int n_dims, const int64_t *shape)
{
    dsv4_error err = {0};
    dsv4_tensor t;
    require_ok(dsv4_tensor_list_alloc(list, name, dtype, n_dims, shape, &t, &err), &err);
    return t;
}

static inline void put_tensor(dsv4_tensor_list *list, const char *name, const dsv4_tensor *t)
{
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_put(list, name, t, &err), &err);
}

/* A new tensor of U(lo, hi), rounded to its dtype; the draw depends on its name and the element's index alone. */
static inline void add_uniform(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int n_dims, const int64_t *shape,
                               double lo, double hi)
{
    const dsv4_tensor t = add_tensor(list, name, dtype, n_dims, shape);
    const rng r = {.seed = 7, .stream = rng_stream(name)};
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        const double value = rng_uniform(&r, (uint64_t)i, lo, hi);
        if (dtype == DSV4_F32) {
            ((float *)t.data)[i] = (float)value;
        } else if (dtype == DSV4_BF16)
            ((uint16_t *)t.data)[i] = num_bf16_from_f64(value);
        else if (dtype == DSV4_I8)
            ((int8_t *)t.data)[i] = (int8_t)value;
        else {
            fail_msg("%s: no draw for %s", name, dsv4_dtype_name(dtype));
        }
    }
}

static inline dsv4_tensor get_tensor(const dsv4_tensor_list *list, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(list, name);
    if (t == NULL) {
        fail_msg("no tensor %s", name);
    }
    return *t;
}

/* Rows [row0, row0 + rows) of a tensor. */
static inline dsv4_tensor rows_of(const dsv4_tensor *t, int64_t row0, int64_t rows)
{
    dsv4_tensor part = *t;
    part.shape[0] = rows;
    part.data = (char *)t->data + (size_t)(row0 * t->stride[0]) * dsv4_dtype_bytes(t->dtype);
    return part;
}

static inline void run_golden_as(const char *op, const dsv4_config *config, dsv4_compat compat, const dsv4_tensor_list *in,
                                 dsv4_tensor_list *out)
{
    dsv4_error err = {0};
    const golden *g = golden_find(op);
    assert_non_null(g);
    require_ok(g->run(config, &(dsv4_numerics){.compat = compat}, in, out, NULL, &err), &err);
}

static inline void run_golden(const char *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_tensor_list *out)
{
    run_golden_as(op, config, DSV4_CORRECT, in, out);
}

/* Elements whose bytes differ, of two tensors of one dtype and shape without gaps. */
static inline int64_t count_bit_mismatches(const dsv4_tensor *a, const dsv4_tensor *b)
{
    const size_t size = dsv4_dtype_bytes(a->dtype);
    int64_t n = 0;
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(dsv4_tensor_count(a), dsv4_tensor_count(b));
    for (int64_t i = 0; i < dsv4_tensor_count(a); i++) {
        n += memcmp((const char *)a->data + (size_t)i * size, (const char *)b->data + (size_t)i * size, size) != 0;
    }
    return n;
}

static inline void assert_same_bits(const dsv4_tensor_list *a, const dsv4_tensor_list *b, const char *name)
{
    const dsv4_tensor ta = get_tensor(a, name), tb = get_tensor(b, name);
    assert_int_equal(count_bit_mismatches(&ta, &tb), 0);
}

static inline void assert_near(double actual, double expected, double tolerance)
{
    const double difference = actual > expected ? actual - expected : expected - actual;
    if (!(difference <= tolerance)) {
        fail_msg("got %.9g, expected %.9g within %.3g", actual, expected, tolerance);
    }
}

#endif
