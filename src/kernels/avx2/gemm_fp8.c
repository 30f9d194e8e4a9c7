/* kernels/avx2/gemm_fp8.c - BF16 x FP8 products: the bytes of a BF16 value are made of an E4M3 byte one by one. Its exponent moves
 * by 127 - 7, so that the upper four bits give the high byte and the lower four the low one, save those of denormals and of NaN. */
#include "kernels/avx2/widened.h"

/* 0x3c + the upper three bits of the size, with the sign. */
#define HIGH_BYTES 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, -0x44, -0x43, -0x42, -0x41, -0x40, -0x3f, -0x3e, -0x3d
/* What the bytes of 0, 2^-9 .. 7 * 2^-9 differ in from those that the rule for normal numbers makes. */
#define LOW_CHANGES 0, 0x10, -0x60, -0x10, 0x40, 0x70, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0
#define HIGH_CHANGES 0x3c, 0x07, 0x07, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0

UK_INLINE __m256i look_up(__m128i table, __m256i index)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index);
}

UK_INLINE void widen_e4m3(const uint8_t *half_line, __m256i (*pairs)[HALF_VECTORS])
{
    __m256i bytes = _mm256_load_si256((const __m256i *)half_line);
    __m256i size = _mm256_and_si256(bytes, _mm256_set1_epi8(0x7f));
    __m256i low = _mm256_and_si256(_mm256_slli_epi16(bytes, 4), _mm256_set1_epi8(-0x10));
    __m256i high = look_up(_mm_setr_epi8(HIGH_BYTES), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f)));
    /* The index of a normal number has its highest bit set, for which the look-up gives zero. */
    __m256i denormal = _mm256_or_si256(size, _mm256_cmpgt_epi8(size, _mm256_set1_epi8(7)));
    low = _mm256_xor_si256(low, look_up(_mm_setr_epi8(LOW_CHANGES), denormal));
    high = _mm256_xor_si256(high, look_up(_mm_setr_epi8(HIGH_CHANGES), denormal));
    high = _mm256_or_si256(high, _mm256_cmpeq_epi8(size, _mm256_set1_epi8(0x7f)));
    pairs[0][0] = _mm256_unpacklo_epi8(low, high);
    pairs[0][1] = _mm256_unpackhi_epi8(low, high);
}

static const widener e4m3_widener = {widen_e4m3, 1, LINE};

void uk_avx2_gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    __m256i kept[UK_CHUNK / 2 * HALVES * HALF_VECTORS];
    uint32_t mode = avx2_flush_denormals();
    clear_sums(a.rows, c, ldc);
    for (int64_t first = 0; first < k; first += UK_CHUNK) {
        __m256 scale = _mm256_set1_ps(scales[first / UK_CHUNK]);
        widened_chunk s = {.a = (const char *)a.data + first * a.group_rows * ACT_BYTES,
                           .a_step = a.group_rows * ROW_BYTES,
                           .lines = panel + first * UK_PANEL,
                           .n_lines = k - first < UK_CHUNK ? (k - first + 1) / 2 : UK_CHUNK / 2,
                           .ahead = AHEAD_OF_ONE_GROUP,
                           .scales = {{scale, scale}, {scale, scale}},
                           .kept = kept,
                           .c = c,
                           .ldc = ldc};
        widened_groups(&e4m3_widener, &a, &s);
    }
    _mm_setcsr(mode);
}
