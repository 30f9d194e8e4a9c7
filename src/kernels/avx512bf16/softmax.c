/* kernels/avx512bf16/softmax.c - softmax whose weights are stored in pairs, for vdpbf16ps. */
#include "kernels/avx512bf16/avx512bf16.h"

enum { ACT_BYTES = sizeof(uint16_t) };

/* Stores the weights of two rows; columns that mask does not name are zero. */
UK_INLINE void store_pairs(__mmask16 mask, __m512 e0, __m512 e1, int64_t at, char *first, char *second)
{
    __m512i odd = _mm512_slli_epi32(avx512_round_bf16(e1), 16);
    __m512i pairs = _mm512_maskz_or_epi32(mask, avx512_round_bf16(e0), odd);
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
