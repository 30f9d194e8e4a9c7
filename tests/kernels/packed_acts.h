/* kernels/packed_acts.h - activations as a row of the kernel table wants them. */
#ifndef TESTS_KERNELS_PACKED_ACTS_H
#define TESTS_KERNELS_PACKED_ACTS_H

#include "kernels/kernels.h"

/* A number of rows with the room that their groups have: 1 .. 8 rows with every room, more with that of UK_ROWS. */
typedef struct row_count {
    int64_t rows, group_rows;
} row_count;

enum { N_ROW_COUNTS = 36 + 32 + 1 };

static inline row_count nth_row_count(int n)
{
    for (int64_t rows = 1; rows <= UK_ROWS; rows++) {
        int n_rooms = (int)(UK_ROWS - rows + 1);
        if (n < n_rooms) {
            return (row_count){rows, rows + n};
        }
        n -= n_rooms;
    }
    return (row_count){n < 32 ? UK_ROWS + 1 + n : 128, UK_ROWS};
}

static inline int64_t groups_of(row_count m)
{
    return (m.rows + UK_ROWS - 1) / UK_ROWS;
}

static inline int64_t rows_in_group(row_count m, int64_t group)
{
    return m.rows - group * UK_ROWS < UK_ROWS ? m.rows - group * UK_ROWS : UK_ROWS;
}

/* Rows of x, ldx elements apart, packed into memory of groups_of(m) * group_bytes bytes. */
static inline uk_acts pack_bf16(const uk_table *row, row_count m, int64_t k, const uint16_t *x, int64_t ldx, char *memory,
                                int64_t group_bytes)
{
    for (int64_t g = 0; g < groups_of(m); g++) {
        row->tile_bf16(rows_in_group(m, g), m.group_rows, k, x + g * UK_ROWS * ldx, ldx, memory + g * group_bytes);
    }
    return (uk_acts){memory, m.rows, m.group_rows, group_bytes};
}

/* What the packer makes of a panel of INT8 weights. */
static inline void panel_correction(int64_t k4, const int8_t *panel, int32_t correction[UK_PANEL])
{
    for (int j = 0; j < UK_PANEL; j++) {
        correction[j] = 0;
        for (int64_t k = 0; k < 4 * k4; k++) {
            correction[j] -= 128 * panel[(k / 4 * UK_PANEL + j) * 4 + k % 4];
        }
    }
}

static inline uk_acts pack_i8(const uk_table *row, row_count m, int64_t k, const int8_t *x, int64_t ldx, char *memory,
                              int64_t group_bytes)
{
    for (int64_t g = 0; g < groups_of(m); g++) {
        row->tile_i8(rows_in_group(m, g), m.group_rows, k, x + g * UK_ROWS * ldx, ldx, memory + g * group_bytes);
    }
    return (uk_acts){memory, m.rows, m.group_rows, group_bytes};
}

#endif
