/* kernels/avx2/panel_keys.c - gathered rows as a panel: two rows become pairs of their columns. */
#include <string.h>

#include "kernels/avx2/avx2.h"

enum { COLUMNS = 16 /* of a register */ };

/* Stores sixteen columns of a step of a panel. */
static inline void store_columns(const uint16_t *even, const uint16_t *odd, uint16_t *step)
{
    __m256i x0 = _mm256_loadu_si256((const __m256i *)even), x1 = _mm256_loadu_si256((const __m256i *)odd);
    __m256i low = _mm256_unpacklo_epi16(x0, x1), high = _mm256_unpackhi_epi16(x0, x1);
    _mm256_storeu_si256((__m256i *)step, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(step + COLUMNS), _mm256_permute2x128_si256(low, high, 0x31));
}

static inline void store_step(const uint16_t *even, const uint16_t *odd, uint16_t *step)
{
    store_columns(even, odd, step);
    store_columns(even + COLUMNS, odd + COLUMNS, step + 2 * COLUMNS);
}

void uk_avx2_panel_keys(int64_t k, int64_t n, const uint16_t *const *keys, int64_t first, uint16_t *panel)
{
    uint16_t few[2][UK_PANEL] = {{0}};
    for (int64_t r = 0; r < k; r += 2, panel += 2 * UK_PANEL) {
        if (n == UK_PANEL && r + 1 < k) {
            store_step(keys[r] + first, keys[r + 1] + first, panel);
            continue;
        }
        memset(few[1], 0, sizeof few[1]);
        for (int64_t i = r; i < k && i < r + 2; i++) {
            memcpy(few[i - r], keys[i] + first, (size_t)n * sizeof **few);
        }
        store_step(few[0], few[1], panel);
    }
}
