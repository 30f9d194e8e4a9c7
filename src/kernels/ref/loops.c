#include <string.h>

#include "kernels/ref/ref.h"

enum { N_SUMS = 8 };

static float multiply_i8(int64_t n_rounds, int seed)
{
    uint32_t sums[N_SUMS] = {0, 1, 2, 3, 4, 5, 6, 7}, x = (uint32_t)seed | 1, w = 5, all = 0;
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = sums[i] * x + w;
        }
    }
    for (int i = 0; i < N_SUMS; i++) {
        all += sums[i];
    }
    return (float)all;
}

static float multiply_f32(int64_t n_rounds, int seed)
{
    float sums[N_SUMS] = {0, 1, 2, 3, 4, 5, 6, 7}, x = 1.0f / (float)(seed + 2), w = 0.5f, all = 0;
    for (int64_t round = 0; round < n_rounds; round++) {
        UK_UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = sums[i] * x + w;
        }
    }
    for (int i = 0; i < N_SUMS; i++) {
        all += sums[i];
    }
    return all;
}

static uint64_t read_stream(const void *stream, int64_t n_bytes, int64_t ahead)
{
    const char *p = stream;
    uint64_t sums[N_SUMS] = {0}, all = 0;
    for (int64_t at = 0; at < n_bytes; at += (int64_t)sizeof sums) {
        uint64_t words[N_SUMS];
        memcpy(words, p + at, sizeof words);
        if (ahead > 0) {
            __builtin_prefetch((const char *)((uintptr_t)(p + at) + (uintptr_t)ahead));
        }
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] += words[i];
        }
    }
    for (int i = 0; i < N_SUMS; i++) {
        all += sums[i];
    }
    return all;
}

static void copy_stream(void *dst, const void *src, int64_t n_bytes)
{
    memcpy(dst, src, (size_t)n_bytes);
}

const uk_loops uk_loops_scalar = {
    .i8 = {2 * N_SUMS, multiply_i8}, .f32 = {2 * N_SUMS, multiply_f32}, .read = read_stream, .copy = copy_stream};
