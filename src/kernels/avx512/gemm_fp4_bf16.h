/* kernels/avx512/gemm_fp4_bf16.h - gemm_fp4_bf16 around add_step of gemm_bf16.h, behind gemm_fp8.h: two table look-ups make the
 * bytes of a BF16 value of a nibble. The first group of a panel widens 32 rows in registers and keeps them for the groups behind
 * it. */
#include "kernels/avx512/gemm_fp8.h"

enum { FP4_LINE = 64, FP4_GROUP_STEPS = UK_GROUP_FP4 / 2, FP4_GROUP_BYTES = FP4_GROUP_STEPS * STEP_BYTES };

/* Four rows of sixteen columns, a nibble in each byte, as two steps. */
UK_INLINE void widen_nibbles(__m512i nibbles, __m512i *first, __m512i *second)
{
    const __m512i low_bytes =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40, 0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40));
    const __m512i high_bytes = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, -0x80, -0x41, -0x41, -0x41, -0x40, -0x40, -0x40, -0x40));
    enum { EVEN = 0x88, ODD = 0xdd };
    __m512i low = _mm512_shuffle_epi8(low_bytes, nibbles), high = _mm512_shuffle_epi8(high_bytes, nibbles);
    __m512 left = _mm512_castsi512_ps(_mm512_unpacklo_epi8(low, high)),
           right = _mm512_castsi512_ps(_mm512_unpackhi_epi8(low, high));
    *first = _mm512_castps_si512(_mm512_shuffle_ps(left, right, EVEN));
    *second = _mm512_castps_si512(_mm512_shuffle_ps(left, right, ODD));
}

/* The two steps of a line, each of sixteen left and right columns. */
UK_INLINE void widen_line(__m512i line, __m512i *left, __m512i *right)
{
    const __m512i low_nibble = _mm512_set1_epi8(0x0f);
    widen_nibbles(_mm512_and_si512(line, low_nibble), &left[0], &left[1]);
    widen_nibbles(_mm512_and_si512(_mm512_srli_epi16(line, 4), low_nibble), &right[0], &right[1]);
}

/* 2^(e - 127), NaN of 255. That of 0 counts as zero. */
UK_INLINE __m512 e8m0_scales(const uint8_t *e)
{
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)e)), 23);
    __mmask16 is_nan = _mm512_cmpeq_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    return _mm512_castsi512_ps(_mm512_mask_set1_epi32(bits, is_nan, 0x7fc00000));
}

/* 32 rows of a panel, for one group of activations. */
typedef struct group_rows_fp4 {
    const char *a;
    int64_t a_step;
    const char *lines;
    int64_t ahead;
    const uint8_t *scales;
} group_rows_fp4;

/* c += scales * the sums of 32 rows, whose lines are FP4 or have become BF16. keep: where FP4 becomes BF16, or NULL. */
UK_INLINE void add_rows_fp4(const int m, const bool is_bf16, const group_rows_fp4 *s, char *keep, float *c, int64_t ldc)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
    }
    const char *a = s->a, *lines = s->lines;
    for (int step = 0; step < FP4_GROUP_STEPS; step += 2, a += 2 * s->a_step) {
        __m512i w_left[2], w_right[2];
        if (is_bf16) {
            UK_UNROLL
            for (int p = 0; p < 2; p++, lines += STEP_BYTES) {
                w_left[p] = _mm512_load_si512(lines);
                w_right[p] = _mm512_load_si512(lines + STEP_BYTES / 2);
            }
        } else {
            request(lines, s->ahead);
            widen_line(_mm512_load_si512(lines), w_left, w_right);
            lines += FP4_LINE;
        }
        UK_UNROLL
        for (int p = 0; p < 2; p++) {
            if (keep != NULL) {
                _mm512_store_si512(keep + (step + p) * STEP_BYTES, w_left[p]);
                _mm512_store_si512(keep + (step + p) * STEP_BYTES + STEP_BYTES / 2, w_right[p]);
            }
            add_step(m, a + p * s->a_step, 2 * ACT_BYTES, w_left[p], w_right[p], left, right);
        }
    }
    __m512 scale_left = e8m0_scales(s->scales), scale_right = e8m0_scales(s->scales + UK_PANEL / 2);
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        float *left_sums = c + i * ldc, *right_sums = left_sums + UK_PANEL / 2;
        _mm512_storeu_ps(left_sums, _mm512_fmadd_ps(scale_left, left[i], _mm512_loadu_ps(left_sums)));
        _mm512_storeu_ps(right_sums, _mm512_fmadd_ps(scale_right, right[i], _mm512_loadu_ps(right_sums)));
    }
}

UK_INLINE void add_rows_fp4_of(int64_t m, const bool is_bf16, const group_rows_fp4 *s, float *c, int64_t ldc)
{
#define CASE(rows)                                    \
    case rows:                                        \
        add_rows_fp4(rows, is_bf16, s, NULL, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

/* 32 rows of the panel for all groups of a; first is that of group 0. */
static void add_rows_fp4_of_groups(const uk_acts *a, const group_rows_fp4 *first, float *c, int64_t ldc)
{
    int64_t n_groups = (a->rows + UK_ROWS - 1) / UK_ROWS;
    if (n_groups <= 1) {
        add_rows_fp4_of(a->rows, false, first, c, ldc);
        return;
    }
    _Alignas(64) char widened[FP4_GROUP_BYTES];
    add_rows_fp4(UK_ROWS, false, first, widened, c, ldc);
    for (int64_t g = 1; g < n_groups; g++) {
        group_rows_fp4 s = *first;
        s.a += g * a->group_bytes;
        s.lines = widened;
        add_rows_fp4_of(rows_of_group(a, g), true, &s, c + g * UK_ROWS * ldc, ldc);
    }
}

static inline void gemm_fp4_bf16(uk_acts a, int64_t k, const uint8_t *panel, float *c, int64_t ldc)
{
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < a.rows; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t g = 0; g < k / UK_GROUP_FP4; g++) {
        const uint8_t *block = panel + g / 2 * UK_BLOCK_BYTES_FP4;
        int64_t ahead = a.rows <= UK_ROWS ? AHEAD_OF_ONE_GROUP : AHEAD_OF_GROUPS;
        request(block, ahead);
        group_rows_fp4 s = {.a = (const char *)a.data + g * UK_GROUP_FP4 * ACT_BYTES * a.group_rows,
                            .a_step = 2 * ACT_BYTES * a.group_rows,
                            .lines = (const char *)block + FP4_LINE + g % 2 * UK_FP4_STEPS * FP4_LINE,
                            .ahead = ahead,
                            .scales = block + g % 2 * UK_PANEL};
        add_rows_fp4_of_groups(&a, &s, c, ldc);
    }
    _mm_setcsr(mode);
}
