#include "kernels/avx2/tile.h"

#include "kernels/avx512bf16/avx512bf16.h"

void uk_avx512bf16_tile_bf16(int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst)
{
    tile_group(rows, group_rows, (const char *)x, 2 * ldx, 2 * k, sizeof(int32_t), tile_store_as_is, tile_store_one_as_is, dst);
}
