/* kernels/avx2/products.h - products of activations and a stream of weight steps (stream.h), eight columns a register: the loops
 * around one pass over a slice of a panel, which the files of the products supply.
 *
 * Eight of the sixteen registers hold sums: those of four rows and 16 columns, or of two rows and 32. Four rows share every weight
 * that is loaded or widened; a slice that has come near with the first pass serves the others. */
#ifndef KERNELS_AVX2_PRODUCTS_H
#define KERNELS_AVX2_PRODUCTS_H

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/stream.h"

enum {
    PANEL_VECTORS = UK_PANEL / AVX2_STEP,
    PASS_ROWS = 4,
    /* How far ahead a single pass requests on processors of this instruction set, and one that multiplies slower than it reads. Zen 3
     * streams 5 to 10 % faster with them than with 8 KB. */
    AHEAD_OF_ONE_PASS = 2048,
    AHEAD_OF_SLOW_PASS = 1024,
};

/* A slice of a panel, for some rows of a group. */
typedef struct pass_slice {
    const char *a; /* of the first row */
    const char *panel;
    char *c;                /* the sums of 32 columns of four bytes each, row by row */
    int64_t a_step, c_step; /* bytes, from step to step and from row to row */
    int64_t n_steps;
    const char *wanted;  /* what to request meanwhile: the slice behind this one, or this one, which is near */
    int64_t wanted_step; /* bytes a step */
    int64_t ahead;       /* bytes: a single pass wants what comes so much behind its step, not the next slice */
    bool first;          /* of the panel */
} pass_slice;

/* The sums of m rows and 8*n columns from the beginning of c on. */
typedef void pass_fn(const int m, const int n, const pass_slice *s);

/* Requests the lines of a step of n vectors. */
UK_INLINE void request_step(const int n, const char *wanted)
{
    UK_UNROLL
    for (int line = 0; line < n / 2; line++) {
        _mm_prefetch(wanted + 64 * line, _MM_HINT_T0);
    }
}

/* m rows, 16 columns at a time. */
UK_INLINE void pass_halves(pass_fn *pass, const int m, pass_slice s)
{
    pass(m, PANEL_VECTORS / 2, &s);
    s.panel += STEP_BYTES / 2;
    s.c += PANEL_VECTORS / 2 * sizeof(__m256);
    s.wanted += s.n_steps * s.wanted_step;
    pass(m, PANEL_VECTORS / 2, &s);
}

/* m <= 8 rows, of which each has row_bytes of a step. Requests are spread over the passes, so that memory never waits. */
UK_INLINE void pass_rows(pass_fn *pass, int64_t m, int64_t row_bytes, pass_slice s)
{
    s.wanted_step = m == 2 * PASS_ROWS ? STEP_BYTES / 4 : m > 2 ? STEP_BYTES / 2 : STEP_BYTES;
    if (m <= 2 && s.wanted > s.panel) {
        s.wanted = s.panel + s.ahead;
    }
    for (; m >= PASS_ROWS; m -= PASS_ROWS, s.a += PASS_ROWS * row_bytes, s.c += PASS_ROWS * s.c_step) {
        pass_halves(pass, PASS_ROWS, s);
        s.wanted += 2 * s.n_steps * s.wanted_step;
    }
    if (m == 3) {
        pass_halves(pass, 3, s);
    } else if (m == 2) {
        pass(2, PANEL_VECTORS, &s);
    } else if (m == 1) {
        pass(1, PANEL_VECTORS, &s);
    }
}

/* The whole product; its activations have row_bytes of a row and step. */
UK_INLINE void pass_groups(pass_fn *pass, int64_t ahead, const uk_acts *a, int64_t row_bytes, int64_t n_steps, const void *panel,
                           void *c, int64_t c_step)
{
    int64_t n_groups = (a->rows + UK_ROWS - 1) / UK_ROWS, in_turn = groups_in_turn(n_groups), a_step = row_bytes * a->group_rows;
    for (int64_t begin = 0; begin < n_groups; begin += in_turn) {
        int64_t step = 0;
        do {
            for (int64_t g = begin; g < begin + in_turn; g++) {
                pass_slice s = {.a = (const char *)a->data + g * a->group_bytes + step * a_step,
                                .panel = (const char *)panel + step * STEP_BYTES,
                                .c = (char *)c + g * UK_ROWS * c_step,
                                .a_step = a_step,
                                .c_step = c_step,
                                .n_steps = n_steps - step < SLICE_STEPS ? n_steps - step : SLICE_STEPS,
                                .wanted = (const char *)panel + (g == 0 ? (step + SLICE_STEPS) : step) * STEP_BYTES,
                                .ahead = ahead,
                                .first = step == 0};
                pass_rows(pass, rows_of_group(a, g), row_bytes, s);
            }
            step += SLICE_STEPS;
        } while (step < n_steps);
    }
}

#endif
