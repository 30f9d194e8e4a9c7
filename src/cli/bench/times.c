#include <stdlib.h>
#include <sys/resource.h>

#include "cli/bench/bench.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_times bench_times_of(double *samples, int n)
{
    double sum = 0;
    qsort(samples, (size_t)n, sizeof *samples, compare_doubles);
    for (int i = 0; i < n; i++) {
        sum += samples[i];
    }
    return (bench_times){.min_s = samples[0],
                         .p10_s = samples[(n - 1) / 10],
                         .median_s = (samples[(n - 1) / 2] + samples[n / 2]) / 2,
                         .mean_s = sum / n,
                         .p90_s = samples[n - 1 - (n - 1) / 10],
                         .max_s = samples[n - 1]};
}

/* Times that the system has preempted a thread of the program. */
static long count_preemptions(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

double bench_quiet_turn(double (*turn)(void *context), void *context)
{
    enum { MAX_TRIES = 5 };
    double seconds = 0;
    for (int i = 0; i < MAX_TRIES; i++) {
        long before = count_preemptions();
        seconds = turn(context);
        if (count_preemptions() == before) {
            break;
        }
    }
    return seconds;
}
