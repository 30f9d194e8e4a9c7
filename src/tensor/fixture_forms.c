/* fixture_forms.c - fixtures of a form of their own: Hadamard matrices, unit rows, parameters of hyper-connections (SPEC 8). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "tensor/fixture.h"

static dsv4_status check_dtype(const char *name, const dsv4_tensor *t, dsv4_dtype dtype, dsv4_error *err)
{
    if (t->dtype != dtype || !dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': dtype %s, expected %s without gaps", name, dsv4_dtype_name(t->dtype),
                         dsv4_dtype_name(dtype));
    }
    return DSV4_OK;
}

/* ---- matrices ------------------------------------------------------------------------------------------------------------- */

static void normalise_row(const float *values, int64_t cols, uint16_t *out)
{
    double squares = 0;
    for (int64_t c = 0; c < cols; c++) {
        squares += (double)values[c] * (double)values[c];
    }
    const float inverse = (float)(1 / sqrt(squares / (double)cols));
    for (int64_t c = 0; c < cols; c++) {
        out[c] = num_bf16_from_f32(values[c] * inverse);
    }
}

dsv4_status fix_fill_unit_rows(const char *name, uint64_t seed, dsv4_tensor *t, dsv4_error *err)
{
    const fix_rule rule = {FIX_NORMAL, 0, 1, NULL};
    const int64_t cols = fix_columns(t), rows = cols > 0 ? dsv4_tensor_count(t) / cols : 0;
    const dsv4_status status = check_dtype(name, t, DSV4_BF16, err);
    if (status != DSV4_OK) {
        return status;
    }
    float *values = memory_array((size_t)cols, sizeof *values);
    if (values == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "fixture '%s': no memory for a row of %lld", name, (long long)cols);
    }
    for (int64_t r = 0; r < rows; r++) {
        fix_draw(name, &rule, seed, r * cols, cols, values);
        normalise_row(values, cols, (uint16_t *)t->data + r * cols);
    }
    free(values);
    return DSV4_OK;
}

dsv4_status fix_fill_hadamard(const char *name, dsv4_tensor *t, dsv4_error *err)
{
    const dsv4_status status = check_dtype(name, t, DSV4_BF16, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t n = t->n_dims == 2 ? t->shape[0] : 0;
    if (n < 1 || t->shape[1] != n || (n & (n - 1)) != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %lld rows, expected a square matrix whose order is a power of two", name,
                         (long long)n);
    }
    const uint16_t plus = num_bf16_from_f64(1 / sqrt((double)n)), minus = plus ^ 0x8000;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            ((uint16_t *)t->data)[i * n + j] = __builtin_parityll((unsigned long long)(i & j)) ? minus : plus;
        }
    }
    return DSV4_OK;
}

/* ---- hyper-connections ---------------------------------------------------------------------------------------------------- */

typedef struct hc_set {
    const char *name;
    double fn_sd, scale[3], pre[4], post[4], comb[16];
} hc_set;

/* SPEC 8. The head has the pre part of CSA alone. */
static const hc_set hc_sets[] = {
    {"hca",
     .0495,
     {.079046, .04213, .121901},
     {-3.3004, 2.5553, -2.2787, -3.4925},
     {-3.8197, -3.4161, -2.7144, -2.9181},
     {2.362, -2.4746, -2.1352, -3.2216, -4.474, 2.2488, -2.1053, -3.1675, -2.8362, -1.9042, 2.0432, -3.062, -2.7902, -3.0908,
      -3.002, 3.1161}},
    {"csa",
     .0519,
     {.076099, .032597, .226994},
     {5.9166, -3.6223, -2.9324, -3.3124},
     {-3.9100, -0.9384, -3.3256, -2.5240},
     {2.0706, -2.5728, .1424, -3.9453, -3.8859, 3.4634, -3.3799, -2.6077, -2.7191, -2.4846, 2.0395, -.5010, -3.5992, -2.7520,
      -3.3493, 3.1587}},
    {"head", .0519, {.076099}, {5.9166, -3.6223, -2.9324, -3.3124}, {0}, {0}},
    {"swa",
     .039,
     {2.076026, .018729, .245936},
     {3.9083, -2.0399, -2.2033, -2.017},
     {-2.4443, -10.3158, -8.9943, -6.3581},
     {9.8577, -9.5177, -24.8724, -22.8929, -21.545, .7791, -3.386, 1.1948, -20.9605, -.7702, 1.4218, -4.8994, 1.5177, -29.7663,
      -30.1413, -1.2413}},
};

