/* kernels/avx512/exp.h - EXP of kernels.h, sixteen lanes at once. */
#ifndef KERNELS_AVX512_EXP_H
#define KERNELS_AVX512_EXP_H

#include <math.h>

#include "kernels/avx512/avx512.h"

/* Of x <= 0, or NaN. */
static inline __m512 avx512_exp_of_negative(__m512 x)
{
    static const float terms[UK_EXP_N_TERMS] = UK_EXP_TERMS;
    __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(UK_EXP_LOG2_E));
    __m512 t = _mm512_roundscale_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fmadd_ps(t, _mm512_set1_ps(-UK_EXP_LN2_HIGH), x), p = _mm512_set1_ps(terms[0]);
    r = _mm512_fmadd_ps(t, _mm512_set1_ps(-UK_EXP_LN2_LOW), r);
    UK_UNROLL
    for (int i = 1; i < UK_EXP_N_TERMS; i++) {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(terms[i]));
    }
    __m512 y = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    __mmask16 not_below = _mm512_cmp_ps_mask(x, _mm512_set1_ps(UK_EXP_MIN), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(not_below, y, t);
}

static inline __m512 avx512_exp(__m512 x)
{
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(UK_EXP_MAX), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(avx512_exp_of_negative(x), above, _mm512_set1_ps(INFINITY));
}

#endif
