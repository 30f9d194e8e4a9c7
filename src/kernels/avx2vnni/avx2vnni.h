/* kernels/avx2vnni/avx2vnni.h - the kernels of this folder: products of INT8 values by vpdpbusd. All others of its row of the table
 * are those of avx2/. Needs AVX_VNNI besides. */
#ifndef KERNELS_AVX2VNNI_AVX2VNNI_H
#define KERNELS_AVX2VNNI_AVX2VNNI_H

#include "kernels/avx2/avx2.h"

#define AVX2VNNI_DECLARE(name, result, parameters) result uk_avx2vnni_##name parameters;
UK_I8_KERNELS(AVX2VNNI_DECLARE)
#undef AVX2VNNI_DECLARE

#endif
