/* kernels/check_fp.h - products with FP4 and FP8 weights of a row against those of the scalar one. */
#ifndef TESTS_KERNELS_CHECK_FP_H
#define TESTS_KERNELS_CHECK_FP_H

#include "kernels/row_case.h"

/* None, one group, several that take turns in slices, and so many that slices are long; tails of each. */
static const int64_t fp_rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 31, 48};
enum { N_FP_ROWS = sizeof fp_rows / sizeof *fp_rows };

static inline int64_t fp_group_rows(int64_t rows)
{
    return rows < UK_ROWS ? rows : UK_ROWS;
}

/* Elements from the first to the last of rows that lie ld apart. */
static inline int64_t fp_extent(int64_t rows, int64_t ld, int64_t width)
{
    return rows > 0 ? (rows - 1) * ld + width : 0;
}

/* ---- FP4 ------------------------------------------------------------------------------------------------------------------- */

/* Groups of rows as a row of the table packs them; they end at a forbidden page. */
static inline uk_acts tile_rows_fp4(const uk_table *row, int which, int64_t rows, int64_t k, const int8_t *x, int64_t ldx)
{
    int64_t group_rows = fp_group_rows(rows), bytes = uk_acts_bytes_fp4(group_rows, k);
    char *data = guarded_place(&inputs[which], (size_t)((rows + UK_ROWS - 1) / UK_ROWS * bytes), 0);
    for (int64_t i = 0; i < rows; i += UK_ROWS) {
        row->tile_fp4(rows - i < UK_ROWS ? rows - i : UK_ROWS, group_rows, k, x + i * ldx, ldx, data + i / UK_ROWS * bytes);
    }
    return (uk_acts){data, rows, group_rows, bytes};
}

/* Any weights; scales anywhere, near one, or at the ends of their range. */
static inline uint8_t *input_blocks_fp4(int which, int64_t k64, test_case *t)
{
    static const uint8_t ends[] = {0, 1, 2, 253, 254, 255};
    uint8_t *blocks = input_bytes(which, k64 * UK_BLOCK_BYTES_FP4, t);
    for (int64_t b = 0; b < k64; b++) {
        for (int c = 0; c < 2 * UK_PANEL; c++) {
            uint64_t r = draw_u64(&t->random);
            uint8_t near_one = (uint8_t)(112 + r % 32), end = ends[r % 6], any = (uint8_t)r;
            blocks[b * UK_BLOCK_BYTES_FP4 + c] = t->f == ORDINARY ? near_one : t->f == EXTREME ? end : any;
        }
    }
    return blocks;
}

static inline void check_gemm_fp4_shape(const uk_table *row, int64_t rows, int64_t k, test_case *t)
{
    t->n = k;
    int64_t ldx = k + 3, k64 = (k + UK_BLOCK_FP4 - 1) / UK_BLOCK_FP4;
    const int8_t *x = input_bytes(0, fp_extent(rows, ldx, k), t);
    const uint8_t *panel = input_blocks_fp4(1, k64, t);
    outputs c = place_outputs(fp_extent(rows, LDC, UK_PANEL), sizeof(float), t);
    ref->gemm_fp4(tile_rows_fp4(ref, 2, rows, k, x, ldx), k64, panel, c.want, LDC);
    row->gemm_fp4(tile_rows_fp4(row, 3, rows, k, x, ldx), k64, panel, c.got, LDC);
    expect_same_f32(c, t);
}

static inline void check_gemm_fp4(const uk_table *row, test_case *t)
{
    static const int64_t depths_fp4[] = {0, 1, 64, 100, 448, 576, 1080};
    for (int r = 0; r < N_FP_ROWS; r++) {
        for (size_t d = 0; d < sizeof depths_fp4 / sizeof *depths_fp4; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = d % 2 ? 0 : 64;
                check_gemm_fp4_shape(row, fp_rows[r], depths_fp4[d], t);
            }
        }
    }
}

/* Every depth and number of rows: nothing is written outside, and the products are those of the scalar row. */
static inline void check_tile_fp4(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        int64_t group_rows = 1 + (int64_t)t->step % UK_ROWS, rows = 1 + (int64_t)t->step / UK_ROWS % group_rows, ldx = t->n + 3;
        const int8_t *x = input_bytes(0, (rows - 1) * ldx + t->n, t);
        outputs y = place_outputs(uk_acts_bytes_fp4(group_rows, t->n), 1, t);
        row->tile_fp4(rows, group_rows, t->n, x, ldx, y.got);
        expect_intact(y, t);
        check_gemm_fp4_shape(row, group_rows, t->n, t);
    }
}

