#include "kernels/avx512bf16/avx512bf16.h"

#define ROW_ENTRY(name, result, parameters) .name = uk_avx512_##name,
#define BF16_ENTRY(name, result, parameters) .name = uk_avx512bf16_##name,
const uk_table uk_row_avx512bf16 = {.isa = "avx512bf16",
                                    .act_bytes_bf16 = sizeof(uint16_t),
                                    .act_bytes_i8 = 1,
                                    .pack = uk_avx2_pack,
                                    UK_BF16_KERNELS(BF16_ENTRY) UK_I8_KERNELS(ROW_ENTRY) UK_OTHER_KERNELS(ROW_ENTRY)};
