/* kernels/avx2/widened.h - products of BF16 activations and weights of eight or four bits, which become BF16 in registers.
 *
 * A panel is a stream of lines, of which each half has two vectors of columns: half h columns 8h .. 8h+7 and 16+8h .. 16+8h+7. A
 * chunk of it, the rows of one scale, serves all rows of activations, four at a time; the first four widen it and keep the BF16
 * values for the others. */
#ifndef KERNELS_AVX2_WIDENED_H
#define KERNELS_AVX2_WIDENED_H

#include "kernels/avx2/products.h"

enum { HALVES = 2, HALF_VECTORS = 2, MAX_PAIRS = 2, LINE = 64, ACT_BYTES = sizeof(float), ROW_BYTES = 2 * ACT_BYTES };

/* How weights lie and what makes them BF16: pairs[p][e] are two rows of the columns of vector e, as in a BF16 panel. */
typedef struct widener {
    void (*widen)(const uint8_t *half_line, __m256i (*pairs)[HALF_VECTORS]);
    int n_pairs; /* of rows in a line */
    int line_bytes;
} widener;

/* A chunk, for some rows. */
typedef struct widened_chunk {
    const char *a;
    int64_t a_step; /* bytes from pair to pair */
    const uint8_t *lines;
    int64_t n_lines, ahead;
    __m256 scales[HALVES][HALF_VECTORS];
    __m256i *kept; /* [n_lines * n_pairs][HALVES][HALF_VECTORS] */
    float *c;
    int64_t ldc;
} widened_chunk;

UK_INLINE void widen_kept(const uint8_t *half_line, __m256i (*pairs)[HALF_VECTORS])
{
    pairs[0][0] = _mm256_load_si256((const __m256i *)half_line);
    pairs[0][1] = _mm256_load_si256((const __m256i *)half_line + 1);
}

static const widener kept_widener = {widen_kept, 1, HALVES *HALF_VECTORS *(int)sizeof(__m256i)};

/* sums += the products of one pair of rows with one half of the columns. */
UK_INLINE void add_pair(const int m, const float *x, const __m256i *pair, __m256 (*sums)[HALF_VECTORS])
{
    __m256 odd[HALF_VECTORS], even[HALF_VECTORS];
    UK_UNROLL
    for (int e = 0; e < HALF_VECTORS; e++) {
        odd[e] = odd_half(pair[e]);
        even[e] = even_half(pair[e]);
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256 first = _mm256_set1_ps(x[2 * i]), second = _mm256_set1_ps(x[2 * i + 1]);
        UK_UNROLL
        for (int e = 0; e < HALF_VECTORS; e++) {
            sums[i][e] = _mm256_fmadd_ps(first, even[e], _mm256_fmadd_ps(second, odd[e], sums[i][e]));
        }
    }
}

/* c += scales * the sums of m rows and of the halves [half, half + n_halves). */
UK_INLINE void widened_pass(const widener *of, const bool keeps, const int m, const int half, const int n_halves,
                            const widened_chunk *s)
{
    __m256 sums[HALVES][PASS_ROWS][HALF_VECTORS];
    UK_UNROLL
    for (int h = 0; h < n_halves; h++) {
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            sums[h][i][0] = sums[h][i][1] = _mm256_setzero_ps();
        }
    }
    const char *a = s->a;
    const uint8_t *line = s->lines;
    __m256i *kept = s->kept;
    for (int64_t n = s->n_lines; n > 0; n--, line += of->line_bytes, a += of->n_pairs * s->a_step) {
        if (half == 0 && s->ahead != 0) {
            request(line, s->ahead);
        }
        UK_UNROLL
        for (int h = 0; h < n_halves; h++) {
            __m256i pairs[MAX_PAIRS][HALF_VECTORS];
            of->widen(line + (half + h) * (of->line_bytes / HALVES), pairs);
            UK_UNROLL
            for (int p = 0; p < of->n_pairs; p++) {
                if (keeps) {
                    _mm256_store_si256(kept + (p * HALVES + half + h) * HALF_VECTORS, pairs[p][0]);
                    _mm256_store_si256(kept + (p * HALVES + half + h) * HALF_VECTORS + 1, pairs[p][1]);
                }
                add_pair(m, (const float *)(a + p * s->a_step), pairs[p], sums[h]);
            }
        }
        kept += keeps ? of->n_pairs * HALVES * HALF_VECTORS : 0;
    }
    UK_UNROLL
    for (int h = 0; h < n_halves; h++) {
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            UK_UNROLL
            for (int e = 0; e < HALF_VECTORS; e++) {
                float *c = s->c + i * s->ldc + (half + h) * AVX2_STEP + e * UK_PANEL / 2;
                _mm256_storeu_ps(c, _mm256_fmadd_ps(s->scales[half + h][e], sums[h][i][e], _mm256_loadu_ps(c)));
            }
        }
    }
}

/* All columns of m <= 4 rows. */
UK_INLINE void widened_rows(const widener *of, int64_t m, const widened_chunk *s)
{
    if (m == 4) {
        widened_pass(of, false, 4, 0, 1, s);
        widened_pass(of, false, 4, 1, 1, s);
    } else if (m == 3) {
        widened_pass(of, false, 3, 0, 1, s);
        widened_pass(of, false, 3, 1, 1, s);
    } else if (m == 2) {
        widened_pass(of, false, 2, 0, HALVES, s);
    } else if (m == 1) {
        widened_pass(of, false, 1, 0, HALVES, s);
    }
}

/* A chunk for all rows of a; s has what the first ones need. */
UK_INLINE void widened_groups(const widener *of, const uk_acts *a, widened_chunk *s)
{
    if (a->rows <= PASS_ROWS) {
        widened_rows(of, a->rows, s);
        return;
    }
    widened_pass(of, true, PASS_ROWS, 0, 1, s);
    widened_pass(of, true, PASS_ROWS, 1, 1, s);
    widened_chunk others = *s;
    others.lines = (const uint8_t *)s->kept;
    others.n_lines = s->n_lines * of->n_pairs;
    others.ahead = 0;
    for (int64_t i = PASS_ROWS; i < a->rows; i += PASS_ROWS) {
        others.a = s->a + i / UK_ROWS * a->group_bytes + i % UK_ROWS * ROW_BYTES;
        others.c = s->c + i * s->ldc;
        widened_rows(&kept_widener, a->rows - i < PASS_ROWS ? a->rows - i : PASS_ROWS, &others);
    }
}

/* Zeros for the sums to begin with. */
UK_INLINE void clear_sums(int64_t rows, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < rows; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
}

#endif
