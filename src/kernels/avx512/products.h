/* kernels/avx512/products.h - products of activations and a stream of weight steps (kernels/avx2/stream.h), sixteen columns a
 * register. A group of up to 8 rows has its 16 sums in registers. */
#ifndef KERNELS_AVX512_PRODUCTS_H
#define KERNELS_AVX512_PRODUCTS_H

#include <string.h>

#include "kernels/avx2/stream.h"
#include "kernels/avx512/avx512.h"

UK_INLINE __m512i broadcast_lane(const char *a)
{
    int32_t lane;
    memcpy(&lane, a, sizeof lane);
    return _mm512_set1_epi32(lane);
}

#endif
