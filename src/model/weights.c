/* weights.c - stored weights as numbers. */
#include "model/weights.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/numbers.h"

/* ---- by name ---------------------------------------------------------------------------------------------------------------- */

/* Number in the table of "<name><end>", or -1. */
static int64_t find_part(const model_checkpoint *c, const char *name, const char *end)
{
    char full[MODEL_NAME_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s", name, end);
    return n > 0 && (size_t)n < sizeof full ? model_checkpoint_find(c, full) : -1;
}

static dsv4_status fail_part(const model_checkpoint *c, const char *name, int64_t item, dsv4_error *err)
{
    return item < 0 ? dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: the architecture has no matrix '%.80s'", c->folder, name)
                    : dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: tensor '%s' is missing or wrong", c->folder, c->table.items[item].name);
}

dsv4_status model_matrix_find(const model_checkpoint *c, const char *name, model_matrix *out, dsv4_error *err)
{
    int64_t item = find_part(c, name, ".weight");
    if (item < 0) {
        item = find_part(c, name, "");
    }
    if (item < 0 || c->data[item] == NULL || c->table.items[item].dtype == DSV4_I64 || c->table.items[item].dtype == DSV4_F8_E8M0) {
        return fail_part(c, name, item >= 0 && c->data[item] != NULL ? -1 : item, err);
    }
    const model_tensor *t = &c->table.items[item];
    const int64_t rows = t->n_dims == 2 ? t->shape[0] : 1, stored = t->n_dims == 2 ? t->shape[1] : t->shape[0];
    model_matrix m = {t->dtype == DSV4_BF16 ? MODEL_BF16 : MODEL_F32, rows, stored, c->data[item], NULL};
    if (t->dtype == DSV4_F8_E4M3 || t->dtype == DSV4_I8) {
        const int64_t scale = find_part(c, name, ".scale");
        if (scale < 0 || c->data[scale] == NULL) {
            return fail_part(c, name, scale, err);
        }
        m.kind = t->dtype == DSV4_I8 ? MODEL_FP4 : MODEL_FP8;
        m.columns = t->dtype == DSV4_I8 ? 2 * stored : stored;
        m.scales = c->data[scale];
    }
    *out = m;
    return DSV4_OK;
}

/* ---- values ----------------------------------------------------------------------------------------------------------------- */

static void row_of_fp8(const model_matrix *m, int64_t row, int64_t first, int64_t n, float *out)
{
    const int64_t n_blocks = (m->columns + MODEL_FP8_BLOCK - 1) / MODEL_FP8_BLOCK;
    const uint8_t *codes = m->data + row * m->columns, *scales = m->scales + row / MODEL_FP8_BLOCK * n_blocks;
    for (int64_t k = first; k < first + n;) {
        const float scale = num_f32_from_e8m0(scales[k / MODEL_FP8_BLOCK]);
        const int64_t block_end = (k / MODEL_FP8_BLOCK + 1) * MODEL_FP8_BLOCK, end = block_end < first + n ? block_end : first + n;
        for (; k < end; k++) {
            out[k - first] = num_f32_from_e4m3(codes[k]) * scale;
        }
    }
}

static void row_of_fp4(const model_matrix *m, int64_t row, int64_t first, int64_t n, float *out)
{
    const uint8_t *codes = m->data + row * (m->columns / 2), *scales = m->scales + row * (m->columns / MODEL_FP4_BLOCK);
    for (int64_t k = first; k < first + n; k++) {
        const uint8_t code = (uint8_t)(codes[k / 2] >> (k % 2 * 4));
        out[k - first] = num_f32_from_e2m1(code) * num_f32_from_e8m0(scales[k / MODEL_FP4_BLOCK]);
    }
}

static void row_of_bf16(const model_matrix *m, int64_t row, int64_t first, int64_t n, float *out)
{
    const uint8_t *from = m->data + 2 * (row * m->columns + first);
    for (int64_t j = 0; j < n; j++) {
        uint16_t bits;
        memcpy(&bits, from + 2 * j, sizeof bits);
        out[j] = num_f32_from_bf16(bits);
    }
}

void model_matrix_row(const model_matrix *m, int64_t row, int64_t first, int64_t n, float *out)
{
    assert(row >= 0 && row < m->rows && first >= 0 && n >= 0 && first + n <= m->columns);
    switch (m->kind) {
    case MODEL_FP8:
        row_of_fp8(m, row, first, n, out);
        break;
    case MODEL_FP4:
        row_of_fp4(m, row, first, n, out);
        break;
    case MODEL_BF16:
        row_of_bf16(m, row, first, n, out);
        break;
    case MODEL_F32:
        memcpy(out, m->data + 4 * (row * m->columns + first), 4 * (size_t)n);
        break;
    }
}

void model_matrix_tile(const model_matrix *m, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float *out,
                       int64_t stride)
{
    for (int64_t r = 0; r < n_rows; r++) {
        model_matrix_row(m, row + r, column, n_columns, out + r * stride);
    }
}
