/* ops/rope.h - rotary angles (SPEC 1.4): the frequencies of the pairs, and the values of a table. */
#ifndef OPS_ROPE_H
#define OPS_ROPE_H

#include <math.h>

#include "base/numbers.h"
#include "dsv4/config.h"

enum { OP_ROPE_MAX_POSITIONS = 1 << 24 }; /* positions are exact in FP32 */

/* frequency[0..R/2), radians per position. Ratio 0: plain; else those of layers with compression. */
void op_rope_frequencies(const dsv4_config *config, int64_t ratio, float *frequency);

/* BF16 cosine and sine of the FP32 product of position and frequency. */
static inline uint16_t op_rope_cos(int64_t position, float frequency)
{
    float angle = (float)position * frequency;
    return num_bf16_from_f32((float)cos(angle));
}

static inline uint16_t op_rope_sin(int64_t position, float frequency)
{
    float angle = (float)position * frequency;
    return num_bf16_from_f32((float)sin(angle));
}

#endif
