/* kernels/avx512/gemm_fp4.c - INT8 x FP4 products with VNNI: a table look-up makes a nibble an unsigned byte, the doubled weight
 * plus 12, and vpdpbusd multiplies it by the signed activations. The sums of 32 k begin at -12 times the sum of the activations,
 * which takes the 12 out again. */
#include "kernels/avx2/tile_fp4.h"
#include "kernels/avx512/products.h"

enum { LINE = 64, SLICE_BLOCKS = 8 /* 8.5 KB */, LONG_SLICE_BLOCKS = 32 /* of a panel that many groups read */ };

/* Some blocks of a panel, for one group of rows. */
typedef struct group_blocks {
    const char *a;
    int64_t a_step; /* bytes from lane to lane */
    const char *panel;
    int64_t n_blocks, ahead;
} group_blocks;

/* Half of 2^(e - 127), also of 0, which makes a denormal; NaN of 255. */
UK_INLINE __m512 scales_of(const char *e)
{
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)e)), 23);
    __mmask16 is_nan = _mm512_cmpeq_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    bits = _mm512_max_epu32(bits, _mm512_set1_epi32(0x00400000));
    bits = _mm512_mask_set1_epi32(bits, is_nan, 0x7fc00000);
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
}

UK_INLINE __m512i weights_of(__m512i nibbles)
{
    const __m512i biased = _mm512_broadcast_i32x4(_mm_setr_epi8(UK_FP4_BIASED));
    return _mm512_shuffle_epi8(biased, _mm512_and_si512(nibbles, _mm512_set1_epi8(0x0f)));
}

/* sums += the products of one group of 32 k, scaled. */
UK_INLINE void add_group(const int m, const char *a, int64_t a_step, const char *lines, int64_t ahead, __m512 scale_left,
                         __m512 scale_right, __m512 *sums_left, __m512 *sums_right)
{
    __m512i left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = right[i] = broadcast_lane(a + 4 * i);
    }
    for (const char *end = lines + UK_FP4_STEPS * LINE; lines < end; lines += LINE) {
        a += a_step;
        request(lines, ahead);
        __m512i nibbles = _mm512_load_si512(lines);
        __m512i w_left = weights_of(nibbles), w_right = weights_of(_mm512_srli_epi16(nibbles, 4));
        UK_UNROLL
        for (int i = 0; i < m; i++) {
            __m512i x = broadcast_lane(a + 4 * i);
            left[i] = _mm512_dpbusd_epi32(left[i], w_left, x);
            right[i] = _mm512_dpbusd_epi32(right[i], w_right, x);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        sums_left[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(left[i]), scale_left, sums_left[i]);
        sums_right[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(right[i]), scale_right, sums_right[i]);
    }
}

UK_INLINE void add_blocks(const int m, const group_blocks *b, float *c, int64_t ldc)
{
    __m512 left[UK_ROWS], right[UK_ROWS];
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        left[i] = _mm512_loadu_ps(c + i * ldc);
        right[i] = _mm512_loadu_ps(c + i * ldc + UK_PANEL / 2);
    }
    const char *a = b->a, *block = b->panel;
    int64_t a_step = b->a_step, ahead = b->ahead;
    for (int64_t n = b->n_blocks; n > 0; n--, block += UK_BLOCK_BYTES_FP4) {
        request(block, ahead);
        for (int g = 0; g < UK_BLOCK_FP4 / UK_GROUP_FP4; g++, a += FP4_GROUP_LANES * a_step) {
            const char *e = block + g * UK_PANEL;
            add_group(m, a, a_step, block + (1 + g * UK_FP4_STEPS) * LINE, ahead, scales_of(e), scales_of(e + UK_PANEL / 2), left,
                      right);
        }
    }
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        _mm512_storeu_ps(c + i * ldc, left[i]);
        _mm512_storeu_ps(c + i * ldc + UK_PANEL / 2, right[i]);
    }
}

static void add_blocks_of_rows(int64_t m, const group_blocks *b, float *c, int64_t ldc)
{
#define CASE(rows)                   \
    case rows:                       \
        add_blocks(rows, b, c, ldc); \
        return;
    switch (m) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
#undef CASE
}

UK_INLINE void sum_in_int32(const int8_t *x, int64_t n, char *dst)
{
    int32_t sum = 0;
    for (int64_t v = 0; v < n; v++) {
        sum -= UK_FP4_BIAS * x[v];
    }
    memcpy(dst, &sum, sizeof sum);
}

void uk_avx512_tile_fp4(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    tile_fp4(rows, group_rows, k, x, ldx, sum_in_int32, dst);
}

void uk_avx512_gemm_fp4(uk_acts a, int64_t k64, const uint8_t *panel, float *c, int64_t ldc)
{
    int64_t n_groups = (a.rows + UK_ROWS - 1) / UK_ROWS, block_bytes = uk_acts_bytes_fp4(a.group_rows, UK_BLOCK_FP4);
    int64_t slice = n_groups == 1 ? k64 : n_groups <= MAX_SLICED_GROUPS ? SLICE_BLOCKS : LONG_SLICE_BLOCKS;
    for (int64_t i = 0; i < a.rows; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t block = 0; block < k64; block += slice) {
        for (int64_t g = 0; g < n_groups; g++) {
            group_blocks b = {.a = (const char *)a.data + g * a.group_bytes + block * block_bytes,
                              .a_step = (int64_t)sizeof(int32_t) * a.group_rows,
                              .panel = (const char *)panel + block * UK_BLOCK_BYTES_FP4,
                              .n_blocks = k64 - block < slice ? k64 - block : slice,
                              .ahead = ahead_of(g, n_groups)};
            add_blocks_of_rows(rows_of_group(&a, g), &b, c + g * UK_ROWS * ldc, ldc);
        }
    }
}
