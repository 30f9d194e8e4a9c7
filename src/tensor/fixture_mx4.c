/* fixture_mx4.c - MX4 of SPEC 8: values of N(1) rounded to e2m1 in groups of 32 inputs under a power-of-two scale, as codes and as
 * INT8 made of them. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "tensor/fixture.h"

enum { MX4_GROUP = 32 };

/* Exponent bits of the smallest power of two that is not below amax / 6. */
static uint8_t group_scale(const float *values, int64_t n)
{
    float amax = 0;
    for (int64_t i = 0; i < n; i++) {
        amax = fmaxf(amax, fabsf(values[i]));
    }
    return num_e8m0_ceil_from_f32(fmaxf(amax / 6.0f, 1e-20f));
}

/* The nearest e2m1 code; a magnitude between two goes to the smaller one. */
static uint8_t code_of(float value)
{
    static const float thresholds[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
    uint8_t code = 0;
    for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
        code = (uint8_t)(code + (fabsf(value) > thresholds[i]));
    }
    return (uint8_t)(code | (value < 0 ? 8 : 0));
}

/* ---- INT8 ------------------------------------------------------------------------------------------------------------------ */

/* n elements in rows of `cols`: BF16 holds them exactly. */
static void fill_values(const char *name, uint64_t seed, int64_t n, int64_t cols, uint16_t *values)
{
    static const fix_rule standard_normal = {FIX_NORMAL, 0, 1, NULL};
    float group[MX4_GROUP];
    for (int64_t row = 0; row < n; row += cols) {
        for (int64_t c = 0; c < cols; c += MX4_GROUP) {
            const int64_t n_group = cols - c < MX4_GROUP ? cols - c : MX4_GROUP;
            fix_draw(name, &standard_normal, seed, row + c, n_group, group);
            const float scale = num_f32_from_e8m0(group_scale(group, n_group));
            for (int64_t i = 0; i < n_group; i++) {
                values[row + c + i] = num_bf16_from_f32(num_f32_from_e2m1(code_of(group[i] / scale)) * scale);
            }
        }
    }
}

dsv4_status fix_fill_mx4(const char *name, double sd, uint64_t seed, dsv4_tensor *q, dsv4_tensor *scale, dsv4_error *err)
{
    const int64_t n = dsv4_tensor_count(q);
    uint16_t *data = memory_array((size_t)n, sizeof *data);
    if (data == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "fixture '%s': no memory for %lld values", name, (long long)n);
    }
    fill_values(name, seed, n, fix_columns(q), data);
    const dsv4_tensor values = dsv4_tensor_make(DSV4_BF16, q->n_dims, q->shape, data);
    const dsv4_status status = fix_quantise(name, &values, FIX_PER_ROW, q, scale, err);
    if (status == DSV4_OK) {
        fix_set_deviation(q, FIX_PER_ROW, sd, scale);
    }
    free(data);
    return status;
}

/* ---- codes ----------------------------------------------------------------------------------------------------------------- */

/* A group of n <= MX4_GROUP values, n even. */
static uint8_t write_group(const float *values, int64_t n, uint8_t *codes)
{
    const uint8_t bits = group_scale(values, n);
    const float scale = num_f32_from_e8m0(bits);
    for (int64_t i = 0; i < n; i += 2) {
        codes[i / 2] = (uint8_t)(code_of(values[i] / scale) | code_of(values[i + 1] / scale) << 4);
    }
    return bits;
}

dsv4_status fix_fill_mx4_codes(const char *name, double sd, uint64_t seed, dsv4_tensor *codes, dsv4_tensor *scale, dsv4_error *err)
{
    const fix_rule normal = {FIX_NORMAL, 0, sd, NULL};
    const int64_t row_bytes = fix_columns(codes), cols = 2 * row_bytes, n_groups = (cols + MX4_GROUP - 1) / MX4_GROUP;
    const int64_t n_rows = row_bytes > 0 ? dsv4_tensor_count(codes) / row_bytes : 0;
    float group[MX4_GROUP];
    if (codes->dtype != DSV4_U8 || cols < 1 || !dsv4_tensor_is_contiguous(codes)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %s with %d dimensions, expected U8 [.., K / 2] without gaps", name,
                         dsv4_dtype_name(codes->dtype), codes->n_dims);
    }
    if (scale == NULL || scale->dtype != DSV4_F8_E8M0 || dsv4_tensor_count(scale) != n_rows * n_groups ||
        !dsv4_tensor_is_contiguous(scale)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': its scale must be F8_E8M0 of %lld x %lld", name, (long long)n_rows,
                         (long long)n_groups);
    }
    for (int64_t g = 0; g < n_rows * n_groups; g++) {
        const int64_t first = g / n_groups * cols + g % n_groups * MX4_GROUP, left = (g / n_groups + 1) * cols - first;
        const int64_t n = left < MX4_GROUP ? left : MX4_GROUP;
        fix_draw(name, &normal, seed, first, n, group);
        ((uint8_t *)scale->data)[g] = write_group(group, n, (uint8_t *)codes->data + first / 2);
    }
    return DSV4_OK;
}
