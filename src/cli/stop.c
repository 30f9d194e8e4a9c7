#include "cli/stop.h"

#include "cli/cli.h"

volatile sig_atomic_t cli_stop;

static void note_signal(int number)
{
    cli_stop = number;
}

/* After the first signal the default holds again. */
void cli_stop_arm(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    sigemptyset(&ignore.sa_mask);
    cli_stop = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

void cli_stop_disarm(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    cli_stop = 0;
}

int cli_stop_code(int code)
{
    return cli_stop != 0 ? CLI_INTERRUPTED : code;
}

void cli_stop_end(void)
{
    const int number = cli_stop;
    cli_stop_disarm();
    raise(number);
}
