/* cli/bench/peers/suite.h - the suite `peers`, in builds that have its libraries. */
#ifndef CLI_BENCH_PEERS_SUITE_H
#define CLI_BENCH_PEERS_SUITE_H

#include "cli/cli.h"

int peers_run(const cli_command *self, int argc, char **argv);

#endif
