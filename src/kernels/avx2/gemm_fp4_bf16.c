/* kernels/avx2/gemm_fp4_bf16.c - BF16 x FP4 products: two table look-ups make the bytes of a BF16 value of a nibble. */
#include "kernels/avx2/widened.h"

enum { GROUP_PAIRS = UK_GROUP_FP4 / 2, GROUP_BYTES = UK_FP4_STEPS * LINE };

/* Four rows of eight columns, a nibble in each byte, as two pairs. */
UK_INLINE void widen_nibbles(__m256i nibbles, __m256i *first, __m256i *second)
{
    const __m256i low_bytes = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40, 0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40));
    const __m256i high_bytes = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, -0x80, -0x41, -0x41, -0x41, -0x40, -0x40, -0x40, -0x40));
    enum { EVEN = 0x88, ODD = 0xdd };
    __m256i low = _mm256_shuffle_epi8(low_bytes, nibbles), high = _mm256_shuffle_epi8(high_bytes, nibbles);
    __m256 left = _mm256_castsi256_ps(_mm256_unpacklo_epi8(low, high)),
           right = _mm256_castsi256_ps(_mm256_unpackhi_epi8(low, high));
    *first = _mm256_castps_si256(_mm256_shuffle_ps(left, right, EVEN));
    *second = _mm256_castps_si256(_mm256_shuffle_ps(left, right, ODD));
}

UK_INLINE void widen_e2m1(const uint8_t *half_line, __m256i (*pairs)[HALF_VECTORS])
{
    const __m256i low_nibble = _mm256_set1_epi8(0x0f);
    __m256i bytes = _mm256_load_si256((const __m256i *)half_line);
    widen_nibbles(_mm256_and_si256(bytes, low_nibble), &pairs[0][0], &pairs[1][0]);
    widen_nibbles(_mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_nibble), &pairs[0][1], &pairs[1][1]);
}

static const widener e2m1_widener = {widen_e2m1, 2, LINE};

/* 2^(e - 127), NaN of 255. That of 0 counts as zero. */
UK_INLINE __m256 scales_of(const uint8_t *e)
{
    __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)e)), 23);
    return _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_cmpeq_epi32(bits, _mm256_set1_epi32(0x7f800000))));
}

void uk_avx2_gemm_fp4_bf16(uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc)
{
    __m256i kept[GROUP_PAIRS * HALVES * HALF_VECTORS];
    uint32_t mode = avx2_flush_denormals();
    clear_sums(a.rows, c, ldc);
    for (int64_t g = 0; g < k / UK_GROUP_FP4; g++) {
        const uint8_t *block = panel + g / 2 * UK_BLOCK_BYTES_FP4, *e = block + g % 2 * UK_PANEL;
        request(block, AHEAD_OF_ONE_GROUP);
        widened_chunk s = {.a = (const char *)a.data + g * UK_GROUP_FP4 * a.group_rows * ACT_BYTES,
                           .a_step = a.group_rows * ROW_BYTES,
                           .lines = block + LINE + g % 2 * GROUP_BYTES,
                           .n_lines = UK_FP4_STEPS,
                           .ahead = AHEAD_OF_ONE_GROUP,
                           .scales = {{scales_of(e), scales_of(e + 16)}, {scales_of(e + 8), scales_of(e + 24)}},
                           .kept = kept,
                           .c = c,
                           .ldc = ldc};
        widened_groups(&e2m1_widener, &a, &s);
    }
    _mm_setcsr(mode);
}
