#include "kernels/avx512/loops.h"

#include "kernels/avx512bf16/avx512bf16.h"

static float multiply_bf16(int64_t n_rounds, int seed)
{
    __m512 sums[AVX512_N_SUMS], all = _mm512_setzero_ps();
    __m512bh x = (__m512bh)_mm512_set1_epi16((short)(0x3c00 + seed)), w = (__m512bh)_mm512_set1_epi16(0x3c00);
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        sums[i] = _mm512_set1_ps((float)i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL_ALL
        for (int i = 0; i < AVX512_N_SUMS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], x, w);
        }
    }
    for (int i = 0; i < AVX512_N_SUMS; i++) {
        all = _mm512_add_ps(all, sums[i]);
    }
    return _mm512_cvtss_f32(all);
}

const uk_loops uk_loops_avx512bf16 = {AVX512_LOOPS, .bf16 = {2 * 2 * AVX512_STEP * AVX512_N_SUMS, multiply_bf16}};
