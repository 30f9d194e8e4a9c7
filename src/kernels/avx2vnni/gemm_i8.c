/* kernels/avx2vnni/gemm_i8.c - INT8 products with VNNI: vpdpbusd adds four unsigned x signed byte products to each 32-bit lane,
 * here four consecutive k of one column. */
#include <string.h>

#include "kernels/avx2/products.h"
#include "kernels/avx2/tile.h"
#include "kernels/avx2vnni/avx2vnni.h"

UK_INLINE void add_step(const int m, const int n, const char *a, const __m256i *panel, __m256i (*sums)[PANEL_VECTORS])
{
    UK_UNROLL
    for (int i = 0; i < m; i++) {
        __m256i x = avx2_broadcast_lane(a + 4 * i);
        UK_UNROLL
        for (int e = 0; e < n; e++) {
            sums[i][e] = _mm256_dpbusd_avx_epi32(sums[i][e], x, _mm256_load_si256(panel + e));
        }
    }
}

#include "kernels/avx2/gemm_i8.h"

void uk_avx2vnni_tile_i8(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    tile_group(rows, group_rows, (const char *)x, ldx, k, sizeof(int32_t), tile_store_biased, tile_store_one_biased, dst);
}

void uk_avx2vnni_gemm_i8(uk_acts a, int64_t k4, const int8_t *panel, const int32_t *correction, int32_t *c, int64_t ldc)
{
    for (int64_t i = 0; i < a.rows; i++) {
        memcpy(c + i * ldc, correction, UK_PANEL * sizeof *c);
    }
    add_gemm_i8(a, sizeof(int32_t), k4, panel, c, ldc);
}
