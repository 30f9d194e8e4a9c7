#include "kernels/avx2/tile.h"

#include "kernels/avx2/avx2.h"

void uk_avx2_tile_bf16(int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst)
{
    tile_group(rows, group_rows, (const char *)x, 2 * ldx, 2 * k, 2 * sizeof(float), tile_store_widened, tile_store_one_widened,
               dst);
}

/* Minus the sum of the negative values. */
static int32_t negative_sum(int64_t k, const int8_t *x)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < k; i++) {
        sum -= x[i] < 0 ? x[i] : 0;
    }
    return sum;
}

/* Each row begins with what its products lack. */
void uk_avx2_tile_i8(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    for (int64_t i = 0; i < group_rows; i++) {
        int32_t lead[2] = {i < rows ? negative_sum(k, x + i * ldx) : 0, 0};
        memcpy((char *)dst + i * AVX2_SIGNED_STEP, lead, sizeof lead);
    }
    tile_group(rows, group_rows, (const char *)x, ldx, k, AVX2_SIGNED_STEP, tile_store_signed, tile_store_one_signed,
               (char *)dst + group_rows * AVX2_SIGNED_STEP);
}
