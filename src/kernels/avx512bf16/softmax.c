/* kernels/avx512bf16/softmax.c - softmax whose weights are stored in pairs, for vdpbf16ps. */
#include "kernels/avx512bf16/avx512bf16.h"

enum { ACT_BYTES = sizeof(uint16_t) };

/* Stores the weights of two rows; columns that mask does not name are zero. The instruction rounds as bf does, but for denormals,
 * and EXP has none. */
UK_INLINE void store_pairs(__mmask16 mask, __m512 e0, __m512 e1, int64_t at, char *first, char *second)
{
    const __m512i columns = _mm512_cvtepu8_epi32(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i take = _mm512_or_si512(columns, _mm512_slli_epi32(_mm512_add_epi32(columns, _mm512_set1_epi32(AVX512_STEP)), 16));
    __m512i rows = (__m512i)_mm512_cvtne2ps_pbh(e1, e0);
    __m512i pairs = _mm512_maskz_mov_epi32(mask, _mm512_permutexvar_epi16(take, rows));
    _mm256_storeu_si256((__m256i *)(first + at), _mm512_castsi512_si256(pairs));
    if (second != NULL) {
        _mm256_storeu_si256((__m256i *)(second + at), _mm512_extracti64x4_epi64(pairs, 1));
    }
}

#include "kernels/avx512/softmax.h"

void uk_avx512bf16_softmax(int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, void *acts)
{
    softmax(n_rows, n_cols, scale, s, ld, m, l, acts);
}
