/* kernels/avx2/attention.c - exponentials, softmax, pooling and index scores, eight FP32 elements a step; a mask cuts the last
 * step. */
#include <float.h>
#include <math.h>

#include "kernels/avx2/avx2.h"

/* EXP by lane. */
static inline __m256 exp_lanes(__m256 x)
{
    static const float terms[UK_EXP_N_TERMS] = UK_EXP_TERMS;
    __m256 scaled = _mm256_mul_ps(x, _mm256_set1_ps(UK_EXP_LOG2_E));
    __m256 t = _mm256_round_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fmadd_ps(t, _mm256_set1_ps(-UK_EXP_LN2_HIGH), x), p = _mm256_set1_ps(terms[0]);
    r = _mm256_fmadd_ps(t, _mm256_set1_ps(-UK_EXP_LN2_LOW), r);
    UK_UNROLL
    for (int i = 1; i < UK_EXP_N_TERMS; i++) {
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(terms[i]));
    }
    __m256 y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(t), 23); /* 0 for a NaN */
    y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
    y = _mm256_blendv_ps(y, _mm256_set1_ps(INFINITY), _mm256_cmp_ps(x, _mm256_set1_ps(UK_EXP_MAX), _CMP_GT_OQ));
    return _mm256_and_ps(y, _mm256_cmp_ps(x, _mm256_set1_ps(UK_EXP_MIN), _CMP_NLT_UQ));
}

void uk_avx2_exp(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        avx2_store_f32(y + i, exp_lanes(avx2_load_f32(x + i, n - i)), n - i);
    }
}

static inline __m256 scaled_row(const float *s, int64_t n, __m256 scale)
{
    return _mm256_mul_ps(avx2_load_f32(s, n), scale);
}

/* Stores the weights of two rows as pairs of activations; columns from n on are zero. */
static inline void store_pairs(__m256 e0, __m256 e1, int64_t n, float *pairs)
{
    __m256i even = _mm256_slli_epi32(_mm256_and_si256(avx2_round_bf16(e0), avx2_lanes(n)), 16);
    __m256i odd = _mm256_slli_epi32(_mm256_and_si256(avx2_round_bf16(e1), avx2_lanes(n)), 16);
    __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    _mm256_storeu_si256((__m256i *)pairs, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(pairs + AVX2_STEP), _mm256_permute2x128_si256(low, high, 0x31));
}

/* softmax of the first min(n, 8) columns: a group of activations. */
static void softmax_columns(int64_t n_rows, int64_t n, float scale, const float *s, int64_t ld, float *m, float *l, float *group)
{
    const __m256 scales = _mm256_set1_ps(scale);
    __m256 max = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps();
    for (int64_t r = 0; r < n_rows; r++) {
        max = _mm256_max_ps(scaled_row(s + r * ld, n, scales), max);
    }
    int64_t r = 0;
    for (; r + 1 < n_rows; r += 2, group += 2 * UK_ROWS) {
        __m256 e0 = exp_lanes(_mm256_sub_ps(scaled_row(s + r * ld, n, scales), max));
        __m256 e1 = exp_lanes(_mm256_sub_ps(scaled_row(s + (r + 1) * ld, n, scales), max));
        sum = _mm256_add_ps(_mm256_add_ps(sum, e0), e1);
        store_pairs(e0, e1, n, group);
    }
    if (r < n_rows) {
        __m256 e = exp_lanes(_mm256_sub_ps(scaled_row(s + r * ld, n, scales), max));
        sum = _mm256_add_ps(sum, e);
        store_pairs(e, _mm256_setzero_ps(), n, group);
    }
    avx2_store_f32(m, max, n);
    avx2_store_f32(l, sum, n);
}

void uk_avx2_softmax(int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, void *acts)
{
    for (int64_t h = 0; h < n_cols; h += AVX2_STEP) {
        softmax_columns(n_rows, n_cols - h, scale, s + h, ld, m + h, l + h, (float *)acts + h * ((n_rows + 1) / 2 * 2));
    }
}

/* The weights of scores before they are divided by their sum. */
static inline __m256 pool_weights(__m256 score, __m256 max)
{
    __m256 scored = _mm256_cmp_ps(score, _mm256_set1_ps(-FLT_MAX), _CMP_NLE_UQ);
    return _mm256_and_ps(scored, exp_lanes(_mm256_sub_ps(score, max)));
}

void uk_avx2_pool(int64_t n, int64_t n_rows, const float *const *k, const float *const *s, float *y)
{
    for (int64_t i = 0; i < n; i += AVX2_STEP) {
        __m256 max = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps(), pooled = _mm256_setzero_ps();
        for (int64_t r = 0; r < n_rows; r++) {
            max = _mm256_max_ps(avx2_load_f32(s[r] + i, n - i), max);
        }
        for (int64_t r = 0; r < n_rows; r++) {
            sum = _mm256_add_ps(sum, pool_weights(avx2_load_f32(s[r] + i, n - i), max));
        }
        for (int64_t r = 0; r < n_rows; r++) {
            __m256 weight = _mm256_div_ps(pool_weights(avx2_load_f32(s[r] + i, n - i), max), sum);
            pooled = _mm256_add_ps(pooled, _mm256_mul_ps(avx2_load_f32(k[r] + i, n - i), weight));
        }
        __m256 weighted = _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_NEQ_UQ);
        avx2_store_f32(y + i, _mm256_and_ps(pooled, weighted), n - i);
    }
}

/* The terms of min(n, 8) heads of one key; 0 for other lanes. */
static inline __m256 score_terms(int64_t n, const int32_t *acc, const float *q_scale, float k_scale, const float *w)
{
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(avx2_load_i32(acc, n)), avx2_load_f32(q_scale, n));
    v = _mm256_max_ps(_mm256_mul_ps(v, _mm256_set1_ps(k_scale)), _mm256_setzero_ps());
    return _mm256_mul_ps(v, avx2_load_f32(w, n));
}

void uk_avx2_index_score(int64_t n_keys, int64_t n_heads, const int32_t *acc, int64_t ld, const float *q_scale,
                         const float *k_scale, const float *w, float *y)
{
    for (int64_t c = 0; c < n_keys; c++, acc += ld) {
        __m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();
        for (int64_t h = 0; h < n_heads; h += AVX2_STEP) {
            __m256 terms = score_terms(n_heads - h, acc + h, q_scale + h, k_scale[c], w + h);
            if (h / AVX2_STEP % 2 == 0) {
                first = _mm256_add_ps(first, terms);
            } else {
                second = _mm256_add_ps(second, terms);
            }
        }
        y[c] = avx2_sum_lanes(first, second);
    }
}
