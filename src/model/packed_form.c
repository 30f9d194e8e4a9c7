/* packed_form.c - one weight in its packed form. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "kernels/panels.h"
#include "model/packed_plan.h"

enum { N_CODES = 256 };

struct packed_packer {
    const uk_table *uk;
    float value[N_CODES]; /* of e4m3 codes */
    float *column;        /* [largest k of an INT8 weight] */
    int8_t *codes;        /* [UK_PANEL][the same] */
};

/* ---- where it lies --------------------------------------------------------------------------------------------------------------- */

size_t packed_form_bytes(model_form form, int64_t k, int64_t n)
{
    switch (form) {
    case MODEL_FORM_BF16:
        return uk_pack_bf16_bytes(k, n);
    case MODEL_FORM_F32:
        return uk_pack_f32_bytes(k, n);
    case MODEL_FORM_FP8:
        return uk_pack_fp8_bytes(k, n);
    case MODEL_FORM_FP4:
        return uk_pack_fp4_bytes(k, n);
    case MODEL_FORM_I8: {
        const size_t bytes = uk_pack_i8_bytes(k, n), scales = panels_bytes(n, 1, UK_PANEL * sizeof(float), 0);
        size_t all;
        return bytes == 0 || scales == 0 || __builtin_add_overflow(bytes, scales, &all) ? 0 : all;
    }
    case MODEL_FORM_NONE:
        break;
    }
    return 0;
}

model_weight packed_form_in(model_form form, int64_t k, int64_t n, void *memory)
{
    model_weight w = {.form = form};
    if (form == MODEL_FORM_FP4) {
        w.packed = uk_packed_fp4_in(k, n, memory);
        return w;
    }
    if (form == MODEL_FORM_FP8) {
        const uk_packed_fp8 fp8 = uk_packed_fp8_in(k, n, memory);
        w.packed = fp8.weights;
        w.scales = fp8.scales;
        return w;
    }
    const int64_t elem_bytes = form == MODEL_FORM_I8 ? 1 : form == MODEL_FORM_BF16 ? 2 : 4;
    const uk_source shape = {NULL, elem_bytes, k, n, 1, k};
    w.packed = uk_packed_in(&shape, memory);
    if (form == MODEL_FORM_I8) {
        w.scales = (const float *)(const void *)((const char *)memory + uk_pack_i8_bytes(k, n));
    }
    return w;
}

/* ---- packing ----------------------------------------------------------------------------------------------------------------------- */

dsv4_status packed_packer_create(const packed_plan *plan, packed_packer **out, dsv4_error *err)
{
    packed_packer *p = calloc(1, sizeof *p);
    int64_t k = 1;
    for (size_t i = 0; i < plan->n; i++) {
        k = plan->pieces[i].form == MODEL_FORM_I8 && plan->pieces[i].k > k ? plan->pieces[i].k : k;
    }
    if (p == NULL || (p->column = memory_array((size_t)k, sizeof *p->column)) == NULL ||
        (p->codes = memory_array((size_t)k, UK_PANEL)) == NULL) {
        packed_packer_destroy(p);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory to pack weights of %" PRId64 " inputs", k);
    }
    for (int code = 0; code < N_CODES; code++) {
        p->value[code] = num_f32_from_e4m3((uint8_t)code);
    }
    const dsv4_status status = uk_find(NULL, &p->uk, err);
    if (status != DSV4_OK) {
        packed_packer_destroy(p);
        return status;
    }
    *out = p;
    return DSV4_OK;
}

void packed_packer_destroy(packed_packer *p)
{
    if (p != NULL) {
        free(p->column);
        free(p->codes);
        free(p);
    }
}

static dsv4_status check_scales(const char *name, const uint8_t *scales, int64_t first, int64_t end, dsv4_error *err)
{
    for (int64_t i = first; i < end; i++) {
        if (scales[i] > MODEL_MAX_SCALE_CODE) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s.scale: value %" PRId64 " has code %d, expected at most %d", name, i, scales[i],
                             MODEL_MAX_SCALE_CODE);
        }
    }
    return DSV4_OK;
}

static dsv4_status check_codes(const char *name, const model_matrix *m, int64_t begin, int64_t end, dsv4_error *err)
{
    for (int64_t row = begin; row < end; row++) {
        const uint8_t *codes = m->data + row * m->columns;
        unsigned n_bad = 0;
        for (int64_t k = 0; k < m->columns; k++) {
            n_bad += (codes[k] & 0x7f) == 0x7f;
        }
        if (n_bad > 0) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s.weight: row %" PRId64 " has %u values that are no number", name, row, n_bad);
        }
    }
    return DSV4_OK;
}

