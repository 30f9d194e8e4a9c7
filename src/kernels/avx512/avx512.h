/* kernels/avx512/avx512.h - the kernels of this folder and what they share. Needs AVX512 F, BW, DQ, VL, VNNI. */
#ifndef KERNELS_AVX512_AVX512_H
#define KERNELS_AVX512_AVX512_H

#include <immintrin.h>

#include "kernels/rows.h"

#define AVX512_DECLARE(name, result, parameters) result uk_avx512_##name parameters;
UK_KERNELS(AVX512_DECLARE)
#undef AVX512_DECLARE

/* Requests the cache line that a panel stream reaches 4 KB later, in the next panel where this one ends. Processors do not prefetch
 * across a page by themselves; a prefetch never faults. Inlined always: gcc 12 drops calls of a function that only prefetches.
 * Measured in docs/investigations/panel-prefetch.md. */
UK_INLINE void avx512_prefetch(const void *stream)
{
    enum { AHEAD_BYTES = 4096 };
    _mm_prefetch((const char *)((uintptr_t)stream + AHEAD_BYTES), _MM_HINT_T0);
}

#endif
