/* kernels/avx512/softmax.c - softmax whose weights are stored widened, for products by FMA. */
#include "kernels/avx512/avx512.h"

enum { ACT_BYTES = sizeof(float) };

/* Stores the weights of two rows; columns that mask does not name are zero. */
UK_INLINE void store_pairs(__mmask16 mask, __m512 e0, __m512 e1, int64_t at, char *first, char *second)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(UK_ROWS));
    __m512i even = _mm512_maskz_slli_epi32(mask, avx512_round_bf16(e0), 16);
    __m512i odd = _mm512_maskz_slli_epi32(mask, avx512_round_bf16(e1), 16);
    _mm512_storeu_si512(first + at, _mm512_permutex2var_epi32(even, low, odd));
    if (second != NULL) {
        _mm512_storeu_si512(second + at, _mm512_permutex2var_epi32(even, high, odd));
    }
}

#include "kernels/avx512/softmax.h"

void uk_avx512_softmax(int64_t n_rows, int64_t n_cols, float scale, const float *s, int64_t ld, float *m, float *l, void *acts)
{
    softmax(n_rows, n_cols, scale, s, ld, m, l, acts);
}
