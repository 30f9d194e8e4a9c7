/* kernels/avx2/products.h - products of activations and a stream of weight steps (stream.h), eight columns a register: the loops
 * around one pass over a slice of a panel, which the files of the products supply.
 *
 * Eight of the sixteen registers hold sums: those of four rows and 16 columns, which share every weight that is widened, or of two
 * rows and 32. A slice that has come near with the first pass serves the others. */
#ifndef KERNELS_AVX2_PRODUCTS_H
#define KERNELS_AVX2_PRODUCTS_H

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/stream.h"

enum {
    PANEL_VECTORS = UK_PANEL / AVX2_STEP,
    PASS_ROWS = 4, /* at most: of half of the columns */
    WIDE_ROWS = 2, /* of all columns */
    /* How far ahead a single pass requests on processors of this instruction set, and one that multiplies slower than it reads. Zen 3
     * streams 5 to 10 % faster with them than with 8 KB. */
    AHEAD_OF_ONE_PASS = 2048,
    AHEAD_OF_SLOW_PASS = 1024,
};

/* Of a step of BF16 weights, two k of a column in each lane: the weights of one k as FP32. */
typedef __m256 half_fn(__m256i pairs);

UK_INLINE __m256 odd_half(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000)));
}

UK_INLINE __m256 even_half(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

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

/* The sums of m rows and 8*n columns from the beginning of c on. Each step requests n_lines lines. */
typedef void pass_fn(const int m, const int n, const int n_lines, const pass_slice *s);

/* m <= 8 rows, of which each has row_bytes of a step. Requests are spread over the passes, so that memory never waits. */
typedef void rows_fn(pass_fn *pass, int64_t m, int64_t row_bytes, pass_slice s);

UK_INLINE void request_lines(const int n_lines, const char *wanted)
{
    UK_UNROLL
    for (int line = 0; line < n_lines; line++) {
        _mm_prefetch(wanted + 64 * line, _MM_HINT_T0);
    }
}

/* A single pass of one or two rows. */
UK_INLINE void pass_alone(pass_fn *pass, const int m, pass_slice s)
{
    if (s.wanted > s.panel) {
        s.wanted = s.panel + s.ahead;
    }
    s.wanted_step = STEP_BYTES;
    pass(m, PANEL_VECTORS, STEP_BYTES / 64, &s);
}

/* What one of several passes requests a step. */
UK_INLINE int64_t share_of_step(int64_t n_passes)
{
    return (STEP_BYTES + n_passes - 1) / n_passes;
}

/* m rows, 16 columns at a time. */
UK_INLINE pass_slice pass_halves(pass_fn *pass, const int m, pass_slice s)
{
    pass_slice half = s;
    for (int h = 0; h < 2; h++) {
        pass(m, PANEL_VECTORS / 2, 1, &half);
        half.panel += STEP_BYTES / 2;
        half.c += PANEL_VECTORS / 2 * sizeof(__m256);
        half.wanted += s.n_steps * s.wanted_step;
    }
    s.wanted = half.wanted;
    return s;
}

/* Four rows and 16 columns: least work on weights. */
UK_INLINE void pass_fours(pass_fn *pass, int64_t m, int64_t row_bytes, pass_slice s)
{
    s.wanted_step = share_of_step(m <= PASS_ROWS ? 2 : m <= PASS_ROWS + 2 ? 3 : 4);
    for (; m >= PASS_ROWS; m -= PASS_ROWS, s.a += PASS_ROWS * row_bytes, s.c += PASS_ROWS * s.c_step) {
        s = pass_halves(pass, PASS_ROWS, s);
    }
    if (m == 3) {
        pass_halves(pass, 3, s);
    } else if (m == 2) {
        pass(2, PANEL_VECTORS, 1, &s);
    } else if (m == 1) {
        pass(1, PANEL_VECTORS, 1, &s);
    }
}

/* Two rows and all columns: fewest loads where a row has two lanes a step. */
UK_INLINE void pass_twos(pass_fn *pass, int64_t m, int64_t row_bytes, pass_slice s)
{
    s.wanted_step = share_of_step((m + WIDE_ROWS - 1) / WIDE_ROWS);
    for (; m >= WIDE_ROWS; m -= WIDE_ROWS, s.a += WIDE_ROWS * row_bytes, s.c += WIDE_ROWS * s.c_step) {
        pass(WIDE_ROWS, PANEL_VECTORS, 1, &s);
        s.wanted += s.n_steps * s.wanted_step;
    }
    if (m == 1) {
        pass(1, PANEL_VECTORS, 1, &s);
    }
}

/* One slice. */
UK_INLINE void pass_rows(rows_fn *in, pass_fn *pass, int64_t m, int64_t row_bytes, pass_slice s)
{
    if (m == 1) {
        pass_alone(pass, 1, s);
    } else if (m == 2) {
        pass_alone(pass, 2, s);
    } else {
        in(pass, m, row_bytes, s);
    }
}

/* The whole product; its activations have row_bytes of a row and step. */
UK_INLINE void pass_groups(rows_fn *in, pass_fn *pass, int64_t ahead, const uk_acts *a, int64_t row_bytes, int64_t n_steps,
                           const void *panel, void *c, int64_t c_step)
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
                pass_rows(in, pass, rows_of_group(a, g), row_bytes, s);
            }
            step += SLICE_STEPS;
        } while (step < n_steps);
    }
}

#endif
