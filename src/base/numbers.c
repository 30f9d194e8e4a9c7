#include "base/numbers.h"

#include <math.h>

/* A small float format: sign, exponent with a bias, mantissa of n bits; subnormals at exponent field 0. A code is exponent and
 * mantissa together, without the sign; codes are ordered as their values are. */
typedef struct small_float {
    int bias, n_mantissa_bits;
} small_float;

static const small_float fp16 = {15, 10}, e4m3 = {7, 3}, e2m1 = {1, 1};

/* Infinity and NaN codes of a format are the caller's business. */
static float decode_magnitude(small_float format, uint32_t code)
{
    int n = format.n_mantissa_bits;
    uint32_t exponent = code >> n, mantissa = code & ((1u << n) - 1);
    if (exponent == 0) {
        float step = num_f32_from_bits((uint32_t)(127 + 1 - format.bias - n) << 23);
        return (float)mantissa * step;
    }
    return num_f32_from_bits((uint32_t)((int)exponent + 127 - format.bias) << 23 | mantissa << (23 - n));
}

/* Nearest code, ties to even, of an FP32 magnitude given as its bits, as if the format had no largest exponent; infinity gives a
 * code above that of every finite magnitude. FP32 subnormals lie below half the smallest step of every format here and give 0. */
static uint32_t encode_magnitude(small_float format, uint32_t magnitude_bits)
{
    int exponent = (int)(magnitude_bits >> 23) - 127 + format.bias;
    int n_cut = 23 - format.n_mantissa_bits;
    if (exponent < 1) {
        n_cut += 1 - exponent;
        exponent = 1;
    }
    if (n_cut > 24) {
        return 0;
    }
    uint32_t significand = (magnitude_bits & 0x7fffff) | 0x800000;
    uint32_t kept = significand >> n_cut;
    uint32_t cut = significand & ((1u << n_cut) - 1), half = 1u << (n_cut - 1);
    if (cut > half || (cut == half && (kept & 1))) {
        kept++;
    }
    /* kept holds the implicit one of a normal value, which stands for one exponent step; a carry does the same. */
    return ((uint32_t)(exponent - 1) << format.n_mantissa_bits) + kept;
}

static uint32_t magnitude_bits_of(float value)
{
    return num_bits_from_f32(value) & 0x7fffffff;
}

static uint32_t sign_of(float value)
{
    return num_bits_from_f32(value) >> 31;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static float with_sign(float magnitude, uint32_t sign)
{
    return sign ? -magnitude : magnitude;
}

/* Rounding to odd at FP32 keeps enough of the cut part that the second rounding, to 8 of 24 bits, sees no false tie. */
uint16_t num_bf16_from_f64(double value)
{
    float nearest = (float)value;
    if (isnan(value) || (double)nearest == value) {
        return num_bf16_from_f32(nearest);
    }
    uint32_t bits = num_bits_from_f32(nearest);
    if (fabs((double)nearest) > fabs(value)) {
        bits--;
    }
    return num_bf16_from_f32(num_f32_from_bits(bits | 1));
}

float num_f32_from_fp16(uint16_t bits)
{
    uint32_t sign = bits >> 15, code = bits & 0x7fff;
    if (code >= 0x7c00) {
        return num_f32_from_bits(sign << 31 | 0x7f800000 | (code & 0x3ff) << 13);
    }
    return with_sign(decode_magnitude(fp16, code), sign);
}

uint16_t num_fp16_from_f32(float value)
{
    uint32_t code = isnan(value) ? 0x7e00 : min_u32(encode_magnitude(fp16, magnitude_bits_of(value)), 0x7c00);
    return (uint16_t)(sign_of(value) << 15 | code);
}

float num_f32_from_e4m3(uint8_t bits)
{
    uint32_t sign = bits >> 7, code = bits & 0x7f;
    return with_sign(code == 0x7f ? NAN : decode_magnitude(e4m3, code), sign);
}

uint8_t num_e4m3_from_f32(float value)
{
    uint32_t code = isnan(value) ? 0x7f : min_u32(encode_magnitude(e4m3, magnitude_bits_of(value)), 0x7e);
    return (uint8_t)(sign_of(value) << 7 | code);
}

float num_f32_from_e2m1(uint8_t nibble)
{
    return with_sign(decode_magnitude(e2m1, nibble & 7), nibble >> 3 & 1);
}

uint8_t num_e2m1_from_f32(float value)
{
    if (isnan(value)) {
        return 0;
    }
    return (uint8_t)(sign_of(value) << 3 | min_u32(encode_magnitude(e2m1, magnitude_bits_of(value)), 7));
}

float num_f32_from_e8m0(uint8_t bits)
{
    if (bits == 0xff) {
        return NAN;
    }
    return num_f32_from_bits(bits == 0 ? 0x00400000 : (uint32_t)bits << 23); /* 2^-127 is an FP32 subnormal */
}

uint8_t num_e8m0_ceil_from_f32(float value)
{
    if (isnan(value)) {
        return 0xff;
    }
    if (value <= 0x1p-127f) {
        return 0;
    }
    uint32_t bits = num_bits_from_f32(value);
    uint32_t exponent = bits >> 23, has_fraction = (bits & 0x7fffff) != 0;
    return (uint8_t)min_u32(exponent + has_fraction, 254);
}
