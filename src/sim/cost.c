/* sim/cost.c - arithmetic and time of a block. */
#include "sim/cost.h"

#include <math.h>

/* ---- arithmetic ------------------------------------------------------------------------------------------------------------ */

/* Share of the peak at so many rows; the last point's where rows are not known. */
static double share_at(const sim_curve *c, double rows)
{
    if (c->n == 0) {
        return 1;
    }
    int i = 0;
    while (i < c->n && c->at[i] < rows) {
        i++;
    }
    if (i == 0 || i == c->n) {
        return c->share[i == 0 ? 0 : c->n - 1];
    }
    double part = (rows - c->at[i - 1]) / (c->at[i] - c->at[i - 1]);
    return c->share[i - 1] + part * (c->share[i] - c->share[i - 1]);
}

/* How much larger a dimension is in whole steps. */
static double rounded_up(int64_t n, double step)
{
    return step > 1 ? ceil((double)n / step) * step / (double)n : 1;
}

/* Seconds of `operations` of one type; shaped: the block's product is of this type. */
static double seconds_at(const sim_rate *r, double operations, const dsv4_product *p, bool shaped)
{
    if (operations == 0) {
        return 0;
    }
    if (r->ops_s == 0) {
        return -INFINITY;
    }
    if (!shaped || p->m <= 0 || p->n <= 0 || p->k <= 0) {
        return operations / (r->ops_s * share_at(&r->by_rows, INFINITY));
    }
    double larger = rounded_up(p->m, r->step_m) * rounded_up(p->n, r->step_n) * rounded_up(p->k, r->step_k);
    return operations * larger / (r->ops_s * share_at(&r->by_rows, (double)p->m));
}

double sim_arithmetic_s(const sim_core_kind *core, const dsv4_work *w)
{
    bool in_vector = w->flops_bf16 == 0 && w->ops_i8 == 0;
    return seconds_at(&core->bf16, w->flops_bf16, &w->product, true) + seconds_at(&core->i8, w->ops_i8, &w->product, true) +
           seconds_at(&core->vector, w->vector_ops, &w->product, in_vector);
}

/* ---- bandwidth --------------------------------------------------------------------------------------------------------------- */

static double at_most(double limit, double value)
{
    return limit > 0 && limit < value ? limit : value;
}

static double or_free(double bytes_s)
{
    return bytes_s > 0 ? bytes_s : INFINITY;
}

sim_bandwidth sim_core_bandwidth(const sim_device *d)
{
    sim_bandwidth b = {.is_short = false};
    for (int l = 0; l < d->n_levels; l++) {
        const sim_level *level = &d->levels[l];
        b.bytes_s[sim_read_flow(l)] = at_most(level->core_read_bytes_s, or_free(level->read_bytes_s));
        b.bytes_s[sim_write_flow(l)] = at_most(level->core_write_bytes_s, or_free(level->write_bytes_s));
    }
    return b;
}

sim_bandwidth sim_total_bandwidth(const sim_device *d)
{
    sim_bandwidth b = {.is_short = false};
    for (int l = 0; l < d->n_levels; l++) {
        const sim_level *level = &d->levels[l];
        b.bytes_s[sim_read_flow(l)] = level->is_shared ? or_free(level->read_bytes_s) : INFINITY;
        b.bytes_s[sim_write_flow(l)] = level->is_shared ? or_free(level->write_bytes_s) : INFINITY;
    }
    return b;
}

/* ---- time -------------------------------------------------------------------------------------------------------------------- */

static double flows_s(const sim_cost *c, const sim_bandwidth *b, int first)
{
    double seconds = 0;
    for (int f = first; f < SIM_N_FLOWS; f += 2) {
        seconds += c->bytes[f] > 0 ? c->bytes[f] / b->bytes_s[f] : 0;
    }
    return seconds;
}

double sim_cost_transfer_s(const sim_cost *c, const sim_bandwidth *b)
{
    return c->latency_s + flows_s(c, b, sim_read_flow(0)) + flows_s(c, b, sim_write_flow(0));
}

/* The loads of a tiled product run `ahead` of its arithmetic: the first load and the last arithmetic are alone, each step between
 * takes as long as the slower of both, or as its share of the time from the start of a load to the end of its use. */
static double tiled_s(const sim_cost *c, double read_s)
{
    double arithmetic = c->arithmetic_s / c->steps, load = read_s / c->steps;
    double step = fmax(fmax(arithmetic, load), (c->latency_s + arithmetic + load) / c->ahead);
    return c->latency_s + load + (c->steps - 1) * step + arithmetic;
}

double sim_cost_seconds(const sim_device *d, const sim_cost *c, const sim_bandwidth *b)
{
    double read_s = flows_s(c, b, sim_read_flow(0)), write_s = flows_s(c, b, sim_write_flow(0));
    if (c->steps > 0) {
        return tiled_s(c, read_s) + write_s;
    }
    double gather_s = c->gathered_bytes > 0 ? c->gathered_bytes / b->bytes_s[sim_read_flow(c->gathered_level)] : 0;
    double transfer = read_s + write_s - gather_s, longer = fmax(c->arithmetic_s, transfer),
           shorter = fmin(c->arithmetic_s, transfer);
    double overlap = b->is_short ? fmax(0, d->overlap - d->overlap_lost) : d->overlap;
    return c->latency_s + gather_s + longer + (1 - overlap) * shorter;
}
