/* kernels/avx512bf16/e4m3.h - E4M3 bytes as BF16, by look-up: the low and the high bytes of the 128 codes without sign. */
#ifndef KERNELS_AVX512BF16_E4M3_H
#define KERNELS_AVX512BF16_E4M3_H

#include "kernels/avx512/e4m3.h"

typedef struct e4m3_table {
    __m512i low[2], high[2]; /* of codes 0 .. 63 and 64 .. 127 */
} e4m3_table;

UK_INLINE e4m3_table e4m3_table_make(void)
{
    const __m512i low_byte = _mm512_set1_epi16(0xff), special = e4m3_special();
    const __m512i quarter = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i first_codes =
        _mm512_add_epi8(quarter, _mm512_setr_epi64(0, 0, 0x1010101010101010, 0x1010101010101010, 0x2020202020202020,
                                                   0x2020202020202020, 0x3030303030303030, 0x3030303030303030));
    e4m3_table t;
    UK_UNROLL
    for (int half = 0; half < 2; half++) {
        __m512i codes = _mm512_add_epi8(first_codes, _mm512_set1_epi8((char)(64 * half)));
        __m512i left = e4m3_widen_doubled(special, _mm512_unpacklo_epi8(codes, codes));
        __m512i right = e4m3_widen_doubled(special, _mm512_unpackhi_epi8(codes, codes));
        t.low[half] = _mm512_packus_epi16(_mm512_and_si512(left, low_byte), _mm512_and_si512(right, low_byte));
        t.high[half] = _mm512_packus_epi16(_mm512_srli_epi16(left, 8), _mm512_srli_epi16(right, 8));
    }
    return t;
}

UK_INLINE void widen_e4m3(const e4m3_table *t, __m512i bytes, __m512i *left, __m512i *right)
{
    enum { A_OR_B_AND_C = 0xf8 };
    __m512i low = _mm512_permutex2var_epi8(t->low[0], bytes, t->low[1]);
    __m512i high = _mm512_permutex2var_epi8(t->high[0], bytes, t->high[1]);
    high = _mm512_ternarylogic_epi32(high, bytes, _mm512_set1_epi8(-128), A_OR_B_AND_C);
    *left = _mm512_unpacklo_epi8(low, high);
    *right = _mm512_unpackhi_epi8(low, high);
}

#endif
