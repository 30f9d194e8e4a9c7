/* kernels/avx512/vector.c - elementwise kernels and reductions, sixteen FP32 elements a step; a mask cuts the last step. */
#include "kernels/avx512/avx512.h"

static inline __m512 load_bf16(__mmask16 mask, const uint16_t *x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x)), 16));
}

/* max(|x|, max) by lane; a NaN in x leaves max as it is. */
static inline __m512 max_abs(__m512 x, __m512 max)
{
    return _mm512_max_ps(_mm512_abs_ps(x), max);
}

float uk_avx512_sum_squares(int64_t n, const float *x)
{
    __m512 s = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __m512 v = _mm512_maskz_loadu_ps(avx512_lanes(n - i), x + i);
        s = _mm512_add_ps(s, _mm512_mul_ps(v, v));
    }
    return avx512_sum_lanes(s);
}

float uk_avx512_amax(int64_t n, const float *x)
{
    __m512 max = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        max = max_abs(_mm512_maskz_loadu_ps(avx512_lanes(n - i), x + i), max);
    }
    return _mm512_reduce_max_ps(max);
}

float uk_avx512_scale_gamma(int64_t n, const float *x, float inv, const uint16_t *gamma, float *y)
{
    __m512 max = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(inv));
        __m512 v = _mm512_mul_ps(scaled, load_bf16(mask, gamma + i));
        _mm512_mask_storeu_ps(y + i, mask, v);
        max = max_abs(v, max);
    }
    return _mm512_reduce_max_ps(max);
}

void uk_avx512_scale(int64_t n, const float *x, float inv, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(inv)));
    }
}

void uk_avx512_sum_parts(int64_t n, int64_t n_parts, const float *x, int64_t stride, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP / 2) {
        __mmask8 mask = (__mmask8)avx512_lanes(n - i);
        __m512d sum = _mm512_setzero_pd();
        for (int64_t p = 0; p < n_parts; p++) {
            sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, x + p * stride + i)));
        }
        _mm256_mask_storeu_ps(y + i, mask, _mm512_cvtpd_ps(sum));
    }
}

void uk_avx512_add(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), _mm512_maskz_loadu_ps(mask, x + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

void uk_avx512_add_scaled(int64_t n, float a, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 product = _mm512_mul_ps(_mm512_set1_ps(a), _mm512_maskz_loadu_ps(mask, x + i));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), product));
    }
}

void uk_avx512_weigh_rows(int64_t n, int64_t n_rows, const uint16_t *const *x, const float *a, uint16_t *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 sum = _mm512_mul_ps(load_bf16(mask, x[0] + i), _mm512_set1_ps(a[0]));
        for (int64_t r = 1; r < n_rows; r++) {
            sum = _mm512_add_ps(sum, _mm512_mul_ps(load_bf16(mask, x[r] + i), _mm512_set1_ps(a[r])));
        }
        _mm256_mask_storeu_epi16(y + i, mask, _mm512_cvtepi32_epi16(avx512_round_bf16(sum)));
    }
}

void uk_avx512_blend(int64_t n_rows, const float *a, const float *b, const float *x, float *y)
{
    for (int64_t r = 0; r < n_rows; r++) {
        __m512 of_a = _mm512_set1_ps(a[r]), of_b = _mm512_set1_ps(b[r]);
        UK_UNROLL
        for (int i = 0; i < UK_PANEL; i += AVX512_STEP) {
            float *at = y + r * UK_PANEL + i;
            __m512 of_x = _mm512_mul_ps(of_b, _mm512_loadu_ps(x + r * UK_PANEL + i));
            _mm512_storeu_ps(at, _mm512_add_ps(_mm512_mul_ps(of_a, _mm512_loadu_ps(at)), of_x));
        }
    }
}

void uk_avx512_divide(int64_t n_rows, const float *d, const float *x, float *y, int64_t ldy)
{
    for (int64_t r = 0; r < n_rows; r++) {
        UK_UNROLL
        for (int i = 0; i < UK_PANEL; i += AVX512_STEP) {
            _mm512_storeu_ps(y + r * ldy + i, _mm512_div_ps(_mm512_loadu_ps(x + r * UK_PANEL + i), _mm512_set1_ps(d[r])));
        }
    }
}

void uk_avx512_scale_cols(int64_t n, const float *x, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, col_scale + i));
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
}

/* INT8 of the lanes that mask names. */
static inline void store_quantized(int8_t *q, __mmask16 mask, __m512 x, float sq)
{
    _mm_mask_storeu_epi8(q, mask, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(sq)))));
}

void uk_avx512_quantize_i8(int64_t n, const float *x, float sq, int8_t *q)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        store_quantized(q + i, mask, _mm512_maskz_loadu_ps(mask, x + i), sq);
    }
}

float uk_avx512_q8_bf16(int64_t n, const uint16_t *x, int8_t *q)
{
    __m512 max = _mm512_set1_ps(1e-4f);
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        max = max_abs(load_bf16(avx512_lanes(n - i), x + i), max);
    }
    float sq = 1.0f / _mm512_reduce_max_ps(max) * 127.0f;
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        store_quantized(q + i, mask, load_bf16(mask, x + i), sq);
    }
    return sq;
}

void uk_avx512_dequant_i32(int64_t n, const int32_t *acc, float row_scale, const float *col_scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 v = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + i));
        v = _mm512_mul_ps(_mm512_mul_ps(v, _mm512_set1_ps(row_scale)), _mm512_maskz_loadu_ps(mask, col_scale + i));
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
}

void uk_avx512_add_dequant(int64_t n, const int32_t *acc, float scale, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + i)), _mm512_set1_ps(scale));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), v));
    }
}

void uk_avx512_widen_bf16(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        _mm512_mask_storeu_ps(y + i, mask, load_bf16(mask, x + i));
    }
}

void uk_avx512_narrow_bf16(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        _mm256_mask_storeu_epi16(y + i, mask, _mm512_cvtepi32_epi16(avx512_round_bf16(v)));
    }
}

void uk_avx512_rotate(int64_t n_pairs, const float *c, const float *s, float *x)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (int64_t j = 0; j < n_pairs; j += AVX512_STEP / 2) {
        __mmask16 mask = avx512_lanes(2 * (n_pairs - j));
        __mmask8 pair_mask = (__mmask8)avx512_lanes(n_pairs - j);
        __m512 cos = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_maskz_loadu_ps(pair_mask, c + j)));
        __m512 sin = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_maskz_loadu_ps(pair_mask, s + j)));
        __m512 v = _mm512_maskz_loadu_ps(mask, x + 2 * j), swapped = _mm512_permute_ps(v, 0xb1);
        __m512 direct = _mm512_mul_ps(v, cos), crossed = _mm512_mul_ps(swapped, sin);
        __m512 odd = _mm512_add_ps(crossed, direct);
        _mm512_mask_storeu_ps(x + 2 * j, mask, _mm512_mask_sub_ps(odd, 0x5555, direct, crossed));
    }
}
