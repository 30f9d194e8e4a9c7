/* kernels/avx2/avx2.h - the kernels of this folder and what they share. Needs AVX2 and FMA. */
#ifndef KERNELS_AVX2_AVX2_H
#define KERNELS_AVX2_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/rows.h"

#define AVX2_DECLARE(name, result, parameters) result uk_avx2_##name parameters;
UK_KERNELS(AVX2_DECLARE)
#undef AVX2_DECLARE

enum {
    AVX2_STEP = 8,       /* FP32 lanes */
    AVX2_SIGNED_STEP = 8 /* bytes of an INT8 row and step: four sizes, four flips (gemm_i8.c); as many lie before the first step */
};

/* Lanes below n; n < 2^31. */
static inline __m256i avx2_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first min(n, 8) elements; the rest is zero. */
static inline __m256 avx2_load_f32(const float *x, int64_t n)
{
    return n >= AVX2_STEP ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, avx2_lanes(n));
}

static inline __m256i avx2_load_i32(const int32_t *x, int64_t n)
{
    return n >= AVX2_STEP ? _mm256_loadu_si256((const __m256i *)x) : _mm256_maskload_epi32(x, avx2_lanes(n));
}

static inline void avx2_store_f32(float *y, __m256 v, int64_t n)
{
    if (n >= AVX2_STEP) {
        _mm256_storeu_ps(y, v);
    } else {
        _mm256_maskstore_ps(y, avx2_lanes(n), v);
    }
}

/* Four bytes, of any alignment, in every lane. */
UK_INLINE __m256i avx2_broadcast_lane(const char *x)
{
    int32_t lane;
    memcpy(&lane, x, sizeof lane);
    return _mm256_set1_epi32(lane);
}

/* Sums that take turns stay in their registers and in the order of the source: gcc's scheduler would let some of them run ahead and
 * the others wait, where every cycle of a chain counts (docs/PERFORMANCE.md). */
#define AVX2_IN_TURN(sum) __asm__ volatile("" : "+x"(sum))

/* Stores the finished sums of eight columns of c. */
UK_INLINE void avx2_store_sums(float *c, __m256 sum, bool add)
{
    _mm256_storeu_ps(c, add ? _mm256_add_ps(_mm256_loadu_ps(c), sum) : sum);
}

/* bf of each lane, in the low half of the lane; the high half is zero. */
static inline __m256i avx2_round_bf16(__m256 v)
{
    __m256i bits = _mm256_castps_si256(v), cut = _mm256_srli_epi32(bits, 16);
    __m256i even = _mm256_add_epi32(_mm256_and_si256(cut, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, even), 16);
    __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(rounded, _mm256_or_si256(cut, _mm256_set1_epi32(0x40)), is_nan);
}

/* The closing steps of a lane sum whose sixteen partial sums are first, second. */
static inline float avx2_sum_lanes(__m256 first, __m256 second)
{
    __m256 s8 = _mm256_add_ps(first, second);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* Flushes denormals, operands and results, until _mm_setcsr takes what this returns. */
static inline uint32_t avx2_flush_denormals(void)
{
    enum { DENORMAL_OPERANDS_ARE_ZERO = 0x40, FLUSH_RESULTS_TO_ZERO = 0x8000 };
    uint32_t mode = _mm_getcsr();
    _mm_setcsr(mode | DENORMAL_OPERANDS_ARE_ZERO | FLUSH_RESULTS_TO_ZERO);
    return mode;
}

#endif
