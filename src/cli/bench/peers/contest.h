/* cli/bench/peers/contest.h - products: all contenders on the same shapes. */
#ifndef CLI_BENCH_PEERS_CONTEST_H
#define CLI_BENCH_PEERS_CONTEST_H

#include "cli/bench/peers/turns.h"

/* Measures what --only names, NULL: all. Whoever's results differ from ours is an error. */
DSV4_MUST_CHECK dsv4_status peers_measure_products(peers_suite *s, dsv4_error *err);

/* Whether --only names a product: "bf16", or "bf16 4096x512". */
bool peers_has_product(const char *only);

#endif
