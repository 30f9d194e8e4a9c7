#include <math.h>
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "cli/tune/tune.h"

tune_time tune_time_of(double *samples, int n)
{
    /* Of a normal distribution: its standard deviation over the median absolute deviation; error of a median over that of a mean. */
    const double sigma_of_deviation = 1.4826, median_over_mean = 1.2533;
    double median_s = bench_times_of(samples, n).median_s;
    for (int i = 0; i < n; i++) {
        samples[i] = fabs(samples[i] - median_s);
    }
    double sigma_s = sigma_of_deviation * bench_times_of(samples, n).median_s;
    return (tune_time){.median_s = median_s, .error_s = median_over_mean * sigma_s / sqrt(n)};
}

tune_result tune_combine(const tune_result *r, int n)
{
    double ratios[TUNE_MAX_REPEATS], error = 0;
    for (int i = 0; i < n; i++) {
        ratios[i] = r[i].ratio;
        error = fmax(error, r[i].error);
    }
    bench_times t = bench_times_of(ratios, n);
    tune_result all = r[0];
    all.ratio = t.median_s;
    all.error = fmax(error, (t.max_s - t.min_s) / 2);
    return all;
}

bool tune_is_noise(const tune_result *a, const tune_result *b, double floor)
{
    return fabs(a->ratio - b->ratio) <= fmax(floor, 2 * hypot(a->error, b->error));
}

static bool is_measured(const tune_result *r)
{
    return r->ratio > 0;
}

/* Whether a is to be preferred among results that are as fast. */
static bool is_simpler(const tune_result *a, const tune_result *b)
{
    if (a->n_changed != b->n_changed) {
        return a->n_changed < b->n_changed;
    }
    return a->n_blocks != b->n_blocks ? a->n_blocks < b->n_blocks : a->ratio < b->ratio;
}

static int find_fastest(const tune_result *r, int n)
{
    int fastest = -1;
    for (int i = 0; i < n; i++) {
        if (is_measured(&r[i]) && (fastest < 0 || r[i].ratio < r[fastest].ratio)) {
            fastest = i;
        }
    }
    return fastest;
}

int tune_choose(const tune_result *r, int n, double floor)
{
    int fastest = find_fastest(r, n), chosen = fastest;
    for (int i = 0; i < n; i++) {
        if (is_measured(&r[i]) && tune_is_noise(&r[i], &r[fastest], floor) && is_simpler(&r[i], &r[chosen])) {
            chosen = i;
        }
    }
    return chosen;
}

tune_weight tune_weigh(const tune_result *r, int n, int start, double floor)
{
    int fastest = find_fastest(r, n);
    if (fastest < 0) {
        return (tune_weight){0};
    }
    double slowest = r[fastest].ratio;
    for (int i = 0; i < n; i++) {
        slowest = fmax(slowest, r[i].ratio);
    }
    bool gains = fastest != start && !tune_is_noise(&r[fastest], &r[start], floor);
    return (tune_weight){.gain = gains ? r[start].ratio - r[fastest].ratio : 0, .spread = slowest - r[fastest].ratio};
}

void tune_rank(const tune_weight *weights, int n, int *out)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0; at--) {
            const tune_weight *before = &weights[out[at - 1]], *w = &weights[i];
            if (before->gain > w->gain || (before->gain == w->gain && before->spread >= w->spread)) {
                break;
            }
            out[at] = out[at - 1];
        }
        out[at] = i;
    }
}
