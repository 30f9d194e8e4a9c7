/* base/numbers.h - the number formats of DeepSeek-V4 with exact rounding (SPEC 0.2, 9.1).
 *
 *   bf16      1-8-7    two roundings: ties to even (bf), ties away from zero (bfA: add 0x8000 to the bits, cut)
 *   fp16      1-5-10   IEEE binary16, ties to even, overflow to infinity
 *   fp8 e4m3  1-4-3    "FN": no infinity, 0x7f and 0xff are NaN, largest 448; encoding clamps to +-448, ties to even
 *   fp4 e2m1  1-2-1    {0, .5, 1, 1.5, 2, 3, 4, 6} with sign, low nibble of a byte; encoding clamps to +-6, ties to even mantissa
 *   e8m0      8        2^(x - 127), 0xff is NaN; a scale, no sign, no zero
 *
 * Decoding is exact. Encoding takes an FP32 value; a NaN encodes to a NaN of the format (fp4 has none: to 0). Every function is
 * defined and exact for every bit pattern. The bf16 conversions of single elements sit in inner loops, so they are inline. */
#ifndef BASE_NUMBERS_H
#define BASE_NUMBERS_H

#include <stdint.h>
#include <string.h>

static inline float num_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t num_bits_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float num_f32_from_bf16(uint16_t bits)
{
    return num_f32_from_bits((uint32_t)bits << 16);
}

/* NaN as bf16: sign and upper payload kept, made quiet so that the cut cannot turn it into an infinity. */
static inline uint16_t num_bf16_from_nan_bits(uint32_t bits)
{
    return (uint16_t)(bits >> 16 | 0x40);
}

/* bf: ties to even. */
static inline uint16_t num_bf16_from_f32(float value)
{
    uint32_t bits = num_bits_from_f32(value);
    if (value != value) {
        return num_bf16_from_nan_bits(bits);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* bfA: ties away from zero. */
static inline uint16_t num_bf16_from_f32_ties_away(float value)
{
    uint32_t bits = num_bits_from_f32(value);
    if (value != value) {
        return num_bf16_from_nan_bits(bits);
    }
    return (uint16_t)((bits + 0x8000) >> 16);
}

uint16_t num_bf16_from_f64(double value); /* one rounding, ties to even, as if from the exact value */

float num_f32_from_fp16(uint16_t bits);
uint16_t num_fp16_from_f32(float value);

float num_f32_from_e4m3(uint8_t bits);
uint8_t num_e4m3_from_f32(float value);

float num_f32_from_e2m1(uint8_t nibble); /* bits above the low four are ignored */
uint8_t num_e2m1_from_f32(float value);

float num_f32_from_e8m0(uint8_t bits);
/* The smallest power of two >= value, clamped to [2^-127, 2^127] (SPEC 9.1 AQ); so 0 and below give 2^-127. */
uint8_t num_e8m0_ceil_from_f32(float value);

#endif
