/* model/synth_values.h - the random values of one tensor. */
#ifndef MODEL_SYNTH_VALUES_H
#define MODEL_SYNTH_VALUES_H

#include "base/rng.h"
#include "model/table.h"

enum { SYNTH_BLOCK = 16 }; /* bytes that are made together */

/* What a value is, of a tensor's dtype: codes as they come (FP8, FP4), a scale's code or one less, middle +- spread, an expert. */
typedef struct synth_values {
    rng random;
    dsv4_dtype dtype;
    float middle, spread;
    uint8_t scale_code;
    int64_t diagonal_from, diagonal_step; /* of the mixing of streams: values there are larger by 3; step 0: none */
    int64_t n_experts, n_chosen;
} synth_values;

synth_values synth_values_of(const model_config *config, const model_tensor *t, uint64_t seed);

/* Blocks [first, first + n) of the tensor's bytes. */
void synth_values_fill(const synth_values *v, uint64_t first, uint64_t n, uint8_t *out);

#endif
