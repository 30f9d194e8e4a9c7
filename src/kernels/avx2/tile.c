#include "kernels/avx2/tile.h"

#include "kernels/avx2/avx2.h"

void uk_avx2_tile_bf16(int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst)
{
    tile_group(rows, group_rows, (const char *)x, 2 * ldx, 2 * k, 2 * sizeof(float), tile_store_widened, tile_store_one_widened,
               dst);
}

void uk_avx2_tile_i8(int64_t rows, int64_t group_rows, int64_t k, const int8_t *x, int64_t ldx, void *dst)
{
    tile_group(rows, group_rows, (const char *)x, ldx, k, 2 * sizeof(int32_t), tile_store_signed, tile_store_one_signed, dst);
}