/* ---- FP8 ------------------------------------------------------------------------------------------------------------------- */

static inline uk_acts tile_rows_bf16(const uk_table *row, int which, int64_t rows, int64_t k, const uint16_t *x, int64_t ldx)
{
    int64_t group_rows = fp_group_rows(rows), bytes = uk_acts_bytes_bf16(row, group_rows, k);
    char *data = guarded_place(&inputs[which], (size_t)((rows + UK_ROWS - 1) / UK_ROWS * bytes), 0);
    for (int64_t i = 0; i < rows; i += UK_ROWS) {
        row->tile_bf16(rows - i < UK_ROWS ? rows - i : UK_ROWS, group_rows, k, x + i * ldx, ldx, data + i / UK_ROWS * bytes);
    }
    return (uk_acts){data, rows, group_rows, bytes};
}

static inline void check_gemm_fp4_bf16_shape(const uk_table *row, int64_t rows, int64_t k, test_case *t)
{
    t->n = k;
    int64_t ldx = k + 3;
    const uint16_t *x = input_bf16(0, fp_extent(rows, ldx, k), t);
    const uint8_t *panel = input_blocks_fp4(1, (k + UK_BLOCK_FP4 - 1) / UK_BLOCK_FP4, t);
    outputs c = place_outputs(fp_extent(rows, LDC, UK_PANEL), sizeof(float), t);
    ref->gemm_fp4_bf16(tile_rows_bf16(ref, 2, rows, k, x, ldx), k, panel, c.want, LDC);
    row->gemm_fp4_bf16(tile_rows_bf16(row, 3, rows, k, x, ldx), k, panel, c.got, LDC);
    expect_same_f32(c, t);
}

static inline void check_gemm_fp4_bf16(const uk_table *row, test_case *t)
{
    static const int64_t depths_fp4_bf16[] = {0, 32, 64, 96, 288, 512};
    for (int r = 0; r < N_FP_ROWS; r++) {
        for (size_t d = 0; d < sizeof depths_fp4_bf16 / sizeof *depths_fp4_bf16; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = d % 2 ? 0 : 64;
                check_gemm_fp4_bf16_shape(row, fp_rows[r], depths_fp4_bf16[d], t);
            }
        }
    }
}

static inline void check_gemm_fp8_shape(const uk_table *row, int64_t rows, int64_t k, test_case *t)
{
    t->n = k;
    int64_t ldx = k + 3, n_chunks = (k + UK_CHUNK - 1) / UK_CHUNK, panel_bytes = (k + 1) / 2 * 2 * UK_PANEL;
    const uint16_t *x = input_bf16(0, fp_extent(rows, ldx, k), t);
    uk_acts ref_acts = tile_rows_bf16(ref, 2, rows, k, x, ldx), row_acts = tile_rows_bf16(row, 3, rows, k, x, ldx);
    uint8_t *panel = guarded_place(&inputs[1], (size_t)panel_bytes, 0);
    float *scales = guarded_place(&inputs[0], (size_t)n_chunks * sizeof *scales, 0);
    for (int64_t i = 0; i < panel_bytes; i++) {
        uint8_t any = (uint8_t)draw_u64(&t->random); /* NaNs where activations are too */
        panel[i] = t->f == ANY_BITS || (any & 0x7f) != 0x7f ? any : 0;
    }
    for (int64_t b = 0; b < n_chunks; b++) {
        uint8_t any = (uint8_t)draw_u64(&t->random);
        scales[b] = num_f32_from_e8m0(t->f == ORDINARY ? 112 + any % 32 : any);
    }
    outputs c = place_outputs(fp_extent(rows, LDC, UK_PANEL), sizeof(float), t);
    ref->gemm_fp8(ref_acts, k, panel, scales, c.want, LDC);
    row->gemm_fp8(row_acts, k, panel, scales, c.got, LDC);
    expect_same_f32(c, t);
}

static inline void check_gemm_fp8(const uk_table *row, test_case *t)
{
    static const int64_t fp8_depths[] = {0, 1, 2, 3, 64, 127, 128, 130, 300};
    for (int r = 0; r < N_FP_ROWS; r++) {
        for (size_t d = 0; d < sizeof fp8_depths / sizeof *fp8_depths; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = d % 2 ? 0 : 64;
                check_gemm_fp8_shape(row, fp_rows[r], fp8_depths[d], t);
            }
        }
    }
}

#endif
