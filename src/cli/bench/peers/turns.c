#include "cli/bench/peers/turns.h"

#include <time.h>

#include "base/clock.h"
#include "cli/bench/work.h"

int peers_n_samples(const peers_suite *s)
{
    return (int)s->o->shared.rounds * PEERS_RUNS_OF_A_TURN;
}

double *peers_samples_of(const peers_suite *s, int contender)
{
    return s->samples + (size_t)contender * (size_t)peers_n_samples(s);
}

static void run_next(peers_player *p)
{
    p->run(p->state, p->next);
    p->next = (p->next + 1) % p->n_copies;
}

static void rest(double seconds)
{
    const struct timespec pause = {0, (long)(seconds * 1e9)};
    if (seconds > 0) {
        nanosleep(&pause, NULL);
    }
}

dsv4_status peers_begin_team(const peers_suite *s, dsv4_error *err)
{
    int n_threads = dsv4_pool_n_threads(s->pool);
    return bench_peers_begin(s->machine, n_threads, n_threads <= machine_n_cores(s->machine), err);
}

static dsv4_status take_turn(const peers_suite *s, peers_player *p, double *seconds, dsv4_error *err)
{
    dsv4_status status = p->is_openmp ? peers_begin_team(s, err) : DSV4_OK;
    if (status != DSV4_OK) {
        return status;
    }
    run_next(p);
    for (int i = 0; i < PEERS_RUNS_OF_A_TURN; i++) {
        double begin_s = clock_s();
        run_next(p);
        seconds[i] = clock_s() - begin_s;
    }
    if (p->is_openmp) {
        bench_peers_end();
    }
    rest(p->rest_s);
    return DSV4_OK;
}

/* Ceilings are measured again between the rounds: what is divided by them was measured at the same time. */
dsv4_status peers_play(peers_suite *s, const char *name, peers_player *players, int n, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int rounds = (int)s->o->shared.rounds;
    progress bar = progress_begin(name);
    bench_meter_restart(s->meter);
    for (int i = 0; i < rounds * n && status == DSV4_OK; i++) {
        if (i % n == 0 && i / n % ((rounds + PEERS_METER_ROUNDS - 1) / PEERS_METER_ROUNDS) == 0) {
            bench_meter_round(s->meter);
        }
        status = take_turn(s, &players[i % n], peers_samples_of(s, i % n) + i / n * PEERS_RUNS_OF_A_TURN, err);
        progress_report(&bar, (double)(i + 1) / (rounds * n));
    }
    progress_end(&bar);
    s->ceilings = bench_meter_get(s->meter);
    return status;
}

void peers_add_row(peers_suite *s, const bench_row *row)
{
    bench_print_row(row);
    if (s->n_rows < PEERS_MAX_ROWS) {
        s->rows[s->n_rows++] = *row;
    }
}
