#include "kernels/avx512/loops.h"

enum { LINE_BYTES = 64, BLOCK_BYTES = 4 * LINE_BYTES };

float uk_avx512_loop_i8(int64_t n_rounds, int seed)
{
    __m512i sums[AVX512_N_SUMS], x = _mm512_set1_epi32(seed), w = _mm512_set1_epi32(seed + 5), all = w;
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        sums[i] = _mm512_set1_epi32(i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL_ALL
        for (int i = 0; i < AVX512_N_SUMS; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], x, w);
        }
    }
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        all = _mm512_add_epi32(all, sums[i]);
    }
    return (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(all));
}

float uk_avx512_loop_f32(int64_t n_rounds, int seed)
{
    __m512 sums[AVX512_N_SUMS], x = _mm512_set1_ps(1.0f / (float)(seed + 2)), w = _mm512_set1_ps(0.5f), all = w;
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        sums[i] = _mm512_set1_ps((float)i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL_ALL
        for (int i = 0; i < AVX512_N_SUMS; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], x, w);
        }
    }
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        all = _mm512_add_ps(all, sums[i]);
    }
    return _mm512_cvtss_f32(all);
}

uint64_t uk_avx512_read(const void *stream, int64_t n_bytes, int64_t ahead)
{
    const char *p = stream;
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int64_t at = 0; at < n_bytes; at += BLOCK_BYTES) {
        UK_UNROLL_ALL
        for (int i = 0; i < 4; i++) {
            const char *line = p + at + i * LINE_BYTES;
            if (ahead > 0) {
                _mm_prefetch((const char *)((uintptr_t)line + (uintptr_t)ahead), _MM_HINT_T0);
            }
            sums[i] = _mm512_add_epi64(sums[i], _mm512_load_si512(line));
        }
    }
    __m512i all = _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
    uint64_t words[8], sum = 0;
    _mm512_storeu_si512(words, all);
    for (int i = 0; i < 8; i++) {
        sum += words[i];
    }
    return sum;
}

void uk_avx512_copy(void *dst, const void *src, int64_t n_bytes)
{
    char *to = dst;
    const char *from = src;
    for (int64_t at = 0; at < n_bytes; at += LINE_BYTES) {
        _mm512_stream_si512((__m512i *)(to + at), _mm512_load_si512(from + at));
    }
    _mm_sfence();
}

const uk_loops uk_loops_avx512 = {AVX512_LOOPS};
