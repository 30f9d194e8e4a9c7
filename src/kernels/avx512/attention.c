/* kernels/avx512/attention.c - exponentials, pooling and index scores, sixteen FP32 elements a step; a mask cuts the last
 * step. */
#include <float.h>
#include <math.h>

#include "kernels/avx512/exp.h"

void uk_avx512_exp(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        _mm512_mask_storeu_ps(y + i, mask, avx512_exp(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

/* The weights of scores before they are divided by their sum. */
static inline __m512 pool_weights(__m512 score, __m512 max)
{
    __mmask16 scored = _mm512_cmp_ps_mask(score, _mm512_set1_ps(-FLT_MAX), _CMP_NLE_UQ);
    return _mm512_maskz_mov_ps(scored, avx512_exp(_mm512_sub_ps(score, max)));
}

void uk_avx512_pool(int64_t n, int64_t n_rows, const float *const *k, const float *const *s, float *y)
{
    for (int64_t i = 0; i < n; i += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n - i);
        __m512 max = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps(), pooled = _mm512_setzero_ps();
        for (int64_t r = 0; r < n_rows; r++) {
            max = _mm512_max_ps(_mm512_maskz_loadu_ps(mask, s[r] + i), max);
        }
        for (int64_t r = 0; r < n_rows; r++) {
            sum = _mm512_add_ps(sum, pool_weights(_mm512_maskz_loadu_ps(mask, s[r] + i), max));
        }
        for (int64_t r = 0; r < n_rows; r++) {
            __m512 weight = _mm512_div_ps(pool_weights(_mm512_maskz_loadu_ps(mask, s[r] + i), max), sum);
            pooled = _mm512_add_ps(pooled, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, k[r] + i), weight));
        }
        __mmask16 weighted = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_maskz_mov_ps(weighted, pooled));
    }
}

enum { KEYS = 4 };

/* Lane sums of the terms of n_keys <= 4 keys; those of other keys are 0. */
UK_INLINE void sum_terms(const int n_keys, int64_t n_heads, const int32_t *acc, int64_t ld, const float *q_scale,
                         const float *k_scale, const float *w, __m512 sums[KEYS])
{
    UK_UNROLL
    for (int c = 0; c < KEYS; c++) {
        sums[c] = _mm512_setzero_ps();
    }
    for (int64_t h = 0; h < n_heads; h += AVX512_STEP) {
        __mmask16 mask = avx512_lanes(n_heads - h);
        __m512 q = _mm512_maskz_loadu_ps(mask, q_scale + h), weight = _mm512_maskz_loadu_ps(mask, w + h);
        UK_UNROLL
        for (int c = 0; c < n_keys; c++) {
            __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + c * ld + h)), q);
            v = _mm512_max_ps(_mm512_mul_ps(v, _mm512_set1_ps(k_scale[c])), _mm512_setzero_ps());
            sums[c] = _mm512_add_ps(sums[c], _mm512_mul_ps(v, weight));
        }
    }
}

/* The first closing step of two lane sums, s[l] + s[l+8]: of a in the low half, of b in the high half. */
static inline __m512 add_halves(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

/* The closing steps of four lane sums. */
static inline __m128 sum_lanes_of_four(const __m512 s[KEYS])
{
    const __m512i every_fourth = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    __m512 first = add_halves(s[0], s[1]), second = add_halves(s[2], s[3]);
    __m512 s4 = _mm512_add_ps(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd));
    __m512 s2 = _mm512_add_ps(s4, _mm512_permute_ps(s4, 0xee));
    __m512 s1 = _mm512_add_ps(s2, _mm512_permute_ps(s2, 0x55));
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(every_fourth, s1));
}

void uk_avx512_index_score(int64_t n_keys, int64_t n_heads, const int32_t *acc, int64_t ld, const float *q_scale,
                           const float *k_scale, const float *w, float *y)
{
    __m512 sums[KEYS];
    int64_t c = 0;
    for (; c + KEYS <= n_keys; c += KEYS) {
        sum_terms(KEYS, n_heads, acc + c * ld, ld, q_scale, k_scale + c, w, sums);
        _mm_storeu_ps(y + c, sum_lanes_of_four(sums));
    }
    for (; c < n_keys; c++) {
        sum_terms(1, n_heads, acc + c * ld, ld, q_scale, k_scale + c, w, sums);
        y[c] = avx512_sum_lanes(sums[0]);
    }
}
