/* kernels/values.h - operands for kernel tests. */
#ifndef TESTS_KERNELS_VALUES_H
#define TESTS_KERNELS_VALUES_H

#include <stdint.h>

#include "base/numbers.h"

typedef enum flavour {
    ORDINARY, /* -2 .. 2 */
    TINY,     /* around 2^-74: products are denormal */
    EXTREME,  /* zeros of both signs, denormals, large and small magnitudes; finite */
    ANY_BITS, /* infinities and NaNs too */
    N_FLAVOURS
} flavour;

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) */
static inline uint64_t draw_u64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline float draw_f32(uint64_t *state, flavour f)
{
    static const uint32_t extremes[] = {0x00000000, 0x80000000, 0x00000001, 0x807f0000, 0x00800000, 0x7f000000,
                                        0xff7f0000, 0x1f800000, 0xbf800000, 0x5f000000, 0x3f7fffff, 0xc2ff0000,
                                        0x42ff0000, 0x33800000, 0x7e800000, 0xcb000000};
    uint64_t r = draw_u64(state);
    if (f == ORDINARY) {
        return (float)((double)(r >> 11) * 0x1p-51 - 2.0);
    }
    if (f == TINY) {
        return num_f32_from_bits((uint32_t)(r >> 32 & 0x83ffffff) + (50u << 23));
    }
    if (f == ANY_BITS) {
        return num_f32_from_bits((uint32_t)r);
    }
    uint32_t bits = extremes[r % 16];
    return num_f32_from_bits(bits ^ (uint32_t)(r >> 16 & 1 ? r >> 32 & 0x00001fff : 0));
}

static inline uint16_t draw_bf16(uint64_t *state, flavour f)
{
    return f == ANY_BITS ? (uint16_t)draw_u64(state) : (uint16_t)(num_bits_from_f32(draw_f32(state, f)) >> 16);
}

/* Often one of the ends of the range. */
static inline int8_t draw_i8(uint64_t *state)
{
    static const int8_t ends[] = {-128, -127, -1, 0, 1, 126, 127, -128};
    uint64_t r = draw_u64(state);
    return r & 1 ? ends[r >> 1 & 7] : (int8_t)(uint8_t)(r >> 8);
}

#endif
