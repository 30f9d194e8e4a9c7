/* kernels/fastest.h - the choice between two rows by a measurement. */
#ifndef KERNELS_FASTEST_H
#define KERNELS_FASTEST_H

#include "kernels/kernels.h"

/* That of two rows whose gemm_bf16 takes less time for 8 rows and a panel in the L1 cache; both run on this machine. Well under a
 * millisecond. */
const uk_table *uk_faster(const uk_table *a, const uk_table *b);

#endif
