#include "kernels/avx2/avx2.h"

#define ROW_ENTRY(name, result, parameters) .name = uk_avx2_##name,
const uk_table uk_row_avx2 = {.isa = "avx2",
                              .act_bytes_bf16 = sizeof(float),
                              .act_bytes_i8 = 2,
                              .act_lead_i8 = AVX2_SIGNED_STEP,
                              .pack = uk_avx2_pack,
                              UK_KERNELS(ROW_ENTRY)};
