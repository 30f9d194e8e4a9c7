/* kernels/pack_fp.c - packing of FP4 and FP8 weights, a stretch of the inputs of one column after the other. */
#include "kernels/pack_fp.h"

#include <string.h>

#include "base/numbers.h"
#include "kernels/panels.h"

enum { LINE = 64, HALF_PANEL = UK_PANEL / 2, SCALE_BLOCK = 128, SCALE_ONE = 127 };

/* ---- FP4 ----------------------------------------------------------------------------------------------------------------- */

size_t uk_pack_fp4_bytes(int64_t k, int64_t n)
{
    if (k < 1 || n < 1 || k % UK_GROUP_FP4 != 0) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, UK_BLOCK_FP4), UK_BLOCK_BYTES_FP4, 0);
}

/* Eight codes of four bytes, one a byte. */
static uint64_t spread_nibbles(const uint8_t *codes)
{
    uint32_t packed;
    memcpy(&packed, codes, sizeof packed);
    uint64_t v = packed;
    v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
    v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return (v | v << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

/* Stores 32 inputs of columns c and 16 + c: eight lines, four inputs a line. Either column may be missing. */
static void pack_column_pair(const uint8_t *low, const uint8_t *high, uint8_t *lines)
{
    for (int step = 0; step < UK_GROUP_FP4 / 4; step += 2) {
        uint64_t lanes = low ? spread_nibbles(low + 2 * step) : 0;
        lanes |= high ? spread_nibbles(high + 2 * step) << 4 : 0;
        uint32_t first = (uint32_t)lanes, second = (uint32_t)(lanes >> 32);
        memcpy(lines + step * LINE, &first, sizeof first);
        memcpy(lines + (step + 1) * LINE, &second, sizeof second);
    }
}

/* Inputs [32*group, +32) of the columns of panel p; missing columns are zeros. */
static void pack_group_fp4(const uint8_t *w, const uint8_t *e8m0, const uk_packed *out, int64_t p, int64_t group)
{
    int64_t n_groups = out->k / UK_GROUP_FP4, first = p * UK_PANEL;
    uint8_t *block = (uint8_t *)out->panels + p * out->panel_bytes + group / 2 * UK_BLOCK_BYTES_FP4;
    uint8_t *scales = block + group % 2 * UK_PANEL, *lines = block + LINE + group % 2 * (UK_BLOCK_BYTES_FP4 - LINE) / 2;
    for (int64_t c = 0; c < UK_PANEL; c++) {
        scales[c] = first + c < out->n ? e8m0[(first + c) * n_groups + group] : SCALE_ONE;
    }
    for (int64_t c = 0; c < HALF_PANEL; c++) {
        const uint8_t *columns[2] = {NULL, NULL};
        for (int half = 0; half < 2; half++) {
            int64_t n = first + half * HALF_PANEL + c;
            if (n < out->n) {
                columns[half] = w + (n * n_groups + group) * (UK_GROUP_FP4 / 2);
            }
        }
        pack_column_pair(columns[0], columns[1], lines + 4 * c);
    }
}

uk_packed uk_packed_fp4_in(int64_t k, int64_t n, void *memory)
{
    return (uk_packed){k, n, ceil_div(n, UK_PANEL), ceil_div(k, UK_BLOCK_FP4) * UK_BLOCK_BYTES_FP4, memory, NULL};
}

void uk_pack_panels_fp4(const uint8_t *w, const uint8_t *e8m0, int64_t begin, int64_t end, const uk_packed *out)
{
    for (int64_t p = begin; p < end; p++) {
        if (out->k % UK_BLOCK_FP4 != 0) {
            char *last = (char *)out->panels + (p + 1) * out->panel_bytes - UK_BLOCK_BYTES_FP4;
            memset(last, SCALE_ONE, LINE);
            memset(last + LINE, 0, UK_BLOCK_BYTES_FP4 - LINE);
        }
        for (int64_t group = 0; group < out->k / UK_GROUP_FP4; group++) {
            pack_group_fp4(w, e8m0, out, p, group);
        }
    }
}

uk_packed uk_pack_fp4(const uint8_t *w, const uint8_t *e8m0, int64_t k, int64_t n, void *memory)
{
    const uk_packed out = uk_packed_fp4_in(k, n, memory);
    uk_pack_panels_fp4(w, e8m0, 0, out.n_panels, &out);
    return out;
}

/* ---- FP8 ----------------------------------------------------------------------------------------------------------------- */

size_t uk_pack_fp8_bytes(int64_t k, int64_t n)
{
    if (k < 1 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, 2), 2 * UK_PANEL, (size_t)ceil_div(k, UK_CHUNK) * sizeof(float));
}

/* Inputs [k, end) of the columns of panel p; missing ones are zeros. */
static void pack_rows_fp8(const uint8_t *w, const uk_packed *out, int64_t p, int64_t k, int64_t end)
{
    uint8_t *steps = (uint8_t *)out->panels + p * out->panel_bytes + k * UK_PANEL;
    int64_t n_columns = out->n - p * UK_PANEL < UK_PANEL ? out->n - p * UK_PANEL : UK_PANEL;
    if (n_columns < UK_PANEL || (end - k) % 2 != 0) {
        memset(steps, 0, (size_t)(ceil_div(end - k, 2) * 2 * UK_PANEL));
    }
    for (int64_t c = 0; c < n_columns; c++) {
        const uint8_t *column = w + (p * UK_PANEL + c) * out->k + k;
        uint8_t *to = steps + 16 * (c % 16 / 4) + 8 * (c / 16) + 2 * (c % 4);
        for (int64_t r = 0; r + 1 < end - k; r += 2, to += 2 * UK_PANEL) {
            memcpy(to, column + r, 2);
        }
        if ((end - k) % 2 != 0) {
            *to = column[end - k - 1];
        }
    }
}

uk_packed_fp8 uk_packed_fp8_in(int64_t k, int64_t n, void *memory)
{
    uk_packed weights = {k, n, ceil_div(n, UK_PANEL), ceil_div(k, 2) * 2 * UK_PANEL, memory, NULL};
    return (uk_packed_fp8){weights, ceil_div(k, UK_CHUNK), (float *)((char *)memory + weights.n_panels * weights.panel_bytes)};
}

void uk_pack_panels_fp8(const uint8_t *w, const uint8_t *e8m0, int64_t begin, int64_t end, const uk_packed_fp8 *out)
{
    for (int64_t p = begin; p < end; p++) {
        for (int64_t chunk = 0; chunk < out->n_chunks; chunk++) {
            int64_t first = chunk * UK_CHUNK, last = out->weights.k - first < UK_CHUNK ? out->weights.k : first + UK_CHUNK;
            pack_rows_fp8(w, &out->weights, p, first, last);
            out->scales[p * out->n_chunks + chunk] = num_f32_from_e8m0(e8m0[p * UK_PANEL / SCALE_BLOCK * out->n_chunks + chunk]);
        }
    }
}

uk_packed_fp8 uk_pack_fp8(const uint8_t *w, const uint8_t *e8m0, int64_t k, int64_t n, void *memory)
{
    const uk_packed_fp8 out = uk_packed_fp8_in(k, n, memory);
    uk_pack_panels_fp8(w, e8m0, 0, out.weights.n_panels, &out);
    return out;
}
