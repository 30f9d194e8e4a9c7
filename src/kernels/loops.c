#include "kernels/loops.h"

#include "kernels/rows.h"

const uk_loops *uk_find_loops(const uk_table *row)
{
#ifdef DSV4_X86
    if (row == &uk_row_avx512bf16) {
        return &uk_loops_avx512bf16;
    }
    if (row == &uk_row_avx512) {
        return &uk_loops_avx512;
    }
    if (row == &uk_row_avx2vnni) {
        return &uk_loops_avx2vnni;
    }
    if (row == &uk_row_avx2) {
        return &uk_loops_avx2;
    }
#endif
    (void)row;
    return &uk_loops_scalar;
}
