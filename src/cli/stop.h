/* cli/stop.h - Ctrl-C. While armed, the first (or SIGTERM) asks the command to end what it does, and the second ends the program at
 * once; the program then ends as the signal would have ended it, so that a script that runs it ends too. */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include <signal.h>

/* The signal that came since cli_stop_arm; 0: none. */
extern volatile sig_atomic_t cli_stop;

void cli_stop_arm(void);    /* a pipe that is closed shows as a failed write from then on */
void cli_stop_disarm(void); /* Ctrl-C ends the program; one that came before is forgotten */

/* What a command returns: the code, or CLI_INTERRUPTED where the signal came. */
int cli_stop_code(int code);

/* Ends the program by the signal that came. */
void cli_stop_end(void);

#endif
