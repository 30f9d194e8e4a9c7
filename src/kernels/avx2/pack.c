/* kernels/avx2/pack.c - weights into panels. Where k is contiguous, lanes of 32 bits are transposed, eight columns at a time; where
 * n is, the rows that share lanes are interleaved. The rest goes lane by lane. */
#include "kernels/avx2/transpose.h"
#include "kernels/lanes.h"

enum { STEP_BYTES = 4 * UK_PANEL };

/* ---- k contiguous ---------------------------------------------------------------------------------------------------------- */

UK_INLINE void pack_columns(const uk_source *w, const int64_t elem_bytes, char *panel)
{
    const int64_t ld = w->stride_n * elem_bytes, n_vector = w->n / 8 * 8, l_vector = w->k * elem_bytes / 32 * 8;
    for (int64_t l = 0; l < l_vector; l += 8) {
        for (int64_t c = 0; c < n_vector; c += 8) {
            const char *columns[8];
            __m256i lanes[8];
            UK_UNROLL
            for (int i = 0; i < 8; i++) {
                columns[i] = (const char *)w->data + (c + i) * ld + 4 * l;
            }
            avx2_transpose(columns, lanes);
            UK_UNROLL
            for (int j = 0; j < 8; j++) {
                _mm256_store_si256((__m256i *)(panel + (l + j) * STEP_BYTES + 4 * c), lanes[j]);
            }
        }
    }
    uk_pack_lanes(w, elem_bytes, 0, l_vector, n_vector, (uint32_t *)panel);
    uk_pack_lanes(w, elem_bytes, l_vector, uk_lanes_of(w, elem_bytes), 0, (uint32_t *)panel);
}

/* ---- n contiguous ---------------------------------------------------------------------------------------------------------- */

/* Stores first[0] second[0] first[1] second[1], the halves of two vectors. */
UK_INLINE void store_halves(__m256i first, __m256i second, char *low, char *high)
{
    _mm256_store_si256((__m256i *)low, _mm256_permute2x128_si256(first, second, 0x20));
    _mm256_store_si256((__m256i *)high, _mm256_permute2x128_si256(first, second, 0x31));
}

/* A step of 32 columns; row r of it lies r*ld bytes behind x. */
UK_INLINE void pack_step_i8(const char *x, int64_t ld, char *step)
{
    __m256i row[4];
    UK_UNROLL
    for (int r = 0; r < 4; r++) {
        row[r] = _mm256_loadu_si256((const __m256i *)(x + r * ld));
    }
    __m256i low01 = _mm256_unpacklo_epi8(row[0], row[1]), high01 = _mm256_unpackhi_epi8(row[0], row[1]);
    __m256i low23 = _mm256_unpacklo_epi8(row[2], row[3]), high23 = _mm256_unpackhi_epi8(row[2], row[3]);
    store_halves(_mm256_unpacklo_epi16(low01, low23), _mm256_unpackhi_epi16(low01, low23), step, step + 64);
    store_halves(_mm256_unpacklo_epi16(high01, high23), _mm256_unpackhi_epi16(high01, high23), step + 32, step + 96);
}

UK_INLINE void pack_step_bf16(const char *x, int64_t ld, char *step)
{
    for (int half = 0; half < 2; half++) {
        __m256i even = _mm256_loadu_si256((const __m256i *)(x + 32 * half));
        __m256i odd = _mm256_loadu_si256((const __m256i *)(x + ld + 32 * half));
        store_halves(_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd), step + 64 * half, step + 64 * half + 32);
    }
}

UK_INLINE void pack_step_f32(const char *x, int64_t ld, char *step)
{
    (void)ld;
    memcpy(step, x, STEP_BYTES);
}

typedef void pack_step_fn(const char *x, int64_t ld, char *step);

/* The panels of a weight take turns: what lies to the right is next. The processor does not foresee it in that many rows at once.
 * */
UK_INLINE void prefetch_right(const char *x, const int64_t group, int64_t ld)
{
    enum { AHEAD_BYTES = 256 };
    for (int64_t r = 0; r < group; r++) {
        _mm_prefetch(x + r * ld + AHEAD_BYTES, _MM_HINT_T0);
    }
}

/* All 32 columns. */
UK_INLINE void pack_rows(const uk_source *w, const int64_t elem_bytes, pack_step_fn *pack_step, char *panel)
{
    const int64_t ld = w->stride_k * elem_bytes, group = 4 / elem_bytes, n_steps = w->k / group;
    for (int64_t l = 0; l < n_steps; l++) {
        const char *x = (const char *)w->data + l * group * ld;
        prefetch_right(x, group, ld);
        pack_step(x, ld, panel + l * STEP_BYTES);
    }
    uk_pack_lanes(w, elem_bytes, n_steps, uk_lanes_of(w, elem_bytes), 0, (uint32_t *)panel);
}

/* ---- either ---------------------------------------------------------------------------------------------------------------- */

UK_INLINE void pack(const uk_source *w, const int64_t elem_bytes, pack_step_fn *pack_step, char *panel)
{
    if (w->stride_k == 1) {
        pack_columns(w, elem_bytes, panel);
    } else if (w->stride_n == 1 && w->n == UK_PANEL) {
        pack_rows(w, elem_bytes, pack_step, panel);
    } else {
        uk_pack_lanes(w, elem_bytes, 0, uk_lanes_of(w, elem_bytes), 0, (uint32_t *)panel);
    }
}

void uk_avx2_pack(uk_source w, void *panel)
{
    if (w.elem_bytes == 1) {
        pack(&w, 1, pack_step_i8, panel);
    } else if (w.elem_bytes == 2) {
        pack(&w, 2, pack_step_bf16, panel);
    } else {
        pack(&w, 4, pack_step_f32, panel);
    }
}
