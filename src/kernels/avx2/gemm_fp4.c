/* kernels/avx2/gemm_fp4.c - INT8 x FP4 products: a table look-up makes a nibble an unsigned byte, the doubled weight plus 12, which
 * vpmaddubsw multiplies by the signed activations. Pairs of products are at most 2 * 24 * 128 in size, so four steps of them fit in
 * INT16. The sums of 32 k begin at -12 times the sum of the activations, which takes the 12 out again.
 *
 * A half of a line, 32 bytes, has eight columns in its low nibbles and the eight that come 16 later in its high ones. */
#include "kernels/avx2/tile_fp4.h"

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/stream.h"

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

/* Adds four steps of half lines to the INT32 sums of the low and high nibbles. */
UK_INLINE void add_steps(const int m, const char *a, int64_t a_step, const uint8_t *half_lines, __m256i *low, __m256i *high)
{
    __m256i low16[2], high16[2];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        low16[i] = high16[i] = _mm256_setzero_si256();
    }
    UK_UNROLL
    for (int s = 0; s < STEPS_IN_INT16; s++) {
        __m256i nibbles = _mm256_load_si256((const __m256i *)(half_lines + s * LINE));
        __m256i w_low = weights_of(nibbles), w_high = weights_of(_mm256_srli_epi16(nibbles, 4));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m256i x = avx2_broadcast_lane(a + s * a_step + 4 * i);
            low16[i] = _mm256_add_epi16(low16[i], _mm256_maddubs_epi16(w_low, x));
            high16[i] = _mm256_add_epi16(high16[i], _mm256_maddubs_epi16(w_high, x));
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(low16[i], _mm256_set1_epi16(1)));
        high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(high16[i], _mm256_set1_epi16(1)));
    }
}

UK_INLINE void add_scaled(float *c, __m256i sum, __m256 scale)
{
    _mm256_storeu_ps(c, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, _mm256_loadu_ps(c)));
}

/* c += the products of one group of 32 k with the columns of the half lines. */
UK_INLINE void add_group(const int m, const char *a, int64_t a_step, const uint8_t *e, const uint8_t *half_lines, float *c,
                         int64_t ldc)
{
    __m256i low[2], high[2];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        low[i] = high[i] = avx2_broadcast_lane(a + 4 * i);
    }
    for (int s = 0; s < UK_FP4_STEPS; s += STEPS_IN_INT16) {
        add_steps(m, a + (1 + s) * a_step, a_step, half_lines + s * LINE, low, high);
    }
    __m256 scale_low = scales_of(e), scale_high = scales_of(e + UK_PANEL / 2);
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        add_scaled(c + i * ldc, low[i], scale_low);
        add_scaled(c + i * ldc + UK_PANEL / 2, high[i], scale_high);
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

/* Two rows, or one. The first pass over a panel pulls it from memory. */
UK_INLINE void gemm_pass(const int m, const bool is_first, int64_t k64, const char *a, int64_t a_step, const uint8_t *panel,
                         float *c, int64_t ldc)
{
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t block = 0; block < k64; block++, panel += UK_BLOCK_BYTES_FP4) {
        if (is_first) {
            request_block(panel, AHEAD_OF_ONE_GROUP);
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
    for (int64_t i = 0; i < a.rows; i += 2) {
        const char *x = (const char *)a.data + i / UK_ROWS * a.group_bytes + 4 * (i % UK_ROWS);
        if (a.rows == 1) {
            gemm_pass(1, true, k64, x, 4 * a.group_rows, panel, c + i * ldc, ldc);
        } else if (i == 0) {
            gemm_pass(2, true, k64, x, 4 * a.group_rows, panel, c + i * ldc, ldc);
        } else if (i + 1 < a.rows) {
            gemm_pass(2, false, k64, x, 4 * a.group_rows, panel, c + i * ldc, ldc);
        } else {
            gemm_pass(1, false, k64, x, 4 * a.group_rows, panel, c + i * ldc, ldc);
        }
    }
}
