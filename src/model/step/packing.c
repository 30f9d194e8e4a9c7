/* model/step/packing.c - rows in the order in which the products take them, rounded, split or quantised as the numerics say. */
#include <string.h>

#include "model/step/linear.h"
#include "ops/chunk.h"
#include "ops/rms.h"

enum { E4M3_BLOCK = 128, ALIGNMENT = 64 };

static int64_t aligned(int64_t n_bytes)
{
    return (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

step_packing step_packing_for(const step *s, model_form form, int64_t k)
{
    step_packing p = {.uk = s->op.uk, .kind = STEP_PACK_BF16, .parts = 1, .k = k};
    bool is_quantised = form == MODEL_FORM_FP8 || form == MODEL_FORM_FP4;
    if (form == MODEL_FORM_I8) {
        p.kind = STEP_PACK_I8;
    } else if (form == MODEL_FORM_FP4 && s->numerics->rows == MODEL_ROWS_I8) {
        p.kind = STEP_PACK_FP4;
    } else if (is_quantised && s->numerics->rows == MODEL_ROWS_E4M3) {
        p.rounds_e4m3 = true;
    } else if (s->numerics->dtype == DSV4_F32) {
        p.parts = 3;
    }
    return p;
}

static int64_t group_bytes(const step_packing *p, int64_t group_rows)
{
    return p->kind == STEP_PACK_BF16 ? uk_acts_bytes_bf16(p->uk, group_rows, p->k)
           : p->kind == STEP_PACK_I8 ? uk_acts_bytes_i8(p->uk, group_rows, p->k)
                                     : uk_acts_bytes_fp4(group_rows, p->k);
}

step_acts step_acts_in(const step_packing *p, int64_t rows, void *memory)
{
    step_acts a = {.data = memory, .rows = rows, .parts = p->parts, .group_rows = tile_min(rows, UK_ROWS)};
    a.group_bytes = aligned(group_bytes(p, a.group_rows));
    a.part_bytes = tile_count(rows, UK_ROWS) * a.group_bytes;
    return a;
}

int64_t step_acts_bytes(const step_packing *p, int64_t rows)
{
    step_acts a = step_acts_in(p, rows, NULL);
    return a.parts * a.part_bytes;
}

/* ---- packing a group --------------------------------------------------------------------------------------------------- */

/* What a group becomes before it is packed: rows of BF16 or INT8 values, and a row that is worked on. */
typedef struct pack_scratch {
    float *row, *rest;
    void *values; /* [UK_ROWS][k] */
} pack_scratch;

static pack_scratch scratch_at(const step_packing *p, void *scratch)
{
    int64_t row_bytes = aligned(p->k * (int64_t)sizeof(float));
    char *at = scratch;
    return (pack_scratch){(float *)(void *)at, (float *)(void *)(at + row_bytes), at + 2 * row_bytes};
}

size_t step_pack_scratch(const step_packing *p)
{
    return (size_t)(2 * aligned(p->k * (int64_t)sizeof(float)) + UK_ROWS * p->k * (int64_t)sizeof(uint16_t));
}

/* Part `part` of x: what BF16 holds of what the parts before it left. Three hold all of a float. */
static void part_of_row(const step_packing *p, const float *x, int64_t part, const pack_scratch *s, uint16_t *out)
{
    memcpy(s->rest, x, (size_t)p->k * sizeof *s->rest);
    if (p->rounds_e4m3) {
        p->uk->round_e4m3(p->k, E4M3_BLOCK, s->rest, s->rest);
    }
    for (int64_t before = 0; before < part; before++) {
        p->uk->narrow_bf16(p->k, s->rest, out);
        p->uk->widen_bf16(p->k, out, s->row);
        for (int64_t i = 0; i < p->k; i++) {
            s->rest[i] -= s->row[i];
        }
    }
    p->uk->narrow_bf16(p->k, s->rest, out);
}

static void pack_bf16(const step_packing *p, int64_t n_rows, const float *const *x, const step_acts *a, char *dst,
                      const pack_scratch *s)
{
    uint16_t *values = s->values;
    for (int64_t part = 0; part < p->parts; part++) {
        for (int64_t r = 0; r < n_rows; r++) {
            part_of_row(p, x[r], part, s, values + r * p->k);
        }
        p->uk->tile_bf16(n_rows, a->group_rows, p->k, values, p->k, dst + part * a->part_bytes);
    }
}

/* Q8 of SPEC 0.3: one scale a row. */
static void pack_i8(const step_packing *p, int64_t n_rows, const float *const *x, const step_acts *a, char *dst, float *scales,
                    const pack_scratch *s)
{
    int8_t *values = s->values;
    for (int64_t r = 0; r < n_rows; r++) {
        float sq = op_q8_multiplier(p->uk->amax(p->k, x[r]));
        p->uk->quantize_i8(p->k, x[r], sq, values + r * p->k);
        scales[r] = 1.0f / sq;
    }
    if (p->kind == STEP_PACK_I8) {
        p->uk->tile_i8(n_rows, a->group_rows, p->k, values, p->k, dst);
    } else {
        p->uk->tile_fp4(n_rows, a->group_rows, p->k, values, p->k, dst);
    }
}

void step_pack_group(const step_packing *p, int64_t group, const float *const *x, const step_acts *a, float *scales, void *scratch)
{
    pack_scratch s = scratch_at(p, scratch);
    int64_t n_rows = tile_min(a->rows - group * UK_ROWS, UK_ROWS);
    char *dst = a->data + group * a->group_bytes;
    if (p->kind == STEP_PACK_BF16) {
        pack_bf16(p, n_rows, x, a, dst, &s);
    } else {
        pack_i8(p, n_rows, x, a, dst, scales, &s);
    }
}

/* ---- a panel ----------------------------------------------------------------------------------------------------------- */

/* Bytes by which a range of k that begins at k lies behind the beginning of its group. */
static int64_t acts_offset(const step_packing *p, const step_acts *a, int64_t k)
{
    return p->kind == STEP_PACK_FP4 ? uk_acts_bytes_fp4(a->group_rows, k) : k * a->group_rows * p->uk->act_bytes_bf16;
}

/* One chunk of one part. */
static void panel_chunk(const step_packing *p, const model_weight *w, uk_acts x, int64_t panel, tile_range k, float *c, int64_t ldc)
{
    int64_t n = k.end - k.begin;
    uk_packed_fp8 fp8 = {.weights = w->packed, .n_chunks = tile_count(w->packed.k, UK_CHUNK)};
    switch (w->form) {
    case MODEL_FORM_BF16:
        p->uk->gemm_bf16(x, n, uk_panel_bf16(&w->packed, panel, k.begin), c, ldc);
        break;
    case MODEL_FORM_FP8:
        p->uk->gemm_fp8(x, n, uk_panel_fp8(&fp8, panel, k.begin), w->scales + panel * fp8.n_chunks + k.begin / UK_CHUNK, c, ldc);
        break;
    default:
        if (p->kind == STEP_PACK_FP4) {
            p->uk->gemm_fp4(x, tile_count(n, UK_BLOCK_FP4), uk_panel_fp4(&w->packed, panel, k.begin), c, ldc);
        } else {
            p->uk->gemm_fp4_bf16(x, n, uk_panel_fp4(&w->packed, panel, k.begin), c, ldc);
        }
    }
}

/* Rows [t0, t1) of the first part. */
static uk_acts rows_of(const step_acts *a, int64_t t0, int64_t t1)
{
    return (uk_acts){a->data + t0 / UK_ROWS * a->group_bytes, t1 - t0, a->group_rows, a->group_bytes};
}

void step_panel_i32(const step_packing *p, const model_weight *w, const step_acts *a, int64_t t0, int64_t t1, int64_t panel,
                    int32_t *c, int64_t ldc)
{
    p->uk->gemm_i8(rows_of(a, t0, t1), tile_count(p->k, 4), uk_panel_i8(&w->packed, panel, 0),
                   w->packed.correction + panel * UK_PANEL, c, ldc);
}

/* FP32 sums of a panel: those of a chunk and a part follow each other; INT8 has one sum. */
static int64_t max_sums(const step_packing *p)
{
    return p->kind == STEP_PACK_I8 ? 1 : op_chunks(p->k) * p->parts;
}

size_t step_panel_scratch(const step_packing *p, int64_t rows)
{
    return (size_t)(rows * UK_PANEL * max_sums(p)) * sizeof(float);
}

void step_panel(const step_packing *p, const model_weight *w, const step_acts *a, int64_t t0, int64_t t1, int64_t panel,
                int64_t chunk0, int64_t chunk1, float *c, int64_t ldc, void *scratch)
{
    int64_t n = (t1 - t0) * UK_PANEL, n_sums = 0;
    float *sums = scratch;
    if (p->kind == STEP_PACK_I8) {
        int32_t *sums_i32 = scratch;
        step_panel_i32(p, w, a, t0, t1, panel, sums_i32, UK_PANEL);
        for (int64_t i = 0; i < n; i++) {
            c[i / UK_PANEL * ldc + i % UK_PANEL] = (float)sums_i32[i];
        }
        return;
    }
    uk_acts x = rows_of(a, t0, t1);
    for (int64_t chunk = chunk0; chunk < chunk1; chunk++) {
        tile_range k = tile_at(chunk, OP_SUM_CHUNK, p->k);
        for (int64_t part = 0; part < a->parts; part++, n_sums++) {
            uk_acts from = x;
            from.data = (const char *)x.data + part * a->part_bytes + acts_offset(p, a, k.begin);
            panel_chunk(p, w, from, panel, k, sums + n_sums * n, UK_PANEL);
        }
    }
    for (int64_t r = 0; r < t1 - t0; r++) {
        p->uk->sum_parts(UK_PANEL, n_sums, sums + r * UK_PANEL, n, c + r * ldc);
    }
}

dsv4_work step_product_work(const step_packing *p, int64_t m, int64_t n, int64_t k)
{
    double operations = 2.0 * (double)m * (double)n * (double)k * (double)p->parts;
    dsv4_work work = {.product = {.m = m, .n = n, .k = k}};
    *(p->kind == STEP_PACK_BF16 ? &work.flops_bf16 : &work.ops_i8) = operations;
    return work;
}
