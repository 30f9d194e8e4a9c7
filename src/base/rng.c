#include "base/rng.h"

#include <math.h>
#include <string.h>

/* Multipliers and Weyl increments of the Philox paper, table 2 and section 4.3. */
enum { N_ROUNDS = 10 };
static const uint32_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
static const uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

static const double two_pi = 6.283185307179586476925286766559;

uint64_t rng_stream(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    }
    return hash;
}

static void philox_round(uint32_t x[4], uint32_t key_0, uint32_t key_1)
{
    uint64_t product_0 = (uint64_t)multiplier_0 * x[0], product_1 = (uint64_t)multiplier_1 * x[2];
    uint32_t odd_0 = x[1], odd_1 = x[3];
    x[0] = (uint32_t)(product_1 >> 32) ^ odd_0 ^ key_0;
    x[1] = (uint32_t)product_1;
    x[2] = (uint32_t)(product_0 >> 32) ^ odd_1 ^ key_1;
    x[3] = (uint32_t)product_0;
}

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x[4], key_0 = key[0], key_1 = key[1];
    memcpy(x, counter, sizeof x);
    for (int i = 0; i < N_ROUNDS; i++) {
        philox_round(x, key_0, key_1);
        key_0 += weyl_0;
        key_1 += weyl_1;
    }
    memcpy(out, x, sizeof x);
}

void rng_words(const rng *r, uint64_t i, uint32_t words[4])
{
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)r->stream, (uint32_t)(r->stream >> 32)};
    const uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
    rng_philox(counter, key, words);
}

static void draw(const rng *r, uint64_t i, uint64_t out[2])
{
    uint32_t words[4];
    rng_words(r, i, words);
    out[0] = words[0] | (uint64_t)words[1] << 32;
    out[1] = words[2] | (uint64_t)words[3] << 32;
}

/* Multiple of 2^-53 in [0, 1). */
static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

uint64_t rng_u64(const rng *r, uint64_t i)
{
    uint64_t bits[2];
    draw(r, i, bits);
    return bits[0];
}

double rng_uniform(const rng *r, uint64_t i, double lo, double hi)
{
    double x = lo + (hi - lo) * unit(rng_u64(r, i));
    return x < hi ? x : nextafter(hi, lo); /* the sum may round up to hi */
}

double rng_normal(const rng *r, uint64_t i, double mean, double sd)
{
    uint64_t bits[2];
    draw(r, i, bits);
    double radius = sqrt(-2.0 * log(1.0 - unit(bits[0]))); /* the logarithm's argument is in (0, 1] */
    return mean + sd * radius * cos(two_pi * unit(bits[1]));
}

uint64_t rng_below(const rng *r, uint64_t i, uint64_t n)
{
    return (uint64_t)((unsigned __int128)rng_u64(r, i) * n >> 64);
}
