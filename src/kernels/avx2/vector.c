/* kernels/avx2/vector.c - elementwise kernels and reductions, eight FP32 elements a step; the last step is masked (32-bit elements)
 * or goes through a small copy (narrower ones). */
#include <string.h>

#include "kernels/avx2/avx2.h"

static inline __m256 load_bf16(const uint16_t *x, int64_t n)
{
    uint16_t few[AVX2_STEP] = {0};
    if (n < AVX2_STEP) {
        x = memcpy(few, x, (size_t)n * sizeof *x);
    }
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x)), 16));
}

static inline int64_t min_step(int64_t n)
{
    return n < AVX2_STEP ? n : AVX2_STEP;
}

/* max(|x|, max) by lane; a NaN in x leaves max as it is. */
static inline __m256 max_abs(__m256 x, __m256 max)
{
    return _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x), max);
}

static inline float max_lanes(__m256 max)
{
    __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

float uk_avx2_sum_squares(int64_t n, const float *x)
{
    __m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();
    int64_t i = 0;
    for (; n - i > AVX2_STEP; i += 2 * AVX2_STEP) {
        __m256 u = _mm256_loadu_ps(x + i), v = avx2_load_f32(x + i + AVX2_STEP, n - i - AVX2_STEP);
        first = _mm256_add_ps(first, _mm256_mul_ps(u, u));
        second = _mm256_add_ps(second, _mm256_mul_ps(v, v));
    }
    if (i < n) {
        __m256 u = avx2_load_f32(x + i, n - i);
        first = _mm256_add_ps(first, _mm256_mul_ps(u, u));
    }
    return avx2_sum_lanes(first, second);
}

float uk_avx2_amax(int64_t n, const float *x)
{
    __m256 max = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        max = max_abs(avx2_load_f32(x + i, n - i), max);
    }
    return max_lanes(max);
}

float uk_avx2_scale_gamma(int64_t n, const float *x, float inv, const uint16_t *gamma, float *y)
{
    __m256 max = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256 scaled = _mm256_mul_ps(avx2_load_f32(x + i, n - i), _mm256_set1_ps(inv));
        __m256 v = _mm256_mul_ps(scaled, load_bf16(gamma + i, n - i));
        avx2_store_f32(y + i, v, n - i);
        max = max_abs(v, max);
    }
    return max_lanes(max);
}

void uk_avx2_scale(int64_t n, const float *x, float inv, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, _mm256_mul_ps(avx2_load_f32(x + i, n - i), _mm256_set1_ps(inv)), n - i);
    }
}

void uk_avx2_sum_parts(int64_t n, int64_t n_parts, const float *x, int64_t stride, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256d low = _mm256_setzero_pd(), high = low;
        for (int64_t p = 0; p < n_parts; p++) {
            __m256 v = avx2_load_f32(x + p * stride + i, n - i);
            low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
            high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
        }
        avx2_store_f32(y + i, _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low)), n - i);
    }
}

void uk_avx2_add(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, _mm256_add_ps(avx2_load_f32(y + i, n - i), avx2_load_f32(x + i, n - i)), n - i);
    }
}

void uk_avx2_add_scaled(int64_t n, float a, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256 product = _mm256_mul_ps(_mm256_set1_ps(a), avx2_load_f32(x + i, n - i));
        avx2_store_f32(y + i, _mm256_add_ps(avx2_load_f32(y + i, n - i), product), n - i);
    }
}

void uk_avx2_blend(int64_t n_rows, const float *a, const float *b, const float *x, float *y)
{
    for (int64_t r = 0; r < n_rows; r++) {
        __m256 of_a = _mm256_set1_ps(a[r]), of_b = _mm256_set1_ps(b[r]);
        UK_UNROLL
        for (int i = 0; i < UK_PANEL; i += AVX2_STEP) {
            float *at = y + r * UK_PANEL + i;
            __m256 of_x = _mm256_mul_ps(of_b, _mm256_loadu_ps(x + r * UK_PANEL + i));
            _mm256_storeu_ps(at, _mm256_add_ps(_mm256_mul_ps(of_a, _mm256_loadu_ps(at)), of_x));
        }
    }
}

