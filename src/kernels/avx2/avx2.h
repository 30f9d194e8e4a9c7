/* kernels/avx2/avx2.h - the kernels of this folder. Needs AVX2 and FMA. */
#ifndef KERNELS_AVX2_AVX2_H
#define KERNELS_AVX2_AVX2_H

#include <immintrin.h>

#include "kernels/rows.h"

#define AVX2_DECLARE(name, result, parameters) result uk_avx2_##name parameters;
UK_KERNELS(AVX2_DECLARE)
#undef AVX2_DECLARE

#endif
