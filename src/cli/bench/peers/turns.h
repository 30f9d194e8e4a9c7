/* cli/bench/peers/turns.h - contenders that are measured in turns, and what the parts of the suite share.
 *
 * TURNS  Contenders take turns within a round. A turn is an untimed run, which starts the contender's threads, and a few timed
 *        ones, each with other weights. Behind a turn of OpenMP its team is let go; whose threads cannot be let go is waited for.
 *        So no thread of one contender spins while another is measured, and all are bound to the same cores. */
#ifndef CLI_BENCH_PEERS_TURNS_H
#define CLI_BENCH_PEERS_TURNS_H

#include "cli/bench/calls.h"

enum {
    PEERS_RUNS_OF_A_TURN = 3,
    PEERS_METER_ROUNDS = 5 /* of a contest, at most */,
    PEERS_DEFAULT_ROUNDS = 10,
    PEERS_MAX_ROWS = 256
};

typedef struct peers_suite {
    const bench_call_options *o;
    machine *machine;
    dsv4_pool *pool;
    bench_meter *meter;
    bench_ceilings ceilings; /* of the contest at hand */
    size_t cold_bytes;
    double *samples; /* [PEERS_MAX_CONTENDERS][rounds * PEERS_RUNS_OF_A_TURN] */
    bench_row rows[PEERS_MAX_ROWS];
    int n_rows;
} peers_suite;

/* Samples of a contender; where they lie. */
int peers_n_samples(const peers_suite *s);
double *peers_samples_of(const peers_suite *s, int contender);

typedef void peers_run_fn(void *state, int copy);

/* Who takes turns. */
typedef struct peers_player {
    peers_run_fn *run;
    void *state;
    int n_copies, next; /* the copy that comes next */
    bool is_openmp;
    double rest_s;
} peers_player;

/* Starts the team of the libraries, bound to the cores that our workers have; bench_peers_end lets it go. */
DSV4_MUST_CHECK dsv4_status peers_begin_team(const peers_suite *s, dsv4_error *err);

/* Fills the samples of n players and the ceilings. */
DSV4_MUST_CHECK dsv4_status peers_play(peers_suite *s, const char *name, peers_player *players, int n, dsv4_error *err);

/* Prints the row and keeps it for the results. */
void peers_add_row(peers_suite *s, const bench_row *row);

#endif