static dsv4_status check_fp8(const char *name, const model_matrix *m, int64_t begin, int64_t end, dsv4_error *err)
{
    const int64_t n_blocks = ceil_div(m->columns, MODEL_FP8_BLOCK);
    const dsv4_status status =
        check_scales(name, m->scales, begin / MODEL_FP8_BLOCK * n_blocks, ceil_div(end, MODEL_FP8_BLOCK) * n_blocks, err);
    return status == DSV4_OK ? check_codes(name, m, begin, end, err) : status;
}

/* Row `row` of FP8 as numbers. */
static void dequantise(const packed_packer *p, const model_matrix *m, int64_t row, float *out)
{
    const uint8_t *codes = m->data + row * m->columns;
    const uint8_t *scales = m->scales + row / MODEL_FP8_BLOCK * ceil_div(m->columns, MODEL_FP8_BLOCK);
    for (int64_t k = 0; k < m->columns;) {
        const float scale = num_f32_from_e8m0(scales[k / MODEL_FP8_BLOCK]);
        const int64_t end = k + MODEL_FP8_BLOCK < m->columns ? k + MODEL_FP8_BLOCK : m->columns;
        for (; k < end; k++) {
            out[k] = p->value[codes[k]] * scale;
        }
    }
}

/* INT8 of FP8: q = rint(w * 127/amax), amax at least 1e-4; scale amax/127. */
static void pack_panel_i8(packed_packer *p, const model_matrix *m, const model_weight *w, int64_t panel)
{
    const int64_t k = m->columns, first = panel * UK_PANEL, n = m->rows - first < UK_PANEL ? m->rows - first : UK_PANEL;
    float *scales = (float *)(uintptr_t)w->scales + first; /* of memory that is being filled */
    for (int64_t c = 0; c < UK_PANEL; c++) {
        scales[c] = 0;
        if (c < n) {
            dequantise(p, m, first + c, p->column);
            const float amax = p->uk->amax(k, p->column), limit = amax > 1e-4F ? amax : 1e-4F;
            p->uk->quantize_i8(k, p->column, 127.0F / limit, p->codes + c * k);
            scales[c] = limit / 127.0F;
        }
    }
    const uk_source source = {p->codes, 1, k, n, 1, k};
    const uk_packed out = {
        k, n, 1, w->packed.panel_bytes, (char *)w->packed.panels + panel * w->packed.panel_bytes, w->packed.correction + first};
    uk_pack_panels(p->uk, &source, 0, 1, &out);
}

dsv4_status packed_panels(packed_packer *p, const char *name, const model_matrix *m, const model_weight *w, int64_t begin,
                          int64_t end, dsv4_error *err)
{
    const int64_t row = begin * UK_PANEL, row_end = end * UK_PANEL < m->rows ? end * UK_PANEL : m->rows;
    dsv4_status status = DSV4_OK;
    if (m->kind == MODEL_FP4) {
        const int64_t n_groups = m->columns / MODEL_FP4_BLOCK;
        if ((status = check_scales(name, m->scales, row * n_groups, row_end * n_groups, err)) == DSV4_OK) {
            uk_pack_panels_fp4(m->data, m->scales, begin, end, &w->packed);
        }
    } else if (m->kind == MODEL_FP8) {
        if ((status = check_fp8(name, m, row, row_end, err)) != DSV4_OK) {
            return status;
        }
        for (int64_t panel = begin; w->form == MODEL_FORM_I8 && panel < end; panel++) {
            pack_panel_i8(p, m, w, panel);
        }
        if (w->form == MODEL_FORM_FP8) {
            const uk_packed_fp8 fp8 = {w->packed, ceil_div(m->columns, UK_CHUNK), (float *)(uintptr_t)w->scales};
            uk_pack_panels_fp8(m->data, m->scales, begin, end, &fp8);
        }
    } else {
        const int64_t elem = m->kind == MODEL_BF16 ? 2 : 4, n = (row_end - row) * m->columns;
        const uk_source source = {m->data, elem, m->columns, m->rows, 1, m->columns};
        if ((status = model_values_require_finite(name, m->kind, m->data + row * m->columns * elem, n, err)) == DSV4_OK) {
            uk_pack_panels(p->uk, &source, begin, end, &w->packed);
        }
    }
    return status;
}
