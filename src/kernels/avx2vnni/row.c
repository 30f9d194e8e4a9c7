#include "kernels/avx2vnni/avx2vnni.h"

#define ROW_ENTRY(name, result, parameters) .name = uk_avx2_##name,
#define I8_ENTRY(name, result, parameters) .name = uk_avx2vnni_##name,
const uk_table uk_row_avx2vnni = {.isa = "avx2vnni",
                                  .act_bytes_bf16 = sizeof(float),
                                  .act_bytes_i8 = 1,
                                  .pack = uk_avx2_pack,
                                  UK_BF16_KERNELS(ROW_ENTRY) UK_I8_KERNELS(I8_ENTRY) UK_OTHER_KERNELS(ROW_ENTRY)};
