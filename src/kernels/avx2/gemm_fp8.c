/* kernels/avx2/gemm_fp8.c - BF16 x FP8 products: a chunk of the weights becomes BF16 in the order of gemm_bf16, which multiplies.
 * */
#include <string.h>

#include "kernels/avx2/avx2.h"

/* BF16 of E4M3 bytes, each twice in its 16 bits: the exponent moves by 127 - 7, save that of denormals, which are looked up. */
UK_INLINE __m256i bf16_of_doubled(__m256i bytes)
{
    /* Low bytes of 0, 2^-9 .. 7 * 2^-9, then their high bytes. */
    const __m256i denormals = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, (char)0x80, (char)0xc0, 0, 0x20, 0x40, 0x60, 0, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c));
    __m256i size = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi16(0x07f0));
    __m256i value = _mm256_add_epi16(size, _mm256_set1_epi16((127 - 7) << 7));
    __m256i index = _mm256_or_si256(_mm256_and_si256(bytes, _mm256_set1_epi16(0x0707)), _mm256_set1_epi16(0x0800));
    __m256i is_denormal = _mm256_cmpgt_epi16(_mm256_set1_epi16(0x0080), size);
    value = _mm256_blendv_epi8(value, _mm256_shuffle_epi8(denormals, index), is_denormal);
    __m256i all_if_nan = _mm256_cmpeq_epi16(size, _mm256_set1_epi16(0x07f0));
    __m256i sign = _mm256_and_si256(bytes, _mm256_set1_epi16((short)0x8000));
    return _mm256_or_si256(_mm256_or_si256(value, sign), all_if_nan);
}

/* Half a step has columns 0 .. 7 and 16 .. 23, or 8 .. 15 and 24 .. 31. */
static void widen(int64_t n_steps, const uint8_t *panel, uint16_t *chunk)
{
    for (int64_t half = 0; half < 2 * n_steps; half++, panel += UK_PANEL) {
        __m256i bytes = _mm256_load_si256((const __m256i *)panel);
        uint16_t *columns = chunk + half / 2 * 2 * UK_PANEL + half % 2 * 16;
        _mm256_store_si256((__m256i *)columns, bf16_of_doubled(_mm256_unpacklo_epi8(bytes, bytes)));
        _mm256_store_si256((__m256i *)(columns + UK_PANEL), bf16_of_doubled(_mm256_unpackhi_epi8(bytes, bytes)));
    }
}

/* Adds the scaled sums of up to UK_ROWS rows and one chunk to c. */
static void add_chunk(uk_acts a, int64_t k, const uint16_t *chunk, float scale, float *c, int64_t ldc)
{
    _Alignas(32) float sums[UK_ROWS][UK_PANEL];
    uk_avx2_gemm_bf16(a, k, chunk, sums[0], UK_PANEL);
    uint32_t mode = avx2_flush_denormals();
    for (int64_t i = 0; i < a.rows; i++) {
        for (int j = 0; j < UK_PANEL; j += AVX2_STEP) {
            float *to = c + i * ldc + j;
            _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_load_ps(sums[i] + j), _mm256_loadu_ps(to)));
        }
    }
    _mm_setcsr(mode);
}

void uk_avx2_gemm_fp8(uk_acts a, int64_t k, const uint8_t *panel, const float *scales, float *c, int64_t ldc)
{
    _Alignas(32) uint16_t chunk[UK_CHUNK * UK_PANEL];
    for (int64_t i = 0; i < a.rows; i++) {
        memset(c + i * ldc, 0, UK_PANEL * sizeof *c);
    }
    for (int64_t first = 0; first < k; first += UK_CHUNK) {
        int64_t n = k - first < UK_CHUNK ? k - first : UK_CHUNK;
        widen((n + 1) / 2, panel + first * UK_PANEL, chunk);
        for (int64_t i = 0; i < a.rows; i += UK_ROWS) {
            const char *x = (const char *)a.data + i / UK_ROWS * a.group_bytes + first * a.group_rows * (int64_t)sizeof(float);
            int64_t rows = a.rows - i < UK_ROWS ? a.rows - i : UK_ROWS;
            add_chunk((uk_acts){x, rows, a.group_rows, a.group_bytes}, n, chunk, scales[first / UK_CHUNK], c + i * ldc, ldc);
        }
    }
}
