/* kernels/avx2/gemm_fp4.c - INT8 x FP4 products: a table look-up makes a nibble an unsigned byte, the doubled weight plus 12, which
 * vpmaddubsw multiplies by the signed activations. Sums of 16 k are taken modulo 2^16: they begin at -12 times the sum of their
 * activations, which takes the 12 out again, and end at no more than 12 * 128 * 16 in size, which INT16 holds.
 *
 * A half of a line, 32 bytes, has eight columns in its low nibbles and the eight that come 16 later in its high ones. Four rows share
 * weights that are taken apart on the way, so that all sums stay in registers. */
#include <math.h>

#include "kernels/avx2/tile_fp4.h"

#include "kernels/avx2/products.h"

enum { LINE = 64 };

/* Half of 2^(e - 127), also of 0, which makes a denormal; of 255 whatever (mark_nans). */
UK_INLINE __m256 scales_of(const uint8_t *e)
{
    __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)e)), 23);
    bits = _mm256_max_epu32(bits, _mm256_set1_epi32(0x00400000));
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f));
}

UK_INLINE __m256i weights_of(__m256i nibbles)
{
    const __m256i biased = _mm256_broadcastsi128_si256(_mm_setr_epi8(UK_FP4_BIASED));
    return _mm256_shuffle_epi8(biased, _mm256_and_si256(nibbles, _mm256_set1_epi8(0x0f)));
}

/* Of eight columns each, the sums of the even and of the odd pairs of k, modulo 2^16. */
typedef struct half_sums {
    __m256i low, high;
} half_sums;

/* Adds the products of a step: four activations with the weights of the low and of the high nibbles. */
UK_INLINE void add_step(const char *a, __m256i low, __m256i high, half_sums *sums)
{
    __m256i x = avx2_broadcast_lane(a);
    sums->low = _mm256_add_epi16(sums->low, _mm256_maddubs_epi16(low, x));
    AVX2_IN_TURN(sums->low);
    sums->high = _mm256_add_epi16(sums->high, _mm256_maddubs_epi16(high, x));
    AVX2_IN_TURN(sums->high);
}

UK_INLINE void add_scaled(float *c, __m256i sums, __m256 scale)
{
    __m256 sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
    _mm256_storeu_ps(c, _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(c)));
}

/* One group of 32 k and the columns of the half lines: activations whose lanes lie a_step apart, scales, sums. */
typedef struct half_group {
    const char *a;
    int64_t a_step;
    const uint8_t *e, *half_lines;
    float *c;
    int64_t ldc;
} half_group;

UK_INLINE half_sums begin_sums(const half_group *g, int row)
{
    __m256i first = avx2_broadcast_lane(g->a + 4 * row);
    return (half_sums){first, first};
}

UK_INLINE void end_sums(const half_group *g, int row, half_sums sums, __m256 scale_low, __m256 scale_high)
{
    add_scaled(g->c + row * g->ldc, sums.low, scale_low);
    add_scaled(g->c + row * g->ldc + UK_PANEL / 2, sums.high, scale_high);
}

/* c += the products of m <= PASS_ROWS rows. */
UK_INLINE void add_rows(const int m, const half_group *g)
{
    half_sums sums[PASS_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        sums[i] = begin_sums(g, i);
    }
    UK_UNROLL
    for (int s = 0; s < UK_FP4_STEPS; s++) {
        __m256i nibbles = _mm256_load_si256((const __m256i *)(g->half_lines + s * LINE));
        __m256i low = weights_of(nibbles), high = weights_of(_mm256_srli_epi16(nibbles, 4));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            add_step(g->a + (1 + s) * g->a_step + 4 * i, low, high, &sums[i]);
        }
    }
    __m256 scale_low = scales_of(g->e), scale_high = scales_of(g->e + UK_PANEL / 2);
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        end_sums(g, i, sums[i], scale_low, scale_high);
    }
}

/* Requests what comes `ahead` bytes behind a block. */
UK_INLINE void request_block(const uint8_t *block, int64_t ahead)
{
    UK_UNROLL_ALL
    for (int64_t line = 0; line < UK_BLOCK_BYTES_FP4; line += LINE) {
        request(block + line, ahead);
    }
}

/* Where a scale of a column is 255, its sums are NaN. */
static void mark_nans(int m, __m256i is_nan, float *c, int64_t ldc)
{
    uint32_t columns = (uint32_t)_mm256_movemask_epi8(is_nan);
    for (int j = 0; columns != 0; j++, columns >>= 1) {
        for (int i = 0; i < m && columns % 2 != 0; i++) {
            c[i * ldc + j] = NAN;
        }
    }
}

/* A group of m rows. The first one pulls the panel from memory. */
UK_INLINE void gemm_group(const int m, const bool is_first, int64_t k64, const char *a, int64_t a_step, const uint8_t *panel,
                          float *c, int64_t ldc)
{
    for (int i = 0; i < m; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    __m256i is_nan = _mm256_setzero_si256();
    for (int64_t block = 0; block < k64; block++, panel += UK_BLOCK_BYTES_FP4) {
        if (is_first) {
            request_block(panel, m == 1 ? AHEAD_OF_ONE_PASS : AHEAD_OF_ONE_GROUP);
        }
        for (int g = 0; g < UK_BLOCK_FP4 / UK_GROUP_FP4; g++, a += FP4_GROUP_LANES * a_step) {
            const uint8_t *e = panel + g * UK_PANEL, *lines = panel + (1 + g * UK_FP4_STEPS) * LINE;
            is_nan = _mm256_or_si256(is_nan, _mm256_cmpeq_epi8(_mm256_load_si256((const __m256i *)e), _mm256_set1_epi8(-1)));
            for (int half = 0; half < 2; half++) {
                half_group of = {a, a_step, e + 8 * half, lines + half * LINE / 2, c + 8 * half, ldc};
                add_rows(m < PASS_ROWS ? m : PASS_ROWS, &of);
                if (m > PASS_ROWS) {
                    of.a += 4 * PASS_ROWS;
                    of.c += PASS_ROWS * ldc;
                    add_rows(m - PASS_ROWS, &of);
                }
            }
        }
    }
    mark_nans(m, is_nan, c, ldc);
}

/* Of the first and of the second two of every four activations. */
UK_INLINE void sums_in_int16(const int8_t *x, int64_t n, char *dst)
{
    int16_t sums[2] = {0, 0};
    for (int64_t v = 0; v < n; v++) {
        sums[v / 2 % 2] = (int16_t)(sums[v / 2 % 2] - UK_FP4_BIAS * x[v]);
    }
    memcpy(dst, sums, sizeof sums);
}

void uk_avx2_tile_fp4(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    tile_fp4(rows, group_rows, k, x, ldx, sums_in_int16, dst);
}

void uk_avx2_gemm_fp4(uk_acts a, int64_t k64, const uint8_t *panel, float *c, int64_t ldc)
{
#define CASE(m)                                                               \
    case m:                                                                   \
        gemm_group(m, g == 0, k64, rows, 4 * a.group_rows, panel, sums, ldc); \
        break;
    for (int64_t g = 0; g < (a.rows + UK_ROWS - 1) / UK_ROWS; g++) {
        const char *rows = (const char *)a.data + g * a.group_bytes;
        float *sums = c + g * UK_ROWS * ldc;
        switch (rows_of_group(&a, g)) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
        }
    }
#undef CASE
}
