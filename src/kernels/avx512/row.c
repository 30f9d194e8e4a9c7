#include "kernels/avx512/avx512.h"

#define ROW_ENTRY(name, result, parameters) .name = uk_avx512_##name,
const uk_table uk_row_avx512 = {
    .isa = "avx512", .act_bytes_bf16 = sizeof(float), .act_bytes_i8 = 1, .pack = uk_avx2_pack, UK_KERNELS(ROW_ENTRY)};
