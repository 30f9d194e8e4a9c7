#include "sim/share.h"

#include <math.h>

enum { SWEEPS = 3, SOLVE_STEPS = 40 };
#define EXACT 1e-12

typedef struct market {
    const sim_device *d;
    const sim_running *running;
    int n;
    sim_bandwidth share; /* of one core */
} market;

/* Bytes per second that all blocks take of a flow at the present shares. */
static double taken(const market *m, int flow)
{
    double sum = 0;
    for (int i = 0; i < m->n; i++) {
        const sim_cost *c = m->running[i].cost;
        if (c != NULL && c->bytes[flow] > 0) {
            sum += c->bytes[flow] / sim_cost_seconds(m->d, c, &m->share);
        }
    }
    return sum;
}

/* Takers that need more than nothing: an equal part each is a share that the flow can always give. */
static int count_takers(const market *m, int flow)
{
    int count = 0;
    for (int i = 0; i < m->n; i++) {
        count += m->running[i].cost != NULL && m->running[i].cost->bytes[flow] > 0;
    }
    return count;
}

/* The largest share of a flow at which no more is taken than it has, by false position with bisection where that is slow. What is
 * taken grows with the share. */
static void solve(market *m, int flow, double total)
{
    double *share = &m->share.bytes_s[flow];
    double high = *share, over = taken(m, flow) - total;
    if (over <= 0) {
        return; /* without the lost overlap it was too much */
    }
    double low = total / count_takers(m, flow);
    *share = low;
    double under = taken(m, flow) - total;
    for (int i = 0; i < SOLVE_STEPS && under < -EXACT * total && high - low > EXACT * high; i++) {
        double at = i % 3 == 2 ? low + (high - low) / 2 : low - under * (high - low) / (over - under);
        *share = at;
        double excess = taken(m, flow) - total;
        if (excess > 0) {
            high = at;
            over = excess;
        } else {
            low = at;
            under = excess;
        }
    }
    *share = low;
}

void sim_share(const sim_device *d, const sim_bandwidth *core, const sim_bandwidth *total, sim_running *running, int n)
{
    market m = {d, running, n, *core};
    for (int sweep = 0, changed = 1; sweep < SWEEPS && changed > 0; sweep++) {
        changed = 0;
        for (int f = 0; f < 2 * d->n_levels; f++) {
            double before = m.share.bytes_s[f];
            m.share.bytes_s[f] = core->bytes_s[f];
            if (isfinite(total->bytes_s[f]) && taken(&m, f) > total->bytes_s[f] * (1 + EXACT)) {
                m.share.is_short = true;
                solve(&m, f, total->bytes_s[f]);
            }
            changed += m.share.bytes_s[f] != before;
        }
    }
    for (int i = 0; i < n; i++) {
        if (running[i].cost != NULL) {
            double seconds = sim_cost_seconds(d, running[i].cost, &m.share);
            running[i].rate = seconds > 0 ? 1 / seconds : INFINITY;
        }
    }
}
