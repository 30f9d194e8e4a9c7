/* kernels/avx512/softmax.h - softmax around an UK_INLINE function store_pairs, which the including file defines before: in the form
 * of its activations. Sixteen columns a register: two groups of activations. */
#include "kernels/avx512/exp.h"

/* A group's lane of 32 bits, or two of them: a pair of k of each of its rows. */
enum { PAIRS_BYTES = 2 * UK_ROWS * ACT_BYTES };

UK_INLINE __m512 scaled_row(const float *s, __mmask16 mask, __m512 scale)
{
    return _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, s), scale);
}

/* softmax of the columns that mask names; of the second group only where there is one. */
static inline void softmax_columns(int64_t n_rows, __mmask16 mask, float scale, const float *s, int64_t ld, float *m, float *l,
                                   char *group)
{
    const __m512 scales = _mm512_set1_ps(scale);
    char *second = mask >> UK_ROWS != 0 ? group + (n_rows + 1) / 2 * PAIRS_BYTES : NULL;
    __m512 max = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (int64_t r = 0; r < n_rows; r++) {
        max = _mm512_max_ps(scaled_row(s + r * ld, mask, scales), max);
    }
    int64_t r = 0;
    for (; r + 1 < n_rows; r += 2) {
        __m512 e0 = avx512_exp_of_negative(_mm512_sub_ps(scaled_row(s + r * ld, mask, scales), max));
        __m512 e1 = avx512_exp_of_negative(_mm512_sub_ps(scaled_row(s + (r + 1) * ld, mask, scales), max));
        sum = _mm512_add_ps(_mm512_add_ps(sum, e0), e1);
        store_pairs(mask, e0, e1, r / 2 * PAIRS_BYTES, group, second);
    }
    if (r < n_rows) {
        __m512 e = avx512_exp_of_negative(_mm512_sub_ps(scaled_row(s + r * ld, mask, scales), max));
        sum = _mm512_add_ps(sum, e);
        store_pairs(mask, e, _mm512_setzero_ps(), r / 2 * PAIRS_BYTES, group, second);
    }
    _mm512_mask_storeu_ps(m, mask, max);
    _mm512_mask_storeu_ps(l, mask, sum);
}

static inline void softmax(int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, char *acts)
{
    for (int64_t h = 0; h < n_cols; h += AVX512_STEP) {
        char *group = acts + h / UK_ROWS * ((n_rows + 1) / 2 * PAIRS_BYTES);
        softmax_columns(n_rows, avx512_lanes(n_cols - h), scale, s + h, ld, m + h, l + h, group);
    }
}
