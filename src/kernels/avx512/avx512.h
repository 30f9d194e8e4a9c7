/* kernels/avx512/avx512.h - the kernels of this folder and what they share. Needs AVX512 F, BW, DQ, VL, VNNI. */
#ifndef KERNELS_AVX512_AVX512_H
#define KERNELS_AVX512_AVX512_H

#include <immintrin.h>

#include "kernels/avx2/avx2.h"

#define AVX512_DECLARE(name, result, parameters) result uk_avx512_##name parameters;
UK_KERNELS(AVX512_DECLARE)
#undef AVX512_DECLARE

enum { AVX512_STEP = 16 /* FP32 lanes */ };

/* Lanes below n, all for n >= 16. */
static inline __mmask16 avx512_lanes(int64_t n)
{
    return n >= AVX512_STEP ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

/* bf of each lane, in the low half of the lane; the high half is zero. */
static inline __m512i avx512_round_bf16(__m512 v)
{
    __m512i bits = _mm512_castps_si512(v), cut = _mm512_srli_epi32(bits, 16);
    __m512i even = _mm512_add_epi32(_mm512_and_si512(cut, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, even), 16);
    return _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), cut, _mm512_set1_epi32(0x40));
}

/* The closing steps of a lane sum. */
static inline float avx512_sum_lanes(__m512 s)
{
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* Stores the finished sums of sixteen columns of c. */
UK_INLINE void avx512_store_sums(float *c, __m512 sum, bool add)
{
    _mm512_storeu_ps(c, add ? _mm512_add_ps(_mm512_loadu_ps(c), sum) : sum);
}

#endif
