/* kernels/avx2/loops.h - ceilings of the AVX2 rows but for INT8: FMA, and streams. Every step depends on the sum before it, in more
 * sums than the latency needs. */
#ifndef KERNELS_AVX2_LOOPS_H
#define KERNELS_AVX2_LOOPS_H

#include "kernels/avx2/avx2.h"

enum { AVX2_N_SUMS = 12, LINE_BYTES = 64, BLOCK_BYTES = 4 * LINE_BYTES };

static float avx2_multiply_f32(int64_t n_rounds, int seed)
{
    __m256 sums[AVX2_N_SUMS], x = _mm256_set1_ps(1.0f / (float)(seed + 2)), w = _mm256_set1_ps(0.5f), all = w;
    for (int i = 0; i < AVX2_N_SUMS; i++) {
        sums[i] = _mm256_set1_ps((float)i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL_ALL
        for (int i = 0; i < AVX2_N_SUMS; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], x, w);
        }
    }
    for (int i = 0; i < AVX2_N_SUMS; i++) {
        all = _mm256_add_ps(all, sums[i]);
    }
    return _mm256_cvtss_f32(all);
}

/* Adds up a cache line. */
UK_INLINE __m256i avx2_add_line(__m256i sum, const char *line, int64_t ahead)
{
    if (ahead > 0) {
        _mm_prefetch((const char *)((uintptr_t)line + (uintptr_t)ahead), _MM_HINT_T0);
    }
    const __m256i *halves = (const __m256i *)line;
    return _mm256_add_epi64(sum, _mm256_add_epi64(_mm256_load_si256(halves), _mm256_load_si256(halves + 1)));
}

static uint64_t avx2_read_stream(const void *stream, int64_t n_bytes, int64_t ahead)
{
    const char *p = stream;
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t at = 0; at < n_bytes; at += BLOCK_BYTES) {
        UK_UNROLL_ALL
        for (int i = 0; i < 4; i++) {
            sums[i] = avx2_add_line(sums[i], p + at + i * LINE_BYTES, ahead);
        }
    }
    __m256i all = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
    return (uint64_t)_mm256_extract_epi64(all, 0) + (uint64_t)_mm256_extract_epi64(all, 1) +
           (uint64_t)_mm256_extract_epi64(all, 2) + (uint64_t)_mm256_extract_epi64(all, 3);
}

static void avx2_copy_stream(void *dst, const void *src, int64_t n_bytes)
{
    __m256i *to = dst;
    const __m256i *from = src;
    for (int64_t i = 0; i < n_bytes / (int64_t)sizeof *to; i++) {
        _mm256_stream_si256(to + i, _mm256_load_si256(from + i));
    }
    _mm_sfence();
}

#define AVX2_LOOPS .f32 = {2 * AVX2_STEP * AVX2_N_SUMS, avx2_multiply_f32}, .read = avx2_read_stream, .copy = avx2_copy_stream

#endif
