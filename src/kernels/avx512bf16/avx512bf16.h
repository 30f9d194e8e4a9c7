/* kernels/avx512bf16/avx512bf16.h - the kernels of this folder: products of BF16 values by vdpbf16ps. All others of its row of the
 * table are those of avx512/. Needs AVX512_BF16 and VBMI besides. */
#ifndef KERNELS_AVX512BF16_AVX512BF16_H
#define KERNELS_AVX512BF16_AVX512BF16_H

#include "kernels/avx512/avx512.h"

#define AVX512BF16_DECLARE(name, result, parameters) result uk_avx512bf16_##name parameters;
UK_BF16_KERNELS(AVX512BF16_DECLARE)
#undef AVX512BF16_DECLARE

#endif
