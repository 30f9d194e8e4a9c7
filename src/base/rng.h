/* base/rng.h - counter-based random numbers: value i of a stream is a pure function of (seed, stream, i).
 *
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): any element can be drawn alone, in any
 * order, on any machine, with the same result (rng_normal: as far as log and cos of the C library agree). One draw is one 128-bit
 * block: counter = (i, stream), key = seed. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

typedef struct rng {
    uint64_t seed;
    uint64_t stream; /* one per tensor: rng_stream(name) */
} rng;

/* Stream id of a name (FNV-1a 64). */
uint64_t rng_stream(const char *name);

/* The raw function: four 32-bit words of a 128-bit counter under a 64-bit key. Matches the published known answers. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

void rng_words(const rng *r, uint64_t i, uint32_t words[4]);         /* the whole block */
uint64_t rng_u64(const rng *r, uint64_t i);                          /* its first half */
double rng_uniform(const rng *r, uint64_t i, double lo, double hi);  /* lo <= x < hi, 53 random bits; hi - lo finite */
double rng_normal(const rng *r, uint64_t i, double mean, double sd); /* Box-Muller on one draw */
uint64_t rng_below(const rng *r, uint64_t i, uint64_t n);            /* 0 .. n-1, n >= 1; bias below 2^-64 * n */

#endif
