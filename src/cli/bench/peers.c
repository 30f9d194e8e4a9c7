/* cli/bench/peers.c - `dsv4 bench peers`, if the build has oneDNN (cmake/peers.cmake). */
#include "cli/bench/calls.h"
#ifdef DSV4_PEERS
#include "cli/bench/peers/suite.h"
#else

static int peers_run(const cli_command *self, int argc, char **argv)
{
    (void)self, (void)argc, (void)argv;
    dsv4_error err = {0};
    dsv4_fail(
        &err, DSV4_E_UNSUPPORTED,
        "bench peers: built without oneDNN 2; install the Debian packages libdnnl-dev and libopenblas-dev, then make bench-peers");
    return cli_fail(&err);
}

#endif

const cli_command bench_peers_suite = {"bench peers",
                                       "[options]",
                                       "products against oneDNN and OpenBLAS, operators and layers against barriers and oneDNN",
                                       bench_call_option_table,
                                       bench_option_table,
                                       peers_run};
