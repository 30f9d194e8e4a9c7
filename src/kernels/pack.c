/* kernels/pack.c - packing of weights by tiles, TILE_ROWS rows of one panel: gathered densely, then stored in panel order.
 *
 * Tiles follow the direction in which the weights are contiguous, so that a cache line shared by two tiles is still near for the
 * second. 16 rows are few enough to stay in a cache set of that many ways when they lie a power of two apart. */
#include "kernels/pack.h"

#include <string.h>

#include "kernels/rows.h"

enum { TILE_ROWS = 16, PAIR = 2, GROUP = 4 /* consecutive k of one column: BF16, INT8 */ };

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* 0 on overflow. */
static size_t panels_bytes(int64_t n, int64_t rows, size_t row_bytes, size_t correction_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(rows, row_bytes, &bytes) || __builtin_add_overflow(bytes, correction_bytes, &bytes) ||
        __builtin_mul_overflow(bytes, ceil_div(n, UK_PANEL), &bytes)) {
        return 0;
    }
    return bytes;
}

size_t uk_pack_bf16_bytes(int64_t k, int64_t n)
{
    if (k < 1 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, PAIR), PAIR * UK_PANEL * sizeof(uint16_t), 0);
}

size_t uk_pack_f32_bytes(int64_t k, int64_t n)
{
    return k < 1 || n < 1 ? 0 : panels_bytes(n, k, UK_PANEL * sizeof(float), 0);
}

size_t uk_pack_i8_bytes(int64_t k, int64_t n)
{
    if (k < 1 || k > UK_MAX_K_I8 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, GROUP) * GROUP, UK_PANEL, UK_PANEL * sizeof(int32_t));
}

/* ---- tiles --------------------------------------------------------------------------------------------------------------- */

typedef struct matrix {
    const void *w;
    int64_t k, n, stride_k, stride_n;
} matrix;

/* Stores the tile at row `row` of panel p. */
typedef void pack_tile_fn(const matrix *m, int64_t row, int64_t p, const uk_packed *out);

/* Copies to tile[TILE_ROWS][UK_PANEL] the rows from row on and the columns of panel p; what lies outside the matrix is zero.
 * Inlined for each element size, so that the inner copies are single moves. */
UK_INLINE void gather(const matrix *m, int64_t row, int64_t p, const int64_t elem, char *tile)
{
    const char *w = (const char *)m->w + (row * m->stride_k + p * UK_PANEL * m->stride_n) * elem;
    int64_t rows = min_i64(TILE_ROWS, m->k - row), columns = min_i64(UK_PANEL, m->n - p * UK_PANEL);
    if (rows < TILE_ROWS || columns < UK_PANEL) {
        memset(tile, 0, (size_t)(TILE_ROWS * UK_PANEL * elem));
    }
    if (m->stride_n == 1) {
        for (int64_t r = 0; r < rows; r++) {
            memcpy(tile + r * UK_PANEL * elem, w + r * m->stride_k * elem, (size_t)(columns * elem));
        }
        return;
    }
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            memcpy(tile + (r * UK_PANEL + c) * elem, w + (r * m->stride_k + c * m->stride_n) * elem, (size_t)elem);
        }
    }
}

static void pack_tiles(const matrix *m, const uk_packed *out, pack_tile_fn *pack_tile)
{
    if (m->stride_k == 1) {
        for (int64_t p = 0; p < out->n_panels; p++) {
            for (int64_t row = 0; row < m->k; row += TILE_ROWS) {
                pack_tile(m, row, p, out);
            }
        }
        return;
    }
    for (int64_t row = 0; row < m->k; row += TILE_ROWS) {
        for (int64_t p = 0; p < out->n_panels; p++) {
            pack_tile(m, row, p, out);
        }
    }
}

/* ---- BF16 ---------------------------------------------------------------------------------------------------------------- */

static void pack_tile_bf16(const matrix *m, int64_t row, int64_t p, const uk_packed *packed)
{
    uint16_t tile[TILE_ROWS][UK_PANEL];
    gather(m, row, p, sizeof **tile, (char *)tile);
    uint16_t *out = (uint16_t *)((char *)packed->panels + p * packed->panel_bytes) + row * UK_PANEL;
    int64_t end = min_i64(TILE_ROWS, ceil_div(m->k, PAIR) * PAIR - row);
    for (int64_t r = 0; r < end; r += PAIR, out += PAIR * UK_PANEL) {
        for (int c = 0; c < UK_PANEL; c++) {
            out[2 * c] = tile[r][c];
            out[2 * c + 1] = tile[r + 1][c];
        }
    }
}

uk_packed uk_pack_bf16(const uint16_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    const matrix m = {w, k, n, stride_k, stride_n};
    uk_packed out = {k, n, ceil_div(n, UK_PANEL), ceil_div(k, PAIR) * PAIR * UK_PANEL * (int64_t)sizeof *w, memory, NULL};
    pack_tiles(&m, &out, pack_tile_bf16);
    return out;
}

/* ---- F32 ----------------------------------------------------------------------------------------------------------------- */

static void pack_tile_f32(const matrix *m, int64_t row, int64_t p, const uk_packed *packed)
{
    float tile[TILE_ROWS][UK_PANEL];
    gather(m, row, p, sizeof **tile, (char *)tile);
    memcpy((float *)packed->panels + (p * m->k + row) * UK_PANEL, tile, (size_t)min_i64(TILE_ROWS, m->k - row) * sizeof *tile);
}

uk_packed uk_pack_f32(const float *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    const matrix m = {w, k, n, stride_k, stride_n};
    uk_packed out = {k, n, ceil_div(n, UK_PANEL), k * UK_PANEL * (int64_t)sizeof *w, memory, NULL};
    pack_tiles(&m, &out, pack_tile_f32);
    return out;
}

/* ---- INT8 ---------------------------------------------------------------------------------------------------------------- */

static void pack_tile_i8(const matrix *m, int64_t row, int64_t p, const uk_packed *packed)
{
    int8_t tile[TILE_ROWS][UK_PANEL];
    gather(m, row, p, sizeof **tile, (char *)tile);
    int8_t *out = (int8_t *)packed->panels + p * packed->panel_bytes + row * UK_PANEL;
    int32_t *correction = packed->correction + p * UK_PANEL;
    int64_t end = min_i64(TILE_ROWS, ceil_div(m->k, GROUP) * GROUP - row);
    for (int64_t r = 0; r < end; r += GROUP, out += GROUP * UK_PANEL) {
        for (int c = 0; c < UK_PANEL; c++) {
            for (int g = 0; g < GROUP; g++) {
                out[c * GROUP + g] = tile[r + g][c];
            }
        }
    }
    for (int64_t r = 0; r < end; r++) {
        for (int c = 0; c < UK_PANEL; c++) {
            correction[c] -= 128 * tile[r][c];
        }
    }
}

uk_packed uk_pack_i8(const int8_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    const matrix m = {w, k, n, stride_k, stride_n};
    uk_packed out = {k, n, ceil_div(n, UK_PANEL), ceil_div(k, GROUP) * GROUP * UK_PANEL, memory, NULL};
    out.correction = (int32_t *)((char *)memory + out.n_panels * out.panel_bytes);
    memset(out.correction, 0, (size_t)out.n_panels * UK_PANEL * sizeof *out.correction);
    pack_tiles(&m, &out, pack_tile_i8);
    return out;
}
