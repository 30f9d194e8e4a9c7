/* kernels/avx512/panel_keys.c - gathered rows as a panel: two rows become pairs of their columns. */
#include "kernels/avx512/avx512.h"

/* Stores a step of a panel. */
UK_INLINE void store_step(__m512i even, __m512i odd, uint16_t *step)
{
    const __m512i columns = _mm512_cvtepu8_epi32(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i left =
        _mm512_add_epi32(_mm512_or_si512(columns, _mm512_slli_epi32(columns, 16)), _mm512_set1_epi32(UK_PANEL << 16));
    const __m512i right = _mm512_add_epi16(left, _mm512_set1_epi16(UK_PANEL / 2));
    _mm512_storeu_si512(step, _mm512_permutex2var_epi16(even, left, odd));
    _mm512_storeu_si512(step + UK_PANEL, _mm512_permutex2var_epi16(even, right, odd));
}

void uk_avx512_panel_keys(int64_t k, int64_t n, const uint16_t *const *keys, int64_t first, uint16_t *panel)
{
    const __mmask32 mask = n < UK_PANEL ? (__mmask32)((1u << n) - 1) : ~(__mmask32)0;
    int64_t r = 0;
    for (; r + 1 < k; r += 2, panel += 2 * UK_PANEL) {
        store_step(_mm512_maskz_loadu_epi16(mask, keys[r] + first), _mm512_maskz_loadu_epi16(mask, keys[r + 1] + first), panel);
    }
    if (r < k) {
        store_step(_mm512_maskz_loadu_epi16(mask, keys[r] + first), _mm512_setzero_si512(), panel);
    }
}
