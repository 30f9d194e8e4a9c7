/* rt/ticks.h - cheap time stamps for the trace, the processor's event counters, and its hint for spinning. */
#ifndef RT_TICKS_H
#define RT_TICKS_H

#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>

/* The time stamp counter: constant rate, the same on all cores. */
static inline uint64_t rt_ticks(void)
{
    return __rdtsc();
}

#define RT_READS_COUNTERS 1

/* The event counter of that number, for a thread that the system lets read it. */
static inline uint64_t rt_read_counter(uint32_t index)
{
    return __rdpmc((int)index);
}

static inline void rt_pause(void)
{
    _mm_pause();
}
#else
#include <time.h>

static inline uint64_t rt_ticks(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define RT_READS_COUNTERS 0

static inline uint64_t rt_read_counter(uint32_t index)
{
    (void)index;
    return 0;
}

static inline void rt_pause(void)
{
}
#endif

#endif
