/* kernels/avx512/e4m3.h - E4M3 bytes as BF16, by arithmetic on 16 bits. */
#ifndef KERNELS_AVX512_E4M3_H
#define KERNELS_AVX512_E4M3_H

#include "kernels/avx512/avx512.h"

/* What the low five bits of a denormal (0 .. 7) and of NaN (31) stand for. */
UK_INLINE __m512i e4m3_special(void)
{
    const __m256i denormals = _mm256_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_mask_set1_epi16(_mm512_zextsi256_si512(denormals), 1u << 31, 0x7fc0);
}

/* BF16 of bytes that stand twice in their 16 bits: the exponent moves by 127 - 7, save that of denormals and NaN. */
UK_INLINE __m512i e4m3_widen_doubled(__m512i special, __m512i bytes)
{
    enum { A_OR_B_AND_C = 0xf8 };
    __m512i size = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), _mm512_set1_epi16(0x07f0));
    __m512i value = _mm512_add_epi16(size, _mm512_set1_epi16((127 - 7) << 7));
    __mmask32 is_special =
        _mm512_cmpge_epu16_mask(_mm512_sub_epi16(size, _mm512_set1_epi16(0x0080)), _mm512_set1_epi16(0x07f0 - 0x0080));
    value = _mm512_mask_permutexvar_epi16(value, is_special, bytes, special);
    return _mm512_ternarylogic_epi32(value, bytes, _mm512_set1_epi16((short)0x8000), A_OR_B_AND_C);
}

#endif
