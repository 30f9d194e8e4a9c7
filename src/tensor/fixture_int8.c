/* fixture_int8.c - quantised fixtures: WQ, RQ and MX8 of SPEC 8, over Q8 of SPEC 0.3. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "tensor/fixture.h"

/* SPEC 0.2 */
static const float int8_scale_max = 127.0f, int8_amax_eps = 1e-4f;

/* ---- Q8 ----------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_quantised(const char *name, const dsv4_tensor *q, fix_channel channel, const dsv4_tensor *scale,
                                   dsv4_error *err)
{
    const int64_t cols = fix_columns(q);
    const bool is_matrix = channel == FIX_PER_COLUMN ? q->n_dims == 2 : q->n_dims >= 1;
    if (q->dtype != DSV4_I8 || !is_matrix || cols < 1 || !dsv4_tensor_is_contiguous(q)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': %s with %d dimensions, expected I8 [K, N] without gaps", name,
                         dsv4_dtype_name(q->dtype), q->n_dims);
    }
    const int64_t n_channels = channel == FIX_PER_COLUMN ? cols : dsv4_tensor_count(q) / cols;
    if (scale == NULL || scale->dtype != DSV4_F32 || dsv4_tensor_count(scale) != n_channels || !dsv4_tensor_is_contiguous(scale)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': its scale must be F32 [%lld]", name, (long long)n_channels);
    }
    return DSV4_OK;
}

/* One row widened to FP32; values itself if it is that already. */
static const float *widen_row(const dsv4_tensor *values, int64_t row, int64_t cols, float *buffer)
{
    if (values->dtype == DSV4_F32) {
        return (const float *)values->data + row * cols;
    }
    const uint16_t *bits = (const uint16_t *)values->data + row * cols;
    for (int64_t c = 0; c < cols; c++) {
        buffer[c] = num_f32_from_bf16(bits[c]);
    }
    return buffer;
}

/* amax[c] = max(amax[c], |row[c]|), or one amax for the row. */
static void raise_amax(const float *row, int64_t cols, fix_channel channel, float *amax)
{
    float largest = 0;
    for (int64_t c = 0; c < cols; c++) {
        const float magnitude = fabsf(row[c]);
        if (channel == FIX_PER_COLUMN) {
            amax[c] = magnitude > amax[c] ? magnitude : amax[c];
        } else {
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    if (channel == FIX_PER_ROW) {
        *amax = fmaxf(*amax, largest);
    }
}

/* Per channel: sq = 127 * (1/amax), q = rint(w * sq), scale = 1/sq; each operation rounded to FP32. q stays within +-127, since
 * |w * sq| is at most 127 * (1 + 2^-22). The scales hold amax, then sq, then themselves. */
static void quantise(const dsv4_tensor *values, int64_t cols, fix_channel channel, int8_t *q, float *scale, float *buffer)
{
    const int64_t rows = dsv4_tensor_count(values) / cols, n_channels = channel == FIX_PER_COLUMN ? cols : rows;
    const int64_t next_row = channel == FIX_PER_ROW, next_col = channel == FIX_PER_COLUMN;
    for (int64_t i = 0; i < n_channels; i++) {
        scale[i] = int8_amax_eps;
    }
    for (int64_t r = 0; r < rows; r++) {
        raise_amax(widen_row(values, r, cols, buffer), cols, channel, scale + r * next_row);
    }
    for (int64_t i = 0; i < n_channels; i++) {
        scale[i] = 1.0f / scale[i] * int8_scale_max;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = widen_row(values, r, cols, buffer), *sq = scale + r * next_row;
        for (int64_t c = 0; c < cols; c++) {
            q[r * cols + c] = (int8_t)lrintf(row[c] * sq[c * next_col]);
        }
    }
    for (int64_t i = 0; i < n_channels; i++) {
        scale[i] = 1.0f / scale[i];
    }
}

dsv4_status fix_quantise(const char *name, const dsv4_tensor *values, fix_channel channel, dsv4_tensor *q, dsv4_tensor *scale,
                         dsv4_error *err)
{
    const int64_t cols = fix_columns(q);
    const dsv4_status status = check_quantised(name, q, channel, scale, err);
    if (status != DSV4_OK) {
        return status;
    }
    if ((values->dtype != DSV4_F32 && values->dtype != DSV4_BF16) || dsv4_tensor_count(values) != dsv4_tensor_count(q) ||
        !dsv4_tensor_is_contiguous(values)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "fixture '%s': expected F32 or BF16 values of the shape of their I8 form", name);
    }
    float *buffer = memory_array((size_t)cols, sizeof *buffer);
    if (buffer == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "fixture '%s': no memory for a row of %lld", name, (long long)cols);
    }
    quantise(values, cols, channel, q->data, scale->data, buffer);
    free(buffer);
    return DSV4_OK;
}

/* ---- weights and rows ----------------------------------------------------------------------------------------------------- */

/* Room for the values of q before they are quantised; data is the caller's to free. */
static dsv4_status make_values(const char *name, dsv4_dtype dtype, const dsv4_tensor *q, dsv4_tensor *values, dsv4_error *err)
{
    void *data = memory_array((size_t)dsv4_tensor_count(q), dsv4_dtype_bytes(dtype));
    if (data == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "fixture '%s': no memory for %lld values", name, (long long)dsv4_tensor_count(q));
    }
    *values = dsv4_tensor_make(dtype, q->n_dims, q->shape, data);
    return DSV4_OK;
}