void uk_avx2_divide(int64_t n_rows, const float *d, const float *x, float *y, int64_t ldy)
{
    for (int64_t r = 0; r < n_rows; r++) {
        UK_UNROLL
        for (int i = 0; i < UK_PANEL; i += AVX2_STEP) {
            _mm256_storeu_ps(y + r * ldy + i, _mm256_div_ps(_mm256_loadu_ps(x + r * UK_PANEL + i), _mm256_set1_ps(d[r])));
        }
    }
}

void uk_avx2_scale_cols(int64_t n, const float *x, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, _mm256_mul_ps(avx2_load_f32(x + i, n - i), avx2_load_f32(col_scale + i, n - i)), n - i);
    }
}

/* INT8 of the first min(n, 8) lanes. */
static inline void store_quantized(int8_t *q, __m256 x, float sq, int64_t n)
{
    __m256i wide = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(sq)));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
    memcpy(q, &bytes, (size_t)min_step(n));
}

void uk_avx2_quantize_i8(int64_t n, const float *x, float sq, int8_t *q)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        store_quantized(q + i, avx2_load_f32(x + i, n - i), sq, n - i);
    }
}

float uk_avx2_q8_bf16(int64_t n, const uint16_t *x, int8_t *q)
{
    __m256 max = _mm256_set1_ps(1e-4f);
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        max = max_abs(load_bf16(x + i, n - i), max);
    }
    float sq = 1.0f / max_lanes(max) * 127.0f;
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        store_quantized(q + i, load_bf16(x + i, n - i), sq, n - i);
    }
    return sq;
}

void uk_avx2_dequant_i32(int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256i sums = avx2_load_i32(acc + i, n - i);
        __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(row_scale));
        avx2_store_f32(y + i, _mm256_mul_ps(v, avx2_load_f32(col_scale + i, n - i)), n - i);
    }
}

void uk_avx2_add_dequant(int64_t n, const int32_t *acc, float scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(avx2_load_i32(acc + i, n - i)), _mm256_set1_ps(scale));
        avx2_store_f32(y + i, _mm256_add_ps(avx2_load_f32(y + i, n - i), v), n - i);
    }
}

void uk_avx2_widen_bf16(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, load_bf16(x + i, n - i), n - i);
    }
}

/* bf of each lane to y[0 .. min(n, 8)). */
static inline void store_bf16(uint16_t *y, __m256 v, int64_t n)
{
    __m256i wide = avx2_round_bf16(v);
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    if (n >= AVX2_STEP) {
        _mm_storeu_si128((__m128i *)y, words);
    } else {
        memcpy(y, &words, (size_t)n * sizeof *y);
    }
}

void uk_avx2_narrow_bf16(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        store_bf16(y + i, avx2_load_f32(x + i, n - i), n - i);
    }
}

void uk_avx2_weigh_rows(int64_t n, int64_t n_rows, const uint16_t *const *x, const float *a, uint16_t *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256 sum = _mm256_mul_ps(load_bf16(x[0] + i, n - i), _mm256_set1_ps(a[0]));
        for (int64_t r = 1; r < n_rows; r++) {
            sum = _mm256_add_ps(sum, _mm256_mul_ps(load_bf16(x[r] + i, n - i), _mm256_set1_ps(a[r])));
        }
        store_bf16(y + i, sum, n - i);
    }
}

/* c[0], c[0], c[1], c[1], ... of min(n, 4) values. */
static inline __m256 load_twice(const float *c, int64_t n)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return _mm256_permutevar8x32_ps(avx2_load_f32(c, n < 4 ? n : 4), twice);
}

void uk_avx2_rotate(int64_t n_pairs, const float *c, const float *s, float *x)
{
    for (int64_t j = 0; j < n_pairs; j += AVX2_STEP / 2) {
        int64_t left = n_pairs - j;
        __m256 v = avx2_load_f32(x + 2 * j, 2 * left), swapped = _mm256_permute_ps(v, 0xb1);
        __m256 direct = _mm256_mul_ps(v, load_twice(c + j, left)), crossed = _mm256_mul_ps(swapped, load_twice(s + j, left));
        avx2_store_f32(x + 2 * j, _mm256_addsub_ps(direct, crossed), 2 * left);
    }
}
