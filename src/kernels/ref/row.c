#include "kernels/ref/ref.h"

#define ROW_ENTRY(name, result, parameters) .name = uk_scalar_##name,
const uk_table uk_row_scalar = {
    .isa = "scalar", .act_bytes_bf16 = sizeof(uint16_t), .act_bytes_i8 = 1, .pack = uk_scalar_pack, UK_KERNELS(ROW_ENTRY)};