enum { N_HC_SETS = sizeof hc_sets / sizeof *hc_sets };

static const hc_set *find_hc_set(const char *name)
{
    size_t i = 0;
    while (i < N_HC_SETS && strcmp(hc_sets[i].name, name) != 0) {
        i++;
    }
    return i < N_HC_SETS ? &hc_sets[i] : NULL;
}

/* Element i of a base of groups pre, post [n], comb [n, n]. */
static double hc_base(const hc_set *set, int64_t n, int64_t i)
{
    if (i < n) {
        return set->pre[i % 4];
    }
    if (i < 2 * n) {
        return set->post[(i - n) % 4];
    }
    const int64_t row = (i - 2 * n) / n, col = (i - 2 * n) % n;
    return set->comb[row % 4 * 4 + col % 4];
}

dsv4_status fix_fill_hc(const char *name, const char *set_name, int64_t n_streams, uint64_t seed, dsv4_tensor *t, dsv4_error *err)
{
    const hc_set *set = find_hc_set(set_name);
    const int64_t n = dsv4_tensor_count(t);
    const dsv4_status status = check_dtype(name, t, DSV4_F32, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (set == NULL) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "fixture '%s': hyper-connections \"%s\", expected swa, hca, csa or head", name,
                         set_name);
    }
    if (fix_name_ends(name, "_fn")) {
        return fix_fill_range(name, &(fix_rule){FIX_NORMAL, 0, set->fn_sd, NULL}, seed, t, 0, n, err);
    }
    const bool is_scale = fix_name_ends(name, "_scale");
    if (is_scale ? n > 3 : n_streams < 1 || n > (2 + n_streams) * n_streams || !fix_name_ends(name, "_base")) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %lld values, expected a _fn, a _scale or a _base of %lld streams", name,
                         (long long)n, (long long)n_streams);
    }
    for (int64_t i = 0; i < n; i++) {
        ((float *)t->data)[i] = (float)(is_scale ? set->scale[i] : hc_base(set, n_streams, i));
    }
    return DSV4_OK;
}

dsv4_status fix_fill_hc_post(const char *name, uint64_t seed, dsv4_tensor *t, dsv4_error *err)
{
    dsv4_status status = check_dtype(name, t, DSV4_F32, err);
    if (status != DSV4_OK) {
        return status;
    }
    float *values = t->data;
    fix_draw(name, &(fix_rule){FIX_NORMAL, 0, 1, NULL}, seed, 0, dsv4_tensor_count(t), values);
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        values[i] = 2 / (1 + expf(-values[i]));
    }
    return DSV4_OK;
}

dsv4_status fix_fill_hc_comb(const char *name, int64_t n_streams, uint64_t seed, dsv4_tensor *t, dsv4_error *err)
{
    const int64_t n = dsv4_tensor_count(t);
    const dsv4_status status = check_dtype(name, t, DSV4_F32, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (n_streams < 1 || n % n_streams != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %lld values, expected groups of %lld", name, (long long)n,
                         (long long)n_streams);
    }
    float *values = t->data;
    fix_draw(name, &(fix_rule){FIX_UNIFORM, 0.1, 1.1, NULL}, seed, 0, n, values);
    for (int64_t i = 0; i < n; i += n_streams) {
        float sum = 0;
        for (int64_t j = i; j < i + n_streams; j++) {
            sum += values[j];
        }
        for (int64_t j = i; j < i + n_streams; j++) {
            values[j] /= sum;
        }
    }
    return DSV4_OK;
}
