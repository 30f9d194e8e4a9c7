/* kernels/avx2/gemm_fp4.c - INT8 x FP4 products: a table look-up makes a nibble an unsigned byte, the doubled weight plus 12, which
 * vpmaddubsw multiplies by the signed activations. Pairs of products are at most 2 * 24 * 128 in size, so four steps of them fit in
 * INT16. The sums of 32 k begin at -12 times the sum of the activations, which takes the 12 out again.
 *
 * A half of a line, 32 bytes, has eight columns in its low nibbles and the eight that come 16 later in its high ones. The weights of
 * four half lines are taken apart once, into eight registers, for all rows of a group. */
#include "kernels/avx2/tile_fp4.h"

#include "kernels/avx2/products.h"

enum { LINE = 64, STEPS_IN_INT16 = 4 };

/* Half of 2^(e - 127), also of 0, which makes a denormal; NaN of 255. */
UK_INLINE __m256 scales_of(const uint8_t *e)
{
    const __m256i infinity = _mm256_set1_epi32(0x7f800000);
    __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)e)), 23);
    __m256i is_nan = _mm256_cmpeq_epi32(bits, infinity);
    bits = _mm256_or_si256(_mm256_max_epu32(bits, _mm256_set1_epi32(0x00400000)), is_nan);
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f));
}

UK_INLINE __m256i weights_of(__m256i nibbles)
{
    const __m256i biased = _mm256_broadcastsi128_si256(_mm_setr_epi8(UK_FP4_BIASED));
    return _mm256_shuffle_epi8(biased, _mm256_and_si256(nibbles, _mm256_set1_epi8(0x0f)));
}

/* Of four steps of half lines: the weights of the low and of the high nibbles. */
typedef struct step_weights {
    __m256i low[STEPS_IN_INT16], high[STEPS_IN_INT16];
} step_weights;

UK_INLINE step_weights steps_of(const uint8_t *half_lines)
{
    step_weights w;
    UK_UNROLL
    for (int s = 0; s < STEPS_IN_INT16; s++) {
        __m256i nibbles = _mm256_load_si256((const __m256i *)(half_lines + s * LINE));
        w.low[s] = weights_of(nibbles);
        w.high[s] = weights_of(_mm256_srli_epi16(nibbles, 4));
    }
    return w;
}

/* INT32 sums of eight columns each. */
typedef struct half_sums {
    __m256i low, high;
} half_sums;

/* Adds four steps of a row. */
UK_INLINE half_sums add_steps(half_sums sums, const step_weights *w, const char *a, int64_t a_step)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    UK_UNROLL
    for (int s = 0; s < STEPS_IN_INT16; s++) {
        __m256i x = avx2_broadcast_lane(a + s * a_step);
        low = _mm256_add_epi16(low, _mm256_maddubs_epi16(w->low[s], x));
        high = _mm256_add_epi16(high, _mm256_maddubs_epi16(w->high[s], x));
    }
    return (half_sums){_mm256_add_epi32(sums.low, _mm256_madd_epi16(low, ones)),
                       _mm256_add_epi32(sums.high, _mm256_madd_epi16(high, ones))};
}

UK_INLINE void add_scaled(float *c, __m256i sum, __m256 scale)
{
    _mm256_storeu_ps(c, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, _mm256_loadu_ps(c)));
}

/* c += the products of one group of 32 k with the columns of the half lines. */
UK_INLINE void add_group(const int m, const char *a, int64_t a_step, const uint8_t *e, const uint8_t *half_lines, float *c,
                         int64_t ldc)
{
    half_sums sums[UK_ROWS];
    step_weights w = steps_of(half_lines);
    for (int i = 0; i < m; i++) {
        __m256i first = avx2_broadcast_lane(a + 4 * i);
        sums[i] = add_steps((half_sums){first, first}, &w, a + a_step + 4 * i, a_step);
    }
    w = steps_of(half_lines + STEPS_IN_INT16 * LINE);
    __m256 scale_low = scales_of(e), scale_high = scales_of(e + UK_PANEL / 2);
    for (int i = 0; i < m; i++) {
        half_sums all = add_steps(sums[i], &w, a + (1 + STEPS_IN_INT16) * a_step + 4 * i, a_step);
        add_scaled(c + i * ldc, all.low, scale_low);
        add_scaled(c + i * ldc + UK_PANEL / 2, all.high, scale_high);
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

/* A group of m rows. The first one pulls the panel from memory. */
UK_INLINE void gemm_group(const int m, const bool is_first, int64_t k64, const char *a, int64_t a_step, const uint8_t *panel,
                          float *c, int64_t ldc)
{
    for (int i = 0; i < m; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t block = 0; block < k64; block++, panel += UK_BLOCK_BYTES_FP4) {
        if (is_first) {
            request_block(panel, m == 1 ? AHEAD_OF_ONE_PASS : AHEAD_OF_ONE_GROUP);
        }
        for (int g = 0; g < UK_BLOCK_FP4 / UK_GROUP_FP4; g++, a += FP4_GROUP_LANES * a_step) {
            const uint8_t *e = panel + g * UK_PANEL, *lines = panel + (1 + g * UK_FP4_STEPS) * LINE;
            add_group(m, a, a_step, e, lines, c, ldc);
            add_group(m, a, a_step, e + 8, lines + LINE / 2, c + 8, ldc);
        }
    }
}

void uk_avx2_tile_fp4(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    tile_fp4(rows, group_rows, k, x, ldx, dst);
}

void uk_avx2_gemm_fp4(uk_acts a, int64_t k64, const uint8_t *panel, float *c, int64_t ldc)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, a_step = 4 * a.group_rows;
    if (a.rows == 1) {
        gemm_group(1, true, k64, a.data, a_step, panel, c, ldc);
        return;
    }
    for (int64_t g = 0; g < n_groups; g++) {
        gemm_group((int)rows_of_group(&a, g), g == 0, k64, (const char *)a.data + g * a.group_bytes, a_step, panel,
                   c + g * UK_ROWS * ldc, ldc);
    }
}
