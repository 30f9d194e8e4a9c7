/* kernels/pack.c - packing of weights by tiles, TILE_ROWS rows of one panel: gathered densely, then stored in panel order.
 *
 * Tiles follow the direction in which the weights are contiguous, so that a cache line shared by two tiles is still near for the
 * second. 16 rows are few enough to stay in a cache set of that many ways when they lie a power of two apart. */
#include "kernels/pack.h"

#include <string.h>

enum { TILE_ROWS = 16, GROUP = 4 /* consecutive k of one INT8 column */, HALF = UK_PANEL / 2 };

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
    return panels_bytes(n, k, UK_PANEL * sizeof(uint16_t), 0);
}

size_t uk_pack_i8_bytes(int64_t k, int64_t n)
{
    if (k < 1 || k > UK_MAX_K_I8 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, GROUP) * GROUP, UK_PANEL, UK_PANEL * sizeof(int32_t));
}

/* ---- BF16 ---------------------------------------------------------------------------------------------------------------- */

typedef struct matrix_bf16 {
    const uint16_t *w;
    int64_t k, n, stride_k, stride_n;
} matrix_bf16;

/* Rows from row on and the columns of panel p; what lies outside the matrix is zero. */
static void gather_bf16(const matrix_bf16 *m, int64_t row, int64_t p, uint16_t tile[TILE_ROWS][UK_PANEL])
{
    const uint16_t *w = m->w + row * m->stride_k + p * UK_PANEL * m->stride_n;
    int64_t rows = min_i64(TILE_ROWS, m->k - row), columns = min_i64(UK_PANEL, m->n - p * UK_PANEL);
    if (rows < TILE_ROWS || columns < UK_PANEL) {
        memset(tile, 0, TILE_ROWS * sizeof *tile);
    }
    if (m->stride_n == 1) {
        for (int64_t r = 0; r < rows; r++) {
            memcpy(tile[r], w + r * m->stride_k, (size_t)columns * sizeof *w);
        }
        return;
    }
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            tile[r][c] = w[r * m->stride_k + c * m->stride_n];
        }
    }
}

static void pack_tile_bf16(const matrix_bf16 *m, int64_t row, int64_t p, uint16_t *panels)
{
    uint16_t tile[TILE_ROWS][UK_PANEL];
    gather_bf16(m, row, p, tile);
    uint16_t *out = panels + (p * m->k + row) * UK_PANEL;
    int64_t rows = min_i64(TILE_ROWS, m->k - row);
    for (int64_t r = 0; r < rows; r++, out += UK_PANEL) {
        for (int c = 0; c < HALF; c++) {
            out[2 * c] = tile[r][c];
            out[2 * c + 1] = tile[r][c + HALF];
        }
    }
}

uk_packed uk_pack_bf16(const uint16_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    const matrix_bf16 m = {w, k, n, stride_k, stride_n};
    int64_t n_panels = ceil_div(n, UK_PANEL);
    if (stride_k == 1) {
        for (int64_t p = 0; p < n_panels; p++) {
            for (int64_t row = 0; row < k; row += TILE_ROWS) {
                pack_tile_bf16(&m, row, p, memory);
            }
        }
    } else {
        for (int64_t row = 0; row < k; row += TILE_ROWS) {
            for (int64_t p = 0; p < n_panels; p++) {
                pack_tile_bf16(&m, row, p, memory);
            }
        }
    }
    return (uk_packed){
        .k = k,
        .n = n,
        .n_panels = n_panels,
        .panel_bytes = k * UK_PANEL * (int64_t)sizeof *w,
        .panels = memory,
    };
}

/* ---- INT8 ---------------------------------------------------------------------------------------------------------------- */

typedef struct matrix_i8 {
    const int8_t *w;
    int64_t k, n, stride_k, stride_n;
} matrix_i8;

/* Rows from row on and the columns of panel p; what lies outside the matrix is zero. */
static void gather_i8(const matrix_i8 *m, int64_t row, int64_t p, int8_t tile[TILE_ROWS][UK_PANEL])
{
    const int8_t *w = m->w + row * m->stride_k + p * UK_PANEL * m->stride_n;
    int64_t rows = min_i64(TILE_ROWS, m->k - row), columns = min_i64(UK_PANEL, m->n - p * UK_PANEL);
    if (rows < TILE_ROWS || columns < UK_PANEL) {
        memset(tile, 0, TILE_ROWS * sizeof *tile);
    }
    if (m->stride_n == 1) {
        for (int64_t r = 0; r < rows; r++) {
            memcpy(tile[r], w + r * m->stride_k, (size_t)columns * sizeof *w);
        }
        return;
    }
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            tile[r][c] = w[r * m->stride_k + c * m->stride_n];
        }
    }
}

static void pack_tile_i8(const matrix_i8 *m, int64_t row, int64_t p, int8_t *panels, int32_t *correction)
{
    int8_t tile[TILE_ROWS][UK_PANEL];
    gather_i8(m, row, p, tile);
    int64_t groups = ceil_div(m->k, GROUP);
    int8_t *out = panels + (p * groups * GROUP + row) * UK_PANEL;
    int64_t end = min_i64(TILE_ROWS, groups * GROUP - row);
    for (int64_t r = 0; r < end; r += GROUP, out += GROUP * UK_PANEL) {
        for (int c = 0; c < UK_PANEL; c++) {
            for (int g = 0; g < GROUP; g++) {
                out[c * GROUP + g] = tile[r + g][c];
            }
        }
    }
    for (int64_t r = 0; r < end; r++) {
        for (int c = 0; c < UK_PANEL; c++) {
            correction[p * UK_PANEL + c] -= 128 * tile[r][c];
        }
    }
}

uk_packed uk_pack_i8(const int8_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    const matrix_i8 m = {w, k, n, stride_k, stride_n};
    int64_t n_panels = ceil_div(n, UK_PANEL), panel_bytes = ceil_div(k, GROUP) * GROUP * UK_PANEL;
    int32_t *correction = (int32_t *)((char *)memory + n_panels * panel_bytes);
    memset(correction, 0, (size_t)n_panels * UK_PANEL * sizeof *correction);
    if (stride_k == 1) {
        for (int64_t p = 0; p < n_panels; p++) {
            for (int64_t row = 0; row < k; row += TILE_ROWS) {
                pack_tile_i8(&m, row, p, memory, correction);
            }
        }
    } else {
        for (int64_t row = 0; row < k; row += TILE_ROWS) {
            for (int64_t p = 0; p < n_panels; p++) {
                pack_tile_i8(&m, row, p, memory, correction);
            }
        }
    }
    return (uk_packed){
        .k = k,
        .n = n,
        .n_panels = n_panels,
        .panel_bytes = panel_bytes,
        .panels = memory,
        .correction = correction,
    };
}
