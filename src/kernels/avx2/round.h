/* kernels/avx2/round.h - roundings of rows to small floats, and the Hadamard product.
 *
 * A size v with exponent E is rounded to n mantissa bits by adding and taking away 2^(E + 23 - n), whose last place is 2^(E - n);
 * below the least normal number of the format E is that number's. */
#ifndef KERNELS_AVX2_ROUND_H
#define KERNELS_AVX2_ROUND_H

#include <math.h>

#include "base/numbers.h"
#include "kernels/avx2/avx2.h"

typedef struct round_format {
    int n_bits;       /* of the mantissa */
    int min_exponent; /* of a normal number */
    float largest, floor, factor;
} round_format;

static const round_format round_to_e4m3 = {3, -6, 448.0f, UK_E4M3_FLOOR, UK_E4M3_FACTOR};
static const round_format round_to_e2m1 = {1, 0, 6.0f, UK_E2M1_FLOOR, UK_E2M1_FACTOR};

UK_INLINE float round_amax(int64_t n, const float *x)
{
    const __m256 size = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 max = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        max = _mm256_max_ps(_mm256_and_ps(avx2_load_f32(x + i, n - i), size), max);
    }
    __m128 of_four = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    __m128 of_two = _mm_max_ps(of_four, _mm_movehl_ps(of_four, of_four));
    return _mm_cvtss_f32(_mm_max_ss(of_two, _mm_movehdup_ps(of_two)));
}

/* In FP32 lanes. The operand that may be a NaN comes second, so that min hands it on. */
UK_INLINE __m256 round_lanes(const round_format *f, __m256 x, __m256 scale, __m256 inverse)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 v = _mm256_min_ps(_mm256_set1_ps(f->largest), _mm256_mul_ps(_mm256_andnot_ps(sign, x), inverse));
    __m256i exponent = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7f800000));
    exponent = _mm256_max_epi32(exponent, _mm256_set1_epi32((127 + f->min_exponent) << 23));
    __m256 shift = _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32((23 - f->n_bits) << 23)));
    v = _mm256_mul_ps(_mm256_sub_ps(_mm256_add_ps(v, shift), shift), scale);
    return _mm256_or_ps(v, _mm256_and_ps(sign, x));
}

UK_INLINE void round_block(const round_format *f, int64_t n, const float *x, float *y)
{
    float amax = round_amax(n, x);
    uint32_t bits = num_bits_from_f32((amax > f->floor ? amax : f->floor) * f->factor);
    uint32_t exponent = (bits + 0x7fffff) >> 23;
    exponent = exponent < 254 ? exponent : 254;
    __m256 scale = _mm256_set1_ps(num_f32_from_bits(exponent << 23));
    __m256 inverse = _mm256_set1_ps(1.0f / num_f32_from_bits(exponent << 23));
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, round_lanes(f, avx2_load_f32(x + i, n - i), scale, inverse), n - i);
    }
}

UK_INLINE void round_blocks(const round_format *f, int64_t n, int64_t block, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += block) {
        round_block(f, n - i < block ? n - i : block, x + i, y + i);
    }
}

/* ---- Hadamard product ------------------------------------------------------------------------------------------------------ */

/* h = 1, 2 and 4. */
UK_INLINE __m256 hadamard_of_eight(__m256 v)
{
    const __m256 of_1 = _mm256_setr_ps(0, -0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f);
    const __m256 of_2 = _mm256_setr_ps(0, 0, -0.0f, -0.0f, 0, 0, -0.0f, -0.0f);
    const __m256 of_4 = _mm256_setr_ps(0, 0, 0, 0, -0.0f, -0.0f, -0.0f, -0.0f);
    v = _mm256_add_ps(_mm256_moveldup_ps(v), _mm256_xor_ps(_mm256_movehdup_ps(v), of_1));
    v = _mm256_add_ps(_mm256_permute_ps(v, 0x44), _mm256_xor_ps(_mm256_permute_ps(v, 0xee), of_2));
    return _mm256_add_ps(_mm256_permute2f128_ps(v, v, 0x00), _mm256_xor_ps(_mm256_permute2f128_ps(v, v, 0x11), of_4));
}

/* One h of fewer than eight values. */
UK_INLINE void hadamard_pairs(int64_t n, int64_t h, float *x)
{
    for (int64_t i = 0; i < n; i++) {
        if ((i & h) == 0) {
            float a = x[i], b = x[i + h];
            x[i] = a + b;
            x[i + h] = a - b;
        }
    }
}

UK_INLINE void hadamard_short(int64_t n, float *x)
{
    for (int64_t h = 1; h < n; h *= 2) {
        hadamard_pairs(n, h, x);
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] *= (float)(1.0 / sqrt((double)n));
    }
}

/* One h of whole vectors. */
UK_INLINE void hadamard_vectors(int64_t n, int64_t h, float *x)
{
    for (int64_t first = 0; first < n; first += 2 * h) {
        for (int64_t i = first; i < first + h; i += AVX2_STEP) {
            __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + h);
            _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
            _mm256_storeu_ps(x + i + h, _mm256_sub_ps(a, b));
        }
    }
}

UK_INLINE void hadamard(int64_t n, float *x)
{
    if (n < AVX2_STEP) {
        hadamard_short(n, x);
        return;
    }
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        _mm256_storeu_ps(x + i, hadamard_of_eight(_mm256_loadu_ps(x + i)));
    }
    for (int64_t h = AVX2_STEP; h < n; h *= 2) {
        hadamard_vectors(n, h, x);
    }
    const __m256 factor = _mm256_set1_ps((float)(1.0 / sqrt((double)n)));
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
    }
}

#endif