static dsv4_status fill_quantised(const char *name, const fix_rule *rule, dsv4_dtype dtype, fix_channel channel, uint64_t seed,
                                  dsv4_tensor *q, dsv4_tensor *scale, dsv4_error *err)
{
    dsv4_tensor values = {.data = NULL};
    dsv4_status status = check_quantised(name, q, channel, scale, err);
    if (status == DSV4_OK) {
        status = make_values(name, dtype, q, &values, err);
    }
    if (status == DSV4_OK) {
        status = fix_fill_range(name, rule, seed, &values, 0, dsv4_tensor_count(&values), err);
    }
    if (status == DSV4_OK) {
        status = fix_quantise(name, &values, channel, q, scale, err);
    }
    free(values.data);
    return status;
}

dsv4_status fix_fill_weight(const char *name, const fix_rule *rule, fix_channel channel, uint64_t seed, dsv4_tensor *q,
                            dsv4_tensor *scale, dsv4_error *err)
{
    return fill_quantised(name, rule, DSV4_BF16, channel, seed, q, scale, err);
}

dsv4_status fix_fill_quantised_rows(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *q, dsv4_tensor *scale,
                                    dsv4_error *err)
{
    return fill_quantised(name, rule, DSV4_F32, FIX_PER_ROW, seed, q, scale, err);
}

void fix_set_deviation(const dsv4_tensor *q, fix_channel channel, double sd, dsv4_tensor *scale)
{
    const int8_t *values = q->data;
    float *scales = scale->data;
    const int64_t n = dsv4_tensor_count(q), cols = fix_columns(q);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        const double w = (double)((float)values[i] * scales[channel == FIX_PER_COLUMN ? i % cols : i / cols]);
        sum += w;
        squares += w * w;
    }
    const double mean = sum / (double)n, deviation = sqrt(fmax(squares / (double)n - mean * mean, 0));
    const float factor = deviation > 0 ? (float)(sd / deviation) : 1;
    for (int64_t c = 0; c < dsv4_tensor_count(scale); c++) {
        scales[c] *= factor;
    }
}

/* ---- MX8 ---------------------------------------------------------------------------------------------------------------- */

enum { MX_BLOCK = 128 };
static const float e4m3_max = 448.0f, mx_scale_floor = 1e-20f;
static const fix_rule standard_normal = {FIX_NORMAL, 0, 1, NULL};

/* Rounds a block of `rows` rows of `cols` <= MX_BLOCK values to e4m3 under one power-of-two scale. The result is exact in BF16. */
static void round_block(const float (*block)[MX_BLOCK], int64_t rows, int64_t cols, uint16_t *out, int64_t ld)
{
    float amax = 0;
    for (int64_t k = 0; k < rows; k++) {
        raise_amax(block[k], cols, FIX_PER_ROW, &amax);
    }
    const float scale = num_f32_from_e8m0(num_e8m0_ceil_from_f32(fmaxf(amax / e4m3_max, mx_scale_floor)));
    for (int64_t k = 0; k < rows; k++) {
        for (int64_t c = 0; c < cols; c++) {
            out[k * ld + c] = num_bf16_from_f32(num_f32_from_e4m3(num_e4m3_from_f32(block[k][c] / scale)) * scale);
        }
    }
}

/* w BF16 [in, out]: N(1) times the magnitude of the channel, rounded block by block. */
static void fill_mx_values(const char *name, const float *magnitude, uint64_t seed, dsv4_tensor *w)
{
    float block[MX_BLOCK][MX_BLOCK];
    const int64_t in = w->shape[0], out = w->shape[1];
    for (int64_t k0 = 0; k0 < in; k0 += MX_BLOCK) {
        for (int64_t c0 = 0; c0 < out; c0 += MX_BLOCK) {
            const int64_t rows = in - k0 < MX_BLOCK ? in - k0 : MX_BLOCK, cols = out - c0 < MX_BLOCK ? out - c0 : MX_BLOCK;
            for (int64_t k = 0; k < rows; k++) {
                fix_draw(name, &standard_normal, seed, (k0 + k) * out + c0, cols, block[k]);
                for (int64_t c = 0; c < cols; c++) {
                    block[k][c] *= magnitude[c0 + c];
                }
            }
            round_block((const float(*)[MX_BLOCK])block, rows, cols, (uint16_t *)w->data + k0 * out + c0, out);
        }
    }
}

dsv4_status fix_fill_mx8(const char *name, const char *scale_name, double sd, double spread, uint64_t seed, dsv4_tensor *q,
                         dsv4_tensor *scale, dsv4_error *err)
{
    dsv4_tensor w = {.data = NULL};
    dsv4_status status = check_quantised(name, q, FIX_PER_COLUMN, scale, err);
    if (status == DSV4_OK) {
        status = make_values(name, DSV4_BF16, q, &w, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    float *magnitude = scale->data;
    fix_draw(scale_name, &standard_normal, seed, 0, dsv4_tensor_count(scale), magnitude);
    for (int64_t c = 0; c < dsv4_tensor_count(scale); c++) {
        magnitude[c] = expf((float)spread * magnitude[c]);
    }
    fill_mx_values(name, magnitude, seed, &w);
    status = fix_quantise(name, &w, FIX_PER_COLUMN, q, scale, err);
    if (status == DSV4_OK) {
        fix_set_deviation(q, FIX_PER_COLUMN, sd, scale);
    }
    free(w.data);
    return status;
}
